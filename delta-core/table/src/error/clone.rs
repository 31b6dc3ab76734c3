//! Clones that cannot be made.

use boathouse_delta_protocol::schema::ColumnMappingMode;

/// Why a table cannot be cloned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloneProblem {
    /// A vacuum of the one would delete files of the other.
    #[error("it and the source, {source_url}, lie within each other; choose a folder beside the source")]
    Nested {
        /// The source.
        source_url: String,
    },
    /// The clone would name files that it does not reach.
    #[error("its store does not reach `{path}` of the source, {source_url}; make a deep clone")]
    AnotherStore {
        /// The source.
        source_url: String,
        /// A file of it.
        path: String,
    },
    /// Files know columns in one way.
    #[error(
        "the column mapping cannot change from {from:?} to {to:?}; leave `delta.columnMapping.mode` out, or choose another place"
    )]
    MappingMode {
        /// The mode of the source, or of the table that is there.
        from: ColumnMappingMode,
        /// The mode that the clone would have.
        to: ColumnMappingMode,
    },
}
