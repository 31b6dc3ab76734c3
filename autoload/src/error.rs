//! What can go wrong between a landing folder and a batch.

use std::path::PathBuf;

use arrow_schema::{ArrowError, DataType};
use boathouse_base::{DomainError, ErrorKind};
use boathouse_storage::StorageError;

/// An error of this crate. What a *file* does wrong is not among them: that goes to rescue or quarantine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AutoLoadError {
    /// The landing folder is not there.
    #[error("open the landing folder {url}: there is no such folder; create it, or check the path")]
    NoLandingFolder {
        /// The folder.
        url: String,
    },
    /// No place for the state was given.
    #[error(
        "open an auto loader over {landing}: no state was given; call `state(storage)` with a place that outlives the process"
    )]
    NoState {
        /// The landing folder.
        landing: String,
    },
    /// The state was made by a source over another folder or format.
    #[error(
        "open an auto loader over {landing} as {format}: the state at {state} belongs to {found_landing} as {found_format}; \
         give every source its own state"
    )]
    ForeignState {
        /// The landing folder that was asked for.
        landing: String,
        /// The format that was asked for.
        format: &'static str,
        /// Where the state lies.
        state: String,
        /// The landing folder of the state.
        found_landing: String,
        /// The format of the state.
        found_format: String,
    },
    /// An offset of another source, or none at all.
    #[error("read from offset {offset}: {reason}; give the offsets of one source and its state only")]
    ForeignOffset {
        /// The offset.
        offset: String,
        /// Why it is foreign.
        reason: String,
    },
    /// An end before its start.
    #[error("read files {start} to {end}: the range ends before it starts")]
    BackwardRange {
        /// Files before the range.
        start: u64,
        /// Files before its end.
        end: u64,
    },
    /// An offset beyond what was planned.
    #[error("read up to file {files}: only {planned} files have been planned; take offsets from `plan` over the same state")]
    UnplannedOffset {
        /// The offset.
        files: u64,
        /// How far plans reached.
        planned: u64,
    },
    /// A landed file is gone.
    #[error("read {url}: the file landed and is gone now; put it back, or start with a new state")]
    MissingFile {
        /// The file.
        url: String,
    },
    /// A file has columns that the schema does not have, and the source was told to stop then.
    #[error(
        "plan {url}: it has new columns {columns:?}; name them in `schema` or `schema_hints`, \
         or open with another schema evolution"
    )]
    NewColumns {
        /// The first file that has them.
        url: String,
        /// The columns.
        columns: Vec<String>,
    },
    /// The schema got new columns, and the source was told to stop once then.
    #[error(
        "plan {url}: the schema now has {columns:?}, from this file on; \
         make ready for the columns what stands behind the stream, and plan again"
    )]
    SchemaChanged {
        /// The first file that needed it.
        url: String,
        /// The columns that are new or changed.
        columns: Vec<String>,
    },
    /// Something else than the local disk cannot be watched.
    #[error("watch {url}: only a local folder can be watched; list it, or give a queue of events")]
    NothingToWatch {
        /// The folder.
        url: String,
    },
    /// The operating system does not watch the folder.
    #[error("watch {url}: {source}; list it instead, or allow more watches (fs.inotify.max_user_watches)")]
    Watch {
        /// The folder.
        url: String,
        /// The reason.
        source: notify::Error,
    },
    /// A local folder or file cannot be read.
    #[error("read {}: {source}", path.display())]
    LocalFolder {
        /// The folder or file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A name that has no text.
    #[error("list {}: the name `{name}` is not UTF-8; rename the file, or begin its name with `_`", folder.display())]
    UnreadableName {
        /// The folder.
        folder: PathBuf,
        /// The name, as far as it is text.
        name: String,
    },
    /// Whatever tells of new files does not answer.
    #[error("ask for new files ({what}): {source}")]
    Discovery {
        /// What was asked.
        what: String,
        /// The reason.
        source: boathouse_base::Error,
    },
    /// A message that tells of no file.
    #[error("understand an event: {reason}; the message begins `{body}`")]
    UnknownEvent {
        /// The beginning of the message.
        body: String,
        /// What is wrong.
        reason: String,
    },
    /// Whether overwritten files are read again was changed.
    #[error(
        "open with overwrites {given}: the state at {state} tells files apart {found}; \
         keep it so, or start with a new state"
    )]
    OverwritesChanged {
        /// Where the state lies.
        state: String,
        /// What was asked for.
        given: &'static str,
        /// What the state does.
        found: &'static str,
    },
    /// A file cannot be opened, and the source was told to fail then.
    #[error("read {url}: {reason}; remove the file, or let corrupt files go to quarantine")]
    CorruptFile {
        /// The file.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// Details of files could not be packed: a bug of ours.
    #[error("write a segment of the state {state}: {source}")]
    Segment {
        /// Where the state lies.
        state: String,
        /// The reason.
        source: parquet::errors::ParquetError,
    },
    /// An option that Auto Loader, or the format, does not have here.
    #[error("set option `{option}` of a source of {format}: it is unknown; see `AutoLoaderBuilder::options` for all of them")]
    UnknownOption {
        /// The option.
        option: String,
        /// The format, as far as the options before it said.
        format: &'static str,
    },
    /// A value that an option cannot have.
    #[error("set option `{option}` to `{value}`: {reason}")]
    InvalidOption {
        /// The option.
        option: String,
        /// The value.
        value: String,
        /// What is wrong, or would be right.
        reason: String,
    },
    /// A given type contradicts the type that the state remembers.
    #[error(
        "open with column `{column}` as {given}: earlier batches have it as {remembered}; \
         keep that type, or start with a new state"
    )]
    ColumnTypeChanged {
        /// The column.
        column: String,
        /// The type in the schema or hint.
        given: DataType,
        /// The type in the state.
        remembered: DataType,
    },
    /// A type that this format cannot be read into.
    #[error(
        "read {format} into column `{column}` of type {data_type}: not possible; \
         take text, boolean, a number, decimal(38), date, timestamp in microseconds (UTC or without zone), \
         or a struct or list of these"
    )]
    UnsupportedType {
        /// The format.
        format: &'static str,
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
    },
    /// A column name that the source uses itself, or twice.
    #[error("open with column `{column}`: the name is taken; rename the column or the rescued data column")]
    NameTaken {
        /// The name.
        column: String,
    },
    /// A pattern that cannot be understood.
    #[error("open with path pattern `{pattern}`: {reason}")]
    InvalidGlob {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The state contradicts its format.
    #[error("read the state {path}: {reason}")]
    CorruptState {
        /// The object.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Another process writes to the same state all the time.
    #[error(
        "plan with the state {state}: another process wrote to it {attempts} times meanwhile; give every source its own state"
    )]
    Contention {
        /// Where the state lies.
        state: String,
        /// How often we tried.
        attempts: u32,
    },
    /// A store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A value has no JSON form: a bug of ours.
    #[error("write {what} to the state: {source}")]
    Encode {
        /// What was written.
        what: &'static str,
        /// The reason.
        source: serde_json::Error,
    },
    /// Arrays could not be put together: a bug of ours.
    #[error("put a batch together: {0}")]
    Assemble(#[source] ArrowError),
    /// The task that decodes ended without a result.
    #[error("decode files: the task ended before its files: {reason}")]
    TaskEnded {
        /// What the runtime says.
        reason: String,
    },
}

