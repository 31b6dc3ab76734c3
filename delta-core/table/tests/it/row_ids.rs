//! Tables that track their rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch, StringArray};
use boathouse_base::{BatchStream, Comparison, DomainError, ErrorKind, Predicate, ScanRequest, TableVersion};
use boathouse_delta_table::protocol::features::{RowChange, has};
use boathouse_delta_table::{
    DataFile, DataWriter, DataWriterSettings, DeltaError, DeltaTable, FileRead, RowOrigins, RowTrackingColumns, Snapshot,
    Transaction, TransactionProblem, WrittenFiles,
};
use boathouse_storage::{Storage, seeded_env};

use crate::rows::{append_each, batch, latest_ids, people, reopened, table};

const ENABLE: &str = "delta.enableRowTracking";

/// The value of a row, with its id and its version.
type Rows = BTreeMap<i64, (i64, i64)>;

async fn create(table: &DeltaTable, values: &[i64]) {
    let rows = table.append(people(values, "a")).partition_by(["part"]).property(ENABLE, "true");
    rows.property("delta.enableDeletionVectors", "true").property("delta.checkpointInterval", "4").run().await.unwrap();
}

fn names() -> RowTrackingColumns {
    RowTrackingColumns { row_id: "row id".to_owned(), commit_version: "row version".to_owned() }
}

/// The rows of a version by `id`, all of which differ.
async fn rows_of(snapshot: &Snapshot) -> Rows {
    let batches = snapshot.scan_with_row_ids(ScanRequest::default(), &names()).unwrap().collect().await.unwrap();
    let mut rows = Rows::new();
    for batch in &batches {
        let column = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
        let (value, id, version) = (column("id"), column("row id"), column("row version"));
        for row in 0..batch.num_rows() {
            assert!(rows.insert(value.value(row), (id.value(row), version.value(row))).is_none(), "a value occurs twice");
        }
    }
    let ids: BTreeSet<i64> = rows.values().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), rows.len(), "ids are unique: {rows:?}");
    rows
}

async fn latest(table: &DeltaTable) -> Rows {
    rows_of(&reopened(table).snapshot().await.unwrap()).await
}

fn high_water(snapshot: &Snapshot) -> i64 {
    let domain = &snapshot.state().domain_metadata["delta.rowTracking"];
    let value: serde_json::Value = serde_json::from_str(&domain.configuration).unwrap();
    value["rowIdHighWaterMark"].as_i64().unwrap()
}

async fn preserved(table: &DeltaTable, version: u64) -> serde_json::Value {
    let commit = table.storage().get(&format!("_delta_log/{version:020}.json")).await.unwrap();
    let first: serde_json::Value = serde_json::from_slice(commit.split(|b| *b == b'\n').next().unwrap()).unwrap();
    first["commitInfo"]["tags"]["delta.rowTracking.preserved"].clone()
}

#[tokio::test]
async fn appended_rows_are_numbered_in_order_and_keep_the_version_that_added_them() {
    let table = table();
    create(&table, &[10, 11, 12]).await;
    append_partition(&table, &[20, 21], "b").await;
    for value in 30..36 {
        append_partition(&table, &[value], "a").await;
    }
    let snapshot = reopened(&table).snapshot().await.unwrap();
    let protocol = snapshot.protocol();
    assert!(has(protocol, "rowTracking") && has(protocol, "domainMetadata"), "{protocol:?}");
    let rows = rows_of(&snapshot).await;
    let expected = [(10, (0, 0)), (11, (1, 0)), (12, (2, 0)), (20, (3, 1)), (21, (4, 1))];
    let later = (30..36).map(|value| (value, (value - 25, value - 28)));
    assert_eq!(rows, expected.into_iter().chain(later).collect(), "also behind checkpoints");
    assert_eq!(high_water(&snapshot), 10);
    // The hidden columns are not part of the table, and rows that were only appended do not have them.
    let hidden = snapshot.row_tracking().unwrap();
    assert_eq!(snapshot.schema().fields().len(), 2);
    assert!(hidden.row_id.starts_with("_row-id-col-") && hidden.commit_version.starts_with("_row-commit-version-col-"));
    assert!(!stored_columns(&snapshot).await.iter().any(|columns| columns.contains(&hidden.row_id)));
    assert_eq!(preserved(&table, 3).await, "true");
}

async fn append_partition(table: &DeltaTable, values: &[i64], part: &str) {
    table.append(people(values, part)).run().await.unwrap();
}

