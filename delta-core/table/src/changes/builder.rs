//! Reading changes.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use boathouse_base::{BatchStream, TableVersion};
use boathouse_delta_protocol::features;
use futures::{Stream, StreamExt, TryStreamExt};

use super::pieces::{Finder, Of};
use super::range::{ChangeRange, OutOfRange};
use crate::error::{DeltaError, Result};
use crate::history;
use crate::log::commit::{info, read_commits};
use crate::scan::{CHANGE_TYPE, Columns, read_pieces, source};
use crate::table::DeltaTable;

/// The column that says in which version a row changed.
const COMMIT_VERSION: &str = "_commit_version";
/// The column that says when.
const COMMIT_TIMESTAMP: &str = "_commit_timestamp";

/// Reads what changed. Made by [`DeltaTable::changes`].
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// # use boathouse_delta_table::{DeltaError, DeltaTable};
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let rows = |ids: Vec<i64>| RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef)]).unwrap();
/// table.append(rows(vec![1, 2]).into()).property("delta.enableChangeDataFeed", "true").run().await?;
/// table.overwrite(rows(vec![3]).into()).run().await?;
///
/// let changes = table.changes(1..).read().await?.collect().await?;
/// // Rows 1 and 2 left, and 3 came.
/// assert_eq!(changes.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
/// let names: Vec<_> = changes[0].schema_ref().fields().iter().map(|field| field.name().clone()).collect();
/// assert_eq!(names, ["id", "_change_type", "_commit_version", "_commit_timestamp"]);
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is read before `read`"]
pub struct ChangesBuilder {
    table: DeltaTable,
    range: ChangeRange,
    columns: Option<Vec<String>>,
    has_views: bool,
    out_of_range: OutOfRange,
}

impl ChangesBuilder {
    pub(crate) fn new(table: DeltaTable, range: ChangeRange) -> Self {
        Self { table, range, columns: None, has_views: false, out_of_range: OutOfRange::default() }
    }

    /// Reads these columns of the table, in this order. Without it, all.
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Gives texts and bytes at the top of the table as views (`Utf8View`, `BinaryView`), which point into the pages of the files and are
    /// faster to read.
    pub fn with_views(mut self) -> Self {
        self.has_views = true;
        self
    }

    /// Says what a time after the newest version means. Without it, it is refused.
    pub fn out_of_range(mut self, out_of_range: OutOfRange) -> Self {
        self.out_of_range = out_of_range;
        self
    }

