//! Writing rows that are in memory to a new table.

use std::path::{Path, PathBuf};

use anyhow::Result;
use boathouse_base::BatchStream;
use boathouse_delta_table::DeltaTable;
use boathouse_storage::{Location, Storage, system_env};

use super::{Bar, Claim, Peer};
use crate::data;
use crate::harness::Settings;
use crate::measure::{Measured, Stopwatch};

/// Both sides hold the same Arrow batches before the clock starts. Ours hands them over, so a batch is freed when it is
/// written; the peer gets them as one table, as its users do.
pub(crate) struct Append;

impl Claim for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    fn sentence(&self) -> &'static str {
        "6 M rows of TPC-H lineitem, from memory to a new table: at most 0.8 of the CPU time and half the memory of deltalake"
    }

    fn peer(&self) -> Option<Peer> {
        Some(Peer { package: "deltalake", script: "append.py" })
    }

    fn bar(&self) -> Bar {
        Bar { cpu_ratio: Some(0.8), wall_ratio: None, rss_ratio: Some(0.5) }
    }

    fn prepare(&self, settings: &Settings, folder: &Path) -> Result<PathBuf> {
        data::lineitem(folder, settings.scale)
    }

    fn ours(&self, data: &Path, output: &Path, _seed: u64) -> Result<Measured> {
        let (schema, batches) = data::load(data)?;
        let table = DeltaTable::at(Storage::open(&Location::from_path(output)?)?, system_env());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let rows = BatchStream::from_batches(schema, batches);
        let watch = Stopwatch::start()?;
        let report = runtime.block_on(async { table.append(rows).create_if_absent().run().await })?;
        watch.stop(report.rows, report.bytes_added)
    }
}
