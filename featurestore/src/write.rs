//! Writing feature rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow_cast::display::array_value_to_string;
use arrow_row::{RowConverter, SortField};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use boathouse_base::{
    AppTransaction, BatchStream, Comparison, ErrorKind, Predicate, Progress, ScanRequest, SchemaMode, TableSnapshot,
    TableVersion, Value, WriteMode, WriteReport, WriteRequest,
};

use crate::conform::widen;
use crate::error::{Attempt, FeatureError, Result, names};
use crate::key_index::{KeyEncoder, KeyIndex};
use crate::store::{FeatureStore, FeatureTable};

/// How feature rows meet those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeatureWriteMode {
    /// A row replaces the one with its keys and its time, or is added (Databricks' `merge`). Writing the same rows
    /// twice changes nothing.
    ///
    /// **Cost**: reads and rewrites the rows between the earliest and the latest time of the new ones (without a
    /// timestamp key: between the smallest and the greatest value of the first key).
    ///
    /// Writers of this store wait for each other; a row that another program appends to the table while an upsert is
    /// under way is as safe as the table's own conflict check makes it.
    #[default]
    Upsert,
    /// Rows are added without a look at the others. Of two rows with one key and time, one answers:
    /// the crate page says which.
    Append,
    /// Rows replace all others.
    Overwrite,
}

/// What a write of features did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeatureWriteReport {
    /// The version of the table that holds the rows.
    pub version: u64,
    /// Rows given and written.
    pub rows: u64,
    /// Rows that were replaced by them.
    pub replaced_rows: u64,
    /// Nothing was written: the rows were there already, or their transaction was.
    pub skipped: bool,
    /// How often it was tried: 1 without other writers.
    pub attempts: u32,
}

/// Writes feature rows; ends with [`run`](Self::run).
#[derive(Debug)]
#[must_use = "nothing is written before `run`"]
pub struct WriteFeatures<'a> {
    store: &'a FeatureStore,
    table: String,
    rows: BatchStream,
    mode: FeatureWriteMode,
    schema_mode: SchemaMode,
    transaction: Option<AppTransaction>,
    progress: Progress,
}

/// Our writes number themselves under this name, so that of two at once one sees that it must look again.
const WRITES: &str = "boathouse-featurestore";

/// Each failed attempt means that another writer succeeded.
const MOST_ATTEMPTS: u32 = 20;

impl<'a> WriteFeatures<'a> {
    pub(crate) fn new(store: &'a FeatureStore, table: String, rows: BatchStream) -> Self {
        Self {
            store,
            table,
            rows,
            mode: FeatureWriteMode::default(),
            schema_mode: SchemaMode::Enforce,
            transaction: None,
            progress: Progress::none(),
        }
    }

    /// How the rows meet those that are there.
    pub fn mode(mut self, mode: FeatureWriteMode) -> Self {
        self.mode = mode;
        self
    }

    /// Adds columns that the table does not have.
    pub fn merge_schema(mut self) -> Self {
        self.schema_mode = SchemaMode::Merge;
        self
    }

    /// Makes an append or an overwrite idempotent. An upsert is by itself.
    pub fn in_transaction(mut self, transaction: AppTransaction) -> Self {
        self.transaction = Some(transaction);
        self
    }

    /// Who is told how far it is.
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Writes the rows as one commit.
    ///
    /// Columns are found by name. A feature column that is not there is null; a value of a narrower type is widened.
    ///
    /// **Errors**: `NotFound` without the table; `Invalid` for a key that is missing or null, for two rows with one
    /// key and time, and for a column that the table does not have or has with another type; `Conflict` when other
    /// writers were faster again and again. Nothing is written then.
    ///
    /// **Cost**: holds the rows in memory.
    pub async fn run(self) -> Result<FeatureWriteReport> {
        if self.mode == FeatureWriteMode::Upsert && self.transaction.is_some() {
            return Err(FeatureError::UpsertTransaction { table: self.table });
        }
        let Self { store, table, rows, mode, schema_mode, transaction, progress } = self;
        let feature_table = store.table(&table).await?;
        let writer = Writer { feature_table, schema_mode, progress };
        let snapshot = writer.feature_table.snapshot(TableVersion::Latest).await?;
        let rows = writer.take_in(rows, &snapshot.schema()).await?;
        match mode {
            FeatureWriteMode::Upsert => writer.upsert(rows).await,
            FeatureWriteMode::Append => writer.add(rows, WriteMode::Append, transaction).await,
            FeatureWriteMode::Overwrite => writer.add(rows, WriteMode::Overwrite, transaction).await,
        }
    }
}

