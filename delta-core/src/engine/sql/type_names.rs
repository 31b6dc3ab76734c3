//! Types and columns in Spark's words.

use boathouse_delta_protocol::schema::{DataType, PrimitiveType, StructField};
use serde_json::Value;

/// A type as `DESCRIBE TABLE` shows it: `bigint`, `struct<a:int>`.
pub(super) fn shown(data_type: &DataType) -> String {
    match data_type {
        DataType::Primitive(primitive) => primitive_name(*primitive),
        DataType::Struct(fields) => {
            let fields = fields.fields.iter().map(|field| format!("{}:{}", field.name, shown(&field.data_type)));
            format!("struct<{}>", fields.collect::<Vec<_>>().join(","))
        }
        DataType::Array(array) => format!("array<{}>", shown(&array.element)),
        DataType::Map(map) => format!("map<{},{}>", shown(&map.key), shown(&map.value)),
        DataType::Variant => "variant".to_owned(),
    }
}

fn primitive_name(primitive: PrimitiveType) -> String {
    match primitive {
        PrimitiveType::Long => "bigint".to_owned(),
        PrimitiveType::Integer => "int".to_owned(),
        PrimitiveType::Short => "smallint".to_owned(),
        PrimitiveType::Byte => "tinyint".to_owned(),
        other => other.to_string(),
    }
}

/// A type as it is declared: fields with `NOT NULL` and their comments.
fn declared_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Primitive(primitive) => primitive_name(*primitive).to_uppercase(),
        DataType::Struct(fields) => {
            let fields = fields.fields.iter().map(|field| {
                let rest = rules(field, &declared_type(&field.data_type));
                format!("{}: {rest}", quoted(&field.name))
            });
            format!("STRUCT<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::Array(array) => format!("ARRAY<{}>", declared_type(&array.element)),
        DataType::Map(map) => format!("MAP<{}, {}>", declared_type(&map.key), declared_type(&map.value)),
        DataType::Variant => "VARIANT".to_owned(),
    }
}

/// A column as it is declared.
pub(super) fn declared(field: &StructField) -> String {
    let text = |key: &str| field.metadata.get(key).and_then(Value::as_str);
    let mut column = declared_type(&field.data_type);
    if let Some(expression) = text("delta.generationExpression") {
        column.push_str(&format!(" GENERATED ALWAYS AS ({expression})"));
    }
    if let (Some(start), Some(step)) = (field.metadata.get("delta.identity.start"), field.metadata.get("delta.identity.step")) {
        let explicit = field.metadata.get("delta.identity.allowExplicitInsert").is_some_and(|value| value == &Value::Bool(true));
        let when = if explicit { "BY DEFAULT" } else { "ALWAYS" };
        column.push_str(&format!(" GENERATED {when} AS IDENTITY (START WITH {start} INCREMENT BY {step})"));
    }
    if let Some(default) = text("CURRENT_DEFAULT") {
        column.push_str(&format!(" DEFAULT {default}"));
    }
    format!("{} {}", quoted(&field.name), rules(field, &column))
}

/// What is declared of a column behind its type.
fn rules(field: &StructField, declared: &str) -> String {
    let mut declared = declared.to_owned();
    if !field.nullable {
        declared.push_str(" NOT NULL");
    }
    if let Some(comment) = comment(field) {
        declared.push_str(&format!(" COMMENT {}", text(comment)));
    }
    declared
}

/// The comment of a column.
pub(super) fn comment(field: &StructField) -> Option<&str> {
    field.metadata.get("comment").and_then(Value::as_str)
}

/// A name in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text in quotes.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