async fn stored_columns(snapshot: &Snapshot) -> Vec<BTreeSet<String>> {
    let mut found = Vec::new();
    for file in snapshot.files(None).await.unwrap() {
        let bytes = snapshot.table().storage().get(&file.path()).await.unwrap();
        let reader = parquet::file::reader::SerializedFileReader::new(bytes).unwrap();
        let metadata = parquet::file::reader::FileReader::metadata(&reader);
        let fields = metadata.file_metadata().schema_descr().root_schema().get_fields();
        found.push(fields.iter().map(|field| field.name().to_owned()).collect());
    }
    found
}

#[tokio::test]
async fn rows_that_are_copied_keep_id_and_version_however_often() {
    for mapping in ["none", "name"] {
        let table = table();
        let rows = table.append(people(&[1, 2, 3, 4, 5, 6], "a")).property(ENABLE, "true");
        rows.property("delta.columnMapping.mode", mapping).run().await.unwrap();
        let before = latest(&table).await;
        for (at, value) in [(1, 1), (2, 6), (3, 3)] {
            let new = table.overwrite(people(&[value], "a")).replace_where(Predicate::eq("id", value));
            assert_eq!(new.run().await.unwrap().version, at);
            assert_eq!(preserved(&table, at).await, "true");
        }
        let after = latest(&table).await;
        for value in [2, 4, 5] {
            assert_eq!(after[&value], before[&value], "copied three times, {mapping}");
        }
        for (value, version) in [(1, 1), (6, 2), (3, 3)] {
            assert_eq!(after[&value].1, version, "it is a new row");
            assert!(before.values().all(|(id, _)| *id != after[&value].0));
        }
        assert_eq!(latest_ids(&table).await, [1, 2, 3, 4, 5, 6]);
    }
}

#[tokio::test]
async fn deleted_and_restored_rows_have_the_ids_that_they_had() {
    let table = table();
    create(&table, &[1, 2, 3, 4]).await;
    let before = latest(&table).await;
    let snapshot = table.snapshot().await.unwrap();
    let files = snapshot.files(None).await.unwrap();
    Transaction::begin(&snapshot).delete_rows(&files[0], [0, 2]).commit().await.unwrap();
    let after = latest(&table).await;
    assert_eq!(after, before.iter().filter(|(value, _)| [2, 4].contains(*value)).map(|(k, v)| (*k, *v)).collect());
    table.overwrite(people(&[9], "a")).run().await.unwrap();
    assert_eq!(latest(&table).await, Rows::from([(9, (4, 2))]), "an id is not given out twice");
    table.restore(TableVersion::Number(0)).run().await.unwrap();
    assert_eq!(latest(&table).await, before);
    append_partition(&table, &[5], "a").await;
    assert_eq!(latest(&table).await[&5], (5, 4));
}

/// Writes all rows of these files into one, each with where it comes from.
async fn put_together(snapshot: &Snapshot, files: &[DataFile]) -> WrittenFiles {
    let columns = snapshot.row_tracking().unwrap();
    let settings = DataWriterSettings { data_change: false, ..DataWriterSettings::default() };
    let mut writer = DataWriter::new(snapshot, settings).unwrap();
    for file in files {
        let read = FileRead { row_tracking: Some(columns.clone()), ..FileRead::default() };
        let mut rows = snapshot.read_file(file, read).unwrap();
        while let Some(batch) = rows.next().await {
            let (batch, origins) = columns.split(&batch.unwrap()).unwrap();
            writer.write_kept_from(&batch, &origins).await.unwrap();
        }
    }
    writer.finish().await.unwrap()
}

#[tokio::test]
async fn a_compaction_keeps_ids_and_so_does_a_delete_that_raced_it() {
    let table = table();
    create(&table, &[1, 2, 3]).await;
    append_partition(&table, &[4, 5], "a").await;
    let before = latest(&table).await;
    let snapshot = table.snapshot().await.unwrap();
    let files = snapshot.files(None).await.unwrap();
    let written = put_together(&snapshot, &files).await;
    let add = written.adds[0].clone();
    let unsaid = Transaction::begin(&snapshot).concatenate(&files, add.clone()).unwrap().commit().await.unwrap_err();
    let problem = |error: &DeltaError| match error {
        DeltaError::InvalidTransaction { problem: TransactionProblem::RowIdsUnknown { path }, .. } => path.clone(),
        other => panic!("{other}"),
    };
    assert_eq!(problem(&unsaid), add.path);
    let compaction = Transaction::begin(&snapshot).concatenate(&files, add).unwrap().keeps_row_ids();
    let second = files.iter().find(|file| file.add().base_row_id == Some(3)).unwrap();
    Transaction::begin(&snapshot).delete_rows(second, [0]).commit().await.unwrap();
    compaction.commit().await.unwrap();
    assert_eq!(table.snapshot().await.unwrap().file_count().await.unwrap(), 1);
    let after = latest(&table).await;
    assert_eq!(after, before.into_iter().filter(|(value, _)| *value != 4).collect());
    assert_eq!(preserved(&table, 3).await, "true");
}

