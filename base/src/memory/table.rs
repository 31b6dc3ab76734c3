//! A versioned table in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{Field, Schema, SchemaRef};

use super::row::{matching, no_column, runs};
use super::{MemoryError, lock, ready};
use crate::BoxFuture;
use crate::batch_stream::BatchStream;
use crate::env::Env;
use crate::error::Result;
use crate::predicate::Predicate;
use crate::progress::ProgressUnit;
use crate::table::{
    CommittedAppTransaction, IfAbsent, ScanRequest, SchemaMode, Table, TableResolver, TableSnapshot, TableVersion, WriteMode,
    WriteReport, WriteRequest,
};

/// A table in memory, with every version that it ever had.
///
/// **Cost**: versions share the batches that they have in common.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_base::memory::MemoryTable;
/// use boathouse_base::{BatchStream, Env, ManualClock, ScanRequest, Table, TableVersion, WriteRequest};
///
/// # async fn story() -> Result<(), Box<dyn std::error::Error>> {
/// let table = MemoryTable::new("flights", Env::new(ManualClock::default(), 1));
/// let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)])?;
/// let report = table.write(WriteRequest::append().or_create(), BatchStream::from_batches(batch.schema(), vec![batch])).await?;
/// assert_eq!((report.version, report.rows), (0, 2));
/// let rows = table.snapshot(TableVersion::Latest).await?.scan(ScanRequest::default()).await?.collect().await?;
/// assert_eq!(rows[0].num_rows(), 2);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryTable(Arc<Shared>);

struct Shared {
    location: String,
    env: Env,
    versions: Mutex<Vec<Arc<Version>>>,
}

struct Version {
    number: u64,
    timestamp_us: i64,
    schema: SchemaRef,
    partition_columns: Vec<String>,
    properties: BTreeMap<String, String>,
    batches: Vec<RecordBatch>,
    apps: BTreeMap<String, CommittedAppTransaction>,
    metadata: BTreeMap<String, String>,
}

/// What a commit to a [`MemoryTable`] recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryCommit {
    /// The version that it made.
    pub version: u64,
    /// When, in microseconds since the Unix epoch (UTC).
    pub timestamp_us: i64,
    /// The facts that came with the write.
    pub metadata: BTreeMap<String, String>,
    /// The properties of the table.
    pub properties: BTreeMap<String, String>,
}

impl MemoryTable {
    /// A table that does not exist yet, at `memory:///name`. Commits take their time from `env`.
    pub fn new(name: &str, env: Env) -> Self {
        Self(Arc::new(Shared { location: format!("memory:///{name}"), env, versions: Mutex::default() }))
    }

    /// Every commit, the oldest first.
    pub fn history(&self) -> Vec<MemoryCommit> {
        let commit = |version: &Arc<Version>| MemoryCommit {
            version: version.number,
            timestamp_us: version.timestamp_us,
            metadata: version.metadata.clone(),
            properties: version.properties.clone(),
        };
        lock(&self.0.versions).iter().map(commit).collect()
    }

    fn latest(&self) -> Option<Arc<Version>> {
        lock(&self.0.versions).last().cloned()
    }

    fn open(&self, wanted: TableVersion) -> Result<Arc<Version>, MemoryError> {
        let versions = lock(&self.0.versions);
        let (Some(first), Some(last)) = (versions.first(), versions.last()) else { return Err(self.no_table()) };
        let found = match wanted {
            TableVersion::Latest => Some(last),
            TableVersion::Number(number) => usize::try_from(number).ok().and_then(|at| versions.get(at)),
            // Timestamps never go backwards from version to version.
            TableVersion::AtUs(us) if us > last.timestamp_us => None,
            TableVersion::AtUs(us) => versions.iter().rev().find(|version| version.timestamp_us <= us),
        };
        found.cloned().ok_or_else(|| MemoryError::NoVersion {
            location: self.0.location.clone(),
            wanted,
            latest: last.number,
            first_us: first.timestamp_us,
            latest_us: last.timestamp_us,
        })
    }

    fn no_table(&self) -> MemoryError {
        MemoryError::NoTable { location: self.0.location.clone() }
    }

