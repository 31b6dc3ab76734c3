//! Functions and the console as sinks: an epoch that was begun comes again as it was.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boathouse_base::{
    BatchStream, BoxFuture, DomainError, Env, EpochCommit, ErrorKind, ManualClock, OutputMode, ReadLimit, Result, StreamSink,
};
use boathouse_storage::Storage;
use boathouse_storage::testing::{Fault, FaultRule, FaultStore};
use boathouse_stream::sinks::{BatchWriter, ConsoleOptions, ConsoleWriter, EpochBatch, JournaledSink};
use boathouse_stream::{StreamError, StreamQuery, TumblingWindow};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;

use crate::support::{Rig, at, batch, crash_at, drain};

/// A target that remembers epochs: it sees to it that one that comes again has the same rows.
#[derive(Debug, Clone, Default)]
struct Remembers {
    epochs: Arc<Mutex<BTreeMap<u64, String>>>,
    /// Calls that fail after they have written, by number from 0.
    fails: Arc<Mutex<Vec<u64>>>,
    calls: Arc<Mutex<u64>>,
    again: Arc<Mutex<u64>>,
}

impl Remembers {
    fn content(&self) -> BTreeMap<u64, String> {
        self.epochs.lock().unwrap().clone()
    }

    async fn take(&self, batch: EpochBatch) -> Result<()> {
        let (epoch, again) = (batch.epoch, batch.again);
        let rows = batch.collect().await?;
        let mut lines: Vec<String> = pretty_format_batches(&rows).unwrap().to_string().lines().map(str::to_owned).collect();
        lines.sort();
        let text = lines.join("\n");
        if let Some(before) = self.epochs.lock().unwrap().insert(epoch, text.clone()) {
            assert!(again, "epoch {epoch} comes again and does not say so");
            assert_eq!(before, text, "epoch {epoch} comes again with other rows");
        }
        *self.again.lock().unwrap() += u64::from(again);
        let mut calls = self.calls.lock().unwrap();
        *calls += 1;
        match self.fails.lock().unwrap().contains(&(*calls - 1)) {
            true => Err(StreamError::ReadsNoSource { query: "the target is away".into() }.into()),
            false => Ok(()),
        }
    }
}

impl BatchWriter for Remembers {
    fn describe(&self) -> String {
        "remembers".to_owned()
    }

    fn write(&self, batch: EpochBatch) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.take(batch))
    }
}

fn windowed(rig: &Rig, target: &Remembers) -> StreamQuery {
    let window = TumblingWindow::over("at", Duration::from_secs(10)).by(["origin"]).count("n").sum("delay", "delay");
    let query = StreamQuery::named("test")
        .source(Arc::new(rig.source.clone()))
        .checkpoint(rig.checkpoint.clone())
        .env(rig.env.clone())
        .read_limit(ReadLimit { rows: Some(3), ..ReadLimit::default() });
    query.watermark("at", Duration::from_secs(10)).window(window).writer(Arc::new(target.clone()))
}

const PUSHES: [&[i64]; 5] = [&[10, 12, 3, 25], &[11, 26, 27], &[9], &[14, 41, 70, 55, 20], &[120]];

/// Between a crash and the next run more rows come than before, so that an epoch that is planned anew would be another one.
async fn run(store: &Storage, target: &Remembers, nth: u64) -> (BTreeMap<u64, String>, u64) {
    let clock = ManualClock::starting_at_us(1_000_000);
    let rig = Rig { checkpoint: store.clone(), env: Env::new(clock.clone(), 7), ..Rig::new() };
    let mut failures = 0;
    let mut running = None;
    let mut pushes = PUSHES.iter();
    let mut is_over = false;
    while !is_over {
        if let Some(push) = pushes.next() {
            rig.push(at(push));
            clock.advance(Duration::from_secs(1));
        } else {
            is_over = true;
        }
        loop {
            let mut query = match running.take() {
                Some(running) => running,
                None => match windowed(&rig, target)
                    .with_crash_points(crash_at(if failures == 0 { nth } else { u64::MAX }))
                    .open()
                    .await
                {
                    Ok(query) => query,
                    Err(_) if failures < 9 => {
                        failures += 1;
                        continue;
                    }
                    Err(error) => panic!("it does not recover: {error}"),
                },
            };
            match drain(&mut query).await {
                Ok(_) => {
                    running = Some(query);
                    break;
                }
                Err(error) => {
                    failures += 1;
                    assert!(failures < 10, "it does not recover: {error}");
                    // More has come when the next run begins.
                    if let Some(push) = pushes.next() {
                        rig.push(at(push));
                    }
                    clock.advance(Duration::from_secs(5));
                }
            }
        }
    }
    (target.content(), failures)
}

