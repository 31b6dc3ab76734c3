//! Queries that change between runs, against rows that are counted by hand: old aggregates are as if nothing had changed, new ones
//! count rows from the change on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use boathouse_base::OutputMode;
use boathouse_base::memory::{MemorySink, MemorySource};
use boathouse_base::{Env, ManualClock, ReadLimit};
use boathouse_storage::Storage;
use boathouse_stream::{QueryChange, StepOutcome, StreamError, StreamFrame, StreamQuery, window};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{col, lit};
use proptest::prelude::*;

/// (key, value); each an epoch later than the one before.
type Row = (u8, i64);

/// An aggregate: its text in SQL, and the value over some rows as text.
struct Known {
    sql: &'static str,
    over: fn(&[i64]) -> String,
}

fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}

fn distinct(values: &[i64]) -> usize {
    values.iter().collect::<std::collections::BTreeSet<_>>().len()
}

fn mean(values: &[i64]) -> Option<String> {
    (!values.is_empty()).then(|| format!("{:?}", values.iter().sum::<i64>() as f64 / values.len() as f64))
}

fn variance(values: &[i64]) -> Option<String> {
    // A population of few integers, and what no quotient of them comes near: the order of additions does not show.
    let (n, sum): (i64, i64) = (i64::try_from(values.len()).unwrap(), values.iter().sum());
    let squares: i64 = values.iter().map(|value| value * value).sum();
    (n > 0).then(|| format!("{:?}", ((n * squares - sum * sum) as f64 / (n * n) as f64 + 0.000_123_4).floor()))
}

const KNOWN: [Known; 8] = [
    Known { sql: "count(*)", over: |values| values.len().to_string() },
    Known { sql: "sum(v)", over: |values| optional(values.iter().copied().reduce(|a, b| a + b)) },
    Known { sql: "min(v)", over: |values| optional(values.iter().min()) },
    Known { sql: "max(v)", over: |values| optional(values.iter().max()) },
    Known { sql: "avg(v)", over: |values| optional(mean(values)) },
    Known { sql: "count(DISTINCT v)", over: |values| distinct(values).to_string() },
    Known { sql: "floor(var_pop(v) + 0.0001234)", over: |values| optional(variance(values)) },
    Known { sql: "count(v) FILTER (WHERE v > 0)", over: |values| values.iter().filter(|value| **value > 0).count().to_string() },
];

fn batch(rows: &[Row]) -> RecordBatch {
    let at = |n: usize| i64::try_from(n).unwrap() * 1_000_000;
    RecordBatch::try_from_iter_with_nullable([
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values((0..rows.len()).map(at))) as ArrayRef, true),
        ("k", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| format!("k{}", row.0)))), true),
        ("v", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))), true),
    ])
    .unwrap()
}

struct Rig {
    source: MemorySource,
    sink: MemorySink,
    checkpoint: Storage,
    env: Env,
}

impl Rig {
    fn new() -> Self {
        Self {
            source: MemorySource::new(batch(&[]).schema()),
            sink: MemorySink::new(),
            checkpoint: Storage::memory(),
            env: Env::new(ManualClock::starting_at_us(1_000_000), 7),
        }
    }

    fn query(&self) -> StreamQuery {
        StreamQuery::named("test")
            .source(Arc::new(self.source.clone()))
            .sink(Arc::new(self.sink.clone()))
            .checkpoint(self.checkpoint.clone())
            .env(self.env.clone())
            .output_mode(OutputMode::Update)
            .read_limit(ReadLimit { rows: Some(4), ..ReadLimit::default() })
    }

    async fn run(&self, query: StreamQuery, rows: &[Row]) -> Result<(), StreamError> {
        let mut running = query.open().await?;
        self.source.push(batch(rows)).unwrap();
        while let StepOutcome::Epoch(_) = running.step().await? {}
        Ok(())
    }

    /// The change that a query is refused for, by its text; nothing is read or written.
    async fn refusal(&self, query: StreamQuery) -> String {
        let before = (self.sink.epochs().len(), self.checkpoint.list("").await.unwrap().len());
        let error = query.open().await.unwrap_err();
        assert!(matches!(error, StreamError::Changed { .. }), "{error}");
        assert_eq!(before, (self.sink.epochs().len(), self.checkpoint.list("").await.unwrap().len()), "something was written");
        error.to_string()
    }
}

/// The newest row of each key in the last batches, without the key.
fn newest(batches: &[RecordBatch]) -> BTreeMap<String, Vec<String>> {
    let options = FormatOptions::default().with_null("null");
    let mut newest = BTreeMap::new();
    for batch in batches {
        let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let mut values = columns.iter().map(|column| column.value(row).to_string());
            newest.insert(values.next().unwrap(), values.collect());
        }
    }
    newest
}

