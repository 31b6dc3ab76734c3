//! Makes a batch fit a signature, or says which column does not.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{DataType, Schema};

use crate::error::{Result, ServingError};

/// A batch whose columns are exactly those of a signature.
pub type Enforced = RecordBatch;

/// Above this magnitude an `f64` does not hold every integer.
const EXACT_IN_F64: u64 = 1 << 53;

/// The columns of `schema`, taken from `batch` by name and widened where that keeps every value.
///
/// | asked for | accepted |
/// | --- | --- |
/// | `Float64` | `Float32`, and integers up to 2^53 in magnitude |
/// | `Float32` | integers of up to 16 bits |
/// | `Int64` | smaller integers, `UInt64` up to the largest `Int64` |
/// | `Int32`, `Int16` | smaller integers |
/// | `Utf8` | `LargeUtf8`, `Utf8View` |
/// | `Binary` | `LargeBinary`, `BinaryView` |
/// | any | a dictionary of an accepted type, and a column of nulls |
///
/// Extra columns are dropped. A nullable field may be absent: it is then null in every row.
///
/// **Errors**: all of kind `Invalid` and naming the column: [`ServingError::MissingColumn`],
/// [`ServingError::ColumnType`], [`ServingError::CellType`], [`ServingError::NullValue`].
///
/// **Source**: MLflow, "Model Signatures", signature enforcement.
pub fn enforce(schema: &Arc<Schema>, batch: &RecordBatch) -> Result<Enforced> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = match batch.column_by_name(field.name()) {
            Some(column) => widen(field.name(), field.data_type(), column)?,
            None if field.is_nullable() => new_null_array(field.data_type(), batch.num_rows()),
            None => {
                return Err(ServingError::MissingColumn {
                    column: field.name().clone(),
                    found: batch.schema_ref().fields().iter().map(|f| f.name().clone()).collect(),
                });
            }
        };
        if !field.is_nullable() && column.null_count() > 0 {
            let row = (0..column.len()).find(|row| column.is_null(*row)).unwrap_or(0);
            return Err(ServingError::NullValue { column: field.name().clone(), row });
        }
        columns.push(column);
    }
    RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )
    .map_err(|source| ServingError::Arrow { action: "gather the input columns", source })
}

