//! Columns under construction: text values in, Arrow arrays out, what does not fit comes back.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, ListArray, StructArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_cast::parse::{Parser, parse_decimal, string_to_datetime};
use arrow_schema::{ArrowError, DataType, FieldRef, Fields, TimeUnit};
use chrono::{Timelike, Utc};

use super::json::{JsonObject, quote_into, unescape};

/// A column of a batch that is being built.
pub(crate) enum Column {
    Text(StringBuilder),
    Bool(BooleanBuilder),
    Leaf(Box<dyn Leaf>),
    Struct(StructColumn),
    List(ListColumn),
}

/// Objects: a child column for each field.
pub(crate) struct StructColumn {
    fields: Fields,
    index: HashMap<String, usize>,
    children: Vec<Column>,
    nulls: NullBufferBuilder,
}

/// Arrays: one child column for all items.
pub(crate) struct ListColumn {
    field: FieldRef,
    items: Box<Column>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Column {
    /// A column of this type; `None` for types that text cannot be read into.
    pub(crate) fn new(data_type: &DataType) -> Option<Self> {
        let leaf = |leaf: Box<dyn Leaf>| Some(Self::Leaf(leaf));
        match data_type {
            DataType::Utf8 => Some(Self::Text(StringBuilder::new())),
            DataType::Boolean => Some(Self::Bool(BooleanBuilder::new())),
            DataType::Int8 => leaf(number::<Int8Type>(|text| text.parse().ok())),
            DataType::Int16 => leaf(number::<Int16Type>(|text| text.parse().ok())),
            DataType::Int32 => leaf(number::<Int32Type>(|text| text.parse().ok())),
            DataType::Int64 => leaf(number::<Int64Type>(|text| text.parse().ok())),
            DataType::UInt8 => leaf(number::<UInt8Type>(|text| text.parse().ok())),
            DataType::UInt16 => leaf(number::<UInt16Type>(|text| text.parse().ok())),
            DataType::UInt32 => leaf(number::<UInt32Type>(|text| text.parse().ok())),
            DataType::UInt64 => leaf(number::<UInt64Type>(|text| text.parse().ok())),
            DataType::Float32 => leaf(number::<Float32Type>(|text| text.parse().ok().filter(|f: &f32| f.is_finite()))),
            DataType::Float64 => leaf(number::<Float64Type>(|text| text.parse().ok().filter(|f: &f64| f.is_finite()))),
            DataType::Decimal128(precision, scale) => leaf(Box::new(DecimalLeaf {
                builder: PrimitiveBuilder::new().with_data_type(data_type.clone()),
                precision: *precision,
                scale: *scale,
            })),
            DataType::Date32 => leaf(Box::new(Parsed::<Date32Type> {
                builder: PrimitiveBuilder::new(),
                token: Token::String,
                parse: Date32Type::parse,
            })),
            DataType::Timestamp(TimeUnit::Microsecond, zone) if zone.as_deref().is_none_or(|zone| zone == "UTC") => {
                leaf(Box::new(Parsed::<TimestampMicrosecondType> {
                    builder: PrimitiveBuilder::new().with_data_type(data_type.clone()),
                    token: Token::String,
                    parse: timestamp,
                }))
            }
            DataType::Struct(fields) => Some(Self::Struct(StructColumn {
                fields: fields.clone(),
                index: fields.iter().enumerate().map(|(at, field)| (field.name().clone(), at)).collect(),
                children: fields.iter().map(|field| Self::new(field.data_type())).collect::<Option<_>>()?,
                nulls: NullBufferBuilder::new(0),
            })),
            DataType::List(field) => Some(Self::List(ListColumn {
                field: Arc::clone(field),
                items: Box::new(Self::new(field.data_type())?),
                offsets: vec![0],
                nulls: NullBufferBuilder::new(0),
            })),
            _ => None,
        }
    }

    /// Appends a JSON value in its text form. What does not fit comes back as JSON text; the fitting
    /// parts of a struct stay, and everything else that does not fit becomes null.
    pub(crate) fn push_json(&mut self, raw: &str) -> Option<String> {
        if raw == "null" {
            self.push_null();
            return None;
        }
        match self {
            Self::Text(builder) => {
                match unescape(raw) {
                    Some(text) => builder.append_value(text),
                    None => builder.append_value(raw),
                }
                None
            }
            Self::Bool(builder) => match raw {
                "true" | "false" => {
                    builder.append_value(raw == "true");
                    None
                }
                _ => {
                    builder.append_null();
                    Some(raw.to_owned())
                }
            },
            Self::Leaf(leaf) => {
                let fits = match leaf.token() {
                    Token::Number => !raw.starts_with('"') && leaf.push(raw),
                    Token::String => unescape(raw).is_some_and(|text| leaf.push(&text)),
                };
                if fits {
                    return None;
                }
                leaf.push_null();
                Some(raw.to_owned())
            }
            Self::Struct(column) => column.push_json(raw),
            Self::List(column) => column.push_json(raw),
        }
    }

    /// Appends the text of a delimited file. `false`: it does not fit, and null was appended.
    pub(crate) fn push_text(&mut self, text: &str) -> bool {
        match self {
            Self::Text(builder) => {
                builder.append_value(text);
                true
            }
            Self::Bool(builder) => {
                let value = if text.eq_ignore_ascii_case("true") {
                    Some(true)
                } else if text.eq_ignore_ascii_case("false") {
                    Some(false)
                } else {
                    None
                };
                builder.append_option(value);
                value.is_some()
            }
            Self::Leaf(leaf) => {
                let fits = leaf.push(text);
                if !fits {
                    leaf.push_null();
                }
                fits
            }
            // A nested column can be hinted for a delimited file; its values are JSON then.
            Self::Struct(_) | Self::List(_) => {
                if serde_json::from_str::<&serde_json::value::RawValue>(text).is_err() {
                    self.push_null();
                    return false;
                }
                self.push_json(text.trim()).is_none()
            }
        }
    }

    /// Appends null.
    pub(crate) fn push_null(&mut self) {
        match self {
            Self::Text(builder) => builder.append_null(),
            Self::Bool(builder) => builder.append_null(),
            Self::Leaf(leaf) => leaf.push_null(),
            Self::Struct(column) => {
                column.children.iter_mut().for_each(Self::push_null);
                column.nulls.append_null();
            }
            Self::List(column) => {
                column.offsets.extend(column.offsets.last().copied());
                column.nulls.append_null();
            }
        }
    }

    /// The values so far; the column is empty again.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Leaf(leaf) => leaf.finish(),
            Self::Struct(column) => {
                let children = column.children.iter_mut().map(Self::finish).collect::<Result<Vec<_>, _>>()?;
                let rows = column.nulls.len();
                let nulls = column.nulls.finish();
                Arc::new(StructArray::try_new_with_length(column.fields.clone(), children, nulls, rows)?)
            }
            Self::List(column) => {
                let items = column.items.finish()?;
                let offsets = OffsetBuffer::new(std::mem::replace(&mut column.offsets, vec![0]).into());
                Arc::new(ListArray::try_new(Arc::clone(&column.field), offsets, items, column.nulls.finish())?)
            }
        })
    }
}

