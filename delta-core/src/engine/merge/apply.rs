//! Carrying out what a merge wants of the rows of a file.

use std::sync::Arc;

use boathouse_delta_protocol::deletion_vector::DeletionVector;
use boathouse_delta_table::{ChangeType, DataFile, FileRead, RowOrigins, Snapshot};
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{Int64Type, SchemaRef};

use super::matches::{By, RowChange};
use super::plan::Plan;
use super::report::Counts;
use super::source::{Picked, SourceRows};
use crate::engine::assign::{Assignments, weave};
use crate::engine::error::{Attempt, Result};
use crate::engine::fate::Fate;
use crate::engine::origins::{Known, read_known, woven};
use crate::engine::output::Output;
use crate::engine::touched::unused_name;
use crate::engine::update::checked;

/// What a merge knows when it changes rows.
pub(crate) struct Apply<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) plan: &'a Plan,
    pub(crate) source: &'a SourceRows,
    pub(crate) attempt: &'a Attempt,
}

/// A batch after its changes.
struct Changed {
    /// The rows that stay, old and new ones in their order.
    columns: Vec<ArrayRef>,
    /// Where each of them was in the batch, and whether it is changed.
    from: Vec<(usize, bool)>,
    /// Where updated rows were in the batch, and where their new values are.
    updated: Vec<usize>,
    after: Vec<ArrayRef>,
    deleted: Vec<usize>,
}

