//! Deletion vectors against copies, by the share of rows that is deleted or updated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use boathouse_base::{Env, TableVersion};
use boathouse_delta_core::{DeltaTableExt, RowChangeSettings, session};
use boathouse_storage::system_env;

use super::row_changes::{RowChanges, link, size};
use super::{Bar, Claim, Peer, Run};
use crate::harness::Settings;
use crate::measure::{Measured, Stopwatch};
use crate::tpch::{self, QUERIES};

/// Of each file, as percent.
const SHARES: [u32; 7] = [1, 5, 10, 20, 30, 50, 70];
/// How often a query is run: the fastest counts.
const READS: usize = 3;

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shares {
    Marked,
    Copied,
}

impl Shares {
    pub(crate) const ALL: [Self; 2] = [Self::Marked, Self::Copied];

    fn settings(self) -> RowChangeSettings {
        RowChangeSettings {
            copy_above_percent: match self {
                Self::Marked => 100,
                Self::Copied => 0,
            },
        }
    }
}

impl Claim for Shares {
    fn name(&self) -> &'static str {
        match self {
            Self::Marked => "shares-marked",
            Self::Copied => "shares-copied",
        }
    }

    fn sentence(&self) -> &'static str {
        match self {
            Self::Marked => {
                "DELETE and UPDATE 1 % to 70 % of the rows of 12 files by deletion vectors, and TPC-H Q1 afterwards: where copies \
                 become cheaper"
            }
            Self::Copied => "the same by copies of files: a baseline",
        }
    }

    fn peers(&self) -> Vec<Peer> {
        match self {
            Self::Marked => vec![Peer::Claim("shares-copied")],
            Self::Copied => Vec::new(),
        }
    }

    fn bar(&self) -> Bar {
        Bar::default()
    }

    fn prepare(&self, settings: &Settings, folder: &Path) -> Result<PathBuf> {
        RowChanges::DeleteScattered.prepare(settings, folder)
    }

    fn ours(&self, Run { data, output, .. }: Run<'_>) -> Result<Measured> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (_, read) = QUERIES.iter().find(|(name, _)| *name == "q01").context("there is a Q1")?;
        let env = system_env();
        let watch = Stopwatch::start()?;
        let (mut parts, mut written) = (BTreeMap::new(), 0);
        for share in SHARES {
            for what in ["delete", "update"] {
                let folder = output.join(format!("{what}-{share}"));
                link(&data.join("ours"), &folder)?;
                let before = size(&folder)?;
                let table = tpch::at(&folder)?;
                let chosen = format!("(l_orderkey * 7919 + l_linenumber) % 100 < {share}");
                let rows = {
                    let began_us = env.monotonic_us();
                    let rows = runtime.block_on(async {
                        anyhow::Ok(match what {
                            "delete" => {
                                table.delete().filter(chosen).with_row_change_settings(self.settings()).run().await?.rows_deleted
                            }
                            _ => {
                                let update = table.update().set("l_comment", "'changed'").filter(chosen);
                                Some(update.with_row_change_settings(self.settings()).run().await?.rows_updated)
                            }
                        })
                    })?;
                    parts.insert(format!("{share:02} % {what}"), since(&env, began_us));
                    rows
                };
                ensure!(rows.is_some_and(|rows| rows > 0), "nothing was changed");
                written += size(&folder)?.saturating_sub(before);
                let fastest = runtime.block_on(async {
                    let lake = session();
                    let provider = table.provider_at(TableVersion::Latest).await?.with_views();
                    lake.context().register_table("lineitem", std::sync::Arc::new(provider))?;
                    let mut fastest = f64::INFINITY;
                    for _ in 0..READS {
                        let began_us = env.monotonic_us();
                        lake.query(read).await?.collect().await?;
                        fastest = fastest.min(since(&env, began_us));
                    }
                    anyhow::Ok(fastest)
                })?;
                parts.insert(format!("{share:02} % {what}, Q1 after"), fastest);
            }
        }
        Ok(Measured { parts, ..watch.stop(1, written)? })
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a run have few digits")]
fn since(env: &Env, began_us: u64) -> f64 {
    (env.monotonic_us() - began_us) as f64 / 1e6
}