impl StructColumn {
    fn push_json(&mut self, raw: &str) -> Option<String> {
        let object = raw.starts_with('{').then(|| JsonObject::parse(raw).ok()).flatten();
        let Some(object) = object else {
            self.children.iter_mut().for_each(Column::push_null);
            self.nulls.append_null();
            return Some(raw.to_owned());
        };
        let mut slots: Vec<Option<&str>> = vec![None; self.children.len()];
        let mut rest = String::new();
        for (name, value) in &object.fields {
            match self.index.get(name.as_ref()) {
                Some(&at) => slots[at] = Some(value),
                None if *value == "null" => {}
                None => add_member(&mut rest, name, value),
            }
        }
        for ((child, slot), field) in self.children.iter_mut().zip(slots).zip(&self.fields) {
            match slot {
                None => child.push_null(),
                Some(value) => {
                    if let Some(left) = child.push_json(value) {
                        add_member(&mut rest, field.name(), &left);
                    }
                }
            }
        }
        self.nulls.append_non_null();
        close_object(rest)
    }
}

impl ListColumn {
    fn push_json(&mut self, raw: &str) -> Option<String> {
        let items = raw.starts_with('[').then(|| serde_json::from_str::<Vec<&serde_json::value::RawValue>>(raw).ok()).flatten();
        let last = self.offsets.last().copied().unwrap_or(0);
        let end = items.as_ref().and_then(|items| i32::try_from(items.len()).ok()).and_then(|n| last.checked_add(n));
        let (Some(items), Some(end)) = (items, end) else {
            self.offsets.push(last);
            self.nulls.append_null();
            return Some(raw.to_owned());
        };
        let mut misfit = false;
        for item in items {
            misfit |= self.items.push_json(item.get()).is_some();
        }
        self.offsets.push(end);
        self.nulls.append_non_null();
        misfit.then(|| raw.to_owned())
    }
}

/// Adds `"name":value` to the inside of an object.
pub(crate) fn add_member(inside: &mut String, name: &str, value: &str) {
    if !inside.is_empty() {
        inside.push(',');
    }
    quote_into(inside, name);
    inside.push(':');
    inside.push_str(value);
}

fn close_object(inside: String) -> Option<String> {
    (!inside.is_empty()).then(|| format!("{{{inside}}}"))
}

/// Which JSON token carries a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Token {
    Number,
    String,
}

/// A column of numbers, dates or instants.
pub(crate) trait Leaf: Send {
    fn token(&self) -> Token;
    /// `false`: the text is no value, and nothing was appended.
    fn push(&mut self, text: &str) -> bool;
    fn push_null(&mut self);
    fn finish(&mut self) -> ArrayRef;
}

