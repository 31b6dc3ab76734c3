//! The gesture: which files, how, and then load or look.

use std::collections::BTreeSet;
use std::sync::Arc;

use boathouse_base::{AppTransaction, BatchStream};
use boathouse_delta_protocol::conflict::Conflict;
use boathouse_delta_protocol::schema::StructType;
use boathouse_delta_table::{DataWriter, DataWriterSettings, DeltaError, DeltaTable, Snapshot};
use boathouse_frames::{batch_stream, from_datafusion};
use boathouse_storage::Storage;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::{StreamExt, stream};

use super::columns::{Union, of_table};
use super::files::{CopySettings, CorruptFiles, SourceFile, chosen};
use super::format::CopyFormat;
use super::reading::{Known, Reader, Reading};
use super::report::{CopyPreview, CopyReport, CopyValidation};
use crate::engine::assign::place;
use crate::engine::cast::to_column;
use crate::engine::error::{Attempt, EngineError, Result};
use crate::engine::fan_out::{Partitions, arranged};
use crate::engine::nearest::nearest;
use crate::engine::spelling;
use crate::engine::sql::Lake;

/// Files whose columns are found out at once.
const FILES_AT_ONCE: usize = 8;
/// Other writers that load some of the same files at the same time: so often it is tried again.
const MOST_ATTEMPTS: u32 = 64;
/// Rows of a preview.
const PREVIEW_ROWS: usize = 50;

/// Loads files of a folder into a table, each once, however often it runs and whoever runs it at the same time. Made by
/// [`DeltaTableExt::copy_from`](crate::DeltaTableExt::copy_from).
///
/// A file that was loaded is known by its URL. It stays loaded when it is written again, and when its rows are deleted from the table; with
/// [`force`](CopySettings::force) it is loaded once more. Tables with `delta.setTransactionRetentionDuration` forget files after that time.
///
/// # Example
/// ```
/// use boathouse_delta_core::{CopyFormat, CsvFiles, DeltaTable, DeltaTableExt};
/// # use arrow_schema::{DataType, Field, Schema};
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let landing = Storage::memory();
/// landing.put("day-1.csv", "delay,carrier\n7,AA\n42,UA\n").await?;
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let columns = vec![Field::new("carrier", DataType::Utf8, true), Field::new("delay", DataType::Int32, true)];
/// # table.create(Schema::new(columns)).run().await?;
/// // The table has the columns `carrier STRING, delay INT`.
/// let csv = CopyFormat::Csv(CsvFiles { header: true, ..CsvFiles::default() });
/// let report = table.copy_from(landing.clone(), csv.clone()).run().await?;
/// assert_eq!((report.files_loaded, report.rows_inserted), (1, 2));
///
/// landing.put("day-2.csv", "carrier,delay\nDL,0\n").await?;
/// let report = table.copy_from(landing, csv).run().await?;
/// assert_eq!((report.files_loaded, report.files_known, report.rows_inserted), (1, 1, 1));
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing is loaded before `run`"]
pub struct CopyBuilder {
    table: DeltaTable,
    source: Storage,
    format: CopyFormat,
    settings: CopySettings,
    select: Option<String>,
    session: Option<SessionContext>,
    writer: DataWriterSettings,
}

/// The files of one attempt.
struct Choice {
    files: Vec<SourceFile>,
    known: u64,
}

/// What is about to be loaded.
struct Load {
    files: Vec<Arc<Known>>,
    corrupt: u64,
    rows: BatchStream,
}

impl CopyBuilder {
    pub(crate) fn new(table: DeltaTable, source: Storage, format: CopyFormat) -> Self {
        let (settings, writer) = (CopySettings::default(), DataWriterSettings::default());
        Self { table, source, format, settings, select: None, session: None, writer }
    }

    /// Sets which files are loaded, and how.
    pub fn with_settings(mut self, settings: CopySettings) -> Self {
        self.settings = settings;
        self
    }

    /// Loads what these expressions make of the rows, as they would stand behind `SELECT`. Without it, the rows.
    ///
    /// Columns of CSV are text here unless [`infer_schema`](super::CsvFiles::infer_schema) is set; columns that folders speak of are text.
    pub fn select(mut self, expressions: impl Into<String>) -> Self {
        self.select = Some(expressions.into());
        self
    }

    /// Evaluates with this session: its functions and settings.
    pub fn with_session(mut self, session: &SessionContext) -> Self {
        self.session = Some(session.clone());
        self
    }

    /// Sets how data files are written.
    pub fn with_writer_settings(mut self, settings: DataWriterSettings) -> Self {
        self.writer = settings;
        self
    }

