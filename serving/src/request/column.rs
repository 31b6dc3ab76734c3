//! Columns that grow value by value, each value checked against the column's type.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Float32Builder, Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use base64::Engine as _;

use crate::error::{Result, ServingError};
use crate::exact_json::Cell;

/// Rows that columns reserve memory for before they are read.
const RESERVED_ROWS: usize = 4096;

/// The columns of a schema while rows are read.
pub(super) struct Columns {
    schema: SchemaRef,
    columns: Vec<Column>,
}

impl Columns {
    /// **Errors**: [`ServingError::SignatureSpec`] for a column type that requests cannot give.
    pub(super) fn new(schema: &SchemaRef, rows: usize) -> Result<Self> {
        // A body of many short rows must not reserve memory for wide ones that it does not hold.
        let rows = rows.min(RESERVED_ROWS);
        let columns = schema
            .fields()
            .iter()
            .map(|field| {
                Column::new(field.data_type(), rows).ok_or_else(|| ServingError::SignatureSpec {
                    column: field.name().clone(),
                    found: field.data_type().to_string(),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { schema: Arc::clone(schema), columns })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.schema.fields().iter().map(|f| f.name().clone()).collect()
    }

    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Where the column of this name stands.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.schema.fields().iter().position(|f| f.name() == name)
    }

    /// A required column that is missing is an error, whatever the rows hold.
    pub(super) fn require(&self, given: &[Option<usize>], found: impl FnOnce() -> Vec<String>) -> Result<()> {
        let missing =
            self.schema.fields().iter().enumerate().find(|(at, field)| !field.is_nullable() && !given.contains(&Some(*at)));
        match missing {
            None => Ok(()),
            Some((_, field)) => Err(ServingError::MissingColumn { column: field.name().clone(), found: found() }),
        }
    }

    /// Appends a value to one column.
    pub(super) fn push(&mut self, at: usize, row: usize, cell: Cell<'_>) -> Result<()> {
        let (Some(column), Some(field)) = (self.columns.get_mut(at), self.schema.fields().get(at)) else { return Ok(()) };
        if cell == Cell::Null {
            if !field.is_nullable() {
                return Err(ServingError::NullValue { column: field.name().clone(), row });
            }
            column.push_null();
            return Ok(());
        }
        column.push(&cell).ok_or_else(|| ServingError::CellType {
            column: field.name().clone(),
            row,
            expected: field.data_type().clone(),
            found: cell.describe(),
        })
    }

    /// Fills columns that have no value in `row` with null.
    ///
    /// **Errors**: [`ServingError::MissingColumn`] when one of them is required.
    pub(super) fn complete(&mut self, row: usize, found: impl FnOnce() -> Vec<String>) -> Result<()> {
        for (column, field) in self.columns.iter_mut().zip(self.schema.fields()) {
            if column.len() <= row {
                if !field.is_nullable() {
                    return Err(ServingError::MissingColumn { column: field.name().clone(), found: found() });
                }
                column.push_null();
            }
        }
        Ok(())
    }

    /// Whether the column has a value in `row` already.
    pub(super) fn is_filled(&self, at: usize, row: usize) -> bool {
        self.columns.get(at).is_some_and(|c| c.len() > row)
    }

    pub(super) fn finish(self, rows: usize) -> Result<RecordBatch> {
        let arrays = self.columns.into_iter().map(Column::finish).collect();
        RecordBatch::try_new_with_options(self.schema, arrays, &RecordBatchOptions::new().with_row_count(Some(rows)))
            .map_err(|source| ServingError::Arrow { action: "gather the request's columns", source })
    }
}

macro_rules! columns {
    ($($variant:ident($builder:ty) = $data_type:pat, |$rows:ident| $new:expr;)*) => {
        enum Column {
            $($variant($builder),)*
        }

        impl Column {
            fn new(data_type: &DataType, rows: usize) -> Option<Self> {
                Some(match data_type {
                    $($data_type => { let $rows = rows; Self::$variant($new) })*
                    _ => return None,
                })
            }

            fn len(&self) -> usize {
                use arrow_array::builder::ArrayBuilder;
                match self { $(Self::$variant(b) => b.len(),)* }
            }

            fn push_null(&mut self) {
                match self { $(Self::$variant(b) => b.append_null(),)* }
            }

            fn finish(self) -> ArrayRef {
                match self { $(Self::$variant(mut b) => Arc::new(b.finish()),)* }
            }
        }
    };
}

columns! {
    Boolean(BooleanBuilder) = DataType::Boolean, |rows| BooleanBuilder::with_capacity(rows);
    Int8(Int8Builder) = DataType::Int8, |rows| Int8Builder::with_capacity(rows);
    Int16(Int16Builder) = DataType::Int16, |rows| Int16Builder::with_capacity(rows);
    Int32(Int32Builder) = DataType::Int32, |rows| Int32Builder::with_capacity(rows);
    Int64(Int64Builder) = DataType::Int64, |rows| Int64Builder::with_capacity(rows);
    Float32(Float32Builder) = DataType::Float32, |rows| Float32Builder::with_capacity(rows);
    Float64(Float64Builder) = DataType::Float64, |rows| Float64Builder::with_capacity(rows);
    Utf8(StringBuilder) = DataType::Utf8, |rows| StringBuilder::with_capacity(rows, rows * 8);
    Binary(BinaryBuilder) = DataType::Binary, |rows| BinaryBuilder::with_capacity(rows, rows * 8);
    Timestamp(TimestampMicrosecondBuilder) = DataType::Timestamp(TimeUnit::Microsecond, None),
        |rows| TimestampMicrosecondBuilder::with_capacity(rows);
    Instant(TimestampMicrosecondBuilder) = DataType::Timestamp(TimeUnit::Microsecond, Some(_)),
        |rows| TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC");
    Date(arrow_array::builder::Date32Builder) = DataType::Date32, |rows| arrow_array::builder::Date32Builder::with_capacity(rows);
}

impl Column {
    /// Appends the value if the type holds it.
    fn push(&mut self, cell: &Cell<'_>) -> Option<()> {
        match (self, cell) {
            (Self::Boolean(b), Cell::Boolean(v)) => b.append_value(*v),
            (Self::Int8(b), Cell::Int(v)) => b.append_value((*v).try_into().ok()?),
            (Self::Int16(b), Cell::Int(v)) => b.append_value((*v).try_into().ok()?),
            (Self::Int32(b), Cell::Int(v)) => b.append_value((*v).try_into().ok()?),
            (Self::Int64(b), Cell::Int(v)) => b.append_value(*v),
            (Self::Float64(b), Cell::Int(v)) => b.append_value(exact(*v)?),
            (Self::Float64(b), Cell::Float(v)) => b.append_value(Some(*v).filter(|v| v.is_finite())?),
            (Self::Float32(b), Cell::Int(v)) => b.append_value(narrow(exact(*v)?)?),
            // JSON numbers have no width: one that is written for a float column is a float.
            (Self::Float32(b), Cell::Float(v)) => b.append_value(narrow(*v)?),
            (Self::Utf8(b), Cell::String(v)) => b.append_value(v),
            (Self::Binary(b), Cell::String(v)) => {
                b.append_value(base64::engine::general_purpose::STANDARD.decode(v.as_bytes()).ok()?)
            }
            (Self::Timestamp(b) | Self::Instant(b), Cell::String(v)) => {
                b.append_value(arrow_cast::parse::string_to_timestamp_nanos(v).ok()?.div_euclid(1000));
            }
            (Self::Date(b), Cell::String(v)) => {
                b.append_value(<arrow_array::types::Date32Type as arrow_cast::parse::Parser>::parse(v)?)
            }
            _ => return None,
        }
        Some(())
    }
}

/// The double that is exactly this integer.
#[allow(clippy::cast_precision_loss, reason = "checked: no precision is lost")]
fn exact(value: i64) -> Option<f64> {
    (value.unsigned_abs() <= 1 << 53).then_some(value as f64)
}

#[allow(clippy::cast_possible_truncation, reason = "rounding to the nearest float is what the column asks for")]
fn narrow(value: f64) -> Option<f32> {
    Some(value as f32).filter(|v| v.is_finite())
}
