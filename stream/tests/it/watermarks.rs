//! Queries that follow several event times: which one counts, and what a silent one does.

use std::sync::Arc;
use std::time::Duration;

use boathouse_base::memory::{MemorySink, MemorySource};
use boathouse_base::{Env, ManualClock};
use boathouse_storage::Storage;
use boathouse_stream::{RunningQuery, StepOutcome, StreamError, StreamQuery, WatermarkPolicy};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::types::{Int64Type, TimestampMicrosecondType};

use crate::support::{Rig, at, drain, schema};

/// Two sources into windows of 10 s; rows of each may come 5 s late.
struct Two {
    a: MemorySource,
    b: MemorySource,
    sink: MemorySink,
    checkpoint: Storage,
    clock: ManualClock,
}

impl Two {
    fn new() -> Self {
        Self {
            a: MemorySource::new(schema()),
            b: MemorySource::new(schema()),
            sink: MemorySink::new(),
            checkpoint: Storage::memory(),
            clock: ManualClock::starting_at_us(1_000_000),
        }
    }

    fn query(&self) -> StreamQuery {
        let sql = "SELECT w.end AS e, n FROM (SELECT window(at, '10 seconds') AS w, count(*) AS n FROM \
                   (SELECT at FROM a UNION ALL SELECT at FROM b) GROUP BY window(at, '10 seconds'))";
        StreamQuery::named("two")
            .source_with_watermark("a", Arc::new(self.a.clone()), "at", Duration::from_secs(5))
            .source_with_watermark("b", Arc::new(self.b.clone()), "at", Duration::from_secs(5))
            .sql(sql)
            .sink(Arc::new(self.sink.clone()))
            .checkpoint(self.checkpoint.clone())
            .env(Env::new(self.clock.clone(), 7))
    }

    fn push(&self, a: &[i64], b: &[i64]) {
        for (source, seconds) in [(&self.a, a), (&self.b, b)] {
            if !seconds.is_empty() {
                source.push(at(seconds)).unwrap();
            }
        }
    }

    /// (end in seconds, rows), by their ends.
    fn windows(&self) -> Vec<(i64, i64)> {
        let mut rows = Vec::new();
        for batch in self.sink.batches() {
            let ends = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            let counts = batch.column(1).as_primitive::<Int64Type>();
            rows.extend(ends.values().iter().zip(counts.values()).map(|(end, n)| (end / 1_000_000, *n)));
        }
        rows.sort_unstable();
        rows
    }
}

fn watermark(query: &RunningQuery) -> Option<i64> {
    query.last_progress().and_then(|progress| progress.next_watermark_us).map(|us| us / 1_000_000)
}

#[tokio::test]
async fn the_earliest_watermark_counts_unless_the_policy_says_the_latest() {
    for (policy, watermarks, windows, late_rows) in [
        (WatermarkPolicy::Min, [None, Some(5), Some(25)], [(10, 2), (20, 2)], 0),
        // The slower source's rows of 8 and 10 s are late; its row of 30 s is in a window that is open.
        (WatermarkPolicy::Max, [Some(36), Some(36), Some(36)], [(10, 1), (20, 1)], 2),
    ] {
        let two = Two::new();
        let mut query = two.query().multiple_watermark_policy(policy).open().await.unwrap();
        let mut found = Vec::new();
        let mut late = 0;
        for (a, b) in [(&[3, 14, 41][..], &[][..]), (&[], &[8, 10]), (&[], &[30])] {
            two.push(a, b);
            while let StepOutcome::Epoch(progress) = query.step().await.unwrap() {
                late += progress.late_rows;
            }
            found.push(watermark(&query));
        }
        assert_eq!(found, watermarks, "{policy:?}");
        assert_eq!((two.windows().as_slice(), late), (&windows[..], late_rows), "{policy:?}");
    }
}

#[tokio::test]
async fn a_silent_source_holds_results_back_until_it_is_idle_and_comes_back_behind_the_watermark() {
    let two = Two::new();
    let mut query = two.query().idle_timeout(Duration::from_secs(60)).open().await.unwrap();
    two.push(&[1, 2], &[3]);
    drain(&mut query).await.unwrap();
    two.push(&[40], &[]);
    drain(&mut query).await.unwrap();
    assert_eq!((watermark(&query), two.windows()), (Some(-2), vec![]), "b has seen 3 s");

    two.clock.advance(Duration::from_secs(59));
    assert_eq!(query.step().await.unwrap(), StepOutcome::Idle);
    two.push(&[41], &[]);
    drain(&mut query).await.unwrap();
    assert_eq!(watermark(&query), Some(-2));

    two.clock.advance(Duration::from_secs(1));
    let StepOutcome::Epoch(progress) = query.step().await.unwrap() else { panic!("b is idle, so the watermark moves") };
    assert_eq!((progress.input_rows, progress.watermark_us), (0, Some(36_000_000)));
    assert_eq!(two.windows(), [(10, 3)], "one epoch without rows moves the watermark and emits");
    assert_eq!(query.step().await.unwrap(), StepOutcome::Idle, "once");

    two.push(&[], &[9, 38]);
    drain(&mut query).await.unwrap();
    let late: u64 = query.recent_progress().map(|progress| progress.late_rows).sum();
    assert_eq!((late, watermark(&query)), (1, Some(36)), "9 s is late, and the watermark does not go back to 33");
    two.push(&[90], &[]);
    drain(&mut query).await.unwrap();
    assert_eq!(watermark(&query), Some(36), "b is awake and holds it at 36");
    two.push(&[], &[95]);
    drain(&mut query).await.unwrap();
    assert_eq!(watermark(&query), Some(85));
    assert_eq!(two.windows(), [(10, 3), (40, 1), (50, 2)]);
}

