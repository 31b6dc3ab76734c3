//! OPTIMIZE: many small files put together, and rows in the order of two columns.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use boathouse_delta_core::{DeltaTable, DeltaTableExt};
use boathouse_storage::{Location, Storage, system_env};

use super::row_changes::{link, make_table, size};
use super::{Bar, Claim, Peer, Run};
use crate::data;
use crate::harness::Settings;
use crate::measure::{Measured, Stopwatch};

/// By which rows are ordered.
const COLUMNS: [&str; 2] = ["l_partkey", "l_shipdate"];

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tidy {
    Compact,
    ZOrder,
}

impl Tidy {
    pub(crate) const ALL: [Self; 2] = [Self::Compact, Self::ZOrder];

    /// Files of the table before.
    fn files(self) -> usize {
        match self {
            Self::Compact => 400,
            Self::ZOrder => 12,
        }
    }
}

impl Claim for Tidy {
    fn name(&self) -> &'static str {
        match self {
            Self::Compact => "compact",
            Self::ZOrder => "zorder",
        }
    }

    fn sentence(&self) -> &'static str {
        match self {
            Self::Compact => "OPTIMIZE 6 M rows in 400 files: at most 0.4 of the time and half the memory of deltalake",
            Self::ZOrder => "ZORDER BY two columns of 6 M rows: at most 0.4 of the time and half the memory of deltalake",
        }
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Python { package: "deltalake", script: "tidy.py" }]
    }

    fn bar(&self) -> Bar {
        Bar { wall_ratio: Some(0.4), rss_ratio: Some(0.5), ..Bar::default() }
    }

    /// A folder with the table of both sides.
    fn prepare(&self, settings: &Settings, folder: &Path) -> Result<PathBuf> {
        let lineitem = data::lineitem(folder, settings.scale)?;
        let done = folder.join(format!("{}-{}", self.name(), settings.scale));
        if done.exists() {
            return Ok(done);
        }
        eprintln!("making {} (once)", done.display());
        let part = done.with_extension("part");
        if part.exists() {
            fs::remove_dir_all(&part)?;
        }
        let rows = data::open(&lineitem)?.1.try_fold(0, |rows, batch| anyhow::Ok(rows + batch?.num_rows()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(make_table(&lineitem, &part, rows, self.files(), false))?;
        fs::rename(&part, &done).with_context(|| format!("rename {}", part.display()))?;
        Ok(done)
    }

    fn ours(&self, Run { data, output, .. }: Run<'_>) -> Result<Measured> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        link(data, output)?;
        let table = DeltaTable::at(Storage::open(&Location::from_path(output)?)?, system_env());
        let before = size(output)?;
        let watch = Stopwatch::start()?;
        let optimize = match self {
            Self::Compact => table.optimize(),
            Self::ZOrder => table.optimize().z_order(COLUMNS),
        };
        let report = runtime.block_on(optimize.run())?;
        let measured = watch.stop(report.rows_copied, size(output)?.saturating_sub(before));
        ensure!(report.num_files_removed() == self.files() as u64, "{} files were taken", report.num_files_removed());
        measured
    }
}
