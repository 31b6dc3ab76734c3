//! A store that fails at every step: what was asked for is there as a whole or not at all, and a vacuum takes what is left behind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use boathouse_base::TableVersion;
use boathouse_delta_core::protocol::deletion_vector::VectorLocation;
use boathouse_delta_core::{
    CloneDepth, CopyFormat, CsvFiles, DeltaError, DeltaTable, DeltaTableExt, EngineError, MergeDelete, Retention,
    RowChangeSettings,
};
use boathouse_storage::testing::{Fault, FaultRule, FaultStore};
use boathouse_storage::{Storage, seeded_env, system_env};
use datafusion::parquet::arrow::ArrowWriter;

use crate::rows::{FEED, OwnedRow, Row, VECTORS, batch, frame, read, row, schema, sorted};

/// Where the table is that is looked at.
const TABLE: &str = "lake/t";
/// What it is cloned from.
const SOURCE: &str = "lake/source";
/// What is loaded into it.
const LANDING: &str = "landing";
/// The rows of a table before something is done to it, in two commits.
const ROWS: [Row; 6] = [
    (Some(1), Some("a"), Some(1)),
    (Some(2), Some("b"), Some(2)),
    (Some(3), Some("b"), Some(3)),
    (Some(4), Some("b"), Some(4)),
    (Some(6), Some("b"), Some(7)),
    (None, None, None),
];

/// What is done to a table while its store fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Operation {
    Delete,
    /// Files are marked or copied, as the table has it, whatever share of them is deleted.
    DeleteMost,
    Update,
    Merge,
    Overwrite,
    ReplaceWhere,
    ReplacePartitions,
    ReplaceUsing,
    CopyInto,
    Compact,
    ZOrder,
    Cluster,
    /// Of a table that is clustered by another column.
    ClusterFull,
    Purge,
    Restore,
    Clone(CloneDepth),
    CloneOver(CloneDepth),
    Convert,
}

use Operation::*;

impl Operation {
    /// What is there before.
    async fn prepare(self, root: &Storage, properties: &[(&str, &str)]) {
        let made = async |folder: &str, partitioned: bool, clustered: bool| {
            let table = DeltaTable::at(root.at(folder), seeded_env(7));
            let create = properties.iter().fold(table.create(schema()), |create, (key, value)| create.property(*key, *value));
            match (partitioned, clustered) {
                (_, true) => create.cluster_by(["v"]).run().await.unwrap(),
                (true, _) => create.partition_by(["part"]).run().await.unwrap(),
                _ => create.run().await.unwrap(),
            };
            for rows in ROWS.chunks(3) {
                table.append(batch(rows).into()).run().await.unwrap();
            }
            table
        };
        let marked = async |table: &DeltaTable| {
            let delete = table.delete().filter("id = 2").with_row_change_settings(RowChangeSettings { copy_above_percent: 100 });
            delete.run().await.unwrap();
        };
        match self {
            Convert => {
                for (folder, ids) in [("a", 0..5), ("b c", 5..9)] {
                    let rows: Vec<Row> = ids.map(|id| (Some(id), None, Some(1))).collect();
                    let rows = batch(&rows).project(&[0, 2]).unwrap();
                    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
                    writer.write(&rows).unwrap();
                    root.at(TABLE).put(&format!("part={folder}/data.parquet"), writer.into_inner().unwrap()).await.unwrap();
                }
            }
            Clone(_) => marked(&made(SOURCE, true, false).await).await,
            CloneOver(_) => {
                marked(&made(SOURCE, true, false).await).await;
                made(TABLE, true, false).await.overwrite(batch(&[row(50, "x", 50)]).into()).run().await.unwrap();
            }
            CopyInto => {
                made(TABLE, true, false).await;
                for id in [70, 71] {
                    let text = format!("id,part,v\n{id},new,1\n{},b,2\n", id + 10);
                    root.at(LANDING).put(&format!("{id}.csv"), text).await.unwrap();
                }
            }
            Cluster => drop(made(TABLE, false, true).await),
            ClusterFull => {
                let table = made(TABLE, false, true).await;
                table.optimize().run().await.unwrap();
                table.cluster_by(["id"]).run().await.unwrap();
                table.append(batch(&[row(40, "z", 1)]).into()).run().await.unwrap();
            }
            Purge | Restore => marked(&made(TABLE, true, false).await).await,
            _ => drop(made(TABLE, true, false).await),
        }
    }