/// All windows of all epochs, whatever epoch emitted them.
fn windows(epochs: &BTreeMap<u64, String>) -> Vec<String> {
    let mut rows: Vec<String> =
        epochs.values().flat_map(|text| text.lines()).filter(|line| line.contains("JFK")).map(str::to_owned).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn a_crash_at_any_place_brings_the_epoch_again_with_the_same_rows() {
    let (expected, _) = run(&Storage::memory(), &Remembers::default(), u64::MAX).await;
    assert!(windows(&expected).len() > 4, "{expected:?}");
    let mut again = 0;
    for nth in 0.. {
        let target = Remembers::default();
        let (found, died) = run(&Storage::memory(), &target, nth).await;
        // Windows that close in another epoch are the same windows; late rows of a larger epoch are none of a smaller one.
        let epochs: Vec<u64> = found.keys().copied().collect();
        assert_eq!(epochs, (0..found.len() as u64).collect::<Vec<_>>(), "died at place {nth}");
        if died == 0 {
            assert_eq!(windows(&found), windows(&expected));
            assert!(nth > 50, "there are many places: {nth}");
            break;
        }
        again += *target.again.lock().unwrap();
    }
    assert!(again > 3, "{again} epochs came again");
}

#[tokio::test]
async fn a_function_that_fails_after_it_has_written_gets_the_epoch_again() {
    let calm = Remembers::default();
    run(&Storage::memory(), &calm, u64::MAX).await;
    let calls = *calm.calls.lock().unwrap();
    for n in 0..calls {
        let target = Remembers { fails: Arc::new(Mutex::new(vec![n])), ..Remembers::default() };
        let (_, failures) = run(&Storage::memory(), &target, u64::MAX).await;
        assert_eq!((failures, *target.again.lock().unwrap()), (1, 1), "call {n}");
    }
}

#[tokio::test]
async fn any_write_of_the_checkpoint_may_fail() {
    let fresh = || FaultStore::new(Arc::clone(Storage::memory().object_store()));
    let calm = fresh();
    run(&calm.storage(), &Remembers::default(), u64::MAX).await;
    for fault in [Fault::FailBefore, Fault::FailAfter, Fault::LostReply, Fault::DiskFull] {
        for n in 0..calm.writes() {
            let store = fresh();
            store.inject(FaultRule::new(fault).on_writes().skip(n));
            let (found, _) = run(&store.storage(), &Remembers::default(), u64::MAX).await;
            assert_eq!(store.injected().len(), 1, "{fault:?} of write {n}");
            let epochs: Vec<u64> = found.keys().copied().collect();
            assert_eq!(epochs, (0..found.len() as u64).collect::<Vec<_>>(), "{fault:?} of write {n}");
        }
    }
}

#[tokio::test]
async fn an_epoch_that_was_begun_reads_what_it_read_and_not_what_has_come() {
    let rig = Rig::new();
    let target = Remembers { fails: Arc::new(Mutex::new(vec![1])), ..Remembers::default() };
    let query = || {
        let query = StreamQuery::named("test").source(Arc::new(rig.source.clone())).checkpoint(rig.checkpoint.clone());
        query.env(rig.env.clone()).writer(Arc::new(target.clone()))
    };
    rig.push(at(&[1, 2]));
    query().run_available_now().await.unwrap();
    rig.push(at(&[3]));
    query().run_available_now().await.unwrap_err();
    let checkpoint = |path: &'static str| async { String::from_utf8(rig.checkpoint.get(path).await.unwrap().to_vec()).unwrap() };
    let entry = checkpoint("offsets/1").await;
    let lines: Vec<&str> = entry.lines().collect();
    assert_eq!((lines[0], lines[2], lines.len()), ("v1", "3", 3));
    let about: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!((&about["batchWatermarkMs"], &about["batchTimestampMs"]), (&0.into(), &1000.into()));
    let done = checkpoint("commits/0").await;
    assert!(done.starts_with("v1\n{\"nextBatchWatermarkMs\":0,"), "{done}");
    assert!(rig.checkpoint.get_optional("commits/1").await.unwrap().is_none());
    rig.push(at(&[4, 5, 6]));
    let report = query().run_available_now().await.unwrap();
    assert_eq!((report.epochs, report.input_rows), (2, 4), "the one that was begun, then what has come");
    assert_eq!(*target.again.lock().unwrap(), 1);
}

#[tokio::test]
async fn the_journal_keeps_a_hundred_epochs() {
    let rig = Rig::new();
    let target = Remembers::default();
    let query = StreamQuery::named("test").source(Arc::new(rig.source.clone())).checkpoint(rig.checkpoint.clone());
    let mut running = query.env(rig.env.clone()).writer(Arc::new(target.clone())).open().await.unwrap();
    for n in 0..130 {
        rig.push(at(&[n]));
        drain(&mut running).await.unwrap();
    }
    assert_eq!((rig.files("offsets").await.len(), rig.files("commits").await.len()), (100, 100));
    assert_eq!(target.content().len(), 130);
}

#[tokio::test]
async fn of_two_runs_one_ends_with_a_conflict() {
    let rig = Rig::new();
    let target = Remembers::default();
    let (mut a, mut b) = (windowed(&rig, &target).open().await.unwrap(), windowed(&rig, &target).open().await.unwrap());
    rig.push(at(&[10, 12]));
    a.step().await.unwrap();
    rig.push(at(&[13]));
    let error = b.step().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    drain(&mut b).await.unwrap();
    assert_eq!(target.content().keys().copied().collect::<Vec<_>>(), [0, 1, 2], "the third for the watermark");
}

#[tokio::test]
async fn an_epoch_that_was_begun_over_other_rows_is_not_given_away() {
    let journal = Storage::memory();
    let target = Remembers::default();
    let open = || JournaledSink::new(Arc::new(target.clone()), journal.clone());
    let payload = |end: &str| {
        format!(
            r#"{{"version":3,"epoch":0,"runId":"r","timestampUs":1,"sources":[{{"name":"source","start":null,"end":"{end}"}}],"watermarkUs":null,"nextWatermarkUs":null}}"#
        )
    };
    let commit = |end: &str| EpochCommit { query_id: "q".into(), epoch: 0, payload: payload(end), mode: OutputMode::Append };
    let rows = || BatchStream::from_batches(batch(&[]).schema(), vec![at(&[1])]);
    let failing = Remembers { fails: Arc::new(Mutex::new(vec![0])), ..target.clone() };
    JournaledSink::new(Arc::new(failing), journal.clone()).commit(commit("1"), rows()).await.unwrap_err();
    let error = open().commit(commit("2"), rows()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("another run has begun it over other rows"), "{error}");
    assert_eq!(open().begun("q").await.unwrap().unwrap().epoch, 0);
    open().commit(commit("1"), rows()).await.unwrap();
    assert_eq!(open().begun("q").await.unwrap(), None);
    assert!(open().commit(commit("1"), rows()).await.unwrap().skipped);
    journal.put("commits/0", "v1\n{}").await.unwrap();
    let error = open().last_epoch("q").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("commits/0"), "{error}");
}

