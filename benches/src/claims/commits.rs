//! Appends of one row: one after the other, and from several tasks at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use boathouse_base::BatchStream;
use boathouse_delta_table::DeltaTable;
use boathouse_storage::{Location, Storage, system_env};

use super::{Bar, Claim, Peer, Run};
use crate::harness::Settings;
use crate::measure::{Measured, Stopwatch};

/// Appends in all at scale 1, and the tasks that share them.
pub(crate) enum Commits {
    /// 1,000, one after the other.
    Small,
    /// 2,000, from 8 tasks of one process.
    Group,
}

/// Appends at the start and at the end whose times are compared.
const COMPARED: usize = 100;
/// How much slower the last ones may be: the machine is not quiet.
const SLOWER: f64 = 1.25;

impl Commits {
    fn tasks(&self) -> usize {
        match self {
            Self::Small => 1,
            Self::Group => 8,
        }
    }

    fn appends_each(&self) -> usize {
        match self {
            Self::Small => 1000,
            Self::Group => 250,
        }
    }
}

impl Claim for Commits {
    fn name(&self) -> &'static str {
        match self {
            Self::Small => "commits-small",
            Self::Group => "commits-group",
        }
    }

    fn sentence(&self) -> &'static str {
        match self {
            Self::Small => {
                "1,000 appends of one row, one after the other: a third of the time of deltalake, the last 100 no slower than the first"
            }
            Self::Group => {
                "8 tasks of one process append one row 250 times each: every row is there, in a tenth of the time of deltalake"
            }
        }
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Python { package: "deltalake", script: "commits.py" }]
    }

    fn bar(&self) -> Bar {
        let wall_ratio = match self {
            Self::Small => 0.33,
            Self::Group => 0.1,
        };
        Bar { wall_ratio: Some(wall_ratio), ..Bar::default() }
    }

    fn prepare(&self, _settings: &Settings, folder: &Path) -> Result<PathBuf> {
        Ok(folder.to_path_buf())
    }

    fn ours(&self, Run { output, .. }: Run<'_>) -> Result<Measured> {
        let table = DeltaTable::at(Storage::open(&Location::from_path(output)?)?, system_env());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async { table.append(one(0)?).create_if_absent().run().await.map_err(anyhow::Error::from) })?;
        let (tasks, each) = (self.tasks(), self.appends_each());
        let watch = Stopwatch::start()?;
        let mut took_us: Vec<u64> = Vec::new();
        runtime.block_on(async {
            let running: Vec<_> = (0..tasks)
                .map(|task| {
                    let table = table.clone();
                    tokio::spawn(async move {
                        let mut took_us = Vec::with_capacity(each);
                        for nth in 0..each {
                            let began_us = table.env().monotonic_us();
                            table.append(one(1 + task * each + nth)?).run().await?;
                            took_us.push(table.env().monotonic_us() - began_us);
                        }
                        Ok::<_, anyhow::Error>(took_us)
                    })
                })
                .collect();
            for task in running {
                took_us.extend(task.await??);
            }
            Ok::<_, anyhow::Error>(())
        })?;
        let snapshot = runtime.block_on(table.snapshot())?;
        let bytes = runtime.block_on(snapshot.size_bytes())?;
        let rows = runtime.block_on(snapshot.row_count())?.unwrap_or_default();
        let measured = watch.stop(rows, bytes)?;
        ensure!(rows == (tasks * each) as u64 + 1, "{rows} rows are there, {} were appended", tasks * each + 1);
        if matches!(self, Self::Small) {
            let (first, last) = (median(&took_us[..COMPARED]), median(&took_us[took_us.len() - COMPARED..]));
            eprintln!("median of the first {COMPARED}: {first} µs, of the last: {last} µs; {} versions", snapshot.version());
            #[expect(clippy::cast_precision_loss, reason = "microseconds of an append have few digits")]
            let slower = last as f64 / first as f64;
            ensure!(slower <= SLOWER, "the last {COMPARED} appends took {slower:.2} times as long as the first");
        } else {
            eprintln!("{} versions", snapshot.version());
        }
        Ok(measured)
    }
}

fn median(times: &[u64]) -> u64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

/// One row.
fn one(id: usize) -> Result<BatchStream> {
    let columns = [
        ("id", Arc::new(Int64Array::from(vec![i64::try_from(id)?])) as ArrayRef),
        ("note", Arc::new(StringArray::from(vec![format!("row {id}")]))),
    ];
    let batch = RecordBatch::try_from_iter(columns)?;
    Ok(BatchStream::from_batches(batch.schema(), vec![batch]))
}
