//! The claims.

mod append;
mod checkpoint;
mod commits;
mod conflicts;
#[cfg(feature = "engine")]
mod ingest;
mod open;
#[cfg(feature = "engine")]
mod queries;
#[cfg(feature = "engine")]
mod row_changes;
#[cfg(feature = "engine")]
mod scans;
#[cfg(feature = "engine")]
mod shares;
#[cfg(feature = "engine")]
mod streams;
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
    let queries = queries::Queries::ALL.map(|claim| Box::new(claim) as Box<dyn Claim>);
    let scans = scans::Scans::ALL.map(|claim| Box::new(claim) as Box<dyn Claim>);
    let shares = shares::Shares::ALL.map(|claim| Box::new(claim) as Box<dyn Claim>);
    let streams = streams::Streams::ALL.map(|claim| Box::new(claim) as Box<dyn Claim>);
    let ingests = ingest::Ingest::ALL.map(|claim| Box::new(claim) as Box<dyn Claim>);
    changes.into_iter().chain(tidying).chain(queries).chain(scans).chain(shares).chain(streams).chain(ingests).collect()
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

    /// Whom it is compared with. The bar holds against each of them.
    fn peers(&self) -> Vec<Peer>;

    /// When it holds.
    fn bar(&self) -> Bar;

    /// How its runs are made.
    fn manner(&self) -> Manner {
        Manner::default()
    }

    /// Makes the input below `folder` unless it is there, and gives its path.
    fn prepare(&self, settings: &Settings, folder: &Path) -> Result<PathBuf>;

    /// Does the work once, in a process of its own, and measures it.
    fn ours(&self, run: Run<'_>) -> Result<Measured>;
}

/// One run of our side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    /// What `prepare` made.
    pub(crate) data: &'a Path,
    /// Where to write. It does not exist yet.
    pub(crate) output: &'a Path,
    pub(crate) seed: u64,
    /// Which part, for claims whose parts have a process each.
    #[cfg_attr(not(feature = "engine"), expect(dead_code, reason = "only claims of the engine have parts"))]
    pub(crate) part: Option<&'a str>,
}

/// How the runs of a claim are made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    /// What wall time is.
    pub(crate) span: Span,
    /// A run is one process for each of these, whose figures are put together; empty: one process.
    pub(crate) parts: Vec<&'static str>,
}

/// What wall time is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Span {
    /// That of the work, as the process measures it.
    #[default]
    Work,
    /// That of the process, from its start to its end.
    Process,
}

/// The other side of a claim.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Peer {
    /// A Python package, also the name that the report shows.
    Python {
        package: &'static str,
        /// In `peers/`; called with the name of the claim, the input, the output folder, the seed and the part if there is
        /// one, and the package as `BOATHOUSE_PEER`, it prints what [`Measured`] holds as JSON.
        script: &'static str,
    },
    /// Our side of another claim: a baseline.
    #[cfg_attr(not(feature = "engine"), expect(dead_code, reason = "only claims of the engine have baselines"))]
    Claim(&'static str),
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
    /// Our own megabytes, whatever a peer needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_mb: Option<f64>,
    /// Our own wall seconds for parts of the work.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) parts: &'static [(&'static str, f64)],
}