    /// Everything that can be refused before the rows are read.
    fn check(&self, request: &WriteRequest) -> Result<(), MemoryError> {
        if request.schema_mode == SchemaMode::Overwrite && request.mode != WriteMode::Overwrite {
            return Err(MemoryError::SchemaOverwrite { location: self.0.location.clone() });
        }
        if request.if_absent == IfAbsent::Fail && self.latest().is_none() {
            return Err(self.no_table());
        }
        Ok(())
    }

    /// The report of a write that is skipped because its transaction is in the table already.
    fn skipped(request: &WriteRequest, latest: Option<&Arc<Version>>) -> Option<WriteReport> {
        let (transaction, latest) = (request.app_transaction.as_ref()?, latest?);
        let committed = latest.apps.get(&transaction.app_id)?;
        (transaction.version <= committed.version).then(|| WriteReport {
            version: latest.number,
            skipped: true,
            attempts: 1,
            ..WriteReport::default()
        })
    }

    async fn write_rows(&self, request: WriteRequest, data: BatchStream) -> Result<WriteReport> {
        self.check(&request)?;
        if let Some(report) = Self::skipped(&request, self.latest().as_ref()) {
            return Ok(report);
        }
        let schema = data.schema();
        let batches = data.collect().await?;
        let report = self.commit(&request, &schema, batches)?;
        request.progress.report("write", report.rows, Some(report.rows), ProgressUnit::Rows);
        Ok(report)
    }

    fn commit(
        &self,
        request: &WriteRequest,
        data_schema: &SchemaRef,
        data: Vec<RecordBatch>,
    ) -> Result<WriteReport, MemoryError> {
        let mut versions = lock(&self.0.versions);
        let latest = versions.last().cloned();
        if let Some(report) = Self::skipped(request, latest.as_ref()) {
            return Ok(report);
        }
        let (schema, partition_columns, properties) = self.next_schema(request, data_schema, latest.as_deref())?;
        let new = data.iter().map(|batch| self.conform(batch, &schema)).collect::<Result<Vec<_>, _>>()?;
        let old = latest.as_ref().map_or(&[] as &[_], |version| version.batches.as_slice());
        let mut batches = match &request.mode {
            WriteMode::Append => old.to_vec(),
            WriteMode::Overwrite => Vec::new(),
            WriteMode::ReplaceWhere(predicate) => self.keep_others(predicate, &schema, old, &new)?,
        };
        let rows = new.iter().map(|batch| batch.num_rows() as u64).sum();
        let bytes_added = new.iter().map(|batch| batch.get_array_memory_size() as u64).sum();
        let files_added = u64::from(rows > 0);
        batches.extend(new.into_iter().filter(|batch| batch.num_rows() > 0));
        // Old rows of a wider table show its new columns as null.
        let batches = batches.iter().map(|batch| self.conform(batch, &schema)).collect::<Result<Vec<_>, _>>()?;

        let mut apps = latest.as_ref().map(|version| version.apps.clone()).unwrap_or_default();
        if let Some(transaction) = &request.app_transaction {
            let committed = CommittedAppTransaction { version: transaction.version, payload: transaction.payload.clone() };
            apps.insert(transaction.app_id.clone(), committed);
        }
        let number = versions.len() as u64;
        let not_before = latest.map_or(i64::MIN, |version| version.timestamp_us);
        versions.push(Arc::new(Version {
            number,
            timestamp_us: self.0.env.now_us().max(not_before),
            schema,
            partition_columns,
            properties,
            batches,
            apps,
            metadata: request.commit_metadata.clone(),
        }));
        Ok(WriteReport { version: number, skipped: false, rows, files_added, files_removed: 0, bytes_added, attempts: 1 })
    }

