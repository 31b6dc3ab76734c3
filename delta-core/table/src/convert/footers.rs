//! What the footer of a file says: its columns, and statistics of them.

use arrow_schema::{DataType as ArrowType, Field, Fields, Schema, TimeUnit};
use boathouse_delta_protocol::schema::{DataType, PrimitiveType, StructField, StructType};
use boathouse_delta_protocol::stats::{ColumnPath, FileStats};
use boathouse_storage::{ObjectEntry, Storage};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::ParquetMetaData;
use std::sync::Arc;

use crate::error::{DeltaError, OnTable, Result};
use crate::scan::ObjectReader;
use crate::write::statistics::{self, Leaf};

/// A file, as its footer has it.
pub(super) struct Footer {
    pub(super) schema: StructType,
    pub(super) rows: u64,
    metadata: Arc<ParquetMetaData>,
    /// Its leaves, with the type whose bounds its numbers are; none where they are something else.
    leaves: Vec<Leaf>,
    /// Leaves whose bounds cannot be believed.
    without_bounds: Vec<bool>,
}

/// Reads the footer of a file.
///
/// **Errors**: `Corrupt` names the file that is no Parquet file; `Invalid` the column that Delta cannot hold.
pub(super) async fn read(storage: &Storage, entry: &ObjectEntry) -> Result<Footer> {
    let url = storage.url();
    let corrupt = |source| DeltaError::CorruptFile { url: url.to_owned(), path: entry.path.clone(), source };
    let mut reader = ObjectReader::new(Arc::clone(storage.object_store()), storage.path_of(&entry.path)?, entry.size_bytes);
    // Types are those of Parquet: what other programs keep beside them is theirs.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let loaded = ArrowReaderMetadata::load_async(&mut reader, options).await.map_err(corrupt)?;
    let metadata = Arc::clone(loaded.metadata());
    let leaves = metadata.file_metadata().schema_descr();
    let mut at = 0;
    let mut without_bounds = vec![false; leaves.num_columns()];
    let mut leaf_type = |arrow: &ArrowType| {
        let is_instant = leaves.columns().get(at).is_some_and(|leaf| leaf.physical_type() == PhysicalType::INT96);
        let believed = match arrow {
            // Nobody says whether there are NaNs, which are above every bound.
            ArrowType::Float16 | ArrowType::Float32 | ArrowType::Float64 => false,
            ArrowType::Timestamp(unit, _) => *unit == TimeUnit::Microsecond && !is_instant,
            other => is_plain(other),
        };
        if let Some(mark) = without_bounds.get_mut(at) {
            *mark = !believed;
        }
        at += 1;
        // The old instants of 96 bits are UTC, although their type does not say so.
        if is_instant { ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())) } else { arrow.clone() }
    };
    let fields = nullable(loaded.schema().fields(), &mut leaf_type);
    let schema = StructType::from_arrow(&Schema::new(fields)).on(url)?.as_data();
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or_default();
    let leaves = statistics::leaves(&schema.fields);
    Ok(Footer { schema, rows, metadata, leaves, without_bounds })
}

/// Whether numbers in the file are those of the table's type.
fn is_plain(data_type: &ArrowType) -> bool {
    matches!(
        data_type,
        ArrowType::Boolean
            | ArrowType::Int8
            | ArrowType::Int16
            | ArrowType::Int32
            | ArrowType::Int64
            | ArrowType::Date32
            | ArrowType::Utf8
            | ArrowType::Decimal128(_, _)
    )
}

/// The fields without metadata, all of them nullable: what other writers promise is not checked again.
fn nullable(fields: &Fields, leaf: &mut dyn FnMut(&ArrowType) -> ArrowType) -> Fields {
    fields.iter().map(|field| Field::new(field.name(), nullable_type(field.data_type(), leaf), true)).collect()
}

fn nullable_type(data_type: &ArrowType, leaf: &mut dyn FnMut(&ArrowType) -> ArrowType) -> ArrowType {
    let mut one =
        |field: &Field, nullable: bool| Arc::new(Field::new(field.name(), nullable_type(field.data_type(), leaf), nullable));
    match data_type {
        ArrowType::Struct(fields) => ArrowType::Struct(nullable(fields, leaf)),
        ArrowType::List(element) => ArrowType::List(one(element, true)),
        ArrowType::LargeList(element) => ArrowType::LargeList(one(element, true)),
        ArrowType::Map(entries, sorted) => match entries.data_type() {
            ArrowType::Struct(pair) if pair.len() == 2 => {
                let pair = vec![one(&pair[0], false), one(&pair[1], true)];
                ArrowType::Map(Arc::new(Field::new(entries.name(), ArrowType::Struct(pair.into()), false)), *sorted)
            }
            _ => leaf(data_type),
        },
        other => leaf(other),
    }
}

impl Footer {
    /// The statistics of the file, of columns of the table, by the names and types of the table.
    pub(super) fn stats(&self, table: &StructType, indexed: &[ColumnPath]) -> FileStats {
        let leaves: Vec<Leaf> = self.leaves.iter().filter_map(|leaf| as_in_table(leaf, table)).collect();
        statistics::collect(&self.metadata, &leaves, indexed, &self.without_bounds)
    }
}

/// A leaf of the file by its path in the table, letter case and all, with the type that it has there.
fn as_in_table(leaf: &Leaf, table: &StructType) -> Option<Leaf> {
    let (mut fields, mut path, mut data_type) = (Some(table), Vec::new(), None);
    for name in leaf.path.names() {
        let field: &StructField = fields?.field(name)?;
        path.push(field.name.clone());
        (fields, data_type) = match &field.data_type {
            DataType::Struct(inner) => (Some(inner), None),
            DataType::Primitive(primitive) => (None, Some(*primitive)),
            _ => (None, None),
        };
    }
    let found = leaf.data_type?;
    // A narrower integer has the same numbers; a decimal of another scale has not.
    let same = data_type.is_some_and(|wanted| wanted == found || is_integer(wanted) && is_integer(found));
    Some(Leaf { at: leaf.at, path: ColumnPath::new(path), data_type: data_type.filter(|_| same) })
}

fn is_integer(data_type: PrimitiveType) -> bool {
    use PrimitiveType::{Byte, Integer, Long, Short};
    matches!(data_type, Byte | Short | Integer | Long)
}
