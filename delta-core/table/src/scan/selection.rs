//! Row groups that can match, and rows that are not deleted.

use std::ops::Range;

use boathouse_base::{Bounds, ColumnBounds, Predicate, Value};
use boathouse_delta_protocol::deletion_vector::DeletionVector;
use boathouse_delta_protocol::schema::{DataType, PrimitiveType};
use parquet::arrow::arrow_reader::RowSelection;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as PhysicalType};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::ColumnDescriptor;

use crate::layout::Layout;
use crate::write::statistics::bounds;

/// The row groups of a file that can hold a matching row.
pub(crate) fn row_groups(metadata: &ParquetMetaData, predicate: &Predicate, layout: &Layout, values: &[Value]) -> Vec<usize> {
    let known = GroupColumns::new(metadata, predicate, layout, values);
    let groups = metadata.row_groups().iter().enumerate();
    groups.filter(|(_, group)| predicate.may_match(&GroupBounds { columns: &known, group })).map(|(at, _)| at).collect()
}

/// The rows of these row groups that are not deleted.
pub(crate) fn without_deleted(metadata: &ParquetMetaData, groups: &[usize], vector: &DeletionVector) -> RowSelection {
    let (mut kept, mut before): (Vec<Range<usize>>, u64) = (Vec::new(), 0);
    let ranges = ranges(metadata);
    for range in groups.iter().filter_map(|at| ranges.get(*at)) {
        let place = |row: u64| usize::try_from(row - range.start + before).unwrap_or(usize::MAX);
        kept.extend(vector.kept(range.clone()).map(|stretch| place(stretch.start)..place(stretch.end)));
        before += range.end - range.start;
    }
    RowSelection::from_consecutive_ranges(kept.into_iter(), usize::try_from(before).unwrap_or(usize::MAX))
}

/// These rows of the row groups, and no other.
pub(crate) fn only(metadata: &ParquetMetaData, groups: &[usize], wanted: &DeletionVector) -> RowSelection {
    let (mut kept, mut before): (Vec<Range<usize>>, u64) = (Vec::new(), 0);
    let ranges = ranges(metadata);
    for range in groups.iter().filter_map(|at| ranges.get(*at)) {
        let place = |row: u64| usize::try_from(row - range.start + before).unwrap_or(usize::MAX);
        kept.extend(wanted.runs(range.clone()).map(|run| place(run.start)..place(run.end)));
        before += range.end - range.start;
    }
    RowSelection::from_consecutive_ranges(kept.into_iter(), usize::try_from(before).unwrap_or(usize::MAX))
}

/// Leaves the row groups that have one of these rows.
pub(crate) fn with_rows(metadata: &ParquetMetaData, groups: Vec<usize>, wanted: &DeletionVector) -> Vec<usize> {
    let ranges = ranges(metadata);
    let has_some = |at: &usize| ranges.get(*at).is_some_and(|range| wanted.count_in(range.clone()) > 0);
    groups.into_iter().filter(has_some).collect()
}

/// The rows of each row group, by their place in the file.
fn ranges(metadata: &ParquetMetaData) -> Vec<Range<u64>> {
    let mut start = 0_u64;
    let range = |group: &RowGroupMetaData| {
        let from = start;
        start += rows(group);
        from..start
    };
    metadata.row_groups().iter().map(range).collect()
}

fn rows(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or_default()
}

/// Where the columns of a predicate are in a file.
pub(crate) struct GroupColumns {
    columns: Vec<(String, Source)>,
}

pub(crate) enum Source {
    Partition(Value),
    Leaf(usize, PrimitiveType),
    /// The file does not have it: it is null in every row.
    Missing,
}

impl GroupColumns {
    pub(crate) fn new(metadata: &ParquetMetaData, predicate: &Predicate, layout: &Layout, values: &[Value]) -> Self {
        let parquet = metadata.file_metadata().schema_descr();
        let source = |name: &str| -> Option<Source> {
            if let Some(at) = layout.partition_at(name) {
                return values.get(at).cloned().map(Source::Partition);
            }
            let (path, primitive) = physical_path(layout, name)?;
            let found = parquet.columns().iter().position(|c| c.path().parts() == path.as_slice());
            match found {
                Some(at) => trusted(&parquet.column(at), primitive).then_some(Source::Leaf(at, primitive)),
                // With field ids, or other letter case, it may be there under another name.
                None => {
                    let root = path.first()?.to_lowercase();
                    let by_name = layout.field_match() == crate::conform::FieldMatch::Name;
                    let absent = !parquet.root_schema().get_fields().iter().any(|f| f.name().to_lowercase() == root);
                    (by_name && absent).then_some(Source::Missing)
                }
            }
        };
        let columns = predicate.columns().into_iter().filter_map(|name| Some((name.to_owned(), source(name)?)));
        Self { columns: columns.collect() }
    }