fn widen(name: &str, expected: &DataType, column: &ArrayRef) -> Result<ArrayRef> {
    use DataType::{
        Binary, BinaryView, Date32, Float32, Float64, Int8, Int16, Int32, Int64, LargeBinary, LargeUtf8, Null, Timestamp, UInt8,
        UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    let found = column.data_type();
    if found == expected {
        return Ok(Arc::clone(column));
    }
    if let DataType::Dictionary(_, values) = found {
        let flat = cast(column, values)?;
        return widen(name, expected, &flat);
    }
    let fits = match (found, expected) {
        (Null, _) => true,
        (Float32, Float64) => true,
        (Int8 | Int16 | UInt8 | UInt16, Float32 | Float64 | Int32 | Int64) => true,
        (Int8 | UInt8, Int16) => true,
        (Int32 | UInt32, Float64 | Int64) => true,
        (Int64 | UInt64, Float64) | (UInt64, Int64) => {
            in_range(name, expected, column)?;
            true
        }
        (LargeUtf8 | Utf8View, Utf8) | (LargeBinary | BinaryView, Binary) => true,
        (Date32, Timestamp(_, None)) => true,
        (Timestamp(from, a), Timestamp(to, b)) => a.is_some() == b.is_some() && from <= to,
        _ => false,
    };
    if fits {
        cast(column, expected)
    } else {
        Err(ServingError::ColumnType { column: name.to_owned(), expected: expected.clone(), found: found.clone() })
    }
}

/// Checks 64-bit integers one by one: whether they fit depends on the value.
fn in_range(name: &str, expected: &DataType, column: &ArrayRef) -> Result<()> {
    let limit = if expected.is_floating() { EXACT_IN_F64 } else { i64::MAX.unsigned_abs() };
    let outside = if let Some(ints) = column.as_primitive_opt::<Int64Type>() {
        ints.iter().enumerate().find_map(|(row, v)| v.filter(|v| v.unsigned_abs() > limit).map(|v| (row, v.to_string())))
    } else {
        let ints = column.as_primitive::<UInt64Type>();
        ints.iter().enumerate().find_map(|(row, v)| v.filter(|v| *v > limit).map(|v| (row, v.to_string())))
    };
    match outside {
        None => Ok(()),
        Some((row, value)) => Err(ServingError::CellType {
            column: name.to_owned(),
            row,
            expected: expected.clone(),
            found: format!("the integer {value}, which that type does not hold exactly"),
        }),
    }
}

fn cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    arrow_cast::cast(column, to).map_err(|source| ServingError::Arrow { action: "widen an input column", source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Float32Array, Float64Array, Int32Array, Int64Array, StringArray, StringViewArray};
    use arrow_schema::Field;

    fn schema(fields: Vec<Field>) -> Arc<Schema> {
        Arc::new(Schema::new(fields))
    }

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn columns_are_found_by_name_widened_and_extra_ones_dropped() {
        let schema = schema(vec![Field::new("x", DataType::Float64, false), Field::new("s", DataType::Utf8, true)]);
        let found = enforce(
            &schema,
            &batch(vec![
                ("extra", Arc::new(Int32Array::from(vec![9]))),
                ("s", Arc::new(StringViewArray::from(vec!["a"]))),
                ("x", Arc::new(Int64Array::from(vec![3]))),
            ]),
        )
        .unwrap();
        assert_eq!(
            found,
            RecordBatch::try_new(schema, vec![Arc::new(Float64Array::from(vec![3.0])), Arc::new(StringArray::from(vec!["a"])),])
                .unwrap()
        );
    }

    #[test]
    fn a_missing_column_is_an_error_by_name_unless_it_is_nullable() {
        let rows = batch(vec![("a", Arc::new(Int64Array::from(vec![1, 2])))]);
        let error = enforce(&schema(vec![Field::new("x", DataType::Float64, false)]), &rows).unwrap_err();
        assert!(matches!(&error, ServingError::MissingColumn { column, .. } if column == "x"), "{error}");
        let found = enforce(&schema(vec![Field::new("x", DataType::Float64, true)]), &rows).unwrap();
        assert_eq!((found.num_rows(), found.column(0).null_count()), (2, 2));
    }

    #[test]
    fn casts_that_lose_something_are_refused() {
        for (expected, column) in [
            (DataType::Int64, Arc::new(Float64Array::from(vec![1.0])) as ArrayRef),
            (DataType::Float32, Arc::new(Float64Array::from(vec![1.0]))),
            (DataType::Int32, Arc::new(Int64Array::from(vec![1]))),
            (DataType::Float64, Arc::new(StringArray::from(vec!["1"]))),
            (DataType::Utf8, Arc::new(Float32Array::from(vec![1.0]))),
            (DataType::Boolean, Arc::new(Int64Array::from(vec![1]))),
        ] {
            let error = enforce(&schema(vec![Field::new("x", expected.clone(), true)]), &batch(vec![("x", column)])).unwrap_err();
            assert!(matches!(&error, ServingError::ColumnType { column, .. } if column == "x"), "{expected}: {error}");
        }
    }

    #[test]
    fn an_integer_widens_to_double_only_where_a_double_holds_it() {
        let doubles = schema(vec![Field::new("x", DataType::Float64, true)]);
        let fits = batch(vec![("x", Arc::new(Int64Array::from(vec![1 << 53, -(1 << 53)])))]);
        assert!(enforce(&doubles, &fits).is_ok());
        let not = batch(vec![("x", Arc::new(Int64Array::from(vec![0, (1 << 53) + 1])))]);
        let error = enforce(&doubles, &not).unwrap_err();
        assert!(matches!(&error, ServingError::CellType { row: 1, .. }), "{error}");
    }

    #[test]
    fn a_null_in_a_required_column_names_its_row() {
        let rows = batch(vec![("x", Arc::new(Float64Array::from(vec![Some(1.0), None])))]);
        let error = enforce(&schema(vec![Field::new("x", DataType::Float64, false)]), &rows).unwrap_err();
        assert!(matches!(&error, ServingError::NullValue { column, row: 1 } if column == "x"), "{error}");
    }
}