#[tokio::test]
async fn functions_get_rows_and_their_errors_say_which_epoch() {
    let rig = Rig::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let query = || StreamQuery::named("test").source(Arc::new(rig.source.clone())).checkpoint(rig.checkpoint.clone());
    let keep = Arc::clone(&seen);
    let keeps = move |batch: EpochBatch| {
        let keep = Arc::clone(&keep);
        async move {
            let epoch = batch.epoch;
            let rows = batch.collect().await?.iter().map(RecordBatch::num_rows).sum::<usize>();
            keep.lock().unwrap().push((epoch, rows));
            Ok::<_, boathouse_base::Error>(())
        }
    };
    rig.push(at(&[1, 2]));
    query().foreach_batch(keeps).run_available_now().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [(0, 2)]);
    rig.push(at(&[3]));
    let error = query().foreach_batch(|_| async { Err("the other side says no") }).run_available_now().await.unwrap_err();
    let text = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source()).map(ToString::to_string);
    let text = text.collect::<Vec<_>>().join(": ");
    assert!(text.contains("give epoch 1 to the function of foreach_batch: the other side says no"), "{text}");
}

#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_console_shows_the_first_rows_of_each_epoch() {
    let (rig, printed) = (Rig::new(), Printed::default());
    let writer = ConsoleWriter::to(ConsoleOptions { rows: 2, truncate: true }, printed.clone());
    rig.push(batch(&[(Some(1), Some("a place with a long name"), 1), (None, None, -20), (Some(3), Some("JFK"), 3)]));
    let query = StreamQuery::named("test").source(Arc::new(rig.source.clone())).checkpoint(rig.checkpoint.clone());
    let query = query.writer(Arc::new(writer)).sql("SELECT origin, delay FROM source");
    query.run_available_now().await.unwrap();
    let expected = "\
-------------------------------------------
Batch: 0
-------------------------------------------
+--------------------+-----+
|              origin|delay|
+--------------------+-----+
|a place with a lo...|    1|
|                NULL|  -20|
+--------------------+-----+
only showing top 2 of 3 rows

";
    assert_eq!(String::from_utf8(printed.0.lock().unwrap().clone()).unwrap(), expected);
}