#[tokio::test]
async fn a_row_that_is_changed_keeps_its_id_and_gets_the_version_of_the_change() {
    let table = table();
    create(&table, &[1, 2, 3]).await;
    let before = latest(&table).await;
    let snapshot = table.snapshot().await.unwrap();
    let file = snapshot.files(None).await.unwrap().remove(0);
    let row = |values: &[i64]| {
        batch(&[
            ("id", Arc::new(Int64Array::from(values.to_vec()))),
            ("part", Arc::new(StringArray::from(vec!["a"; values.len()]))),
        ])
    };
    let mut writer = DataWriter::new(&snapshot, DataWriterSettings::default()).unwrap();
    // A new row first, into the same file later.
    writer.write(&row(&[70])).await.unwrap();
    writer.write_changed_from(&row(&[20]), &RowOrigins::changed(Int64Array::from(vec![before[&2].0]))).await.unwrap();
    writer.write(&row(&[71])).await.unwrap();
    let written = writer.finish().await.unwrap();
    assert_eq!(written.adds.len(), 2, "only the second has room for ids");
    let transaction = Transaction::begin(&snapshot).delete_rows(&file, [1]).row_change(RowChange::Rewrite);
    transaction.add_written(&written).unwrap().operation("UPDATE", []).commit().await.unwrap();
    let after = latest(&table).await;
    assert_eq!(after[&20], (before[&2].0, 1));
    assert_eq!((after[&1], after[&3]), (before[&1], before[&3]));
    assert_eq!((after[&70].1, after[&71].1, after.len()), (1, 1, 5));
}

