//! What a stream of a table reads, and what it does about changes that are no new rows.

/// How a table is read as a stream.
///
/// | option of Delta's streaming source | here |
/// | --- | --- |
/// | `startingVersion`, `startingTimestamp` | [`start`](Self::start) |
/// | `startingVersion` = `latest` | [`StreamStart::Later`] |
/// | `excludeRegex` | not there: a commit's files are read whole, or the commit is passed over |
/// | `readChangeFeed` | [`rows`](Self::rows) |
/// | `ignoreDeletes`, `ignoreChanges`, `skipChangeCommits` | [`on_change`](Self::on_change) |
/// | `failOnDataLoss` | [`on_data_loss`](Self::on_data_loss) |
/// | `schemaTrackingLocation`, `allowSourceColumnRename`, `…Drop`, `…TypeChange` | [`on_new_columns`](Self::on_new_columns) |
/// | `withEventTimeOrder` | [`event_time`](Self::event_time) |
/// | `maxFilesPerTrigger`, `maxBytesPerTrigger` | `ReadLimit`, which the stream hands in; its rows are counted by the statistics of files |
///
/// # Example
/// ```
/// use boathouse_delta_core::{DeltaSourceOptions, OnChange, StreamStart};
///
/// let options = DeltaSourceOptions { start: StreamStart::Version(12), on_change: OnChange::SkipCommit, ..Default::default() };
/// # let _ = options;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeltaSourceOptions {
    /// Where a stream without an offset begins.
    pub start: StreamStart,
    /// Which rows it gives.
    pub rows: StreamRows,
    /// What happens at a commit that removes or changes rows. Matters for [`StreamRows::New`].
    pub on_change: OnChange,
    /// What happens when commits are no longer in the log.
    pub on_data_loss: OnDataLoss,
    /// What happens when columns are renamed, dropped or get another type.
    pub on_new_columns: OnNewColumns,
    /// The rows that are there in the beginning come in the order of this column; without it, file by file.
    pub event_time: Option<EventTime>,
}

/// Where a stream without an offset begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamStart {
    /// With all rows that are there when it is planned first; then commit by commit.
    #[default]
    Snapshot,
    /// With what this version did. It must be there.
    Version(u64),
    /// With what comes after the source, or a clone of it, planned first. A stream that stops before it has an offset begins anew.
    Later,
    /// With what the first version did that was committed then or later. It must be there: a time after the newest version is refused.
    ///
    /// **Units**: microseconds since the Unix epoch, UTC.
    AtUs(i64),
}

/// Which rows a stream gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamRows {
    /// The rows of files that come.
    #[default]
    New,
    /// All changes, each with `_change_type`, `_commit_version` and `_commit_timestamp`. The table must record them from the first
    /// version that is streamed commit by commit.
    Changes,
}

/// What happens at a commit that removes or changes rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnChange {
    /// The stream fails: it cannot take back what it gave.
    #[default]
    Fail,
    /// The commit is passed over as a whole, with the rows that it adds.
    SkipCommit,
    /// A commit that only removes whole files is passed over; others fail.
    IgnoreDeletes,
    /// Files that come are given whole: rows that were copied, or whose file lost others, come again. Removed rows are passed over.
    GiveAgain,
}

/// What happens when commits are no longer in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDataLoss {
    /// The stream fails.
    #[default]
    Fail,
    /// It goes on with the oldest commit that is there.
    GoOn,
}

/// What happens when columns are renamed, dropped or get another type. Columns that are added, and types that become wider, are always
/// followed: a batch ends before the commit that brings them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnNewColumns {
    /// The stream fails at that commit.
    #[default]
    Fail,
    /// Later batches have the new columns.
    Follow,
}

/// The order of the rows that are there in the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTime {
    /// A timestamp or date of the table.
    pub column: String,
    /// Rows of one interval come together. With more than 10,000 intervals, several are taken as one.
    pub interval_us: u64,
}
