//! Opening tables of many files and of many commits.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use boathouse_delta_table::DeltaTable;
use boathouse_delta_table::protocol::checksum::VersionChecksum;
use boathouse_storage::{Location, Storage, system_env};

use super::{Bar, Claim, Peer, Run};
use crate::harness::Settings;
use crate::measure::{Measured, Stopwatch};
use crate::peer;
use crate::synthetic_log::{synthetic_commits, synthetic_log};

/// Statistics of so many columns.
const STATS_COLUMNS: usize = 11;

/// Opening a table, by what its log is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    /// One JSON commit of a million files.
    Json,
    /// A checkpoint of a million files, written by the peer.
    Checkpoint,
    /// Ten thousand commits of one file, and no checkpoint.
    Commits,
    /// What the table is, of a million files, with a version checksum.
    Metadata,
    /// The log of 300,000 files of another project's benchmark.
    Foreign,
}

impl Claim for Open {
    fn name(&self) -> &'static str {
        match self {
            Self::Json => "open-json-1m",
            Self::Checkpoint => "open-checkpoint-1m",
            Self::Commits => "open-commits-10k",
            Self::Metadata => "open-metadata",
            Self::Foreign => "log-300k",
        }
    }

    fn sentence(&self) -> &'static str {
        match self {
            Self::Json => {
                "open a table of 1 M files in one JSON commit and count them: a quarter of the CPU time and memory of deltalake"
            }
            Self::Checkpoint => "the same from a checkpoint: a quarter of the CPU time and memory of deltalake",
            Self::Commits => {
                "open a table of 10,000 commits of one file without a checkpoint: a quarter of the time of deltalake"
            }
            Self::Metadata => "schema, properties and version of a table of 1 M files with a version checksum: below 20 ms",
            Self::Foreign => "open a log of 300,000 files and count them: at most 0.8 CPU seconds",
        }
    }

    fn peers(&self) -> Vec<Peer> {
        let peer = Peer::Python { package: "deltalake", script: "open.py" };
        if matches!(self, Self::Json | Self::Checkpoint | Self::Commits) { vec![peer] } else { Vec::new() }
    }

    fn bar(&self) -> Bar {
        match self {
            Self::Json | Self::Checkpoint => Bar { cpu_ratio: Some(0.25), rss_ratio: Some(0.25), ..Bar::default() },
            Self::Commits => Bar { wall_ratio: Some(0.25), ..Bar::default() },
            Self::Metadata => Bar { wall_s: Some(0.02), ..Bar::default() },
            Self::Foreign => Bar { cpu_s: Some(0.8), ..Bar::default() },
        }
    }

    fn prepare(&self, settings: &Settings, folder: &Path) -> Result<PathBuf> {
        let scaled = |count: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a scale is positive")]
            let count = (settings.scale * count).round() as u64;
            count.max(1)
        };
        let million = || synthetic_log(folder, scaled(1e6), STATS_COLUMNS, settings.seed);
        match self {
            Self::Json => million(),
            Self::Checkpoint => with_checkpoint(&million()?),
            Self::Commits => synthetic_commits(folder, scaled(1e4), STATS_COLUMNS, settings.seed),
            Self::Metadata => with_checksum(&million()?),
            Self::Foreign => unpacked(folder),
        }
    }

    fn ours(&self, Run { data, .. }: Run<'_>) -> Result<Measured> {
        let table = DeltaTable::at(Storage::open(&Location::from_path(data)?)?, system_env());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let watch = Stopwatch::start()?;
        let rows = runtime.block_on(async {
            let snapshot = table.snapshot().await?;
            anyhow::Ok(match self {
                Self::Metadata => snapshot.schema().fields().len() as u64 + snapshot.properties().checkpoint_interval,
                _ => snapshot.file_count().await? as u64,
            })
        })?;
        watch.stop(rows, 0)
    }
}

/// The same table with the peer's checkpoint.
fn with_checkpoint(table: &Path) -> Result<PathBuf> {
    let made = sibling(table, "checkpoint")?;
    if !made.exists() {
        let part = made.with_extension("part");
        remove(&part)?;
        let script = peer::script("checkpoint.py");
        let args = [script.as_ref(), "prepare".as_ref(), table.as_ref(), part.as_ref(), "0".as_ref()];
        let _: Measured = peer::last_line(&peer::python()?, &args)?;
        std::fs::rename(&part, &made).with_context(|| format!("rename {}", part.display()))?;
    }
    Ok(made)
}

/// The same table with a version checksum.
fn with_checksum(table: &Path) -> Result<PathBuf> {
    let made = sibling(table, "checksum")?;
    if !made.exists() {
        let part = made.with_extension("part");
        remove(&part)?;
        let log = part.join("_delta_log");
        std::fs::create_dir_all(&log).with_context(|| format!("create {}", log.display()))?;
        let commit = "00000000000000000000.json";
        std::fs::hard_link(table.join("_delta_log").join(commit), log.join(commit)).context("link the commit")?;
        let storage = Storage::open(&Location::from_path(&part)?)?;
        let json = tokio::runtime::Runtime::new()?.block_on(async {
            let snapshot = DeltaTable::at(storage, system_env()).snapshot().await?;
            let mut sum = VersionChecksum::empty(0, snapshot.protocol().clone(), snapshot.metadata().clone());
            for file in snapshot.index().await?.iter() {
                sum.count_file(file.size_bytes(), None);
            }
            anyhow::Ok(sum.to_json()?)
        })?;
        std::fs::write(log.join("00000000000000000000.crc"), json).context("write the checksum")?;
        std::fs::rename(&part, &made).with_context(|| format!("rename {}", part.display()))?;
    }
    Ok(made)
}

/// The log that lies packed in `data/`.
fn unpacked(folder: &Path) -> Result<PathBuf> {
    let name = "300k-add-files-100-col-partitioned";
    let made = folder.join(name);
    if !made.exists() {
        let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(format!("{name}.tar.zst"));
        let packed = std::fs::read(&packed).with_context(|| format!("read {}", packed.display()))?;
        let part = folder.join(format!("{name}.part"));
        remove(&part)?;
        tar::Archive::new(zstd::Decoder::new(packed.as_slice())?).unpack(&part).context("unpack the log")?;
        let table = find_table(&part)?;
        std::fs::rename(&table, &made).with_context(|| format!("rename {}", table.display()))?;
        remove(&part)?;
    }
    Ok(made)
}

/// The folder with a log, at or below this one.
fn find_table(folder: &Path) -> Result<PathBuf> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        if next.join("_delta_log").is_dir() {
            return Ok(next);
        }
        for entry in std::fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    anyhow::bail!("no table below {}", folder.display())
}

fn sibling(table: &Path, what: &str) -> Result<PathBuf> {
    let name = table.file_name().context("a table has a name")?.to_string_lossy().into_owned();
    Ok(table.with_file_name(format!("{name}-{what}")))
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("empty {}", folder.display()))
        }
        _ => Ok(()),
    }
}