    async fn run(self, root: &Storage) -> Result<(), EngineError> {
        let table = DeltaTable::at(root.at(TABLE), seeded_env(3));
        let source = DeltaTable::at(root.at(SOURCE), seeded_env(4));
        let all = || RowChangeSettings { copy_above_percent: 100 };
        match self {
            Delete => table.delete().filter("id = 2").run().await.map(drop),
            DeleteMost => table.delete().filter("id > 1").with_row_change_settings(all()).run().await.map(drop),
            Update => table.update().set("v", "v + 1").filter("id > 1").run().await.map(drop),
            Merge => {
                let merge = table.merge(frame(&[row(2, "b", 20), row(9, "c", 9)]), "t.id = s.id").when_matched_update_all();
                let merge = merge.when_not_matched_insert_all();
                merge.when_not_matched_by_source_delete(MergeDelete::only_if("t.id = 6")).run().await.map(drop)
            }
            Overwrite => Ok(table.overwrite(batch(&[row(8, "q", 8)]).into()).run().await.map(drop)?),
            ReplaceWhere => table.replace_where(frame(&[row(7, "b", 1)]), "part = 'b' AND v < 3").run().await.map(drop),
            ReplacePartitions => table.replace_partitions(frame(&[row(7, "b", 7)])).run().await.map(drop),
            ReplaceUsing => table.replace_using(frame(&[row(2, "c", 7), row(5, "c", 5)]), ["id"]).run().await.map(drop),
            CopyInto => {
                let format = CopyFormat::Csv(CsvFiles { header: true, ..CsvFiles::default() });
                table.copy_from(root.at(LANDING), format).run().await.map(drop)
            }
            Compact | Cluster => table.optimize().run().await.map(drop),
            ZOrder => table.optimize().z_order(["v", "id"]).run().await.map(drop),
            ClusterFull => table.optimize().full().run().await.map(drop),
            Purge => table.purge().run().await.map(drop),
            Restore => Ok(table.restore(TableVersion::Number(1)).run().await.map(drop)?),
            Clone(depth) => Ok(source.clone_to(&table).depth(depth).run().await.map(drop)?),
            CloneOver(depth) => Ok(source.clone_to(&table).depth(depth).or_replace().run().await.map(drop)?),
            Convert => {
                let part = arrow_schema::Field::new("part", arrow_schema::DataType::Utf8, true);
                Ok(table.convert_parquet().partitioned_by([part]).run().await.map(drop)?)
            }
        }
    }

    /// What it does to the bag of rows.
    fn keeps_rows(self) -> bool {
        matches!(self, Compact | ZOrder | Cluster | ClusterFull | Purge)
    }
}

/// The version of a table and its rows; nothing when there is none.
async fn state(root: &Storage) -> Option<(u64, Vec<OwnedRow>)> {
    let table = DeltaTable::at(root.at(TABLE), seeded_env(8));
    let version = table.try_snapshot().await.unwrap()?.version();
    // A converted table has its partition column at the end.
    let converted = table.snapshot().await.unwrap().schema().field(1).name() == "v";
    Some((version, if converted { converted_rows(&table).await } else { read(&table).await }))
}

async fn converted_rows(table: &DeltaTable) -> Vec<OwnedRow> {
    let request =
        boathouse_base::ScanRequest { projection: Some(["id", "part", "v"].map(str::to_owned).to_vec()), ..Default::default() };
    let batches = table.snapshot().await.unwrap().scan(request).unwrap().collect().await.unwrap();
    let mut rows: Vec<_> = batches.iter().flat_map(crate::rows::owned_rows).collect();
    rows.sort();
    rows
}

/// The files that the newest version names, and those that are in the folder.
async fn files(root: &Storage) -> (BTreeSet<String>, BTreeSet<String>) {
    let table = DeltaTable::at(root.at(TABLE), seeded_env(8));
    let mut named = BTreeSet::new();
    for file in table.snapshot().await.unwrap().files(None).await.unwrap() {
        named.extend(Some(file.path().into_owned()).filter(|path| !path.contains("://")));
        if let Some(VectorLocation::InTable(path)) = file.deletion_vector().map(|vector| vector.location().unwrap()) {
            named.insert(path);
        }
    }
    let listed = root.at(TABLE).list("").await.unwrap().into_iter().map(|entry| entry.path);
    (named, listed.filter(|path| !path.starts_with("_delta_log/")).collect())
}

/// Takes what no version names, whatever its age.
async fn vacuum(root: &Storage) {
    // Files that no version names are older than a moment from now.
    system_env().sleep(Duration::from_millis(2)).await;
    let table = DeltaTable::at(root.at(TABLE), system_env());
    table.vacuum().retention(Retention::Unsafe(Duration::ZERO)).run().await.unwrap();
}

