//! The claims.

mod append;
mod checkpoint;
mod commits;
mod conflicts;
mod open;
#[cfg(feature = "engine")]
mod row_changes;
#[cfg(feature = "engine")]
mod tidy;

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

use crate::harness::Settings;
use crate::measure::Measured;

/// Every claim, in the order of `list`.
pub(crate) fn all() -> Vec<Box<dyn Claim>> {
    let claims: Vec<Box<dyn Claim>> = vec![
        Box::new(append::Append::Streamed),
        Box::new(append::Append::Held),
        Box::new(open::Open::Json),
        Box::new(open::Open::Checkpoint),
        Box::new(open::Open::Commits),
        Box::new(open::Open::Metadata),
        Box::new(open::Open::Foreign),
        Box::new(checkpoint::Checkpoint),
        Box::new(commits::Commits::Small),
        Box::new(commits::Commits::Group),
        Box::new(conflicts::Conflicts),
    ];
    claims.into_iter().chain(of_the_engine()).collect()
}

#[cfg(feature = "engine")]
fn of_the_engine() -> Vec<Box<dyn Claim>> {
    let changes = row_changes::RowChanges::ALL.map(|claim| Box::new(claim) as Box<dyn Claim>);
    let tidying = tidy::Tidy::ALL.map(|claim| Box::new(claim) as Box<dyn Claim>);
    changes.into_iter().chain(tidying).collect()
}

#[cfg(not(feature = "engine"))]
fn of_the_engine() -> Vec<Box<dyn Claim>> {
    Vec::new()
}

/// The claim of that name.
pub(crate) fn find(name: &str) -> Result<Box<dyn Claim>> {
    let names = || all().iter().map(|claim| claim.name()).collect::<Vec<_>>().join(", ");
    all()
        .into_iter()
        .find(|claim| claim.name() == name)
        .ok_or_else(|| anyhow!("no claim is called `{name}`; there are: {}", names()))
}

/// Something that is said about speed or memory, and how to find out.
pub(crate) trait Claim {
    /// One word.
    fn name(&self) -> &'static str;

    /// What is claimed.
    fn sentence(&self) -> &'static str;

    /// Whom it is compared with.
    fn peer(&self) -> Option<Peer>;

    /// When it holds.
    fn bar(&self) -> Bar;

    /// Makes the input below `folder` unless it is there, and gives its path.
    fn prepare(&self, settings: &Settings, folder: &Path) -> Result<PathBuf>;

    /// Does the work once, in a process of its own, and measures it. `output` does not exist yet.
    fn ours(&self, data: &Path, output: &Path, seed: u64) -> Result<Measured>;
}

/// The other side of a claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// The Python package, also the name that the report shows.
    pub(crate) package: &'static str,
    /// In `peers/`; called with the name of the claim, the input, the output folder and the seed, it prints what
    /// [`Measured`] holds as JSON.
    pub(crate) script: &'static str,
}

/// The largest figures (ratios: ours / peer, of the medians) with which a claim holds; `None` where it says nothing.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(crate) struct Bar {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wall_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_ratio: Option<f64>,
    /// Bytes that were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) written_ratio: Option<f64>,
    /// Our own CPU seconds, whatever a peer needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_s: Option<f64>,
    /// Our own wall seconds, whatever a peer needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wall_s: Option<f64>,
}
