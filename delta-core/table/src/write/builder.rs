//! Appending and overwriting.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::Schema;
use boathouse_base::{
    AppTransaction, BatchStream, IfAbsent, Predicate, Progress, ProgressUnit, SchemaMode, WriteMode, WriteReport, WriteRequest,
};
use boathouse_delta_protocol::action::{DomainMetadata, Metadata, Protocol};
use boathouse_delta_protocol::clustering::CLUSTERING_DOMAIN;
use boathouse_delta_protocol::conflict::{Conflict, change_that_matters};
use boathouse_delta_protocol::features::{self, RowChange};
use boathouse_delta_protocol::rules::Rules;
use boathouse_delta_protocol::schema::StructType;
use boathouse_delta_protocol::stats::ColumnPath;

use super::data_writer::{DataWriter, DataWriterSettings, WrittenFiles, discard};
use super::define::{Defined, Definition};
use super::evolve::{evolved, widening};
use super::replace::{self, Replaced};
use crate::cluster;
use crate::create::{ROW_TRACKING_NAMES, new_table};
use crate::error::{DeltaError, OnTable, Result};
use crate::filter::matching_rows;
use crate::layout::Layout;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::transaction::Transaction;

/// Writes a stream of batches as one version. Made by [`DeltaTable::append`] and [`DeltaTable::overwrite`].
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
/// # use boathouse_base::{AppTransaction, BatchStream};
/// # use boathouse_delta_table::{DeltaError, DeltaTable};
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// let columns = [
///     ("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
///     ("day", Arc::new(StringArray::from(vec!["mon", "tue"])) as ArrayRef),
/// ];
/// let batch = RecordBatch::try_from_iter(columns).unwrap();
/// let rows = || BatchStream::from_batches(batch.schema(), vec![batch.clone()]);
/// let once = AppTransaction { app_id: "nightly".into(), version: 1, payload: None };
///
/// let first = table.append(rows()).create_if_absent().partition_by(["day"]).app_transaction(once.clone()).run().await?;
/// assert_eq!((first.version, first.files_added), (0, 2));
/// let again = table.append(rows()).app_transaction(once).run().await?;
/// assert!(again.skipped);
/// # Ok::<_, DeltaError>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "nothing is written before `run`"]
pub struct WriteBuilder {
    table: DeltaTable,
    request: WriteRequest,
    data: BatchStream,
    settings: DataWriterSettings,
    /// The clustering columns of a table that is created.
    clustering: Vec<String>,
    history: History,
    /// The version to begin at; the newest otherwise.
    base: Option<Snapshot>,
    /// What the table becomes, whatever it was.
    definition: Option<Definition>,
}

/// What the history says of a write, besides its rows.
#[derive(Debug, Default)]
struct History {
    /// Other numbers that this write brings along.
    app_transactions: Vec<AppTransaction>,
    /// The operation, and what it was asked to do.
    operation: Option<(String, Vec<(String, String)>)>,
}

/// What is written to: the table as it is, or as it will be created.
struct Target {
    base: Option<Snapshot>,
    protocol: Option<Protocol>,
    metadata: Option<Metadata>,
    layout: Arc<Layout>,
    /// What a new table says of its clustering columns.
    clustering: Option<(Vec<ColumnPath>, DomainMetadata)>,
    /// Whether all that is said of the table is new.
    defined: bool,
}

impl WriteBuilder {
    pub(crate) fn new(table: DeltaTable, request: WriteRequest, data: BatchStream) -> Self {
        Self {
            table,
            request,
            data,
            settings: DataWriterSettings::default(),
            clustering: Vec::new(),
            history: History::default(),
            base: None,
            definition: None,
        }
    }

    /// A write that makes the table, or makes it anew.
    pub(crate) fn defining(table: DeltaTable, definition: Definition, data: BatchStream, base: Option<Snapshot>) -> Self {
        let request = match base {
            Some(_) => WriteRequest { mode: WriteMode::Overwrite, ..WriteRequest::append() },
            None => WriteRequest { if_absent: IfAbsent::create(), ..WriteRequest::append() },
        };
        Self { base, definition: Some(definition), ..Self::new(table, request, data) }
    }

    /// Creates the table if there is none, without partitions and properties unless they are given.
    pub fn create_if_absent(mut self) -> Self {
        if self.request.if_absent == IfAbsent::Fail {
            self.request.if_absent = IfAbsent::create();
        }
        self
    }

