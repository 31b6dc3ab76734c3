//! A Delta table as a table of the engine.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use boathouse_delta_protocol::rules::ValueOf;
use boathouse_delta_table::{DataFile, DeltaTable, Snapshot};
use boathouse_frames::{into_datafusion, pushdown, to_conjunction};
use datafusion::arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, not_impl_err, plan_err};
use datafusion::datasource::physical_plan::parquet::transform_schema_to_view;
use datafusion::error::Result;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::lock::Mutex;

use super::assign::rules;
use super::cast::loose_schema;
use super::expressions::SparkExpressions;
use super::insert;
use super::merge::KeyFilter;
use super::scan::{
    DeltaScanExec, FILE_METADATA, FooterCache, Locators, MetadataParts, Scan, ScanBuilder, matching, metadata_field,
    reads_metadata, reads_only, reads_only_of_files,
};

/// What a query under way sees: when it began, the version, and its URL, which the plans of its scans hold.
#[derive(Debug)]
struct Seen {
    query: i64,
    snapshot: Snapshot,
    plans: Weak<str>,
}

/// A Delta table for the engine: its newest version, or one version of it.
///
/// Its scans are DataFusion's own scans of Parquet files, so that everything DataFusion knows about Parquet holds for
/// Delta: filters, projections, limits and dynamic filters go down into the reader, which skips row groups, pages and
/// rows. Deleted rows are rows that the reader does not select. Files are skipped before, by the statistics of the log:
/// as far as a filter translates to a [`Predicate`](boathouse_base::Predicate).
///
/// What the log knows exactly is answered without reading: `count(*)`, and `min` and `max` of integers, dates, booleans
/// and decimals where no row is deleted. Filters on partition columns are decided by the log alone, so this holds behind
/// them as well, and for `LIMIT`. Footers are read once a provider, and once a session for tables that it knows by name or path.
///
/// Fields within structs, lists and maps may be null here, also where the table says NOT NULL: the engine cannot promise what is in
/// a struct that it computes, and the writer looks.
///
/// `INSERT` through the session of DataFusion casts as DataFusion does, which may change values; [`delta_sql`](crate::delta_sql)
/// refuses such rows.
///
/// A provider of the newest version looks for it at each query; all its scans in one query see the same version. Its columns are those of
/// the version that it was made of; under a name that [`register_delta`](crate::register_delta) gave, or after the first
/// [`delta_sql`](crate::delta_sql) of the session, those of the newest version when a statement begins.
///
/// **Cost**: two HEADs in the log tell that there is no newer version. A query by name asks twice: for the columns, and for the files;
/// [`delta_sql`](crate::delta_sql) once more. When
/// there is a newer version it costs a LIST of the log from there, and a GET for each new commit. Folders of data are never listed.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_base::TableVersion;
/// use boathouse_delta_core::{DeltaTable, DeltaTableExt, register_delta};
/// use datafusion::prelude::SessionContext;
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let rows = |ids: Vec<i64>| RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef)]).unwrap();
/// # table.append(rows(vec![1, 2]).into()).create_if_absent().run().await?;
/// let session = SessionContext::new();
/// register_delta(&session, "events", &table).await?;
/// session.sql("INSERT INTO events VALUES (3)").await?.collect().await?;
/// assert_eq!(session.sql("SELECT * FROM events").await?.count().await?, 3);
///
/// let before = table.provider_at(TableVersion::Number(0)).await?;
/// assert_eq!(session.read_table(Arc::new(before))?.count().await?, 2);
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DeltaTableProvider {
    snapshot: Snapshot,
    /// The columns of the table.
    schema: SchemaRef,
    /// The same with `_metadata` as the last, when that is asked for.
    with_metadata: Option<SchemaRef>,
    pinned: bool,
    /// Values for columns that an INSERT does not name.
    defaults: HashMap<String, Expr>,
    footers: Arc<FooterCache>,
    views: bool,
    /// Of the queries under way.
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl DeltaTableProvider {
    /// This version, for ever.
    pub fn pinned(snapshot: Snapshot) -> Self {
        Self::new(snapshot, true)
    }

    /// The newest version at each scan, with the columns of this one.
    pub fn newest(snapshot: Snapshot) -> Self {
        Self::new(snapshot, false)
    }

    fn new(snapshot: Snapshot, pinned: bool) -> Self {
        Self {
            schema: loose_schema(&snapshot.schema()),
            with_metadata: None,
            defaults: defaults(&snapshot),
            snapshot,
            pinned,
            footers: Arc::default(),
            views: false,
            seen: Arc::default(),
        }
    }

    /// The same table with texts and binaries as views (`Utf8View`, `BinaryView`), which the engine filters and compares
    /// without copying them. It is the form in which DataFusion reads its own Parquet tables.
    #[must_use]
    pub fn with_views(mut self) -> Self {
        self.views = true;
        self.schema = Arc::new(transform_schema_to_view(&self.schema));
        if self.with_metadata.is_some() { self.with_file_metadata() } else { self }
    }

    /// The same table with a last column `_metadata`, of which file each row is. [`delta_sql`](crate::delta_sql) adds it by itself where a
    /// query names it. A table that has a column of that name keeps it, and gets no other.
    ///
    /// **Shape**: a struct of `file_path` (URL), `file_name`, `file_size` (bytes), `file_block_start` (0), `file_block_length` (the size),
    /// `file_modification_time` (UTC, as the log has it), `row_index` (from 0; deleted rows count), and where the table tracks its rows
    /// `row_id` and `row_commit_version`, which are null for files that were there before it did.
    ///
    /// **Source**: Apache Spark, "File Metadata Columns"; Delta protocol, "Row Tracking".
    #[must_use]
    pub fn with_file_metadata(mut self) -> Self {
        let own = self.schema.fields().iter().any(|field| field.name().eq_ignore_ascii_case(FILE_METADATA));
        let column = metadata_field(self.snapshot.row_tracking().is_some());
        let fields = self.schema.fields().iter().cloned().chain([column]);
        self.with_metadata = (!own).then(|| Arc::new(Schema::new(fields.collect::<Vec<_>>())));
        self
    }

    /// Whether it has the column, which was asked for.
    pub(crate) fn has_file_metadata(&self) -> bool {
        self.with_metadata.is_some()
    }

    /// The table.
    pub fn table(&self) -> &DeltaTable {
        self.snapshot.table()
    }

    /// The version that is scanned; `None` for the newest.
    pub fn version(&self) -> Option<u64> {
        self.pinned.then(|| self.snapshot.version())
    }

    /// The same columns at this version.
    pub(crate) fn fixed(&self, snapshot: &Snapshot) -> Result<Self> {
        self.check(snapshot)?;
        Ok(Self { snapshot: snapshot.clone(), pinned: true, ..self.clone() })
    }

    /// The same table with the columns of its newest version; a version that is pinned stays as it is.
    pub(crate) async fn refreshed(&self) -> boathouse_delta_table::Result<Self> {
        if self.pinned {
            return Ok(self.clone());
        }
        let mut fresh = Self::newest(self.table().snapshot().await?);
        if self.views {
            fresh = fresh.with_views();
        }
        if self.with_metadata.is_some() {
            fresh = fresh.with_file_metadata();
        }
        Ok(Self { footers: Arc::clone(&self.footers), seen: Arc::clone(&self.seen), ..fresh })
    }

    /// Keeps footers there.
    pub(crate) fn with_footers(self, footers: Arc<FooterCache>) -> Self {
        Self { footers, ..self }
    }

    /// Whether a filter reads the hidden column `_metadata`.
    fn asks_for_files(&self, filter: &Expr) -> bool {
        self.with_metadata.is_some() && reads_metadata(filter)
    }

    fn is_of_files(&self, filter: &Expr, snapshot: &Snapshot) -> bool {
        match self.asks_for_files(filter) {
            true => reads_only_of_files(filter, snapshot.partition_columns()),
            false => reads_only(filter, snapshot.partition_columns()),
        }
    }

    /// Whether a filter is the same for all rows of a file. The engine does not ask it again then, and answers counts from
    /// the log.
    fn is_decided_by_log(&self, filter: &Expr) -> bool {
        self.is_of_files(filter, &self.snapshot)
    }

    /// The column `_metadata` with its parts, when it is among those that are wanted.
    fn metadata(&self, snapshot: &Snapshot, projection: &[usize]) -> Result<Option<(FieldRef, MetadataParts)>> {
        let Some(field) = self.with_metadata.as_ref().and_then(|schema| schema.fields().last()) else { return Ok(None) };
        if !projection.contains(&self.schema.fields().len()) {
            return Ok(None);
        }
        let promised = *field == metadata_field(true);
        let tracked = snapshot.row_tracking().filter(|_| promised).cloned();
        if promised && tracked.is_none() {
            return plan_err!("scan {}: it no longer tracks its rows; register it again", snapshot.url());
        }
        let mode = snapshot.column_mapping();
        let columns = snapshot.delta_schema().fields.iter().map(|column| column.physical_name(mode));
        Ok(Some((Arc::clone(field), MetadataParts::new(columns, tracked))))
    }

    /// What this query sees, and the URL that its plan is to hold: its first scan looks for the newest version, the others take the same
    /// as long as a plan of the query is there. Rows that a frame collects again are of the version that is the newest then.
    async fn current(&self, session: &dyn Session) -> Result<(Snapshot, Arc<str>)> {
        if self.pinned {
            return Ok((self.snapshot.clone(), self.snapshot.url().into()));
        }
        let query = session.execution_props().query_execution_start_time.and_then(|at| at.timestamp_nanos_opt());
        // Scans of one query may be planned side by side: the others wait for the first.
        let mut seen = self.seen.lock().await;
        seen.retain(|seen| seen.plans.strong_count() > 0);
        let known = seen.iter().find(|seen| Some(seen.query) == query);
        if let Some((snapshot, url)) = known.and_then(|seen| Some((seen.snapshot.clone(), seen.plans.upgrade()?))) {
            self.check(&snapshot)?;
            return Ok((snapshot, url));
        }
        let snapshot = self.table().snapshot().await.map_err(|error| into_datafusion(error.into()))?;
        self.check(&snapshot)?;
        let url: Arc<str> = snapshot.url().into();
        if let Some(query) = query {
            seen.push(Seen { query, snapshot: snapshot.clone(), plans: Arc::downgrade(&url) });
        }
        Ok((snapshot, url))
    }

    /// Whether a version has the columns that the engine was told of.
    fn check(&self, snapshot: &Snapshot) -> Result<()> {
        let now = loose_schema(&snapshot.schema());
        let views = transform_schema_to_view(&now);
        for field in self.schema.fields() {
            let found = now.field_with_name(field.name()).ok();
            let view = views.field_with_name(field.name()).ok();
            let of_type = |found: &Field| found.data_type() == field.data_type();
            let fits = found.is_some_and(of_type) || view.is_some_and(of_type);
            let fits = fits && found.is_some_and(|found| field.is_nullable() || !found.is_nullable());
            if !fits {
                return plan_err!(
                    "scan {}: column `{}` is not as it was when the table was registered; register it again",
                    snapshot.url(),
                    field.name()
                );
            }
        }
        Ok(())
    }
}

#[async_trait]
impl TableProvider for DeltaTableProvider {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(self.with_metadata.as_ref().unwrap_or(&self.schema))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.defaults.get(column)
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (snapshot, url) = self.current(session).await?;
        let shown = TableProvider::schema(self);
        let all: Vec<usize> = (0..shown.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        let of_table: Vec<Expr> = filters.iter().filter(|filter| !self.asks_for_files(filter)).cloned().collect();
        let predicate = to_conjunction(&of_table);
        let files = snapshot.files(predicate.as_ref()).await.map_err(|error| into_datafusion(error.into()))?;
        let (of_log, of_rows): (Vec<&Expr>, Vec<&Expr>) = filters.iter().partition(|filter| self.is_decided_by_log(filter));
        if of_log.iter().any(|filter| !self.is_of_files(filter, &snapshot)) {
            return plan_err!(
                "scan {}: its partition columns are others than when it was registered; register it again",
                snapshot.url()
            );
        }
        let mut files = matching(session, &snapshot, &shown, files, &of_log)?;
        let limit = limit.filter(|_| of_rows.is_empty());
        if let Some(limit) = limit {
            truncate(&mut files, limit);
        }
        let (schema, footers) = (&self.schema, &self.footers);
        let metadata = self.metadata(&snapshot, projection)?;
        ScanBuilder { snapshot: &snapshot, url, schema, metadata, files: &files, projection, limit, footers }.build(session)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let mut answers = pushdown(filters);
        for (answer, filter) in answers.iter_mut().zip(filters) {
            if self.is_decided_by_log(filter) {
                *answer = TableProviderFilterPushDown::Exact;
            } else if self.asks_for_files(filter) {
                *answer = TableProviderFilterPushDown::Unsupported;
            }
        }
        Ok(answers)
    }

    async fn insert_into(&self, _: &dyn Session, input: Arc<dyn ExecutionPlan>, op: InsertOp) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(version) = self.version() {
            return plan_err!("insert into {}: it is registered at version {version}, which cannot change", self.table().url());
        }
        if self.with_metadata.is_some() {
            return plan_err!("insert into {}: it is registered with `{FILE_METADATA}`, which is read only", self.table().url());
        }
        insert::plan(self.table().clone(), self.schema(), input, op)
    }

    // The planner hands these hooks the filters that it finds in an *optimised* plan. A condition that was turned into a
    // join or proved false is not among them, and "no filter" means "all rows": a wrong answer that deletes. `delta_sql`
    // takes the condition as it was written.
    async fn delete_from(&self, _: &dyn Session, _: Vec<Expr>) -> Result<Arc<dyn ExecutionPlan>> {
        not_impl_err!("DELETE through `SessionContext::sql`; use `delta_sql(&session, statement)`, or `table.delete()`")
    }

    async fn update(&self, _: &dyn Session, _: Vec<(String, Expr)>, _: Vec<Expr>) -> Result<Arc<dyn ExecutionPlan>> {
        not_impl_err!("UPDATE through `SessionContext::sql`; use `delta_sql(&session, statement)`, or `table.update()`")
    }
}

