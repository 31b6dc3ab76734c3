//! Statistics that stand in a checkpoint as columns, back as text.
//!
//! **Source**: Delta protocol, "Checkpoint Schema", `stats_parsed`.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef, StructArray};
use arrow_schema::{DataType, TimeUnit};
use boathouse_base::Value;
use boathouse_delta_protocol::schema::PrimitiveType;
use boathouse_delta_protocol::stats::bound_text;

/// The statistics of a row as the log writes them; `None` when the row has none.
pub(super) fn to_json(parsed: &ArrayRef, row: usize) -> Option<String> {
    let group = parsed.as_struct_opt().filter(|group| group.is_valid(row))?;
    let mut json = String::new();
    object(group, row, &mut json);
    (json.len() > 2).then_some(json)
}

fn object(group: &StructArray, row: usize, json: &mut String) {
    json.push('{');
    let mut first = true;
    for (field, column) in group.fields().iter().zip(group.columns()) {
        if column.is_null(row) {
            continue;
        }
        let mut value = String::new();
        if let Some(inner) = column.as_struct_opt() {
            object(inner, row, &mut value);
        } else if let Some(text) = leaf(column, row) {
            value = text;
        } else {
            continue;
        }
        if !first {
            json.push(',');
        }
        first = false;
        json.push_str(&serde_json::Value::from(field.name().as_str()).to_string());
        json.push(':');
        json.push_str(&value);
    }
    json.push('}');
}

/// A value as JSON; nothing for types that have no bounds.
fn leaf(column: &ArrayRef, row: usize) -> Option<String> {
    let whole = |data_type: PrimitiveType, value: Value| bound_text(data_type, &value);
    match column.data_type() {
        DataType::Boolean => Some(column.as_boolean().value(row).to_string()),
        DataType::Int8 => Some(column.as_primitive::<Int8Type>().value(row).to_string()),
        DataType::Int16 => Some(column.as_primitive::<Int16Type>().value(row).to_string()),
        DataType::Int32 => Some(column.as_primitive::<Int32Type>().value(row).to_string()),
        DataType::Int64 => Some(column.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::Float32 => whole(PrimitiveType::Float, Value::Float(column.as_primitive::<Float32Type>().value(row).into())),
        DataType::Float64 => whole(PrimitiveType::Double, Value::Float(column.as_primitive::<Float64Type>().value(row))),
        DataType::Utf8 => Some(serde_json::Value::from(column.as_string::<i32>().value(row)).to_string()),
        DataType::LargeUtf8 => Some(serde_json::Value::from(column.as_string::<i64>().value(row)).to_string()),
        DataType::Utf8View => Some(serde_json::Value::from(column.as_string_view().value(row)).to_string()),
        DataType::Date32 => whole(PrimitiveType::Date, Value::Date(column.as_primitive::<Date32Type>().value(row))),
        DataType::Decimal128(precision, scale) => {
            let scale = u8::try_from(*scale).ok()?;
            let data_type = PrimitiveType::Decimal { precision: *precision, scale };
            let unscaled = column.as_primitive::<Decimal128Type>().value(row);
            whole(data_type, Value::Decimal { unscaled, scale: i8::try_from(scale).ok()? })
        }
        DataType::Timestamp(unit, zone) => {
            let us = match unit {
                TimeUnit::Microsecond => column.as_primitive::<TimestampMicrosecondType>().value(row),
                TimeUnit::Millisecond => column.as_primitive::<TimestampMillisecondType>().value(row).checked_mul(1000)?,
                TimeUnit::Nanosecond => column.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1000),
                TimeUnit::Second => return None,
            };
            match zone {
                Some(_) => whole(PrimitiveType::Timestamp, Value::Timestamp(us)),
                None => whole(PrimitiveType::TimestampNtz, Value::TimestampNtz(us)),
            }
        }
        _ => None,
    }
}
