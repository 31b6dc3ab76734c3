//! Columns by which rows are ordered.

use std::sync::Arc;

use boathouse_delta_protocol::stats::{ColumnPath, indexed_columns};
use boathouse_delta_table::{DeltaError, Snapshot};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::{is_null, nullif};
use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::arrow::error::ArrowError;

use crate::engine::error::{Attempt, EngineError, Result};

/// A column, or a part of one, whose values have an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OrderColumn {
    /// Its path, from the top, as the table spells it.
    pub(super) path: Vec<String>,
    pub(super) data_type: DataType,
}

impl OrderColumn {
    /// The column at the top.
    pub(super) fn root(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }

    /// As Spark writes it: names with dots between, those with odd letters in back-ticks.
    pub(super) fn text(&self) -> String {
        let plain = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let names =
            self.path.iter().map(|name| if plain(name) { name.clone() } else { format!("`{}`", name.replace('`', "``")) });
        names.collect::<Vec<_>>().join(".")
    }

    /// Its values in these rows. A part of what is null is null.
    pub(super) fn values(&self, batch: &RecordBatch) -> Result<ArrayRef, ArrowError> {
        let missing = || ArrowError::SchemaError(format!("the rows have no column `{}`", self.path.join(".")));
        let mut values = batch.column_by_name(self.root()).map(Arc::clone).ok_or_else(missing)?;
        for name in self.path.iter().skip(1) {
            let part = values.as_struct_opt().and_then(|parts| parts.column_by_name(name)).map(Arc::clone).ok_or_else(missing)?;
            values = if values.null_count() > 0 { nullif(&part, &is_null(&values)?)? } else { part };
        }
        Ok(values)
    }
}

/// The columns of these names, with dots before parts of structs. Letter case does not matter; a name that comes twice counts once.
///
/// **Errors**: `Invalid` for a partition column, for one without order, and for one without statistics: files would not be skipped by it.
pub(super) fn order_columns(snapshot: &Snapshot, names: &[String], attempt: &Attempt) -> Result<Vec<OrderColumn>> {
    let schema = snapshot.schema();
    let indexed = indexed_columns(snapshot.delta_schema(), snapshot.partition_columns(), snapshot.properties());
    let indexed = indexed.map_err(|source| DeltaError::Protocol { url: snapshot.url().to_owned(), source })?;
    let (attempted, url) = (attempt.attempted, || attempt.url.clone());
    let mut found: Vec<OrderColumn> = Vec::new();
    for name in names {
        let Some(column) = find(schema.fields(), name) else {
            let available = schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
            return Err(EngineError::UnknownColumn { attempted, url: url(), column: name.clone(), available });
        };
        if snapshot.partition_columns().iter().any(|partition| partition == column.root()) {
            return Err(EngineError::OrderByPartition { attempted, url: url(), column: column.root().to_owned() });
        }
        if column.data_type.is_nested() || column.data_type == DataType::Null {
            let (column, found) = (column.text(), Box::new(column.data_type));
            return Err(EngineError::NotOrderable { attempted, url: url(), column, found });
        }
        if !indexed.contains(&ColumnPath::new(column.path.clone())) {
            return Err(EngineError::NoStatistics { attempted, url: url(), column: column.text() });
        }
        if !found.contains(&column) {
            found.push(column);
        }
    }
    Ok(found)
}

/// The column of this path.
pub(super) fn column_at(snapshot: &Snapshot, path: &ColumnPath) -> Option<OrderColumn> {
    let schema = snapshot.schema();
    let mut fields = schema.fields();
    let mut names = path.names().iter().peekable();
    while let Some(name) = names.next() {
        let (_, field) = fields.find(name)?;
        match (names.peek(), field.data_type()) {
            (None, data_type) => return Some(OrderColumn { path: path.names().to_vec(), data_type: data_type.clone() }),
            (Some(_), DataType::Struct(parts)) => fields = parts,
            _ => return None,
        }
    }
    None
}

fn find(fields: &Fields, name: &str) -> Option<OrderColumn> {
    let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
    if let Some(field) = fields.iter().find(|field| same(field.name(), name)) {
        return Some(OrderColumn { path: vec![field.name().clone()], data_type: field.data_type().clone() });
    }
    // A dot is a part of a name, or stands before a part of a struct.
    name.match_indices('.').find_map(|(at, _)| {
        let field = fields.iter().find(|field| same(field.name(), &name[..at]))?;
        let DataType::Struct(parts) = field.data_type() else { return None };
        let mut below = find(parts, &name[at + 1..])?;
        below.path.insert(0, field.name().clone());
        Some(below)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use datafusion::arrow::array::{Int64Array, StructArray};
    use datafusion::arrow::buffer::NullBuffer;
    use datafusion::arrow::datatypes::{Field, Int64Type};

    use super::*;

    #[test]
    fn parts_of_structs_are_found_without_regard_to_case_and_are_null_with_them() {
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None]));
        let parts = Fields::from(vec![Field::new("a.B", DataType::Int64, true)]);
        let place = StructArray::new(parts, vec![inner], Some(NullBuffer::from(vec![true, false, true])));
        let batch = RecordBatch::try_from_iter([("Place", Arc::new(place) as ArrayRef)]).unwrap();
        let column = find(batch.schema().fields(), "place.A.b").unwrap();
        assert_eq!((column.path.clone(), column.text()), (vec!["Place".to_owned(), "a.B".to_owned()], "Place.`a.B`".to_owned()));
        let values = column.values(&batch).unwrap();
        assert_eq!(values.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(1), None, None]);
        assert_eq!(find(batch.schema().fields(), "place.c"), None);
    }
}