    /// Partitions a table that is created by these columns; one that exists must be partitioned by them.
    pub fn partition_by<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        match &mut self.request.if_absent {
            IfAbsent::Create { partition_columns, .. } => *partition_columns = columns,
            fail @ IfAbsent::Fail => *fail = IfAbsent::Create { partition_columns: columns, properties: BTreeMap::new() },
        }
        self
    }

    /// Clusters a table that is created by these columns; one that exists stays as it is.
    pub fn cluster_by<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.clustering = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a property of a table that is created.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self = self.create_if_absent();
        if let IfAbsent::Create { properties, .. } = &mut self.request.if_absent {
            properties.insert(key.into(), value.into());
        }
        self
    }

    /// Adds columns that the table does not have. Types become wider where the data's are and the table allows it
    /// (`delta.enableTypeWidening`).
    pub fn merge_schema(mut self) -> Self {
        self.request.schema_mode = SchemaMode::Merge;
        self
    }

    /// Takes the schema of the data. Only when all rows are overwritten.
    pub fn overwrite_schema(mut self) -> Self {
        self.request.schema_mode = SchemaMode::Overwrite;
        self
    }

    /// Replaces exactly the rows that match; every new row must match as well.
    pub fn replace_where(mut self, predicate: Predicate) -> Self {
        self.request.mode = WriteMode::ReplaceWhere(predicate);
        self
    }

    /// Makes the write idempotent: it is skipped when the application committed this version, or a later one, before.
    pub fn app_transaction(mut self, transaction: AppTransaction) -> Self {
        self.request.app_transaction = Some(transaction);
        self
    }

    /// Begins at this version in place of the newest: whoever committed since the caller looked at it is checked for conflicts.
    pub fn based_on(mut self, snapshot: &Snapshot) -> Self {
        self.base = Some(snapshot.clone());
        self
    }

    /// Keeps the numbers of these applications with the write. Nothing is skipped for them: the caller has looked at the version that this
    /// write is [based on](Self::based_on). Another writer that commits for one of them meanwhile is a conflict.
    pub fn app_transactions(mut self, transactions: impl IntoIterator<Item = AppTransaction>) -> Self {
        self.history.app_transactions.extend(transactions);
        self
    }

    /// Names the operation in the history, and what it was asked to do, in place of `WRITE`.
    pub fn operation<'k>(mut self, name: &str, parameters: impl IntoIterator<Item = (&'k str, String)>) -> Self {
        let parameters = parameters.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        self.history.operation = Some((name.to_owned(), parameters));
        self
    }

    /// Keeps a free fact in the history.
    pub fn commit_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.commit_metadata.insert(key.into(), value.into());
        self
    }

    /// Ends files at about so many bytes.
    pub fn target_file_size_bytes(mut self, bytes: u64) -> Self {
        self.settings.target_file_size_bytes = Some(bytes);
        self
    }

    /// Sets how data files are written.
    pub fn with_writer_settings(mut self, settings: DataWriterSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Tells an observer how many rows are written.
    pub fn progress(mut self, progress: Progress) -> Self {
        self.request.progress = progress;
        self
    }

    /// Writes. The table is at a new version afterwards, or as it was.
    ///
    /// **Errors**: `Invalid` when the data does not fit, with the column and both types; `NotFound` without a table;
    /// `Conflict` when another writer changed what this write relies on; what the data stream or the store say.
    ///
    /// **Cost**: one pass over the data, which is never held as a whole: see [`DataWriter`].
    pub async fn run(self) -> Result<WriteReport> {
        let Self { table, request, mut data, settings, clustering, history, base, definition } = self;
        let url = table.url().to_owned();
        let base = match base {
            Some(base) => Some(base),
            None if definition.is_some() => None,
            None => table.try_snapshot().await?,
        };
        if let (Some(base), Some(asked)) = (&base, &request.app_transaction)
            && let Some(report) = already_done(base, asked)
        {
            return Ok(report);
        }
        let target = match &definition {
            Some(definition) => defined(&table, base, definition, &data.schema())?,
            None => target(&table, base, &request, &clustering, &data.schema()).await?,
        };
        let storage = table.storage().clone();
        let mut writer = target.writer(&table, settings)?;
        let written = write_rows(&mut writer, &mut data, &request, &url).await;
        let replaced = match (written, &target.base) {
            (Ok(()), Some(base)) => replace::plan(base, &request.mode, &mut writer).await,
            (Ok(()), None) => Ok(Replaced::default()),
            (Err(error), _) => Err(error),
        };
        let replaced = match replaced {
            Ok(replaced) => replaced,
            Err(error) => {
                writer.abort().await;
                return Err(error);
            }
        };
        let rows = writer.rows() - replaced.rows_kept;
        let files = writer.finish().await?;
        let created = target.base.is_none();
        let mut committed = commit(&table, &target, (&request, &history), &files, &replaced, rows).await;
        if matches!(committed, Err(DeltaError::CreatedMeanwhile { .. }))
            && files.high_water_marks.is_empty()
            && definition.is_none()
            && let Some(joined) = join(&table, &target, &request).await?
        {
            if let (Some(base), Some(asked)) = (&joined.base, &request.app_transaction)
                && let Some(report) = already_done(base, asked)
            {
                discard(&storage, &files.adds).await;
                return Ok(report);
            }
            committed = commit(&table, &joined, (&request, &history), &files, &replaced, rows).await;
        }
        let report = match committed {
            Ok(report) => report,
            Err(error) => {
                // Another instance of the same application may have been faster with the very same write.
                if let DeltaError::Conflict { source, .. } = &error
                    && let Conflict::ConcurrentTransaction { .. } = source.as_ref()
                    && let Some(asked) = &request.app_transaction
                    && let Some(report) = already_done(&table.snapshot().await?, asked)
                {
                    discard(&storage, &files.adds).await;
                    return Ok(report);
                }
                if !matches!(error, DeltaError::CommitUnknown { .. }) {
                    discard(&storage, &files.adds).await;
                }
                return Err(error);
            }
        };
        tracing::debug!(table = url, version = report.0, rows, files = files.adds.len(), created, "wrote");
        Ok(WriteReport {
            version: report.0,
            skipped: false,
            rows,
            files_added: files.adds.len() as u64,
            files_removed: replaced.removed.len() as u64,
            bytes_added: files.bytes,
            attempts: report.1,
        })
    }
}

