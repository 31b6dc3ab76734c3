//! What tables and schemas there are, which schema is the current one, and tables that go.
//!
//! ```text
//!   SHOW TABLES [{ IN | FROM } schema] [[LIKE] 'pattern']      SHOW { SCHEMAS | DATABASES } [[LIKE] 'pattern']
//!   USE [SCHEMA | DATABASE] schema                              DROP TABLE [IF EXISTS] t [PURGE]
//!   CREATE { SCHEMA | DATABASE } [IF NOT EXISTS] schema         DROP { SCHEMA | DATABASE } [IF EXISTS] schema [RESTRICT | CASCADE]
//!   CREATE TABLE [IF NOT EXISTS] t LIKE s [LOCATION '…'] [TBLPROPERTIES (…)]
//! ```

use std::sync::Arc;

use boathouse_delta_table::{DeltaError, DeltaTable};
use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use datafusion::catalog::{CatalogProvider, MemorySchemaProvider, TableProvider};
use datafusion::prelude::SessionContext;

use super::create_text::create_text;
use super::cursor::{Cursor, TableName};
use super::dml::StatementReport;
use super::lake::{SCHEMA, default_catalog};
use super::run::{Run, nearest, reference};
use super::statements::{self, Create, Statement, table_properties};
use crate::engine::error::{EngineError, Result};
use crate::engine::provider::DeltaTableProvider;

/// The schema of the engine's own tables.
const INFORMATION: &str = "information_schema";

/// A statement about names.
#[derive(Debug)]
pub(crate) enum CatalogStatement {
    Tables { schema: Option<String>, pattern: Option<String> },
    Schemas { pattern: Option<String> },
    Use(String),
    CreateSchema { schema: String, if_not_exists: bool },
    DropSchema { schema: String, if_exists: bool, cascade: bool },
    Drop { table: TableName, if_exists: bool },
    CreateLike(Box<CreateLike>),
}

/// `CREATE TABLE t LIKE s`.
#[derive(Debug)]
pub(crate) struct CreateLike {
    table: TableName,
    source: TableName,
    if_not_exists: bool,
    location: Option<String>,
    properties: Vec<(String, String)>,
}

/// Reads one; nothing, with the cursor where it was, when it is another statement.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Option<CatalogStatement>> {
    let start = cursor.place();
    let statement = if cursor.takes(&["SHOW", "TABLES"]) {
        let schema = if cursor.takes(&["IN"]) || cursor.takes(&["FROM"]) { Some(cursor.name("a schema")?) } else { None };
        CatalogStatement::Tables { schema, pattern: pattern(cursor)? }
    } else if cursor.takes(&["SHOW", "SCHEMAS"]) || cursor.takes(&["SHOW", "DATABASES"]) {
        CatalogStatement::Schemas { pattern: pattern(cursor)? }
    } else if cursor.takes(&["USE"]) {
        let _ = cursor.takes(&["SCHEMA"]) || cursor.takes(&["DATABASE"]);
        CatalogStatement::Use(cursor.name("a schema")?)
    } else if cursor.takes(&["CREATE", "SCHEMA"]) || cursor.takes(&["CREATE", "DATABASE"]) {
        let if_not_exists = cursor.takes(&["IF", "NOT", "EXISTS"]);
        CatalogStatement::CreateSchema { schema: cursor.name("a schema")?, if_not_exists }
    } else if cursor.takes(&["DROP", "SCHEMA"]) || cursor.takes(&["DROP", "DATABASE"]) {
        let if_exists = cursor.takes(&["IF", "EXISTS"]);
        let schema = cursor.name("a schema")?;
        let cascade = !cursor.takes(&["RESTRICT"]) && cursor.takes(&["CASCADE"]);
        CatalogStatement::DropSchema { schema, if_exists, cascade }
    } else if cursor.takes(&["DROP", "TABLE"]) {
        let if_exists = cursor.takes(&["IF", "EXISTS"]);
        let table = cursor.table_or_path()?;
        cursor.takes(&["PURGE"]);
        CatalogStatement::Drop { table, if_exists }
    } else if let Some(like) = create_like(cursor)? {
        CatalogStatement::CreateLike(Box::new(like))
    } else {
        cursor.go_to(start);
        return Ok(None);
    };
    cursor.expect_end()?;
    Ok(Some(statement))
}

/// `[LIKE] 'pattern'`, if it stands here.
fn pattern(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    let like = cursor.takes(&["LIKE"]);
    if like || !cursor.is_at_end() { cursor.string("a pattern in quotes").map(Some) } else { Ok(None) }
}