/// Checked rows, all with one schema.
struct Rows {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    count: u64,
    /// Their keys and times; a row's number here is its place among the rows.
    index: KeyIndex,
    encoder: KeyEncoder,
}

impl Rows {
    /// Takes in columns that the table has got since the rows were checked.
    fn grow(&mut self, table: &Schema, attempt: impl Fn() -> String) -> Result<()> {
        let mut fields: Vec<Arc<Field>> = self.schema.fields().iter().cloned().collect();
        fields.extend(table.fields().iter().filter(|f| self.schema.field_with_name(f.name()).is_err()).cloned());
        if fields.len() > self.schema.fields().len() {
            self.schema = Arc::new(Schema::new(fields));
            let grown = self.batches.iter().map(|batch| with_columns(batch, &self.schema)).collect::<Result<_, _>>();
            self.batches = grown.attempt(attempt)?;
        }
        Ok(())
    }
}

/// The batch with the columns of `schema`, null where it has none.
fn with_columns(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
        Some(column) => Arc::clone(column),
        None => new_null_array(field.data_type(), batch.num_rows()),
    };
    RecordBatch::try_new(Arc::clone(schema), schema.fields().iter().map(column).collect())
}

struct Writer {
    feature_table: FeatureTable,
    schema_mode: SchemaMode,
    progress: Progress,
}

impl Writer {
    fn attempt(&self) -> String {
        format!("write to the feature table `{}`", self.feature_table.definition.name)
    }

    fn name(&self) -> String {
        self.feature_table.definition.name.clone()
    }

    async fn take_in(&self, mut rows: BatchStream, table: &Schema) -> Result<Rows> {
        let schema = self.row_schema(&rows.schema(), table)?;
        let definition = &self.feature_table.definition;
        let identity: Vec<Field> =
            schema.fields().iter().filter(|f| !definition.is_feature(f.name())).map(|f| f.as_ref().clone()).collect();
        let encoder = KeyEncoder::new(&Schema::new(identity.clone()), || self.attempt())?;
        let mut taken = Rows { schema, batches: Vec::new(), count: 0, index: KeyIndex::default(), encoder };
        while let Some(batch) = rows.next().await {
            let batch = self.conform(&batch.attempt(|| self.attempt())?, &taken.schema, taken.count)?;
            let keys = taken.encoder.encode(&batch, identity.iter().map(|field| field.name()), || self.attempt())?;
            for row in 0..keys.len() {
                let number = u64::from(taken.index.insert(keys.key(row).unwrap_or_default()));
                if number != taken.count + row as u64 {
                    let key: Vec<String> = identity.iter().map(|f| describe(&batch, f.name(), row)).collect();
                    let (table, key, second) = (self.name(), key.join(", "), taken.count + row as u64);
                    return Err(FeatureError::DuplicateRow { table, key, first: number, second });
                }
            }
            taken.count += batch.num_rows() as u64;
            if taken.count >= u64::from(u32::MAX) {
                return Err(FeatureError::TooManyRows { attempt: self.attempt() });
            }
            taken.batches.push(batch);
        }
        Ok(taken)
    }