fn already_done(base: &Snapshot, asked: &AppTransaction) -> Option<WriteReport> {
    let known = base.state().app_txns.get(&asked.app_id)?;
    let done = i64::try_from(asked.version).is_ok_and(|version| version <= known.txn.version);
    done.then(|| WriteReport { version: base.version(), skipped: true, ..WriteReport::default() })
}

/// Another writer created the table at the same time: the table that is there now, if the written files fit into it as they are.
/// (Those with identity columns never do: both writers began to number at the same number.)
async fn join(table: &DeltaTable, target: &Target, request: &WriteRequest) -> Result<Option<Target>> {
    let Some(mine) = target.metadata.as_ref().filter(|_| request.mode == WriteMode::Append) else { return Ok(None) };
    let base = table.snapshot().await?;
    features::check_write(base.protocol(), base.metadata()).on(table.url())?;
    // The name of the table is the other's, and so are properties that these files do not show.
    let mut mine = Metadata { id: base.metadata().id.clone(), ..mine.clone() };
    // New rows do not use the hidden columns: their names may be the other's.
    for key in ROW_TRACKING_NAMES {
        if let (Some(name), Some(theirs)) = (mine.configuration.get_mut(key), base.metadata().configuration.get(key)) {
            name.clone_from(theirs);
        }
    }
    let clustering = target.clustering.as_ref().map(|(paths, _)| paths.as_slice()).unwrap_or_default();
    if change_that_matters(&mine, base.metadata(), true).is_some() || clustering != base.clustering_columns()? {
        return Ok(None);
    }
    Ok(Some(Target {
        base: Some(base),
        protocol: None,
        metadata: None,
        layout: Arc::clone(&target.layout),
        clustering: None,
        defined: false,
    }))
}

