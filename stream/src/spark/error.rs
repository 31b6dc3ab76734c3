//! What can go wrong with a checkpoint of Spark.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_storage::StorageError;

/// Why a query cannot go on where one of Spark was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SparkCheckpointError {
    /// The folder has neither offsets nor metadata.
    #[error(
        "read the Spark checkpoint {checkpoint}: it has neither `offsets` nor `metadata`; name the folder that was its checkpointLocation"
    )]
    NoCheckpoint {
        /// The folder.
        checkpoint: String,
    },
    /// A batch is committed and its offsets are gone.
    #[error(
        "read the Spark checkpoint: batch {batch} is committed, and its offsets {file} are not there; restore them, or start anew"
    )]
    NoOffsets {
        /// The file.
        file: String,
        /// The batch.
        batch: u64,
    },
    /// A file has a newer layout.
    #[error("read {file}: its layout is v{found}, and v1 to v{newest} are known")]
    Layout {
        /// The file.
        file: String,
        /// Its layout.
        found: u32,
        /// The newest that is known.
        newest: u32,
    },
    /// A file is not as Spark writes it.
    #[error("read {file}: {problem}")]
    Corrupt {
        /// The file.
        file: String,
        /// What was found.
        problem: String,
    },
    /// An offset cannot be taken over.
    #[error("take over the offset {offset} of the source {source_id} from {file}: {reason}")]
    Offset {
        /// The file.
        file: String,
        /// The source, by its place or name.
        source_id: String,
        /// The offset.
        offset: String,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// The query of Spark remembers something.
    #[error(
        "start where the Spark checkpoint {checkpoint} is: it holds state, which is not taken over; begin with empty state by \
         `.with_empty_state()`, or start from the beginning of the sources"
    )]
    HasState {
        /// The folder.
        checkpoint: String,
    },
    /// The query has other sources.
    #[error(
        "start where the Spark checkpoint {checkpoint} is: it has the sources [{}], and the query has [{}]; give it the same sources in the \
         same order", .recorded.join(", "), .found.join(", ")
    )]
    OtherSources {
        /// The folder.
        checkpoint: String,
        /// In the checkpoint: places, or names.
        recorded: Vec<String>,
        /// Of the query.
        found: Vec<String>,
    },
    /// The store failed.
    #[error("read the Spark checkpoint {checkpoint}: {source}")]
    Store {
        /// The folder.
        checkpoint: String,
        /// What the store said.
        source: Box<StorageError>,
    },
}

impl DomainError for SparkCheckpointError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoCheckpoint { .. } | Self::Layout { .. } | Self::HasState { .. } | Self::OtherSources { .. } => {
                ErrorKind::Invalid
            }
            Self::Offset { .. } => ErrorKind::Unsupported,
            Self::NoOffsets { .. } | Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Store { source, .. } => source.kind(),
        }
    }
}
