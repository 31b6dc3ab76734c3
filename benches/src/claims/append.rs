//! Writing rows that come from memory to a new table.

use std::path::{Path, PathBuf};

use anyhow::Result;
use boathouse_base::{BatchStream, Error, ErrorKind};
use boathouse_delta_table::DeltaTable;
use boathouse_storage::{Location, Storage, system_env};
use futures::stream;

use super::{Bar, Claim, Peer, Run};
use crate::data;
use crate::harness::Settings;
use crate::measure::{Measured, Stopwatch};

/// Who keeps the rows.
pub(crate) enum Append {
    /// Batch after batch arrives in Arrow's own format, from the memory of the operating system; nobody keeps them. The
    /// memory of a side is then what writing needs.
    Streamed,
    /// Each side holds all rows before the clock starts. They are about 1 GB, so most of either side's memory is input.
    Held,
}

impl Claim for Append {
    fn name(&self) -> &'static str {
        match self {
            Self::Streamed => "append",
            Self::Held => "append-held",
        }
    }

    fn sentence(&self) -> &'static str {
        match self {
            Self::Streamed => {
                "6 M rows of TPC-H lineitem, streamed from memory to a new table: at most 0.8 of the CPU time and half the \
                 memory of deltalake"
            }
            Self::Held => {
                "6 M rows of TPC-H lineitem, held in memory, to a new table: at most 0.8 of the CPU time of deltalake, and \
                 less memory"
            }
        }
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Python { package: "deltalake", script: "append.py" }]
    }

    fn bar(&self) -> Bar {
        let rss_ratio = match self {
            Self::Streamed => 0.5,
            Self::Held => 0.8,
        };
        Bar { cpu_ratio: Some(0.8), rss_ratio: Some(rss_ratio), ..Bar::default() }
    }

    fn prepare(&self, settings: &Settings, folder: &Path) -> Result<PathBuf> {
        data::lineitem(folder, settings.scale)
    }

    fn ours(&self, Run { data, output, .. }: Run<'_>) -> Result<Measured> {
        let table = DeltaTable::at(Storage::open(&Location::from_path(output)?)?, system_env());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let rows = match self {
            Self::Streamed => {
                let (schema, batches) = data::open(data)?;
                let batches = batches.map(|batch| batch.map_err(|error| Error::new(ErrorKind::Corrupt, error)));
                BatchStream::new(schema, stream::iter(batches))
            }
            Self::Held => {
                let (schema, batches) = data::open(data)?;
                BatchStream::from_batches(schema, batches.collect::<Result<_, _>>()?)
            }
        };
        let watch = Stopwatch::start()?;
        let report = runtime.block_on(async { table.append(rows).create_if_absent().run().await })?;
        watch.stop(report.rows, report.bytes_added)
    }
}
