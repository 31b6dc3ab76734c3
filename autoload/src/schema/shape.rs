//! What a text value looks like, and what two looks have in common.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};

use crate::decode::{JsonObject, unescape};
use crate::evidence::ColumnEvidence;

/// Deeper values are text.
const MAX_DEPTH: usize = 32;

/// What a value, or all values of a column, look like.
///
/// ```text
///   Null ─┬─▶ Bool ──────────┐
///         ├─▶ Int ─▶ Float ──┤
///         ├─▶ Timestamp ─────┼─▶ Text
///         ├─▶ Struct ────────┤
///         └─▶ List ──────────┘
/// ```
/// `widen` goes along the arrows until both sides meet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// No value seen.
    Null,
    /// true, false
    Bool,
    /// Whole numbers of 64 bits.
    Int,
    /// Other numbers.
    Float,
    /// RFC 3339 instants.
    Timestamp,
    /// Everything else.
    Text,
    /// Objects.
    Struct(Shapes),
    /// Arrays.
    List(Box<Shape>),
}

impl Shape {
    /// The narrowest look that both have.
    pub(crate) fn widen(&mut self, other: Self) {
        let mine = std::mem::replace(self, Self::Null);
        *self = match (mine, other) {
            (Self::Null, x) | (x, Self::Null) => x,
            (Self::Int, Self::Float) | (Self::Float, Self::Int) => Self::Float,
            (Self::Struct(mut a), Self::Struct(b)) => {
                for (name, shape) in b.fields {
                    a.add(&name, shape);
                }
                Self::Struct(a)
            }
            (Self::List(mut a), Self::List(b)) => {
                a.widen(*b);
                Self::List(a)
            }
            (a, b) if a == b => a,
            _ => Self::Text,
        };
    }

    /// The Arrow type. A value that was always null is text; so is an object without fields.
    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Null | Self::Text => DataType::Utf8,
            Self::Struct(shapes) if shapes.fields.is_empty() => DataType::Utf8,
            Self::Struct(shapes) => {
                DataType::Struct(shapes.fields.iter().map(|(name, shape)| Field::new(name, shape.data_type(), true)).collect())
            }
            Self::List(item) => DataType::List(Arc::new(Field::new("item", item.data_type(), true))),
        }
    }
}

/// Named looks, in the order in which they were first seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shapes {
    pub(crate) fields: Vec<(String, Shape)>,
    index: HashMap<String, usize>,
    /// How often each look was seen, for each field; only where somebody counts.
    seen: Vec<ColumnEvidence>,
}

impl PartialEq for Shapes {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields
    }
}

impl Shapes {
    /// Widens one field by a look.
    pub(crate) fn add(&mut self, name: &str, shape: Shape) {
        match self.index.get(name) {
            Some(&at) => self.fields[at].1.widen(shape),
            None => {
                self.index.insert(name.to_owned(), self.fields.len());
                self.fields.push((name.to_owned(), shape));
            }
        }
    }

    /// Widens one field by the look of one value, and counts it.
    pub(crate) fn count(&mut self, name: &str, shape: Shape) {
        let tally = |seen: &mut ColumnEvidence| {
            *match &shape {
                Shape::Null => &mut seen.nulls,
                Shape::Bool => &mut seen.booleans,
                Shape::Int => &mut seen.integers,
                Shape::Float => &mut seen.floats,
                Shape::Timestamp => &mut seen.instants,
                Shape::Text => &mut seen.texts,
                Shape::Struct(_) | Shape::List(_) => &mut seen.nested,
            } += 1;
        };
        match self.index.get(name).copied() {
            Some(at) => {
                self.seen.resize_with(self.seen.len().max(at + 1), ColumnEvidence::default);
                tally(&mut self.seen[at]);
                if self.fields[at].1 != Shape::Text {
                    self.fields[at].1.widen(shape);
                }
            }
            None => {
                let at = self.fields.len();
                self.seen.resize_with(at + 1, ColumnEvidence::default);
                tally(&mut self.seen[at]);
                self.add(name, shape);
            }
        }
    }

    /// What was counted of a field.
    pub(crate) fn seen(&self, name: &str) -> Option<&ColumnEvidence> {
        self.seen.get(*self.index.get(name)?)
    }

