//! Random MERGEs by us, by deltalake and by DuckDB, each on a table of its own with the same rows: they end with the same
//! rows, and peers read in ours what we read.
//!
//! The seed of each case is printed. `BOATHOUSE_SEED` replays it, `BOATHOUSE_MERGES` makes more of them.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;

use boathouse_base::Env;
use boathouse_delta_core::{DeltaSession, DeltaTable, EngineError, StatementReport, session};
use boathouse_interop::PythonPeer;
use boathouse_storage::{Location, Stores, seeded_env, system_env};
use futures::FutureExt;
use serde_json::{Value, json};

use crate::merge_statements::{MergeStatement, Statements, below, once_in, one};
use crate::rows::{Bag, Column, Kind, Row, batch, named};

/// Cases, each with a table.
const MERGES: u64 = 60;
const PARTS: [Option<&str>; 6] = [Some("a b"), Some("ü/=%25"), Some("plain"), Some("it's"), Some("c:\\#?&"), None];
const NAMES: [&str; 6] = ["", "a b", "it's", "ñ\"{}", "straße 東京 🌊", "z"];
/// Columns that a table may have besides `id`, `part` and `v`.
const MORE: [Column; 6] = [
    ("name", Kind::Text),
    ("d", Kind::Double),
    ("amount", Kind::Decimal),
    ("day", Kind::Date),
    ("moment", Kind::Timestamp),
    ("ok", Kind::Bool),
];

/// What our table can do.
#[derive(Debug)]
struct Features {
    vectors: bool,
    feed: bool,
    mapping: bool,
    tracking: bool,
}

impl Features {
    fn any(env: &Env) -> Self {
        let [vectors, feed, mapping, tracking] = [(); 4].map(|()| once_in(env, 2));
        Self { vectors, feed, mapping: mapping && once_in(env, 2), tracking }
    }

    fn properties(&self) -> String {
        let mode = if self.mapping { "name" } else { "none" };
        let Self { vectors, feed, tracking, .. } = self;
        format!(
            "'delta.enableDeletionVectors' = '{vectors}', 'delta.enableChangeDataFeed' = '{feed}', \
             'delta.enableRowTracking' = '{tracking}', 'delta.columnMapping.mode' = '{mode}'"
        )
    }
}

/// A table, a source and a statement.
#[derive(Debug)]
struct Case {
    features: Features,
    columns: Vec<Column>,
    partition_by: Vec<&'static str>,
    commits: Vec<Vec<Row>>,
    /// Conditions of rows that were deleted before.
    deleted: Vec<String>,
    source_columns: Vec<Column>,
    source: Vec<Row>,
    statement: MergeStatement,
}

/// Our table before the statement, and what we said to it.
struct Merged {
    lake: DeltaSession,
    version: u64,
    before: Bag,
    outcome: Result<StatementReport, EngineError>,
}

/// A value of a column; ids are few, so that rows meet.
fn cell(env: &Env, (name, kind): Column, ids: usize) -> Value {
    if name == "part" {
        return json!(one(env, &PARTS));
    }
    if once_in(env, 8) {
        return Value::Null;
    }
    match kind {
        // One that a double cannot hold.
        Kind::Long if once_in(env, 12) => json!(9_007_199_254_740_993_i64),
        Kind::Long => json!(i64::try_from(below(env, ids)).unwrap() - 3),
        Kind::Integer => json!(below(env, 20)),
        Kind::Text => json!(one(env, &NAMES)),
        Kind::Double if once_in(env, 12) => json!("NaN"),
        Kind::Double => json!(f64::from(u32::try_from(below(env, 80)).unwrap()) / 4.0 - 2.0),
        Kind::Decimal => json!(below(env, 40) * 25),
        Kind::Date => json!(one(env, &[-1, 0, 18_321, 19_782])),
        Kind::Timestamp => json!(one(env, &[-1_i64, 0, 1_614_834_367_000_123, 1_709_164_800_000_000])),
        Kind::Bool => json!(once_in(env, 2)),
    }
}

