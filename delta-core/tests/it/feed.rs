//! The change feed: what each version changed, against the rows before and after it.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_schema::DataType;
use boathouse_base::{DomainError, ErrorKind, TableVersion};
use boathouse_delta_core::{ChangeRange, DeltaError, DeltaTable, DeltaTableExt, MergeDelete, OutOfRange, RowChangeSettings};
use boathouse_storage::seeded_env;
use datafusion::arrow::compute::cast;

use crate::rows::{FEED, OwnedRow, VECTORS, batch, frame, owned_rows, row, table_of_with, table_with};

/// A change: version, what happened, and the row.
type Changed = (i64, String, OwnedRow);

async fn read(table: &DeltaTable, range: impl Into<ChangeRange>) -> Result<Vec<Changed>, boathouse_base::Error> {
    let table = DeltaTable::at(table.storage().clone(), seeded_env(9));
    let mut changes = Vec::new();
    let (range, views) = (range.into(), |batch: &RecordBatch| batch.column(1).data_type() == &DataType::Utf8View);
    let viewed = table.changes(range).with_views().read().await?.collect().await?;
    let batches = table.changes(range).read().await?.collect().await?;
    assert_eq!(viewed.len(), batches.len());
    for (viewed, batch) in viewed.iter().zip(batches) {
        assert!(views(viewed) && !views(&batch));
        for (viewed, column) in viewed.columns().iter().zip(batch.columns()) {
            assert_eq!(&cast(viewed, column.data_type()).unwrap(), column);
        }
        let (what, versions) = (batch.column(3).as_string::<i32>(), batch.column(4).as_primitive::<Int64Type>());
        for (at, row) in owned_rows(&batch).into_iter().enumerate() {
            changes.push((versions.value(at), what.value(at).to_owned(), row));
        }
    }
    changes.sort();
    Ok(changes)
}

/// Takes a row out of a bag.
fn take(bag: &mut Vec<OwnedRow>, row: &OwnedRow, version: usize) {
    let at = bag.iter().position(|found| found == row).unwrap_or_else(|| panic!("version {version} takes {row:?} from {bag:?}"));
    bag.swap_remove(at);
}

/// The feed leads from the rows of each version to those of the next, and preimages and postimages come in pairs.
pub(crate) async fn check_feed(table: &DeltaTable, versions: &[Vec<OwnedRow>]) {
    let changes = read(table, 0..).await.unwrap();
    for version in 1..versions.len() {
        let of_version: Vec<&Changed> = changes.iter().filter(|(of, ..)| usize::try_from(*of).unwrap() == version).collect();
        let count = |what: &str| of_version.iter().filter(|(_, found, _)| found == what).count();
        assert_eq!(count("update_preimage"), count("update_postimage"), "version {version}");
        let mut bag = versions[version - 1].clone();
        for (_, what, row) in &of_version {
            if what == "delete" || what == "update_preimage" {
                take(&mut bag, row, version);
            }
        }
        let came = of_version.iter().filter(|(_, what, _)| what == "insert" || what == "update_postimage");
        bag.extend(came.map(|(_, _, row)| row.clone()));
        bag.sort();
        assert_eq!(bag, versions[version], "version {version}: {of_version:?}");
    }
}

fn change(version: i64, what: &str, row: crate::rows::Row) -> Changed {
    (version, what.to_owned(), (row.0, row.1.map(str::to_owned), row.2))
}

#[tokio::test]
async fn each_statement_tells_what_it_did_and_no_more() {
    for properties in [&[FEED][..], &[FEED, VECTORS][..]] {
        let rows = [row(1, "a", 1), row(2, "a", 2), row(3, "b", 3), row(4, "b", 4)];
        let table = table_of_with(properties, &[&rows]).await;
        table.delete().filter("id = 1").run().await.unwrap();
        table.update().set("v", "v * 10").filter("id = 2").run().await.unwrap();
        let source = frame(&[row(2, "c", 0), row(3, "c", 33), row(9, "c", 99)]);
        let merge = table.merge(source, "t.id = s.id").when_matched_delete(MergeDelete::only_if("s.v = 0"));
        merge.when_matched_update_all().when_not_matched_insert_all().run().await.unwrap();
        let found = read(&table, 2..).await.unwrap();
        let expected = [
            change(2, "delete", row(1, "a", 1)),
            change(3, "update_postimage", row(2, "a", 20)),
            change(3, "update_preimage", row(2, "a", 2)),
            change(4, "delete", row(2, "a", 20)),
            change(4, "insert", row(9, "c", 99)),
            change(4, "update_postimage", row(3, "c", 33)),
            change(4, "update_preimage", row(3, "b", 3)),
        ];
        assert_eq!(found, expected, "{properties:?}");
    }
}

