//! Which rows of the table and of the source belong together, and which clause wants them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use boathouse_base::Predicate;
use boathouse_delta_table::{DataFile, FileRead, Snapshot};
use datafusion::arrow::array::{AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::datatypes::{Int32Type, Int64Type};
use datafusion::common::{Column, JoinType};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{Expr, lit, when};
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::plan::{ChangeClause, Plan};
use super::source::SourceRows;
use crate::engine::error::{Attempt, EngineError, Result};
use crate::engine::provider::LocatedFiles;
use crate::engine::scan::{Locators, scan_schema};

/// What happens to a row of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowChange {
    /// Its number in the file.
    pub(crate) row: i64,
    pub(crate) by: By,
}

/// Which clause wants a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// By the path of the file: its matched rows, in order, each once. Files that were looked through without a match are here, too.
    files: BTreeMap<String, (DataFile, Vec<RowChange>)>,
    /// Source rows that match some row.
    pub(crate) source_matched: Vec<bool>,
    /// What it takes of the memory of the session.
    reserved: MemoryReservation,
}

impl Found {
    /// The files that were looked through, each with the rows that some source row matches.
    pub(crate) fn looked_at(&self) -> impl Iterator<Item = (&DataFile, impl Iterator<Item = u64>)> {
        self.files.values().map(|(file, rows)| (file, rows.iter().filter_map(|change| u64::try_from(change.row).ok())))
    }

    /// The files with a change, and the rows that change.
    pub(crate) fn changes(&self) -> Vec<(&DataFile, Cow<'_, [RowChange]>)> {
        let all = self.files.values().map(|(file, rows)| {
            let changes = match rows.iter().all(|row| row.by != By::Nothing) {
                true => Cow::Borrowed(rows.as_slice()),
                false => rows.iter().filter(|row| row.by != By::Nothing).copied().collect(),
            };
            (file, changes)
        });
        all.filter(|(_, changes)| !changes.is_empty()).collect()
    }
}

