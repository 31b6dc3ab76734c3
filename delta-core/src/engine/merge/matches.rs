//! Which rows of the table and of the source belong together, and which clause wants them.

use std::collections::HashMap;
use std::sync::Arc;

use boathouse_base::Predicate;
use boathouse_delta_protocol::deletion_vector::DeletionVector;
use boathouse_delta_table::{DataFile, FileRead, Snapshot};
use boathouse_frames::from_datafusion;
use datafusion::arrow::array::{AsArray, BooleanArray, BooleanBufferBuilder, RecordBatch};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::datatypes::{Int32Type, Int64Type};
use datafusion::common::config::ConfigNonZeroUsize;
use datafusion::common::{Column, JoinType};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{Expr, lit, when};
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::budget::Budget;
use super::pairs::{NO_SOURCE, Pair, Pairs, Sorted};
use super::plan::{ChangeClause, Plan};
use super::source::SourceRows;
use crate::engine::error::{Attempt, EngineError, Result};
use crate::engine::provider::LocatedFiles;
use crate::engine::scan::{Locators, scan_schema};

/// What happens to a row of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowChange {
    /// The place of the file in what was found.
    pub(crate) file: u32,
    /// Its number in the file.
    pub(crate) row: u64,
    pub(crate) by: By,
}

/// Which clause wants a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// No clause: the row is matched and stays.
    Nothing,
    /// This clause for matched rows, with this source row.
    Matched { clause: usize, source: usize },
    /// This clause for rows that no source row matches.
    Source { clause: usize },
}

/// Everything that was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Files that were looked through.
    pub(crate) files: Vec<FoundIn>,
    pairs: Pairs,
    /// Source rows that match some row.
    pub(crate) source_matched: BooleanBuffer,
    /// What `source_matched` takes of the memory of the session.
    _reserved: MemoryReservation,
}

/// What was found in a file: its rows by what becomes of them, one or two bytes for each at most.
#[derive(Debug)]
pub(crate) struct FoundIn {
    /// The place among the files.
    pub(crate) at: u32,
    pub(crate) file: DataFile,
    pub(crate) updated: DeletionVector,
    pub(crate) deleted: DeletionVector,
    /// Matched rows that no clause wants.
    kept: DeletionVector,
}

impl FoundIn {
    fn new(at: usize, file: &DataFile) -> Self {
        let none = DeletionVector::new;
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        Self { at, file: file.clone(), updated: none(), deleted: none(), kept: none() }
    }

    /// How many rows change.
    pub(crate) fn changes(&self) -> u64 {
        self.updated.len() + self.deleted.len()
    }

    /// The rows that change.
    pub(crate) fn changed(&self) -> impl Iterator<Item = u64> {
        self.updated.iter().chain(self.deleted.iter())
    }

    /// The rows that something was found out about.
    pub(crate) fn seen(&self) -> impl Iterator<Item = u64> {
        self.changed().chain(self.kept.iter())
    }

    fn has(&self, row: u64) -> bool {
        self.updated.contains(row) || self.deleted.contains(row) || self.kept.contains(row)
    }

    fn add(&mut self, row: u64, by: By, plan: &Plan) {
        let rows = match by {
            By::Nothing => &mut self.kept,
            _ if plan.is_update(by) => &mut self.updated,
            _ => &mut self.deleted,
        };
        rows.insert(row);
    }
}

impl Found {
    /// What happens to the rows, in the order of the files and of their rows, each row once.
    pub(crate) fn settled(&self, attempt: &Attempt) -> Result<Settled<'_>> {
        Settled::new(&self.pairs, attempt)
    }
}

/// What a join is told about the source while it runs.
struct Collected {
    pairs: Pairs,
    source_matched: BooleanBufferBuilder,
}

impl Collected {
    fn new(rows: usize, runtime: &RuntimeEnv, budget: &Budget) -> Self {
        let mut source_matched = BooleanBufferBuilder::new(rows);
        source_matched.append_n(rows, false);
        Self { pairs: Pairs::new(runtime, budget), source_matched }
    }