#[tokio::test]
async fn a_delete_that_marks_some_files_and_copies_others_tells_of_both() {
    let table = table_of_with(
        &[FEED, VECTORS],
        &[&[row(1, "a", 1), row(2, "a", 2), row(3, "a", 3)], &[row(1, "b", 1), row(5, "b", 5), row(6, "b", 6), row(7, "b", 7)]],
    )
    .await;
    let delete = table.delete().filter("id < 3").with_row_change_settings(RowChangeSettings { copy_above_percent: 40 });
    let report = delete.run().await.unwrap();
    assert_eq!((report.files_marked, report.files_removed, report.rows_copied), (1, 1, 1));
    let expected =
        [change(3, "delete", row(1, "a", 1)), change(3, "delete", row(1, "b", 1)), change(3, "delete", row(2, "a", 2))];
    assert_eq!(read(&table, 3..).await.unwrap(), expected);
}

#[tokio::test]
async fn inserts_and_whole_files_need_no_files_of_changes() {
    let table = table_of_with(&[FEED], &[&[row(1, "a", 1)], &[row(2, "a", 2), row(3, "a", 3)]]).await;
    table.delete().filter("id = 1").run().await.unwrap();
    table.overwrite(batch(&[row(7, "z", 7)]).into()).run().await.unwrap();
    assert!(table.storage().list("_change_data").await.unwrap().is_empty());
    let expected = [
        change(3, "delete", row(1, "a", 1)),
        change(4, "delete", row(2, "a", 2)),
        change(4, "delete", row(3, "a", 3)),
        change(4, "insert", row(7, "z", 7)),
    ];
    assert_eq!(read(&table, 3..=4).await.unwrap(), expected);
    table.update().set("v", "0").run().await.unwrap();
    assert_eq!(table.storage().list("_change_data").await.unwrap().len(), 1);
}

#[tokio::test]
async fn rows_that_a_restore_brings_back_are_insertions() {
    let table = table_of_with(&[FEED, VECTORS], &[&[row(1, "a", 1), row(2, "a", 2), row(3, "a", 3)]]).await;
    table.delete().filter("id = 2").run().await.unwrap();
    table.restore(TableVersion::Number(1)).run().await.unwrap();
    let expected = [change(2, "delete", row(2, "a", 2)), change(3, "insert", row(2, "a", 2))];
    assert_eq!(read(&table, 2..).await.unwrap(), expected);
}

#[tokio::test]
async fn columns_that_came_later_are_null_in_earlier_changes_and_renamed_ones_have_their_new_name() {
    let mapping = ("delta.columnMapping.mode", "name");
    let table = table_of_with(&[FEED, mapping], &[&[row(1, "a", 1), row(2, "a", 2)]]).await;
    table.update().set("v", "7").filter("id = 1").run().await.unwrap();
    table.alter().rename_column("v", "value").run().await.unwrap();
    let changes = table.changes(2..).columns(["value", "id"]).read().await.unwrap().collect().await.unwrap();
    let values: Vec<i32> =
        changes.iter().flat_map(|b| b.column(0).as_primitive::<arrow_array::types::Int32Type>().values().to_vec()).collect();
    assert_eq!(
        {
            let mut values = values;
            values.sort_unstable();
            values
        },
        [1, 7]
    );
    assert_eq!(changes[0].schema_ref().field(0).name(), "value");
}