impl Apply<'_> {
    /// Writes what becomes of these rows of a file, and when it is copied, all its other rows, too.
    ///
    /// `changes` are in the order of the file, each row once.
    pub(crate) async fn file(
        &self,
        (file, fate): (&DataFile, Fate),
        changes: &[RowChange],
        output: &mut Output,
        counts: &mut Counts,
    ) -> Result<()> {
        // Rows that are only deleted have to be read where they are copied around, or told to readers of the change feed.
        let skips_deletes = fate != Fate::Copy && !output.is_recording();
        let is_read = |change: &&RowChange| !(skips_deletes && self.is_delete(change.by));
        let read: Vec<RowChange> = changes.iter().filter(is_read).copied().collect();
        changes.iter().filter(|change| !is_read(change)).for_each(|change| counts.deleted(change.by));
        if read.is_empty() {
            return Ok(());
        }
        let of_source = read.iter().filter_map(|change| match change.by {
            By::Matched { source, .. } => Some(source),
            _ => None,
        });
        let picked = Picked::new(self.source, of_source.collect(), self.attempt)?;
        let rows: Option<DeletionVector> = match fate {
            Fate::Copy => None,
            Fate::Mark | Fate::Remove => Some(read.iter().filter_map(|change| u64::try_from(change.row).ok()).collect()),
        };
        let names: Vec<&String> = self.plan.table.fields().iter().map(|field| field.name()).collect();
        let request = FileRead { row_index: Some(unused_name(&names)), rows, ..FileRead::default() };
        let mut batches = read_known(self.snapshot, file, request)?;
        let mut next = 0;
        while let Some(batch) = batches.next().await {
            let Known { rows: batch, origins } =
                Known::of(self.snapshot, batch.map_err(|error| self.attempt.rows(error))?).loose(self.attempt)?;
            let Some((numbers, columns)) = batch.columns().split_last() else { continue };
            let numbers = numbers.as_primitive::<Int64Type>().values();
            // Changes and rows both ascend.
            let from = next;
            let mut by_row = Vec::with_capacity(numbers.len());
            for row in numbers {
                let change = read.get(next).filter(|change| change.row == *row);
                next += usize::from(change.is_some());
                by_row.push(change.map(|change| change.by));
            }
            if next == from {
                counts.copied += batch.num_rows() as u64;
                output.keep(&checked(self.snapshot, columns.to_vec(), self.attempt)?, origins.as_ref()).await?;
                continue;
            }
            self.batch((columns, origins.as_ref()), &by_row, &picked, output, counts).await?;
        }
        Ok(())
    }

    async fn batch(
        &self,
        (columns, origins): (&[ArrayRef], Option<&RowOrigins>),
        by_row: &[Option<By>],
        picked: &Picked,
        output: &mut Output,
        counts: &mut Counts,
    ) -> Result<()> {
        let changed = self.change_rows(columns, by_row, picked, counts)?;
        if !changed.from.is_empty() {
            let origins = origins.map(|origins| woven(origins, &changed.from));
            output.change(&checked(self.snapshot, changed.columns, self.attempt)?, origins.as_ref()).await?;
        }
        if !output.is_recording() {
            return Ok(());
        }
        let old = |rows: &[usize]| checked(self.snapshot, self.taken(columns, rows)?, self.attempt);
        if !changed.updated.is_empty() {
            output.record(&old(&changed.updated)?, ChangeType::UpdatePreimage).await?;
            output.record(&checked(self.snapshot, changed.after, self.attempt)?, ChangeType::UpdatePostimage).await?;
        }
        output.record(&old(&changed.deleted)?, ChangeType::Delete).await
    }

    fn is_delete(&self, by: By) -> bool {
        match by {
            By::Nothing => false,
            By::Matched { clause, .. } => self.plan.matched[clause].update.is_none(),
            By::Source { clause } => self.plan.by_source[clause].update.is_none(),
        }
    }

    fn taken(&self, columns: &[ArrayRef], rows: &[usize]) -> Result<Vec<ArrayRef>> {
        let at = UInt64Array::from_iter_values(rows.iter().map(|row| *row as u64));
        columns.iter().map(|column| take(column, &at, None).map_err(|source| self.attempt.compute(source))).collect()
    }

    fn change_rows(&self, columns: &[ArrayRef], by_row: &[Option<By>], picked: &Picked, counts: &mut Counts) -> Result<Changed> {
        let plan = self.plan;
        // Set 0 is the old rows; then one set for each clause that updates.
        let clauses = plan.matched.len() + plan.by_source.len();
        let mut by_clause: Vec<Vec<(usize, usize)>> = vec![Vec::new(); clauses];
        let (mut places, mut new_places) = (Vec::with_capacity(by_row.len()), Vec::new());
        let (mut from, mut updated, mut deleted) = (Vec::with_capacity(by_row.len()), Vec::new(), Vec::new());
        for (row, by) in by_row.iter().enumerate() {
            let by = by.unwrap_or(By::Nothing);
            if by == By::Nothing {
                counts.copied += 1;
                places.push((0, row));
                from.push((row, false));
                continue;
            }
            if self.is_delete(by) {
                counts.deleted(by);
                deleted.push(row);
                continue;
            }
            let (set, of_source) = match by {
                By::Matched { clause, source } => (clause, source),
                By::Source { clause } => (plan.matched.len() + clause, 0),
                By::Nothing => continue,
            };
            counts.updated(by);
            updated.push(row);
            from.push((row, true));
            let place = (set + 1, by_clause[set].len());
            places.push(place);
            new_places.push(place);
            by_clause[set].push((row, of_source));
        }
        let mut sets: Vec<Vec<ArrayRef>> = vec![columns.to_vec()];
        for (set, rows) in by_clause.iter().enumerate() {
            sets.push(match plan.matched.get(set) {
                _ if rows.is_empty() => columns.iter().map(|column| column.slice(0, 0)).collect(),
                Some(clause) => self.update(clause.update.as_ref(), columns, rows, Some(picked))?,
                None => {
                    let clause = plan.by_source.get(set - plan.matched.len());
                    self.update(clause.and_then(|clause| clause.update.as_ref()), columns, rows, None)?
                }
            });
        }
        let sets: Vec<&[ArrayRef]> = sets.iter().map(Vec::as_slice).collect();
        let columns = weave(&sets, &places, self.attempt)?;
        let after = weave(&sets, &new_places, self.attempt)?;
        Ok(Changed { columns, from, updated, after, deleted })
    }

    /// The new values of some rows.
    fn update(
        &self,
        assignments: Option<&Assignments>,
        columns: &[ArrayRef],
        rows: &[(usize, usize)],
        picked: Option<&Picked>,
    ) -> Result<Vec<ArrayRef>> {
        let of_table: Vec<usize> = rows.iter().map(|(row, _)| *row).collect();
        let old = self.taken(columns, &of_table)?;
        let Some(assignments) = assignments else { return Ok(old) };
        let (schema, mut row) = (SchemaRef::clone(&self.plan.table), old.clone());
        let row = match picked {
            None => RecordBatch::try_new(schema, row),
            Some(picked) => {
                let of_source: Vec<usize> = rows.iter().map(|(_, source)| *source).collect();
                row.extend(picked.take(self.source, &of_source, self.attempt)?);
                RecordBatch::try_new(Arc::new(self.plan.pair.as_arrow().clone()), row)
            }
        };
        let row = row.map_err(|source| self.attempt.compute(source))?;
        assignments.columns(&row, self.attempt, |at| Arc::clone(&old[at]))
    }
}