    #[expect(clippy::type_complexity, reason = "three facts of the next version, named where they are taken apart")]
    fn next_schema(
        &self,
        request: &WriteRequest,
        data: &SchemaRef,
        latest: Option<&Version>,
    ) -> Result<(SchemaRef, Vec<String>, BTreeMap<String, String>), MemoryError> {
        let location = || self.0.location.clone();
        for (at, field) in data.fields().iter().enumerate() {
            if data.fields().iter().take(at).any(|earlier| earlier.name() == field.name()) {
                return Err(MemoryError::DuplicateColumn { location: location(), column: field.name().clone() });
            }
        }
        let Some(latest) = latest else {
            let IfAbsent::Create { partition_columns, properties } = &request.if_absent else { return Err(self.no_table()) };
            self.check_partitions(partition_columns, data)?;
            return Ok((SchemaRef::clone(data), partition_columns.clone(), properties.clone()));
        };
        let keep = |schema| Ok((schema, latest.partition_columns.clone(), latest.properties.clone()));
        if request.schema_mode == SchemaMode::Overwrite {
            self.check_partitions(&latest.partition_columns, data)?;
            return keep(SchemaRef::clone(data));
        }
        let mut fields: Vec<Arc<Field>> = latest.schema.fields().iter().cloned().collect();
        for field in data.fields() {
            match latest.schema.field_with_name(field.name()) {
                Ok(known) if known.data_type() == field.data_type() => {}
                Ok(known) => {
                    return Err(MemoryError::ColumnType {
                        attempt: format!("write to the table {}", self.0.location),
                        column: field.name().clone(),
                        expected: known.data_type().clone(),
                        found: field.data_type().clone(),
                    });
                }
                // Rows from before are null there.
                Err(_) if request.schema_mode == SchemaMode::Merge => {
                    fields.push(Arc::new(field.as_ref().clone().with_nullable(true)));
                }
                Err(_) => {
                    return Err(MemoryError::UnknownColumn {
                        location: location(),
                        column: field.name().clone(),
                        data_type: field.data_type().clone(),
                    });
                }
            }
        }
        for field in &fields {
            if !field.is_nullable() && data.field_with_name(field.name()).is_err() {
                return Err(MemoryError::MissingColumn { location: location(), column: field.name().clone() });
            }
        }
        if fields.len() == latest.schema.fields().len() {
            return keep(SchemaRef::clone(&latest.schema));
        }
        keep(Arc::new(Schema::new_with_metadata(fields, latest.schema.metadata().clone())))
    }

    fn check_partitions(&self, columns: &[String], schema: &Schema) -> Result<(), MemoryError> {
        match columns.iter().find(|column| schema.field_with_name(column).is_err()) {
            Some(column) => Err(MemoryError::UnknownPartition {
                location: self.0.location.clone(),
                column: column.clone(),
                found: schema.fields().iter().map(|field| field.name().clone()).collect(),
            }),
            None => Ok(()),
        }
    }

    /// The batch with the columns of `schema`, in its order.
    fn conform(&self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, MemoryError> {
        if Arc::ptr_eq(batch.schema_ref(), schema) {
            return Ok(batch.clone());
        }
        let column = |field: &Arc<Field>| -> Result<ArrayRef, MemoryError> {
            let array = match batch.column_by_name(field.name()) {
                Some(array) => Arc::clone(array),
                None => new_null_array(field.data_type(), batch.num_rows()),
            };
            if !field.is_nullable() && array.null_count() > 0 {
                return Err(MemoryError::NullValue {
                    location: self.0.location.clone(),
                    column: field.name().clone(),
                    nulls: array.null_count(),
                });
            }
            Ok(array)
        };
        let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
        rebuild(schema, columns, batch.num_rows(), || format!("write to the table {}", self.0.location))
    }

    /// The old rows that `predicate` does not replace, after the check that it covers every new one.
    fn keep_others(
        &self,
        predicate: &Predicate,
        schema: &SchemaRef,
        old: &[RecordBatch],
        new: &[RecordBatch],
    ) -> Result<Vec<RecordBatch>, MemoryError> {
        let attempt = format!("replace rows of {} where {predicate}", self.0.location);
        for column in predicate.columns() {
            if schema.field_with_name(column).is_err() {
                return Err(no_column(&attempt, column, schema));
            }
        }
        let mut before = 0;
        for batch in new {
            if let Some(row) = matching(batch, predicate, &attempt)?.iter().position(|matches| !matches) {
                return Err(MemoryError::OutsideOfPredicate {
                    location: self.0.location.clone(),
                    predicate: predicate.to_string(),
                    row: before + row,
                });
            }
            before += batch.num_rows();
        }
        let mut kept = Vec::new();
        for batch in old {
            let batch = self.conform(batch, schema)?;
            let others: Vec<bool> = matching(&batch, predicate, &attempt)?.into_iter().map(|matches| !matches).collect();
            kept.extend(runs(&others).into_iter().map(|run| batch.slice(run.start, run.len())));
        }
        Ok(kept)
    }
}

fn rebuild(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
    attempt: impl Fn() -> String,
) -> Result<RecordBatch, MemoryError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)
        .map_err(|source| MemoryError::Arrow { attempt: attempt(), source })
}

