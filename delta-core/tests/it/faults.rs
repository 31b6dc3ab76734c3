//! A store that fails at every step: a change is there as a whole or not at all.

use boathouse_delta_core::{DeltaError, DeltaTable, DeltaTableExt, EngineError};
use boathouse_storage::seeded_env;
use boathouse_storage::testing::{Fault, FaultRule, FaultStore};

use crate::rows::{frame, read, row, sorted, table_of};

#[tokio::test]
async fn a_fault_at_any_request_leaves_a_merge_done_once_or_not_at_all() {
    let before = [row(1, "a", 1), row(2, "b", 2), row(3, "b", 3)];
    let after = sorted(&[row(1, "a", 1), row(2, "b", 20), row(3, "b", 3), row(4, "b", 4)]);
    for fault in [Fault::FailBefore, Fault::FailAfter, Fault::LostReply, Fault::DiskFull] {
        let mut at = 0;
        loop {
            let sound = table_of(true, &[&before]).await;
            let mut store = None;
            let storage = sound.storage().with_object_store(|inner| {
                let faulty = FaultStore::new(inner);
                store = Some(faulty.clone());
                std::sync::Arc::new(faulty)
            });
            let store = store.unwrap();
            store.inject(FaultRule::new(fault).skip(at));
            let faulty = DeltaTable::at(storage, seeded_env(3));
            let merge = faulty.merge(frame(&[row(2, "b", 20), row(4, "b", 4)]), "t.id = s.id");
            let result = merge.when_matched_update_all().when_not_matched_insert_all().run().await;
            let rows = read(&sound).await;
            match &result {
                Ok(_) => assert_eq!(rows, after, "{fault:?} at request {at}"),
                Err(EngineError::Table(DeltaError::CommitUnknown { .. })) => assert!(rows == after || rows == sorted(&before)),
                Err(error) => assert_eq!(rows, sorted(&before), "{fault:?} at request {at}: {error}"),
            }
            if store.injected().is_empty() {
                break;
            }
            at += 1;
        }
        assert!(at >= 4, "a merge makes several requests");
    }
}
