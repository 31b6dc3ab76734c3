//! Replies.

use std::io::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;

use crate::error::{Result, ServingError};

/// `{"predictions": …}`: a plain list for a model with one output column, records for several.
///
/// A float is written with as few digits as give the same float back. Null, and a float that is not
/// finite, become `null`.
///
/// **Source**: MLflow, "Inference server specification".
pub fn predictions_to_json(predictions: &RecordBatch) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(32 + predictions.num_rows() * predictions.num_columns() * 24);
    out.extend_from_slice(b"{\"predictions\":[");
    let schema = predictions.schema_ref();
    let columns = predictions.columns().iter().map(Column::new).collect::<Result<Vec<_>>>()?;
    for row in 0..predictions.num_rows() {
        if row > 0 {
            out.push(b',');
        }
        match columns.as_slice() {
            [one] => one.write(row, &mut out)?,
            several => {
                out.push(b'{');
                for (at, (column, field)) in several.iter().zip(schema.fields()).enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    json(&mut out, field.name())?;
                    out.push(b':');
                    column.write(row, &mut out)?;
                }
                out.push(b'}');
            }
        }
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

struct Column<'a> {
    array: &'a ArrayRef,
    /// For types that JSON has no form for: their text.
    text: Option<ArrayFormatter<'a>>,
}

impl<'a> Column<'a> {
    fn new(array: &'a ArrayRef) -> Result<Self> {
        use DataType::{Boolean, Null, Utf8};
        let direct = matches!(array.data_type(), Boolean | Null | Utf8)
            || (array.data_type().is_numeric() && array.data_type().is_primitive() && !is_decimal_or_half(array.data_type()));
        let text = if direct {
            None
        } else {
            let options = const { &FormatOptions::new() };
            Some(
                ArrayFormatter::try_new(array.as_ref(), options)
                    .map_err(|source| ServingError::Arrow { action: "write a prediction as text", source })?,
            )
        };
        Ok(Self { array, text })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        use DataType::{Boolean, Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64, Utf8};
        let array = self.array;
        if array.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        if let Some(text) = &self.text {
            return json(out, &text.value(row).to_string());
        }
        match array.data_type() {
            Boolean => json(out, &array.as_boolean().value(row)),
            Int8 => json(out, &array.as_primitive::<Int8Type>().value(row)),
            Int16 => json(out, &array.as_primitive::<Int16Type>().value(row)),
            Int32 => json(out, &array.as_primitive::<Int32Type>().value(row)),
            Int64 => json(out, &array.as_primitive::<Int64Type>().value(row)),
            UInt8 => json(out, &array.as_primitive::<UInt8Type>().value(row)),
            UInt16 => json(out, &array.as_primitive::<UInt16Type>().value(row)),
            UInt32 => json(out, &array.as_primitive::<UInt32Type>().value(row)),
            UInt64 => json(out, &array.as_primitive::<UInt64Type>().value(row)),
            Float32 => json(out, &array.as_primitive::<Float32Type>().value(row)),
            Float64 => json(out, &array.as_primitive::<Float64Type>().value(row)),
            Utf8 => json(out, array.as_string::<i32>().value(row)),
            _ => {
                out.extend_from_slice(b"null");
                Ok(())
            }
        }
    }
}

fn is_decimal_or_half(data_type: &DataType) -> bool {
    data_type.is_decimal() || matches!(data_type, DataType::Float16)
}

fn json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<()> {
    serde_json::to_writer(&mut *out, value)
        .or_else(|_| out.write_all(b"null"))
        .map_err(|source| ServingError::Arrow { action: "write a prediction", source: source.into() })
}
