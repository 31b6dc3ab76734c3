//! A table's schema, partitioning and properties, parsed once and shared by readers and writers.

use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use boathouse_delta_protocol::action::{Metadata, Protocol};
use boathouse_delta_protocol::features;
use boathouse_delta_protocol::properties::TableProperties;
use boathouse_delta_protocol::schema::{ColumnMappingMode, DataType, PrimitiveType, StructType};

use crate::conform::FieldMatch;
use crate::error::{OnTable, Result};

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
        Ok(Self { schema, arrow, physical, mode, partition_columns, properties })
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

    /// Places of the columns that files have: all but partition columns, and those that are always null.
    pub(crate) fn file_columns(&self) -> Vec<usize> {
        let stored = |(_, field): &(usize, &boathouse_delta_protocol::schema::StructField)| {
            !self.partition_columns.contains(&field.name) && field.data_type != DataType::Primitive(PrimitiveType::Void)
        };
        self.schema.fields.iter().enumerate().filter(stored).map(|(at, _)| at).collect()
    }

    /// The schema of files that are written.
    pub(crate) fn file_schema(&self) -> SchemaRef {
        let fields: Vec<FieldRef> = self
            .file_columns()
            .into_iter()
            .map(|at| {
                // What the log keeps about a column has no place in files: a field id there would mean column mapping.
                let field = self.physical.field(at);
                Arc::new(field.clone().with_metadata(Default::default()))
            })
            .collect();
        Arc::new(Schema::new(fields))
    }

    /// The place of a column that the caller named: exactly, or else without regard to letter case.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.schema.index_of(name)
    }
}