#[tokio::test]
async fn a_source_that_never_had_rows_becomes_idle_and_a_new_run_waits_for_it_again() {
    let two = Two::new();
    let timeout = Duration::from_secs(10);
    let mut query = two.query().idle_timeout(timeout).open().await.unwrap();
    two.push(&[1, 30], &[]);
    drain(&mut query).await.unwrap();
    assert_eq!(watermark(&query), None);
    two.clock.advance(timeout);
    two.push(&[31], &[]);
    drain(&mut query).await.unwrap();
    assert_eq!((watermark(&query), two.windows()), (Some(26), vec![(10, 1)]));

    drop(query);
    let mut query = two.query().idle_timeout(timeout).open().await.unwrap();
    two.push(&[60], &[]);
    drain(&mut query).await.unwrap();
    assert_eq!(watermark(&query), Some(26), "the silence of the run before says nothing, and the watermark stays");
    two.clock.advance(timeout);
    drain(&mut query).await.unwrap();
    assert_eq!(watermark(&query), Some(60 - 5), "both are idle, and none waits for the other");
}

#[tokio::test]
async fn without_a_timeout_a_silent_source_holds_results_back_for_ever() {
    let two = Two::new();
    let mut query = two.query().open().await.unwrap();
    two.push(&[1, 90], &[2]);
    drain(&mut query).await.unwrap();
    two.clock.advance(Duration::from_secs(1_000_000));
    assert_eq!(query.step().await.unwrap(), StepOutcome::Idle);
    assert_eq!(two.windows(), []);
}

#[tokio::test]
async fn a_clause_of_the_statement_follows_an_event_time_as_the_call_does() {
    let mut windows = Vec::new();
    for (sql, calls) in [
        ("SELECT window(at, '10 seconds') AS w, count(*) AS n FROM source GROUP BY window(at, '10 seconds')", true),
        (
            "SELECT window(at, '10 seconds') AS w, count(*) AS n FROM STREAM source WATERMARK at DELAY OF INTERVAL 10 SECONDS \
             GROUP BY window(at, '10 seconds')",
            false,
        ),
        (
            "WITH s AS (SELECT * FROM source) SELECT window(t, '10 seconds') AS w, count(*) AS n \
             FROM s WATERMARK CAST(at AS TIMESTAMP) AS t DELAY OF INTERVAL '10' SECONDS AS x WHERE x.delay > 0 GROUP BY window(x.t, '10 seconds')",
            false,
        ),
    ] {
        let rig = Rig::new();
        let query =
            StreamQuery::named("test").sink(Arc::new(rig.sink.clone())).checkpoint(rig.checkpoint.clone()).env(rig.env.clone());
        let query = match calls {
            true => query.source_with_watermark("source", Arc::new(rig.source.clone()), "at", Duration::from_secs(10)),
            false => query.source(Arc::new(rig.source.clone())),
        };
        let mut query = query.sql(sql).open().await.unwrap();
        let mut seen = Vec::new();
        for seconds in [vec![10, 12], vec![25], vec![9], vec![14], vec![31], vec![20], vec![19]] {
            rig.push(at(&seconds));
            drain(&mut query).await.unwrap();
            let progress = query.last_progress().unwrap();
            seen.push((progress.next_watermark_us.map(|us| us / 1_000_000), progress.late_rows));
        }
        assert_eq!(seen.iter().map(|seen| seen.0.unwrap()).collect::<Vec<_>>(), [2, 15, 15, 15, 21, 21, 21], "{sql}");
        let rows: Vec<String> = rig.sink.batches().iter().map(|batch| format!("{:?}", batch.column(1))).collect();
        windows.push((seen, rows));
    }
    assert_eq!(windows[0], windows[1]);
    assert_eq!(windows[0], windows[2]);
}

#[tokio::test]
async fn a_clause_that_is_wrong_is_refused_with_its_place() {
    let rig = Rig::new();
    rig.push(at(&[1]));
    let sql = "SELECT *\nFROM source WATERMARK at DELAY INTERVAL 10 SECONDS";
    let error = rig.query().sql(sql).run_available_now().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "plan the query `test`: line 2, column 32: expected OF of `WATERMARK at DELAY OF INTERVAL 10 MINUTES`, and found `INTERVAL`"
    );
    let sql = "SELECT * FROM source WATERMARK delay DELAY OF INTERVAL 10 SECONDS";
    let error = rig.query().sql(sql).run_available_now().await.unwrap_err();
    assert!(matches!(error, StreamError::EventTimeType { ref column, .. } if column == "delay"), "{error}");
}
