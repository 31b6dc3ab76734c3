//! Two writers at once.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_core::{DeltaTable, DeltaTableExt};

use crate::rows::{batch, frame, read, row, sorted, table_of};

/// A second handle whose cache is as old as this moment.
fn stale(table: &DeltaTable) -> DeltaTable {
    DeltaTable::at(table.storage().clone(), table.env().clone())
}

#[tokio::test]
async fn deletes_of_the_same_file_at_once_leave_one_winner_or_both_effects() {
    let table = table_of(false, &[&[row(1, "a", 1), row(2, "a", 2), row(3, "a", 3)]]).await;
    let other = stale(&table);
    let (one, two) = tokio::join!(table.delete().filter("id = 1").run(), other.delete().filter("id = 2").run());
    let mut left = vec![row(3, "a", 3)];
    for (result, kept) in [(one, row(1, "a", 1)), (two, row(2, "a", 2))] {
        if let Err(error) = result {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            left.push(kept);
        }
    }
    assert_eq!(read(&table).await, sorted(&left));
    assert!(left.len() < 3, "one of them wins");
}

#[tokio::test]
async fn an_append_to_another_partition_does_not_disturb_a_delete() {
    let table = table_of(true, &[&[row(1, "a", 1), row(2, "b", 2)]]).await;
    let other = stale(&table);
    let (deleted, appended) =
        tokio::join!(table.delete().filter("part = 'a'").run(), other.append(batch(&[row(3, "b", 3)]).into()).run());
    deleted.unwrap();
    appended.unwrap();
    assert_eq!(read(&table).await, sorted(&[row(2, "b", 2), row(3, "b", 3)]));
}

#[tokio::test]
async fn upserts_of_the_same_key_at_once_never_insert_it_twice() {
    let table = table_of(false, &[&[row(1, "a", 1)]]).await;
    let other = stale(&table);
    let upsert = |table: &DeltaTable, v| {
        table.merge(frame(&[row(9, "a", v)]), "t.id = s.id").when_matched_update_all().when_not_matched_insert_all()
    };
    let (one, two) = tokio::join!(upsert(&table, 1).run(), upsert(&other, 2).run());
    for error in [one.err(), two.err()].into_iter().flatten() {
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
    assert_eq!(read(&table).await.iter().filter(|row| row.0 == Some(9)).count(), 1);
}
