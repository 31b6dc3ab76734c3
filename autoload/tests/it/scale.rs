//! Many small files.

use boathouse_base::StreamSource;
use boathouse_storage::{Location, Storage};

use crate::support::{Site, files, step};

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
