//! Schemas to Arrow and back; the table stands in the [module](super).

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::extension::EXTENSION_TYPE_NAME_KEY;
use arrow_schema::{DataType as ArrowType, Field, Fields, Schema, TimeUnit};
use serde_json::Value;

use super::data_type::{ArrayType, DataType, FieldMetadata, MapType, PrimitiveType, StructField, StructType};
use super::keys::{
    COLUMN_ID, IDENTITY_EXPLICIT, IDENTITY_HIGH_WATER_MARK, IDENTITY_START, IDENTITY_STEP, NESTED_IDS, TYPE_CHANGES,
};
use crate::error::{ProtocolError, Result};

impl StructType {
    /// The Arrow schema of rows that are read. Column metadata goes along.
    pub fn to_arrow(&self) -> Schema {
        Schema::new(self.to_arrow_fields())
    }

    /// The Arrow fields of rows that are read.
    pub fn to_arrow_fields(&self) -> Fields {
        self.fields.iter().map(StructField::to_arrow).collect()
    }

    /// The Delta schema of Arrow data.
    ///
    /// **Errors**: `Invalid` names the column of a type that Delta cannot store.
    pub fn from_arrow(schema: &Schema) -> Result<Self> {
        Ok(Self { fields: from_fields("", schema.fields())? })
    }
}

