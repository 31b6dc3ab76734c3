//! Every operator against the engine over all rows at once: whatever the epochs, the order that the watermark allows, and restarts.

use std::sync::Arc;
use std::time::Duration;

use boathouse_base::memory::{MemorySink, MemorySource};
use boathouse_base::{Env, ManualClock, OutputMode, ReadLimit};
use boathouse_storage::Storage;
use boathouse_stream::{StepOutcome, StreamFrame, StreamQuery};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use proptest::prelude::*;

/// How late a row may be, in seconds.
const DELAY: i64 = 10;
/// A row so late that everything before is over.
const END: i64 = 1_000_000;

/// (seconds, key, value); they come in this order.
type Row = (i64, Option<u8>, i64);

fn batch(rows: &[Row]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0 * 1_000_000))) as ArrayRef, true),
        ("k", Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1.map(|k| format!("k{k}"))))), true),
        ("v", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))), true),
    ])
    .unwrap()
}

fn schema() -> SchemaRef {
    batch(&[]).schema()
}

/// (start, end, key, rows, sum).
type Session = (i64, i64, Option<u8>, i64, i64);

/// Rows whose times go up, but for what the watermark allows: a row that is as old as the watermark is late.
fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    let row = (0..8_i64, 0..DELAY, proptest::option::weighted(0.9, 0..4_u8), -5..50_i64);
    proptest::collection::vec(row, 1..most).prop_map(|rows| {
        let mut time = 100;
        let stamp = |(step, behind, key, value): (i64, i64, Option<u8>, i64)| {
            time += step;
            (time - behind, key, value)
        };
        rows.into_iter().map(stamp).collect()
    })
}

/// How a stream is read: rows in an epoch, and in which epochs it is opened anew.
#[derive(Debug, Clone, Copy)]
struct Way {
    size: u64,
    restarts: u32,
}

fn way() -> impl Strategy<Value = Way> {
    (1..12_u64, any::<u32>()).prop_map(|(size, restarts)| Way { size, restarts })
}

struct Rig {
    sources: Vec<(&'static str, MemorySource)>,
    sink: MemorySink,
    checkpoint: Storage,
    env: Env,
}

impl Rig {
    fn new(names: &[&'static str]) -> Self {
        Self {
            sources: names.iter().map(|name| (*name, MemorySource::new(schema()))).collect(),
            sink: MemorySink::new(),
            checkpoint: Storage::memory(),
            env: Env::new(ManualClock::starting_at_us(1_000_000), 7),
        }
    }

    fn query(&self, way: Way) -> StreamQuery {
        let mut query = StreamQuery::named("test").sink(Arc::new(self.sink.clone())).checkpoint(self.checkpoint.clone());
        for (name, source) in &self.sources {
            query = query.source_with_watermark(*name, Arc::new(source.clone()), "at", Duration::from_secs(DELAY.unsigned_abs()));
        }
        query.env(self.env.clone()).read_limit(ReadLimit { rows: Some(way.size), ..ReadLimit::default() })
    }

    async fn run(&self, query: StreamQuery, way: Way) {
        let mut running = query.clone().open().await.unwrap();
        let mut epochs = 0;
        while let StepOutcome::Epoch(progress) = running.step().await.unwrap() {
            assert_eq!(progress.late_rows, 0, "the rows are as late as the watermark allows");
            if way.restarts >> (epochs % 32) & 1 == 1 {
                running = query.clone().open().await.unwrap();
            }
            epochs += 1;
        }
    }
}

/// Rows as text, sorted.
fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        rows.extend(
            (0..batch.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join(" | ")),
        );
    }
    rows.sort();
    rows
}