    /// Loads the files that are new, all of them in one commit. The table is at a new version afterwards, or as it was.
    ///
    /// **Cost**: one listing of the folder; the head of each new file (JSON, and CSV with `infer_schema`: the whole file), then one pass
    /// over the new files, which are never held as a whole, several at once. The log keeps about 150 bytes for each file, for ever.
    ///
    /// **Errors**: `Invalid` names the file and the column of a value that does not fit; `NotFound` when there is no folder, or a file that
    /// was named is not there; `Corrupt` or `Invalid` for files that cannot be read. As [`DeltaTable::append`] otherwise.
    pub async fn run(self) -> Result<CopyReport> {
        let all = chosen(&self.source, &self.settings, self.table.url()).await?;
        for attempt in 1.. {
            let snapshot = self.table.snapshot().await?;
            let choice = self.choose(&snapshot, all.clone());
            let known = choice.known;
            let found = CopyReport { version: snapshot.version(), files_known: known, ..CopyReport::default() };
            let load = match choice.files.is_empty() {
                true => return Ok(found),
                false => self.load(&snapshot, choice, None).await?,
            };
            if load.files.is_empty() {
                return Ok(CopyReport { files_corrupt: load.corrupt, ..found });
            }
            let runtime = self.session.clone().unwrap_or_default().runtime_env();
            let attempted = self.attempt();
            let partitions = Partitions::of(&snapshot, &load.rows.schema(), &attempted)?;
            let (rows, row_order) = arranged(load.rows, partitions, &self.writer, &runtime, &attempted).await?;
            let settings = DataWriterSettings { row_order, ..self.writer.clone() };
            let mut write = self.table.append(rows).based_on(&snapshot).with_writer_settings(settings);
            if self.settings.merge_schema {
                write = write.merge_schema();
            }
            let asked = [("source", self.source.url().to_owned()), ("fileFormat", self.format.name().to_owned())];
            write = write.operation("COPY INTO", asked).app_transactions(self.said(&snapshot, &load.files));
            match write.run().await {
                Ok(report) => {
                    crate::engine::optimize::after_commit(&self.table).await;
                    return Ok(CopyReport {
                        version: report.version,
                        committed: true,
                        files_loaded: load.files.len() as u64,
                        files_known: known,
                        files_corrupt: load.corrupt,
                        bytes_loaded: load.files.iter().map(|known| known.file.meta.size).sum(),
                        rows_inserted: report.rows,
                        files_added: report.files_added,
                        attempts: attempt,
                    });
                }
                // Somebody else loaded one of them meanwhile: that one is known now.
                Err(DeltaError::Conflict { source, .. })
                    if matches!(source.as_ref(), Conflict::ConcurrentTransaction { .. }) && attempt < MOST_ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
        // `1..` ends after more attempts than are made.
        Ok(CopyReport::default())
    }

    /// Looks at what [`run`](Self::run) would load, and loads nothing: values must fit, and obey the rules of the table.
    ///
    /// **Errors**: those of [`run`](Self::run).
    pub async fn validate(self, how: CopyValidation) -> Result<CopyPreview> {
        let all = chosen(&self.source, &self.settings, self.table.url()).await?;
        let snapshot = self.table.snapshot().await?;
        let choice = self.choose(&snapshot, all);
        let mut preview = CopyPreview { files_known: choice.known, ..CopyPreview::default() };
        if choice.files.is_empty() {
            return Ok(preview);
        }
        let (limit, shown) = match how {
            CopyValidation::All => (None, PREVIEW_ROWS),
            CopyValidation::Rows(rows) => (Some(rows), rows.min(PREVIEW_ROWS)),
        };
        let Load { files, corrupt, mut rows } = self.load(&snapshot, choice, limit).await?;
        (preview.files, preview.files_corrupt) = (files.len() as u64, corrupt);
        let evolved = if self.settings.merge_schema { snapshot.evolve(&rows.schema())? } else { None };
        let snapshot = evolved.as_ref().map_or(&snapshot, |evolution| &evolution.snapshot);
        self.check(snapshot, &rows.schema())?;
        let mut writer = DataWriter::new(snapshot, self.writer.clone())?;
        let mut left = shown;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|source| self.attempt().rows(source))?;
            writer.check(&batch)?;
            preview.rows_checked += batch.num_rows() as u64;
            let some = batch.num_rows().min(left);
            if some > 0 {
                preview.batches.push(batch.slice(0, some));
                left -= some;
            }
        }
        Ok(preview)
    }

    fn attempt(&self) -> Attempt {
        Attempt::new("copy into", self.table.url())
    }