    /// `columns` are the number of a source row alone, or file, row, source row and clause.
    fn add(&mut self, batch: &RecordBatch, only_inserts: bool) -> std::result::Result<(), DataFusionError> {
        let mut matched = |source: usize| {
            if source < self.source_matched.len() {
                self.source_matched.set_bit(source, true);
            }
        };
        if only_inserts {
            number(batch, 0).values().iter().filter_map(|source| usize::try_from(*source).ok()).for_each(matched);
            return Ok(());
        }
        let (file, row, source) = (number(batch, 0), number(batch, 1), number(batch, 2));
        let clauses = batch.column(3).as_primitive::<Int32Type>();
        for at in 0..batch.num_rows() {
            let source = u64::try_from(source.value(at)).unwrap_or(NO_SOURCE);
            matched(usize::try_from(source).unwrap_or(usize::MAX));
            let file = u32::try_from(file.value(at)).unwrap_or(u32::MAX);
            let row = u64::try_from(row.value(at)).unwrap_or(u64::MAX);
            self.pairs.push(Pair { file, row, clause: clauses.value(at), source })?;
        }
        Ok(())
    }
}

/// Joins the files with the source.
pub(crate) async fn find(
    snapshot: &Snapshot,
    files: &[DataFile],
    source: &mut SourceRows,
    plan: &Plan,
    predicate: Option<&Predicate>,
    session: &SessionContext,
    attempt: &Attempt,
) -> Result<Found> {
    let runtime = session.runtime_env();
    let budget = Budget::of(&runtime);
    let reserved = MemoryConsumer::new("matched rows of the source of a MERGE").register(&runtime.memory_pool);
    reserved.try_grow(source.rows.div_ceil(8)).map_err(|error| attempt.frame(error))?;
    let mut collected = Collected::new(source.rows, &runtime, &budget);
    if !files.is_empty() && source.rows > 0 {
        let joined = join(snapshot, files, source, plan, predicate, session, &mut collected, attempt).await;
        let again = match joined {
            Err(error) if is_exhausted(&error) && budget.spills() && !plan.equalities().is_empty() => true,
            joined => joined.map(|()| false).map_err(|error| attempt.frame(error))?,
        };
        if again {
            // The join held one side in memory. From disk both are sorted, which goes on on disk.
            tracing::debug!(table = attempt.url, "the memory of the session is used up: joined again, from disk");
            source.move_to_disk(&runtime, attempt)?;
            source.no_copies();
            collected = Collected::new(source.rows, &runtime, &budget);
            let joined = join(snapshot, files, source, plan, predicate, session, &mut collected, attempt).await;
            joined.map_err(|error| attempt.frame(error))?;
        }
    }
    source.joined();
    let Collected { mut pairs, mut source_matched } = collected;
    let kept = |error| attempt.rows(from_datafusion("keep the pairs", error));
    pairs.finish().map_err(kept)?;
    let only_inserts = plan.matched.is_empty() && plan.by_source.is_empty();
    let files: Vec<FoundIn> = match only_inserts {
        true => Vec::new(),
        false => files.iter().enumerate().map(|(at, file)| FoundIn::new(at, file)).collect(),
    };
    tracing::debug!(table = attempt.url, ?pairs, spilled = pairs.are_spilled(), "the pairs of a merge");
    let mut found = Found { files, pairs, source_matched: source_matched.finish(), _reserved: reserved };
    let mut settled = Settled::new(&found.pairs, attempt)?;
    let mut ambiguous = Ambiguous::default();
    while let Some(change) = settled.settle(&plan.matched, &mut ambiguous)? {
        if let Some(file) = found.files.get_mut(change.file as usize) {
            file.add(change.row, change.by, plan);
        }
    }
    match ambiguous.first {
        Some(row) => Err(EngineError::AmbiguousMatch {
            url: attempt.url.clone(),
            on: plan.on_text.clone(),
            rows: ambiguous.rows,
            key: plan.key_of(source, row, attempt)?,
        }),
        None => Ok(found),
    }
}

