//! The parameters of a request, read by MLflow's rules.
//!
//! Unknown fields are ignored, null is the same as absent, 64-bit numbers may come as text (as in a query string), floats
//! may be the texts `NaN`, `Infinity` and `-Infinity`. Messages are the ones that MLflow clients test for.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The parameters of a request: a JSON object, or a query string.
///
/// # Example
/// ```
/// use boathouse_mlwire::Params;
///
/// let params = Params::from_json(br#"{"run_id": "a1", "step": "7", "value": "NaN", "color": 3}"#)?;
/// assert_eq!(params.text("run_id")?, "a1");
/// assert_eq!(params.optional_int("step")?, Some(7));
/// assert!(params.float("value")?.is_nan());
/// assert_eq!(params.text("key").unwrap_err().to_string(), "Missing value for required parameter 'key'.");
/// # Ok::<(), boathouse_mlwire::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params {
    fields: Map<String, Value>,
    /// Where these stand in the request: `metrics[2].`; empty at the top.
    path: String,
}

impl Params {
    /// Reads a JSON object; no bytes are an empty one.
    ///
    /// **Errors**: `Invalid` when it is something else.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self { fields, path: String::new() }),
            Ok(other) => Err(Error::Body { reason: format!("found {}", kind(&other)) }),
            Err(e) => Err(Error::Body { reason: e.to_string() }),
        }
    }

    /// Takes the pairs of a query string; a repeated one is a list.
    pub fn from_query(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut fields: Map<String, Value> = Map::new();
        for (key, value) in pairs {
            let value = Value::String(value);
            match fields.get_mut(&key) {
                None => {
                    fields.insert(key, value);
                }
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
        Self { fields, path: String::new() }
    }

    /// Adds what stands in `other` and not here.
    pub fn or(mut self, other: Self) -> Self {
        for (key, value) in other.fields {
            self.fields.entry(key).or_insert(value);
        }
        self
    }

    /// Text that must be there and not be empty.
    pub fn text(&self, name: &str) -> Result<&str> {
        self.optional_text(name)?.filter(|t| !t.is_empty()).ok_or_else(|| self.missing(name))
    }

    /// Text that may be absent.
    pub fn optional_text(&self, name: &str) -> Result<Option<&str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.invalid(name, other, "expected text")),
        }
    }

    /// The first of these names that is there, for fields that have an old name: `run_id`, `run_uuid`.
    pub fn text_of(&self, names: &[&str]) -> Result<&str> {
        for name in names {
            if let Some(text) = self.optional_text(name)?.filter(|t| !t.is_empty()) {
                return Ok(text);
            }
        }
        Err(self.missing(names.first().copied().unwrap_or_default()))
    }

    /// A whole number that must be there.
    pub fn int(&self, name: &str) -> Result<i64> {
        self.optional_int(name)?.ok_or_else(|| self.missing(name))
    }

    /// A whole number that may be absent.
    pub fn optional_int(&self, name: &str) -> Result<Option<i64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let int = match value {
            Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        int.map(Some).ok_or_else(|| self.invalid(name, value, "expected a whole number of 64 bits"))
    }

    /// A whole number between these ends; the default when it is absent.
    pub fn int_between(&self, name: &str, default: i64, range: std::ops::RangeInclusive<i64>) -> Result<i64> {
        let int = self.optional_int(name)?.unwrap_or(default);
        if range.contains(&int) {
            return Ok(int);
        }
        let value = self.get(name).cloned().unwrap_or_default();
        Err(self.invalid(name, &value, &format!("expected a number from {} to {}", range.start(), range.end())))
    }

    /// A page size.
    pub fn max_results(&self, default: usize, most: usize) -> Result<usize> {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let int = self.int_between("max_results", number(default), 1..=number(most))?;
        Ok(usize::try_from(int).unwrap_or(default))
    }

    /// A float that must be there.
    pub fn float(&self, name: &str) -> Result<f64> {
        let value = self.get(name).ok_or_else(|| self.missing(name))?;
        let float = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => match text.as_str() {
                "NaN" | "nan" => Some(f64::NAN),
                "Infinity" | "inf" => Some(f64::INFINITY),
                "-Infinity" | "-inf" => Some(f64::NEG_INFINITY),
                text => text.trim().parse().ok(),
            },
            _ => None,
        };
        float.ok_or_else(|| self.invalid(name, value, "expected a number, \"NaN\", \"Infinity\" or \"-Infinity\""))
    }

    /// True or false; the default when it is absent.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(other) => Err(self.invalid(name, other, "expected true or false")),
        }
    }

    /// Texts; one text alone is a list of one, absent is an empty list.
    pub fn texts(&self, name: &str) -> Result<Vec<String>> {
        let values = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        let text = |value: &Value| match value {
            Value::String(text) => Ok(text.clone()),
            other => Err(self.invalid(name, other, "expected a list of texts")),
        };
        values.iter().map(text).collect()
    }

    /// An object that must be there.
    pub fn object(&self, name: &str) -> Result<Self> {
        match self.get(name) {
            None => Err(self.missing(name)),
            Some(Value::Object(fields)) => Ok(Self { fields: fields.clone(), path: format!("{}{name}.", self.path) }),
            Some(other) => Err(self.invalid(name, other, "expected an object")),
        }
    }

    /// A list of objects; absent is an empty list.
    pub fn objects(&self, name: &str) -> Result<Vec<Self>> {
        let values = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values,
            Some(other) => return Err(self.invalid(name, other, "expected a list of objects")),
        };
        let object = |(i, value): (usize, &Value)| match value {
            Value::Object(fields) => Ok(Self { fields: fields.clone(), path: format!("{}{name}[{i}].", self.path) }),
            other => Err(self.invalid(&format!("{name}[{i}]"), other, "expected an object")),
        };
        values.iter().enumerate().map(object).collect()
    }

    /// The error for a value that is of the right type but not right.
    pub fn refuse(&self, name: &str, expected: &str) -> Error {
        let value = self.get(name).cloned().unwrap_or_default();
        self.invalid(name, &value, expected)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|v| !v.is_null())
    }

    fn missing(&self, name: &str) -> Error {
        Error::MissingParameter { parameter: format!("{}{name}", self.path) }
    }

    fn invalid(&self, name: &str, value: &Value, expected: &str) -> Error {
        let mut value = value.to_string();
        if let Some((end, _)) = value.char_indices().nth(200) {
            value.truncate(end);
            value.push('…');
        }
        Error::InvalidParameter { parameter: format!("{}{name}", self.path), value, expected: expected.to_owned() }
    }
}