    pub(crate) fn source(&self, column: &str) -> Option<&Source> {
        self.columns.iter().find(|(name, _)| name == column).map(|(_, source)| source)
    }

    /// The places of the leaves that the predicate reads.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().filter_map(|(_, source)| match source {
            Source::Leaf(at, _) => Some(*at),
            _ => None,
        })
    }
}

/// The path of a leaf column in files, and its type. Lists and maps have none.
fn physical_path(layout: &Layout, name: &str) -> Option<(Vec<String>, PrimitiveType)> {
    let mut fields = &layout.schema;
    let mut rest = name;
    let mut path = Vec::new();
    loop {
        if let Some(field) = fields.fields.iter().find(|f| f.name == rest) {
            path.push(field.physical_name(layout.mode).to_owned());
            return Some((path, field.data_type.as_primitive()?));
        }
        let (field, below) =
            fields.fields.iter().find_map(|f| Some((f, rest.strip_prefix(f.name.as_str())?.strip_prefix('.')?)))?;
        let DataType::Struct(inner) = &field.data_type else { return None };
        path.push(field.physical_name(layout.mode).to_owned());
        (fields, rest) = (inner, below);
    }
}

/// Whether statistics of this Parquet column can be read as values of the table's type.
fn trusted(column: &ColumnDescriptor, primitive: PrimitiveType) -> bool {
    if column.max_rep_level() > 0 {
        return false;
    }
    let (physical, converted) = (column.physical_type(), column.converted_type());
    let integer = matches!(physical, PhysicalType::INT32 | PhysicalType::INT64);
    let unsigned =
        matches!(converted, ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64);
    match primitive {
        PrimitiveType::Long | PrimitiveType::Integer | PrimitiveType::Short | PrimitiveType::Byte => {
            integer && !unsigned && converted != ConvertedType::DECIMAL
        }
        PrimitiveType::Float | PrimitiveType::Double => matches!(physical, PhysicalType::FLOAT | PhysicalType::DOUBLE),
        PrimitiveType::Boolean => physical == PhysicalType::BOOLEAN,
        PrimitiveType::String => physical == PhysicalType::BYTE_ARRAY,
        PrimitiveType::Binary => physical == PhysicalType::BYTE_ARRAY && converted == ConvertedType::NONE,
        PrimitiveType::Date => converted == ConvertedType::DATE,
        PrimitiveType::Timestamp | PrimitiveType::TimestampNtz => {
            converted == ConvertedType::TIMESTAMP_MICROS
                || matches!(column.logical_type_ref(), Some(LogicalType::Timestamp(t)) if t.unit == TimeUnit::MICROS)
        }
        PrimitiveType::Decimal { scale, .. } => column.type_scale() == i32::from(scale) && converted == ConvertedType::DECIMAL,
        PrimitiveType::Void => false,
    }
}

struct GroupBounds<'a> {
    columns: &'a GroupColumns,
    group: &'a RowGroupMetaData,
}

impl Bounds for GroupBounds<'_> {
    fn row_count(&self) -> Option<u64> {
        Some(rows(self.group))
    }

    fn column(&self, column: &str) -> ColumnBounds {
        let all_null = || ColumnBounds { null_count: Some(rows(self.group)), ..ColumnBounds::default() };
        match self.columns.source(column) {
            None => ColumnBounds::default(),
            Some(Source::Missing) | Some(Source::Partition(Value::Null)) => all_null(),
            Some(Source::Partition(value)) => {
                ColumnBounds { min: Some(value.clone()), max: Some(value.clone()), null_count: Some(0) }
            }
            Some(Source::Leaf(at, primitive)) => {
                let Some(stats) = self.group.columns().get(*at).and_then(|c| c.statistics()) else {
                    return ColumnBounds::default();
                };
                let (min, max) = bounds(stats, *primitive);
                ColumnBounds { min, max, null_count: stats.null_count_opt() }
            }
        }
    }
}
