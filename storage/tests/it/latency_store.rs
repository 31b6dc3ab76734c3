use std::time::Duration;

use boathouse_base::{Env, ManualClock};
use boathouse_storage::Storage;
use boathouse_storage::testing::{LatencyProfile, LatencyStore, run_on_clock};
use futures::future::try_join_all;

fn profile() -> LatencyProfile {
    LatencyProfile {
        read: Duration::from_millis(20),
        write: Duration::from_millis(40),
        list: Duration::from_millis(60),
        delete: Duration::from_millis(10),
        bytes_per_second: 1_000,
    }
}

#[tokio::test]
async fn requests_one_after_the_other_add_up_and_at_once_they_overlap() {
    let clock = ManualClock::default();
    let env = Env::new(clock.clone(), 1);
    let storage = LatencyStore::wrap(&Storage::memory(), env.clone(), profile());
    let elapsed_ms = || env.monotonic_us() / 1000;
    run_on_clock(&clock, async {
        for name in ["a", "b", "c"] {
            storage.put(name, vec![0; 10]).await.unwrap();
        }
        assert_eq!(elapsed_ms(), 3 * (40 + 10));
        try_join_all(["a", "b", "c"].map(|name| storage.get(name))).await.unwrap();
        assert_eq!(elapsed_ms(), 150 + 20 + 10);
        storage.list("").await.unwrap();
        assert_eq!(elapsed_ms(), 180 + 60);
        storage.delete("a").await.unwrap();
        assert_eq!(elapsed_ms(), 240 + 10);
    })
    .await;
}

#[tokio::test]
async fn spawned_work_on_the_same_thread_takes_part() {
    let clock = ManualClock::default();
    let env = Env::new(clock.clone(), 1);
    let storage = LatencyStore::wrap(&Storage::memory(), env.clone(), profile());
    run_on_clock(&clock, async {
        let tasks = (0..4).map(|i| {
            let storage = storage.clone();
            tokio::spawn(async move { storage.put(&format!("{i}"), "").await })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap().unwrap();
        }
    })
    .await;
    assert_eq!(env.monotonic_us(), 40_000);
}