/// The pairs of the files and the source.
#[expect(clippy::too_many_arguments, reason = "one step of `find`, which runs it once or twice")]
async fn join(
    snapshot: &Snapshot,
    files: &[DataFile],
    source: &SourceRows,
    plan: &Plan,
    predicate: Option<&Predicate>,
    session: &SessionContext,
    collected: &mut Collected,
    attempt: &Attempt,
) -> std::result::Result<(), DataFusionError> {
    let external = |error: EngineError| DataFusionError::External(Box::new(error));
    let only_inserts = plan.matched.is_empty() && plan.by_source.is_empty();
    let [file_name, row_name, source_name] = ["file", "row", "source_row"].map(|name| unused(name, plan));
    let conditions = plan.matched.iter().filter_map(|clause| clause.condition.as_ref()).map(|condition| &condition.expr);
    let read: Vec<&Expr> = std::iter::once(&plan.on).chain(conditions).collect();
    let columns = plan.target_columns(read.iter().copied());
    let locators = Locators { file: file_name.clone(), row: row_name.clone() };
    let keys = plan.key_filter(source, &columns, attempt).map_err(external)?.map(Arc::new);
    let schema = scan_schema(&plan.table, &columns, Some(&locators))?;
    let target = LocatedFiles {
        snapshot: snapshot.clone(),
        files: files.to_vec(),
        columns,
        predicate: predicate.cloned(),
        keys,
        locators,
        schema,
    };
    let of_source = source.numbered(&plan.source_columns(read), &source_name)?;
    // A source that does not fit into memory is joined by sorting, which goes on on disk.
    let sorting = of_source.is_on_disk.then(|| sorting(session)).transpose()?;
    let session = sorting.as_ref().map_or(session, |(session, _)| session);
    let target = session.read_table(Arc::new(target))?.alias(&plan.target_alias)?;
    let source = session.read_table(Arc::clone(&of_source.rows))?.alias(&plan.source_alias)?;
    let of = |alias: &str, name: &str| Expr::Column(Column::new(Some(alias), name));
    let joined = match only_inserts {
        // Which source rows match is all that matters, not with what.
        true => {
            let matched = target.join_on(source, JoinType::RightSemi, [plan.on.clone()])?;
            matched.select([of(&plan.source_alias, &source_name).alias("source")])?
        }
        false => target.join_on(source, JoinType::Inner, [plan.on.clone()])?.select([
            of(&plan.target_alias, &file_name).alias("file"),
            of(&plan.target_alias, &row_name).alias("row"),
            of(&plan.source_alias, &source_name).alias("source"),
            first_clause(&plan.matched)?.alias("clause"),
        ])?,
    };
    let mut pairs = joined.execute_stream().await?;
    while let Some(batch) = pairs.next().await {
        collected.add(&batch?, only_inserts)?;
    }
    Ok(())
}

