//! Rows that leave: what becomes of their files, and how a transaction says so.

use boathouse_delta_protocol::features::RowChange;
use boathouse_delta_table::{ChangeType, DataFile, FileRead, Transaction};
use datafusion::arrow::compute::{filter_record_batch, not};

use super::error::Result;
use super::fate::Fate;
use super::formula::Filter;
use super::origins::{Known, read_known};
use super::output::Output;
use super::statement::Running;
use super::touched::{Found, Touched};

/// Rows that leave, file by file.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    pub(crate) fates: Vec<(Fate, Touched)>,
    /// Files that were searched, and lose no row.
    untouched: Vec<DataFile>,
}

impl Leaving {
    /// Decides for each file.
    pub(crate) fn of(running: &Running, found: Found) -> Self {
        let fate = |touched: Touched| {
            let rows = touched.rows.as_ref().map(|rows| rows.len());
            (running.treatment.fate(&touched.file, rows), touched)
        };
        Self { fates: found.touched.into_iter().map(fate).collect(), untouched: found.untouched }
    }

    /// All rows of these files.
    pub(crate) fn whole(files: Vec<DataFile>) -> Self {
        let whole = |file| (Fate::Remove, Touched { file, rows: None });
        Self { fates: files.into_iter().map(whole).collect(), untouched: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fates.is_empty()
    }

    /// Whether files are written again.
    pub(crate) fn copies(&self) -> bool {
        self.some(Fate::Copy)
    }

    /// What is done to the rows of the table.
    pub(crate) fn change(&self) -> RowChange {
        match (self.copies(), self.some(Fate::Mark)) {
            (true, _) => RowChange::Rewrite,
            (false, true) => RowChange::MarkRows,
            (false, false) => RowChange::RemoveFiles,
        }
    }

    /// The files that leave.
    pub(crate) fn removed(&self) -> impl Iterator<Item = &DataFile> + Clone {
        self.fates.iter().filter(|(fate, _)| *fate != Fate::Mark).map(|(_, touched)| &touched.file)
    }

    /// How many files stay with more of their rows marked.
    pub(crate) fn marked(&self) -> u64 {
        self.fates.iter().filter(|(fate, _)| *fate == Fate::Mark).count() as u64
    }

    /// How many rows leave; `None` when a file was not read and its statistics do not say how many it has.
    pub(crate) fn rows(&self) -> Option<u64> {
        self.fates.iter().try_fold(0_u64, |rows, (_, touched)| rows.checked_add(touched.matching()?))
    }

    /// Says to a transaction what leaves, and what was read to find it.
    pub(crate) fn stage(&self, transaction: Transaction) -> Transaction {
        let mut transaction = transaction.read_files(self.removed()).remove_all(self.removed()).row_change(self.change());
        for (fate, Touched { file, rows }) in &self.fates {
            if let (Fate::Mark, Some(rows)) = (fate, rows) {
                transaction = transaction.delete_rows(file, rows.iter());
            }
        }
        for file in &self.untouched {
            transaction = transaction.read_rows(file, []);
        }
        transaction
    }

    fn some(&self, wanted: Fate) -> bool {
        self.fates.iter().any(|(fate, _)| *fate == wanted)
    }
}

/// Writes the rows that stay in files that are copied, and what leaves where readers of the change feed must be told.
pub(crate) async fn leave(running: &Running, leaving: &Leaving, filter: &Filter, output: &mut Output) -> Result<()> {
    let (snapshot, attempt) = (&running.snapshot, &running.attempt);
    let (copied, others): (Vec<_>, Vec<_>) = leaving.fates.iter().partition(|(fate, _)| *fate == Fate::Copy);
    for (_, Touched { file, .. }) in copied {
        let mut rows = read_known(snapshot, file, FileRead::default())?;
        while let Some(batch) = rows.next().await {
            let batch = Known::of(snapshot, batch.map_err(|error| attempt.rows(error))?);
            let leaves = filter.wide.is_true(&batch.rows, attempt)?;
            let stays = not(&leaves).map_err(|source| attempt.compute(source))?;
            let kept = batch.filtered(&stays, attempt)?;
            output.keep(&kept.rows, kept.origins.as_ref()).await?;
            if output.is_recording() {
                let deleted = filter_record_batch(&batch.rows, &leaves).map_err(|source| attempt.compute(source))?;
                output.record(&deleted, ChangeType::Delete).await?;
            }
        }
    }
    if !output.is_recording() {
        return Ok(());
    }
    // Where one file of changes is, readers look at nothing else.
    for (_, Touched { file, rows }) in others {
        let mut rows = snapshot.read_file(file, FileRead { rows: rows.clone(), ..FileRead::default() })?;
        while let Some(batch) = rows.next().await {
            output.record(&batch.map_err(|error| attempt.rows(error))?, ChangeType::Delete).await?;
        }
    }
    Ok(())
}
