//! Promotion: a move to a stage that has to pass a gate.

use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::model::ModelVersion;
use crate::registry::Registry;
use crate::stage::{Existing, Stage};
use crate::store::{Expected, Move};

/// A promotion to be. Nothing happens before [`run`](Self::run).
///
/// # Example
/// See the [crate page](crate).
#[derive(Debug, Clone)]
#[must_use = "nothing happens before run"]
pub struct Promotion {
    registry: Registry,
    name: String,
    version: u64,
    stage: Stage,
    gate: Gate,
    compared: Option<Option<u64>>,
    existing: Existing,
    who: String,
    why: String,
}

/// What a promotion did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromotionReport {
    /// The version, in its new stage.
    pub version: ModelVersion,
    /// The stage it came from.
    pub from: Stage,
    /// The versions that it pushed to `Archived`.
    pub archived: Vec<u64>,
}

impl Registry {
    /// Begins a promotion of a version to a stage. The versions that are there go to `Archived`, where the stage is Staging or
    /// Production.
    pub fn promote(&self, name: impl Into<String>, version: u64, stage: Stage) -> Promotion {
        Promotion {
            registry: self.clone(),
            name: name.into(),
            version,
            stage,
            gate: Gate::default(),
            compared: None,
            existing: if stage.can_replace() { Existing::Archive } else { Existing::Keep },
            who: String::new(),
            why: String::new(),
        }
    }
}

impl Promotion {
    /// What must hold; without a gate everything passes.
    pub fn require(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }

    /// Which version of the stage the gate's rival metrics belong to (`None`: the stage was empty). If another one is there
    /// when the promotion runs, it fails with `Conflict` instead of deciding on old figures.
    pub fn compared_with(mut self, version: Option<u64>) -> Self {
        self.compared = Some(version);
        self
    }

    /// What happens to the versions that are in the stage.
    pub fn existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// Who wants it, for the audit.
    pub fn by(mut self, who: impl Into<String>) -> Self {
        self.who = who.into();
        self
    }

    /// Why, for the audit.
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// Weighs the gate, and moves the version if it passes.
    ///
    /// **Errors**: `Denied` ([`Error::Refused`]) when the gate does not let it through: every requirement that fails is named
    /// with what was found and what was needed; `NotFound` without such a version; `Conflict` when the stage changed since
    /// [`compared_with`](Self::compared_with).
    pub async fn run(self) -> Result<PromotionReport> {
        let from = self.registry.get_version(&self.name, self.version).await?.stage;
        let failures = self.gate.check();
        if !failures.is_empty() {
            return Err(Error::Refused { name: self.name, version: self.version, stage: self.stage, failures });
        }
        let wanted = Move {
            name: &self.name,
            version: self.version,
            to: self.stage,
            existing: self.existing,
            who: &self.who,
            why: &self.why,
        };
        let expected = self.compared.map_or(Expected::Anything, Expected::Newest);
        let archived = self.registry.carry_out(wanted, expected).await?;
        let version = self.registry.get_version(&self.name, self.version).await?;
        Ok(PromotionReport { version, from, archived })
    }
}
