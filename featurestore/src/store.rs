//! The feature store: names, definitions and tables.

use std::sync::Arc;

use boathouse_base::{BatchStream, Env, Table, TableResolver, TableSnapshot, TableVersion};
use boathouse_storage::Storage;

use crate::create::CreateFeatureTable;
use crate::definition::{Definitions, FeatureTableDefinition};
use crate::error::{Attempt, FeatureError, Result};
use crate::training_set::{BuildTrainingSet, Labels};
use crate::write::WriteFeatures;

/// Feature tables by name. Cheap to clone; clones are one store.
///
/// The rows live in the tables that a [`TableResolver`] gives (a Delta table of that name, say), what makes them
/// feature tables lives in a [`Storage`].
#[derive(Debug, Clone)]
pub struct FeatureStore {
    pub(crate) tables: Arc<dyn TableResolver>,
    pub(crate) definitions: Definitions,
    pub(crate) env: Env,
}

impl FeatureStore {
    /// A store over these tables, whose own state lies in `storage`. Does no I/O.
    pub fn new(tables: Arc<dyn TableResolver>, storage: &Storage, env: Env) -> Self {
        Self { tables, definitions: Definitions::new(storage), env }
    }

    /// Makes a feature table, of a table that exists or of a new one.
    pub fn create_table(&self, name: impl Into<String>) -> CreateFeatureTable<'_> {
        CreateFeatureTable::new(self, name.into())
    }

    /// Opens a feature table.
    ///
    /// **Errors**: `NotFound` names the tables there are. **Cost**: one LIST and one GET.
    pub async fn table(&self, name: &str) -> Result<FeatureTable> {
        match self.definitions.read(name).await? {
            Some(definition) => self.open(definition),
            None => Err(FeatureError::NoTable { table: name.to_owned(), known: self.table_names().await? }),
        }
    }

    /// The names of all feature tables, sorted.
    pub async fn table_names(&self) -> Result<Vec<String>> {
        self.definitions.names().await
    }

    /// Writes feature rows. Without further words it upserts: see [`FeatureWriteMode`](crate::FeatureWriteMode).
    pub fn write(&self, table: impl Into<String>, rows: impl Into<BatchStream>) -> WriteFeatures<'_> {
        WriteFeatures::new(self, table.into(), rows.into())
    }

    /// Joins features to labels, each as of the label's time.
    pub fn training_set(&self, labels: impl Into<Labels>) -> BuildTrainingSet<'_> {
        BuildTrainingSet::new(self, labels.into())
    }

    pub(crate) fn open(&self, definition: FeatureTableDefinition) -> Result<FeatureTable> {
        let table = self.tables.table(&definition.name).attempt(|| format!("open the feature table `{}`", definition.name))?;
        Ok(FeatureTable { definition, table })
    }
}

/// A feature table: a table, and which of its columns are keys.
#[derive(Debug, Clone)]
pub struct FeatureTable {
    pub(crate) definition: FeatureTableDefinition,
    pub(crate) table: Arc<dyn Table>,
}

impl FeatureTable {
    /// Its name, keys and description.
    pub fn definition(&self) -> &FeatureTableDefinition {
        &self.definition
    }

    /// The table that holds its rows.
    pub fn table(&self) -> &Arc<dyn Table> {
        &self.table
    }

    /// Opens one version of its rows.
    pub async fn snapshot(&self, version: TableVersion) -> Result<Arc<dyn TableSnapshot>> {
        self.table.snapshot(version).await.attempt(|| format!("open the feature table `{}`", self.definition.name))
    }
}
