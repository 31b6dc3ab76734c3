//! The registry as serving sees it.

use boathouse_base::{BoxFuture, ModelCatalog, ModelReference, ResolvedModel, VersionSelector};
use boathouse_mlwire::Sql;

use crate::error::{Error, Result};
use crate::model::ModelVersion;
use crate::registry::Registry;
use crate::stage::Stage;

impl ModelCatalog for Registry {
    /// **Cost**: a few reads of the database; nothing is cached, so that the answer is true when it is given.
    fn resolve<'a>(&'a self, reference: &'a ModelReference) -> BoxFuture<'a, boathouse_base::Result<ResolvedModel>> {
        Box::pin(async move {
            let version = self.find(reference).await?;
            Ok(ResolvedModel { name: version.name, version: version.version, source: version.source, run_id: version.run_id })
        })
    }
}

impl Registry {
    /// The version that a reference names now.
    ///
    /// **Errors**: `NotFound` when no version answers to it; `Invalid` for a stage that does not exist.
    pub async fn find(&self, reference: &ModelReference) -> Result<ModelVersion> {
        let name = &reference.name;
        match &reference.selector {
            VersionSelector::Number(version) => self.get_version(name, *version).await,
            VersionSelector::Alias(alias) => self.get_version_by_alias(name, alias).await,
            VersionSelector::Stage(word) => {
                let stage: Stage = word.parse()?;
                let newest = self.latest_versions(name, &[stage]).await?.pop();
                newest.ok_or_else(|| Error::NothingInStage { name: name.clone(), stage })
            }
            VersionSelector::Latest => {
                let model = self.get_model(name).await?;
                // Of the newest of each stage the newest is the newest of all.
                let newest = model.latest_versions.into_iter().max_by_key(|v| v.version);
                newest.ok_or_else(|| Error::NoVersions { name: name.clone() })
            }
        }
    }

    /// How many versions a model has.
    ///
    /// **Errors**: `NotFound` without such a model.
    pub async fn count_versions(&self, name: &str) -> Result<u64> {
        let sql = Sql::new(
            "SELECT m.model_id, COUNT(v.version) AS versions FROM mr_models m LEFT JOIN mr_versions v ON v.model_id = m.model_id \
             WHERE m.name = ? GROUP BY m.model_id",
        );
        let row = self.database().fetch_optional("count model versions", sql.bind(name)).await?;
        row.map_or_else(|| Err(Error::NoModel { name: name.to_owned() }), |row| Ok(row.count("versions")?))
    }
}
