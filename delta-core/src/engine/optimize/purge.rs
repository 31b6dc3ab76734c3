//! Files that hold what the table does not have any more: deleted rows, or columns that were dropped.

use std::sync::Arc;

use boathouse_delta_protocol::schema::{ColumnMappingMode, is_variant};
use boathouse_delta_table::{DataFile, ObjectReader, Snapshot};
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields};
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use datafusion::parquet::errors::ParquetError;
use futures::{StreamExt, TryStreamExt, stream};

use super::bin::Bin;
use crate::engine::error::{Attempt, Result};

/// Footers that are read at once.
const FOOTERS_AT_ONCE: usize = 16;
/// Where a Parquet field keeps its id.
const FIELD_ID: &str = "PARQUET:field_id";

/// The files that are written again, each for itself.
///
/// **Cost**: where columns can be dropped, the footer of every file without deleted rows.
pub(super) async fn bins(snapshot: &Snapshot, files: Vec<DataFile>, attempt: &Attempt) -> Result<Vec<Bin>> {
    let columns = Columns::of(snapshot);
    let looks = stream::iter(files).map(|file| async {
        let stale = match &columns {
            _ if file.deletion_vector().is_some_and(|vector| vector.cardinality > 0) => true,
            None => false,
            Some(columns) => columns.are_exceeded(snapshot, &file, attempt).await?,
        };
        Ok::<_, crate::engine::EngineError>(stale.then(|| Bin { files: vec![file] }))
    });
    let found: Vec<Option<Bin>> = looks.buffered(FOOTERS_AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// The columns that files may have.
struct Columns(Fields);

impl Columns {
    /// Nothing where no column was ever dropped: without column mapping that is not possible.
    fn of(snapshot: &Snapshot) -> Option<Self> {
        let mode = snapshot.column_mapping();
        if mode == ColumnMappingMode::None {
            return None;
        }
        let physical = snapshot.delta_schema().physical(mode).to_arrow();
        let hidden = snapshot.row_tracking().map(|columns| [&columns.row_id, &columns.commit_version]);
        let hidden = hidden
            .into_iter()
            .flatten()
            .map(|name| Arc::new(datafusion::arrow::datatypes::Field::new(name, DataType::Int64, true)));
        Some(Self(physical.fields().iter().cloned().chain(hidden).collect()))
    }

    /// Whether a file has more.
    async fn are_exceeded(&self, snapshot: &Snapshot, file: &DataFile, attempt: &Attempt) -> Result<bool> {
        let storage = snapshot.table().storage();
        let path = file.object_path(storage)?;
        let mut reader = ObjectReader::new(Arc::clone(storage.object_store()), path, file.size_bytes());
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load_async(&mut reader, options).await;
        let metadata = metadata.map_err(|error| unreadable(snapshot, file, error, attempt))?;
        Ok(exceeds(metadata.schema().fields(), &self.0))
    }
}

fn unreadable(snapshot: &Snapshot, file: &DataFile, error: ParquetError, attempt: &Attempt) -> crate::engine::EngineError {
    let (url, path) = (snapshot.url().to_owned(), file.path().into_owned());
    attempt.rows(boathouse_delta_table::DeltaError::CorruptFile { url, path, source: error }.into())
}

/// Whether a field, at any depth, is not among those that are known.
fn exceeds(fields: &Fields, known: &Fields) -> bool {
    fields.iter().any(|field| match known.iter().find(|known| is_same(field, known)) {
        None => true,
        Some(known) => parts_exceed(field, known),
    })
}

fn parts_exceed(field: &FieldRef, known: &FieldRef) -> bool {
    match (field.data_type(), known.data_type()) {
        // What a shredded variant has more is a part of it.
        _ if is_variant(known) => false,
        (DataType::Struct(parts), DataType::Struct(known)) => exceeds(parts, known),
        (DataType::List(element), DataType::List(known)) => parts_exceed(element, known),
        (DataType::Map(entries, _), DataType::Map(known, _)) => match (entries.data_type(), known.data_type()) {
            // Keys and values have names that nobody cares about.
            (DataType::Struct(pair), DataType::Struct(known)) => {
                pair.iter().zip(known).any(|(part, known)| parts_exceed(part, known))
            }
            _ => false,
        },
        _ => false,
    }
}

fn is_same(field: &FieldRef, known: &FieldRef) -> bool {
    let id = |field: &FieldRef| field.metadata().get(FIELD_ID).cloned();
    match (id(field), id(known)) {
        (Some(one), Some(other)) => one == other,
        _ => field.name().to_lowercase() == known.name().to_lowercase(),
    }
}