struct Parsed<T: ArrowPrimitiveType> {
    builder: PrimitiveBuilder<T>,
    token: Token,
    parse: fn(&str) -> Option<T::Native>,
}

fn number<T: ArrowPrimitiveType>(parse: fn(&str) -> Option<T::Native>) -> Box<dyn Leaf> {
    Box::new(Parsed::<T> { builder: PrimitiveBuilder::new(), token: Token::Number, parse })
}

impl<T: ArrowPrimitiveType> Leaf for Parsed<T> {
    fn token(&self) -> Token {
        self.token
    }

    fn push(&mut self, text: &str) -> bool {
        match (self.parse)(text) {
            Some(value) => {
                self.builder.append_value(value);
                true
            }
            None => false,
        }
    }

    fn push_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

struct DecimalLeaf {
    builder: PrimitiveBuilder<Decimal128Type>,
    precision: u8,
    scale: i8,
}

impl Leaf for DecimalLeaf {
    fn token(&self) -> Token {
        Token::Number
    }

    fn push(&mut self, text: &str) -> bool {
        // The parser rounds surplus digits away; such a value does not fit.
        let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
        let digits = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len());
        if mantissa.len() != text.len() || digits > usize::try_from(self.scale).unwrap_or(0) {
            return false;
        }
        match parse_decimal::<Decimal128Type>(text, self.precision, self.scale) {
            Ok(value) => {
                self.builder.append_value(value);
                true
            }
            Err(_) => false,
        }
    }

    fn push_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

/// Microseconds since the epoch. Finer digits would be lost: such a value does not fit.
fn timestamp(text: &str) -> Option<i64> {
    let time = string_to_datetime(&Utc, text).ok()?;
    (time.nanosecond() % 1000 == 0).then(|| time.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_schema::Field;

    use super::*;

    #[test]
    fn what_does_not_fit_comes_back_and_null_stands_for_it() {
        for (data_type, good, bad) in [
            (DataType::Int64, "12", vec!["1.5", "12.0", "\"12\"", "true", "9223372036854775808", "{}", "[]"]),
            (DataType::Int8, "127", vec!["128"]),
            (DataType::Float64, "1e3", vec!["\"NaN\"", "1e999", "false"]),
            (DataType::Boolean, "true", vec!["1", "\"true\""]),
            (DataType::Date32, "\"2024-02-29\"", vec!["\"2024-02-30\"", "20240229"]),
            (DataType::Decimal128(5, 2), "123.45", vec!["123.456", "1234.5", "1e1", "\"1\""]),
            (
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                "\"2024-01-01T00:00:00.000001Z\"",
                vec!["\"2024-01-01T00:00:00.0000001Z\"", "\"noon\"", "5"],
            ),
        ] {
            let mut column = Column::new(&data_type).unwrap();
            assert_eq!(column.push_json(good), None, "{data_type}");
            for bad in &bad {
                assert_eq!(column.push_json(bad).as_deref(), Some(*bad), "{data_type}");
            }
            let array = column.finish().unwrap();
            assert_eq!(array.data_type(), &data_type);
            assert_eq!((array.len(), array.null_count()), (bad.len() + 1, bad.len()), "{data_type}");
        }
    }

    #[test]
    fn text_takes_everything_and_keeps_the_digits() {
        let mut column = Column::new(&DataType::Utf8).unwrap();
        for raw in ["\"a\\nb\"", "1.50", "{\"a\": 1}", "true"] {
            assert_eq!(column.push_json(raw), None);
        }
        let array = column.finish().unwrap();
        let texts: Vec<_> = array.as_string::<i32>().iter().flatten().collect();
        assert_eq!(texts, ["a\nb", "1.50", "{\"a\": 1}", "true"]);
    }

    #[test]
    fn a_struct_keeps_its_fitting_fields_and_gives_back_the_others() {
        let fields = Fields::from(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)]);
        let list = DataType::List(Arc::new(Field::new("item", DataType::Struct(fields.clone()), true)));
        let mut column = Column::new(&DataType::Struct(fields)).unwrap();
        assert_eq!(column.push_json(r#"{"a":"x","b":"y","c":[1]}"#).as_deref(), Some(r#"{"c":[1],"a":"x"}"#));
        assert_eq!(column.push_json("7").as_deref(), Some("7"));
        let array = column.finish().unwrap();
        assert_eq!(array.null_count(), 1);
        assert_eq!(array.as_struct().column(1).as_string::<i32>().value(0), "y");

        let mut column = Column::new(&list).unwrap();
        assert_eq!(column.push_json(r#"[{"a":1},null]"#), None);
        let raw = r#"[{"a":1},5]"#;
        assert_eq!(column.push_json(raw).as_deref(), Some(raw));
        assert_eq!(column.push_json("5").as_deref(), Some("5"));
        let array = column.finish().unwrap();
        assert_eq!((array.len(), array.null_count()), (3, 1));
    }
}