#[tokio::test]
async fn a_range_by_time_takes_the_commits_of_that_time() {
    let table = table_of_with(&[FEED], &[&[row(1, "a", 1)], &[row(2, "a", 2)]]).await;
    let all = table.changes(0..).read().await.unwrap().collect().await.unwrap();
    let at = |batch: &arrow_array::RecordBatch| batch.column(5).as_primitive::<TimestampMicrosecondType>().value(0);
    let (first, second) = (at(&all[0]), at(&all[1]));
    assert!(first < second);
    let since = |at_us| ChangeRange { from: TableVersion::AtUs(at_us), to: TableVersion::Latest };
    assert_eq!(read(&table, since(second)).await.unwrap(), [change(2, "insert", row(2, "a", 2))]);
    assert_eq!(read(&table, since(first)).await.unwrap().len(), 2);
    assert_eq!(read(&table, since(0)).await.unwrap().len(), 2);
    let until = ChangeRange { from: TableVersion::Number(0), to: TableVersion::AtUs(second - 1000) };
    assert_eq!(read(&table, until).await.unwrap(), [change(1, "insert", row(1, "a", 1))]);
}

#[tokio::test]
async fn times_without_a_commit_between_them_have_no_changes_and_times_to_come_are_refused_unless_they_are_followed() {
    let table = table_of_with(&[FEED], &[&[row(1, "a", 1)], &[row(2, "a", 2)]]).await;
    table.env().sleep(std::time::Duration::from_secs(60)).await;
    table.append(batch(&[row(3, "a", 3)]).into()).run().await.unwrap();
    let second = table.snapshot_at(TableVersion::Number(2)).await.unwrap().timestamp_us();
    let third = table.snapshot().await.unwrap().timestamp_us();
    let range = |from, to| ChangeRange { from: TableVersion::AtUs(from), to: TableVersion::AtUs(to) };
    assert!(read(&table, range(second + 1000, third - 1000)).await.unwrap().is_empty());
    let none = table.changes(range(second + 1000, third - 1000)).columns(["v"]).read().await.unwrap();
    assert_eq!(none.schema().fields().len(), 4, "and the same columns");
    let error = table.changes(range(third - 1000, second + 1000)).read().await.unwrap_err();
    assert!(matches!(error, DeltaError::ChangesBackwards { from: 3, to: 2, .. }), "{error}");
    // The third version is the newest.
    let to_come = third + 1000;
    for late in
        [range(0, to_come), range(to_come, to_come), ChangeRange { from: TableVersion::AtUs(to_come), to: TableVersion::Latest }]
    {
        let error = table.changes(late).read().await.unwrap_err();
        assert!(matches!(error, DeltaError::AfterNewestVersion { newest_version: 3, .. }), "{error}");
        let followed = table.changes(late).out_of_range(OutOfRange::Follow).read().await.unwrap().collect().await.unwrap();
        let rows: usize = followed.iter().map(arrow_array::RecordBatch::num_rows).sum();
        assert_eq!(rows, if late.from == TableVersion::AtUs(0) { 3 } else { 0 });
    }
    let last = table.changes(range(third, third)).read().await.unwrap().collect().await.unwrap();
    assert_eq!(last.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>(), 1);
}

#[tokio::test]
async fn changes_of_versions_without_a_feed_and_ranges_that_run_backwards_are_refused() {
    let table = table_with(false, &[]).await;
    table.append(batch(&[row(1, "a", 1)]).into()).run().await.unwrap();
    table.alter().set_property("delta.enableChangeDataFeed", "true").run().await.unwrap();
    table.append(batch(&[row(2, "a", 2)]).into()).run().await.unwrap();
    assert!(matches!(table.changes(1..).read().await.unwrap_err(), DeltaError::ChangesOff { version: 1, .. }));
    assert_eq!(read(&table, 2..).await.unwrap(), [change(3, "insert", row(2, "a", 2))]);
    let backwards = ChangeRange { from: TableVersion::Number(3), to: TableVersion::Number(2) };
    assert!(matches!(table.changes(backwards).read().await.unwrap_err(), DeltaError::ChangesBackwards { from: 3, to: 2, .. }));
    table.alter().set_property("delta.enableChangeDataFeed", "false").run().await.unwrap();
    let error = read(&table, 2..).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("version 4"), "{error}");
    assert_eq!(table.changes(9..).read().await.unwrap_err().kind(), ErrorKind::Invalid);
}
