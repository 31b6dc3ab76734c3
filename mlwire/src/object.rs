//! JSON objects that leave out what is not set.

use serde_json::{Map, Value};

/// Builds a JSON object as MLflow writes them: snake_case names, unset fields left out, floats that JSON has no number for
/// as text.
///
/// # Example
/// ```
/// use boathouse_mlwire::Object;
///
/// let json = Object::new().put("run_id", "a1").put_some("end_time", None::<i64>).put("value", f64::NAN).json();
/// assert_eq!(json.to_string(), r#"{"run_id":"a1","value":"NaN"}"#);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Object(Map<String, Value>);

impl Object {
    /// An empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a field.
    pub fn put(mut self, name: &str, value: impl Into<Field>) -> Self {
        self.0.insert(name.to_owned(), value.into().0);
        self
    }

    /// Sets a field if there is a value.
    pub fn put_some(self, name: &str, value: Option<impl Into<Field>>) -> Self {
        match value {
            Some(value) => self.put(name, value),
            None => self,
        }
    }

    /// Sets a list if it is not empty.
    pub fn put_list<T>(self, name: &str, values: impl IntoIterator<Item = T>, json: impl Fn(T) -> Value) -> Self {
        let values: Vec<Value> = values.into_iter().map(json).collect();
        if values.is_empty() { self } else { self.put(name, Value::Array(values)) }
    }

    /// The object.
    pub fn json(self) -> Value {
        Value::Object(self.0)
    }
}

/// A value of a field.
#[derive(Debug, Clone)]
pub struct Field(Value);

impl From<f64> for Field {
    fn from(float: f64) -> Self {
        Self(match float {
            f if f.is_nan() => Value::from("NaN"),
            f if f.is_infinite() => Value::from(if f > 0.0 { "Infinity" } else { "-Infinity" }),
            f => Value::from(f),
        })
    }
}

macro_rules! from {
    ($($type:ty),*) => {$(
        impl From<$type> for Field {
            fn from(value: $type) -> Self {
                Self(Value::from(value))
            }
        }
    )*};
}

from!(&str, String, i64, u64, usize, bool, Value);

impl From<&String> for Field {
    fn from(value: &String) -> Self {
        Self(Value::from(value.as_str()))
    }
}

impl From<Object> for Field {
    fn from(value: Object) -> Self {
        Self(value.json())
    }
}
