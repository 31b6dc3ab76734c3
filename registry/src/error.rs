//! What can go wrong in the registry.

use boathouse_base::{DomainError, ErrorKind};

use crate::gate::GateFailure;
use crate::stage::Stage;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the model registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No registered model has this name.
    #[error("Registered Model with name={name} not found")]
    NoModel {
        /// The name that was asked for.
        name: String,
    },
    /// The name is taken.
    #[error("Registered Model (name={name}) already exists: add a version to it, or choose another name")]
    ModelExists {
        /// The name.
        name: String,
    },
    /// The model has no such version.
    #[error("Model Version (name={name}, version={version}) not found")]
    NoVersion {
        /// The model.
        name: String,
        /// The version that was asked for.
        version: String,
    },
    /// No version is in this stage.
    #[error("resolve models:/{name}/{stage}: no version of the model is in this stage; move one there first")]
    NothingInStage {
        /// The model.
        name: String,
        /// The stage.
        stage: Stage,
    },
    /// The model has no version at all.
    #[error("resolve models:/{name}/latest: the model has no version yet")]
    NoVersions {
        /// The model.
        name: String,
    },
    /// The model has no such alias.
    #[error("Registered model alias {alias} not found for model {name}.")]
    NoAlias {
        /// The model.
        name: String,
        /// The alias that was asked for.
        alias: String,
    },
    /// No such stage.
    #[error("Invalid Model Version stage: {stage}. Value must be one of None, Staging, Production, Archived.")]
    UnknownStage {
        /// The word that was given.
        stage: String,
    },
    /// Only versions of a stage that serves can be archived on the way.
    #[error(
        "Invalid value for parameter 'archive_existing_versions' supplied: found true for stage {stage}, expected Staging or Production"
    )]
    CannotArchive {
        /// The stage.
        stage: Stage,
    },
    /// A name, alias or tag that is not allowed.
    #[error("Invalid {what} `{value}`: expected {expected}")]
    Name {
        /// What it names: `alias`.
        what: &'static str,
        /// The name.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// Something is longer than MLflow allows.
    #[error("the {what} exceeds the maximum length: found {found} characters, at most {limit} are allowed")]
    Limit {
        /// What is too long.
        what: &'static str,
        /// How long it is.
        found: usize,
        /// How long it may be.
        limit: usize,
    },
    /// The gate of a promotion does not let this version through.
    #[error("promote {name} version {version} to {stage}: refused: {}", crate::gate::list(.failures))]
    Refused {
        /// The model.
        name: String,
        /// The version.
        version: u64,
        /// Where it should have gone.
        stage: Stage,
        /// Every requirement that does not hold.
        failures: Vec<GateFailure>,
    },
    /// Another version reached the stage while the gate was weighed.
    #[error(
        "promote {name} version {version} to {stage}: the stage changed meanwhile: the gate compared with {compared}, now there is {found}; \
         compare again"
    )]
    StageMoved {
        /// The model.
        name: String,
        /// The version.
        version: u64,
        /// Where it should have gone.
        stage: Stage,
        /// What the gate compared with: `version 3` or `nothing`.
        compared: String,
        /// What is there now.
        found: String,
    },
    /// A wrong request, filter or page token, or a database error.
    #[error(transparent)]
    Wire(#[from] boathouse_mlwire::Error),
}

impl DomainError for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoModel { .. }
            | Self::NoVersion { .. }
            | Self::NothingInStage { .. }
            | Self::NoVersions { .. }
            | Self::NoAlias { .. } => ErrorKind::NotFound,
            Self::ModelExists { .. } => ErrorKind::AlreadyExists,
            Self::UnknownStage { .. } | Self::CannotArchive { .. } | Self::Name { .. } | Self::Limit { .. } => ErrorKind::Invalid,
            Self::Refused { .. } => ErrorKind::Denied,
            Self::StageMoved { .. } => ErrorKind::Conflict,
            Self::Wire(error) => error.kind(),
        }
    }
}