impl DomainError for AutoLoadError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoLandingFolder { .. } | Self::MissingFile { .. } => ErrorKind::NotFound,
            Self::LocalFolder { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                std::io::ErrorKind::InvalidInput => ErrorKind::Invalid,
                _ => ErrorKind::Unavailable,
            },
            Self::Watch { .. } => ErrorKind::Exhausted,
            Self::Discovery { source, .. } => source.kind(),
            Self::SchemaChanged { .. } => ErrorKind::Conflict,
            Self::CorruptFile { .. } => ErrorKind::Corrupt,
            Self::NoState { .. }
            | Self::ForeignState { .. }
            | Self::ForeignOffset { .. }
            | Self::BackwardRange { .. }
            | Self::UnplannedOffset { .. }
            | Self::NewColumns { .. }
            | Self::UnreadableName { .. }
            | Self::UnknownEvent { .. }
            | Self::OverwritesChanged { .. }
            | Self::UnknownOption { .. }
            | Self::InvalidOption { .. }
            | Self::ColumnTypeChanged { .. }
            | Self::NameTaken { .. }
            | Self::InvalidGlob { .. } => ErrorKind::Invalid,
            Self::UnsupportedType { .. } | Self::NothingToWatch { .. } => ErrorKind::Unsupported,
            Self::CorruptState { .. } => ErrorKind::Corrupt,
            Self::Contention { .. } => ErrorKind::Conflict,
            Self::Storage(error) => error.kind(),
            Self::Encode { .. } | Self::Segment { .. } | Self::Assemble(_) | Self::TaskEnded { .. } => ErrorKind::Internal,
        }
    }
}