/// Joins the files with the source.
pub(crate) async fn find(
    snapshot: &Snapshot,
    files: &[DataFile],
    source: &SourceRows,
    plan: &Plan,
    predicate: Option<&Predicate>,
    session: &SessionContext,
    attempt: &Attempt,
) -> Result<Found> {
    let reserved = MemoryConsumer::new("pairs of a MERGE").register(&session.runtime_env().memory_pool);
    let mut found = Found { files: BTreeMap::new(), source_matched: vec![false; source.rows], reserved };
    if files.is_empty() || source.rows == 0 {
        return Ok(found);
    }
    let only_inserts = plan.matched.is_empty() && plan.by_source.is_empty();
    let [file_name, row_name, source_name] = ["file", "row", "source_row"].map(|name| unused(name, plan));
    let conditions = plan.matched.iter().filter_map(|clause| clause.condition.as_ref()).map(|condition| &condition.expr);
    let read: Vec<&Expr> = std::iter::once(&plan.on).chain(conditions).collect();
    let columns = plan.target_columns(read.iter().copied());
    let locators = Locators { file: file_name.clone(), row: row_name.clone() };
    let keys = plan.key_filter(source, &columns, attempt)?.map(Arc::new);
    let schema = scan_schema(&plan.table, &columns, Some(&locators)).map_err(|error| attempt.frame(error))?;
    let target = LocatedFiles {
        snapshot: snapshot.clone(),
        files: files.to_vec(),
        columns,
        predicate: predicate.cloned(),
        keys,
        locators,
        schema,
    };
    let of_source = source.numbered(&plan.source_columns(read), &source_name, attempt)?;
    // A source that does not fit into memory is joined by sorting, which goes on on disk.
    let session = if of_source.is_on_disk { &sorting(session) } else { session };
    let joined = (|| {
        let target = session.read_table(Arc::new(target))?.alias(&plan.target_alias)?;
        let source = session.read_table(Arc::clone(&of_source.rows))?.alias(&plan.source_alias)?;
        let of = |alias: &str, name: &str| Expr::Column(Column::new(Some(alias), name));
        if only_inserts {
            // Which source rows match is all that matters, not with what.
            let matched = target.join_on(source, JoinType::RightSemi, [plan.on.clone()])?;
            return matched.select([of(&plan.source_alias, &source_name).alias("source")]);
        }
        target.join_on(source, JoinType::Inner, [plan.on.clone()])?.select([
            of(&plan.target_alias, &file_name).alias("file"),
            of(&plan.target_alias, &row_name).alias("row"),
            of(&plan.source_alias, &source_name).alias("source"),
            first_clause(&plan.matched)?.alias("clause"),
        ])
    })();
    let mut pairs = joined.map_err(|error| attempt.frame(error))?.execute_stream().await.map_err(|error| attempt.frame(error))?;
    let mut by_file: BTreeMap<usize, Vec<RowChange>> = BTreeMap::new();
    while let Some(batch) = pairs.next().await {
        let batch = batch.map_err(|error| attempt.frame(error))?;
        if only_inserts {
            for source in number(&batch, 0).values() {
                if let Some(matched) = usize::try_from(*source).ok().and_then(|source| found.source_matched.get_mut(source)) {
                    *matched = true;
                }
            }
            continue;
        }
        found.reserved.try_grow(batch.num_rows() * size_of::<RowChange>()).map_err(|error| attempt.frame(error))?;
        let (file, row, of_source) = (number(&batch, 0), number(&batch, 1), number(&batch, 2));
        let clauses = batch.column(3).as_primitive::<Int32Type>();
        for at in 0..batch.num_rows() {
            let source = usize::try_from(of_source.value(at)).unwrap_or(usize::MAX);
            if let Some(matched) = found.source_matched.get_mut(source) {
                *matched = true;
            }
            let by = match usize::try_from(clauses.value(at)) {
                Ok(clause) => By::Matched { clause, source },
                Err(_) => By::Nothing,
            };
            let changes = by_file.entry(usize::try_from(file.value(at)).unwrap_or(usize::MAX)).or_default();
            changes.push(RowChange { row: row.value(at), by });
        }
    }
    drop((pairs, of_source));
    source.joined();
    if only_inserts {
        return Ok(found);
    }
    let mut ambiguous = Ambiguous::default();
    for (at, file) in files.iter().enumerate() {
        let mut rows = by_file.remove(&at).unwrap_or_default();
        settle(&mut rows, &plan.matched, &mut ambiguous);
        found.files.insert(key(file), (file.clone(), rows));
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

/// The session, but for joins: they sort both sides and merge them.
fn sorting(session: &SessionContext) -> SessionContext {
    let mut config = session.copied_config();
    config.options_mut().optimizer.prefer_hash_join = false;
    let state = SessionStateBuilder::new_from_existing(session.state()).with_config(config).build();
    SessionContext::new_with_state(state)
}

/// A file by its path: within a version a path stands for one file.
fn key(file: &DataFile) -> String {
    file.add().path.clone()
}

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

/// Leaves one entry for each row.
fn settle(rows: &mut Vec<RowChange>, clauses: &[ChangeClause], ambiguous: &mut Ambiguous) {
    rows.sort_unstable();
    let is_delete = |change: &RowChange| matches!(change.by, By::Matched { clause, .. } if clauses[clause].update.is_none());
    let (mut start, mut settled) = (0, 0);
    while let Some(first) = rows.get(start).copied() {
        let same = rows[start..].iter().take_while(|change| change.row == first.row);
        let len = same.clone().count();
        let mut wanting = same.filter(|change| change.by != By::Nothing);
        let chosen = wanting.next().copied();
        if let Some(chosen) = chosen
            && let Some(other) = wanting.next()
            && !(is_delete(&chosen) && is_delete(other) && wanting.all(is_delete))
        {
            ambiguous.rows += 1;
            if let By::Matched { source, .. } = chosen.by {
                ambiguous.first.get_or_insert(source);
            }
        }
        rows[settled] = chosen.unwrap_or(first);
        (start, settled) = (start + len, settled + 1);
    }
    rows.truncate(settled);
    rows.shrink_to_fit();
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
    let everything: Vec<usize> = (0..plan.table.fields().len()).collect();
    let row_name = unused("row", plan);
    for file in snapshot.files(None).await? {
        let matched = found.files.get(&key(&file)).map(|(_, rows)| rows.clone()).unwrap_or_default();
        // Conditions are compiled over all columns of the table. Rarely are there so many files that a narrower read
        // would pay: with these clauses most rows are going to change.
        let projection = everything.iter().map(|at| plan.table.field(*at).name().clone()).collect();
        let read = FileRead { projection: Some(projection), row_index: Some(row_name.clone()), ..FileRead::default() };
        let mut rows = snapshot.read_file(&file, read)?;
        let mut changes = Vec::new();
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|error| attempt.rows(error))?;
            let numbers = number(&batch, batch.num_columns() - 1).clone();
            let table_rows = batch.project(&everything).map_err(|source| attempt.compute(source))?;
            let chosen = choose(&plan.by_source, &table_rows, attempt)?;
            for (row, clause) in numbers.values().iter().zip(chosen) {
                let is_matched = matched.binary_search_by_key(row, |change| change.row).is_ok();
                if let Some(clause) = clause.filter(|_| !is_matched) {
                    changes.push(RowChange { row: *row, by: By::Source { clause } });
                }
            }
        }
        let (_, rows) = found.files.entry(key(&file)).or_insert_with(|| (file.clone(), Vec::new()));
        rows.extend(changes);
        rows.sort_unstable();
    }
    Ok(())
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