/// Checks the schema of the data against the table, and decides what becomes of the table's.
async fn target(
    table: &DeltaTable,
    base: Option<Snapshot>,
    request: &WriteRequest,
    clustering: &[String],
    schema: &Schema,
) -> Result<Target> {
    let url = table.url();
    if request.schema_mode == SchemaMode::Overwrite && request.mode != WriteMode::Overwrite {
        return Err(DeltaError::SchemaOverwriteKeepsRows { url: url.to_owned() });
    }
    let incoming = StructType::from_arrow(schema).on(url)?.as_data();
    let Some(base) = base else {
        let IfAbsent::Create { partition_columns, properties } = &request.if_absent else {
            return Err(crate::log::list::no_table(table.storage()).await);
        };
        let (mut protocol, metadata) = new_table(table, incoming, partition_columns, properties, None, None)?;
        let (paths, domain) = cluster::of_new_table(url, &mut protocol, &metadata, clustering)?;
        let layout = Arc::new(Layout::new(url, &protocol, &metadata)?);
        let clustering = domain.map(|domain| (paths, domain));
        return Ok(Target { base: None, protocol: Some(protocol), metadata: Some(metadata), layout, clustering, defined: false });
    };
    features::check_write(base.protocol(), base.metadata()).on(url)?;
    if request.mode != WriteMode::Append {
        features::check_change(base.protocol(), base.properties(), RowChange::RemoveFiles).on(url)?;
    }
    if let WriteMode::ReplaceWhere(predicate) = &request.mode
        && let Some(column) = predicate.columns().into_iter().find(|c| replace::top_column(&base, c).is_none())
    {
        return Err(DeltaError::UnknownColumn {
            url: url.to_owned(),
            column: column.to_owned(),
            available: base.delta_schema().names().collect::<Vec<_>>().join(", "),
        });
    }
    if let IfAbsent::Create { partition_columns, .. } = &request.if_absent
        && !partition_columns.is_empty()
        && !partition_columns
            .iter()
            .map(|name| name.to_lowercase())
            .eq(base.partition_columns().iter().map(|name| name.to_lowercase()))
    {
        return Err(DeltaError::PartitionColumnsDiffer {
            url: url.to_owned(),
            table: base.partition_columns().join(", "),
            asked: partition_columns.join(", "),
        });
    }
    let known = base.delta_schema();
    let schema = match request.schema_mode {
        SchemaMode::Enforce => {
            known.check_write(&incoming).on(url)?;
            None
        }
        SchemaMode::Merge => {
            let merged = known.merge_widening(&incoming, widening(&base)).on(url)?;
            merged.check_write(&incoming).on(url)?;
            (merged != *known).then_some(merged)
        }
        SchemaMode::Overwrite => (incoming != known.as_data()).then(|| incoming.keep_mapping(known)),
    };
    let Some(schema) = schema else {
        let layout = Arc::clone(base.layout());
        return Ok(Target { base: Some(base), protocol: None, metadata: None, layout, clustering: None, defined: false });
    };
    let (protocol, metadata, layout) = evolved(&base, schema)?;
    Ok(Target { base: Some(base), protocol, metadata: Some(metadata), layout, clustering: None, defined: false })
}

/// A table that is what a definition says.
fn defined(table: &DeltaTable, base: Option<Snapshot>, definition: &Definition, schema: &Schema) -> Result<Target> {
    let url = table.url();
    if let Some(base) = &base {
        features::check_write(base.protocol(), base.metadata()).on(url)?;
        features::check_change(base.protocol(), base.properties(), RowChange::RemoveFiles).on(url)?;
    }
    let Defined { protocol, metadata, clustering } = definition.apply(table, base.as_ref())?;
    let now = protocol.as_ref().or(base.as_ref().map(Snapshot::protocol)).cloned().unwrap_or_default();
    let layout = Arc::new(Layout::new(url, &now, &metadata)?);
    let incoming = StructType::from_arrow(schema).on(url)?.as_data();
    layout.schema.check_write(&incoming).on(url)?;
    Ok(Target { base, protocol, metadata: Some(metadata), layout, clustering, defined: true })
}

impl Target {
    /// A writer of files for it.
    fn writer(&self, table: &DeltaTable, settings: DataWriterSettings) -> Result<DataWriter> {
        let base = self.base.as_ref();
        let protocol = self.protocol.as_ref().or(base.map(Snapshot::protocol));
        let metadata = self.metadata.as_ref().or(base.map(Snapshot::metadata));
        let rules = match (protocol, metadata) {
            (Some(protocol), Some(metadata)) => Rules::of(protocol, metadata, &self.layout.schema).on(table.url())?,
            // `target` makes no other.
            _ => Rules::default(),
        };
        let clustering = match (base, &self.clustering) {
            (_, Some((paths, _))) => paths.clone(),
            (Some(base), None) => base.clustering_columns()?,
            (None, None) => Vec::new(),
        };
        DataWriter::with_layout(table, Arc::clone(&self.layout), &rules, &clustering, settings)
    }
}

