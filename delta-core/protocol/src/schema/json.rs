//! Schemas as the JSON text of the log.
//!
//! **Source**: Delta protocol, "Schema Serialization Format".

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::{Value, json};

use super::data_type::{ArrayType, DataType, FieldMetadata, MapType, PrimitiveType, StructField, StructType, VARIANT};
use crate::error::{ProtocolError, Result};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawField {
    name: String,
    r#type: Value,
    #[serde(default = "yes")]
    nullable: bool,
    #[serde(default)]
    metadata: Option<FieldMetadata>,
}

#[derive(Deserialize)]
struct RawStruct {
    fields: Vec<RawField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawArray {
    element_type: Value,
    #[serde(default = "yes")]
    contains_null: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMap {
    key_type: Value,
    value_type: Value,
    #[serde(default = "yes")]
    value_contains_null: bool,
}

fn yes() -> bool {
    true
}

impl StructType {
    /// Reads `metaData.schemaString`.
    ///
    /// **Errors**: `Corrupt` when it is not a schema; `Unsupported` names the column of a type that is not known.
    pub fn from_json(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).map_err(|source| ProtocolError::CorruptSchema { source })?;
        match read("", &value)? {
            DataType::Struct(schema) => Ok(schema),
            other => Err(corrupt(format!("the top is {other}, expected a struct"))),
        }
    }

    /// Writes `metaData.schemaString`.
    pub fn to_json(&self) -> String {
        write_struct(self).to_string()
    }
}

impl PrimitiveType {
    /// From its name in the log; `None` when there is no such type.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "long" => Self::Long,
            "integer" => Self::Integer,
            "short" => Self::Short,
            "byte" => Self::Byte,
            "float" => Self::Float,
            "double" => Self::Double,
            "decimal" => Self::Decimal { precision: 10, scale: 0 },
            "boolean" => Self::Boolean,
            "binary" => Self::Binary,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "timestamp_ntz" => Self::TimestampNtz,
            "void" | "null" => Self::Void,
            // Text of limited length: the limit is a write-time rule of the engine, kept in the metadata.
            _ if name.starts_with("varchar(") || name.starts_with("char(") => Self::String,
            _ => {
                let (precision, scale) = name.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
                let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
                if precision == 0 || precision > 38 || scale > precision {
                    return None;
                }
                Self::Decimal { precision, scale }
            }
        })
    }
}

fn corrupt(message: String) -> ProtocolError {
    ProtocolError::CorruptSchema { source: serde_json::Error::custom(message) }
}

fn parse<'a, T: Deserialize<'a>>(column: &str, value: &'a Value) -> Result<T> {
    T::deserialize(value).map_err(|source| {
        if column.is_empty() { ProtocolError::CorruptSchema { source } } else { corrupt(format!("column `{column}`: {source}")) }
    })
}

fn read(column: &str, value: &Value) -> Result<DataType> {
    let unsupported = |name: &str| ProtocolError::UnsupportedType { column: column.to_owned(), data_type: name.to_owned() };
    let object = match value {
        Value::String(name) => return named(name).ok_or_else(|| unsupported(name)),
        Value::Object(object) => object,
        other => return Err(corrupt(format!("column `{column}` has the type {other}, expected a name or an object"))),
    };
    let child = |name: &str| if column.is_empty() { name.to_owned() } else { format!("{column}.{name}") };
    match object.get("type").and_then(Value::as_str) {
        Some("struct") => {
            let raw: RawStruct = parse(column, value)?;
            let fields = raw.fields.into_iter().map(|field| {
                Ok(StructField {
                    data_type: read(&child(&field.name), &field.r#type)?,
                    name: field.name,
                    nullable: field.nullable,
                    metadata: field.metadata.unwrap_or_default(),
                })
            });
            Ok(DataType::Struct(StructType { fields: fields.collect::<Result<_>>()? }))
        }
        Some("array") => {
            let raw: RawArray = parse(column, value)?;
            Ok(ArrayType { element: read(&child("element"), &raw.element_type)?, contains_null: raw.contains_null }.into())
        }
        Some("map") => {
            let raw: RawMap = parse(column, value)?;
            Ok(MapType {
                key: read(&child("key"), &raw.key_type)?,
                value: read(&child("value"), &raw.value_type)?,
                value_contains_null: raw.value_contains_null,
            }
            .into())
        }
        Some(name) => named(name).ok_or_else(|| unsupported(name)),
        None => Err(corrupt(format!("column `{column}` has no type"))),
    }
}

/// The type that has no parts.
fn named(name: &str) -> Option<DataType> {
    if name == VARIANT { Some(DataType::Variant) } else { PrimitiveType::from_name(name).map(Into::into) }
}

fn write_struct(inner: &StructType) -> Value {
    let fields: Vec<_> = inner
        .fields
        .iter()
        .map(|f| json!({"name": f.name, "type": write(&f.data_type), "nullable": f.nullable, "metadata": f.metadata}))
        .collect();
    json!({"type": "struct", "fields": fields})
}

fn write(data_type: &DataType) -> Value {
    match data_type {
        DataType::Primitive(primitive) => Value::String(primitive.to_string()),
        DataType::Struct(inner) => write_struct(inner),
        DataType::Array(array) => {
            json!({"type": "array", "elementType": write(&array.element), "containsNull": array.contains_null})
        }
        DataType::Map(map) => json!({
            "type": "map",
            "keyType": write(&map.key),
            "valueType": write(&map.value),
            "valueContainsNull": map.value_contains_null,
        }),
        DataType::Variant => Value::String(VARIANT.to_owned()),
    }
}
