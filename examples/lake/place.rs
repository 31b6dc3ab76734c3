//! Where tables are.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use boathouse::base::TableVersion;
use boathouse::delta::{DeltaSession, DeltaTable};
use boathouse::storage::{Location, Storage, Stores, system_env};
use datafusion::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use indicatif::{ProgressBar, ProgressStyle};

/// Opens tables by path or URL.
pub(crate) struct Place {
    pub(crate) stores: Stores,
}

/// An earlier version.
#[derive(clap::Args)]
pub(crate) struct Version {
    /// This version.
    #[arg(long, conflicts_with = "timestamp")]
    version: Option<u64>,
    /// The last version at or before this time, such as 2026-01-31 or 2026-01-31T12:00:00Z; UTC without a zone.
    #[arg(long)]
    timestamp: Option<String>,
}

impl Version {
    /// The version that was asked for; nothing for the newest one.
    pub(crate) fn asked(&self) -> Result<Option<TableVersion>> {
        match (&self.version, &self.timestamp) {
            (Some(number), _) => Ok(Some(TableVersion::Number(*number))),
            (None, Some(text)) => Ok(Some(TableVersion::AtUs(instant_us(text)?))),
            (None, None) => Ok(None),
        }
    }
}

fn instant_us(text: &str) -> Result<i64> {
    let nanos = string_to_timestamp_nanos(text).with_context(|| format!("understand the time `{text}`"))?;
    Ok(nanos.div_euclid(1000))
}

impl Place {
    pub(crate) fn new(options: &[String]) -> Result<Self> {
        let mut pairs = Vec::with_capacity(options.len());
        for option in options {
            let Some(pair) = option.split_once('=') else { bail!("understand the option `{option}`: write NAME=VALUE") };
            pairs.push(pair);
        }
        Ok(Self { stores: Stores::new().with_options(pairs) })
    }

    pub(crate) fn storage(&self, path: &str) -> Result<Storage> {
        Ok(self.stores.open(&Location::parse(path)?)?)
    }

    pub(crate) fn table(&self, path: &str) -> Result<DeltaTable> {
        Ok(DeltaTable::at(self.storage(path)?, system_env()))
    }

    pub(crate) fn session(&self) -> DeltaSession {
        DeltaSession::new(system_env()).with_stores(self.stores.clone())
    }

    /// A session in which the table is called `t`.
    pub(crate) async fn session_with(&self, path: &str) -> Result<DeltaSession> {
        let session = self.session();
        session.register("t", &self.table(path)?).await?;
        Ok(session)
    }
}

/// Shows on a terminal that work is under way, until it is dropped.
pub(crate) struct Working(ProgressBar);

impl Working {
    pub(crate) fn on(what: impl Into<String>) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(what.into());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// Says how far it is.
    pub(crate) fn rows(&self, rows: u64) {
        self.0.set_message(format!("{rows} rows"));
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
