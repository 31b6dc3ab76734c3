//! Reading and writing the tables.

mod aliases;
mod models;
mod prompts;
mod stages;
mod versions;

use boathouse_mlwire::{Sql, Transaction};

pub(crate) use self::stages::{Expected, Move};
use crate::error::{Error, Result};

/// Values of one `IN` list: far below what both databases can bind.
const CHUNK: usize = 500;

/// Locks a model, so that of two writers one waits. Returns its number.
async fn lock_model(tx: &mut Transaction, name: &str) -> Result<i64> {
    let find = Sql::new("SELECT model_id FROM mr_models WHERE name = ?").bind(name).for_update(tx.dialect());
    match tx.fetch_optional(find).await? {
        Some(row) => Ok(row.int("model_id")?),
        None => Err(Error::NoModel { name: name.to_owned() }),
    }
}

/// Checks that a version of a locked model is there.
async fn require_version(tx: &mut Transaction, model_id: i64, name: &str, version: u64) -> Result<i64> {
    let missing = || Error::NoVersion { name: name.to_owned(), version: version.to_string() };
    let number = i64::try_from(version).map_err(|_| missing())?;
    let find = Sql::new("SELECT version FROM mr_versions WHERE model_id = ? AND version = ?").bind(model_id).bind(number);
    tx.fetch_optional(find).await?.map(|_| number).ok_or_else(missing)
}

/// A change of a version is also a change of its model.
async fn touch(tx: &mut Transaction, model_id: i64, version: Option<i64>, now_ms: i64) -> Result<()> {
    tx.execute(Sql::new("UPDATE mr_models SET updated_ms = ? WHERE model_id = ?").bind(now_ms).bind(model_id)).await?;
    if let Some(version) = version {
        let update = Sql::new("UPDATE mr_versions SET updated_ms = ? WHERE model_id = ? AND version = ?");
        tx.execute(update.bind(now_ms).bind(model_id).bind(version)).await?;
    }
    Ok(())
}
