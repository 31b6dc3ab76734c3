//! The session that a transformation is planned in: the caller's, with the sources laid over it.
//!
//! The caller's session is shared by queries and threads, so nothing is registered in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider, TableProvider,
};
use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::plan::register;

/// The name of a source in SQL that was given none.
pub(crate) const SOURCE: &str = "source";

/// The session of a query that was not given one: one partition, because the rows of a micro-batch are few and their
/// order should not depend on threads; text columns as `Utf8`, which every sink knows.
pub(crate) fn default_session() -> SessionContext {
    single_session(Arc::default())
}

/// A session of one partition that shares memory and spill limits.
pub(crate) fn single_session(runtime: Arc<RuntimeEnv>) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    SessionContext::new_with_config_rt(config, runtime)
}

/// `session` with these tables over its own, and the functions of windows. Everything else is the same objects.
pub(crate) fn overlay(session: &SessionContext, tables: BTreeMap<String, Arc<dyn TableProvider>>) -> Result<SessionContext> {
    let state = session.state();
    let options = &state.config().options().catalog;
    let (default_catalog, default_schema) = (options.default_catalog.clone(), options.default_schema.clone());
    let catalogs = MemoryCatalogProviderList::new();
    let below = state.catalog_list();
    for name in below.catalog_names() {
        if let Some(catalog) = below.catalog(&name).filter(|_| name != default_catalog) {
            catalogs.register_catalog(name, catalog);
        }
    }
    let catalog = MemoryCatalogProvider::new();
    let mut beneath = None;
    if let Some(original) = below.catalog(&default_catalog) {
        for name in original.schema_names() {
            match original.schema(&name) {
                Some(schema) if name == default_schema => beneath = Some(schema),
                Some(schema) => drop(catalog.register_schema(&name, schema)?),
                None => {}
            }
        }
    }
    catalog.register_schema(&default_schema, Arc::new(Overlay { tables, beneath }))?;
    catalogs.register_catalog(default_catalog, Arc::new(catalog));
    let config = state.config().clone().with_create_default_catalog_and_schema(false);
    let state = SessionStateBuilder::new_from_existing(state).with_config(config).with_catalog_list(Arc::new(catalogs)).build();
    let session = SessionContext::new_with_state(state);
    register(&session);
    Ok(session)
}

/// A schema with more tables.
#[derive(Debug)]
struct Overlay {
    tables: BTreeMap<String, Arc<dyn TableProvider>>,
    beneath: Option<Arc<dyn SchemaProvider>>,
}

#[async_trait]
impl SchemaProvider for Overlay {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.beneath.as_ref().map(|schema| schema.table_names()).unwrap_or_default();
        names.retain(|name| !self.tables.contains_key(name));
        names.extend(self.tables.keys().cloned());
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = self.tables.get(name) {
            return Ok(Some(Arc::clone(table)));
        }
        match &self.beneath {
            Some(schema) => schema.table(name).await,
            None => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.contains_key(name) || self.beneath.as_ref().is_some_and(|schema| schema.table_exist(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::MemTable;

    fn table(column: &str) -> Arc<dyn TableProvider> {
        let schema = Arc::new(Schema::new(vec![Field::new(column, DataType::Int64, true)]));
        Arc::new(MemTable::try_new(schema, vec![vec![]]).unwrap())
    }

    #[tokio::test]
    async fn an_overlay_shows_both_tables_and_leaves_the_session_below_as_it_was() {
        let below = SessionContext::new();
        below.register_table("carriers", table("name")).unwrap();
        let above = overlay(&below, BTreeMap::from([(SOURCE.to_owned(), table("id"))])).unwrap();
        let frame = above.sql("SELECT id, name FROM source CROSS JOIN carriers").await.unwrap();
        assert_eq!(frame.schema().fields().len(), 2);
        assert!(!below.table_exist(SOURCE).unwrap());
    }
}
