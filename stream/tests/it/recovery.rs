//! Crashes at every place, and what the next run makes of them.

use std::sync::Arc;

use boathouse_base::memory::MemorySink;
use boathouse_base::{
    BatchStream, BoxFuture, CommittedEpoch, DomainError, EpochCommit, EpochReport, ErrorKind, ReadLimit, Result, StreamSink,
};
use boathouse_storage::Storage;
use boathouse_stream::{CrashPoint, StreamError, StreamQuery};
use proptest::prelude::*;

use crate::support::{Rig, Row, at, batch, crash_at, drain};

const ORIGINS: [Option<&str>; 3] = [Some("JFK"), Some("LGA"), None];

fn limited(query: StreamQuery) -> StreamQuery {
    query.read_limit(ReadLimit { rows: Some(3), ..ReadLimit::default() })
}

/// Pushes one batch after the other and runs to the end after each; opens the query again whenever it dies. Gives the
/// number of deaths.
async fn run(
    rig: &Rig,
    pushes: &[Vec<Row>],
    query: impl Fn(&Rig) -> StreamQuery,
    mut deaths: impl FnMut() -> Option<u64>,
) -> u64 {
    let mut died = 0;
    let open = |nth: Option<u64>| limited(query(rig)).with_crash_points(crash_at(nth.unwrap_or(u64::MAX))).open();
    let mut running = open(deaths()).await.unwrap();
    for rows in pushes {
        rig.push(batch(rows));
        while let Err(error) = drain(&mut running).await {
            assert!(matches!(error, StreamError::Crashed { .. }), "{error}");
            assert!(running.step().await.is_err(), "the dead stay dead");
            died += 1;
            running = open(deaths()).await.unwrap();
        }
    }
    died
}

fn some_pushes() -> Vec<Vec<Row>> {
    let times = [&[10, 12, 3][..], &[25, 11, 26, 27], &[9], &[14, 41], &[70, 55, 20], &[120]];
    times.iter().map(|times| times.iter().map(|t| (Some(*t), ORIGINS[usize::try_from(*t).unwrap() % 3], *t)).collect()).collect()
}

