//! Carrying out what a merge wants of the rows of a file.

use std::collections::VecDeque;
use std::sync::Arc;

use boathouse_delta_protocol::deletion_vector::DeletionVector;
use boathouse_delta_table::{ChangeType, FileRead, RowOrigins, Snapshot};
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{Int64Type, SchemaRef};

use super::matches::{By, FoundIn, RowChange, Settled};
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
    /// So many changes and their source rows are held at once.
    pub(crate) rows_at_once: usize,
    pub(crate) attempt: &'a Attempt,
}

/// The next changes of a file, and the source rows that they need.
struct Window {
    file: u32,
    skips_deletes: bool,
    changes: VecDeque<RowChange>,
    picked: Picked,
    /// No more will come.
    is_last: bool,
}

impl Window {
    fn new(file: u32, skips_deletes: bool) -> Self {
        Self { file, skips_deletes, changes: VecDeque::new(), picked: Picked::default(), is_last: false }
    }

    /// Has the changes of all rows up to this one.
    fn reach(&mut self, row: u64, apply: &Apply<'_>, settled: &mut Settled<'_>, counts: &mut Counts) -> Result<()> {
        let mut came = false;
        while !self.is_last && self.changes.back().is_none_or(|last| last.row < row) {
            let wanted = self.changes.len() + apply.rows_at_once;
            while self.changes.len() < wanted {
                match settled.next_in(self.file)? {
                    Some(change) if self.skips_deletes && apply.is_delete(change.by) => counts.deleted(change.by),
                    Some(change) => self.changes.push_back(change),
                    None => {
                        self.is_last = true;
                        break;
                    }
                }
            }
            came = true;
        }
        if came {
            let of_source = self.changes.iter().filter_map(|change| match change.by {
                By::Matched { source, .. } if !apply.is_delete(change.by) => Some(source),
                _ => None,
            });
            self.picked = Picked::new(apply.source, of_source.collect(), apply.attempt)?;
        }
        Ok(())
    }

    /// What happens to a row; rows ascend.
    fn take(&mut self, row: u64) -> Option<By> {
        while self.changes.front().is_some_and(|change| change.row < row) {
            self.changes.pop_front();
        }
        self.changes.pop_front_if(|change| change.row == row).map(|change| change.by)
    }

    /// Counts the rows that go without being read.
    fn pass_over(&mut self, apply: &Apply<'_>, settled: &mut Settled<'_>, counts: &mut Counts) -> Result<()> {
        while let Some(change) = settled.next_in(self.file)? {
            if self.skips_deletes && apply.is_delete(change.by) {
                counts.deleted(change.by);
            }
        }
        Ok(())
    }
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
    /// Writes what becomes of the rows of a file that change, and when it is copied, of all its other rows, too.
    ///
    /// `settled` has come to this file: files are carried out in the order in which they were found.
    pub(crate) async fn file(
        &self,
        found: &FoundIn,
        fate: Fate,
        settled: &mut Settled<'_>,
        output: &mut Output,
        counts: &mut Counts,
    ) -> Result<()> {
        // Rows that are only deleted have to be read where they are copied around, or told to readers of the change feed.
        let skips_deletes = fate != Fate::Copy && !output.is_recording();
        let rows: Option<DeletionVector> = match fate {
            Fate::Copy => None,
            Fate::Mark | Fate::Remove if skips_deletes => Some(found.updated.clone()),
            Fate::Mark | Fate::Remove => Some(found.changed().collect()),
        };
        let mut window = Window::new(found.at, skips_deletes);
        if rows.as_ref().is_some_and(DeletionVector::is_empty) {
            return window.pass_over(self, settled, counts);
        }
        let names: Vec<&String> = self.plan.table.fields().iter().map(|field| field.name()).collect();
        let request = FileRead { row_index: Some(unused_name(&names)), rows, ..FileRead::default() };
        let mut batches = read_known(self.snapshot, &found.file, request)?;
        while let Some(batch) = batches.next().await {
            let Known { rows: batch, origins } =
                Known::of(self.snapshot, batch.map_err(|error| self.attempt.rows(error))?).loose(self.attempt)?;
            let Some((numbers, columns)) = batch.columns().split_last() else { continue };
            let numbers = numbers.as_primitive::<Int64Type>().values();
            let last = numbers.last().and_then(|row| u64::try_from(*row).ok()).unwrap_or(0);
            window.reach(last, self, settled, counts)?;
            // Changes and rows both ascend.
            let by_row: Vec<Option<By>> = numbers.iter().map(|row| window.take(u64::try_from(*row).ok()?)).collect();
            if by_row.iter().all(Option::is_none) {
                counts.copied += batch.num_rows() as u64;
                output.keep(&checked(self.snapshot, columns.to_vec(), self.attempt)?, origins.as_ref()).await?;
                continue;
            }
            self.batch((columns, origins.as_ref()), &by_row, &window.picked, output, counts).await?;
        }
        // What is left are rows that are not read.
        window.pass_over(self, settled, counts)
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
        by != By::Nothing && !self.plan.is_update(by)
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
