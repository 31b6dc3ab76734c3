//! A table that is erased is as it was until it is none.

use boathouse_base::{ScanRequest, TableVersion};
use boathouse_delta_table::DeltaTable;
use boathouse_storage::Operation;
use boathouse_storage::seeded_env;
use boathouse_storage::testing::{Fault, FaultRule, FaultStore};

use crate::rows::{append_each, latest_ids, people, reopened, table};

/// Five versions, a checkpoint of the third, and files of another program.
async fn prepared() -> DeltaTable {
    let table = table();
    append_each(&table, 0..3).await;
    table.checkpoint().run().await.unwrap();
    append_each(&table, 3..5).await;
    table.storage().put("_hidden/file", "of another program").await.unwrap();
    table
}

#[tokio::test]
async fn nothing_is_left_and_another_table_can_stand_there() {
    let table = prepared().await;
    let before = table.storage().list("").await.unwrap();
    let report = table.erase().await.unwrap();
    assert_eq!((report.files, report.bytes), (before.len() as u64, before.iter().map(|entry| entry.size_bytes).sum()));
    assert!(table.storage().list("").await.unwrap().is_empty());
    assert!(!reopened(&table).exists().await.unwrap());
    assert_eq!(table.erase().await.unwrap().files, 0);
    let again = reopened(&table);
    append_each(&again, 9..10).await;
    assert_eq!(latest_ids(&again).await, [9]);
}

#[tokio::test]
async fn a_crash_at_any_deletion_leaves_the_table_as_it_was_or_none_and_never_an_older_version() {
    let (mut whole, mut none) = (0, 0);
    for at in 0.. {
        let sound = prepared().await;
        let mut fault = None;
        let wrapped = sound.storage().with_object_store(|store| {
            let faulty = FaultStore::new(store);
            fault = Some(faulty.clone());
            std::sync::Arc::new(faulty)
        });
        let store = fault.unwrap();
        store.inject(FaultRule::new(Fault::CrashBefore).on(Operation::Delete).skip(at));
        let erased = DeltaTable::at(wrapped, seeded_env(3)).erase().await;
        if erased.is_ok() {
            assert!(at > 5, "there were {at} deletions");
            break;
        }
        let later = reopened(&sound);
        match later.try_snapshot().await {
            Ok(Some(snapshot)) => {
                assert_eq!(snapshot.version(), 4, "a crash at deletion {at}");
                assert_eq!(latest_ids(&later).await, [0, 1, 2, 3, 4], "a crash at deletion {at}");
                whole += 1;
            }
            Ok(None) | Err(_) => {
                assert!(later.snapshot_at(TableVersion::Number(1)).await.is_err(), "a crash at deletion {at}");
                none += 1;
            }
        }
        later.erase().await.unwrap();
        assert!(sound.storage().list("").await.unwrap().is_empty());
    }
    assert!(whole > 0 && none > 0, "{whole} crashes left the table, {none} left none");
}

#[tokio::test]
async fn a_reader_under_way_fails_and_sees_no_other_rows() {
    let table = prepared().await;
    let snapshot = table.snapshot().await.unwrap();
    reopened(&table).erase().await.unwrap();
    let other = reopened(&table);
    other.append(people(&[7], "b")).create_if_absent().run().await.unwrap();
    assert!(snapshot.scan(ScanRequest::default()).unwrap().collect().await.is_err());
}