impl Case {
    fn any(env: &Env) -> Self {
        let mut columns = vec![("id", Kind::Long), ("part", Kind::Text), ("v", Kind::Integer)];
        columns.extend(MORE.into_iter().filter(|_| once_in(env, 2)));
        let choices: [&[&str]; 7] = [&[], &[], &["part"], &["part"], &["day"], &["day", "part"], &["ok", "v"]];
        let partition_by: Vec<&'static str> =
            one(env, &choices).iter().copied().filter(|name| columns.iter().any(|(column, _)| column == name)).collect();
        let rows = |env: &Env, columns: &[Column], count: usize, ids: usize| -> Vec<Row> {
            (0..count).map(|_| columns.iter().map(|column| cell(env, *column, ids)).collect()).collect()
        };
        let ids = 6 + below(env, 40);
        let commits: Vec<Vec<Row>> = (0..1 + below(env, 4))
            .map(|_| {
                let count = if once_in(env, 8) { 0 } else { below(env, 25) };
                rows(env, &columns, count, ids)
            })
            .collect();
        let mut source_columns = columns.clone();
        if once_in(env, 2) {
            let by = below(env, columns.len());
            source_columns.rotate_left(by);
        }
        let count = if once_in(env, 15) { 0 } else { 1 + below(env, 20) };
        let mut source = rows(env, &source_columns, count, ids);
        if !once_in(env, 3) {
            let id = source_columns.iter().position(|(name, _)| *name == "id").unwrap();
            let mut seen = BTreeSet::new();
            source.retain(|row| seen.insert(row[id].to_string()));
        }
        let olds: Vec<&Row> = commits.iter().flatten().collect();
        if once_in(env, 6) && !olds.is_empty() && source.len() > 1 {
            // Two rows that likely match one.
            let id = source_columns.iter().position(|(name, _)| *name == "id").unwrap();
            let wanted = one(env, &olds)[0].clone();
            source[..2].iter_mut().for_each(|row| row[id] = wanted.clone());
        }
        let statements = Statements { env, columns: &columns };
        let deleted = (0..below(env, 3)).map(|_| statements.condition("t").replace("t.", "")).collect();
        let statement = statements.merge();
        let features = Features::any(env);
        Self { features, partition_by, commits, deleted, source_columns, source, statement, columns }
    }

    fn create(&self, path: &str) -> String {
        let columns: Vec<String> = self.columns.iter().map(|(name, kind)| format!("{name} {}", kind.sql())).collect();
        let partitioned = match self.partition_by.as_slice() {
            [] => String::new(),
            by => format!("PARTITIONED BY ({})", by.join(", ")),
        };
        let (columns, properties) = (columns.join(", "), self.features.properties());
        format!("CREATE TABLE t ({columns}) USING DELTA {partitioned} LOCATION '{path}' TBLPROPERTIES ({properties})")
    }

    /// Whether deltalake 1.6.6 does what the statement says. It does not
    /// - where several source rows match a row that at most one of them changes, or that all of them delete: it writes the row
    ///   several times, or refuses (delta-io/delta-rs#2407, #2961);
    /// - where rows were deleted by a comparison of a column with NaN: it drops whole files by their maximum, which NaN is
    ///   not part of.
    fn is_fair_to_deltalake(&self, before: &Bag, answer: &Value) -> bool {
        let has_nan =
            before.0.iter().any(|row| row.contains("NaN")) && self.deleted.iter().any(|condition| condition.contains("d < "));
        if !has_nan {
            assert_same("before, and deltalake", before, &Bag::of_answer(&answer["deltalake before"]));
        }
        answer["matches"]["twice"] == 0 && *before == Bag::of_answer(&answer["deltalake before"])
    }

    /// Makes our table and runs the statement on it.
    async fn merge(&self, path: &str) -> Merged {
        let lake = session();
        lake.sql(&self.create(path)).await.unwrap();
        let table = open(path);
        for rows in &self.commits {
            table.append(batch(&self.columns, rows).into()).run().await.unwrap();
        }
        for condition in &self.deleted {
            lake.sql(&format!("DELETE FROM t WHERE {condition}")).await.unwrap();
        }
        lake.context().register_batch("s", batch(&self.source_columns, &self.source)).unwrap();
        let (version, before) = by_us(path).await;
        let outcome = lake.sql(&self.statement.sql()).await;
        Merged { lake, version, before, outcome }
    }

    fn request(&self, path: &str) -> Value {
        json!({
            "do": "merge", "columns": named(&self.columns), "partition_by": self.partition_by, "commits": self.commits,
            "deleted": self.deleted, "source_columns": named(&self.source_columns), "source": self.source,
            "merge": self.statement.json(), "ours": path, "feed": self.features.feed,
        })
    }
}

