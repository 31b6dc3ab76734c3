//! Models, where they come from, and the features they are given.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::BoxFuture;
use crate::error::Result;

/// The columns that a model takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Input columns; a nullable field is optional in a request.
    pub inputs: SchemaRef,
    /// Output columns.
    pub outputs: SchemaRef,
}

/// Something that turns rows of features into rows of predictions.
///
/// # Contract
/// - [`predict`](Self::predict) gives one output row per input row, in the same order, with the columns
///   of `signature().outputs`.
/// - The answer for a row does not depend on the other rows of the batch, nor on earlier calls.
/// - It takes CPU time only: no I/O, no locks held over calls. An empty batch gives an empty batch.
///
/// The suite that checks this is `contract::model` (feature `contract`).
pub trait Model: Send + Sync + fmt::Debug {
    /// What it takes and gives.
    fn signature(&self) -> &Signature;

    /// Scores a batch.
    ///
    /// **Shape**: n rows × inputs → n rows × outputs. Input columns are found by name; others are ignored.
    ///
    /// **Errors**: `Invalid` names the column that is missing or has another type.
    fn predict(&self, batch: &RecordBatch) -> Result<RecordBatch>;
}

/// Names a model version: `models:/name/3`, `models:/name/Production` or `models:/name@champion`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelReference {
    /// The registered model.
    pub name: String,
    /// Which of its versions.
    pub selector: VersionSelector,
}

/// Which version of a registered model is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum VersionSelector {
    /// This one.
    Number(u64),
    /// The newest in this stage (`Staging`, `Production`, `Archived`, `None`).
    Stage(String),
    /// The one that carries this alias.
    Alias(String),
    /// The newest one.
    Latest,
}

/// A reference that is not of the form `models:/name/version`, `/stage` or `@alias`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "read the model reference `{text}`: expected `models:/NAME/VERSION`, `models:/NAME/STAGE` or `models:/NAME@ALIAS`, \
     for example `models:/late_flights/Production`"
)]
pub struct InvalidModelReference {
    /// The text that was given.
    pub text: String,
}

impl crate::DomainError for InvalidModelReference {
    fn kind(&self) -> crate::ErrorKind {
        crate::ErrorKind::Invalid
    }
}

impl std::str::FromStr for ModelReference {
    type Err = InvalidModelReference;

    /// Reads an MLflow model URI. **Source**: MLflow, "Model Registry", `models:/` URIs.
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let invalid = || InvalidModelReference { text: text.to_owned() };
        let rest = text.strip_prefix("models:/").ok_or_else(invalid)?;
        let (name, selector) = match (rest.split_once('/'), rest.split_once('@')) {
            (Some((name, which)), None) if which.eq_ignore_ascii_case("latest") => (name, VersionSelector::Latest),
            (Some((name, which)), None) if which.bytes().all(|b| b.is_ascii_digit()) && !which.is_empty() => {
                (name, VersionSelector::Number(which.parse().map_err(|_| invalid())?))
            }
            (Some((name, which)), None) => (name, VersionSelector::Stage(which.to_owned())),
            (None, Some((name, alias))) => (name, VersionSelector::Alias(alias.to_owned())),
            _ => return Err(invalid()),
        };
        let selector_is_empty =
            matches!(&selector, VersionSelector::Stage(s) | VersionSelector::Alias(s) if s.is_empty() || s.contains(['/', '@']));
        if name.is_empty() || selector_is_empty {
            return Err(invalid());
        }
        Ok(Self { name: name.to_owned(), selector })
    }
}

impl fmt::Display for ModelReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            VersionSelector::Number(n) => write!(f, "models:/{}/{n}", self.name),
            VersionSelector::Stage(s) => write!(f, "models:/{}/{s}", self.name),
            VersionSelector::Alias(a) => write!(f, "models:/{}@{a}", self.name),
            VersionSelector::Latest => write!(f, "models:/{}/latest", self.name),
        }
    }
}

/// A version that a [`ModelReference`] resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedModel {
    /// The registered model.
    pub name: String,
    /// The version number.
    pub version: u64,
    /// The folder that holds the model's files, as a URL that storage can open.
    pub source: String,
    /// The run that made it.
    pub run_id: Option<String>,
}

/// Resolves references to versions: what serving needs to know of a registry.
pub trait ModelCatalog: Send + Sync + fmt::Debug {
    /// The version that `reference` names now.
    ///
    /// **Errors**: `NotFound` when no version answers to it; `Invalid` for a stage that does not exist.
    fn resolve<'a>(&'a self, reference: &'a ModelReference) -> BoxFuture<'a, Result<ResolvedModel>>;
}

/// Looks feature rows up by key: what serving needs to know of a feature store.
pub trait FeatureLookup: Send + Sync + fmt::Debug {
    /// The key columns and the feature columns of `table`.
    ///
    /// **Errors**: `NotFound` when there is no such feature table.
    fn feature_schema<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<FeatureSchema>>;

    /// The newest feature row of each key.
    ///
    /// **Shape**: one row per row of `keys`, in the same order, feature columns only; nulls where a key
    /// has no row. `keys` holds the key columns by name; others are ignored.
    fn lookup<'a>(&'a self, table: &'a str, keys: &'a RecordBatch) -> BoxFuture<'a, Result<RecordBatch>>;
}

/// The columns of an online feature table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureSchema {
    /// The columns that find a row.
    pub keys: SchemaRef,
    /// The columns that are found.
    pub features: SchemaRef,
}

/// A model that can be shared between threads.
pub type SharedModel = Arc<dyn Model>;