impl StructField {
    /// The Arrow field.
    pub fn to_arrow(&self) -> Field {
        let metadata: HashMap<_, _> = self
            .metadata
            .iter()
            .map(|(key, value)| (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
        arrow_field(&self.name, &self.data_type, self.nullable, metadata)
    }
}

impl DataType {
    /// The Arrow type of values that are read.
    pub fn to_arrow(&self) -> ArrowType {
        match self {
            Self::Primitive(primitive) => primitive.to_arrow(),
            Self::Struct(inner) => ArrowType::Struct(inner.to_arrow_fields()),
            Self::Array(array) => {
                ArrowType::List(Arc::new(arrow_field("element", &array.element, array.contains_null, HashMap::new())))
            }
            Self::Map(map) => {
                let entries = vec![
                    arrow_field("key", &map.key, false, HashMap::new()),
                    arrow_field("value", &map.value, map.value_contains_null, HashMap::new()),
                ];
                ArrowType::Map(Arc::new(Field::new("key_value", ArrowType::Struct(entries.into()), false)), false)
            }
            Self::Variant => {
                let parts = ["metadata", "value"].map(|name| Field::new(name, ArrowType::Binary, false));
                ArrowType::Struct(Fields::from(parts.to_vec()))
            }
        }
    }

    /// The Delta type of Arrow values of a column.
    ///
    /// **Errors**: `Invalid` names the column when Delta cannot store the type.
    pub fn from_arrow(column: &str, data_type: &ArrowType) -> Result<Self> {
        let unsupported = || ProtocolError::UnsupportedArrowType { column: column.to_owned(), data_type: data_type.clone() };
        let decimal = |precision: u8, scale: i8| match u8::try_from(scale) {
            Ok(scale) if precision <= 38 && scale <= precision => Ok(PrimitiveType::Decimal { precision, scale }.into()),
            _ => Err(unsupported()),
        };
        Ok(match data_type {
            ArrowType::Null => PrimitiveType::Void.into(),
            ArrowType::Boolean => PrimitiveType::Boolean.into(),
            ArrowType::Int8 => PrimitiveType::Byte.into(),
            ArrowType::Int16 | ArrowType::UInt8 => PrimitiveType::Short.into(),
            ArrowType::Int32 | ArrowType::UInt16 => PrimitiveType::Integer.into(),
            ArrowType::Int64 | ArrowType::UInt32 => PrimitiveType::Long.into(),
            ArrowType::UInt64 => PrimitiveType::Decimal { precision: 20, scale: 0 }.into(),
            ArrowType::Float16 | ArrowType::Float32 => PrimitiveType::Float.into(),
            ArrowType::Float64 => PrimitiveType::Double.into(),
            ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => PrimitiveType::String.into(),
            ArrowType::Binary | ArrowType::LargeBinary | ArrowType::BinaryView | ArrowType::FixedSizeBinary(_) => {
                PrimitiveType::Binary.into()
            }
            ArrowType::Date32 | ArrowType::Date64 => PrimitiveType::Date.into(),
            ArrowType::Timestamp(_, Some(_)) => PrimitiveType::Timestamp.into(),
            ArrowType::Timestamp(_, None) => PrimitiveType::TimestampNtz.into(),
            ArrowType::Decimal32(precision, scale)
            | ArrowType::Decimal64(precision, scale)
            | ArrowType::Decimal128(precision, scale)
            | ArrowType::Decimal256(precision, scale) => decimal(*precision, *scale)?,
            ArrowType::Dictionary(_, values) => Self::from_arrow(column, values)?,
            ArrowType::RunEndEncoded(_, values) => Self::from_arrow(column, values.data_type())?,
            ArrowType::Struct(fields) => StructType { fields: from_fields(column, fields)? }.into(),
            ArrowType::List(element)
            | ArrowType::LargeList(element)
            | ArrowType::FixedSizeList(element, _)
            | ArrowType::ListView(element)
            | ArrowType::LargeListView(element) => {
                ArrayType { element: from_field(&format!("{column}.element"), element)?, contains_null: element.is_nullable() }
                    .into()
            }
            ArrowType::Map(entries, _) => match entries.data_type() {
                ArrowType::Struct(fields) if fields.len() == 2 => MapType {
                    key: from_field(&format!("{column}.key"), &fields[0])?,
                    value: from_field(&format!("{column}.value"), &fields[1])?,
                    value_contains_null: fields[1].is_nullable(),
                }
                .into(),
                _ => return Err(unsupported()),
            },
            ArrowType::Time32(_)
            | ArrowType::Time64(_)
            | ArrowType::Duration(_)
            | ArrowType::Interval(_)
            | ArrowType::Union(_, _) => return Err(unsupported()),
        })
    }
}

impl PrimitiveType {
    /// The Arrow type of values that are read.
    pub fn to_arrow(self) -> ArrowType {
        match self {
            Self::String => ArrowType::Utf8,
            Self::Long => ArrowType::Int64,
            Self::Integer => ArrowType::Int32,
            Self::Short => ArrowType::Int16,
            Self::Byte => ArrowType::Int8,
            Self::Float => ArrowType::Float32,
            Self::Double => ArrowType::Float64,
            #[expect(clippy::cast_possible_wrap, reason = "a scale is at most 38")]
            Self::Decimal { precision, scale } => ArrowType::Decimal128(precision, scale as i8),
            Self::Boolean => ArrowType::Boolean,
            Self::Binary => ArrowType::Binary,
            Self::Date => ArrowType::Date32,
            Self::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::TimestampNtz => ArrowType::Timestamp(TimeUnit::Microsecond, None),
            Self::Void => ArrowType::Null,
        }
    }
}

/// The Arrow extension type of a variant: a struct of `metadata` and `value`, both binary.
pub const VARIANT_EXTENSION: &str = "arrow.parquet.variant";

/// Whether an Arrow field says of itself that it holds variants.
pub fn is_variant(field: &Field) -> bool {
    field.metadata().get(EXTENSION_TYPE_NAME_KEY).is_some_and(|name| name == VARIANT_EXTENSION)
}

/// A field; one that holds variants says so.
fn arrow_field(name: &str, data_type: &DataType, nullable: bool, mut metadata: HashMap<String, String>) -> Field {
    if *data_type == DataType::Variant {
        metadata.insert(EXTENSION_TYPE_NAME_KEY.to_owned(), VARIANT_EXTENSION.to_owned());
    }
    Field::new(name, data_type.to_arrow(), nullable).with_metadata(metadata)
}

fn from_field(column: &str, field: &Field) -> Result<DataType> {
    if is_variant(field) { Ok(DataType::Variant) } else { DataType::from_arrow(column, field.data_type()) }
}

fn from_fields(parent: &str, fields: &Fields) -> Result<Vec<StructField>> {
    fields
        .iter()
        .map(|field| {
            let column = if parent.is_empty() { field.name().clone() } else { format!("{parent}.{}", field.name()) };
            Ok(StructField {
                name: field.name().clone(),
                data_type: from_field(&column, field)?,
                nullable: field.is_nullable(),
                metadata: from_metadata(field.metadata()),
            })
        })
        .collect()
}

/// What readers of Parquet and Arrow add for themselves says nothing about the table.
fn from_metadata(metadata: &HashMap<String, String>) -> FieldMetadata {
    let mut entries: Vec<_> =
        metadata.iter().filter(|(key, _)| !key.starts_with("PARQUET:") && !key.starts_with("ARROW:")).collect();
    entries.sort();
    entries
        .into_iter()
        .map(|(key, text)| {
            let value = from_text(key, text).unwrap_or_else(|| Value::String(text.clone()));
            (key.clone(), value)
        })
        .collect()
}

/// What the protocol keeps as a number, a boolean or more: Arrow only has text.
fn from_text(key: &str, text: &str) -> Option<Value> {
    match key {
        COLUMN_ID | IDENTITY_START | IDENTITY_STEP | IDENTITY_HIGH_WATER_MARK => text.parse::<i64>().ok().map(Value::from),
        IDENTITY_EXPLICIT => text.parse::<bool>().ok().map(Value::from),
        NESTED_IDS | TYPE_CHANGES => serde_json::from_str(text).ok(),
        _ => None,
    }
}