async fn write_rows(writer: &mut DataWriter, data: &mut BatchStream, request: &WriteRequest, url: &str) -> Result<()> {
    while let Some(batch) = data.next().await {
        let batch = batch.map_err(|source| DeltaError::Input { url: url.to_owned(), source })?;
        // The condition may be on a column that the table fills in.
        let batch = writer.complete(&batch)?.unwrap_or(batch);
        if let WriteMode::ReplaceWhere(predicate) = &request.mode {
            let matching = matching_rows(predicate, &batch).map_err(|source| DeltaError::Compute {
                attempted: "filter",
                url: url.to_owned(),
                source,
            })?;
            if let Some(row) = matching.iter().position(|m| m != Some(true)) {
                return Err(DeltaError::ReplacedRowOutside { url: url.to_owned(), predicate: predicate.to_string(), row });
            }
        }
        writer.append(&batch, None).await?;
        request.progress.report("write", writer.rows(), None, ProgressUnit::Rows);
    }
    Ok(())
}

async fn commit(
    table: &DeltaTable,
    target: &Target,
    (request, history): (&WriteRequest, &History),
    files: &WrittenFiles,
    replaced: &Replaced,
    rows: u64,
) -> Result<(u64, u32)> {
    let mut transaction = match (&target.base, &target.protocol, &target.metadata) {
        (None, Some(protocol), Some(metadata)) => Transaction::create(table.clone(), protocol.clone(), metadata.clone()),
        (Some(base), protocol, metadata) => {
            let mut transaction = Transaction::begin(base);
            if let Some(protocol) = protocol {
                transaction = transaction.set_protocol(protocol.clone());
            }
            if let Some(metadata) = metadata {
                transaction = transaction.set_metadata(metadata.clone());
            }
            transaction
        }
        // `target` makes no other; the transaction would refuse to create a table without metadata.
        (None, _, _) => return Err(crate::log::list::no_table(table.storage()).await),
    };
    if let Some((_, domain)) = &target.clustering {
        transaction = transaction.domain_metadata(domain.clone());
    }
    if target.defined && target.base.is_some() {
        transaction = transaction.read_metadata().read_domain(CLUSTERING_DOMAIN);
    }
    let partitions: Vec<String> = target.layout.partition_columns.clone();
    let partitions = serde_json::Value::from(partitions).to_string();
    let mut parameters = vec![("mode", "Append".to_owned()), ("partitionBy", partitions)];
    match &request.mode {
        WriteMode::Append => {}
        WriteMode::Overwrite => {
            "Overwrite".clone_into(&mut parameters[0].1);
            transaction = transaction.read_whole_table();
        }
        WriteMode::ReplaceWhere(predicate) => {
            "Overwrite".clone_into(&mut parameters[0].1);
            parameters.push(("predicate", predicate.to_string()));
            transaction = transaction.read_predicate(predicate.clone()).read_files(&replaced.rewritten);
        }
    }
    if !replaced.rewritten.is_empty() {
        transaction = transaction.row_change(RowChange::Rewrite);
    }
    if let Some(app) = &request.app_transaction {
        transaction = transaction.app_transaction(app)?;
    }
    for app in &history.app_transactions {
        transaction = transaction.app_transaction(app)?;
    }
    let name = match &history.operation {
        Some((name, asked)) => {
            parameters = asked.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
            name.as_str()
        }
        None => "WRITE",
    };
    let report = transaction
        .add_written(files)?
        .remove_all(&replaced.removed)
        .operation(name, parameters)
        .metrics([
            ("numFiles", files.adds.len() as u64),
            ("numOutputRows", rows),
            ("numOutputBytes", files.bytes),
            ("numRemovedFiles", replaced.removed.len() as u64),
        ])
        .commit_metadata(&request.commit_metadata)
        .commit()
        .await?;
    Ok((report.version, report.attempts))
}