    /// Takes over the looks and counts of others.
    pub(crate) fn merge(&mut self, other: Self) {
        let mut theirs = other.seen.into_iter();
        for (name, shape) in other.fields {
            self.add(&name, shape);
            let (Some(theirs), Some(&at)) = (theirs.next(), self.index.get(&name)) else { continue };
            self.seen.resize_with(self.seen.len().max(at + 1), ColumnEvidence::default);
            let seen = &mut self.seen[at];
            seen.nulls += theirs.nulls;
            seen.booleans += theirs.booleans;
            seen.integers += theirs.integers;
            seen.floats += theirs.floats;
            seen.instants += theirs.instants;
            seen.texts += theirs.texts;
            seen.nested += theirs.nested;
        }
    }

    /// The look of a field when nothing more can widen it.
    pub(crate) fn is_text(&self, name: &str) -> bool {
        self.index.get(name).is_some_and(|&at| self.fields[at].1 == Shape::Text)
    }
}

/// The look of a JSON value in its text form, which must be valid.
pub(crate) fn shape_of_json(raw: &str) -> Shape {
    shape_at(raw, 0)
}

fn shape_at(raw: &str, depth: usize) -> Shape {
    match raw.as_bytes().first() {
        Some(b'"') => match unescape(raw) {
            Some(text) if is_rfc3339(&text) => Shape::Timestamp,
            _ => Shape::Text,
        },
        Some(b't' | b'f') => Shape::Bool,
        None | Some(b'n') => Shape::Null,
        Some(b'{' | b'[') if depth >= MAX_DEPTH => Shape::Text,
        Some(b'{') => {
            let mut shapes = Shapes::default();
            if let Ok(object) = JsonObject::parse(raw) {
                for (name, value) in object.fields {
                    shapes.add(&name, shape_at(value, depth + 1));
                }
            }
            Shape::Struct(shapes)
        }
        Some(b'[') => {
            let mut item = Shape::Null;
            if let Ok(values) = serde_json::from_str::<Vec<&serde_json::value::RawValue>>(raw) {
                for value in values {
                    item.widen(shape_at(value.get(), depth + 1));
                }
            }
            Shape::List(Box::new(item))
        }
        Some(_) => shape_of_number(raw),
    }
}

fn shape_of_number(text: &str) -> Shape {
    if text.parse::<i64>().is_ok() {
        Shape::Int
    } else if text.parse::<f64>().is_ok_and(f64::is_finite) {
        Shape::Float
    } else {
        Shape::Text
    }
}

/// The look of a value of a delimited file.
pub(crate) fn shape_of_text(text: &str) -> Shape {
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        return Shape::Bool;
    }
    let starts_like_number = text.as_bytes().first().is_some_and(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.'));
    if !starts_like_number {
        return Shape::Text;
    }
    match shape_of_number(text) {
        Shape::Text if is_rfc3339(text) => Shape::Timestamp,
        shape => shape,
    }
}

fn is_rfc3339(text: &str) -> bool {
    // Cheap first: `2024-01-01T00:00:00Z` has 20 bytes and its separators in fixed places.
    let bytes = text.as_bytes();
    bytes.len() >= 20
        && bytes[0].is_ascii_digit()
        && bytes[4] == b'-'
        && matches!(bytes[10], b'T' | b't' | b' ')
        && chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_widen_from_int_over_float_to_text() {
        let mut shape = Shape::Null;
        for (raw, expected) in [
            ("null", DataType::Utf8),
            ("1", DataType::Int64),
            ("1.5", DataType::Float64),
            ("2", DataType::Float64),
            ("\"x\"", DataType::Utf8),
        ] {
            shape.widen(shape_of_json(raw));
            assert_eq!(shape.data_type(), expected, "after {raw}");
        }
    }

    #[test]
    fn nested_values_become_structs_and_lists() {
        let mut shape = shape_of_json(r#"{"a":1,"b":[{"c":true}]}"#);
        shape.widen(shape_of_json(r#"{"a":1.5,"b":[],"d":"2024-01-01T00:00:00Z"}"#));
        let DataType::Struct(fields) = shape.data_type() else { panic!("{shape:?}") };
        assert_eq!(fields.len(), 3);
        assert_eq!(fields[0].data_type(), &DataType::Float64);
        assert_eq!(fields[2].data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    }

    #[test]
    fn a_value_nested_deeper_than_the_limit_is_text() {
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(matches!(shape_of_json(&deep), Shape::List(_)));
    }

    #[test]
    fn numbers_that_no_64_bits_hold_are_floats_or_text() {
        assert_eq!(shape_of_json("92233720368547758080"), Shape::Float);
        assert_eq!(shape_of_json("1e999"), Shape::Text);
        assert_eq!(shape_of_text("-inf"), Shape::Text);
        assert_eq!(shape_of_text("2024-01-01"), Shape::Text);
    }
}
