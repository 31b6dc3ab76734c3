//! Writing files again with the changes of a merge.

use std::sync::Arc;

use boathouse_delta_table::{DataFile, DataWriter, FileRead, Snapshot};
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{Int64Type, SchemaRef};

use super::matches::{By, RowChange};
use super::plan::Plan;
use super::report::Counts;
use super::source::SourceRows;
use crate::engine::assign::weave;
use crate::engine::error::{Attempt, Result};
use crate::engine::update::checked;

/// The name of the row numbers in a read; no column of the result.
const ROW: &str = "__row";

/// Writes the rows of a file again, in their order, with these changes.
#[expect(clippy::too_many_arguments, reason = "one step of a merge, which reads all of what was found out before")]
pub(crate) async fn rewrite(
    snapshot: &Snapshot,
    file: &DataFile,
    changes: &[RowChange],
    plan: &Plan,
    source: &SourceRows,
    writer: &mut DataWriter,
    counts: &mut Counts,
    attempt: &Attempt,
) -> Result<()> {
    let deletes = changes.iter().all(|change| is_delete(change.by, plan));
    if deletes && file.row_count() == Some(changes.len() as u64) {
        changes.iter().for_each(|change| counts.deleted(change.by));
        return Ok(());
    }
    let mut rows = snapshot.read_file(file, FileRead { row_index: Some(ROW.to_owned()), ..FileRead::default() })?;
    let mut next = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| attempt.rows(error))?;
        let Some((numbers, columns)) = batch.columns().split_last() else { continue };
        let numbers = numbers.as_primitive::<Int64Type>().values();
        // Changes and rows both ascend.
        let from = next;
        let mut by_row = Vec::with_capacity(numbers.len());
        for row in numbers {
            let change = changes.get(next).filter(|change| change.row == *row);
            next += usize::from(change.is_some());
            by_row.push(change.map(|change| change.by));
        }
        if next == from {
            counts.copied += batch.num_rows() as u64;
            writer.write_kept(&checked(snapshot, columns.to_vec(), attempt)?).await?;
            continue;
        }
        let (columns, rows) = change_rows(columns, &by_row, plan, source, counts, attempt)?;
        if rows > 0 {
            writer.write_changed(&checked(snapshot, columns, attempt)?).await?;
        }
    }
    Ok(())
}

fn is_delete(by: By, plan: &Plan) -> bool {
    match by {
        By::Nothing => false,
        By::Matched { clause, .. } => plan.matched[clause].update.is_none(),
        By::Source { clause } => plan.by_source[clause].update.is_none(),
    }
}

/// The rows that stay, old and new ones in their order.
fn change_rows(
    columns: &[ArrayRef],
    by_row: &[Option<By>],
    plan: &Plan,
    source: &SourceRows,
    counts: &mut Counts,
    attempt: &Attempt,
) -> Result<(Vec<ArrayRef>, usize)> {
    // Set 0 is the old rows; then one set for each clause that updates.
    let clauses = plan.matched.len() + plan.by_source.len();
    let mut updated: Vec<Vec<(usize, usize)>> = vec![Vec::new(); clauses];
    let mut places = Vec::with_capacity(by_row.len());
    for (row, by) in by_row.iter().enumerate() {
        let by = by.unwrap_or(By::Nothing);
        if by == By::Nothing {
            counts.copied += 1;
            places.push((0, row));
            continue;
        }
        if is_delete(by, plan) {
            counts.deleted(by);
            continue;
        }
        let (set, of_source) = match by {
            By::Matched { clause, source } => (clause, source),
            By::Source { clause } => (plan.matched.len() + clause, 0),
            By::Nothing => continue,
        };
        counts.updated(by);
        places.push((set + 1, updated[set].len()));
        updated[set].push((row, of_source));
    }
    let mut sets: Vec<Vec<ArrayRef>> = vec![columns.to_vec()];
    for (set, rows) in updated.iter().enumerate() {
        sets.push(match plan.matched.get(set) {
            _ if rows.is_empty() => columns.iter().map(|column| column.slice(0, 0)).collect(),
            Some(clause) => update(clause.update.as_ref(), columns, rows, Some(source), plan, attempt)?,
            None => {
                let clause = plan.by_source.get(set - plan.matched.len());
                update(clause.and_then(|clause| clause.update.as_ref()), columns, rows, None, plan, attempt)?
            }
        });
    }
    let sets: Vec<&[ArrayRef]> = sets.iter().map(Vec::as_slice).collect();
    Ok((weave(&sets, &places, attempt)?, places.len()))
}

/// The new values of some rows.
fn update(
    assignments: Option<&crate::engine::assign::Assignments>,
    columns: &[ArrayRef],
    rows: &[(usize, usize)],
    source: Option<&SourceRows>,
    plan: &Plan,
    attempt: &Attempt,
) -> Result<Vec<ArrayRef>> {
    let at = UInt64Array::from_iter_values(rows.iter().map(|(row, _)| *row as u64));
    let old = columns.iter().map(|column| take(column, &at, None).map_err(|source| attempt.compute(source)));
    let old: Vec<ArrayRef> = old.collect::<Result<_>>()?;
    let Some(assignments) = assignments else { return Ok(old) };
    let (schema, mut row) = (SchemaRef::clone(&plan.table), old.clone());
    let row = match source {
        None => RecordBatch::try_new(schema, row),
        Some(source) => {
            let of_source: Vec<usize> = rows.iter().map(|(_, source)| *source).collect();
            row.extend(source.take(&of_source, attempt)?);
            RecordBatch::try_new(Arc::new(plan.pair.as_arrow().clone()), row)
        }
    };
    let row = row.map_err(|source| attempt.compute(source))?;
    assignments.columns(&row, attempt, |at| Arc::clone(&old[at]))
}
