//! Tables that have a name in the session, as they are when a statement begins.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use boathouse_frames::into_datafusion;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::TableType;
use datafusion::prelude::SessionContext;

use super::lake::{Lake, Paths, default_catalog};
use crate::engine::error;
use crate::engine::ext::DeltaTableExt;

/// The catalog of a session, whose Delta tables have the columns of their newest version.
///
/// The planner asks a schema for a table once in a statement. What it asks is a [`CurrentSchema`] then, which looks at the table.
pub(super) struct CurrentCatalog {
    inner: Arc<dyn CatalogProvider>,
    lake: Lake,
}

impl CurrentCatalog {
    /// Puts itself in the place of the catalog of names without one.
    pub(super) fn join(session: &SessionContext, lake: &Lake) {
        let (name, _) = default_catalog(session);
        let Some(catalog) = session.catalog(&name) else { return };
        let inner = match <dyn CatalogProvider>::downcast_ref::<Self>(catalog.as_ref()) {
            Some(joined) => Arc::clone(&joined.inner),
            None => catalog,
        };
        session.register_catalog(name, Arc::new(Self { inner, lake: lake.clone() }));
    }
}

impl fmt::Debug for CurrentCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl CatalogProvider for CurrentCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.inner.schema_names()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let inner = self.inner.schema(name)?;
        // Paths look by themselves.
        match <dyn SchemaProvider>::downcast_ref::<Paths>(inner.as_ref()) {
            Some(_) => Some(inner),
            None => Some(Arc::new(CurrentSchema { inner, name: name.to_owned(), lake: self.lake.clone() })),
        }
    }

    fn register_schema(&self, name: &str, schema: Arc<dyn SchemaProvider>) -> Result<Option<Arc<dyn SchemaProvider>>> {
        self.inner.register_schema(name, schema)
    }

    fn deregister_schema(&self, name: &str, cascade: bool) -> Result<Option<Arc<dyn SchemaProvider>>> {
        self.inner.deregister_schema(name, cascade)
    }
}

/// A schema whose Delta tables are looked at when they are asked for. A name that it does not know may be that of a table which an
/// earlier session placed in the warehouse.
struct CurrentSchema {
    inner: Arc<dyn SchemaProvider>,
    name: String,
    lake: Lake,
}

impl fmt::Debug for CurrentSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl CurrentSchema {
    /// The table that stands where one of this name is placed, if there is one. It has the name from now on.
    async fn placed(&self, name: &str) -> error::Result<Option<Arc<dyn TableProvider>>> {
        let Some(table) = self.lake.placed(&self.name, name)? else { return Ok(None) };
        if !table.exists().await? {
            return Ok(None);
        }
        let provider: Arc<dyn TableProvider> = Arc::new(self.lake.with_footers(table.provider().await?));
        if let Err(error) = self.inner.register_table(name.to_owned(), Arc::clone(&provider)) {
            // Another statement was faster, or the schema takes no tables: it is found by its place again.
            tracing::debug!(%error, name, "a table of the warehouse got no name");
        }
        Ok(Some(provider))
    }
}

#[async_trait]
impl SchemaProvider for CurrentSchema {
    fn owner_name(&self) -> Option<&str> {
        self.inner.owner_name()
    }

    fn table_names(&self) -> Vec<String> {
        self.inner.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.inner.table(name).await? {
            Some(table) => self.lake.current(table).await.map(Some).map_err(|error| into_datafusion(error.into())),
            None => self.placed(name).await.map_err(|error| into_datafusion(error.into())),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        self.inner.table_type(name).await
    }

    fn register_table(&self, name: String, table: Arc<dyn TableProvider>) -> Result<Option<Arc<dyn TableProvider>>> {
        self.inner.register_table(name, table)
    }

    fn deregister_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.inner.deregister_table(name)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name)
    }
}