    /// The columns of the table, and new ones where they may be added.
    fn row_schema(&self, rows: &Schema, table: &Schema) -> Result<SchemaRef> {
        let definition = &self.feature_table.definition;
        for key in definition.identity() {
            if rows.field_with_name(key).is_err() {
                return Err(FeatureError::NoColumn { attempt: self.attempt(), column: key.clone(), found: names(rows) });
            }
        }
        let mut fields: Vec<Field> = Vec::new();
        for field in table.fields() {
            let nullable = definition.is_feature(field.name()) && field.is_nullable();
            fields.push(field.as_ref().clone().with_nullable(nullable));
        }
        for (at, field) in rows.fields().iter().enumerate() {
            if rows.fields().iter().take(at).any(|earlier| earlier.name() == field.name()) {
                let (column, hint) = (field.name().clone(), "rename one");
                return Err(FeatureError::DuplicateColumn { attempt: self.attempt(), column, hint });
            }
            if table.field_with_name(field.name()).is_ok() {
                continue;
            }
            if self.schema_mode == SchemaMode::Enforce {
                return Err(FeatureError::UnknownColumn {
                    table: self.name(),
                    column: field.name().clone(),
                    data_type: field.data_type().clone(),
                });
            }
            fields.push(field.as_ref().clone().with_nullable(true));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn conform(&self, batch: &RecordBatch, schema: &SchemaRef, before: u64) -> Result<RecordBatch> {
        let definition = &self.feature_table.definition;
        let column = |field: &Arc<Field>| -> Result<ArrayRef> {
            let Some(found) = batch.column_by_name(field.name()) else {
                return Ok(new_null_array(field.data_type(), batch.num_rows()));
            };
            let column = widen(found, field.data_type()).attempt(|| format!("{}, column `{}`", self.attempt(), field.name()))?;
            let column = column.ok_or_else(|| FeatureError::ColumnType {
                attempt: self.attempt(),
                column: field.name().clone(),
                expected: field.data_type().clone(),
                found: found.data_type().clone(),
            })?;
            if column.null_count() > 0 && !definition.is_feature(field.name()) {
                let row = (0..column.len()).find(|row| column.is_null(*row)).unwrap_or(0) as u64;
                return Err(FeatureError::NullKey { table: self.name(), column: field.name().clone(), row: before + row });
            }
            Ok(column)
        };
        let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(Arc::clone(schema), columns)
            .map_err(|source| FeatureError::Refused { attempt: self.attempt(), source })
    }

    fn request(&self, mode: WriteMode, transaction: Option<AppTransaction>) -> WriteRequest {
        WriteRequest {
            mode,
            schema_mode: self.schema_mode,
            app_transaction: transaction,
            progress: self.progress.clone(),
            ..WriteRequest::default()
        }
    }

    /// Appends or overwrites. Without a transaction of the caller it takes the next number of the upserts, so that an
    /// upsert under way does not replace rows that it never saw.
    async fn add(&self, rows: Rows, mode: WriteMode, transaction: Option<AppTransaction>) -> Result<FeatureWriteReport> {
        if transaction.is_some() {
            let data = BatchStream::from_batches(rows.schema, rows.batches);
            let report = self.feature_table.table.write(self.request(mode, transaction), data).await;
            let report = report.attempt(|| self.attempt())?;
            return Ok(summary(&report, rows.count, 0, report.attempts));
        }
        for attempts in 1..=MOST_ATTEMPTS {
            let snapshot = self.feature_table.snapshot(TableVersion::Latest).await?;
            if let Some(report) = self.write(&snapshot, mode.clone(), &rows, &[]).await? {
                return Ok(summary(&report, rows.count, 0, attempts));
            }
        }
        Err(FeatureError::Contention { attempt: self.attempt(), attempts: MOST_ATTEMPTS })
    }

    async fn upsert(&self, mut rows: Rows) -> Result<FeatureWriteReport> {
        for attempts in 1..=MOST_ATTEMPTS {
            let snapshot = self.feature_table.snapshot(TableVersion::Latest).await?;
            rows.grow(&snapshot.schema(), || self.attempt())?;
            let (mode, kept, replaced) = match self.plan(&rows, &snapshot).await? {
                Plan::Unchanged => {
                    let version = snapshot.version();
                    return Ok(FeatureWriteReport { version, skipped: true, attempts, ..FeatureWriteReport::default() });
                }
                Plan::Add => (WriteMode::Append, Vec::new(), 0),
                Plan::Replace { within, kept, replaced } => (within, kept, replaced),
            };
            if let Some(report) = self.write(&snapshot, mode, &rows, &kept).await? {
                return Ok(summary(&report, rows.count, replaced, attempts));
            }
        }
        Err(FeatureError::Contention { attempt: self.attempt(), attempts: MOST_ATTEMPTS })
    }

    /// Writes what was planned on a snapshot. `None`: another writer changed the table since, plan again.
    async fn write(
        &self,
        snapshot: &Arc<dyn TableSnapshot>,
        mode: WriteMode,
        rows: &Rows,
        kept: &[RecordBatch],
    ) -> Result<Option<WriteReport>> {
        let last = snapshot.app_transaction(WRITES).await.attempt(|| self.attempt())?;
        let version = last.map_or(1, |last| last.version + 1);
        let transaction = AppTransaction { app_id: WRITES.to_owned(), version, payload: None };
        let batches = kept.iter().chain(&rows.batches).cloned().collect();
        let data = BatchStream::from_batches(Arc::clone(&rows.schema), batches);
        match self.feature_table.table.write(self.request(mode, Some(transaction)), data).await {
            // Skipped: another write took this number, and what was planned on is no longer so.
            Ok(report) => Ok((!report.skipped).then_some(report)),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(source) => Err(FeatureError::Table { attempt: self.attempt(), source }),
        }
    }

    /// What an upsert must do to this version of the table.
    async fn plan(&self, rows: &Rows, snapshot: &Arc<dyn TableSnapshot>) -> Result<Plan> {
        if rows.count == 0 {
            return Ok(if rows.schema.fields().len() > snapshot.schema().fields().len() { Plan::Add } else { Plan::Unchanged });
        }
        let within = self.range(rows);
        let request = ScanRequest { predicate: within.clone(), ..ScanRequest::default() };
        let mut there = snapshot.scan(request).await.attempt(|| self.attempt())?;
        let compare = RowCompare::new(rows, || self.attempt())?;
        let definition = &self.feature_table.definition;
        let identity: Vec<String> =
            rows.schema.fields().iter().map(|f| f.name()).filter(|name| !definition.is_feature(name)).cloned().collect();
        let (mut kept, mut replaced, mut same) = (Vec::new(), 0_u64, 0_u64);
        while let Some(batch) = there.next().await {
            let batch = batch.attempt(|| self.attempt())?;
            let keys = rows.encoder.encode(&batch, &identity, || self.attempt())?;
            let inside = |row: usize| match &within {
                Some(predicate) => {
                    let value = |column: &str| {
                        batch.column_by_name(column).and_then(|array| Value::at(array.as_ref(), row)).unwrap_or(Value::Null)
                    };
                    predicate.matches(&value) == Some(true)
                }
                None => true,
            };
            let compared = compare.read(&batch, || self.attempt())?;
            let mut keep = Vec::with_capacity(batch.num_rows());
            for row in 0..batch.num_rows() {
                let new = keys.key(row).and_then(|key| rows.index.get(key));
                let is_inside = inside(row);
                if let Some(new) = new.filter(|_| is_inside) {
                    replaced += 1;
                    same += u64::from(compared.is_same(row, new));
                }
                keep.push(is_inside && new.is_none());
            }
            let keep = BooleanArray::from(keep);
            if keep.true_count() > 0 {
                let filtered = filter_record_batch(&batch, &keep).attempt(|| self.attempt())?;
                kept.push(with_columns(&filtered, &rows.schema).attempt(|| self.attempt())?);
            }
        }
        Ok(match (replaced, within) {
            (0, _) => Plan::Add,
            (n, _) if n == rows.count && same == n => Plan::Unchanged,
            (replaced, Some(predicate)) => Plan::Replace { within: WriteMode::ReplaceWhere(predicate), kept, replaced },
            (replaced, None) => Plan::Replace { within: WriteMode::Overwrite, kept, replaced },
        })
    }

    /// The rows of the table that can have a key of the new ones: those between their least and greatest time, or
    /// between the least and greatest value of a key. `None` when that cannot be said exactly.
    fn range(&self, rows: &Rows) -> Option<Predicate> {
        let definition = &self.feature_table.definition;
        let columns = definition.timestamp_key.iter().chain(&definition.primary_keys);
        columns.into_iter().find_map(|column| {
            let (mut least, mut greatest): (Option<Value>, Option<Value>) = (None, None);
            for batch in &rows.batches {
                let array = batch.column_by_name(column)?;
                for row in 0..array.len() {
                    let value = Value::at(array.as_ref(), row)?;
                    let before = |a: &Value, b: &Value| a.compare(b) == Some(std::cmp::Ordering::Less);
                    if least.as_ref().is_none_or(|least| before(&value, least)) {
                        least = Some(value.clone());
                    }
                    if greatest.as_ref().is_none_or(|greatest| before(greatest, &value)) {
                        greatest = Some(value);
                    }
                }
            }
            let from = Predicate::compare(column.as_str(), Comparison::GtEq, least?);
            Some(from.and(Predicate::compare(column.as_str(), Comparison::LtEq, greatest?)))
        })
    }
}

enum Plan {
    /// Every row is there as it is.
    Unchanged,
    /// No row is there.
    Add,
    /// Some rows are there: the rows of `within` become `kept` and the new ones.
    Replace { within: WriteMode, kept: Vec<RecordBatch>, replaced: u64 },
}

/// Whole rows compared as bytes; without columns whose values have no order, rows are taken to differ.
struct RowCompare {
    converter: Option<RowConverter>,
    columns: Vec<String>,
    new: HashMap<u32, Vec<u8>>,
}

struct Compared<'a> {
    rows: Option<arrow_row::Rows>,
    new: &'a HashMap<u32, Vec<u8>>,
}

impl RowCompare {
    fn new(rows: &Rows, attempt: impl Fn() -> String) -> Result<Self> {
        let fields: Vec<SortField> = rows.schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        let columns = names(&rows.schema);
        if !RowConverter::supports_fields(&fields) {
            return Ok(Self { converter: None, columns, new: HashMap::new() });
        }
        let converter = RowConverter::new(fields).attempt(&attempt)?;
        let (mut new, mut number) = (HashMap::new(), 0_u32);
        for batch in &rows.batches {
            let encoded = converter.convert_columns(batch.columns()).attempt(&attempt)?;
            for row in &encoded {
                new.insert(number, row.data().to_vec());
                number += 1;
            }
        }
        Ok(Self { converter: Some(converter), columns, new })
    }