    /// Whether rows with these columns may be written at all.
    fn check(&self, snapshot: &Snapshot, schema: &Schema) -> Result<()> {
        let url = || self.table.url().to_owned();
        let incoming = StructType::from_arrow(schema).map_err(|source| DeltaError::Protocol { url: url(), source })?;
        let fits = snapshot.delta_schema().check_write(&incoming.as_data());
        Ok(fits.map_err(|source| DeltaError::Schema { url: url(), source })?)
    }

    /// The files that were not loaded before.
    fn choose(&self, snapshot: &Snapshot, all: Vec<SourceFile>) -> Choice {
        let known = &snapshot.state().app_txns;
        let (old, files): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|file| !self.settings.force && known.contains_key(&file.app_id()));
        Choice { files, known: old.len() as u64 }
    }

    /// What the commit says of these files.
    fn said(&self, snapshot: &Snapshot, files: &[Arc<Known>]) -> Vec<AppTransaction> {
        let said = |known: &Arc<Known>| {
            let app_id = known.file.app_id();
            let before = snapshot.state().app_txns.get(&app_id).and_then(|known| u64::try_from(known.txn.version).ok());
            let modified_ms = u64::try_from(known.file.modified_us() / 1000).unwrap_or(0);
            let version = before.map_or(modified_ms, |before| modified_ms.max(before.saturating_add(1)));
            AppTransaction { app_id, version, payload: None }
        };
        files.iter().map(said).collect()
    }

    /// Finds out what the files have, and starts to read them.
    async fn load(&self, snapshot: &Snapshot, choice: Choice, limit: Option<usize>) -> Result<Load> {
        let session = self.session.clone().unwrap_or_default();
        let attempt = self.attempt();
        let reader = Reader::new(self.format.clone(), self.source.clone(), &session.runtime_env(), attempt.clone())?;
        let table = snapshot.schema();
        let (mut files, mut corrupt) = (Vec::with_capacity(choice.files.len()), 0);
        let mut looks = stream::iter(choice.files).map(|file| self.look(&reader, file)).buffered(FILES_AT_ONCE);
        while let Some(look) = looks.next().await {
            match look? {
                Some(known) => files.push(Arc::new(self.named(known, &table)?)),
                None => corrupt += 1,
            }
        }
        drop(looks);
        let union = self.union(&files)?;
        let failed = |error| attempt.rows(from_datafusion("load the files", error));
        let rows = match &self.select {
            None => {
                let schema = union.for_table(reader.format(), &table);
                let reading = Reading::new(reader, files.clone(), schema);
                let frame = session.read_table(Arc::new(reading)).map_err(failed)?;
                self.start(frame, limit).await?
            }
            Some(select) => {
                let reading = Reading::new(reader, files.clone(), union.for_query());
                let lake = Lake::of(&session)?;
                let guard = lake.travel(Arc::new(reading));
                let query = format!("SELECT {select} FROM {} AS files", guard.reference());
                let only_reads = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
                let state = session.state();
                let dialect = state.config_options().sql_parser.dialect;
                let parsed = state.sql_to_statement(&query, &dialect).map_err(failed)?;
                let plan = spelling::plan(&session, parsed).await.map_err(failed)?;
                only_reads.verify_plan(&plan).map_err(failed)?;
                let frame = session.execute_logical_plan(plan).await.map_err(failed)?;
                let rows = self.start(frame, limit).await?;
                drop(guard);
                self.fitted(rows, &table)?
            }
        };
        Ok(Load { files, corrupt, rows })
    }

    async fn start(&self, frame: DataFrame, limit: Option<usize>) -> Result<BatchStream> {
        let failed = |error| self.attempt().rows(from_datafusion("load the files", error));
        let frame = if limit.is_some() { frame.limit(0, limit).map_err(failed)? } else { frame };
        batch_stream(frame).await.map_err(|source| self.attempt().rows(source))
    }

    /// A file and its columns; nothing when it is corrupt and that is no error.
    async fn look(&self, reader: &Reader, file: SourceFile) -> Result<Option<Known>> {
        let skips = self.settings.corrupt_files == CorruptFiles::Skip;
        let found = match reader.columns(&file).await {
            Ok(found) if skips => reader.try_out(&file, &found).await.map(|()| found),
            found => found,
        };
        match found {
            Ok(found) => {
                let names = found.fields().iter().map(|field| field.name().clone()).collect();
                let folders = file.folders.clone();
                Ok(Some(Known { file, found, names, folders }))
            }
            Err(error) if skips => {
                tracing::warn!(table = self.table.url(), file = file.url, %error, "a file is left out");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Calls the columns of a file what they are to be.
    fn named(&self, mut known: Known, table: &SchemaRef) -> Result<Known> {
        let (url, file) = (self.table.url().to_owned(), known.file.url.clone());
        let by_place = self.settings.by_position && self.select.is_none();
        if by_place {
            known.names = self.places(known.names.len(), &file, table)?;
        }
        let mut seen = BTreeSet::new();
        if let Some(column) = known.names.iter().find(|name| !seen.insert(name.to_lowercase())) {
            return Err(EngineError::CopyTwice { url, file, column: column.clone() });
        }
        let in_table = |name: &str| place(table, name).is_some();
        if self.select.is_none()
            && !self.settings.merge_schema
            && let Some(column) = known.names.iter().find(|name| !in_table(name))
        {
            let columns = table.fields().iter().map(|field| field.name());
            let nearest = nearest(column, columns).unwrap_or_else(|| "it has no columns".to_owned());
            return Err(EngineError::CopyColumn { url, file, column: column.clone(), nearest });
        }
        let takes_all = self.select.is_some() || self.settings.merge_schema;
        known.folders.retain(|(name, _)| !seen.contains(&name.to_lowercase()) && (takes_all || in_table(name)));
        Ok(known)
    }

    /// The columns of the table that are filled by place.
    fn places(&self, found: usize, file: &str, table: &SchemaRef) -> Result<Vec<String>> {
        let url = || self.table.url().to_owned();
        let mut names = Vec::new();
        for column in &self.settings.columns {
            let at = place(table, column).ok_or_else(|| {
                let (attempted, available) = ("copy into", crate::engine::assign::names(table));
                EngineError::UnknownColumn { attempted, url: url(), column: column.clone(), available }
            })?;
            names.push(table.field(at).name().clone());
        }
        if names.is_empty() {
            names.extend(table.fields().iter().map(|field| field.name().clone()));
        }
        match names.len() == found {
            true => Ok(names),
            false => Err(EngineError::CopyWidth { url: url(), file: file.to_owned(), found, wanted: names.len() }),
        }
    }

    /// All columns of all files.
    fn union(&self, files: &[Arc<Known>]) -> Result<Union> {
        let mut union = Union::default();
        for (nth, known) in files.iter().enumerate() {
            let own = known.found.fields().iter().zip(&known.names);
            let own = own.map(|(field, name)| Field::new(name, field.data_type().clone(), true));
            let text = datafusion::arrow::datatypes::DataType::Utf8;
            let of_folders = known.folders.iter().map(|(name, _)| Field::new(name, text.clone(), true));
            let schema = Schema::new(own.chain(of_folders).collect::<Vec<_>>());
            union.take(nth, &schema).map_err(|disagreement| EngineError::CopyTypes {
                url: self.table.url().to_owned(),
                column: disagreement.column,
                types: disagreement.types,
                files: Box::new((files[disagreement.first].file.url.clone(), known.file.url.clone())),
            })?;
        }
        Ok(union)
    }

    /// The rows of a query with the types of the table.
    fn fitted(&self, rows: BatchStream, table: &SchemaRef) -> Result<BatchStream> {
        let found = rows.schema();
        let names: Vec<String> = match self.settings.by_position {
            true => self.places(found.fields().len(), "the query", table)?,
            false => found.fields().iter().map(|field| field.name().clone()).collect(),
        };
        let fit = |(field, name): (&FieldRef, &String)| match place(table, name) {
            Some(at) if field.data_type().is_nested() || table.field(at).data_type().is_nested() => {
                Field::new(table.field(at).name(), field.data_type().clone(), true)
            }
            Some(at) => table.field(at).clone().with_nullable(true).with_metadata(Default::default()),
            None => Field::new(name, of_table(field.data_type()), true),
        };
        let schema: SchemaRef = Arc::new(Schema::new(found.fields().iter().zip(&names).map(fit).collect::<Vec<_>>()));
        let (attempt, shown) = (self.attempt(), SchemaRef::clone(&schema));
        let fitted = rows.map(move |batch| Ok(cast(&batch?, &schema, &attempt)?));
        Ok(BatchStream::new(shown, fitted))
    }
}

fn cast(batch: &RecordBatch, schema: &SchemaRef, attempt: &Attempt) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(values, field)| to_column(Arc::clone(values), field, attempt)).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let cast = RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options);
    cast.map_err(|source| attempt.compute(source))
}

impl std::fmt::Debug for CopyBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyBuilder").field("table", &self.table).field("source", &self.source).finish_non_exhaustive()
    }
}
