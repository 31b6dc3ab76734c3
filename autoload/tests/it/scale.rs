//! Many small files.

use std::time::Duration;

use boathouse_autoload::{DiscoveryMode, ExistingFiles};
use boathouse_base::StreamSource;
use boathouse_storage::{Location, Storage, system_env};

use crate::support::{Site, files, rows, step};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_small_files_come_in_two_batches_and_a_rerun_finds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..2000 {
        let lines: String = (0..10).map(|row| format!("{{\"file\":{n},\"row\":{row},\"name\":\"x{row}\"}}\n")).collect();
        std::fs::write(folder.path().join(format!("{n:05}.json")), lines).unwrap();
    }
    let landing = Storage::open(&Location::parse(folder.path().to_str().unwrap()).unwrap()).unwrap();
    let site = Site { landing, state: Storage::memory() };
    let source = site.open().await;
    let (first, middle) = step(&source, None, files(1000)).await.unwrap();
    let (second, end) = step(&source, Some(&middle), files(1000)).await.unwrap();
    let batches = first.len() + second.len();
    let rows: usize = first.iter().chain(&second).map(|batch| batch.num_rows()).sum();
    assert_eq!(rows, 20_000);
    assert!(batches < 20, "small files share batches: {batches}");
    assert_eq!(site.open().await.plan(Some(&end), files(1000)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_many_skipped_files_tells_of_new_ones_alone() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..20_000 {
        std::fs::File::create(folder.path().join(format!("old-{n:05}.json"))).unwrap();
    }
    let landing = Storage::open(&Location::parse(folder.path().to_str().unwrap()).unwrap()).unwrap();
    let site = Site { landing, state: Storage::memory() };
    let describe = || site.describe().include_existing(ExistingFiles::Skip).discovery(DiscoveryMode::Watch);
    let source = describe().open().await.unwrap();
    std::fs::write(folder.path().join("new.json"), "{\"id\":1}\n").unwrap();
    let mut found = None;
    for _ in 0..500 {
        found = step(&source, None, files(1000)).await;
        if found.is_some() {
            break;
        }
        system_env().sleep(Duration::from_millis(10)).await;
    }
    let (batches, end) = found.unwrap();
    assert_eq!(rows(&batches).len(), 1);
    assert_eq!(describe().open().await.unwrap().plan(Some(&end), files(1000)).await.unwrap(), None);
    let state: u64 = site.state.list("").await.unwrap().iter().map(|entry| entry.size_bytes).sum();
    assert!(state < 400_000, "a skipped file costs 18 bytes: {state}");
}