async fn at_once(tables: &[(&str, &[Row])], sql: &str) -> Vec<String> {
    let session = SessionContext::new();
    for (name, rows) in tables {
        session.register_table(*name, Arc::new(MemTable::try_new(schema(), vec![vec![batch(rows)]]).unwrap())).unwrap();
    }
    texts(&session.sql(sql).await.unwrap().collect().await.unwrap())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Runs `sql` as a stream over rows of one source, to which a row at the end of time is added; gives what the sink holds but for that
/// row's key.
fn streamed(rows: &[Row], way: Way, mode: OutputMode, sql: &str) -> Vec<RecordBatch> {
    let rig = Rig::new(&["source"]);
    rig.sources[0].1.push(batch(rows)).unwrap();
    rig.sources[0].1.push(batch(&[(END, Some(99), 0)])).unwrap();
    block_on(rig.run(rig.query(way).output_mode(mode).sql(sql), way));
    rig.sink.batches()
}

fn without_end(texts: Vec<String>) -> Vec<String> {
    texts.into_iter().filter(|text| !text.contains("k99")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn windows_that_overlap_give_what_the_engine_gives_over_all_rows(rows in rows(60), way in way()) {
        let sql = "SELECT window(at, '10 seconds', '5 seconds') AS w, k, count(*) AS n, sum(v) AS s, max(v) - min(v) AS r, \
                   count(DISTINCT v) AS d, avg(v) AS a FROM source WHERE v >= 0 GROUP BY window(at, '10 seconds', '5 seconds'), k";
        let sql = format!("SELECT w.start, w.end, k, n, s, r, d, a FROM ({sql})");
        let oracle = "SELECT b, b + INTERVAL '10 seconds', k, count(*), sum(v), max(v) - min(v), count(DISTINCT v), avg(v) FROM ( \
                      SELECT date_bin(INTERVAL '5 seconds', at, TIMESTAMP '1970-01-01') AS b, k, v FROM source UNION ALL \
                      SELECT date_bin(INTERVAL '5 seconds', at, TIMESTAMP '1970-01-01') - INTERVAL '5 seconds', k, v FROM source) \
                      WHERE v >= 0 GROUP BY b, k";
        let found = without_end(texts(&streamed(&rows, way, OutputMode::Append, &sql)));
        prop_assert_eq!(found, block_on(at_once(&[("source", &rows)], oracle)));
    }

    #[test]
    fn windows_of_windows_give_what_the_engine_gives_over_all_rows(rows in rows(60), way in way()) {
        let sql = "SELECT w2.start, k, n, total FROM (SELECT window(window_time(w), '30 seconds') AS w2, k, count(*) AS n, sum(s) AS total \
                   FROM (SELECT window(at, '10 seconds') AS w, k, sum(v) AS s FROM source GROUP BY window(at, '10 seconds'), k) \
                   GROUP BY window(window_time(w), '30 seconds'), k)";
        let oracle = "SELECT date_bin(INTERVAL '30 seconds', b, TIMESTAMP '1970-01-01') AS b2, k, count(*), sum(s) FROM ( \
                      SELECT date_bin(INTERVAL '10 seconds', at, TIMESTAMP '1970-01-01') AS b, k, sum(v) AS s FROM source \
                      GROUP BY b, k) GROUP BY b2, k";
        let found = without_end(texts(&streamed(&rows, way, OutputMode::Append, sql)));
        prop_assert_eq!(found, block_on(at_once(&[("source", &rows)], oracle)));
    }

    #[test]
    fn sessions_are_those_of_the_engine_over_all_rows(rows in rows(60), way in way(), dynamic in any::<bool>()) {
        let gap = if dynamic { "CASE WHEN k = 'k1' THEN '2 seconds' ELSE '6 seconds' END" } else { "'6 seconds'" };
        let sql = format!(
            "SELECT s.start, s.end, k, n, total FROM (SELECT session_window(at, {gap}) AS s, k, count(*) AS n, sum(v) AS total FROM source \
             GROUP BY session_window(at, {gap}), k)"
        );
        let found = without_end(texts(&streamed(&rows, way, OutputMode::Append, &sql)));
        // The model: sort, and begin anew after a gap.
        let mut sorted = rows.clone();
        sorted.sort_by_key(|row| (row.1, row.0));
        let mut sessions: Vec<Session> = Vec::new();
        for (at, k, v) in sorted {
            let end = at + if dynamic && k == Some(1) { 2 } else { 6 };
            match sessions.last_mut().filter(|last| last.2 == k && at <= last.1) {
                Some(last) => *last = (last.0, last.1.max(end), k, last.3 + 1, last.4 + v),
                None => sessions.push((at, end, k, 1, v)),
            }
        }
        let time = |of: fn(&Session) -> i64| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from_iter_values(sessions.iter().map(|session| of(session) * 1_000_000)))
        };
        let number = |of: fn(&Session) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(sessions.iter().map(of)))
        };
        let keys: ArrayRef = Arc::new(StringArray::from_iter(sessions.iter().map(|session| session.2.map(|k| format!("k{k}")))));
        let columns = [("s", time(|s| s.0)), ("e", time(|s| s.1)), ("k", keys), ("n", number(|s| s.3)), ("t", number(|s| s.4))];
        let expected = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
        prop_assert_eq!(found, texts(&[expected]));
    }

    #[test]
    fn update_mode_ends_with_the_groups_of_the_engine(rows in rows(60), way in way()) {
        let sql = "SELECT k, count(*) AS n, sum(v) AS s FROM source GROUP BY k";
        let batches = streamed(&rows, way, OutputMode::Update, sql);
        // A newer row of a key stands for the older ones.
        let mut newest = std::collections::BTreeMap::new();
        for batch in &batches {
            for row in texts(std::slice::from_ref(batch)) {
                newest.insert(row.split(" | ").next().unwrap().to_owned(), row);
            }
        }
        let mut found = without_end(newest.into_values().collect());
        found.sort();
        prop_assert_eq!(found, block_on(at_once(&[("source", &rows)], sql)));
    }

    #[test]
    fn complete_mode_ends_with_the_result_of_the_engine(rows in rows(60), way in way()) {
        let sql = "SELECT count(*) AS n, sum(v) AS s, min(k) AS k FROM source";
        let mut all = rows.clone();
        all.push((END, Some(99), 0));
        let found = texts(&streamed(&rows, way, OutputMode::Complete, sql));
        prop_assert_eq!(found, block_on(at_once(&[("source", &all)], sql)));
    }

    #[test]
    fn distinct_rows_are_those_of_the_engine(rows in rows(80), way in way()) {
        for sql in ["SELECT DISTINCT at, k FROM source", "SELECT DISTINCT k FROM source"] {
            let found = without_end(texts(&streamed(&rows, way, OutputMode::Append, sql)));
            prop_assert_eq!(found, block_on(at_once(&[("source", &rows)], sql)));
        }
    }

    #[test]
    fn joins_of_streams_give_what_the_engine_gives_over_all_rows(
        left in rows(50),
        right in rows(50),
        way in way(),
        kind in prop::sample::select(vec!["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "LEFT SEMI JOIN", "LEFT ANTI JOIN"]),
        by_time in any::<bool>(),
    ) {
        let columns = if kind.contains("SEMI") || kind.contains("ANTI") { "a.at, a.k, a.v" } else { "a.at, a.k, a.v, b.at, b.k, b.v" };
        let condition = match by_time {
            true => "a.k = b.k AND b.at BETWEEN a.at - INTERVAL '5 seconds' AND a.at + INTERVAL '20 seconds' AND a.v + b.v > 0",
            false => "a.k = b.k AND a.at = b.at",
        };
        let sql = format!("SELECT {columns} FROM a {kind} b ON {condition}");
        let rig = Rig::new(&["a", "b"]);
        for ((_, source), rows) in rig.sources.iter().zip([&left, &right]) {
            source.push(batch(rows)).unwrap();
            source.push(batch(&[(END, Some(99), 0)])).unwrap();
        }
        block_on(rig.run(rig.query(way).sql(&sql), way));
        let found = without_end(texts(&rig.sink.batches()));
        prop_assert_eq!(found, block_on(at_once(&[("a", &left), ("b", &right)], &sql)), "{}", sql);
    }

    #[test]
    fn a_union_of_streams_waits_for_the_slower_one(left in rows(50), right in rows(50), way in way()) {
        let union = "SELECT at, k, v FROM a UNION ALL SELECT at, k, v FROM b";
        let sql = format!("SELECT w.start, k, n FROM (SELECT window(at, '10 seconds') AS w, k, count(*) AS n FROM ({union}) GROUP BY window(at, '10 seconds'), k)");
        let oracle = format!("SELECT date_bin(INTERVAL '10 seconds', at, TIMESTAMP '1970-01-01') AS b, k, count(*) FROM ({union}) GROUP BY b, k");
        let rig = Rig::new(&["a", "b"]);
        for ((_, source), rows) in rig.sources.iter().zip([&left, &right]) {
            source.push(batch(rows)).unwrap();
            source.push(batch(&[(END, Some(99), 0)])).unwrap();
        }
        block_on(rig.run(rig.query(way).sql(&sql), way));
        let found = without_end(texts(&rig.sink.batches()));
        prop_assert_eq!(found, block_on(at_once(&[("a", &left), ("b", &right)], &oracle)));
    }

    #[test]
    fn within_the_watermark_the_first_row_of_each_key_passes(rows in rows(80), way in way()) {
        let rig = Rig::new(&["source"]);
        rig.sources[0].1.push(batch(&rows)).unwrap();
        let query = rig.query(way).transform(|frame| frame.drop_duplicates_within_watermark(&["k", "v"]));
        block_on(rig.run(query, way));
        // The model: a key is forgotten when the watermark of the epoch before has passed its first time and the delay.
        let mut known: Vec<(Option<u8>, i64, i64)> = Vec::new();
        let mut expected = Vec::new();
        let (mut late, mut now) = (i64::MIN, i64::MIN);
        for epoch in rows.chunks(way.size as usize) {
            known.retain(|key| key.2 > late);
            for (at, k, v) in epoch {
                if known.iter().all(|key| (key.0, key.1) != (*k, *v)) {
                    known.push((*k, *v, at + DELAY));
                    expected.push((*at, *k, *v));
                }
            }
            known.retain(|key| key.2 > now);
            late = now;
            now = now.max(epoch.iter().map(|row| row.0).max().unwrap() - DELAY);
        }
        prop_assert_eq!(texts(&rig.sink.batches()), texts(&[batch(&expected)]));
    }
}
