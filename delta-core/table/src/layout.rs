//! A table's schema, partitioning and properties, parsed once and shared by readers and writers.

use std::sync::Arc;

use arrow_schema::{DataType as ArrowType, Field, FieldRef, Schema, SchemaRef};
use boathouse_delta_protocol::action::{Metadata, Protocol};
use boathouse_delta_protocol::features;
use boathouse_delta_protocol::properties::TableProperties;
use boathouse_delta_protocol::schema::{ColumnMappingMode, DataType, PrimitiveType, StructField, StructType};

use crate::conform::{FieldMatch, PARQUET_FIELD_ID};
use crate::error::{OnTable, Result};
use crate::row_tracking::RowTrackingColumns;

/// What a table looks like at a version.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) schema: StructType,
    /// Columns as users see them.
    pub(crate) arrow: SchemaRef,
    /// Columns as files have them, in the same order.
    pub(crate) physical: SchemaRef,
    pub(crate) mode: ColumnMappingMode,
    pub(crate) partition_columns: Vec<String>,
    pub(crate) properties: TableProperties,
    /// Whether files hold the partition columns too, behind the others.
    pub(crate) materialized: bool,
    /// The hidden columns of files in which rows carry their ids along, of a table that tracks its rows.
    pub(crate) row_tracking: Option<RowTrackingColumns>,
}

impl Layout {
    pub(crate) fn new(url: &str, protocol: &Protocol, metadata: &Metadata) -> Result<Self> {
        let schema = metadata.schema().on(url)?;
        schema.check_type_changes().on(url)?;
        let properties = metadata.properties().on(url)?;
        let mode = features::column_mapping(protocol, &properties);
        let arrow = Arc::new(schema.to_arrow());
        let physical = match mode {
            ColumnMappingMode::None => Arc::clone(&arrow),
            _ => Arc::new(schema.physical(mode).to_arrow()),
        };
        // Names of partition columns may differ from the schema's in letter case.
        let partition_columns = metadata
            .partition_columns
            .iter()
            .map(|name| schema.field(name).map_or_else(|| name.clone(), |f| f.name.clone()))
            .collect();
        let materialized = (properties.enable_iceberg_compat_v1 && features::has(protocol, "icebergCompatV1"))
            || (properties.enable_iceberg_compat_v2 && features::has(protocol, "icebergCompatV2"));
        let row_tracking = RowTrackingColumns::of(protocol, &properties);
        Ok(Self { schema, arrow, physical, mode, partition_columns, properties, materialized, row_tracking })
    }

    pub(crate) fn field_match(&self) -> FieldMatch {
        if self.mode == ColumnMappingMode::Id { FieldMatch::Id } else { FieldMatch::Name }
    }

    /// The place of a column among the partition columns.
    pub(crate) fn partition_at(&self, column: &str) -> Option<usize> {
        self.partition_columns.iter().position(|c| c == column)
    }

    /// Partition columns with their type, in order.
    pub(crate) fn partition_types(&self) -> Vec<(&str, PrimitiveType)> {
        self.partition_columns
            .iter()
            .map(|name| {
                let primitive = self.schema.field(name).and_then(|f| f.data_type.as_primitive());
                (name.as_str(), primitive.unwrap_or(PrimitiveType::String))
            })
            .collect()
    }

    /// Places of the columns that files have: all but partition columns, and those that are always null; then the
    /// partition columns where files hold them too.
    pub(crate) fn file_columns(&self) -> Vec<usize> {
        let is_partition = |at: &usize| self.partition_columns.contains(&self.schema.fields[*at].name);
        let is_stored = |at: &usize| self.schema.fields[*at].data_type != DataType::Primitive(PrimitiveType::Void);
        let all = || 0..self.schema.fields.len();
        let mut columns: Vec<usize> = all().filter(|at| !is_partition(at) && is_stored(at)).collect();
        if self.materialized {
            columns.extend(all().filter(is_partition));
        }
        columns
    }

    /// The schema of files that are written: physical names, and field ids where column mapping asks for them.
    ///
    /// What else the log keeps about a column has no place in files: a field id there would mean column mapping.
    pub(crate) fn file_schema(&self) -> SchemaRef {
        let fields: Vec<FieldRef> =
            self.file_columns().into_iter().map(|at| Arc::new(file_field(&self.schema.fields[at], self.mode))).collect();
        Arc::new(Schema::new(fields))
    }

    /// The schema of files whose rows carry their ids along.
    pub(crate) fn tracked_file_schema(&self, columns: &RowTrackingColumns) -> SchemaRef {
        let hidden = [&columns.row_id, &columns.commit_version].map(|name| Arc::new(Field::new(name, ArrowType::Int64, true)));
        Arc::new(Schema::new(self.file_schema().fields().iter().cloned().chain(hidden).collect::<Vec<FieldRef>>()))
    }

    /// The name of a column at the top in files, partition values and statistics.
    pub(crate) fn physical_name<'a>(&'a self, column: &'a str) -> &'a str {
        self.schema.field(column).map_or(column, |field| field.physical_name(self.mode))
    }

    /// The place of a column that the caller named: exactly, or else without regard to letter case.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.schema.index_of(name)
    }
}

/// A column as files have it.
fn file_field(column: &StructField, mode: ColumnMappingMode) -> Field {
    let name = column.physical_name(mode);
    let data_type = file_type(name, &column.data_type, column, mode);
    let field = Field::new(name, data_type, column.nullable);
    with_id(field, (mode != ColumnMappingMode::None).then(|| column.column_mapping_id()).flatten())
}

/// A type as files have it; `path` leads there from the nearest column above, whose metadata knows its id.
fn file_type(path: &str, data_type: &DataType, nearest: &StructField, mode: ColumnMappingMode) -> ArrowType {
    let id = |path: &str| (mode != ColumnMappingMode::None).then(|| nearest.nested_id(path)).flatten();
    let part = |name: &str, data_type: &DataType, nullable: bool| {
        let path = format!("{path}.{name}");
        let field = Field::new(name, file_type(&path, data_type, nearest, mode), nullable);
        with_id(field, id(&path))
    };
    match data_type {
        DataType::Primitive(primitive) => primitive.to_arrow(),
        DataType::Variant => data_type.to_arrow(),
        DataType::Struct(inner) => ArrowType::Struct(inner.fields.iter().map(|field| file_field(field, mode)).collect()),
        DataType::Array(array) => ArrowType::List(Arc::new(part("element", &array.element, array.contains_null))),
        DataType::Map(map) => {
            let entries = vec![part("key", &map.key, false), part("value", &map.value, map.value_contains_null)];
            ArrowType::Map(Arc::new(Field::new("key_value", ArrowType::Struct(entries.into()), false)), false)
        }
    }
}

fn with_id(field: Field, id: Option<i64>) -> Field {
    match id {
        Some(id) => field.with_metadata([(PARQUET_FIELD_ID.to_owned(), id.to_string())].into()),
        None => field,
    }
}