fn open(path: &str) -> DeltaTable {
    DeltaTable::at(Stores::new().open(&Location::from_path(path).unwrap()).unwrap(), system_env())
}

async fn by_us(path: &str) -> (u64, Bag) {
    let snapshot = open(path).snapshot().await.unwrap();
    let batches = snapshot.scan(Default::default()).unwrap().collect().await.unwrap();
    (snapshot.version(), Bag::of_batches(&batches))
}

fn assert_same(who: &str, found: &Bag, expected: &Bag) {
    if let Some(difference) = found.difference(expected) {
        panic!("{who}: {} rows and {} expected; {difference}", found.0.len(), expected.0.len());
    }
}

/// What was compared with whom, over all cases.
#[derive(Debug, Default)]
struct Tally {
    by_duckdb: u64,
    by_deltalake: u64,
    ambiguous: u64,
    read_by_duckdb: u64,
    read_by_deltalake: u64,
    changes_by_deltalake: u64,
}

async fn meet(seed: u64, peer: &mut PythonPeer, tally: &mut Tally) {
    let env = seeded_env(seed);
    let case = Case::any(&env);
    println!(
        "BOATHOUSE_SEED={seed}: {:?}, partitioned by {:?}, {:?} rows and {} of the source, deleted {:?}\n{}",
        case.features,
        case.partition_by,
        case.commits.iter().map(Vec::len).collect::<Vec<_>>(),
        case.source.len(),
        case.deleted,
        case.statement.sql()
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a table").display().to_string();
    let Merged { lake, version, before, outcome } = case.merge(&path).await;
    let (version_after, after) = by_us(&path).await;

    let answer = peer.ask(&case.request(&path));
    assert_same("before, and DuckDB", &before, &Bag::of_answer(&answer["before"]));
    if answer["matches"]["ambiguous"] == 0 {
        outcome.unwrap_or_else(|error| panic!("our MERGE: {error}"));
        let by_session = lake.query("SELECT * FROM t").await.unwrap().collect().await.unwrap();
        assert_same("by the session that merged", &Bag::of_batches(&by_session), &after);
        assert_same("we, and DuckDB", &after, &Bag::of_answer(&answer["duckdb"]));
        tally.by_duckdb += 1;
        if case.is_fair_to_deltalake(&before, &answer) {
            assert_same("we, and deltalake", &after, &Bag::of_answer(&answer["deltalake"]));
            tally.by_deltalake += 1;
        }
    } else {
        let error = outcome.expect_err("a source that matches a row twice");
        assert!(matches!(&error, EngineError::AmbiguousMatch { key, .. } if !key.is_empty()), "{error}");
        assert_eq!((version_after, &after), (version, &before), "the table is as before");
        tally.ambiguous += 1;
    }
    // DuckDB 1.5.5 finds null in partition columns of tables with column mapping, whoever wrote them.
    let nulls = if case.features.mapping { case.partition_by.as_slice() } else { &[] };
    assert_same("ours, read by DuckDB", &Bag::of_answer(&answer["ours by duckdb"]), &after.without(nulls));
    tally.read_by_duckdb += 1;
    assert_same("ours, read by deltalake", &Bag::of_answer(&answer["ours by deltalake"]), &after);
    tally.read_by_deltalake += 1;
    if case.features.feed {
        let changes = "SELECT * EXCEPT (_commit_timestamp) FROM table_changes('t', 0)";
        let changes = Bag::of_batches(&lake.query(changes).await.unwrap().collect().await.unwrap());
        let theirs = &answer["our changes by deltalake"];
        match theirs["refused"].as_str() {
            // deltalake 1.6.6 reads no feed of mapped columns, and does not decode the paths that escape a partition's value.
            Some(said) if case.features.mapping => assert!(said.contains("Column mapping is not supported"), "{said}"),
            Some(said) if case.partition_by.contains(&"part") => assert!(said.contains("not found"), "{said}"),
            _ => {
                let (theirs, ours) = (Bag::of_answer(theirs), changes);
                // Of a removed file it takes the rows that were deleted before for those that are deleted now.
                let fair = |bag: Bag| if case.features.vectors { bag.without_rows("\"_change_type\":\"delete\"") } else { bag };
                assert_same("our changes, read by deltalake", &fair(theirs), &fair(ours));
                tally.changes_by_deltalake += 1;
            }
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_merges_end_with_the_rows_of_deltalake_and_duckdb() {
    let mut peer = PythonPeer::start("merges.py");
    let first = number("BOATHOUSE_SEED").unwrap_or(20_261_123);
    let (mut tally, mut failed) = (Tally::default(), Vec::new());
    for nth in 0..number("BOATHOUSE_MERGES").unwrap_or(MERGES) {
        let case = AssertUnwindSafe(meet(first + nth, &mut peer, &mut tally));
        if case.catch_unwind().await.is_err() {
            failed.push(first + nth);
        }
    }
    println!("{tally:?}");
    assert!(tally.by_deltalake * 10 >= tally.by_duckdb * 7, "most statements are fair to deltalake: {tally:?}");
    assert!(failed.is_empty(), "of the seeds {failed:?}, each with its words above");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_matches_a_row_twice_is_an_error_with_its_key_where_duckdb_takes_one_of_the_rows() {
    let mut peer = PythonPeer::start("merges.py");
    let columns = vec![("id", Kind::Long), ("part", Kind::Text), ("v", Kind::Integer)];
    let rows = |rows: &[(i64, i64)]| -> Vec<Row> { rows.iter().map(|(id, v)| vec![json!(id), json!("a b"), json!(v)]).collect() };
    let case = Case {
        features: Features { vectors: true, feed: false, mapping: false, tracking: false },
        partition_by: vec!["part"],
        commits: vec![rows(&[(1, 1), (2, 2)]), rows(&[(41, 3)])],
        deleted: Vec::new(),
        source_columns: columns.clone(),
        source: rows(&[(41, 10), (2, 11), (41, 12), (7, 13)]),
        statement: MergeStatement::upsert(),
        columns: columns.clone(),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a table").display().to_string();
    let Merged { version, outcome, .. } = case.merge(&path).await;
    let error = outcome.unwrap_err();
    assert!(matches!(&error, EngineError::AmbiguousMatch { key, rows: 1, .. } if key == "s.id = 41"), "{error}");
    let before = Bag::of_batches(&[batch(&columns, &case.commits.concat())]);
    assert_eq!(by_us(&path).await, (version, before), "the table is as before");
    let answer = peer.ask(&case.request(&path));
    assert_eq!(answer["matches"]["ambiguous"], 1);
    assert!(answer["deltalake"]["refused"].as_str().is_some_and(|said| said.contains("multiple source rows")), "{answer}");
    let taken = Bag::of_answer(&answer["duckdb"]);
    let expected = |v| Bag::of_batches(&[batch(&columns, &rows(&[(1, 1), (2, 11), (41, v), (7, 13)]))]);
    assert!([expected(10), expected(12)].contains(&taken), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_many_batches_is_merged_as_by_duckdb() {
    let mut peer = PythonPeer::start("merges.py");
    let columns = vec![("id", Kind::Long), ("part", Kind::Text), ("v", Kind::Integer)];
    let rows = |ids: &mut dyn Iterator<Item = i64>, v: i64| -> Vec<Row> {
        ids.map(|id| vec![json!(id * 7919 % 20_011), json!("a b"), json!(v)]).collect()
    };
    let case = Case {
        features: Features { vectors: true, feed: false, mapping: false, tracking: false },
        partition_by: Vec::new(),
        commits: vec![rows(&mut (0..20_000), 1)],
        deleted: vec!["id % 10 = 4".to_owned()],
        source_columns: columns.clone(),
        source: rows(&mut (9_000..20_011).step_by(2), 2),
        statement: MergeStatement::upsert(),
        columns,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a table").display().to_string();
    case.merge(&path).await.outcome.unwrap();
    let (after, answer) = (by_us(&path).await.1, peer.ask(&case.request(&path)));
    assert_same("we, and DuckDB", &after, &Bag::of_answer(&answer["duckdb"]));
    assert_same("ours, read by DuckDB", &Bag::of_answer(&answer["ours by duckdb"]), &after);
    assert_same("ours, read by deltalake", &Bag::of_answer(&answer["ours by deltalake"]), &after);
    assert_same("we, and deltalake", &after, &Bag::of_answer(&answer["deltalake"]));
}
