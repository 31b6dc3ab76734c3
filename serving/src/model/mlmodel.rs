//! The `MLmodel` file: which flavors a model folder holds, and what the model takes and gives.

use std::collections::BTreeMap;

use boathouse_base::Signature;
use serde_json::{Map, Value};

use super::yaml;
use crate::error::{Result, ServingError};
use crate::signature::{schema_from_mlflow, schema_to_mlflow};

/// What an `MLmodel` file says.
///
/// **Source**: MLflow, "MLflow Model storage format". Keys that are not listed here are read over.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mlmodel {
    /// Facts of each flavor, by its name.
    pub flavors: BTreeMap<String, Map<String, Value>>,
    /// The columns, where the file has a signature of columns. Tensors have none.
    pub signature: Option<Signature>,
    /// The id of the model.
    pub model_uuid: Option<String>,
    /// The run that made it.
    pub run_id: Option<String>,
    /// When it was made, in microseconds since the Unix epoch (UTC).
    pub created_us: Option<i64>,
}

impl Mlmodel {
    /// Reads the text of an `MLmodel` file.
    ///
    /// **Errors**: [`ServingError::MlmodelSyntax`] with the line, [`ServingError::MlmodelKey`],
    /// [`ServingError::SignatureSpec`].
    pub fn parse(text: &str) -> Result<Self> {
        let expected = |key: &str, expected| ServingError::MlmodelKey { key: key.to_owned(), expected };
        let document = yaml::parse(text)?;
        let flavors =
            document.get("flavors").and_then(Value::as_object).ok_or_else(|| expected("flavors", "a mapping of flavors"))?;
        let flavors = flavors
            .iter()
            .map(|(name, facts)| match facts {
                Value::Object(facts) => Ok((name.clone(), facts.clone())),
                Value::Null => Ok((name.clone(), Map::new())),
                _ => Err(expected(&format!("flavors.{name}"), "a mapping")),
            })
            .collect::<Result<_>>()?;
        let text_of = |key: &str| document.get(key).and_then(Value::as_str).map(str::to_owned);
        let signature = match document.get("signature") {
            None | Some(Value::Null) => None,
            Some(signature) => {
                let columns = |key: &str| match signature.get(key) {
                    None | Some(Value::Null) => Ok(None),
                    Some(Value::String(json)) => schema_from_mlflow(json),
                    Some(_) => Err(expected(&format!("signature.{key}"), "a JSON list in a string")),
                };
                columns("inputs")?.zip(columns("outputs")?).map(|(inputs, outputs)| Signature { inputs, outputs })
            }
        };
        Ok(Self {
            flavors,
            signature,
            model_uuid: text_of("model_uuid"),
            run_id: text_of("run_id"),
            created_us: text_of("utc_time_created").as_deref().and_then(instant_us),
        })
    }

    /// The text of the file. The same value gives the same text.
    ///
    /// **Errors**: [`ServingError::SignatureType`] for a column type that MLflow has no word for.
    pub fn to_text(&self) -> Result<String> {
        let mut text = String::from("flavors:\n");
        for (name, facts) in &self.flavors {
            text.push_str(&format!("  {name}:{}\n", if facts.is_empty() { " {}" } else { "" }));
            for (key, value) in facts {
                let value = value.as_str().map_or_else(|| value.to_string(), yaml::quote);
                text.push_str(&format!("    {key}: {value}\n"));
            }
        }
        if let Some(id) = &self.model_uuid {
            text.push_str(&format!("model_uuid: {}\n", yaml::quote(id)));
        }
        if let Some(id) = &self.run_id {
            text.push_str(&format!("run_id: {}\n", yaml::quote(id)));
        }
        if let Some(signature) = &self.signature {
            let (inputs, outputs) = (schema_to_mlflow(&signature.inputs)?, schema_to_mlflow(&signature.outputs)?);
            text.push_str(&format!(
                "signature:\n  inputs: {}\n  outputs: {}\n  params: null\n",
                yaml::quote(&inputs),
                yaml::quote(&outputs)
            ));
        }
        if let Some(us) = self.created_us {
            text.push_str(&format!("utc_time_created: {}\n", yaml::quote(&instant_text(us))));
        }
        Ok(text)
    }
}

/// `2026-11-22 15:40:11.123456`, UTC.
fn instant_us(text: &str) -> Option<i64> {
    arrow_cast::parse::string_to_timestamp_nanos(text).ok().map(|ns| ns.div_euclid(1000))
}

fn instant_text(us: i64) -> String {
    arrow_array::temporal_conversions::timestamp_us_to_datetime(us)
        .map_or_else(String::new, |t| t.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::{DataType, Field, Schema};
    use std::sync::Arc;

    #[test]
    fn a_file_comes_back_as_it_was_written() {
        let schema = |name: &str| Arc::new(Schema::new(vec![Field::new(name, DataType::Float64, false)]));
        let file = Mlmodel {
            flavors: BTreeMap::from([(
                "linfa".to_owned(),
                Map::from_iter([("data".to_owned(), Value::from("model.json")), ("trees".to_owned(), Value::from(20))]),
            )]),
            signature: Some(Signature { inputs: schema("it's: x"), outputs: schema("probability") }),
            model_uuid: Some("00000000000000000000000000000001".into()),
            run_id: Some("123".into()),
            created_us: Some(1_763_826_011_123_456),
        };
        let text = file.to_text().unwrap();
        assert!(text.contains("utc_time_created: '2025-11-22 15:40:11.123456'"), "{text}");
        assert_eq!(Mlmodel::parse(&text).unwrap(), file);
    }

    #[test]
    fn a_file_without_flavors_says_so() {
        let error = Mlmodel::parse("run_id: x\n").unwrap_err();
        assert!(matches!(&error, ServingError::MlmodelKey { key, .. } if key == "flavors"), "{error}");
    }
}
