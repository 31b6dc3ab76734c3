//! Statements of Delta, run.

use std::sync::Arc;

use boathouse_base::BatchStream;
use boathouse_delta_protocol::schema::StructType;
use boathouse_delta_table::{AlterReport, DataWriterSettings, DeltaError, DeltaTable};
use boathouse_frames::{batch_stream, from_datafusion};
use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::prelude::{DataFrame, SessionContext};

use super::cursor::TableName;
use super::dml::StatementReport;
use super::lake::{Lake, SCHEMA, default_catalog};
use super::statements::{Change, Create, Statement};
use super::{defaults, file_metadata, show, travel, upkeep};
use crate::engine::assign::place;
use crate::engine::boxed::boxed;
use crate::engine::cast::loose;
use crate::engine::error::{Attempt, EngineError, Result};
use crate::engine::ext::DeltaTableExt;
use crate::engine::fan_out::{Partitions, arranged};
use crate::engine::provider::DeltaTableProvider;
use crate::engine::spelling;

/// A statement at work.
pub(crate) struct Run<'a> {
    pub(crate) session: &'a SessionContext,
    pub(crate) lake: &'a Lake,
    /// The statement.
    pub(crate) text: &'a str,
}

/// The table that a statement names: by path, or one that the session knows.
///
/// **Errors**: `NotFound` names the nearest table; `Invalid` when it is no Delta table.
pub(crate) async fn table_named(session: &SessionContext, lake: &Lake, name: &TableName, text: &str) -> Result<DeltaTable> {
    if let Some(path) = name.path() {
        return lake.open(path);
    }
    let provider = provider_named(session, name, text).await?;
    match <dyn TableProvider>::downcast_ref::<DeltaTableProvider>(provider.as_ref()) {
        Some(delta) => Ok(delta.table().clone()),
        None => Err(EngineError::NotDelta { statement: text.to_owned(), table: name.to_string() }),
    }
}

pub(super) fn reference(name: &TableName) -> TableReference {
    match name.parts.as_slice() {
        [catalog, schema, table] => TableReference::full(catalog.as_str(), schema.as_str(), table.as_str()),
        [schema, table] => TableReference::partial(schema.as_str(), table.as_str()),
        _ => TableReference::bare(name.last()),
    }
}

pub(super) async fn provider_named(session: &SessionContext, name: &TableName, text: &str) -> Result<Arc<dyn TableProvider>> {
    match session.table_provider(reference(name)).await {
        Ok(provider) => Ok(provider),
        Err(error) if session.table_exist(reference(name)).unwrap_or(false) => {
            Err(EngineError::Plan { statement: text.to_owned(), source: from_datafusion("look at the table", error) })
        }
        Err(_) => Err(EngineError::NoSuchTable {
            statement: text.to_owned(),
            table: name.to_string(),
            nearest: nearest(session, name.last()),
        }),
    }
}

/// Gives a table its name again: its columns may be others now. A path needs none.
pub(crate) async fn name_again(session: &SessionContext, table: &DeltaTable, name: &TableName, text: &str) -> Result<()> {
    if name.path().is_some() {
        return Ok(());
    }
    let failed = |error| EngineError::Plan { statement: text.to_owned(), source: from_datafusion("name the table", error) };
    let provider = Arc::new(table.provider().await?);
    let name = reference(name);
    session.deregister_table(name.clone()).map_err(failed)?;
    session.register_table(name, provider).map_err(failed)?;
    Ok(())
}

/// What a table might have been meant to be: the names that the session has, the nearest first.
pub(crate) fn nearest(session: &SessionContext, name: &str) -> String {
    let (catalog, schema) = default_catalog(session);
    let schema = session.catalog(&catalog).and_then(|catalog| catalog.schema(&schema));
    let names = schema.map(|schema| schema.table_names()).unwrap_or_default();
    let nothing = || "the session has no table; register it, or write delta.`path`".to_owned();
    crate::engine::nearest::nearest(name, names).unwrap_or_else(nothing)
}

/// The properties of a new table: it has deletion vectors, unless the statement says otherwise.
fn properties_of(new: &Create) -> Vec<(&str, &str)> {
    const VECTORS: &str = "delta.enableDeletionVectors";
    let mut properties: Vec<(&str, &str)> = new.properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    if !properties.iter().any(|(key, _)| key.eq_ignore_ascii_case(VECTORS)) {
        properties.push((VECTORS, "true"));
    }
    properties
}

