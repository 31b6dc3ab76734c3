//! Signatures as MLflow writes them: a JSON list of column specifications.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde_json::{Value, json};

use crate::error::{Result, ServingError};

/// The columns of `schema` as MLflow's JSON list.
///
/// **Errors**: [`ServingError::SignatureType`] for a type that MLflow has no word for.
///
/// **Source**: MLflow, `mlflow.types.schema.Schema.to_json` (ColSpec).
///
/// # Example
/// ```
/// use arrow_schema::{DataType, Field, Schema};
///
/// let schema = Schema::new(vec![Field::new("distance", DataType::Float64, false)]);
/// let json = boathouse_serving::signature::schema_to_mlflow(&schema)?;
/// assert_eq!(json, r#"[{"name":"distance","required":true,"type":"double"}]"#);
/// # Ok::<(), boathouse_serving::ServingError>(())
/// ```
pub fn schema_to_mlflow(schema: &Schema) -> Result<String> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let name = match field.data_type() {
                DataType::Boolean => "boolean",
                DataType::Int32 => "integer",
                DataType::Int64 => "long",
                DataType::Float32 => "float",
                DataType::Float64 => "double",
                DataType::Utf8 => "string",
                DataType::Binary => "binary",
                DataType::Timestamp(TimeUnit::Microsecond, None) => "datetime",
                found => return Err(ServingError::SignatureType { column: field.name().clone(), found: found.clone() }),
            };
            Ok(json!({"type": name, "name": field.name(), "required": !field.is_nullable()}))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Value::Array(columns).to_string())
}

/// The columns that an MLflow JSON list describes; `None` for tensors, which have no columns.
///
/// A column without a name is called by its position, from `0`.
///
/// **Errors**: [`ServingError::SignatureSpec`] for a type that is not served (arrays, maps, objects).
pub fn schema_from_mlflow(json: &str) -> Result<Option<SchemaRef>> {
    let expected = || ServingError::MlmodelKey { key: "signature".into(), expected: "a JSON list of column specifications" };
    let columns: Vec<Value> = serde_json::from_str(json).map_err(|_| expected())?;
    let mut fields = Vec::with_capacity(columns.len());
    for (position, column) in columns.iter().enumerate() {
        let name = column.get("name").and_then(Value::as_str).map_or_else(|| position.to_string(), str::to_owned);
        let found = column.get("type").and_then(Value::as_str).ok_or_else(expected)?;
        let data_type = match found {
            "boolean" => DataType::Boolean,
            "integer" => DataType::Int32,
            "long" => DataType::Int64,
            "float" => DataType::Float32,
            "double" => DataType::Float64,
            "string" => DataType::Utf8,
            "binary" => DataType::Binary,
            "datetime" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "tensor" => return Ok(None),
            _ => return Err(ServingError::SignatureSpec { column: name, found: found.to_owned() }),
        };
        // Files from before MLflow 2.6 say `optional`.
        let required = match (column.get("required"), column.get("optional")) {
            (Some(required), _) => required.as_bool().unwrap_or(true),
            (None, Some(optional)) => !optional.as_bool().unwrap_or(false),
            (None, None) => true,
        };
        fields.push(Field::new(name, data_type, !required));
    }
    Ok(Some(Arc::new(Schema::new(fields))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_comes_back_from_its_mlflow_form() {
        let schema = Schema::new(vec![
            Field::new("a", DataType::Boolean, true),
            Field::new("b", DataType::Int32, false),
            Field::new("c", DataType::Int64, true),
            Field::new("d", DataType::Float32, false),
            Field::new("e", DataType::Float64, true),
            Field::new("f \"quoted\"", DataType::Utf8, false),
            Field::new("g", DataType::Binary, true),
            Field::new("h", DataType::Timestamp(TimeUnit::Microsecond, None), false),
        ]);
        let json = schema_to_mlflow(&schema).unwrap();
        assert_eq!(schema_from_mlflow(&json).unwrap().unwrap().as_ref(), &schema);
    }

    #[test]
    fn tensors_have_no_columns_and_nested_types_are_refused_by_name() {
        let tensor = r#"[{"type":"tensor","tensor-spec":{"dtype":"float64","shape":[-1,4]}}]"#;
        assert_eq!(schema_from_mlflow(tensor).unwrap(), None);
        let nested = r#"[{"type":"array","items":{"type":"long"},"name":"tags","required":true}]"#;
        let error = schema_from_mlflow(nested).unwrap_err();
        assert!(matches!(&error, ServingError::SignatureSpec { column, .. } if column == "tags"), "{error}");
    }
}
