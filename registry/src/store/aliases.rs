//! Aliases: names that people give to versions.

use boathouse_mlwire::Sql;

use super::{lock_model, require_version, touch};
use crate::error::{Error, Result};
use crate::limits;
use crate::model::ModelVersion;
use crate::registry::Registry;

impl Registry {
    /// Gives a version an alias. A version that had it loses it.
    ///
    /// **Errors**: `NotFound`; `Invalid` for `latest`, `v1` and the like, or odd characters.
    pub async fn set_alias(&self, name: &str, alias: &str, version: u64) -> Result<()> {
        limits::alias(alias)?;
        let mut tx = self.database().begin("set an alias").await?;
        let model_id = lock_model(&mut tx, name).await?;
        let number = require_version(&mut tx, model_id, name, version).await?;
        let upsert = Sql::new(
            "INSERT INTO mr_aliases (model_id, alias, version) VALUES (?, ?, ?) \
             ON CONFLICT (model_id, alias) DO UPDATE SET version = excluded.version",
        );
        tx.execute(upsert.bind(model_id).bind(alias).bind(number)).await?;
        touch(&mut tx, model_id, None, self.now_ms()).await?;
        Ok(tx.commit().await?)
    }

    /// Takes an alias away, if it is there.
    ///
    /// **Errors**: `NotFound` without such a model.
    pub async fn delete_alias(&self, name: &str, alias: &str) -> Result<()> {
        let mut tx = self.database().begin("delete an alias").await?;
        let model_id = lock_model(&mut tx, name).await?;
        tx.execute(Sql::new("DELETE FROM mr_aliases WHERE model_id = ? AND alias = ?").bind(model_id).bind(alias)).await?;
        touch(&mut tx, model_id, None, self.now_ms()).await?;
        Ok(tx.commit().await?)
    }

    /// The version that has an alias.
    ///
    /// **Errors**: `NotFound` without such a model or alias.
    pub async fn get_version_by_alias(&self, name: &str, alias: &str) -> Result<ModelVersion> {
        match self.get_model(name).await?.aliases.get(alias) {
            Some(version) => self.get_version(name, *version).await,
            None => Err(Error::NoAlias { name: name.to_owned(), alias: alias.to_owned() }),
        }
    }
}
