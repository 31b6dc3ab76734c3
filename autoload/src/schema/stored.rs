//! The stored form of a schema: readable JSON, exact for every type that a column can have.

use std::sync::Arc;

use super::partition::{as_partition, is_partition};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use serde::{Deserialize, Serialize};

/// A column as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredField {
    name: String,
    #[serde(rename = "type")]
    data_type: StoredType,
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    nullable: bool,
    /// Whether the values stand in paths.
    #[serde(default, skip_serializing_if = "is_no")]
    partition: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredType {
    Struct(Vec<StoredField>),
    List(Box<StoredField>),
    LargeList(Box<StoredField>),
    FixedSizeList(Box<StoredField>, i32),
    Map(Box<StoredField>, bool),
    /// Arrow's own text form.
    #[serde(untagged)]
    Leaf(String),
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_yes(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_no(value: &bool) -> bool {
    !*value
}

/// `None` names a type that has no stored form.
pub(crate) fn to_stored(fields: &Fields) -> Result<Vec<StoredField>, DataType> {
    fields.iter().map(|field| field_to_stored(field)).collect()
}

fn field_to_stored(field: &Field) -> Result<StoredField, DataType> {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => StoredType::Struct(to_stored(fields)?),
        DataType::List(item) => StoredType::List(Box::new(field_to_stored(item)?)),
        DataType::LargeList(item) => StoredType::LargeList(Box::new(field_to_stored(item)?)),
        DataType::FixedSizeList(item, size) => StoredType::FixedSizeList(Box::new(field_to_stored(item)?), *size),
        DataType::Map(entries, sorted) => StoredType::Map(Box::new(field_to_stored(entries)?), *sorted),
        leaf => {
            let text = leaf.to_string();
            if text.parse::<DataType>().ok().as_ref() != Some(leaf) {
                return Err(leaf.clone());
            }
            StoredType::Leaf(text)
        }
    };
    Ok(StoredField { name: field.name().clone(), data_type, nullable: field.is_nullable(), partition: is_partition(field) })
}

/// The error is the text that is no type.
pub(crate) fn from_stored(fields: &[StoredField]) -> Result<Fields, String> {
    fields.iter().map(field_from_stored).collect()
}

fn field_from_stored(stored: &StoredField) -> Result<FieldRef, String> {
    let item = |field: &StoredField| field_from_stored(field);
    let data_type = match &stored.data_type {
        StoredType::Struct(fields) => DataType::Struct(from_stored(fields)?),
        StoredType::List(field) => DataType::List(item(field)?),
        StoredType::LargeList(field) => DataType::LargeList(item(field)?),
        StoredType::FixedSizeList(field, size) => DataType::FixedSizeList(item(field)?, *size),
        StoredType::Map(field, sorted) => DataType::Map(item(field)?, *sorted),
        StoredType::Leaf(text) => text.parse().map_err(|_| text.clone())?,
    };
    Ok(match stored.partition {
        true => as_partition(&stored.name, data_type),
        false => Arc::new(Field::new(&stored.name, data_type, stored.nullable)),
    })
}

#[cfg(test)]
mod tests {
    use arrow_schema::TimeUnit;

    use super::*;

    #[test]
    fn every_type_comes_back_from_its_stored_form() {
        let leafs = [
            DataType::Boolean,
            DataType::Int8,
            DataType::Int64,
            DataType::UInt32,
            DataType::Float32,
            DataType::Float64,
            DataType::Utf8,
            DataType::Binary,
            DataType::FixedSizeBinary(16),
            DataType::Date32,
            DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Decimal128(38, 10),
            DataType::Decimal256(76, 3),
        ];
        let mut fields: Vec<Field> =
            leafs.into_iter().enumerate().map(|(at, leaf)| Field::new(format!("c{at} \"ü"), leaf, true)).collect();
        let item = Arc::new(Field::new("item", DataType::Struct(fields.clone().into()), false));
        fields.push(Field::new("list", DataType::List(item), true));
        let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, true)]);
        fields.push(Field::new(
            "map",
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false),
            true,
        ));
        let fields = Fields::from(fields);
        let text = serde_json::to_string(&to_stored(&fields).unwrap()).unwrap();
        let back: Vec<StoredField> = serde_json::from_str(&text).unwrap();
        assert_eq!(from_stored(&back).unwrap(), fields, "{text}");
    }

    #[test]
    fn an_unknown_type_text_is_named() {
        let stored: Vec<StoredField> = serde_json::from_str(r#"[{"name":"a","type":"Quux"}]"#).unwrap();
        assert_eq!(from_stored(&stored).unwrap_err(), "Quux");
    }
}