impl Run<'_> {
    pub(crate) async fn statement(&self, statement: Statement) -> Result<StatementReport> {
        match statement {
            Statement::Catalog(statement) => boxed(|| self.catalog(statement)).await,
            Statement::Describe(question) => boxed(|| self.describe(question)).await,
            Statement::Create(new) => boxed(|| self.create(*new)).await,
            Statement::Alter(table, changes) => boxed(|| self.alter(&table, changes)).await,
            Statement::ReplaceWhere { table, condition, query } => boxed(|| self.replace_where(&table, &condition, &query)).await,
            Statement::ReplaceUsing { table, columns, query } => boxed(|| self.replace_using(&table, columns, &query)).await,
            Statement::Insert(insert) => boxed(|| self.insert(*insert)).await,
            Statement::Optimize(optimize) => {
                let table = self.table(&optimize.table).await?;
                Ok(StatementReport::Optimize(Box::new(boxed(|| optimize.run(self.session, &table)).await?)))
            }
            Statement::ClusterBy(table, columns) => {
                let table = self.table(&table).await?;
                Ok(StatementReport::ClusterBy(boxed(|| table.cluster_by(columns).run()).await?))
            }
            Statement::DropFeature { table, feature, truncate_history } => {
                let table = self.table(&table).await?;
                let report = boxed(|| upkeep::drop_feature(&table, &feature, truncate_history)).await?;
                Ok(StatementReport::DropFeature(report))
            }
            Statement::Vacuum { table, scope, retention, dry_run } => {
                let vacuum = self.table(&table).await?.vacuum().scope(scope).retention(retention);
                let report = if dry_run { boxed(|| vacuum.dry_run()).await? } else { boxed(|| vacuum.run()).await? };
                Ok(StatementReport::Vacuum(report))
            }
            Statement::Restore(table, version) => {
                let table = self.table(&table).await?;
                Ok(StatementReport::Restore(boxed(|| table.restore(version).run()).await?))
            }
            Statement::Clone(clone) => Ok(StatementReport::Clone(boxed(|| self.clone_table(*clone)).await?)),
            Statement::Copy(copy) => boxed(|| self.copy(*copy)).await,
            Statement::Convert(convert) => Ok(StatementReport::Convert(boxed(|| self.convert(*convert)).await?)),
            Statement::Fsck { table, dry_run } => {
                let fsck = self.table(&table).await?.fsck();
                Ok(StatementReport::Fsck(if dry_run { boxed(|| fsck.dry_run()).await? } else { boxed(|| fsck.run()).await? }))
            }
            Statement::Manifest(table) => Ok(StatementReport::Manifest(self.table(&table).await?.manifest().run().await?)),
            Statement::History(table, limit) => {
                let history = self.table(&table).await?.history(limit).await?;
                self.rows(show::history(&history))
            }
            Statement::Detail(table) => {
                let snapshot = self.table(&table).await?.snapshot().await?;
                self.rows(show::detail(&snapshot).await?)
            }
            Statement::Properties(table, key) => {
                let snapshot = self.table(&table).await?.snapshot().await?;
                self.rows(show::properties(&snapshot, &table, key.as_deref()))
            }
        }
    }

    pub(super) async fn table(&self, name: &TableName) -> Result<DeltaTable> {
        table_named(self.session, self.lake, name, self.text).await
    }

    pub(super) fn failed(&self, attempt: &'static str, error: DataFusionError) -> EngineError {
        EngineError::Plan { statement: self.text.to_owned(), source: from_datafusion(attempt, error) }
    }

    pub(super) fn rows(
        &self,
        batch: Result<datafusion::arrow::array::RecordBatch, datafusion::arrow::error::ArrowError>,
    ) -> Result<StatementReport> {
        let batch = batch.map_err(|source| self.failed("put the rows together", source.into()))?;
        let frame = self.session.read_batch(batch).map_err(|error| self.failed("show the rows", error))?;
        Ok(StatementReport::Rows(Box::new(frame)))
    }

    /// A query within the statement, with its earlier versions.
    pub(super) async fn query(&self, query: &str) -> Result<DataFrame> {
        let (query, _guards) = travel::resolve(self.session, self.lake, query).await?;
        let failed = |error| self.failed("plan the query", error);
        let state = self.session.state();
        let dialect = state.config_options().sql_parser.dialect;
        let mut parsed = state.sql_to_statement(&query, &dialect).map_err(failed)?;
        let _exposed = file_metadata::expose(self.session, self.lake, &mut parsed, self.text).await?;
        let plan = spelling::plan(self.session, parsed).await.map_err(failed)?;
        self.session.execute_logical_plan(plan).await.map_err(failed)
    }

    /// The schema that a named table is to stand in, which must be there before anything is written.
    fn known_schema(&self, name: &TableName) -> Result<String> {
        let (catalog, schema) = default_catalog(self.session);
        let wanted = reference(name).resolve(&catalog, &schema);
        let found = self.session.catalog(&wanted.catalog);
        if found.as_ref().and_then(|catalog| catalog.schema(&wanted.schema)).is_none() {
            let known = found.map_or_else(|| self.session.catalog_names(), |catalog| catalog.schema_names());
            return Err(EngineError::NoSuchSchema {
                statement: self.text.to_owned(),
                table: name.to_string(),
                known: known
                    .iter()
                    .filter(|name| *name != SCHEMA && *name != "information_schema")
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", "),
            });
        }
        Ok(wanted.schema.to_string())
    }

    /// Where a new table is to be.
    pub(super) fn place_of(&self, name: &TableName, location: Option<&str>) -> Result<String> {
        if let (Some(path), Some(location)) = (name.path(), location)
            && path.trim_end_matches('/') != location.trim_end_matches('/')
        {
            return Err(EngineError::Unsupported {
                statement: self.text.to_owned(),
                what: "a path as the name of a table, and another one as its LOCATION",
                instead: "name one place",
            });
        }
        if let Some(path) = name.path() {
            return Ok(path.to_owned());
        }
        let schema = self.known_schema(name)?;
        let place = location.map(str::to_owned).or_else(|| self.lake.managed(&schema, name.last()));
        place.ok_or_else(|| EngineError::Unsupported {
            statement: self.text.to_owned(),
            what: "a table without a place",
            instead: "write LOCATION, or give the session a warehouse",
        })
    }

    /// Lets the session know a table by its name, unless that is its path. A name that it had before now means this table.
    pub(super) async fn give_name(&self, name: &TableName, table: &DeltaTable) -> Result<()> {
        if name.path().is_some() {
            return Ok(());
        }
        let provider = Arc::new(table.provider().await?);
        let name = reference(name);
        if self.session.table_exist(name.clone()).unwrap_or(false) {
            self.session.deregister_table(name.clone()).map_err(|error| self.failed("name the table", error))?;
        }
        self.session.register_table(name, provider).map_err(|error| self.failed("name the table", error))?;
        Ok(())
    }

    pub(super) async fn create(&self, new: Create) -> Result<StatementReport> {
        let location = self.place_of(&new.table, new.location.as_deref())?;
        let table = self.lake.open(&location)?;
        let present = table.try_snapshot().await?.map(|snapshot| snapshot.version());
        let there = match (present, &new.query) {
            // A name for what is there.
            (Some(version), None) if new.columns.is_empty() && !new.or_replace => Some(version),
            (version, _) => version.filter(|_| new.if_not_exists),
        };
        let report = match there {
            Some(version) => StatementReport::Create { version, created: false, rows: 0 },
            None => self.make(&table, &new, present).await?,
        };
        self.give_name(&new.table, &table).await?;
        Ok(report)
    }

    /// Makes a table, or makes one anew that is there.
    async fn make(&self, table: &DeltaTable, new: &Create, present: Option<u64>) -> Result<StatementReport> {
        if let Some(version) = present.filter(|_| !new.or_replace) {
            return Err(DeltaError::TableExists { url: table.url().to_owned(), version }.into());
        }
        let unsupported = |what, instead| EngineError::Unsupported { statement: self.text.to_owned(), what, instead };
        let (schema, rows) = match &new.query {
            None if new.columns.is_empty() => return Err(EngineError::NoColumns { statement: self.text.to_owned() }),
            None => {
                let attempt = Attempt::new("create", table.url());
                for field in &new.columns {
                    if let Some(default) = field.metadata().get("CURRENT_DEFAULT") {
                        defaults::check(field, default, self.session, &attempt)?;
                    }
                }
                (Schema::new(new.columns.clone()), None)
            }
            Some(_) if !new.columns.is_empty() => {
                return Err(unsupported(
                    "columns and a query in one CREATE TABLE",
                    "name the columns in the query, or insert afterwards",
                ));
            }
            Some(query) => {
                let rows = self.stream(self.query(query).await?).await?;
                // What a query promises of its rows is no rule for those that come later.
                let columns: Vec<_> = rows.schema().fields().iter().map(|field| loose(field)).collect();
                let columns = StructType::from_arrow(&Schema::new(columns));
                let columns = columns.map_err(|source| DeltaError::Protocol { url: table.url().to_owned(), source })?;
                (columns.as_data().to_arrow(), Some(rows))
            }
        };
        let properties = properties_of(new);
        let mut create = table.create(schema).partition_by(new.partition_columns.clone()).cluster_by(new.clustering.clone());
        for (key, value) in &properties {
            create = create.property(*key, *value);
        }
        if let Some(comment) = &new.comment {
            create = create.description(comment);
        }
        if new.table.path().is_none() {
            create = create.name(new.table.last());
        }
        if let Some(rows) = rows {
            let attempt = Attempt::new("create", table.url());
            let key = |key: &str| key.eq_ignore_ascii_case("delta.autoOptimize.optimizeWrite");
            let wish = properties.iter().find(|(asked, _)| key(asked)).map(|(_, value)| value.eq_ignore_ascii_case("true"));
            let partitions = Partitions::of_new(&new.partition_columns, wish, &rows.schema(), &attempt)?;
            let (settings, runtime) = (DataWriterSettings::default(), self.session.runtime_env());
            let (rows, row_order) = arranged(rows, partitions, &settings, &runtime, &attempt).await?;
            create = create.with_rows(rows, DataWriterSettings { row_order, ..settings });
        }
        create = match (new.or_replace, new.if_not_exists) {
            (true, _) => create.or_replace(),
            (false, true) => create.if_not_exists(),
            (false, false) => create,
        };
        let report = create.run().await?;
        Ok(StatementReport::Create { version: report.version, created: report.created, rows: report.rows })
    }

    pub(super) async fn stream(&self, frame: DataFrame) -> Result<BatchStream> {
        batch_stream(frame).await.map_err(|source| EngineError::Plan { statement: self.text.to_owned(), source })
    }

    async fn alter(&self, name: &TableName, changes: Vec<Change>) -> Result<StatementReport> {
        let table = self.table(name).await?;
        let mut alter = table.alter();
        let (snapshot, asked) = (table.snapshot().await?, changes.len());
        let there = |column: &str| snapshot.delta_schema().clone().edit_column(column, |_, _| ()).is_ok();
        let changes: Vec<Change> = changes
            .into_iter()
            .filter(|change| match change {
                Change::Add { parent, field, if_not_exists: true, .. } if parent.is_empty() => !there(field.name()),
                Change::Add { parent, field, if_not_exists: true, .. } => !there(&format!("{parent}.{}", field.name())),
                Change::Drop { column, if_exists: true } => there(column),
                _ => true,
            })
            .collect();
        if changes.is_empty() && asked > 0 {
            let nothing = AlterReport { version: snapshot.version(), rows_checked: 0, protocol: None };
            return Ok(StatementReport::Alter(nothing));
        }
        for change in changes {
            alter = match change {
                Change::Add { parent, field, place, .. } => alter.add_field(parent, field, place),
                Change::Replace(fields) => alter.replace_columns(fields),
                Change::Move { column, place } => alter.move_column(column, place),
                Change::Comment { column, text } if text.is_empty() => alter.drop_comment(column),
                Change::Comment { column, text } => alter.comment_column(column, text),
                Change::Describe(text) => alter.describe(text),
                Change::Require(column) => alter.require_values(column),
                Change::Rename { column, to } => alter.rename_column(column, to),
                Change::SyncIdentity(column) => alter.sync_identity(column),
                Change::Drop { column, .. } => alter.drop_column(column),
                Change::Widen { column, to } => alter.widen_column(column, to),
                Change::AllowNulls(column) => alter.allow_nulls(column),
                Change::SetDefault { column, expression } => {
                    let schema = table.snapshot().await?.schema();
                    // A column that is not there is named by the change itself.
                    if let Some(at) = place(&schema, &column) {
                        let attempt = Attempt::new("set a default of", table.url());
                        defaults::check(schema.field(at), &expression, self.session, &attempt)?;
                    }
                    alter.set_default(column, expression)
                }
                Change::DropDefault(column) => alter.drop_default(column),
                Change::AddConstraint { name, expression } => alter.add_constraint(name, expression),
                Change::DropConstraint { name, if_exists: true } => alter.drop_constraint_if_exists(name),
                Change::DropConstraint { name, if_exists: false } => alter.drop_constraint(name),
                Change::Set { key, value } => alter.set_property(key, value),
                Change::Unset { key, if_exists: true } => alter.unset_property(key),
                Change::Unset { key, if_exists: false } => alter.unset_known_property(key),
            };
        }
        let report = alter.run().await?;
        name_again(self.session, &table, name, self.text).await?;
        Ok(StatementReport::Alter(report))
    }
}