/// Python writes whole floats as `3.0`.
fn whole(float: f64) -> Option<i64> {
    // Exact up to 2^53; beyond that a float does not say which integer was meant.
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(float as i64)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Params {
        Params::from_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_query_with_repeated_keys_makes_lists() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let params = Params::from_query([pair("a", "1"), pair("b", "x"), pair("b", "y"), pair("b", "z")]);
        assert_eq!(params.texts("a").unwrap(), ["1"]);
        assert_eq!(params.texts("b").unwrap(), ["x", "y", "z"]);
        assert_eq!(params.int("a").unwrap(), 1);
        assert!(params.texts("c").unwrap().is_empty());
    }

    #[test]
    fn numbers_come_as_numbers_and_as_text() {
        let params =
            json(r#"{"a": 9223372036854775807, "b": "9223372036854775807", "c": 3.0, "d": 3.5, "e": 1e300, "f": "-Infinity"}"#);
        assert_eq!(params.int("a").unwrap(), i64::MAX);
        assert_eq!(params.int("b").unwrap(), i64::MAX);
        assert_eq!(params.int("c").unwrap(), 3);
        assert!(params.int("d").is_err());
        assert!(params.int("e").is_err());
        assert_eq!(params.float("f").unwrap(), f64::NEG_INFINITY);
        assert_eq!(params.float("d").unwrap(), 3.5);
    }

    #[test]
    fn messages_name_the_path_and_the_value() {
        let params = json(r#"{"key": 31, "metrics": [{"key": "a"}, {"value": 1}], "empty": "", "max_results": 0}"#);
        assert_eq!(params.text("key").unwrap_err().to_string(), "Invalid value 31 for parameter 'key' supplied: expected text");
        assert_eq!(params.text("empty").unwrap_err().to_string(), "Missing value for required parameter 'empty'.");
        let metrics = params.objects("metrics").unwrap();
        assert_eq!(metrics[1].text("key").unwrap_err().to_string(), "Missing value for required parameter 'metrics[1].key'.");
        assert!(params.max_results(10, 20).unwrap_err().to_string().contains("from 1 to 20"));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[1]", "3", "{", "nul"] {
            assert!(matches!(Params::from_json(text.as_bytes()), Err(Error::Body { .. })), "{text}");
        }
        assert_eq!(Params::from_json(b" \n").unwrap(), Params::default());
    }
}
