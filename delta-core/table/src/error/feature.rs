//! Features that cannot be dropped.

use boathouse_delta_protocol::features::DropProblem;

/// Why a feature cannot be dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureProblem {
    /// The table needs it.
    #[error(transparent)]
    Table(#[from] DropProblem),
    /// Rows are deleted by marks.
    #[error(
        "rows of the file `{path}` are deleted by a deletion vector; write such files again first, with REORG TABLE … APPLY (PURGE)"
    )]
    HasVectors {
        /// The file.
        path: String,
    },
    /// An earlier version needs it, which is too young to go.
    #[error(
        "version {version} needs it, and is younger than {hours} hours; do it again when it is older, or without TRUNCATE HISTORY, which keeps it behind protected checkpoints"
    )]
    HistoryNeeds {
        /// The version.
        version: u64,
        /// How long versions are kept in any case.
        hours: u64,
    },
}