impl fmt::Debug for MemoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryTable({}, {} versions)", self.0.location, lock(&self.0.versions).len())
    }
}

impl Table for MemoryTable {
    fn location(&self) -> &str {
        &self.0.location
    }

    fn snapshot(&self, version: TableVersion) -> BoxFuture<'_, Result<Arc<dyn TableSnapshot>>> {
        let opened = self
            .open(version)
            .map(|version| -> Arc<dyn TableSnapshot> { Arc::new(MemorySnapshot { location: self.0.location.clone(), version }) });
        ready(opened.map_err(Into::into))
    }

    fn write(&self, request: WriteRequest, data: BatchStream) -> BoxFuture<'_, Result<WriteReport>> {
        Box::pin(self.write_rows(request, data))
    }
}

struct MemorySnapshot {
    location: String,
    version: Arc<Version>,
}

impl MemorySnapshot {
    fn read(&self, request: &ScanRequest) -> Result<BatchStream, MemoryError> {
        let Some(wanted) = &request.projection else {
            return Ok(BatchStream::from_batches(self.schema(), self.limited(request)));
        };
        let at = |column: &String| {
            let attempt = || format!("scan version {} of {}", self.version.number, self.location);
            self.version.schema.index_of(column).map_err(|_| no_column(&attempt(), column, &self.version.schema))
        };
        let columns = wanted.iter().map(at).collect::<Result<Vec<_>, _>>()?;
        let project = |source| MemoryError::Arrow { attempt: format!("project {}", self.location), source };
        let schema = Arc::new(self.version.schema.project(&columns).map_err(project)?);
        let batches = self.limited(request);
        let batches = batches.iter().map(|batch| batch.project(&columns).map_err(project)).collect::<Result<Vec<_>, _>>()?;
        Ok(BatchStream::from_batches(schema, batches))
    }

    fn limited(&self, request: &ScanRequest) -> Vec<RecordBatch> {
        let limit = if request.predicate.is_some() { None } else { request.limit_rows };
        let mut left = limit.unwrap_or(usize::MAX);
        let mut taken = Vec::new();
        for batch in &self.version.batches {
            if left == 0 {
                break;
            }
            let rows = batch.num_rows().min(left);
            taken.push(batch.slice(0, rows));
            left -= rows;
        }
        taken
    }
}

impl fmt::Debug for MemorySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemorySnapshot({}, version {})", self.location, self.version.number)
    }
}

impl TableSnapshot for MemorySnapshot {
    fn version(&self) -> u64 {
        self.version.number
    }

    fn timestamp_us(&self) -> i64 {
        self.version.timestamp_us
    }

    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.version.schema)
    }

    fn partition_columns(&self) -> &[String] {
        &self.version.partition_columns
    }

    fn scan(&self, request: ScanRequest) -> BoxFuture<'_, Result<BatchStream>> {
        ready(self.read(&request).map_err(Into::into))
    }

    fn app_transaction(&self, app_id: &str) -> BoxFuture<'_, Result<Option<CommittedAppTransaction>>> {
        ready(Ok(self.version.apps.get(app_id).cloned()))
    }
}

/// Tables in memory by name: each name is a [`MemoryTable`] that may not exist yet.
#[derive(Debug, Clone)]
pub struct MemoryTables {
    env: Env,
    tables: Arc<Mutex<BTreeMap<String, MemoryTable>>>,
}

impl MemoryTables {
    /// No tables yet.
    pub fn new(env: Env) -> Self {
        Self { env, tables: Arc::default() }
    }

    /// The table of that name.
    pub fn get(&self, name: &str) -> MemoryTable {
        let mut tables = lock(&self.tables);
        tables.entry(name.to_owned()).or_insert_with(|| MemoryTable::new(name, self.env.clone())).clone()
    }

    /// The names that were asked for, sorted.
    pub fn names(&self) -> Vec<String> {
        lock(&self.tables).keys().cloned().collect()
    }
}

impl TableResolver for MemoryTables {
    fn table(&self, name: &str) -> Result<Arc<dyn Table>> {
        if name.is_empty() {
            return Err(MemoryError::Name { name: name.to_owned() }.into());
        }
        Ok(Arc::new(self.get(name)))
    }
}
