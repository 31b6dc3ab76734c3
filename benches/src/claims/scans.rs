//! Scans of a whole table beside those of its bare files, and one key among six million rows.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use boathouse_delta_core::session;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use futures::TryStreamExt;

use super::{Bar, Claim, Manner, Peer, Run, Span};
use crate::harness::Settings;
use crate::measure::{Measured, Stopwatch};
use crate::tpch;

/// Every column, decoded and looked at.
const AGGREGATE: &str = "SELECT sum(l_orderkey), sum(l_partkey), sum(l_suppkey), sum(l_linenumber), sum(l_quantity), \
     sum(l_extendedprice), sum(l_discount), sum(l_tax), min(l_returnflag), max(l_linestatus), min(l_shipdate), \
     max(l_commitdate), min(l_receiptdate), max(l_shipinstruct), min(l_shipmode), max(l_comment) FROM lineitem";

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scans {
    Delta,
    Bare,
    LookupProcess,
    LookupWork,
}

impl Scans {
    pub(crate) const ALL: [Self; 4] = [Self::Delta, Self::Bare, Self::LookupProcess, Self::LookupWork];
}

impl Claim for Scans {
    fn name(&self) -> &'static str {
        match self {
            Self::Delta => "scan-overhead",
            Self::Bare => "scan-bare",
            Self::LookupProcess => "point-lookup",
            Self::LookupWork => "point-lookup-work",
        }
    }

    fn sentence(&self) -> &'static str {
        match self {
            Self::Delta => {
                "every column of 6 M rows, drained and aggregated, from opening the table on: at most 1.05 of the time of \
                 DataFusion on the bare Parquet files"
            }
            Self::Bare => "every column of 6 M rows by DataFusion on the bare Parquet files: a baseline",
            Self::LookupProcess => {
                "the rows of one key among 6 M, from the start of the process to its end (for Python: the interpreter and \
                 its imports are part of it): at most half the time of deltalake, DuckDB and polars"
            }
            Self::LookupWork => {
                "the same in a fresh process, without its start and without imports: at most half the time of deltalake, \
                 DuckDB and polars"
            }
        }
    }

    fn peers(&self) -> Vec<Peer> {
        match self {
            Self::Delta => vec![Peer::Claim("scan-bare")],
            Self::Bare => Vec::new(),
            Self::LookupProcess | Self::LookupWork => {
                ["deltalake", "duckdb", "polars"].map(|package| Peer::Python { package, script: "lookup.py" }).to_vec()
            }
        }
    }

    fn bar(&self) -> Bar {
        let wall_ratio = match self {
            Self::Delta => Some(1.05),
            Self::Bare => None,
            Self::LookupProcess | Self::LookupWork => Some(0.5),
        };
        Bar { wall_ratio, ..Bar::default() }
    }

    fn manner(&self) -> Manner {
        let span = if matches!(self, Self::LookupProcess) { Span::Process } else { Span::Work };
        Manner { span, ..Manner::default() }
    }

    /// The table of line items of TPC-H, in twelve files.
    fn prepare(&self, settings: &Settings, folder: &Path) -> Result<PathBuf> {
        Ok(tpch::tables(folder, settings.scale)?.join("lineitem"))
    }

    fn ours(&self, Run { data, .. }: Run<'_>) -> Result<Measured> {
        match self {
            Self::Delta | Self::Bare => {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                let watch = Stopwatch::start()?;
                let rows = runtime.block_on(async {
                    let context = match self {
                        Self::Delta => super::queries::open(&[("lineitem", data.to_path_buf())]).await?.context().clone(),
                        _ => bare(data).await?,
                    };
                    scan(&context).await
                })?;
                watch.stop(rows, 0)
            }
            Self::LookupProcess | Self::LookupWork => {
                // Few rows of one file: more threads only have to be started.
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let watch = Stopwatch::start()?;
                let rows = runtime.block_on(async {
                    let lake = super::queries::open(&[("lineitem", data.to_path_buf())]).await?;
                    let found = lake.query(&format!("SELECT * FROM lineitem WHERE l_orderkey = {}", key(data)?)).await?;
                    let batches = found.collect().await?;
                    anyhow::Ok(batches.iter().map(|batch| batch.num_rows() as u64).sum())
                })?;
                watch.stop(rows, 0)
            }
        }
    }
}

/// The files without their log, with the settings that the session of Delta has.
async fn bare(data: &Path) -> Result<SessionContext> {
    let context = SessionContext::new_with_config(session().context().copied_config());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(data).with_context(|| format!("list {}", data.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "parquet") {
            files.push(path.to_str().context("paths are text")?.to_owned());
        }
    }
    files.sort();
    let frame = context.read_parquet(files, ParquetReadOptions::default()).await?;
    context.register_table("lineitem", frame.into_view())?;
    Ok(context)
}

async fn scan(context: &SessionContext) -> Result<u64> {
    let mut batches = context.sql("SELECT * FROM lineitem").await?.execute_stream().await?;
    let mut rows = 0;
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows() as u64;
    }
    context.sql(AGGREGATE).await?.collect().await?;
    Ok(rows)
}

/// The order in the middle: of each 32 numbers TPC-H uses the first eight.
fn key(data: &Path) -> Result<u64> {
    let folder = data.parent().and_then(Path::file_name).and_then(|name| name.to_str()).context("the folder has a name")?;
    let scale: f64 = folder.rsplit('-').next().unwrap_or_default().parse().with_context(|| format!("the scale of {folder}"))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a scale is positive, and keys are counted")]
    let half = (3_000_000.0 * scale) as u64;
    Ok(half / 32 * 32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_one_that_tpch_uses() {
        assert_eq!(key(Path::new("x/tpch-1/lineitem")).unwrap(), 3_000_001);
        assert_eq!(key(Path::new("x/tpch-0.01/lineitem")).unwrap() % 32, 1);
        assert!(key(Path::new("x/other/lineitem")).is_err());
    }
}