fn is_exhausted(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// The session, but for joins: they sort both sides and merge them, in a pool of their own where there is room for one.
fn sorting(session: &SessionContext) -> std::result::Result<(SessionContext, Option<MemoryReservation>), DataFusionError> {
    let runtime = session.runtime_env();
    let mut config = session.copied_config();
    // With one partition the engine hashes, whatever is preferred.
    let optimizer = &mut config.options_mut().optimizer;
    (optimizer.prefer_hash_join, optimizer.repartition_joins) = (false, true);
    let partitions = config.target_partitions().max(2);
    config.options_mut().execution.target_partitions = partitions;
    let shared = Budget::of(&runtime).shared(&runtime);
    let (runtime, reserved) = match shared {
        Some((memory_pool, reserved)) => {
            let execution = &mut config.options_mut().execution;
            // Both sides are sorted in each partition, and each sort keeps this for merging what it spilled.
            execution.target_partitions = (reserved.size() / PARTITION_BYTES).clamp(2, partitions);
            let each = reserved.size() / (8 * execution.target_partitions);
            execution.sort_spill_reservation_bytes = execution.sort_spill_reservation_bytes.min(each);
            // Batches on their way, and those that are merged, are held beside what is sorted: in little memory they are small.
            let most = execution.batch_size.get();
            let rows = most * (reserved.size() / execution.target_partitions) / PARTITION_BYTES;
            execution.batch_size = ConfigNonZeroUsize::try_new(rows.clamp(LEAST_BATCH_ROWS.min(most), most))?;
            (Arc::new(RuntimeEnv { memory_pool, ..runtime.as_ref().clone() }), Some(reserved))
        }
        None => (runtime, None),
    };
    let state = SessionStateBuilder::new_from_existing(session.state()).with_config(config).with_runtime_env(runtime).build();
    Ok((SessionContext::new_with_state(state), reserved))
}

/// What a partition of a join that sorts should have.
const PARTITION_BYTES: usize = 32 << 20;
/// The fewest rows of a batch that is worth its cost.
const LEAST_BATCH_ROWS: usize = 256;

fn number(batch: &RecordBatch, at: usize) -> &datafusion::arrow::array::Int64Array {
    batch.column(at).as_primitive::<Int64Type>()
}

/// Rows that several source rows want to change.
#[derive(Debug, Default)]
struct Ambiguous {
    rows: u64,
    /// One of the source rows.
    first: Option<usize>,
}

/// Of each row that was found what happens to it.
pub(crate) struct Settled<'a> {
    pairs: Sorted<'a>,
    next: Option<Pair>,
    attempt: Attempt,
}

impl<'a> Settled<'a> {
    fn new(pairs: &'a Pairs, attempt: &Attempt) -> Result<Self> {
        let failed = |error| attempt.rows(from_datafusion("read the pairs", error));
        let mut pairs = pairs.sorted().map_err(failed)?;
        let next = pairs.next().map_err(failed)?;
        Ok(Self { pairs, next, attempt: attempt.clone() })
    }

    /// The next row of this file or an earlier one that a clause wants.
    pub(crate) fn next_in(&mut self, file: u32) -> Result<Option<RowChange>> {
        while self.next.is_some_and(|pair| pair.file <= file) {
            if let Some(change) = self.settle(&[], &mut Ambiguous::default())?
                && change.by != By::Nothing
            {
                return Ok(Some(change));
            }
        }
        Ok(None)
    }

    fn step(&mut self) -> Result<()> {
        self.next = self.pairs.next().map_err(|error| self.attempt.rows(from_datafusion("read the pairs", error)))?;
        Ok(())
    }

    /// The next row, with one of the clauses that want it. Several source rows may do so only to delete it.
    fn settle(&mut self, clauses: &[ChangeClause], ambiguous: &mut Ambiguous) -> Result<Option<RowChange>> {
        let Some(first) = self.next else { return Ok(None) };
        let is_delete = |pair: Pair| {
            usize::try_from(pair.clause).ok().and_then(|clause| clauses.get(clause)).is_some_and(|clause| clause.update.is_none())
        };
        let (mut chosen, mut all_delete, mut wanting) = (None::<Pair>, true, 0);
        while let Some(pair) = self.next.filter(|pair| (pair.file, pair.row) == (first.file, first.row)) {
            if pair.clause >= 0 {
                chosen.get_or_insert(pair);
                wanting += 1;
                all_delete &= is_delete(pair);
            }
            self.step()?;
        }
        let by = by(chosen.unwrap_or(first));
        if wanting > 1 && !all_delete {
            ambiguous.rows += 1;
            if let By::Matched { source, .. } = by {
                ambiguous.first.get_or_insert(source);
            }
        }
        Ok(Some(RowChange { file: first.file, row: first.row, by }))
    }
}