/// What a run computes, by the aggregates' numbers, how the statement is written, and its rows.
type Run = (Vec<usize>, usize, Vec<Row>);

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let all: Vec<usize> = (0..KNOWN.len()).collect();
    let aggregates = prop::sample::subsequence(all, 1..=KNOWN.len()).prop_shuffle();
    let rows = proptest::collection::vec((0..4_u8, -9..20_i64), 1..14);
    proptest::collection::vec((aggregates, 0..4_usize, rows), 2..6)
}

fn statement(aggregates: &[usize], way: usize) -> String {
    let list: Vec<String> = aggregates.iter().enumerate().map(|(n, known)| format!("{} AS c{n}", KNOWN[*known].sql)).collect();
    let list = list.join(", ");
    match way {
        0 => format!("SELECT k, {list} FROM source GROUP BY k"),
        1 => format!("SELECT k, {list} FROM (SELECT v, k, at FROM source WHERE v > -100) AS t GROUP BY k"),
        2 => format!("WITH w AS (SELECT k, v + 0 AS v FROM source) SELECT k, {list} FROM w GROUP BY k"),
        _ => format!("SELECT * FROM (SELECT s.k, {list} FROM source AS s GROUP BY s.k) WHERE k IS NOT NULL"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn aggregates_that_stay_go_on_and_new_ones_count_from_the_change(runs in runs()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rig = Rig::new();
        // Since which row each aggregate counts.
        let mut since: BTreeMap<usize, usize> = BTreeMap::new();
        let mut rows: Vec<Row> = Vec::new();
        for (n, (wanted, way, more)) in runs.into_iter().enumerate() {
            let (gone, new): (Vec<usize>, Vec<usize>) = (
                since.keys().copied().filter(|known| !wanted.contains(known)).collect(),
                wanted.iter().copied().filter(|known| !since.contains_key(known)).collect(),
            );
            let query = |aggregates: &[usize]| rig.query().sql(statement(aggregates, way));
            let aggregates = match n > 0 && !gone.is_empty() && !new.is_empty() {
                false => wanted,
                true => {
                    let refusal = runtime.block_on(rig.refusal(query(&wanted)));
                    prop_assert!(refusal.contains("begin anew"), "{}", refusal);
                    // One step of the two: those that stay, or all of before when none would.
                    let stay: Vec<usize> = wanted.into_iter().filter(|known| since.contains_key(known)).collect();
                    if stay.is_empty() { since.keys().copied().collect() } else { stay }
                }
            };
            since.retain(|known, _| aggregates.contains(known));
            for known in &aggregates {
                since.entry(*known).or_insert(rows.len());
            }
            let before = rig.sink.batches().len();
            runtime.block_on(rig.run(query(&aggregates), &more)).unwrap();
            rows.extend(&more);
            let found = newest(&rig.sink.batches()[before..]);
            let keys: std::collections::BTreeSet<u8> = more.iter().map(|row| row.0).collect();
            prop_assert_eq!(found.len(), keys.len());
            for key in keys {
                let over = |known: &usize| {
                    let values: Vec<i64> = rows[since[known]..].iter().filter(|row| row.0 == key).map(|row| row.1).collect();
                    (KNOWN[*known].over)(&values)
                };
                let expected: Vec<String> = aggregates.iter().map(over).collect();
                prop_assert_eq!(&found[&format!("k{key}")], &expected, "{:?}", aggregates);
            }
        }
    }
}

#[tokio::test]
async fn a_group_without_rows_since_the_change_has_the_new_aggregate_of_no_rows() {
    let rig = Rig::new();
    rig.run(rig.query().output_mode(OutputMode::Complete).sql("SELECT k, sum(v) AS s FROM source GROUP BY k"), &[(1, 5), (2, 7)])
        .await
        .unwrap();
    let sql = "SELECT k, sum(v) AS s, count(v) AS n, max(v) AS m, array_agg(v) AS a FROM source GROUP BY k";
    rig.run(rig.query().output_mode(OutputMode::Complete).sql(sql), &[(1, 1)]).await.unwrap();
    let batches = rig.sink.batches();
    let last = newest(&batches[batches.len() - 1..]);
    assert_eq!(last["k1"], ["6", "1", "1", "[1]"]);
    assert_eq!(last["k2"][..3], ["7", "0", "null"]);
}

#[tokio::test]
async fn an_aggregate_that_comes_back_begins_anew() {
    let rig = Rig::new();
    let both = "SELECT k, count(*) AS n, sum(v) AS s FROM source GROUP BY k";
    let one = "SELECT k, count(*) AS n FROM source GROUP BY k";
    for sql in [both, one, both, both] {
        rig.run(rig.query().sql(sql), &[(1, 10), (2, 1)]).await.unwrap();
    }
    let found = newest(&rig.sink.batches());
    assert_eq!(found["k1"], ["4", "20"], "the sum is that of the last two runs");
    assert_eq!(found["k2"], ["4", "2"]);
}

#[tokio::test]
async fn what_state_cannot_follow_is_refused_by_operator_and_column_before_anything_is_read() {
    let cases = [
        (
            "SELECT k, count(*) AS n FROM source GROUP BY k",
            "SELECT v, count(*) AS n FROM source GROUP BY v",
            "resume `stateStoreSave[k]` of the query `test`, which has changed: the checkpoint was made by the keys [k], and the query now \
             has [v]; keep the keys, or use a new checkpoint",
        ),
        (
            "SELECT k, sum(v) AS n FROM source GROUP BY k",
            "SELECT k, max(v) AS n FROM source GROUP BY k",
            "resume `stateStoreSave[k]` of the query `test`, which has changed: the checkpoint has the aggregates [sum(v)] that the query no \
             longer computes, and the query has [max(v)] that are not stored; if they are meant to begin anew, run an epoch without the old \
             ones first, and then add the new ones",
        ),
        (
            "SELECT k, sum(v) AS n FROM source GROUP BY k",
            "SELECT k, sum(v) AS n FROM (SELECT k, CAST(v AS DOUBLE) AS v FROM source) GROUP BY k",
            "resume `stateStoreSave[k]` of the query `test`, which has changed: the column `sum(v)[sum]` of its state is stored as Int64, \
             and the query now computes Float64; cast it to Int64, or use a new checkpoint",
        ),
        (
            "SELECT k, count(*) AS n FROM source GROUP BY k",
            "SELECT k, count(*) AS n FROM (SELECT v AS k FROM source) GROUP BY k",
            "resume `stateStoreSave[k]` of the query `test`, which has changed: the column `k` of its state is stored as Utf8, and the query \
             now computes Int64; cast it to Utf8, or use a new checkpoint",
        ),
        (
            "SELECT w.start, count(*) AS n FROM (SELECT window(at, '10 seconds', '5 seconds') AS w FROM source) GROUP BY w",
            "SELECT w.start, count(*) AS n FROM (SELECT window(at, '10 seconds', '2 seconds') AS w FROM source) GROUP BY w",
            "resume `stateStoreSave[window(at, 10s, 5s)]` of the query `test`, which has changed: the checkpoint was made by the keys \
             [window(at, 10s, 5s)], and the query now has [window(at, 10s, 2s)]; keep the keys, or use a new checkpoint",
        ),
        (
            "SELECT DISTINCT k FROM source",
            "SELECT DISTINCT k, v FROM source",
            "resume `dedupe[k]` of the query `test`, which has changed: the checkpoint was made by the keys [k], and the query now has \
             [k, v]; keep the keys, or use a new checkpoint",
        ),
        (
            "SELECT DISTINCT k FROM source",
            "SELECT k FROM source",
            "resume `dedupe[k]` of the query `test`, which has changed: the checkpoint holds its state, and the query now has the operators \
             []; put it back, or use a new checkpoint",
        ),
    ];
    for (before, after, expected) in cases {
        let rig = Rig::new();
        rig.run(rig.query().sql(before), &[(1, 1)]).await.unwrap();
        assert_eq!(rig.refusal(rig.query().sql(after)).await, expected);
        // And the query as it was goes on.
        rig.run(rig.query().sql(before), &[(2, 1)]).await.unwrap();
    }
}

#[tokio::test]
async fn a_query_that_had_no_state_cannot_begin_to_remember() {
    let rig = Rig::new();
    rig.run(rig.query().sql("SELECT k FROM source"), &[(1, 1)]).await.unwrap();
    let error = rig.run(rig.query().sql("SELECT DISTINCT k FROM source"), &[(1, 1)]).await.unwrap_err();
    let StreamError::Changed { operator, change, .. } = error else { panic!("{error}") };
    assert_eq!((operator.as_str(), *change), ("dedupe[k]", QueryChange::OperatorNew { recorded: Vec::new() }));
}

#[tokio::test]
async fn joins_may_need_fewer_columns_and_not_more_or_other_bounds() {
    let delay = Duration::from_secs(10);
    let rig = Rig::new();
    let other = MemorySource::new(batch(&[]).schema());
    other.push(batch(&[(1, 3)])).unwrap();
    let query = |columns: &str, kind: &str, seconds: u32| {
        StreamQuery::named("test")
            .source_with_watermark("a", Arc::new(rig.source.clone()), "at", delay)
            .source_with_watermark("b", Arc::new(other.clone()), "at", delay)
            .sink(Arc::new(rig.sink.clone()))
            .checkpoint(rig.checkpoint.clone())
            .env(rig.env.clone())
            .sql(format!(
                "SELECT {columns} FROM a {kind} b ON a.k = b.k AND b.at BETWEEN a.at AND a.at + INTERVAL '{seconds} seconds'"
            ))
    };
    rig.run(query("a.k, a.v, b.v", "JOIN", 20), &[(2, 1), (1, 9)]).await.unwrap();
    let more = rig.refusal(query("a.k, a.v, b.v, window(a.at, '1 second')", "LEFT JOIN", 20)).await;
    assert!(more.contains("made with [Inner join, "), "{more}");
    let wider = rig.refusal(query("a.k, a.v, b.v", "JOIN", 40)).await;
    assert!(wider.contains("20000000 us") && wider.contains("40000000 us"), "{wider}");
    rig.run(query("a.k, b.v", "JOIN", 20), &[(3, 1)]).await.unwrap();
    let again = rig.refusal(query("a.k, a.v, b.v", "JOIN", 20)).await;
    assert!(again.contains("do not have the column `v` (Int64)"), "{again}");
    other.push(batch(&[(3, 5), (2, 5)])).unwrap();
    let before = rig.sink.batches().len();
    rig.run(query("a.k, b.v", "JOIN", 20), &[]).await.unwrap();
    let found: usize = rig.sink.batches()[before..].iter().map(RecordBatch::num_rows).sum();
    assert_eq!(found, 2, "rows of both earlier runs have waited: k3 at 0 s and k2 at 1 s after 0 s");
}

#[tokio::test]
async fn operators_with_names_of_the_user_are_found_by_them() {
    let rig = Rig::new();
    let query = |name: &'static str, twice: bool| {
        rig.query().output_mode(OutputMode::Append).transform(move |frame| {
            let frame = frame.with_watermark("at", Duration::ZERO)?.drop_duplicates(&["at", "k"])?.named(name)?;
            let window = window(col("at"), "10 seconds", None).alias("w");
            let frame = frame.aggregate(vec![window], vec![sum(col("v")), count(lit(1_i64))])?;
            if twice { frame.named(name) } else { Ok(frame) }
        })
    };
    rig.run(query("first rows", false), &[(1, 1)]).await.unwrap();
    rig.run(query("first rows", false), &[(1, 1)]).await.unwrap();
    let error = rig.refusal(query("others", false)).await;
    assert!(error.starts_with("resume `first rows` of the query `test`"), "{error}");
    let error = rig.run(query("twice", true).checkpoint(Storage::memory()).sink(Arc::new(MemorySink::new())), &[]).await;
    let error = error.unwrap_err();
    assert!(matches!(&error, StreamError::SameOperator { name, .. } if name == "twice"), "{error}");
}

#[tokio::test]
async fn a_name_without_an_operator_is_refused() {
    let rig = Rig::new();
    let query = rig.query().transform(|frame| frame.named("nothing"));
    let error = rig.run(query, &[(1, 1)]).await.unwrap_err();
    assert!(error.to_string().contains("name of an operator where none is"), "{error}");
}

#[tokio::test]
async fn columns_that_a_source_gets_do_not_touch_what_is_grouped() {
    let rig = Rig::new();
    let sql = "SELECT k, sum(v) AS s FROM source GROUP BY k";
    rig.run(rig.query().sql(sql), &[(1, 1)]).await.unwrap();
    let narrow = batch(&[(1, 2)]);
    let fields = narrow.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let columns = fields.iter().map(String::as_str).zip(narrow.columns().iter().cloned());
    let wider: ArrayRef = Arc::new(Int64Array::from(vec![40]));
    let wide = RecordBatch::try_from_iter_with_nullable(columns.chain([("x", wider)]).map(|(n, c)| (n, c, true))).unwrap();
    rig.source.push(wide).unwrap();
    rig.query().sql("SELECT k, sum(v) AS s, max(x) AS x FROM source GROUP BY k").run_available_now().await.unwrap();
    let batches = rig.sink.batches();
    let last = batches.last().unwrap();
    assert_eq!(newest(std::slice::from_ref(last))["k1"], ["3", "40"]);
    assert!(
        last.column(1).as_primitive_opt::<datafusion::arrow::datatypes::Int64Type>().is_some_and(|sum| sum.null_count() == 0)
    );
}