/// Lets each request of an operation fail, one after the other.
async fn attack(operation: Operation, properties: &[(&str, &str)]) {
    let made = async || {
        let root = Storage::memory();
        operation.prepare(&root, properties).await;
        root
    };
    let done = made().await;
    let before = state(&done).await;
    operation.run(&done).await.unwrap();
    let after = state(&done).await;
    let (version, rows) = after.clone().unwrap();
    assert_eq!(version, before.as_ref().map_or(0, |(version, _)| version + 1), "{operation:?} is one commit");
    if let Some((_, old)) = &before {
        assert_eq!(*old == rows, operation.keeps_rows(), "{operation:?} changes rows, or does not");
    }
    for fault in [Fault::FailBefore, Fault::FailAfter, Fault::LostReply, Fault::DiskFull] {
        // What is read is not there or is: how it failed makes no difference.
        let everywhere = fault == Fault::FailBefore;
        for at in 0.. {
            let sound = made().await;
            let mut store = None;
            let faulty = sound.with_object_store(|inner| {
                let faulty = FaultStore::new(inner);
                store = Some(faulty.clone());
                Arc::new(faulty)
            });
            let store = store.unwrap();
            let rule = FaultRule::new(fault).skip(at);
            store.inject(if everywhere { rule } else { rule.on_writes() });
            let result = operation.run(&faulty).await;
            let place = format!("{operation:?} {properties:?}: {fault:?} at request {at}, {:?}", store.injected());
            let mut found = state(&sound).await;
            match &result {
                Ok(()) => assert_eq!(found, after, "{place}"),
                Err(EngineError::Table(DeltaError::CommitUnknown { .. })) => {
                    assert!(found == after || found == before, "{place}")
                }
                Err(error) => assert_eq!(found, before, "{place}: {error}"),
            }
            if found.is_none() {
                // There is no table yet, and what was copied is no table's: who tries again gets a whole one.
                operation.run(&sound).await.unwrap();
                found = state(&sound).await;
                assert_eq!(found, after, "{place}");
            }
            vacuum(&sound).await;
            // A vacuum is a commit of its own.
            assert_eq!(state(&sound).await.map(|(_, rows)| rows), found.map(|(_, rows)| rows), "{place}");
            let (named, listed) = files(&sound).await;
            assert_eq!(listed, named, "{place}");
            if store.injected().is_empty() {
                assert!(at >= if everywhere { 4 } else { 1 }, "{operation:?} makes several requests");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_fault_at_any_request_leaves_a_change_of_rows_done_or_not_and_vacuum_takes_what_is_left_behind() {
    for (operation, properties) in [
        (Delete, &[VECTORS][..]),
        (Delete, &[FEED]),
        (DeleteMost, &[VECTORS]),
        (Update, &[VECTORS, FEED]),
        (Update, &[]),
        (Merge, &[VECTORS, FEED]),
        (Merge, &[]),
    ] {
        attack(operation, properties).await;
    }
}

#[tokio::test]
async fn a_fault_at_any_request_leaves_a_replacement_done_or_not_and_vacuum_takes_what_is_left_behind() {
    for (operation, properties) in [
        (Overwrite, &[VECTORS][..]),
        (ReplaceWhere, &[VECTORS]),
        (ReplaceWhere, &[FEED]),
        (ReplacePartitions, &[FEED]),
        (ReplaceUsing, &[VECTORS, FEED]),
        (CopyInto, &[]),
    ] {
        attack(operation, properties).await;
    }
}

#[tokio::test]
async fn a_fault_at_any_request_leaves_a_table_tidied_or_not_and_vacuum_takes_what_is_left_behind() {
    const TRACKED: (&str, &str) = ("delta.enableRowTracking", "true");
    for (operation, properties) in [
        (Compact, &[TRACKED][..]),
        (ZOrder, &[]),
        (Cluster, &[VECTORS]),
        (ClusterFull, &[TRACKED]),
        (Purge, &[VECTORS, TRACKED]),
        (Restore, &[VECTORS]),
        (Restore, &[FEED]),
    ] {
        attack(operation, properties).await;
    }
}

#[tokio::test]
async fn a_fault_at_any_request_leaves_a_copy_made_or_not_and_vacuum_takes_what_is_left_behind() {
    for depth in [CloneDepth::Deep, CloneDepth::Shallow] {
        for properties in [&[VECTORS][..], &[]] {
            attack(Operation::Clone(depth), properties).await;
            attack(CloneOver(depth), properties).await;
        }
    }
    attack(Convert, &[]).await;
}

#[tokio::test]
async fn what_is_done_is_what_the_names_say() {
    let rows_after = async |operation: Operation| {
        let root = Storage::memory();
        operation.prepare(&root, &[VECTORS]).await;
        operation.run(&root).await.unwrap();
        (state(&root).await.unwrap().1, files(&root).await)
    };
    let without = |id: i64| sorted(&ROWS.into_iter().filter(|row| row.0 != Some(id)).collect::<Vec<_>>());
    assert_eq!(rows_after(Purge).await.0, without(2));
    assert_eq!(rows_after(Restore).await.0, sorted(&ROWS[..3]));
    for depth in [CloneDepth::Deep, CloneDepth::Shallow] {
        for operation in [Operation::Clone(depth), CloneOver(depth)] {
            let (rows, (named, _)) = rows_after(operation).await;
            assert_eq!(rows, without(2), "{operation:?}");
            assert_eq!(named.is_empty(), depth == CloneDepth::Shallow, "{operation:?}: {named:?}");
        }
    }
    let mut loaded = sorted(&ROWS);
    loaded.extend(sorted(&[row(70, "new", 1), row(80, "b", 2), row(71, "new", 1), row(81, "b", 2)]));
    loaded.sort();
    assert_eq!(rows_after(CopyInto).await.0, loaded);
    assert_eq!(rows_after(Convert).await.0.iter().map(|row| row.1.as_deref().unwrap()).filter(|part| *part == "b c").count(), 4);
    for (operation, files_left) in [(Compact, 3), (ZOrder, 3), (Cluster, 1), (ClusterFull, 1)] {
        assert_eq!(rows_after(operation).await.1.0.len(), files_left, "{operation:?}");
    }
}