#[tokio::test]
async fn a_crash_at_any_place_leaves_the_same_windows_and_no_litter() {
    let calm = Rig::new();
    run(&calm, &some_pushes(), Rig::windowed, || None).await;
    assert!(calm.windows().len() > 5);
    for nth in 0.. {
        let rig = Rig::new();
        let mut crashes = Some(nth);
        let died = run(&rig, &some_pushes(), Rig::windowed, || crashes.take()).await;
        assert_eq!(rig.windows(), calm.windows(), "died at place {nth}");
        assert_eq!(rig.sink.epochs().len(), calm.sink.epochs().len(), "died at place {nth}");
        rig.windowed().open().await.unwrap();
        assert_eq!(rig.files("state").await.len(), calm.files("state").await.len(), "died at place {nth}");
        assert_eq!(rig.files("shape").await.len(), 1, "died at place {nth}");
        if died == 0 {
            assert!(nth > 50, "there are many places: {nth}");
            break;
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_place_loses_and_repeats_no_row() {
    let calm = Rig::new();
    run(&calm, &some_pushes(), Rig::query, || None).await;
    for nth in 0.. {
        let rig = Rig::new();
        let mut crashes = Some(nth);
        let died = run(&rig, &some_pushes(), Rig::query, || crashes.take()).await;
        assert_eq!(rig.delays(), calm.delays(), "died at place {nth}");
        if died == 0 {
            break;
        }
    }
}

#[tokio::test]
async fn every_crash_point_is_reached() {
    let reached = Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let rig = Rig::new();
    rig.push(at(&[1]));
    let seen = Arc::clone(&reached);
    let observe = move |point: CrashPoint, _: u64| {
        seen.lock().unwrap().insert(point);
        false
    };
    rig.windowed().with_crash_points(observe).run_available_now().await.unwrap();
    assert_eq!(reached.lock().unwrap().iter().copied().collect::<Vec<_>>(), CrashPoint::ALL);
}

fn rows() -> impl Strategy<Value = Vec<Vec<(i64, usize, i64)>>> {
    let row = (0..200_i64, 0..3_usize, -5..50_i64);
    proptest::collection::vec(proptest::collection::vec(row, 1..8), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn random_crashes_change_nothing(pushes in rows(), gaps in proptest::collection::vec(0..25_u64, 0..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pushes: Vec<Vec<Row>> =
            pushes.iter().map(|rows| rows.iter().map(|(t, origin, delay)| (Some(*t), ORIGINS[*origin], *delay)).collect()).collect();
        runtime.block_on(async {
            let (calm, stormy) = (Rig::new(), Rig::new());
            run(&calm, &pushes, Rig::windowed, || None).await;
            let mut gaps = gaps.into_iter();
            run(&stormy, &pushes, Rig::windowed, || gaps.next()).await;
            assert_eq!(stormy.windows(), calm.windows());
            assert_eq!(stormy.sink.epochs().len(), calm.sink.epochs().len());
        });
    }
}

#[tokio::test]
async fn of_two_runs_each_epoch_is_committed_by_one() {
    let rig = Rig::new();
    let (mut a, mut b) = (rig.windowed().open().await.unwrap(), rig.windowed().open().await.unwrap());
    rig.push(at(&[10, 12]));
    a.step().await.unwrap();
    let error = b.step().await.unwrap_err();
    assert!(matches!(error, StreamError::ConcurrentRun { epoch: 0, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    rig.push(at(&[60]));
    drain(&mut b).await.unwrap();
    assert_eq!(rig.windows(), [(20, Some("JFK".to_owned()), 2, 2)]);
    assert!(a.step().await.is_err(), "now a is behind");
    drain(&mut a).await.unwrap();
    assert_eq!(rig.windows().len(), 1);
}

/// A sink whose log was cleaned: it knows epochs, and no payloads.
#[derive(Debug)]
struct Cleaned(MemorySink);

impl StreamSink for Cleaned {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn last_epoch<'a>(&'a self, query_id: &'a str) -> BoxFuture<'a, Result<Option<CommittedEpoch>>> {
        Box::pin(async move { Ok(self.0.last_epoch(query_id).await?.map(|last| CommittedEpoch { payload: None, ..last })) })
    }

    fn commit(&self, epoch: EpochCommit, data: BatchStream) -> BoxFuture<'_, Result<EpochReport>> {
        self.0.commit(epoch, data)
    }
}

#[tokio::test]
async fn a_sink_without_payloads_is_resumed_from_the_copy_in_the_checkpoint() {
    let rig = Rig::new();
    let query = || rig.windowed().sink(Arc::new(Cleaned(rig.sink.clone())));
    rig.push(at(&[10, 12]));
    query().run_available_now().await.unwrap();
    rig.push(at(&[60]));
    query().run_available_now().await.unwrap();
    assert_eq!(rig.windows(), [(20, Some("JFK".to_owned()), 2, 2)]);
    rig.push(at(&[61]));
    let crash = |point, _| point == CrashPoint::AfterSinkCommit;
    query().with_crash_points(crash).run_available_now().await.unwrap_err();
    let error = query().open().await.unwrap_err();
    assert!(matches!(error, StreamError::PositionLost { .. }), "the copy is one epoch old: {error}");
}

#[tokio::test]
async fn a_sink_that_was_emptied_is_noticed() {
    let rig = Rig::new();
    rig.push(at(&[1]));
    rig.query().run_available_now().await.unwrap();
    let error = rig.query().sink(Arc::new(MemorySink::new())).open().await.unwrap_err();
    assert!(matches!(error, StreamError::SinkBehind { seen: 0, found: None, .. }), "{error}");
}

#[tokio::test]
async fn a_state_file_that_was_cut_short_or_is_gone_is_corrupt_and_named() {
    let rig = Rig::new();
    rig.push(at(&[10, 12]));
    rig.windowed().run_available_now().await.unwrap();
    let file = rig.files("state").await.remove(0);
    let whole = rig.checkpoint.get(&file).await.unwrap();
    rig.checkpoint.put(&file, whole.slice(..whole.len() - 8)).await.unwrap();
    // State is loaded when the first epoch needs it.
    rig.push(at(&[14]));
    let error = rig.windowed().run_available_now().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&file), "{error}");
    rig.checkpoint.delete(&file).await.unwrap();
    assert_eq!(rig.windowed().run_available_now().await.unwrap_err().kind(), ErrorKind::NotFound);
    rig.checkpoint.put(&file, whole).await.unwrap();
    assert_eq!(rig.windowed().run_available_now().await.unwrap().input_rows, 1, "nothing else was harmed");
}

#[tokio::test]
async fn a_checkpoint_on_disk_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let location = boathouse_storage::Location::parse(folder.path().to_str().unwrap()).unwrap();
    let rig = Rig { checkpoint: Storage::open(&location).unwrap(), ..Rig::new() };
    rig.push(at(&[10, 12]));
    rig.windowed().run_available_now().await.unwrap();
    rig.push(at(&[60]));
    rig.windowed().run_available_now().await.unwrap();
    assert_eq!(rig.windows(), [(20, Some("JFK".to_owned()), 2, 2)]);
}
