//! What can go wrong when tracking.

use boathouse_base::{DomainError, ErrorKind};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of experiment tracking.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No experiment has this id.
    #[error("No Experiment with id={experiment_id} exists")]
    NoExperiment {
        /// The id that was asked for.
        experiment_id: String,
    },
    /// No experiment has this name.
    #[error("Could not find experiment with name '{name}'")]
    NoExperimentNamed {
        /// The name that was asked for.
        name: String,
    },
    /// The name is taken.
    #[error("Experiment(name={name}) already exists and is {state}: use it, restore it, or choose another name")]
    ExperimentExists {
        /// The name.
        name: String,
        /// `active` or `deleted`.
        state: &'static str,
    },
    /// The experiment was deleted.
    #[error("{action} in experiment {experiment_id}: it is in the 'deleted' lifecycle stage; restore it first")]
    ExperimentDeleted {
        /// What was attempted.
        action: &'static str,
        /// The experiment.
        experiment_id: String,
    },
    /// No run has this id.
    #[error("Run with id={run_id} not found")]
    NoRun {
        /// The id that was asked for.
        run_id: String,
    },
    /// The run was deleted.
    #[error("{action} to run {run_id}: it must be in the 'active' lifecycle stage and is 'deleted'; restore it first")]
    RunDeleted {
        /// What was attempted.
        action: &'static str,
        /// The run.
        run_id: String,
    },
    /// A run has no such tag.
    #[error("No tag with name: {key} in run {run_id}")]
    NoTag {
        /// The tag.
        key: String,
        /// The run.
        run_id: String,
    },
    /// A param was logged before with another value.
    #[error(
        "Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' for run ID='{run_id}'. \
         Attempted logging new value '{new}'."
    )]
    ParamChanged {
        /// The run.
        run_id: String,
        /// The param.
        key: String,
        /// Its value.
        old: String,
        /// The other value.
        new: String,
    },
    /// One batch holds a param twice.
    #[error(
        "Duplicate parameter keys have been submitted: '{key}'. Please ensure the request contains only one param value per param key."
    )]
    DuplicateParam {
        /// The param.
        key: String,
    },
    /// Something is longer or more than MLflow allows.
    #[error("{what} exceeds the maximum: found {found}, at most {limit} are allowed")]
    Limit {
        /// What is too long or too many: `the length of param value 'x'`.
        what: String,
        /// How much there is.
        found: usize,
        /// How much may be.
        limit: usize,
    },
    /// A key, name or id has characters that it may not have.
    #[error("Invalid {what} `{value}`: expected {expected}")]
    Name {
        /// What it names: `metric key`.
        what: &'static str,
        /// The name.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A path of an artifact that could leave the folder of its run.
    #[error("Invalid artifact path `{path}`: {reason}")]
    ArtifactPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no such artifact.
    #[error("read the artifact `{path}`: there is no such file")]
    NoArtifact {
        /// The path below the artifact root.
        path: String,
    },
    /// The experiment keeps its artifacts at a place that this tracker does not write to.
    #[error(
        "{action}: the artifacts of this run lie at `{location}`, outside of the tracker's artifact root; open that location instead"
    )]
    ForeignArtifacts {
        /// What was attempted.
        action: &'static str,
        /// Where they lie.
        location: String,
    },
    /// The store of artifacts failed.
    #[error("{action} `{path}`")]
    ArtifactStore {
        /// What was attempted.
        action: &'static str,
        /// The path below the artifact root.
        path: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// The sender of an artifact broke off: nothing was written.
    #[error("receive the artifact `{path}`: {reason}")]
    Upload {
        /// The path below the artifact root.
        path: String,
        /// What the connection said.
        reason: String,
    },
    /// The artifact root cannot be opened.
    #[error("open the artifact root `{artifact_root}`")]
    ArtifactRoot {
        /// The location as it was given.
        artifact_root: String,
        /// What storage said.
        source: Box<boathouse_storage::StorageError>,
    },
    /// Rows did not fit into an Arrow batch.
    #[error("make an Arrow batch of {what}")]
    Arrow {
        /// Of what.
        what: &'static str,
        /// What Arrow said.
        source: arrow_schema::ArrowError,
    },
    /// A wrong request, filter or page token, or a database error.
    #[error(transparent)]
    Wire(#[from] boathouse_mlwire::Error),
}

impl DomainError for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoExperiment { .. }
            | Self::NoExperimentNamed { .. }
            | Self::NoRun { .. }
            | Self::NoTag { .. }
            | Self::NoArtifact { .. } => ErrorKind::NotFound,
            Self::ExperimentExists { .. } => ErrorKind::AlreadyExists,
            Self::ExperimentDeleted { .. }
            | Self::RunDeleted { .. }
            | Self::ParamChanged { .. }
            | Self::DuplicateParam { .. }
            | Self::Limit { .. }
            | Self::Name { .. }
            | Self::ArtifactPath { .. }
            | Self::Upload { .. } => ErrorKind::Invalid,
            Self::ForeignArtifacts { .. } => ErrorKind::Unsupported,
            Self::ArtifactStore { source, .. } => boathouse_storage::kind_of(source),
            Self::ArtifactRoot { source, .. } => source.kind(),
            Self::Arrow { .. } => ErrorKind::Internal,
            Self::Wire(error) => error.kind(),
        }
    }
}