#[tokio::test]
async fn rows_from_before_are_refused_without_their_ids() {
    let table = table();
    create(&table, &[1, 2, 3]).await;
    let snapshot = table.snapshot().await.unwrap();
    let file = snapshot.files(None).await.unwrap().remove(0);
    let rows: Vec<RecordBatch> = snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap();
    let mut writer = DataWriter::new(&snapshot, DataWriterSettings::default()).unwrap();
    for result in [writer.write_kept(&rows[0]).await, writer.write_changed(&rows[0]).await] {
        let error = result.unwrap_err();
        assert!(matches!(error, DeltaError::RowsWithoutOrigin { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    let few = RowOrigins::changed(Int64Array::from(vec![0]));
    let error = writer.write_kept_from(&rows[0], &few).await.unwrap_err();
    assert!(error.to_string().contains("3 rows have 1 row ids"), "{error}");
    writer.write(&rows[0]).await.unwrap();
    let written = writer.finish().await.unwrap();
    // Files of which nobody says what is in them, beside rows that leave.
    for transaction in [
        Transaction::begin(&snapshot).delete_rows(&file, [0]).add_all(written.adds.clone()),
        Transaction::begin(&snapshot).remove(&file).row_change(RowChange::Rewrite).add_all(written.adds.clone()),
        Transaction::begin(&snapshot)
            .remove_action(file.add().to_remove(0, false))
            .add(boathouse_delta_table::protocol::action::Add { data_change: false, ..written.adds[0].clone() }),
    ] {
        let error = transaction.commit().await.unwrap_err();
        assert!(
            matches!(&error, DeltaError::InvalidTransaction { problem: TransactionProblem::RowIdsUnknown { .. }, .. }),
            "{error}"
        );
    }
    assert_eq!(table.snapshot().await.unwrap().version(), 0);
    // New rows in place of whole files are new rows.
    Transaction::begin(&snapshot).read_whole_table().remove(&file).add_all(written.adds).commit().await.unwrap();
    assert_eq!(latest(&table).await.into_values().map(|(id, _)| id).collect::<Vec<_>>(), [3, 4, 5]);
}

#[tokio::test]
async fn a_table_that_does_not_track_rows_has_no_ids_to_read_or_write() {
    let table = table();
    append_each(&table, 0..1).await;
    let snapshot = table.snapshot().await.unwrap();
    assert_eq!(snapshot.row_tracking(), None);
    let error = snapshot.scan_with_row_ids(ScanRequest::default(), &names()).unwrap_err();
    assert!(matches!(error, DeltaError::RowTrackingOff { attempted: "read", .. }), "{error}");
    let rows = snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap();
    let mut writer = DataWriter::new(&snapshot, DataWriterSettings::default()).unwrap();
    let error = writer.write_kept_from(&rows[0], &RowOrigins::changed(Int64Array::from(vec![0]))).await.unwrap_err();
    assert!(matches!(error, DeltaError::RowTrackingOff { attempted: "write", .. }), "{error}");
}

#[tokio::test]
async fn a_table_that_starts_to_track_rows_numbers_those_that_are_there() {
    let table = table();
    append_each(&table, 0..5).await;
    table.alter().set_property("delta.enableDeletionVectors", "true").run().await.unwrap();
    let snapshot = table.snapshot().await.unwrap();
    table.append(people(&[50, 51, 52], "a")).run().await.unwrap();
    let wide = table.snapshot().await.unwrap().files(None).await.unwrap().into_iter().find(|f| f.row_count() == Some(3)).unwrap();
    Transaction::begin(&table.snapshot().await.unwrap()).delete_rows(&wide, [1]).commit().await.unwrap();
    assert!(snapshot.row_tracking().is_none());
    let report = table.alter().set_property(ENABLE, "true").run().await.unwrap();
    assert!(report.protocol.is_some());
    let version = i64::try_from(report.version).unwrap();
    let rows = latest(&table).await;
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 50, 52]);
    assert!(rows.values().all(|(_, at)| *at == version), "{rows:?}");
    assert_eq!(high_water(&table.snapshot().await.unwrap()), 7, "deleted rows have places too");
    assert_eq!(rows[&52].0 - rows[&50].0, 2);
    // Off and on again: the names stay, and no file is named twice.
    let hidden = table.snapshot().await.unwrap().row_tracking().cloned();
    table.alter().set_property(ENABLE, "false").run().await.unwrap();
    append_each(&table, 60..61).await;
    let again = table.alter().set_property(ENABLE, "true").run().await.unwrap();
    assert_eq!(table.snapshot().await.unwrap().row_tracking().cloned(), hidden);
    assert_eq!(table.history(1).await.unwrap()[0].files_added, 0, "{again:?}");
    assert_eq!(latest(&table).await[&60].0, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_table_that_starts_to_track_rows_while_others_append_numbers_every_row_once() {
    for round in 0..3_u64 {
        let storage = Storage::memory();
        let handle = |seed| DeltaTable::at(storage.clone(), seeded_env(seed + 100 * round));
        append_each(&handle(1), 0..3).await;
        let appends: Vec<_> = (1..=4_i64)
            .map(|writer| {
                let table = handle(writer.unsigned_abs() + 10);
                tokio::spawn(async move {
                    for nth in 0..5 {
                        // A change of protocol and schema is a conflict: then it is written again.
                        while let Err(error) = table.append(people(&[writer * 100 + nth], "a")).run().await {
                            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                        }
                    }
                })
            })
            .collect();
        let table = handle(2);
        table.alter().set_property(ENABLE, "true").run().await.unwrap();
        for append in appends {
            append.await.unwrap();
        }
        let snapshot = handle(3).snapshot().await.unwrap();
        let rows = rows_of(&snapshot).await;
        assert_eq!(rows.len(), 23);
        assert_eq!(rows.values().map(|(id, _)| *id).max(), Some(high_water(&snapshot)));
    }
}

#[tokio::test]
async fn names_of_hidden_columns_must_be_free_and_tracking_must_not_be_suspended() {
    let table = table();
    let named = |key: &'static str, value: &'static str| {
        let rows = table.append(people(&[1], "a")).property(ENABLE, "true").property(key, value);
        async move { rows.run().await.unwrap_err() }
    };
    for (key, value, found) in [
        ("delta.rowTracking.materializedRowIdColumnName", "ID", "column `id`"),
        ("delta.rowTracking.materializedRowCommitVersionColumnName", "part", "column `part`"),
        ("delta.rowTrackingSuspended", "true", "delta.rowTrackingSuspended"),
    ] {
        let error = named(key, value).await;
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(found), "{error}");
    }
    assert!(!table.exists().await.unwrap());
}

#[tokio::test]
async fn two_creators_of_one_tracked_table_share_it() {
    use boathouse_storage::testing::{LatencyProfile, LatencyStore, run_on_clock};
    let clock = boathouse_base::ManualClock::default();
    let env = boathouse_base::Env::new(clock.clone(), 1);
    let storage = LatencyStore::wrap(&Storage::memory(), env.clone(), LatencyProfile::default());
    let (one, two) = (DeltaTable::at(storage.clone(), env.clone()), DeltaTable::at(storage, env));
    let create = |table: &DeltaTable, value: i64| table.append(people(&[value], "a")).property(ENABLE, "true").run();
    let both = async { futures::join!(create(&one, 1), create(&two, 2)) };
    let (a, b) = run_on_clock(&clock, both).await;
    assert_eq!(a.unwrap().version + b.unwrap().version, 1);
    let rows = run_on_clock(&clock, async { rows_of(&one.snapshot().await.unwrap()).await }).await;
    assert_eq!(rows.values().map(|(id, _)| *id).collect::<BTreeSet<_>>(), [0, 1].into());
}

/// Random changes, compared with a map from values to ids and versions.
#[tokio::test]
async fn ids_and_versions_follow_rows_through_any_sequence_of_changes() {
    for seed in 0..24_u64 {
        let chance = seeded_env(seed);
        let table = table();
        create(&table, &[0, 1, 2, 3]).await;
        let mut versions = vec![latest(&table).await];
        let mut next = 100;
        for step in 0..10 {
            let snapshot = table.snapshot().await.unwrap();
            let known = versions.last().unwrap().clone();
            let mut expected = known.clone();
            let action = chance.random_below(6);
            let limit = i64::try_from(chance.random_below(120)).unwrap();
            match action {
                0 => {
                    append_partition(&table, &[next, next + 1], "a").await;
                    next += 2;
                }
                1 => {
                    let mut rows = BatchStream::from_batches(snapshot.schema(), vec![]);
                    if limit > next {
                        next = limit;
                        rows = people(&[next], "a");
                        next += 1;
                    }
                    let predicate = Predicate::compare("id", Comparison::GtEq, limit);
                    table.overwrite(rows).replace_where(predicate).run().await.unwrap();
                    expected.retain(|value, _| *value < limit);
                }
                2 => {
                    let files = snapshot.files(None).await.unwrap();
                    let Some(file) = files.get(usize::try_from(chance.random_below(4)).unwrap()) else { continue };
                    let columns = FileRead { row_index: Some("place".to_owned()), ..FileRead::default() };
                    let rows = snapshot.read_file(file, columns).unwrap().collect().await.unwrap();
                    let place = rows[0].column_by_name("place").unwrap().as_primitive::<Int64Type>().value(0);
                    let value = rows[0].column_by_name("id").unwrap().as_primitive::<Int64Type>().value(0);
                    Transaction::begin(&snapshot).delete_rows(file, [place.unsigned_abs()]).commit().await.unwrap();
                    expected.remove(&value);
                }
                3 => {
                    let files = snapshot.files(None).await.unwrap();
                    let written = put_together(&snapshot, &files).await;
                    let Some(add) = written.adds.first() else { continue };
                    let compaction = Transaction::begin(&snapshot).concatenate(&files, add.clone()).unwrap();
                    compaction.keeps_row_ids().commit().await.unwrap();
                }
                4 => {
                    let version = chance.random_below(versions.len() as u64);
                    table.restore(TableVersion::Number(version)).run().await.unwrap();
                    expected = versions[usize::try_from(version).unwrap()].clone();
                }
                _ => {
                    table.overwrite(people(&[next], "a")).run().await.unwrap();
                    next += 1;
                    expected.clear();
                }
            }
            let found = latest(&table).await;
            let used: BTreeSet<i64> = versions.iter().flat_map(|rows| rows.values().map(|(id, _)| *id)).collect();
            let version = i64::try_from(versions.len()).unwrap();
            for (value, (id, at)) in &found {
                match expected.remove(value) {
                    Some(was) => assert_eq!(was, (*id, *at), "seed {seed}, step {step}, action {action}, row {value}"),
                    None => {
                        assert!(!used.contains(id) && *at == version, "seed {seed}, step {step}: a new row {value} has id {id}")
                    }
                }
            }
            assert!(expected.is_empty(), "seed {seed}, step {step}, action {action}: rows are lost: {expected:?}");
            versions.push(found);
        }
    }
}
