//! A Delta table as a stream.
//!
//! ```text
//!   start ─▶ rows that are there (by file, or by event time) ─▶ commit ─▶ commit ─▶ …
//!                     └── part by part, as the read limit allows ──┘
//!   plan: which parts come next, checked against the options ─▶ an offset ─▶ read: their rows
//! ```

mod error;
mod initial;
mod options;
mod plan;
mod position;
mod read;
mod recent_commits;

use std::sync::{Arc, OnceLock};

use boathouse_base::{BatchStream, BoxFuture, Offset, PlannedBatch, ReadLimit, Result, StreamSource};
use boathouse_delta_table::DeltaTable;

pub use error::DeltaSourceError;
pub use options::{DeltaSourceOptions, EventTime, OnChange, OnDataLoss, OnNewColumns, StreamRows, StreamStart};
use position::Position;
use recent_commits::RecentCommits;

/// Streams a table: the rows that are there, and then those that come; or every change.
///
/// Commits that change no data (OPTIMIZE) are passed over. A batch has one schema: it ends before a commit that brings new columns. A
/// file that was compacted away meanwhile is read all the same until it is vacuumed.
///
/// **Shape**: the columns of the table as they are where a batch ends; of [`StreamRows::Changes`] those of the change feed.
///
/// **Cost**: a plan lists the log after the position and reads the new commits; a batch reads its files. What a plan has
/// read its batch does not read again, up to 10,000 files. A batch takes whole files; a commit is split over several, but changes of one
/// commit stay together.
///
/// **Errors**: `Unsupported` at a commit that the [options](DeltaSourceOptions) do not allow, once everything before it was given;
/// `NotFound` when commits or files are gone, or nothing was committed at the time of the start or later.
///
/// **Source**: the semantics of Delta's streaming source.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_base::{ReadLimit, StreamSource};
/// use boathouse_delta_core::{DeltaSource, DeltaSourceOptions, DeltaTable, StreamRows};
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let rows = |ids: Vec<i64>| RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef)]).unwrap();
/// table.append(rows(vec![1, 2]).into()).property("delta.enableChangeDataFeed", "true").run().await?;
/// let options = DeltaSourceOptions { rows: StreamRows::Changes, ..Default::default() };
/// let source = DeltaSource::new(table.clone()).with_options(options);
/// let first = source.plan(None, ReadLimit::default()).await?.expect("two rows are there");
///
/// table.overwrite(rows(vec![3]).into()).run().await?;
/// let second = source.plan(Some(&first.end), ReadLimit::default()).await?.expect("rows left, and one came");
/// let changes = source.read(Some(&first.end), &second.end).await?.collect().await?;
/// assert_eq!(changes.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DeltaSource {
    table: DeltaTable,
    options: DeltaSourceOptions,
    recent: RecentCommits,
    /// Where a stream of what comes later begins, once it is known.
    later: Arc<OnceLock<u64>>,
}

impl DeltaSource {
    /// The rows of `table`, and those that come.
    pub fn new(table: DeltaTable) -> Self {
        Self { table, options: DeltaSourceOptions::default(), recent: RecentCommits::default(), later: Arc::default() }
    }

    /// Reads it another way. The offsets of a stream belong to its options.
    #[must_use]
    pub fn with_options(mut self, options: DeltaSourceOptions) -> Self {
        self.options = options;
        self
    }

    fn position_of(&self, offset: &Offset) -> Result<Position, DeltaSourceError> {
        Position::of(offset)
            .ok_or_else(|| DeltaSourceError::Offset { url: self.table.url().to_owned(), offset: offset.as_str().to_owned() })
    }

    /// The position of an offset, once it is sure that it is of this table.
    fn position(&self, offset: &Offset, table_id: &str) -> Result<Position, DeltaSourceError> {
        let position = self.position_of(offset)?;
        if position.reservoir_id != table_id {
            return Err(DeltaSourceError::OtherTable {
                url: self.table.url().to_owned(),
                expected: position.reservoir_id,
                found: table_id.to_owned(),
            });
        }
        Ok(position)
    }
}

impl StreamSource for DeltaSource {
    fn describe(&self) -> String {
        format!("delta[{}]", self.table.url())
    }

    fn plan<'a>(&'a self, start: Option<&'a Offset>, limit: ReadLimit) -> BoxFuture<'a, Result<Option<PlannedBatch>>> {
        Box::pin(async move { Ok(self.plan_batch(start, limit).await?) })
    }

    fn read<'a>(&'a self, start: Option<&'a Offset>, end: &'a Offset) -> BoxFuture<'a, Result<BatchStream>> {
        Box::pin(async move { Ok(self.read_range(start, end).await?) })
    }

    fn commit<'a>(&'a self, _end: &'a Offset) -> BoxFuture<'a, Result<()>> {
        // Nothing to clean: the table keeps its own files.
        Box::pin(std::future::ready(Ok(())))
    }
}