    /// Reads the changes, oldest version first. Between two times there may be none.
    ///
    /// **Shape**: the columns of the table as they are in the last version (a column that came later is null in earlier changes), then
    /// `_change_type` (`insert`, `delete`, `update_preimage`, `update_postimage`), `_commit_version` (`Int64`) and `_commit_timestamp`
    /// (microseconds, UTC). Within a version, rows come in no order that means anything.
    ///
    /// **Cost**: a LIST of the log, a GET for each commit, and the files that they name; of a file some of whose rows were marked as
    /// deleted, the pages with these rows. Commits are read a few ahead, never all.
    ///
    /// **Errors**: `Invalid` when the feed is off in one of the versions, or the range ends before it starts; `NotFound` when a version
    /// is not there, or not any more, or a time is after the newest version; `Corrupt` when a file does not fit the columns of the last version. What happens on the way comes
    /// out of the stream.
    ///
    /// **Source**: Delta protocol, "Reader Requirements for AddCDCFile".
    pub async fn read(self) -> Result<BatchStream> {
        let Self { table, range, columns, has_views, out_of_range } = self;
        let follows = out_of_range == OutOfRange::Follow;
        let shown = match table.snapshot_at(range.to).await {
            Err(DeltaError::AfterNewestVersion { .. }) if follows => table.snapshot().await?,
            shown => shown?,
        };
        let (url, last) = (table.url().to_owned(), shown.version());
        let first = match first_version(&table, range.from, last).await {
            // Nothing was committed then or later.
            Err(DeltaError::AfterNewestVersion { newest_version, .. }) if follows => newest_version + 1,
            first => first?,
        };
        if first > last && !(first == last + 1 && range.lies_between(follows)) {
            return Err(DeltaError::ChangesBackwards { url, from: first, to: last });
        }
        if first > last {
            let columns = Columns::resolve(&url, shown.layout(), columns.as_deref(), None, None)?;
            let columns = if has_views { columns.with_views() } else { columns };
            return Ok(BatchStream::empty(changes_schema(&columns.schema)));
        }
        let start = if first == last { shown.clone() } else { table.snapshot_at(TableVersion::Number(first)).await? };
        if !features::records_changes(start.protocol(), start.properties()) {
            return Err(DeltaError::ChangesOff { url, version: first });
        }
        let columns = Columns::resolve(&url, shown.layout(), columns.as_deref(), None, None)?;
        let columns = if has_views { columns.with_views() } else { columns };
        let schema = changes_schema(&columns.schema);
        let times = history::commit_times(table.storage()).await?;
        let source = source(&shown);
        let finder = Finder { shown, recorded: Arc::new(columns.clone().with_change_type()), columns: Arc::new(columns) };
        let commits = read_commits(table.storage(), first..=last);
        let pieces = commits.and_then(move |(version, actions)| {
            let (finder, url) = (finder.clone(), url.clone());
            let at_ms = times.get(&version).copied().unwrap_or_default();
            async move {
                let actions = actions.ok_or(DeltaError::ChangesCleaned { url, version })?;
                let at_ms = info(&actions).and_then(|info| info.in_commit_timestamp).unwrap_or(at_ms);
                let pieces = finder.pieces(version, at_ms.saturating_mul(1000), &actions).await?;
                Ok(futures::stream::iter(pieces.into_iter().map(Ok)))
            }
        });
        Ok(tell(table.url(), schema, read_pieces(source, pieces.try_flatten())))
    }
}

/// Rows of pieces with what happened to them.
pub(super) fn tell(
    url: &str,
    schema: SchemaRef,
    rows: impl Stream<Item = Result<(Of, RecordBatch)>> + Send + 'static,
) -> BatchStream {
    let (out, url) = (SchemaRef::clone(&schema), url.to_owned());
    let rows = rows.map(move |read| {
        let (of, batch) = read?;
        let told = told(&of, &batch, &out);
        told.map_err(|source| DeltaError::Compute { attempted: "read changes of", url: url.clone(), source })
    });
    BatchStream::new(schema, rows.map_err(boathouse_base::Error::from))
}

/// The first version of a range.
pub(super) async fn first_version(table: &DeltaTable, from: TableVersion, last: u64) -> Result<u64> {
    match from {
        TableVersion::Number(number) => Ok(number),
        TableVersion::Latest => Ok(last),
        TableVersion::AtUs(at_us) => history::version_since(&table.snapshot().await?, at_us).await,
    }
}

/// The columns of a change feed: those of the table, and those that tell of the change.
///
/// **Shape**: as [`ChangesBuilder::read`].
pub fn changes_schema(table: &Schema) -> SchemaRef {
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let more = [
        Field::new(CHANGE_TYPE, DataType::Utf8, false),
        Field::new(COMMIT_VERSION, DataType::Int64, false),
        Field::new(COMMIT_TIMESTAMP, at, false),
    ];
    Arc::new(Schema::new(table.fields().iter().cloned().chain(more.into_iter().map(Arc::new)).collect::<Vec<_>>()))
}

/// Rows with what happened to them.
fn told(of: &Of, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let rows = batch.num_rows();
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    if let Some(change) = of.change {
        let (text, offsets) = (change.as_str(), OffsetBuffer::from_repeated_length(change.as_str().len(), rows));
        columns.push(Arc::new(StringArray::try_new(offsets, text.repeat(rows).into_bytes().into(), None)?));
    }
    columns.push(Arc::new(Int64Array::from(vec![i64::try_from(of.version).unwrap_or(i64::MAX); rows])));
    columns.push(Arc::new(TimestampMicrosecondArray::from(vec![of.timestamp_us; rows]).with_timezone("UTC")));
    RecordBatch::try_new(SchemaRef::clone(schema), columns)
}
