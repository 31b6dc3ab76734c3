//! Random tables, tidied in random ways: the rows are those of a list in memory, each with the id that it had.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use boathouse_base::ScanRequest;
use boathouse_delta_core::table::DataWriterSettings;
use boathouse_delta_core::{DeltaTable, DeltaTableExt, OptimizeCommits, OptimizeSettings, RowChangeSettings};
use boathouse_storage::seeded_env;
use proptest::prelude::*;

use crate::rows::{OwnedRow, Row, VECTORS, batch, owned_rows, read, sorted, table_with};

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Row>),
    DeleteIdBelow(i64),
    UpdateValueOf(i64),
    Optimize,
    OptimizePart(&'static str),
    ZOrder(Vec<&'static str>),
    Purge,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let id = prop_oneof![8 => (0..20_i64).prop_map(Some), 1 => Just(None)];
    let part = prop_oneof![Just(Some("a b")), Just(Some("ü%/")), Just(None)];
    let value = prop_oneof![4 => (0..5_i32).prop_map(Some), 1 => Just(None)];
    prop::collection::vec((id, part, value), 1..12)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => rows().prop_map(Step::Append),
        1 => (0..20_i64).prop_map(Step::DeleteIdBelow),
        1 => (0..20_i64).prop_map(Step::UpdateValueOf),
        2 => Just(Step::Optimize),
        1 => prop_oneof![Just("a b"), Just("ü%/")].prop_map(Step::OptimizePart),
        1 => prop_oneof![Just(vec!["id"]), Just(vec!["id", "v"]), Just(vec!["v", "id"])].prop_map(Step::ZOrder),
        1 => Just(Step::Purge),
    ]
}

/// Each row with its id and its version, when the table tracks its rows; in order otherwise.
async fn tracked(table: &DeltaTable) -> Vec<(OwnedRow, i64, i64)> {
    let snapshot = DeltaTable::at(table.storage().clone(), seeded_env(8)).snapshot().await.unwrap();
    let Some(columns) = snapshot.row_tracking().cloned() else { return Vec::new() };
    let batches = snapshot.scan_with_row_ids(ScanRequest::default(), &columns).unwrap().collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in &batches {
        let long = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
        let (ids, versions) = (long(&columns.row_id), long(&columns.commit_version));
        rows.extend(owned_rows(batch).into_iter().enumerate().map(|(at, row)| (row, ids.value(at), versions.value(at))));
    }
    rows.sort();
    rows
}

/// The rows of each partition, in the order in which they are read.
async fn in_order(table: &DeltaTable) -> BTreeMap<Option<String>, Vec<OwnedRow>> {
    let snapshot = DeltaTable::at(table.storage().clone(), seeded_env(8)).snapshot().await.unwrap();
    let batches = snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap();
    let partitioned = !snapshot.partition_columns().is_empty();
    let mut rows: BTreeMap<Option<String>, Vec<OwnedRow>> = BTreeMap::new();
    for row in batches.iter().flat_map(owned_rows) {
        rows.entry(row.1.clone().filter(|_| partitioned)).or_default().push(row);
    }
    rows
}

async fn run([partitioned, vectors, mapping, tracking, each, copy]: [bool; 6], target_bytes: u64, steps: Vec<Step>) {
    let wanted =
        [(vectors, VECTORS), (mapping, ("delta.columnMapping.mode", "id")), (tracking, ("delta.enableRowTracking", "true"))];
    let properties: Vec<_> = wanted.into_iter().filter(|(on, _)| *on).map(|(_, property)| property).collect();
    let table = table_with(partitioned, &properties).await;
    let settings = || OptimizeSettings {
        target_file_size_bytes: Some(target_bytes),
        commits: if each { OptimizeCommits::EachPartition } else { OptimizeCommits::One },
        copy_row_groups_from_rows: if copy { 0 } else { u64::MAX },
        writer: DataWriterSettings { row_group_rows: 7, ..DataWriterSettings::default() },
        ..OptimizeSettings::default()
    };
    let mark = || RowChangeSettings { copy_above_percent: 80 };
    let mut model: Vec<Row> = Vec::new();
    for step in steps {
        let (ids, order) = (tracked(&table).await, in_order(&table).await);
        // When all files are put together, or each for itself, no row passes another one.
        let (mut tidied, mut ordered) = (true, false);
        match &step {
            Step::Append(rows) => {
                table.append(batch(rows).into()).run().await.unwrap();
                model.extend(rows);
                tidied = false;
            }
            Step::DeleteIdBelow(id) => {
                let delete = table.delete().filter(format!("id < {id}")).with_row_change_settings(mark());
                delete.run().await.unwrap();
                model.retain(|row| row.0.is_none_or(|found| found >= *id));
                tidied = false;
            }
            Step::UpdateValueOf(id) => {
                let update = table.update().set("v", "7").filter(format!("id = {id}")).with_row_change_settings(mark());
                update.run().await.unwrap();
                model.iter_mut().filter(|row| row.0 == Some(*id)).for_each(|row| row.2 = Some(7));
                tidied = false;
            }
            Step::Optimize => {
                let report = table.optimize().with_settings(settings()).run().await.unwrap();
                // Every file of the table is small, or all are as they were.
                ordered = target_bytes > 1 << 20 || !report.committed();
            }
            Step::OptimizePart(part) => {
                let optimize = table.optimize().filter(format!("part = '{part}'")).with_settings(settings()).run().await;
                assert_eq!(optimize.is_ok(), partitioned);
            }
            Step::ZOrder(columns) => {
                let report = table.optimize().z_order(columns.clone()).with_settings(settings()).run().await.unwrap();
                assert_eq!(report.rows_copied, model.len() as u64);
            }
            Step::Purge => {
                table.purge().with_settings(settings()).run().await.unwrap();
                let files = table.snapshot().await.unwrap().files(None).await.unwrap();
                assert!(files.iter().all(|file| file.deletion_vector().is_none()));
            }
        }
        assert_eq!(read(&table).await, sorted(&model), "after {step:?}");
        if tidied {
            assert_eq!(tracked(&table).await, ids, "row ids after {step:?}");
        }
        if ordered {
            assert_eq!(in_order(&table).await, order, "the order after {step:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn random_tables_have_the_same_rows_after_they_were_tidied(
        features in any::<[bool; 6]>(),
        target_bytes in prop_oneof![Just(1_u64), Just(2000), Just(1 << 30)],
        steps in prop::collection::vec(step(), 1..9),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(features, target_bytes, steps));
    }
}
