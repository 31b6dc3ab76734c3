//! Files written again as they would be in a table without a feature.

use std::sync::Arc;

use arrow_schema::DataType;
use boathouse_delta_protocol::action::{Add, Metadata};
use boathouse_delta_protocol::features::RowChange;
use boathouse_delta_protocol::rules::Rules;
use boathouse_delta_protocol::stats::ColumnPath;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use crate::conform::{FieldMatch, find_field};
use crate::error::{DeltaError, Result};
use crate::layout::Layout;
use crate::scan::{DataFile, FileRead, ObjectReader};
use crate::snapshot::Snapshot;
use crate::transaction::Transaction;
use crate::write::{DataWriter, DataWriterSettings, discard};

/// Files that take the place of others, with the same rows.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    removed: Vec<DataFile>,
    adds: Vec<Add>,
    rows: u64,
    bytes: u64,
}

impl Rewritten {
    /// Files that leave.
    pub(super) fn files(&self) -> u64 {
        self.removed.len() as u64
    }

    /// The exchange, staged: no row changes.
    pub(super) fn stage(&self, transaction: Transaction, now_ms: i64) -> Transaction {
        let transaction = transaction.row_change(RowChange::Rearrange).keeps_row_ids();
        let removes = self.removed.iter().map(|file| file.add().to_remove(now_ms, false));
        let transaction = removes.fold(transaction, Transaction::remove_action).add_all(self.adds.iter().cloned());
        transaction.metrics([("numRewrittenFiles", self.files()), ("numOutputBytes", self.bytes), ("numCopiedRows", self.rows)])
    }

    /// Deletes the new files of a version that was not made. Best effort.
    pub(super) async fn discard(&self, snapshot: &Snapshot) {
        discard(snapshot.table().storage(), &self.adds).await;
    }
}

/// Writes each of these files again, for itself, as files of a table with this metadata are. Rows take their ids along.
///
/// **Cost**: reads and writes the files once, one after the other.
pub(super) async fn rewrite(snapshot: &Snapshot, metadata: &Metadata, files: Vec<DataFile>) -> Result<Rewritten> {
    let layout = Arc::new(Layout::new(snapshot.url(), snapshot.protocol(), metadata)?);
    let clustering = snapshot.clustering_columns()?;
    let mut rewritten = Rewritten::default();
    for file in files {
        if let Err(error) = one(snapshot, &layout, &clustering, &file, &mut rewritten).await {
            rewritten.discard(snapshot).await;
            return Err(error);
        }
        rewritten.removed.push(file);
    }
    Ok(rewritten)
}

async fn one(
    snapshot: &Snapshot,
    layout: &Arc<Layout>,
    clustering: &[ColumnPath],
    file: &DataFile,
    into: &mut Rewritten,
) -> Result<()> {
    let settings =
        DataWriterSettings { target_file_size_bytes: Some(u64::MAX), data_change: false, ..DataWriterSettings::default() };
    // Rules were obeyed when the rows came.
    let mut writer = DataWriter::with_layout(snapshot.table(), Arc::clone(layout), &Rules::default(), clustering, settings)?;
    if let Err(error) = copy(snapshot, file, &mut writer).await {
        writer.abort().await;
        return Err(error);
    }
    let written = writer.finish().await?;
    into.rows += written.rows;
    into.bytes += written.bytes;
    into.adds.extend(written.adds);
    Ok(())
}

async fn copy(snapshot: &Snapshot, file: &DataFile, writer: &mut DataWriter) -> Result<()> {
    let tracking = snapshot.row_tracking();
    let mut rows = snapshot.read_file(file, FileRead { row_tracking: tracking.cloned(), ..FileRead::default() })?;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|source| DeltaError::Input { url: snapshot.url().to_owned(), source })?;
        match tracking.and_then(|columns| columns.split(&batch)) {
            Some((rows, origins)) => writer.write_kept_from(&rows, &origins).await?,
            None => writer.write_kept(&batch).await?,
        }
    }
    Ok(())
}

/// The files in which a column is of a type that it had before.
///
/// **Cost**: the footers of all files, one after the other.
pub(super) async fn with_old_types(snapshot: &Snapshot) -> Result<Vec<DataFile>> {
    let layout = snapshot.layout();
    let changed: Vec<&str> =
        snapshot.delta_schema().columns_with_type_changes().iter().map(|field| field.name.as_str()).collect();
    let files = snapshot.files(None).await?;
    if changed.iter().any(|column| layout.partition_at(column).is_some()) {
        // Their values stand in the log, as texts of the type that was.
        return Ok(files);
    }
    let places: Vec<usize> = changed.iter().filter_map(|column| layout.column(column)).collect();
    let mut old = Vec::new();
    for file in files {
        let storage = snapshot.table().storage();
        let path = file.object_path(storage)?;
        let mut reader = ObjectReader::new(Arc::clone(storage.object_store()), path, file.size_bytes());
        // Types are those of Parquet: what other programs keep beside them is theirs.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let footer = ArrowReaderMetadata::load_async(&mut reader, options).await.map_err(|source| DeltaError::CorruptFile {
            url: snapshot.url().to_owned(),
            path: file.path().into_owned(),
            source,
        })?;
        let by = layout.field_match();
        let differs = places.iter().any(|at| {
            let column = layout.physical.field(*at);
            let fields = footer.schema().fields();
            find_field(fields, column, by).is_some_and(|found| differ(fields[found].data_type(), column.data_type(), by))
        });
        if differs {
            old.push(file);
        }
    }
    Ok(old)
}

/// Whether a file has another type, at any depth, than the table.
fn differ(file: &DataType, table: &DataType, by: FieldMatch) -> bool {
    match (file, table) {
        (DataType::Struct(file), DataType::Struct(table)) => table.iter().any(|column| {
            find_field(file, column, by).is_some_and(|found| differ(file[found].data_type(), column.data_type(), by))
        }),
        (DataType::List(file), DataType::List(table)) => differ(file.data_type(), table.data_type(), by),
        (DataType::Map(file, _), DataType::Map(table, _)) => match (file.data_type(), table.data_type()) {
            // Keys and values have names that nobody cares about.
            (DataType::Struct(file), DataType::Struct(table)) => {
                file.iter().zip(table).any(|(file, table)| differ(file.data_type(), table.data_type(), by))
            }
            _ => file != table,
        },
        // Units, and what is said of zones, are those of the writer.
        (DataType::Timestamp(..), DataType::Timestamp(..)) => false,
        _ => file != table,
    }
}
