//! Partition values: text in the log and in folder names, typed values everywhere else.
//!
//! The folders are for people and for other readers of Parquet; Delta itself reads the values from
//! `add.partitionValues` only.
//!
//! **Source**: Delta protocol, "Partition Value Serialization".

use std::fmt::Write;

use boathouse_base::Value;
use bytes::Bytes;

use crate::action::{Add, StringMap};
use crate::error::{ProtocolError, Result};
use crate::literal::{
    format_date, format_decimal, format_local_timestamp, format_timestamp_us, parse_date, parse_decimal, parse_timestamp,
};
use crate::schema::{ColumnMappingMode, PrimitiveType, StructType};

/// The folder name of a null.
pub const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// Reads a partition value of the log.
///
/// Nothing and the empty text are null, whatever the type. A timestamp without a zone is taken as UTC.
///
/// **Errors**: `Corrupt` names the column, its type and the text.
///
/// # Example
/// ```
/// use boathouse_base::Value;
/// use boathouse_delta_protocol::{partition, schema::PrimitiveType};
///
/// assert_eq!(partition::parse("day", PrimitiveType::Date, Some("1970-01-03"))?, Value::Date(2));
/// assert_eq!(partition::parse("day", PrimitiveType::Date, Some(""))?, Value::Null);
/// assert!(partition::parse("day", PrimitiveType::Date, Some("soon")).is_err());
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
pub fn parse(column: &str, data_type: PrimitiveType, text: Option<&str>) -> Result<Value> {
    let Some(text) = text.filter(|t| !t.is_empty()) else { return Ok(Value::Null) };
    parse_text(data_type, text).ok_or_else(|| ProtocolError::InvalidPartitionValue {
        column: column.to_owned(),
        data_type: data_type.to_string(),
        value: text.to_owned(),
    })
}

fn parse_text(data_type: PrimitiveType, text: &str) -> Option<Value> {
    let int = |min: i64, max: i64| text.parse::<i64>().ok().filter(|v| (min..=max).contains(v)).map(Value::Int);
    match data_type {
        PrimitiveType::String => Some(Value::String(text.to_owned())),
        PrimitiveType::Long => int(i64::MIN, i64::MAX),
        PrimitiveType::Integer => int(i32::MIN.into(), i32::MAX.into()),
        PrimitiveType::Short => int(i16::MIN.into(), i16::MAX.into()),
        PrimitiveType::Byte => int(i8::MIN.into(), i8::MAX.into()),
        // Rounded to 32 bits first, as the rows are.
        PrimitiveType::Float => text.parse::<f32>().ok().map(|v| Value::Float(v.into())),
        PrimitiveType::Double => text.parse().ok().map(Value::Float),
        PrimitiveType::Decimal { precision, scale } => {
            parse_decimal(text, precision, scale).map(|unscaled| decimal(unscaled, scale))
        }
        PrimitiveType::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" => Some(Value::Boolean(true)),
            "false" => Some(Value::Boolean(false)),
            _ => None,
        },
        PrimitiveType::Binary => Some(Value::Binary(Bytes::copy_from_slice(text.as_bytes()))),
        PrimitiveType::Date => parse_date(text).map(Value::Date),
        PrimitiveType::Timestamp => parse_timestamp(text).map(|t| Value::Timestamp(t.us)),
        PrimitiveType::TimestampNtz => parse_timestamp(text).filter(|t| !t.zoned).map(|t| Value::TimestampNtz(t.us)),
        PrimitiveType::Void => None,
    }
}

#[expect(clippy::cast_possible_wrap, reason = "a scale is at most 38")]
pub(crate) fn decimal(unscaled: i128, scale: u8) -> Value {
    Value::Decimal { unscaled, scale: scale as i8 }
}

