//! What can go wrong in a pipeline.

use boathouse_base::{DomainError, Error, ErrorKind};
use datafusion::error::DataFusionError;

/// Why a pipeline could not be built or updated.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Two datasets have one name.
    #[error("build the pipeline `{pipeline}`: two datasets are named `{dataset}`; every dataset needs its own name")]
    DuplicateDataset {
        /// The pipeline.
        pipeline: String,
        /// The name that stands twice.
        dataset: String,
    },
    /// Two expectations of a dataset have one name.
    #[error("build the dataset `{dataset}`: two expectations are named `{expectation}`; their counts could not be told apart")]
    DuplicateExpectation {
        /// The dataset.
        dataset: String,
        /// The name that stands twice.
        expectation: String,
    },
    /// A view has an expectation.
    #[error(
        "build the view `{dataset}`: it is not stored, so nothing counts its expectation `{expectation}`; put it on a dataset that reads the view"
    )]
    ExpectationOnView {
        /// The view.
        dataset: String,
        /// The expectation.
        expectation: String,
    },
    /// A dataset reads a name that is neither a dataset nor an external table.
    #[error(
        "order the pipeline `{pipeline}`: the dataset `{dataset}` reads `{missing}`, which is neither one of its datasets nor declared as external{}",
        .nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default()
    )]
    UnknownDataset {
        /// The pipeline.
        pipeline: String,
        /// Who reads it.
        dataset: String,
        /// The name that was not found.
        missing: String,
        /// A name that is spelled nearly like it.
        nearest: Option<String>,
    },
    /// Datasets read each other in a circle.
    #[error("order the pipeline `{pipeline}`: its datasets read each other in a circle: {}", .cycle.join(" -> "))]
    Cycle {
        /// The pipeline.
        pipeline: String,
        /// The circle; the first name stands again at the end.
        cycle: Vec<String>,
    },
    /// A name that was asked for is not a dataset.
    #[error("update the pipeline `{pipeline}`: it has no dataset `{dataset}`{}", .nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    NoSuchDataset {
        /// The pipeline.
        pipeline: String,
        /// The name that was asked for.
        dataset: String,
        /// A name that is spelled nearly like it.
        nearest: Option<String>,
    },
    /// The query of a dataset cannot be planned or executed.
    #[error("compute the dataset `{dataset}`: {source}")]
    Query {
        /// The dataset.
        dataset: String,
        /// What the engine said.
        source: Box<DataFusionError>,
    },
    /// The predicate of an expectation cannot be evaluated on the dataset's rows.
    #[error("compile the expectation `{expectation}` of the dataset `{dataset}`, `{predicate}`: {source}")]
    Expectation {
        /// The dataset.
        dataset: String,
        /// The expectation.
        expectation: String,
        /// Its predicate.
        predicate: String,
        /// What the engine said.
        source: Box<DataFusionError>,
    },
    /// The predicate of an expectation is not a condition.
    #[error(
        "compile the expectation `{expectation}` of the dataset `{dataset}`: `{predicate}` is of type {found} and not Boolean"
    )]
    ExpectationType {
        /// The dataset.
        dataset: String,
        /// The expectation.
        expectation: String,
        /// Its predicate.
        predicate: String,
        /// The type it has.
        found: String,
    },
    /// Rows violate an expectation whose action is to fail.
    #[error(
        "update the dataset `{dataset}`: {failed} of the first {seen} rows violate the expectation `{expectation}` (`{predicate}`), whose action is to fail; \
         nothing was written"
    )]
    Violated {
        /// The dataset.
        dataset: String,
        /// The expectation.
        expectation: String,
        /// Its predicate.
        predicate: String,
        /// Rows that violate it, up to and including the first bad batch.
        failed: u64,
        /// Rows seen up to there.
        seen: u64,
    },
    /// A table could not be read or written.
    #[error("{action} the dataset `{dataset}`: {source}")]
    Table {
        /// What was attempted: `read`, `write`, `open`.
        action: &'static str,
        /// The dataset.
        dataset: String,
        /// What the table said.
        source: Error,
    },
    /// The event log could not be written; the datasets were.
    #[error("append to the event log of the pipeline `{pipeline}`: {source}; the datasets of the update are written")]
    EventLog {
        /// The pipeline.
        pipeline: String,
        /// What the table said.
        source: Error,
    },
}

impl DomainError for PipelineError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::DuplicateDataset { .. }
            | Self::DuplicateExpectation { .. }
            | Self::ExpectationOnView { .. }
            | Self::UnknownDataset { .. }
            | Self::Cycle { .. }
            | Self::Expectation { .. }
            | Self::ExpectationType { .. }
            | Self::Violated { .. }
            | Self::Query { .. } => ErrorKind::Invalid,
            Self::NoSuchDataset { .. } => ErrorKind::NotFound,
            Self::Table { source, .. } | Self::EventLog { source, .. } => source.kind(),
        }
    }
}