/// The defaults of columns, as expressions without columns. One that is not understood is not here: the writer refuses
/// such a table before it takes a row.
fn defaults(snapshot: &Snapshot) -> HashMap<String, Expr> {
    let Ok(rules) = rules(snapshot) else { return HashMap::new() };
    let expressions = SparkExpressions::default();
    let value = |value: ValueOf| Some((value.column, expressions.logical(&value.expression, &DFSchema::empty()).ok()?));
    rules.defaults.into_iter().filter_map(value).collect()
}

/// Keeps files until they have enough rows.
fn truncate(files: &mut Vec<DataFile>, limit: usize) {
    let mut rows = 0_u64;
    let enough = files.iter().position(|file| {
        rows = rows.saturating_add(file.row_count().unwrap_or(0));
        rows >= limit as u64
    });
    files.truncate(enough.map_or(files.len(), |at| at + 1));
}

/// Some files of a snapshot with the place of every row.
#[derive(Debug)]
pub(crate) struct LocatedFiles {
    pub(crate) snapshot: Snapshot,
    pub(crate) files: Vec<DataFile>,
    pub(crate) columns: Vec<usize>,
    pub(crate) predicate: Option<boathouse_base::Predicate>,
    /// Rows that it does not let pass are left out.
    pub(crate) keys: Option<Arc<KeyFilter>>,
    pub(crate) locators: Locators,
    pub(crate) schema: SchemaRef,
}

#[async_trait]
impl TableProvider for LocatedFiles {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let table = self.snapshot.schema();
        let names = self.columns.iter().map(|at| table.field(*at).name().clone()).collect();
        let scan = Scan {
            snapshot: self.snapshot.clone(),
            files: self.files.clone(),
            projection: names,
            predicate: self.predicate.clone(),
            keys: self.keys.clone(),
            locators: Some(self.locators.clone()),
            may_skip: self.predicate.is_some() || self.keys.is_some(),
        };
        let exec: Arc<dyn ExecutionPlan> =
            Arc::new(DeltaScanExec::new(scan, self.schema(), session.config().target_partitions()));
        let Some(projection) = projection else { return Ok(exec) };
        let column = |at: &usize| {
            let name = self.schema.field(*at).name();
            let column: Arc<dyn datafusion::physical_expr::PhysicalExpr> =
                Arc::new(datafusion::physical_expr::expressions::Column::new(name, *at));
            (column, name.clone())
        };
        let columns: Vec<_> = projection.iter().map(column).collect();
        Ok(Arc::new(datafusion::physical_plan::projection::ProjectionExec::try_new(columns, exec)?))
    }
}