/// Writes a partition value for the log; `None` is null.
///
/// The empty text is null in this format. Timestamps are written as `1970-01-01T00:00:00.000000Z`.
///
/// **Errors**: `Invalid` names the column when the value is not of the type, or has no text form: bytes that
/// are not UTF-8, years outside 0 to 9999.
pub fn format(column: &str, data_type: PrimitiveType, value: &Value) -> Result<Option<String>> {
    let text = match (data_type, value) {
        (_, Value::Null) => return Ok(None),
        (PrimitiveType::String, Value::String(text)) => Some(text.clone()),
        (PrimitiveType::Long, Value::Int(v)) => Some(v.to_string()),
        (PrimitiveType::Integer, Value::Int(v)) => i32::try_from(*v).ok().map(|v| v.to_string()),
        (PrimitiveType::Short, Value::Int(v)) => i16::try_from(*v).ok().map(|v| v.to_string()),
        (PrimitiveType::Byte, Value::Int(v)) => i8::try_from(*v).ok().map(|v| v.to_string()),
        #[expect(clippy::cast_possible_truncation, reason = "the column holds 32 bits")]
        (PrimitiveType::Float, Value::Float(v)) => Some(float(*v, format!("{:?}", *v as f32))),
        (PrimitiveType::Double, Value::Float(v)) => Some(float(*v, format!("{v:?}"))),
        (PrimitiveType::Decimal { precision, scale }, Value::Decimal { unscaled, scale: found })
            if i16::from(*found) == i16::from(scale) && unscaled.unsigned_abs() < 10_u128.pow(u32::from(precision.min(38))) =>
        {
            Some(format_decimal(*unscaled, scale))
        }
        (PrimitiveType::Boolean, Value::Boolean(v)) => Some(v.to_string()),
        (PrimitiveType::Binary, Value::Binary(v)) => std::str::from_utf8(v).ok().map(str::to_owned),
        (PrimitiveType::Date, Value::Date(v)) => format_date(*v),
        (PrimitiveType::Timestamp, Value::Timestamp(v)) => format_timestamp_us(*v).map(|t| t + "Z"),
        (PrimitiveType::TimestampNtz, Value::TimestampNtz(v)) => format_local_timestamp(*v),
        _ => None,
    };
    match text {
        Some(text) => Ok(Some(text).filter(|t| !t.is_empty())),
        None => Err(ProtocolError::UnfitPartitionValue {
            column: column.to_owned(),
            data_type: data_type.to_string(),
            value: value.to_string(),
        }),
    }
}

/// Java's names for what is not finite.
fn float(value: f64, text: String) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        text
    }
}

/// The partition values of a file, in the order of the table's partition columns.
///
/// A column that the file does not mention is null.
///
/// **Errors**: `Corrupt` names the column and the text; `Invalid` for partition columns that are not in the schema.
pub fn values_of(add: &Add, schema: &StructType, columns: &[String], mode: ColumnMappingMode) -> Result<Vec<Value>> {
    values(&add.partition_values, schema, columns, mode)
}

/// As [`values_of`], from the map alone.
pub fn values(map: &StringMap, schema: &StructType, columns: &[String], mode: ColumnMappingMode) -> Result<Vec<Value>> {
    columns
        .iter()
        .map(|column| {
            let field = schema.field(column).ok_or_else(|| ProtocolError::UnknownColumn {
                purpose: "read partition values",
                column: column.clone(),
                available: schema.names().collect::<Vec<_>>().join(", "),
            })?;
            let data_type = field.data_type.as_primitive().ok_or_else(|| ProtocolError::InvalidPartitionColumn {
                column: column.clone(),
                data_type: field.data_type.to_string(),
            })?;
            // Some writers used the logical name although there was a physical one.
            let text = map.get(field.physical_name(mode)).or_else(|| map.get(&field.name)).flatten();
            parse(column, data_type, text)
        })
        .collect()
}

/// The folders of a new file, as in Hive: `month=7/carrier=__HIVE_DEFAULT_PARTITION__`.
///
/// This is the path in the object store; in the log it is
/// [percent-encoded](crate::action::encode_path) once more.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::partition::folder;
///
/// assert_eq!(folder([("at", Some("10:30")), ("who", None)]), "at=10%3A30/who=__HIVE_DEFAULT_PARTITION__");
/// ```
pub fn folder<'a>(values: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let mut folder = String::new();
    for (column, value) in values {
        if !folder.is_empty() {
            folder.push('/');
        }
        escape(&mut folder, column);
        folder.push('=');
        match value {
            Some(text) if !text.is_empty() => escape(&mut folder, text),
            _ => folder.push_str(NULL_FOLDER),
        }
    }
    folder
}

/// Hive's escaping of a path segment.
fn escape(into: &mut String, text: &str) {
    for letter in text.chars() {
        if letter.is_ascii_control() || "\"#%'*/:=?\\{[]^".contains(letter) {
            // Only ASCII is escaped, so that it is one byte.
            let _ = write!(into, "%{:02X}", u32::from(letter));
        } else {
            into.push(letter);
        }
    }
}