fn create_like(cursor: &mut Cursor<'_>) -> Result<Option<CreateLike>> {
    if !cursor.takes(&["CREATE", "TABLE"]) {
        return Ok(None);
    }
    let if_not_exists = cursor.takes(&["IF", "NOT", "EXISTS"]);
    let Ok(table) = cursor.table() else { return Ok(None) };
    if !cursor.takes(&["LIKE"]) {
        return Ok(None);
    }
    let mut like = CreateLike { table, source: cursor.table()?, if_not_exists, location: None, properties: Vec::new() };
    while !cursor.is_at_end() {
        if cursor.takes(&["LOCATION"]) {
            like.location = Some(cursor.string("a path or URL")?);
        } else if cursor.takes(&["TBLPROPERTIES"]) {
            like.properties = table_properties(cursor)?;
        } else if cursor.takes(&["USING"]) {
            cursor.expect(&["DELTA"])?;
        } else {
            return Err(cursor.wanted("USING DELTA, LOCATION, TBLPROPERTIES or the end"));
        }
    }
    Ok(Some(like))
}

impl Run<'_> {
    pub(super) async fn catalog(&self, statement: CatalogStatement) -> Result<StatementReport> {
        match statement {
            CatalogStatement::Tables { schema, pattern } => self.show_tables(schema, pattern.as_deref()).await,
            CatalogStatement::Schemas { pattern } => {
                let names = self.schemas().into_iter().filter(|name| matches(pattern.as_deref(), name));
                let names: StringArray = names.map(Some).collect();
                self.rows(RecordBatch::try_from_iter([("namespace", Arc::new(names) as ArrayRef)]))
            }
            CatalogStatement::Use(schema) => self.use_schema(schema),
            CatalogStatement::CreateSchema { schema, if_not_exists } => self.create_schema(&schema, if_not_exists),
            CatalogStatement::DropSchema { schema, if_exists, cascade } => self.drop_schema(&schema, if_exists, cascade).await,
            CatalogStatement::Drop { table, if_exists } => self.drop_table(&table, if_exists).await,
            CatalogStatement::CreateLike(like) => self.create_like(*like).await,
        }
    }

    /// Schemas of tables with names.
    fn schemas(&self) -> Vec<String> {
        let mut names = self.current_catalog().map(|catalog| catalog.schema_names()).unwrap_or_default();
        names.retain(|name| name != SCHEMA && name != INFORMATION);
        names.sort();
        names
    }

    fn current_catalog(&self) -> Option<Arc<dyn CatalogProvider>> {
        self.session.catalog(&default_catalog(self.session).0)
    }

    async fn show_tables(&self, schema: Option<String>, pattern: Option<&str>) -> Result<StatementReport> {
        let schema = schema.unwrap_or_else(|| default_catalog(self.session).1);
        let mut names = self.tables_of(&schema).await?;
        names.retain(|name| matches(pattern, name));
        let schemas: StringArray = names.iter().map(|_| Some(&schema)).collect();
        let temporary: BooleanArray = names.iter().map(|_| Some(false)).collect();
        let names: StringArray = names.into_iter().map(Some).collect();
        self.rows(RecordBatch::try_from_iter([
            ("namespace", Arc::new(schemas) as ArrayRef),
            ("tableName", Arc::new(names)),
            ("isTemporary", Arc::new(temporary)),
        ]))
    }

    /// The tables of a schema: those with a name, and those that another session placed.
    async fn tables_of(&self, schema: &str) -> Result<Vec<String>> {
        let tables = match self.current_catalog().and_then(|catalog| catalog.schema(schema)) {
            Some(tables) if schema != SCHEMA => tables,
            _ => return Err(self.no_schema(schema)),
        };
        let mut names = tables.table_names();
        names.extend(self.lake.placed_tables(schema).await?);
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn no_schema(&self, schema: &str) -> EngineError {
        EngineError::NoSuchSchema { statement: self.text.to_owned(), table: schema.to_owned(), known: self.schemas().join(", ") }
    }

    /// Makes a schema the one of names without a schema.
    fn use_schema(&self, schema: String) -> Result<StatementReport> {
        if !self.schemas().contains(&schema) {
            return Err(self.no_schema(&schema));
        }
        self.session.state_ref().write().config_mut().options_mut().catalog.default_schema = schema;
        self.nothing()
    }

    fn create_schema(&self, schema: &str, if_not_exists: bool) -> Result<StatementReport> {
        let Some(catalog) = self.current_catalog() else { return Err(self.no_schema(schema)) };
        if catalog.schema(schema).is_some() {
            return match if_not_exists {
                true => self.nothing(),
                false => Err(EngineError::SchemaExists { statement: self.text.to_owned(), schema: schema.to_owned() }),
            };
        }
        let made = catalog.register_schema(schema, Arc::new(MemorySchemaProvider::new()));
        made.map_err(|error| self.failed("make the schema", error))?;
        self.nothing()
    }

    /// Takes a schema away; with `cascade` its tables go before it.
    async fn drop_schema(&self, schema: &str, if_exists: bool, cascade: bool) -> Result<StatementReport> {
        let catalog = self.current_catalog().filter(|_| self.schemas().iter().any(|known| known == schema));
        let Some(catalog) = catalog else {
            return if if_exists { self.nothing() } else { Err(self.no_schema(schema)) };
        };
        if schema == default_catalog(self.session).1 {
            return Err(EngineError::Unsupported {
                statement: self.text.to_owned(),
                what: "DROP SCHEMA of the current schema",
                instead: "USE another one first",
            });
        }
        let tables = self.tables_of(schema).await?;
        if !cascade && !tables.is_empty() {
            let (statement, schema) = (self.text.to_owned(), schema.to_owned());
            return Err(EngineError::SchemaNotEmpty { statement, schema, tables: tables.join(", ") });
        }
        for table in tables {
            let name = TableName { parts: vec![schema.to_owned(), table], bytes: 0..0 };
            self.drop_table(&name, true).await?;
        }
        catalog.deregister_schema(schema, true).map_err(|error| self.failed("take the schema away", error))?;
        self.nothing()
    }

    fn nothing(&self) -> Result<StatementReport> {
        let frame = self.session.read_empty().map_err(|error| self.failed("say that it is done", error))?;
        Ok(StatementReport::Rows(Box::new(frame)))
    }

    /// Takes a name away, and the files of a table that the session placed itself.
    async fn drop_table(&self, name: &TableName, if_exists: bool) -> Result<StatementReport> {
        if name.path().is_some() {
            return Err(EngineError::Unsupported {
                statement: self.text.to_owned(),
                what: "DROP TABLE of a path",
                instead: "delete the folder, or call `DeltaTable::erase`",
            });
        }
        let provider = match self.session.table_provider(reference(name)).await {
            Ok(provider) => Some(provider),
            // A drop that was interrupted left a folder without a table.
            Err(_) if self.is_left_over(name).await? => None,
            Err(_) if if_exists => return self.nothing(),
            Err(_) => {
                let (table, nearest) = (name.to_string(), nearest(self.session, name.last()));
                return Err(EngineError::NoSuchTable { statement: self.text.to_owned(), table, nearest });
            }
        };
        let url = provider.as_deref().and_then(|provider| <dyn TableProvider>::downcast_ref::<DeltaTableProvider>(provider));
        let url = url.map(|delta| delta.table().url().to_owned());
        // First the files: a name that is left leads to what is left of them.
        if let Some(table) = self.placed(name)?
            && (provider.is_none() || url.as_deref() == Some(table.url()))
        {
            table.erase().await?;
            self.lake.forget(table.url());
        }
        self.session.deregister_table(reference(name)).map_err(|error| self.failed("take the name away", error))?;
        self.nothing()
    }

    /// The table of this name, if the session would place it itself.
    pub(super) fn placed(&self, name: &TableName) -> Result<Option<DeltaTable>> {
        let (catalog, schema) = default_catalog(self.session);
        let whole = reference(name).resolve(&catalog, &schema);
        if name.path().is_some() || *whole.catalog != *catalog { Ok(None) } else { self.lake.placed(&whole.schema, &whole.table) }
    }

    /// Whether a drop that was interrupted left files where the table stood.
    async fn is_left_over(&self, name: &TableName) -> Result<bool> {
        match self.placed(name)? {
            Some(table) => Ok(!table.storage().list("").await.map_err(DeltaError::from)?.is_empty()),
            None => Ok(false),
        }
    }

    async fn create_like(&self, like: CreateLike) -> Result<StatementReport> {
        let snapshot = self.table(&like.source).await?.snapshot().await?;
        let text = create_text("new_table", &snapshot, None)?;
        let Some(Statement::Create(create)) = boxed_parse(self.session, &text).await? else {
            return Err(EngineError::NoColumns { statement: self.text.to_owned() });
        };
        let Create { columns, partition_columns, clustering, mut properties, comment, .. } = *create;
        properties.retain(|(key, _)| !like.properties.iter().any(|(other, _)| other == key));
        properties.extend(like.properties);
        self.create(Create {
            table: like.table,
            if_not_exists: like.if_not_exists,
            or_replace: false,
            columns,
            partition_columns,
            clustering,
            properties,
            comment,
            location: like.location,
            query: None,
        })
        .await
    }
}

/// Reads a statement within one.
async fn boxed_parse(session: &SessionContext, text: &str) -> Result<Option<Statement>> {
    Box::pin(statements::parse(session, text)).await
}

/// Whether a name is one of `a*|b`: `*` stands for any letters, and letter case does not count.
fn matches(pattern: Option<&str>, name: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    let (pattern, name) = (pattern.to_lowercase(), name.to_lowercase());
    pattern.split('|').any(|one| matches_one(one.trim(), &name))
}

fn matches_one(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(before) else { return false };
    rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| matches_one(after, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_know_stars_alternatives_and_no_letter_case() {
        assert!(matches(None, "any"));
        assert!(matches(Some("fl*"), "Flights") && matches(Some("*s"), "flights") && matches(Some("f*g*s"), "flights"));
        assert!(matches(Some("a|flights"), "flights") && !matches(Some("fl"), "flights") && !matches(Some("*x"), "flights"));
        assert!(matches(Some("*"), "") && !matches(Some("a*a"), "a"));
    }
}
