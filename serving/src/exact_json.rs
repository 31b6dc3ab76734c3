//! JSON whose floats come back bit for bit.
//!
//! `serde_json` reads a float quickly, and now and then one unit in the last place off. A model whose
//! weights move when it is saved, or a request that scores otherwise than its table row, would be wrong in
//! a way nobody finds. So numbers are read by the standard library, which rounds correctly.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// A JSON value that is not an object or array, borrowed from the text where it can be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Boolean(bool),
    Int(i64),
    /// An integer above the largest `i64`.
    Unsigned(u64),
    Float(f64),
    String(Cow<'a, str>),
    /// An array or object.
    Nested(&'static str),
}

impl<'a> Cell<'a> {
    /// Reads one value. The text of a [`RawValue`] is valid JSON already.
    pub(crate) fn read(raw: &'a RawValue) -> Self {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'n') | None => Self::Null,
            Some(b't') => Self::Boolean(true),
            Some(b'f') => Self::Boolean(false),
            Some(b'[') => Self::Nested("an array"),
            Some(b'{') => Self::Nested("an object"),
            Some(b'"') => match text.get(1..text.len().saturating_sub(1)) {
                Some(inner) if !inner.contains('\\') => Self::String(Cow::Borrowed(inner)),
                _ => {
                    serde_json::from_str::<String>(text).map_or(Self::Nested("a broken string"), |s| Self::String(Cow::Owned(s)))
                }
            },
            Some(_) => number(text),
        }
    }

    /// What it is, for an error message.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Boolean(v) => format!("the boolean {v}"),
            Self::Int(v) => format!("the integer {v}"),
            Self::Unsigned(v) => format!("the integer {v}"),
            Self::Float(v) => format!("the number {v}"),
            Self::String(v) => {
                let short: String = v.chars().take(40).collect();
                format!("the text {short:?}")
            }
            Self::Nested(what) => (*what).into(),
        }
    }
}

fn number<'a>(text: &str) -> Cell<'a> {
    if let Ok(int) = text.parse() {
        Cell::Int(int)
    } else if let Ok(int) = text.parse() {
        Cell::Unsigned(int)
    } else {
        // Every JSON number is a float literal of Rust; one too large for f64 becomes infinite.
        text.parse().map_or(Cell::Nested("a broken number"), Cell::Float)
    }
}

/// Arrays and objects within each other: a model has a handful, and a hostile file must not exhaust the stack.
const MAX_DEPTH: usize = 64;

/// Reads a value with every float rounded correctly.
///
/// **Cost**: each level of nesting reads its text again.
pub(crate) fn from_str<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_value(value(serde_json::from_str::<&RawValue>(text)?, MAX_DEPTH)?)
}

fn value(raw: &RawValue, depth: usize) -> serde_json::Result<Value> {
    let Some(depth) = depth.checked_sub(1) else { return Err(serde::de::Error::custom("nested too deeply")) };
    Ok(match Cell::read(raw) {
        Cell::Null => Value::Null,
        Cell::Boolean(v) => Value::Bool(v),
        Cell::Int(v) => Value::from(v),
        Cell::Unsigned(v) => Value::from(v),
        Cell::Float(v) => Number::from_f64(v).map_or(Value::Null, Value::Number),
        Cell::String(v) => Value::String(v.into_owned()),
        Cell::Nested("an array") => {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get())?;
            Value::Array(items.into_iter().map(|item| value(item, depth)).collect::<serde_json::Result<_>>()?)
        }
        Cell::Nested(_) => {
            let items: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(raw.get())?;
            let fields = items.into_iter().map(|(key, item)| Ok((key.into_owned(), value(item, depth)?)));
            Value::Object(fields.collect::<serde_json::Result<Map<_, _>>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_finite_float_comes_back_bit_for_bit(bits in any::<u64>()) {
            let float = f64::from_bits(bits);
            prop_assume!(float.is_finite());
            let text = serde_json::to_string(&vec![float]).unwrap();
            let back: Vec<f64> = from_str(&text).unwrap();
            prop_assert_eq!(back[0].to_bits(), float.to_bits());
        }
    }

    #[test]
    fn cells_are_read_as_what_they_are() {
        let read = |text: &str| format!("{:?}", Cell::read(serde_json::from_str::<&RawValue>(text).unwrap()));
        assert_eq!(read("12"), "Int(12)");
        assert_eq!(read("-0.0"), "Float(-0.0)");
        assert_eq!(read("1e2"), "Float(100.0)");
        assert_eq!(read("18446744073709551615"), "Unsigned(18446744073709551615)");
        assert_eq!(read(r#""a\u00e9\"""#), r#"String("aé\"")"#);
        assert_eq!(read("[1]"), r#"Nested("an array")"#);
        assert_eq!(read("null"), "Null");
    }

    #[test]
    fn nesting_without_end_is_an_error() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(from_str::<Value>(&deep).is_err());
        let fine = format!("{}1.5{}", "[".repeat(60), "]".repeat(60));
        assert_eq!(from_str::<Value>(&fine).unwrap().to_string(), fine);
    }
}
