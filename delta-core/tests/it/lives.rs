//! Random lives of tables: changes of rows, tidying, changes of columns and features, restores and clones, in any order.
//!
//! After each step the table is read in several ways, and each must find what a list in memory holds. `BOATHOUSE_TEST_LIVES=2000` runs more
//! lives than the test does by itself, from `BOATHOUSE_SEED` on, which is printed. One that goes wrong is made as short as possible, and shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::{DataType, Field};
use boathouse_base::{DomainError, Error, ErrorKind, ScanRequest, TableVersion};
use boathouse_delta_core::protocol::features::has;
use boathouse_delta_core::table::DataWriterSettings;
use boathouse_delta_core::{
    ChangeRange, CloneDepth, ColumnPlace, DeltaTable, DeltaTableExt, EngineError, MergeDelete, OptimizeCommits, OptimizeSettings,
    Retention, RowChangeSettings,
};
use boathouse_storage::{Storage, seeded_env, system_env};
use datafusion::prelude::SessionContext;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::life_model::{Model, Text, longs, texts_of};
use crate::model::{Condition, condition, rows};
use crate::rows::{FEED, Row, VECTORS, schema};

/// How many lives there are, when nobody says.
const LIVES: u32 = 32;
/// The first seed, when nobody says.
const SEED: u64 = 20_261_123;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    Plain,
    Partitioned,
    Clustered,
}

/// What the table can do from the beginning, and how it is written.
#[derive(Debug, Clone)]
struct Features {
    layout: Layout,
    vectors: bool,
    feed: bool,
    mapping: Option<&'static str>,
    tracking: bool,
    v2_checkpoints: bool,
    copy_above_percent: u8,
    target_bytes: u64,
    each_partition: bool,
    copy_row_groups: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Row>),
    Overwrite(Vec<Row>),
    ReplaceWhere(i64, Vec<Row>),
    Delete(Condition),
    SetValue(Condition, i32),
    SetPart(Condition),
    Upsert { source: Vec<Row>, by_source: bool },
    Optimize,
    OptimizeFull,
    ZOrder(Vec<usize>),
    ClusterBy(Vec<usize>),
    Purge,
    Restore(usize),
    AddColumn { first: bool },
    RenameColumn(usize),
    DropColumn(usize),
    MoveColumn(usize),
    Clone(CloneDepth, usize),
    Vacuum,
    Checkpoint,
    SetVectors(bool),
    SetFeed(bool),
    MapColumns,
    DropVectors,
}

