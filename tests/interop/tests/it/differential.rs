//! Random operations on one table, ours and deltalake's in turn, against a slow obvious model. After each step the table is
//! read by a handle that was there all the time, by one that is opened anew, by deltalake and by duckdb.
//!
//! The seed is printed; `BOATHOUSE_SEED` replays it, and `BOATHOUSE_TABLES` sets how many tables there are.

use boathouse_base::{Env, TableVersion};
use boathouse_delta_core::{DeltaTable, DeltaTableExt, Retention};
use boathouse_interop::PythonPeer;
use boathouse_storage::{Location, Stores, seeded_env, system_env};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::rows::{Bag, Column, Kind, Row, batch, named};

/// Steps on each table.
const STEPS: usize = 22;
/// Tables, every other one of them partitioned.
const TABLES: u64 = 8;
/// Values of `part`: what paths and other engines stumble over.
const PARTS: [Option<&str>; 5] = [Some("a b"), Some("ü/=%25"), Some("plain"), Some("it's"), None];

/// The table as it should be.
#[derive(Debug, Clone, Default)]
struct State {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

/// A condition, as SQL and as what it means.
#[derive(Debug, Clone, Copy)]
enum Condition {
    IdModulo(i64, i64),
    IdBelow(i64),
    ValueAbove(i64),
    ValueIsNull,
    PartIs(&'static str),
    PartIsNull,
    PartIsNotAndIdAbove(&'static str, i64),
}

impl Condition {
    fn any(env: &Env) -> Self {
        let number = |below| i64::try_from(env.random_below(below)).unwrap();
        let part = || PARTS[usize::try_from(env.random_below(4)).unwrap()].unwrap();
        match env.random_below(7) {
            0 => Self::IdModulo(2 + number(5), number(3)),
            1 => Self::IdBelow(number(120)),
            2 => Self::ValueAbove(number(60)),
            3 => Self::ValueIsNull,
            4 => Self::PartIs(part()),
            5 => Self::PartIsNull,
            _ => Self::PartIsNotAndIdAbove(part(), number(120)),
        }
    }

    fn sql(self) -> String {
        let text = |part: &str| part.replace('\'', "''");
        match self {
            Self::IdModulo(by, rest) => format!("id % {by} = {rest}"),
            Self::IdBelow(id) => format!("id < {id}"),
            Self::ValueAbove(value) => format!("v > {value}"),
            Self::ValueIsNull => "v IS NULL".to_owned(),
            Self::PartIs(part) => format!("part = '{}'", text(part)),
            Self::PartIsNull => "part IS NULL".to_owned(),
            Self::PartIsNotAndIdAbove(part, id) => format!("part <> '{}' AND id > {id}", text(part)),
        }
    }

    fn holds(self, row: &Row) -> bool {
        let (id, part, value) = (row[0].as_i64().unwrap(), row[1].as_str(), row[2].as_i64());
        match self {
            Self::IdModulo(by, rest) => id % by == rest,
            Self::IdBelow(bound) => id < bound,
            Self::ValueAbove(bound) => value.is_some_and(|value| value > bound),
            Self::ValueIsNull => value.is_none(),
            Self::PartIs(wanted) => part == Some(wanted),
            Self::PartIsNull => part.is_none(),
            Self::PartIsNotAndIdAbove(other, bound) => part.is_some_and(|part| part != other) && id > bound,
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Row>),
    /// With a column that the table does not have yet.
    Widen(&'static str, Kind, Vec<Row>),
    Overwrite(Vec<Row>),
    Delete(Condition),
    AddToValue(Condition),
    Move(Condition, &'static str),
    Restore(u64),
    Checkpoint,
    Vacuum,
    Compact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    We,
    Deltalake,
}

/// One table, the model of all its versions, and both engines.
struct Duel<'p> {
    env: Env,
    path: String,
    kept: DeltaTable,
    peer: &'p mut PythonPeer,
    /// By version; only those whose files are still there.
    states: BTreeMap<u64, State>,
    next_id: i64,
    partitioned: bool,
}

fn open(path: &str) -> DeltaTable {
    DeltaTable::at(Stores::new().open(&Location::from_path(path).unwrap()).unwrap(), system_env())
}

impl State {
    fn bag(&self) -> Bag {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        Bag::of(&names, self.rows.iter().cloned())
    }
}

async fn by_us(table: &DeltaTable) -> (u64, Bag) {
    let snapshot = table.snapshot().await.unwrap();
    let batches = snapshot.scan(Default::default()).unwrap().collect().await.unwrap();
    let rows = Bag::of_batches(&batches);
    assert_eq!(snapshot.row_count().await.unwrap(), Some(rows.0.len() as u64), "the count in the log");
    (snapshot.version(), rows)
}

impl Duel<'_> {
    fn below(&self, bound: u64) -> usize {
        usize::try_from(self.env.random_below(bound)).unwrap()
    }

    fn newest(&self) -> (u64, &State) {
        let (version, state) = self.states.last_key_value().unwrap();
        (*version, state)
    }

    fn rows(&mut self, columns: &[Column], most: u64) -> Vec<Row> {
        let count = 1 + self.below(most);
        let row = |_| {
            let id = self.next_id;
            self.next_id += 1;
            let cell = |(name, kind): &Column| match (*name, *kind) {
                ("id", _) => json!(id),
                ("part", _) => json!(PARTS[usize::try_from(self.env.random_below(5)).unwrap()]),
                (_, Kind::Text) if self.env.random_below(4) > 0 => json!(format!("ñ\"{id}")),
                (_, Kind::Long | Kind::Integer) if self.env.random_below(5) > 0 => json!(self.env.random_below(80)),
                _ => Value::Null,
            };
            columns.iter().map(cell).collect()
        };
        (0..count).map(row).collect()
    }

    fn pick(&mut self) -> (Who, Step) {
        let who = if self.env.random_below(2) == 0 { Who::We } else { Who::Deltalake };
        let columns = self.newest().1.columns.clone();
        let step = match self.env.random_below(16) {
            0..=3 => Step::Append(self.rows(&columns, 12)),
            4 | 15 if columns.len() < 5 => {
                let (name, kind) = if columns.len() == 3 { ("extra", Kind::Long) } else { ("note", Kind::Text) };
                let wide: Vec<_> = columns.iter().copied().chain([(name, kind)]).collect();
                Step::Widen(name, kind, self.rows(&wide, 6))
            }
            5 => Step::Overwrite(self.rows(&columns, 20)),
            6..=7 => Step::Delete(Condition::any(&self.env)),
            8 => Step::AddToValue(Condition::any(&self.env)),
            9 => Step::Move(Condition::any(&self.env), "plain"),
            // deltalake refuses to restore the newest version.
            10 | 11 if self.states.len() > 1 => {
                let versions: Vec<u64> = self.states.keys().copied().collect();
                Step::Restore(versions[self.below(versions.len() as u64 - 1)])
            }
            12 => Step::Checkpoint,
            13 => Step::Vacuum,
            14 => return (Who::Deltalake, Step::Compact),
            _ => Step::Append(self.rows(&columns, 2)),
        };
        (who, step)
    }

    /// What the table should be after a step.
    fn expect(&self, step: &Step) -> State {
        let mut state = self.newest().1.clone();
        match step {
            Step::Append(rows) => state.rows.extend(rows.iter().cloned()),
            Step::Widen(name, kind, rows) => {
                state.columns.push((name, *kind));
                state.rows.iter_mut().for_each(|row| row.push(Value::Null));
                state.rows.extend(rows.iter().cloned());
            }
            Step::Overwrite(rows) => state.rows = rows.clone(),
            Step::Delete(condition) => state.rows.retain(|row| !condition.holds(row)),
            Step::AddToValue(condition) => {
                for row in state.rows.iter_mut().filter(|row| condition.holds(row)) {
                    row[2] = row[2].as_i64().map_or(Value::Null, |value| json!(value + 1));
                }
            }
            Step::Move(condition, part) => {
                state.rows.iter_mut().filter(|row| condition.holds(row)).for_each(|row| row[1] = json!(part));
            }
            Step::Restore(version) => state = self.states[version].clone(),
            Step::Checkpoint | Step::Vacuum | Step::Compact => {}
        }
        state
    }

    async fn do_ours(&self, step: &Step) {
        let table = &self.kept;
        let columns = &self.newest().1.columns;
        match step {
            Step::Append(rows) => drop(table.append(batch(columns, rows).into()).run().await.unwrap()),
            Step::Widen(name, kind, rows) => {
                let wide: Vec<_> = columns.iter().copied().chain([(*name, *kind)]).collect();
                table.append(batch(&wide, rows).into()).merge_schema().run().await.unwrap();
            }
            Step::Overwrite(rows) => drop(table.overwrite(batch(columns, rows).into()).run().await.unwrap()),
            Step::Delete(condition) => drop(table.delete().filter(condition.sql()).run().await.unwrap()),
            Step::AddToValue(condition) => drop(table.update().set("v", "v + 1").filter(condition.sql()).run().await.unwrap()),
            Step::Move(condition, part) => {
                table.update().set("part", format!("'{part}'")).filter(condition.sql()).run().await.unwrap();
            }
            Step::Restore(version) => drop(table.restore(TableVersion::Number(*version)).run().await.unwrap()),
            Step::Checkpoint => drop(table.checkpoint().await.unwrap()),
            Step::Vacuum => drop(table.vacuum().retention(Retention::Unsafe(std::time::Duration::ZERO)).run().await.unwrap()),
            Step::Compact => panic!("compaction is deltalake's"),
        }
    }

    fn do_theirs(&mut self, step: &Step) {
        let columns = self.newest().1.columns.clone();
        let mut request = match step {
            Step::Append(rows) => json!({"do": "append", "columns": named(&columns), "rows": rows}),
            Step::Widen(name, kind, rows) => {
                let wide: Vec<_> = columns.iter().copied().chain([(*name, *kind)]).collect();
                json!({"do": "append", "columns": named(&wide), "rows": rows})
            }
            Step::Overwrite(rows) => json!({"do": "overwrite", "columns": named(&columns), "rows": rows}),
            Step::Delete(condition) => json!({"do": "delete", "where": condition.sql()}),
            Step::AddToValue(condition) => json!({"do": "update", "where": condition.sql(), "column": "v", "value": "v + 1"}),
            Step::Move(condition, part) => {
                json!({"do": "update", "where": condition.sql(), "column": "part", "value": format!("'{part}'")})
            }
            Step::Restore(version) => json!({"do": "restore", "version": version}),
            Step::Checkpoint => json!({"do": "checkpoint"}),
            Step::Vacuum => json!({"do": "vacuum"}),
            Step::Compact => json!({"do": "compact"}),
        };
        request["path"] = json!(self.path);
        self.peer.ask(&request);
    }

    async fn start(&mut self, who: Who) {
        let columns = vec![("id", Kind::Long), ("part", Kind::Text), ("v", Kind::Integer)];
        let rows = self.rows(&columns, 30);
        let by: &[&str] = if self.partitioned { &["part"] } else { &[] };
        match who {
            Who::We => {
                let append = self.kept.append(batch(&columns, &rows).into()).create_if_absent();
                append.partition_by(by.iter().copied()).run().await.unwrap();
            }
            Who::Deltalake => {
                self.peer.ask(
                    &json!({"do": "create", "path": self.path, "columns": named(&columns), "rows": rows, "partition_by": by}),
                );
            }
        }
        self.states.insert(0, State { columns, rows });
    }

    /// Compares all readers with the model.
    async fn look(&mut self, expected: &State, what: &str) -> u64 {
        let expected = expected.bag();
        let (version, kept) = by_us(&self.kept).await;
        assert_eq!(kept, expected, "by the handle that was there: {what}");
        let (fresh_version, fresh) = by_us(&open(&self.path)).await;
        assert_eq!(fresh, expected, "by a new handle: {what}");
        let answer = self.peer.ask(&json!({"do": "look", "path": self.path}));
        assert_eq!(Bag::of_answer(&answer["deltalake"]), expected, "by deltalake: {what}");
        assert_eq!(Bag::of_answer(&answer["duckdb"]), expected, "by duckdb: {what}");
        assert_eq!((version, Some(version)), (fresh_version, answer["version"].as_u64()), "{what}");
        version
    }
}

async fn duel(seed: u64, partitioned: bool, peer: &mut PythonPeer) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a table").display().to_string();
    std::fs::create_dir(&path).unwrap();
    let env = seeded_env(seed);
    let kept = open(&path);
    let mut duel = Duel { env, path, kept, peer, states: BTreeMap::new(), next_id: 0, partitioned };
    let first = if duel.env.random_below(2) == 0 { Who::We } else { Who::Deltalake };
    duel.start(first).await;
    println!("BOATHOUSE_SEED={seed}, partitioned: {partitioned}, created by {first:?}");
    let state = duel.newest().1.clone();
    duel.look(&state, "created").await;
    for nth in 0..STEPS {
        let (who, step) = duel.pick();
        let before = duel.newest().0;
        let state = duel.expect(&step);
        let what = format!("step {nth} of BOATHOUSE_SEED={seed}: {who:?} {step:?}, on version {before}");
        println!("{what}");
        match who {
            Who::We => duel.do_ours(&step).await,
            Who::Deltalake => duel.do_theirs(&step),
        }
        let version = duel.look(&state, &what).await;
        if matches!(step, Step::Vacuum) {
            // Older versions have lost their files.
            duel.states.clear();
        }
        for passed in before + 1..=version {
            duel.states.insert(passed, state.clone());
        }
        duel.states.entry(version).or_insert(state);
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_and_deltalake_in_turn_keep_one_table_as_the_model_says() {
    let mut peer = PythonPeer::start("differential.py");
    let first = number("BOATHOUSE_SEED").unwrap_or(20_260_801);
    for nth in 0..number("BOATHOUSE_TABLES").unwrap_or(TABLES) {
        duel(first + nth, (first + nth).is_multiple_of(2), &mut peer).await;
    }
}
