//! Opening a table of a million files that has no checkpoint, and writing one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use boathouse_delta_table::DeltaTable;
use boathouse_storage::{Location, Storage, system_env};

use super::{Bar, Claim, Peer, Run};
use crate::harness::Settings;
use crate::measure::{Measured, Stopwatch};
use crate::synthetic_log::synthetic_log;

/// Statistics of so many columns.
const STATS_COLUMNS: usize = 11;

pub(crate) struct Checkpoint;

impl Claim for Checkpoint {
    fn name(&self) -> &'static str {
        "checkpoint-1m"
    }

    fn sentence(&self) -> &'static str {
        "open a table of 1 M files in one JSON commit and write its checkpoint: a quarter of the time of deltalake, a third of \
         its bytes"
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Python { package: "deltalake", script: "checkpoint.py" }]
    }

    fn bar(&self) -> Bar {
        Bar { wall_ratio: Some(0.25), written_ratio: Some(0.333), ..Bar::default() }
    }

    fn prepare(&self, settings: &Settings, folder: &Path) -> Result<PathBuf> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a scale is positive, and files are counted")]
        let files = (settings.scale * 1e6).round() as u64;
        synthetic_log(folder, files, STATS_COLUMNS, settings.seed)
    }

    fn ours(&self, Run { data, output, .. }: Run<'_>) -> Result<Measured> {
        link(data, output)?;
        let table = DeltaTable::at(Storage::open(&Location::from_path(output)?)?, system_env());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let watch = Stopwatch::start()?;
        let report = runtime.block_on(table.checkpoint().run())?;
        watch.stop(report.files, report.bytes)
    }
}

/// The table in another folder: its log is linked, not copied.
fn link(data: &Path, output: &Path) -> Result<()> {
    let (from, to) = (data.join("_delta_log"), output.join("_delta_log"));
    std::fs::create_dir_all(&to).with_context(|| format!("create {}", to.display()))?;
    for entry in std::fs::read_dir(&from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry?;
        let linked = to.join(entry.file_name());
        std::fs::hard_link(entry.path(), &linked).with_context(|| format!("link {}", linked.display()))?;
    }
    Ok(())
}
