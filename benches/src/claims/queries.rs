//! Queries of TPC-H, on tables as they were written and after rows were deleted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use boathouse_base::{Env, TableVersion};
use boathouse_delta_core::{DeltaSession, DeltaTableExt, session};
use boathouse_storage::system_env;

use super::row_changes::{link, make_table};
use super::{Bar, Claim, Manner, Peer, Run};
use crate::data;
use crate::harness::Settings;
use crate::measure::{Measured, Stopwatch};
use crate::tpch::{self, QUERIES, TABLES};

/// How often a query runs in one process, when the process is warm: the fastest counts.
const HOT_RUNS: usize = 4;
/// The queries that are read after rows were deleted.
const READ: [&str; 2] = ["q01", "q06"];
/// Which rows are deleted: about one in a thousand, in each file.
const SCATTERED: &str = "l_orderkey % 1000 = 7";

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queries {
    Hot,
    Cold,
    AfterDml,
    Rewritten,
}

impl Queries {
    pub(crate) const ALL: [Self; 4] = [Self::Hot, Self::Cold, Self::AfterDml, Self::Rewritten];
}

impl Claim for Queries {
    fn name(&self) -> &'static str {
        match self {
            Self::Hot => "tpch",
            Self::Cold => "tpch-cold",
            Self::AfterDml => "read-after-dml",
            Self::Rewritten => "read-rewritten",
        }
    }

    fn sentence(&self) -> &'static str {
        match self {
            Self::Hot => {
                "the 22 queries of TPC-H over eight Delta tables, the fastest of four runs of each in one process: as fast as \
                 DuckDB and polars, by the geometric mean"
            }
            Self::Cold => {
                "the same, each query the first in a process of its own, from opening the tables on: as fast as DuckDB and \
                 polars, by the geometric mean"
            }
            Self::AfterDml => {
                "TPC-H Q1 and Q6 when 0.1 % of rows in each of 12 files are deleted: at most 1.1 of the time on the table \
                 rewritten without them"
            }
            Self::Rewritten => "TPC-H Q1 and Q6 on a table whose deleted rows are gone from its files: a baseline",
        }
    }

    fn peers(&self) -> Vec<Peer> {
        match self {
            Self::Hot | Self::Cold => ["duckdb", "polars"].map(|package| Peer::Python { package, script: "tpch.py" }).to_vec(),
            Self::AfterDml => vec![Peer::Claim("read-rewritten")],
            Self::Rewritten => Vec::new(),
        }
    }

    fn bar(&self) -> Bar {
        let wall_ratio = match self {
            Self::Hot | Self::Cold => Some(1.0),
            Self::AfterDml => Some(1.1),
            Self::Rewritten => None,
        };
        Bar { wall_ratio, ..Bar::default() }
    }

    fn manner(&self) -> Manner {
        let parts = match self {
            Self::Cold => QUERIES.map(|(name, _)| name).to_vec(),
            _ => Vec::new(),
        };
        Manner { parts, ..Manner::default() }
    }

    /// The eight tables; or the tables `deleted` and `rewritten`.
    fn prepare(&self, settings: &Settings, folder: &Path) -> Result<PathBuf> {
        match self {
            Self::Hot | Self::Cold => tpch::tables(folder, settings.scale),
            Self::AfterDml | Self::Rewritten => deleted_and_rewritten(settings.scale, folder),
        }
    }

    fn ours(&self, Run { data, part, .. }: Run<'_>) -> Result<Measured> {
        let wanted = |name: &str| match self {
            Self::Hot => true,
            Self::Cold => part == Some(name),
            Self::AfterDml | Self::Rewritten => READ.contains(&name),
        };
        let tables: Vec<(&str, PathBuf)> = match self {
            Self::Hot | Self::Cold => TABLES.iter().map(|(name, _)| (*name, data.join(name))).collect(),
            Self::AfterDml => vec![("lineitem", data.join("deleted"))],
            Self::Rewritten => vec![("lineitem", data.join("rewritten"))],
        };
        let runs = if matches!(self, Self::Cold) { 1 } else { HOT_RUNS };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let watch = Stopwatch::start()?;
            let env = system_env();
            let began_us = env.monotonic_us();
            let lake = open(&tables).await?;
            let (mut parts, mut answers) = (BTreeMap::new(), BTreeMap::new());
            for (name, text) in QUERIES.iter().filter(|(name, _)| wanted(name)) {
                let (took_s, answer) = fastest(&lake, text, runs, &env).await.with_context(|| format!("run {name}"))?;
                // Who is cold has opened the tables for this query.
                let took_s = if runs == 1 { seconds_since(&env, began_us) } else { took_s };
                parts.insert((*name).to_owned(), took_s);
                answers.insert((*name).to_owned(), tpch::answer(&answer)?);
            }
            ensure!(!parts.is_empty(), "no query is called {part:?}");
            Ok(Measured { parts, answers, ..watch.stop(1, 0)? })
        })
    }
}

/// A session with these tables.
pub(super) async fn open(tables: &[(&str, PathBuf)]) -> Result<DeltaSession> {
    let lake = session();
    for (name, path) in tables {
        let provider = tpch::at(path)?.provider_at(TableVersion::Latest).await?.with_views();
        lake.context().register_table(*name, Arc::new(provider))?;
    }
    for statement in std::env::var("BOATHOUSE_BENCH_SET").unwrap_or_default().split(';').filter(|text| !text.is_empty()) {
        lake.context().sql(statement).await?.collect().await?;
    }
    Ok(lake)
}

/// The seconds of the fastest run, and what the last one answered.
async fn fastest(lake: &DeltaSession, text: &str, runs: usize, env: &Env) -> Result<(f64, Vec<arrow_array::RecordBatch>)> {
    let (mut fastest, mut answer) = (f64::INFINITY, Vec::new());
    for _ in 0..runs {
        let began_us = env.monotonic_us();
        answer = lake.query(text).await?.collect().await?;
        fastest = fastest.min(seconds_since(env, began_us));
    }
    Ok((fastest, answer))
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a run have few digits")]
fn seconds_since(env: &Env, began_us: u64) -> f64 {
    (env.monotonic_us() - began_us) as f64 / 1e6
}

/// The same rows twice: some deleted by vectors, and without a trace of those.
fn deleted_and_rewritten(scale: f64, folder: &Path) -> Result<PathBuf> {
    let lineitem = data::lineitem(folder, scale)?;
    let done = folder.join(format!("read-after-dml-{scale}"));
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
    let (deleted, rewritten) = (part.join("deleted"), part.join("rewritten"));
    runtime.block_on(async {
        make_table(&lineitem, &deleted, rows, 12, true).await?;
        tpch::at(&deleted)?.delete().filter(SCATTERED).run().await?;
        link(&deleted, &rewritten)?;
        tpch::at(&rewritten)?.purge().run().await?;
        for (path, vectors) in [(&deleted, true), (&rewritten, false)] {
            let files = tpch::at(path)?.snapshot().await?.files(None).await?;
            let found = files.iter().filter(|file| file.deletion_vector().is_some()).count();
            ensure!((found == files.len()) == vectors, "{found} of {} files have deletion vectors", files.len());
        }
        Ok(())
    })?;
    fs::rename(&part, &done).with_context(|| format!("rename {}", part.display()))?;
    Ok(done)
}
