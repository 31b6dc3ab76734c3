//! What an epoch costs, in requests and plans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use boathouse_storage::testing::CountingStore;
use boathouse_storage::{Operation, Storage};

use crate::support::{Rig, at, drain};

#[tokio::test]
async fn a_plan_is_made_once_for_many_epochs() {
    let rig = Rig::new();
    let plans = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&plans);
    let query = rig.windowed().transform(move |frame| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(frame)
    });
    let mut query = query.open().await.unwrap();
    for n in 0..20 {
        rig.push(at(&[n * 7]));
        drain(&mut query).await.unwrap();
    }
    assert!(query.last_epoch().unwrap() >= 20);
    assert_eq!(plans.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_epoch_without_windows_writes_one_object_to_the_checkpoint() {
    let (checkpoint, counting) = CountingStore::wrap(&Storage::memory());
    let rig = Rig { checkpoint, ..Rig::new() };
    let mut query = rig.query().open().await.unwrap();
    for n in 0..3 {
        counting.reset();
        rig.push(at(&[n]));
        query.step().await.unwrap();
        assert_eq!((counting.counts().total(), counting.counts().of(Operation::Put)), (1, 1));
    }
    counting.reset();
    query.step().await.unwrap();
    assert_eq!(counting.counts().total(), 0, "an idle step asks the source only");
}

#[tokio::test]
async fn an_epoch_with_windows_writes_its_state_the_position_and_deletes_the_old_state() {
    let (checkpoint, counting) = CountingStore::wrap(&Storage::memory());
    let rig = Rig { checkpoint, ..Rig::new() };
    let mut query = rig.windowed().open().await.unwrap();
    rig.push(at(&[5]));
    drain(&mut query).await.unwrap();
    counting.reset();
    rig.push(at(&[6]));
    query.step().await.unwrap();
    let counts = counting.counts();
    assert_eq!((counts.of(Operation::Put), counts.of(Operation::Delete), counts.total()), (2, 1, 3));
}