fn by(pair: Pair) -> By {
    match usize::try_from(pair.clause) {
        Err(_) => By::Nothing,
        Ok(clause) if pair.source == NO_SOURCE => By::Source { clause },
        Ok(clause) => By::Matched { clause, source: usize::try_from(pair.source).unwrap_or(usize::MAX) },
    }
}

/// The number of the first clause whose condition is true; -1 for none.
fn first_clause(clauses: &[ChangeClause]) -> datafusion::error::Result<Expr> {
    let mut expr = lit(-1_i32);
    for (number, clause) in clauses.iter().enumerate().rev() {
        let number = lit(i32::try_from(number).unwrap_or(i32::MAX));
        expr = match &clause.condition {
            None => number,
            Some(condition) => when(condition.expr.clone(), number).otherwise(expr)?,
        };
    }
    Ok(expr)
}

/// A name that no column has.
fn unused(name: &str, plan: &Plan) -> String {
    let mut name = format!("__{name}");
    while plan.pair.fields().iter().any(|field| field.name() == &name) {
        name.insert(0, '_');
    }
    name
}

/// Looks at every row that no source row matches.
pub(crate) async fn add_unmatched(snapshot: &Snapshot, found: &mut Found, plan: &Plan, attempt: &Attempt) -> Result<()> {
    let kept = |error| attempt.rows(from_datafusion("keep the pairs", error));
    let everything: Vec<usize> = (0..plan.table.fields().len()).collect();
    let row_name = unused("row", plan);
    // Within a version a path stands for one file.
    let key = |file: &DataFile| file.add().path.clone();
    let places: HashMap<String, usize> = found.files.iter().enumerate().map(|(at, found)| (key(&found.file), at)).collect();
    for file in snapshot.files(None).await? {
        // Conditions are compiled over all columns of the table. Rarely are there so many files that a narrower read
        // would pay: with these clauses most rows are going to change.
        let projection = everything.iter().map(|at| plan.table.field(*at).name().clone()).collect();
        let read = FileRead { projection: Some(projection), row_index: Some(row_name.clone()), ..FileRead::default() };
        let mut rows = snapshot.read_file(&file, read)?;
        let at = places.get(&key(&file)).copied().unwrap_or(found.files.len());
        if at == found.files.len() {
            found.files.push(FoundIn::new(at, &file));
        }
        let Some(in_file) = found.files.get_mut(at) else { continue };
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|error| attempt.rows(error))?;
            let numbers = number(&batch, batch.num_columns() - 1).clone();
            let table_rows = batch.project(&everything).map_err(|source| attempt.compute(source))?;
            let chosen = choose(&plan.by_source, &table_rows, attempt)?;
            for (row, clause) in numbers.values().iter().zip(chosen) {
                let Ok(row) = u64::try_from(*row) else { continue };
                // A row comes once: those that this loop added are behind it.
                if let Some(clause) = clause.filter(|_| !in_file.has(row)) {
                    in_file.add(row, By::Source { clause }, plan);
                    let clause = i32::try_from(clause).unwrap_or(i32::MAX);
                    found.pairs.push(Pair { file: in_file.at, row, clause, source: NO_SOURCE }).map_err(kept)?;
                }
            }
        }
    }
    found.pairs.finish().map_err(kept)
}

/// For each row the first clause whose condition is true.
fn choose(clauses: &[ChangeClause], rows: &RecordBatch, attempt: &Attempt) -> Result<Vec<Option<usize>>> {
    let mut chosen = vec![None; rows.num_rows()];
    for (number, clause) in clauses.iter().enumerate() {
        let wants = match &clause.condition {
            Some(condition) => condition.is_true(rows, attempt)?,
            None => BooleanArray::from(vec![true; rows.num_rows()]),
        };
        for (chosen, wants) in chosen.iter_mut().zip(wants.values().iter()) {
            if wants && chosen.is_none() {
                *chosen = Some(number);
            }
        }
    }
    Ok(chosen)
}