fn features() -> impl Strategy<Value = Features> {
    let layout = prop_oneof![Just(Layout::Plain), Just(Layout::Partitioned), Just(Layout::Clustered)];
    let mapping = prop_oneof![1 => Just(None), 2 => Just(Some("name")), 1 => Just(Some("id"))];
    let percent = prop_oneof![Just(0), Just(50), Just(100)];
    let target = prop_oneof![Just(1_u64), Just(3000), Just(1 << 30)];
    (layout, any::<[bool; 6]>(), mapping, percent, target).prop_map(|(layout, on, mapping, copy_above_percent, target_bytes)| {
        let [vectors, feed, tracking, v2_checkpoints, each_partition, copy_row_groups] = on;
        Features {
            layout,
            vectors,
            feed,
            mapping,
            tracking,
            v2_checkpoints,
            copy_above_percent,
            target_bytes,
            each_partition,
            copy_row_groups,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let depth = prop_oneof![Just(CloneDepth::Deep), Just(CloneDepth::Shallow)];
    let by = prop_oneof![Just(vec![0]), Just(vec![2]), Just(vec![2, 0]), Just(vec![0, 2])];
    let no_longer = prop_oneof![4 => by.clone(), 1 => Just(vec![])];
    let change = prop_oneof![
        4 => rows(10).prop_map(Step::Append),
        1 => rows(6).prop_map(Step::Overwrite),
        1 => (0..12_i64, rows(4)).prop_map(|(above, rows)| Step::ReplaceWhere(above, rows)),
        3 => condition().prop_map(Step::Delete),
        2 => (condition(), 0..9_i32).prop_map(|(c, v)| Step::SetValue(c, v)),
        1 => condition().prop_map(Step::SetPart),
        3 => (rows(6), any::<bool>()).prop_map(|(source, by_source)| Step::Upsert { source, by_source }),
    ];
    let tidying = prop_oneof![
        3 => Just(Step::Optimize),
        1 => Just(Step::OptimizeFull),
        1 => by.prop_map(Step::ZOrder),
        1 => no_longer.prop_map(Step::ClusterBy),
        2 => Just(Step::Purge),
        2 => (0..40_usize).prop_map(Step::Restore),
        1 => (depth, 0..40_usize).prop_map(|(depth, at)| Step::Clone(depth, at)),
        2 => Just(Step::Vacuum),
        2 => Just(Step::Checkpoint),
    ];
    let definition = prop_oneof![
        3 => any::<bool>().prop_map(|first| Step::AddColumn { first }),
        3 => (0..6_usize).prop_map(Step::RenameColumn),
        2 => (0..3_usize).prop_map(Step::DropColumn),
        1 => (0..6_usize).prop_map(Step::MoveColumn),
        1 => any::<bool>().prop_map(Step::SetVectors),
        1 => any::<bool>().prop_map(Step::SetFeed),
        1 => Just(Step::MapColumns),
        1 => Just(Step::DropVectors),
    ];
    prop_oneof![5 => change, 4 => tidying, 2 => definition]
}

/// A table and what it should be.
struct Life {
    root: Storage,
    features: Features,
    table: DeltaTable,
    model: Model,
    /// All versions of the table.
    history: BTreeMap<u64, Model>,
    /// Versions in which no row changed.
    tidied: BTreeSet<u64>,
    /// Files of versions before this one may be gone.
    floor: u64,
    /// All ids that rows have had.
    seen: BTreeSet<i64>,
    /// The number of the next column.
    next_column: usize,
}

/// The table as somebody sees it who has never seen it before.
fn fresh(table: &DeltaTable) -> DeltaTable {
    DeltaTable::at(table.storage().clone(), seeded_env(8))
}

async fn texts_at(table: &DeltaTable, version: TableVersion, columns: usize) -> Result<Vec<Text>, Error> {
    let batches = table.snapshot_at(version).await?.scan(ScanRequest::default())?.collect().await?;
    let mut texts = texts_of(&batches, columns);
    texts.sort();
    Ok(texts)
}

/// Each row with its id and the version that added or last changed it.
async fn tracked_at(table: &DeltaTable, version: TableVersion, columns: usize) -> Vec<(Text, i64, i64)> {
    let snapshot = table.snapshot_at(version).await.unwrap();
    let tracking = snapshot.row_tracking().unwrap().clone();
    let batches = snapshot.scan_with_row_ids(ScanRequest::default(), &tracking).unwrap().collect().await.unwrap();
    let origins = longs(&batches, &tracking.row_id).into_iter().zip(longs(&batches, &tracking.commit_version));
    texts_of(&batches, columns).into_iter().zip(origins).map(|(text, (id, version))| (text, id, version)).collect()
}

/// A statement is done, or does not suit the table.
fn done_or_refused<T>(result: Result<T, EngineError>) {
    if let Err(error) = result {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

impl Step {
    /// Whether it leaves every row as it is.
    fn tidies(&self) -> bool {
        use Step::*;
        let changes_rows = matches!(self, Append(_) | Overwrite(_) | ReplaceWhere(..) | Delete(_) | SetValue(..) | SetPart(_));
        !changes_rows && !matches!(self, Upsert { .. } | Restore(_) | Clone(..))
    }
}

impl Life {
    async fn begin(features: Features) -> Self {
        let root = Storage::memory();
        let table = DeltaTable::at(root.at("lake/t0"), seeded_env(7));
        let mut create = table.create(schema());
        let wanted = [
            (features.vectors, VECTORS),
            (features.feed, FEED),
            (features.tracking, ("delta.enableRowTracking", "true")),
            (features.v2_checkpoints, ("delta.checkpointPolicy", "v2")),
        ];
        for (key, value) in wanted.into_iter().filter(|(on, _)| *on).map(|(_, property)| property) {
            create = create.property(key, value);
        }
        create = match features.mapping {
            Some(mode) => create.property("delta.columnMapping.mode", mode),
            None => create,
        };
        create = match features.layout {
            Layout::Plain => create,
            Layout::Partitioned => create.partition_by(["part"]),
            Layout::Clustered => create.cluster_by(["v"]),
        };
        create.run().await.unwrap();
        let columns = ["id", "part", "v"].iter().enumerate().map(|(number, name)| ((*name).to_owned(), number)).collect();
        let (vectors, feed, mapped) = (features.vectors, features.feed, features.mapping.is_some());
        let model = Model { columns, rows: Vec::new(), vectors, feed, mapped };
        let history = [(0, model.clone())].into();
        Self { root, features, table, model, history, tidied: BTreeSet::new(), floor: 0, seen: BTreeSet::new(), next_column: 3 }
    }

    fn optimizing(&self) -> OptimizeSettings {
        OptimizeSettings {
            target_file_size_bytes: Some(self.features.target_bytes),
            commits: if self.features.each_partition { OptimizeCommits::EachPartition } else { OptimizeCommits::One },
            copy_row_groups_from_rows: if self.features.copy_row_groups { 0 } else { u64::MAX },
            writer: DataWriterSettings { row_group_rows: 7, ..DataWriterSettings::default() },
            ..OptimizeSettings::default()
        }
    }

    /// The names that columns of these numbers have.
    fn names(&self, numbers: &[usize]) -> Vec<String> {
        numbers.iter().map(|number| self.model.name(*number).to_owned()).collect()
    }

    /// Rows that match are changed by this version.
    fn update(&mut self, version: u64, condition: impl Fn(&Row) -> bool, change: impl Fn(&mut Row)) {
        for row in self.model.rows.iter_mut().filter(|row| condition(&row.base)) {
            change(&mut row.base);
            row.origin = row.origin.map(|(id, _)| (id, version));
        }
    }

    async fn step(&mut self, step: &Step) {
        let table = self.table.clone();
        let before = table.snapshot().await.unwrap().version();
        let next = before + 1;
        let tracking = self.features.tracking.then_some(next);
        let settings = RowChangeSettings { copy_above_percent: self.features.copy_above_percent };
        let frame = |model: &Model, rows: &[Row]| {
            let rows = model.new_rows(rows, None);
            SessionContext::new().read_batch(model.batch(&rows)).unwrap()
        };
        let mut changes = true;
        match step {
            Step::Append(rows) => {
                let rows = self.model.new_rows(rows, tracking);
                table.append(self.model.batch(&rows).into()).run().await.unwrap();
                self.model.rows.extend(rows);
            }
            Step::Overwrite(rows) => {
                self.model.rows = self.model.new_rows(rows, tracking);
                table.overwrite(self.model.batch(&self.model.rows).into()).run().await.unwrap();
            }
            Step::ReplaceWhere(above, rows) => {
                let condition = Condition::IdAbove(*above);
                let rows: Vec<Row> = rows.iter().copied().filter(|row| condition.holds(row)).collect();
                let replace = table.replace_where(frame(&self.model, &rows), self.model.sql(&condition.sql()).as_str());
                replace.with_row_change_settings(settings).run().await.unwrap();
                self.model.rows.retain(|row| !condition.holds(&row.base));
                let rows = self.model.new_rows(&rows, tracking);
                self.model.rows.extend(rows);
            }
            Step::Delete(condition) => {
                let delete = table.delete().filter(self.model.sql(&condition.sql())).with_row_change_settings(settings);
                delete.run().await.unwrap();
                self.model.rows.retain(|row| !condition.holds(&row.base));
            }
            Step::SetValue(condition, value) => {
                let update = table.update().set(self.model.name(2), value.to_string()).filter(self.model.sql(&condition.sql()));
                update.with_row_change_settings(settings).run().await.unwrap();
                self.update(next, |row| condition.holds(row), |row| row.2 = Some(*value));
            }
            Step::SetPart(condition) => {
                let update = table.update().set(self.model.name(1), "'a b'").filter(self.model.sql(&condition.sql()));
                update.with_row_change_settings(settings).run().await.unwrap();
                self.update(next, |row| condition.holds(row), |row| row.1 = Some("a b"));
            }
            Step::Upsert { source, by_source } => self.upsert(source, *by_source, next).await,
            Step::Optimize => drop(table.optimize().with_settings(self.optimizing()).run().await.unwrap()),
            // Which of the two a table allows depends on whether it is clustered.
            Step::OptimizeFull => done_or_refused(table.optimize().full().with_settings(self.optimizing()).run().await),
            Step::ZOrder(by) => {
                done_or_refused(table.optimize().z_order(self.names(by)).with_settings(self.optimizing()).run().await);
            }
            Step::ClusterBy(by) => {
                let result = table.cluster_by(self.names(by)).run().await;
                assert_eq!(result.is_ok(), self.features.layout != Layout::Partitioned, "{result:?}");
            }
            Step::Purge => {
                table.purge().with_settings(self.optimizing()).run().await.unwrap();
                self.check_no_vector().await;
            }
            Step::Restore(at) => changes = self.restore(*at).await,
            Step::AddColumn { first } => {
                let name = format!("x{}", self.next_column);
                let field = Field::new(&name, DataType::Int32, true);
                let alter = table.alter();
                let alter = if *first { alter.add_column_at(field, ColumnPlace::First) } else { alter.add_column(field) };
                alter.run().await.unwrap();
                let at = if *first { 0 } else { self.model.columns.len() };
                self.model.columns.insert(at, (name, self.next_column));
                self.next_column += 1;
            }
            Step::RenameColumn(at) => {
                let at = at % self.model.columns.len();
                let new = format!("new {}", self.next_column);
                let result = table.alter().rename_column(&self.model.columns[at].0, &new).run().await;
                assert_eq!(result.is_ok(), self.model.mapped, "{result:?}");
                if self.model.mapped {
                    self.model.columns[at].0 = new;
                }
                self.next_column += 1;
            }
            Step::DropColumn(at) => {
                let added = self.model.added();
                let Some(number) = added.get(at % added.len().max(1)) else { return };
                let result = table.alter().drop_column(self.model.name(*number)).run().await;
                assert_eq!(result.is_ok(), self.model.mapped, "{result:?}");
                if self.model.mapped {
                    self.model.columns.retain(|(_, of)| of != number);
                    for row in &mut self.model.rows {
                        row.added.remove(number);
                    }
                }
            }
            Step::MoveColumn(at) => {
                let at = at % self.model.columns.len();
                table.alter().move_column(&self.model.columns[at].0, ColumnPlace::First).run().await.unwrap();
                let column = self.model.columns.remove(at);
                self.model.columns.insert(0, column);
            }
            Step::Clone(depth, at) => {
                self.check_history().await;
                self.clone(*depth, *at).await;
                return;
            }
            Step::Vacuum => {
                self.check_history().await;
                // Files that no version names are older than a moment from now.
                system_env().sleep(Duration::from_millis(2)).await;
                let vacuum = DeltaTable::at(table.storage().clone(), system_env());
                vacuum.vacuum().retention(Retention::Unsafe(Duration::ZERO)).run().await.unwrap();
                self.floor = before;
            }
            Step::Checkpoint => drop(table.checkpoint().await.unwrap()),
            Step::SetVectors(on) => {
                table.alter().set_property(VECTORS.0, on.to_string()).run().await.unwrap();
                self.model.vectors = *on;
            }
            Step::SetFeed(on) => {
                table.alter().set_property(FEED.0, on.to_string()).run().await.unwrap();
                self.model.feed = *on;
            }
            Step::MapColumns if self.model.mapped => return,
            Step::MapColumns => {
                table.alter().set_property("delta.columnMapping.mode", "name").run().await.unwrap();
                self.model.mapped = true;
            }
            Step::DropVectors if !has(table.snapshot().await.unwrap().protocol(), "deletionVectors") => {
                assert!(table.drop_feature("deletionVectors").run().await.is_err());
            }
            Step::DropVectors => {
                table.purge().with_settings(self.optimizing()).run().await.unwrap();
                table.drop_feature("deletionVectors").run().await.unwrap();
                self.model.vectors = false;
                self.check_no_vector().await;
            }
        }
        if changes {
            self.check(before, step).await;
        }
    }

    async fn upsert(&mut self, source: &[Row], by_source: bool, version: u64) {
        // A row that two rows of the source match would be an error.
        let mut ids = BTreeSet::new();
        let source: Vec<Row> = source.iter().copied().filter(|row| row.0.is_none_or(|id| ids.insert(id))).collect();
        let new = self.model.new_rows(&source, self.features.tracking.then_some(version));
        let frame = SessionContext::new().read_batch(self.model.batch(&new)).unwrap();
        let id = self.model.name(0);
        let merge = self
            .table
            .merge(frame, format!("t.\"{id}\" = s.\"{id}\""))
            .with_row_change_settings(RowChangeSettings { copy_above_percent: self.features.copy_above_percent });
        let mut merge = merge.when_matched_update_all().when_not_matched_insert_all();
        if by_source {
            let three = format!("t.\"{}\" = 3", self.model.name(2));
            merge = merge.when_not_matched_by_source_delete(MergeDelete::only_if(three.as_str()));
        }
        merge.run().await.unwrap();
        let matching = |row: &Row| row.0.and_then(|id| new.iter().find(|source| source.base.0 == Some(id)));
        let was_there: BTreeSet<i64> = self.model.rows.iter().filter_map(|row| row.base.0).collect();
        self.model.rows.retain(|row| matching(&row.base).is_some() || !(by_source && row.base.2 == Some(3)));
        for row in &mut self.model.rows {
            if let Some(source) = matching(&row.base) {
                let origin = row.origin.map(|(id, _)| (id, version));
                *row = crate::life_model::ModelRow { origin, ..source.clone() };
            }
        }
        self.model.rows.extend(new.into_iter().filter(|row| row.base.0.is_none_or(|id| !was_there.contains(&id))));
    }

    /// Goes back to a version; to one whose files are gone, only if they are not needed.
    async fn restore(&mut self, at: usize) -> bool {
        let versions: Vec<u64> = self.history.keys().copied().collect();
        let to = versions[at % versions.len()];
        let result = self.table.restore(TableVersion::Number(to)).run().await;
        assert!(result.is_ok() || to < self.floor, "to version {to}: {result:?}");
        if result.is_ok() {
            self.model = self.history[&to].clone();
        }
        result.is_ok()
    }

    /// Goes on with a clone.
    async fn clone(&mut self, depth: CloneDepth, at: usize) {
        let versions: Vec<u64> = self.history.range(self.floor..).map(|(version, _)| *version).collect();
        let from = versions[at % versions.len()];
        let folder = format!("lake/t{}", self.next_column);
        self.next_column += 1;
        let target = DeltaTable::at(self.root.at(&folder), seeded_env(self.next_column as u64));
        self.table.clone_to(&target).depth(depth).at(TableVersion::Number(from)).run().await.unwrap();
        // The source is as it was.
        let newest = texts_at(&fresh(&self.table), TableVersion::Latest, self.model.columns.len()).await.unwrap();
        assert_eq!(newest, self.model.texts());
        self.model = self.history[&from].clone();
        for row in &mut self.model.rows {
            row.origin = row.origin.map(|_| (None, 0));
        }
        (self.table, self.floor, self.seen) = (target, 0, BTreeSet::new());
        self.history.clear();
        self.tidied.clear();
        if self.features.tracking {
            let tracked = tracked_at(&fresh(&self.table), TableVersion::Latest, self.model.columns.len()).await;
            self.model.learn(tracked, &mut self.seen, "a clone");
        }
        self.history.insert(0, self.model.clone());
        self.check_newest("a clone").await;
    }

    async fn check_no_vector(&self) {
        let files = self.table.snapshot().await.unwrap().files(None).await.unwrap();
        assert!(files.iter().all(|file| file.deletion_vector().is_none()));
    }

    /// The table is as the model has it after a step.
    async fn check(&mut self, before: u64, step: &Step) {
        let place = format!("after {step:?} on version {before}");
        if self.features.tracking {
            let tracked = tracked_at(&fresh(&self.table), TableVersion::Latest, self.model.columns.len()).await;
            self.model.learn(tracked, &mut self.seen, &place);
        }
        let now = self.table.snapshot().await.unwrap().version();
        for version in before + 1..=now {
            self.history.insert(version, self.model.clone());
            self.tidied.extend(step.tidies().then_some(version));
        }
        self.check_newest(&place).await;
    }

    async fn check_newest(&self, place: &str) {
        let (model, fresh) = (&self.model, fresh(&self.table));
        let snapshot = fresh.snapshot().await.unwrap();
        let schema = snapshot.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, model.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), "{place}");
        for table in [&fresh, &self.table] {
            assert_eq!(texts_at(table, TableVersion::Latest, names.len()).await.unwrap(), model.texts(), "{place}");
        }
        // The engine, which leaves out files and row groups, and answers from statistics where it can.
        let engine = SessionContext::new();
        engine.register_table("t", Arc::new(fresh.provider().await.unwrap())).unwrap();
        let rows = async |sql: String| engine.sql(&sql).await.unwrap().collect().await.unwrap();
        let (id, version) = (model.name(0), snapshot.version());
        let conditions = [
            Condition::IdAbove(5),
            Condition::PartIs("a b"),
            Condition::PartIsNull,
            Condition::ValueBelowId,
            Condition::Not(Box::new(Condition::PartIs("ü%/"))),
            Condition::ValueIsNull,
        ];
        let condition = &conditions[usize::try_from(version).unwrap() % conditions.len()];
        let mut found = texts_of(&rows(format!("SELECT * FROM t WHERE {}", model.sql(&condition.sql()))).await, names.len());
        found.sort();
        let matching =
            Model { rows: model.rows.iter().filter(|row| condition.holds(&row.base)).cloned().collect(), ..model.clone() };
        assert_eq!(found, matching.texts(), "{place}: {condition:?}");
        let least = rows(format!("SELECT count(*), min(\"{id}\"), max(\"{id}\"), count(\"{id}\") FROM t")).await;
        let number = |at: usize| least[0].column(at).as_primitive_opt::<Int64Type>().unwrap().iter().next().unwrap();
        let ids = || model.rows.iter().filter_map(|row| row.base.0);
        let counted = (Some(model.rows.len() as i64), ids().min(), ids().max(), Some(ids().count() as i64));
        assert_eq!((number(0), number(1), number(2), number(3)), counted, "{place}");
    }

    /// Earlier versions are as they were; those whose files may be gone are that, or an error.
    async fn check_history(&self) {
        let table = fresh(&self.table);
        for (version, model) in &self.history {
            let found = texts_at(&table, TableVersion::Number(*version), model.columns.len()).await;
            match found {
                Ok(texts) => assert_eq!(texts, model.texts(), "version {version}"),
                Err(error) => assert!(*version < self.floor, "version {version} of those from {} on: {error}", self.floor),
            }
            if self.features.tracking && *version >= self.floor {
                let tracked = tracked_at(&table, TableVersion::Number(*version), model.columns.len()).await;
                model.clone().learn(tracked, &mut self.seen.clone(), &format!("version {version}"));
            }
        }
        self.check_feed(&table).await;
    }

    /// The feed leads from each version to the next, and tells nothing of versions that only tidied.
    async fn check_feed(&self, table: &DeltaTable) {
        let versions: Vec<u64> = self.history.keys().copied().filter(|version| *version > self.floor).collect();
        let told = |version: &u64| self.history[version].feed;
        for run in versions.chunk_by(|a, b| told(a) && told(b)).filter(|run| told(&run[0])) {
            let (first, last) = (run[0], run[run.len() - 1]);
            let shown = &self.history[&last];
            let batches: Vec<RecordBatch> =
                table.changes(ChangeRange::from(first..=last)).read().await.unwrap().collect().await.unwrap();
            let what: Vec<String> = batches
                .iter()
                .flat_map(|batch| {
                    let what = batch.column_by_name("_change_type").unwrap().as_string::<i32>();
                    what.iter().map(|what| what.unwrap().to_owned()).collect::<Vec<_>>()
                })
                .collect();
            let of = longs(&batches, "_commit_version");
            let texts = texts_of(&batches, shown.columns.len());
            for version in run {
                let changes: Vec<(&str, &Text)> = (0..of.len())
                    .filter(|at| u64::try_from(of[*at]).unwrap() == *version)
                    .map(|at| (what[at].as_str(), &texts[at]))
                    .collect();
                let count = |what: &str| changes.iter().filter(|(found, _)| *found == what).count();
                assert_eq!(count("update_preimage"), count("update_postimage"), "version {version}");
                let (before, after) = (&self.history[&(version - 1)], &self.history[version]);
                assert!(changes.is_empty() || !self.tidied.contains(version), "version {version}: {changes:?}");
                let mut bag = before.texts_as(shown);
                for (_, text) in changes.iter().filter(|(what, _)| *what == "delete" || *what == "update_preimage") {
                    let at = bag.iter().position(|found| found == *text);
                    bag.swap_remove(at.unwrap_or_else(|| panic!("version {version} takes {text:?} from {bag:?}")));
                }
                let came = changes.iter().filter(|(what, _)| *what == "insert" || *what == "update_postimage");
                bag.extend(came.map(|(_, text)| (*text).clone()));
                bag.sort();
                assert_eq!(bag, after.texts_as(shown), "version {version}: {changes:?}");
            }
        }
    }
}

async fn live(features: Features, steps: Vec<Step>) {
    let mut life = Life::begin(features).await;
    for step in &steps {
        life.step(step).await;
    }
    life.check_history().await;
    let missing = fresh(&life.table).fsck().dry_run().await.unwrap().missing;
    assert!(missing.is_empty(), "{missing:?}");
}

fn config() -> ProptestConfig {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let cases = number("BOATHOUSE_TEST_LIVES").map_or(LIVES, |lives| u32::try_from(lives).unwrap());
    let seed = number("BOATHOUSE_SEED").unwrap_or(SEED);
    println!("{cases} lives from BOATHOUSE_SEED={seed}");
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_table_is_what_its_steps_make_of_it_whatever_they_are(features in features(), steps in prop::collection::vec(step(), 4..24)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(live(features, steps));
    }
}
