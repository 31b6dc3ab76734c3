//! Rows in the place of others.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_core::{DeltaTableExt, EngineError};

use crate::feed::check_feed;
use crate::rows::{FEED, Row, VECTORS, batch, frame, read, row, sorted, table_of, table_of_with, table_with};

#[tokio::test]
async fn what_matches_leaves_and_the_new_rows_come_in_one_version() {
    for properties in [&[][..], &[VECTORS][..], &[FEED][..], &[FEED, VECTORS][..]] {
        let old: Vec<Row> = (0..10).map(|id| row(id, "a", 1)).collect();
        let table = table_of_with(properties, &[&old, &[row(20, "b", 2)]]).await;
        let new = [row(3, "n", 7), row(5, "n", 8), (Some(3), None, None)];
        let report = table.replace_where(frame(&new), "id IN (3, 4, 5)").run().await.unwrap();
        assert_eq!((report.version, report.rows_inserted, report.rows_deleted), (3, 3, Some(3)));
        assert_eq!(report.rows_copied, if properties.contains(&VECTORS) { 0 } else { 7 });
        let mut expected: Vec<Row> = old.iter().filter(|row| !(3..=5).contains(&row.0.unwrap())).copied().collect();
        expected.extend([row(20, "b", 2)]);
        let before = sorted(&old.iter().chain(&[row(20, "b", 2)]).copied().collect::<Vec<_>>());
        expected.extend(new);
        assert_eq!(read(&table).await, sorted(&expected), "{properties:?}");
        if properties.contains(&FEED) {
            check_feed(&table, &[Vec::new(), sorted(&old), before, sorted(&expected)]).await;
        }
    }
}

#[tokio::test]
async fn a_new_row_that_the_condition_does_not_hold_for_is_refused_and_nothing_changes() {
    let table = table_of_with(&[VECTORS], &[&[row(1, "a", 1), row(2, "a", 2)]]).await;
    // Work after commits writes into the log, too.
    table.settle().await;
    let objects = table.storage().list("").await.unwrap().len();
    for outside in [row(9, "a", 9), (None, Some("a"), Some(1))] {
        let error = table.replace_where(frame(&[row(1, "b", 1), outside]), "id = 1").run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("row 1"), "{error}");
    }
    assert_eq!(read(&table).await, sorted(&[row(1, "a", 1), row(2, "a", 2)]));
    assert_eq!(table.storage().list("").await.unwrap().len(), objects, "no file is left behind");
}

#[tokio::test]
async fn partitions_with_new_rows_are_replaced_and_all_others_stay() {
    let table = table_of(true, &[&[row(1, "a b", 1), row(2, "ü%/", 2), (Some(3), None, Some(3))], &[row(4, "a b", 4)]]).await;
    let new = [row(7, "a b", 7), (Some(8), None, Some(8)), row(9, "new", 9)];
    let report = table.replace_partitions(frame(&new)).run().await.unwrap();
    assert_eq!((report.rows_inserted, report.rows_deleted, report.files_removed), (3, Some(3), 3));
    let mut expected = new.to_vec();
    expected.push(row(2, "ü%/", 2));
    assert_eq!(read(&table).await, sorted(&expected));
    let nothing = table.replace_partitions(frame(&[])).run().await.unwrap();
    assert!(!nothing.committed, "no rows, no partitions");
}

#[tokio::test]
async fn a_row_that_comes_meanwhile_into_a_replaced_partition_is_not_lost() {
    let table = table_of(true, &[&[row(1, "a", 1)], &[row(2, "b", 2)]]).await;
    let other = boathouse_delta_core::DeltaTable::at(table.storage().clone(), table.env().clone());
    let replace = table.replace_partitions(frame(&[row(5, "a", 5)]));
    let delete = other.delete().filter("part = 'a'");
    let (replaced, deleted) = tokio::join!(replace.run(), delete.run());
    // Both want the same file: one of them comes second, and either sees the new state or fails.
    for error in [replaced.as_ref().err(), deleted.as_ref().err()].into_iter().flatten() {
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
    assert!(replaced.is_ok() || deleted.is_ok());
    assert!(read(&table).await.contains(&(Some(2), Some("b".to_owned()), Some(2))));
}

#[tokio::test]
async fn columns_that_the_table_does_not_have_and_append_only_tables_are_refused() {
    let table = table_of(false, &[&[row(1, "a", 1)]]).await;
    let wider = frame(&[row(1, "a", 1)]).with_column("more", datafusion::prelude::lit(1)).unwrap();
    let error = table.replace_where(wider, "id = 1").run().await.unwrap_err();
    assert!(matches!(error, EngineError::Table(_)), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let appends = table_with(false, &[("delta.appendOnly", "true")]).await;
    appends.append(batch(&[row(1, "a", 1)]).into()).run().await.unwrap();
    assert_eq!(appends.replace_partitions(frame(&[row(1, "a", 1)])).run().await.unwrap_err().kind(), ErrorKind::Invalid);
}
