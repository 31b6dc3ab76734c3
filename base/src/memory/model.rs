//! A model that is a function, and a catalog that is a map.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;

use super::features::columns_of;
use super::{MemoryError, lock, ready};
use crate::BoxFuture;
use crate::error::Result;
use crate::model::{Model, ModelCatalog, ModelReference, ResolvedModel, Signature, VersionSelector};

/// A [`Model`] that computes its outputs with a function.
///
/// The function is given the input columns of the signature, checked and in its order; a nullable one that is
/// not in the batch comes as nulls.
pub struct FunctionModel<F> {
    signature: Signature,
    function: F,
}

impl<F: Fn(&RecordBatch) -> Result<RecordBatch> + Send + Sync> FunctionModel<F> {
    /// A model of this signature.
    pub fn new(signature: Signature, function: F) -> Self {
        Self { signature, function }
    }
}

impl<F> fmt::Debug for FunctionModel<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionModel").field("signature", &self.signature).finish_non_exhaustive()
    }
}

impl<F: Fn(&RecordBatch) -> Result<RecordBatch> + Send + Sync> Model for FunctionModel<F> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        (self.function)(&columns_of(batch, &self.signature.inputs, "score a batch")?)
    }
}

/// Model versions by name, stage and alias. Clones are one catalog.
#[derive(Debug, Clone, Default)]
pub struct MemoryCatalog(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    versions: BTreeMap<(String, u64), String>,
    /// Each version stands in one stage; the newest of a stage answers for it.
    stages: BTreeMap<(String, u64), String>,
    aliases: BTreeMap<(String, String), u64>,
}

const STAGES: [&str; 4] = ["None", "Staging", "Production", "Archived"];

impl MemoryCatalog {
    /// No models yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next version of a model, whose files lie at `source`; in stage `None`. Gives its number, from 1.
    pub fn register(&self, name: &str, source: &str) -> u64 {
        let mut state = lock(&self.0);
        let version = state.versions.keys().filter(|(n, _)| n == name).map(|(_, v)| v + 1).max().unwrap_or(1);
        state.versions.insert((name.to_owned(), version), source.to_owned());
        state.stages.insert((name.to_owned(), version), "None".to_owned());
        version
    }

    /// Moves a version to a stage.
    ///
    /// **Errors**: `NotFound` without that version; `Invalid` without that stage.
    pub fn set_stage(&self, name: &str, version: u64, stage: &str) -> Result<()> {
        let stage = canonical(stage)?;
        let mut state = lock(&self.0);
        state.require(name, version)?;
        state.stages.insert((name.to_owned(), version), stage.to_owned());
        Ok(())
    }

    /// Points an alias at a version.
    ///
    /// **Errors**: `NotFound` without that version.
    pub fn set_alias(&self, name: &str, alias: &str, version: u64) -> Result<()> {
        let mut state = lock(&self.0);
        state.require(name, version)?;
        state.aliases.insert((name.to_owned(), alias.to_owned()), version);
        Ok(())
    }
}

/// Stages are known in any case, as MLflow does.
fn canonical(stage: &str) -> Result<&'static str, MemoryError> {
    let known = STAGES.into_iter().find(|known| known.eq_ignore_ascii_case(stage));
    known.ok_or_else(|| MemoryError::NoStage { stage: stage.to_owned() })
}

impl State {
    fn require(&self, name: &str, version: u64) -> Result<(), MemoryError> {
        if self.versions.contains_key(&(name.to_owned(), version)) {
            return Ok(());
        }
        Err(MemoryError::NoModel { reference: format!("models:/{name}/{version}") })
    }

    fn resolve(&self, reference: &ModelReference) -> Result<ResolvedModel, MemoryError> {
        let of_name = || self.versions.keys().filter(|(name, _)| *name == reference.name).map(|(_, version)| *version);
        let version = match &reference.selector {
            VersionSelector::Number(version) => Some(*version),
            VersionSelector::Latest => of_name().max(),
            VersionSelector::Alias(alias) => self.aliases.get(&(reference.name.clone(), alias.clone())).copied(),
            VersionSelector::Stage(stage) => {
                let stage = canonical(stage)?;
                let in_stage = |v: &u64| self.stages.get(&(reference.name.clone(), *v)).is_some_and(|s| s == stage);
                of_name().filter(in_stage).max()
            }
        };
        let found = version.and_then(|version| Some((version, self.versions.get(&(reference.name.clone(), version))?)));
        let (version, source) = found.ok_or_else(|| MemoryError::NoModel { reference: reference.to_string() })?;
        Ok(ResolvedModel { name: reference.name.clone(), version, source: source.clone(), run_id: None })
    }
}

impl ModelCatalog for MemoryCatalog {
    fn resolve<'a>(&'a self, reference: &'a ModelReference) -> BoxFuture<'a, Result<ResolvedModel>> {
        ready(lock(&self.0).resolve(reference).map_err(Into::into))
    }
}