    fn read(&self, batch: &RecordBatch, attempt: impl Fn() -> String) -> Result<Compared<'_>> {
        let columns: Option<Vec<ArrayRef>> = self.columns.iter().map(|name| batch.column_by_name(name).cloned()).collect();
        let rows = match (&self.converter, columns) {
            (Some(converter), Some(columns)) => Some(converter.convert_columns(&columns).attempt(attempt)?),
            _ => None,
        };
        Ok(Compared { rows, new: &self.new })
    }
}

impl Compared<'_> {
    fn is_same(&self, row: usize, new: u32) -> bool {
        let new = self.new.get(&new);
        self.rows.as_ref().is_some_and(|rows| new.is_some_and(|new| rows.row(row).data() == new.as_slice()))
    }
}

fn summary(report: &WriteReport, rows: u64, replaced_rows: u64, attempts: u32) -> FeatureWriteReport {
    FeatureWriteReport {
        version: report.version,
        rows: if report.skipped { 0 } else { rows },
        replaced_rows,
        skipped: report.skipped,
        attempts: attempts.max(1),
    }
}

/// `column=value`, for a message.
fn describe(batch: &RecordBatch, column: &str, row: usize) -> String {
    let value = batch.column_by_name(column).and_then(|array| array_value_to_string(array, row).ok());
    format!("{column}={}", value.unwrap_or_else(|| "?".to_owned()))
}
