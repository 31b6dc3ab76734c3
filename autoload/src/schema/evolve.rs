//! How a schema begins and grows. Pure: fields and observations in, fields out.
//!
//! A column, once there, keeps its name and type for ever. A column can gain struct fields.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};

use super::partition::is_partition;
use super::shape::{Shape, Shapes};
use crate::evidence::ColumnEvidence;
use crate::settings::Settings;

/// What inspection found in files.
#[derive(Debug, Clone)]
pub(crate) enum Observed {
    /// Looks of text values.
    Text(Shapes),
    /// Typed columns, normalised.
    Typed(Fields),
}

impl Observed {
    /// What both found, widened.
    pub(crate) fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => {
                a.merge(b);
            }
            (Self::Typed(a), Self::Typed(b)) => *a = merge_fields(a, &b, widen),
            // One source has one format: the arms above are all there are.
            (_, _) => {}
        }
    }

    /// What the columns were inferred from. Typed files bring their types, and need none.
    pub(crate) fn evidence(&self, chosen: &Fields, settings: &Settings) -> Vec<ColumnEvidence> {
        let Self::Text(shapes) = self else { return Vec::new() };
        let evidence = |field: &FieldRef| {
            let seen = shapes.seen(field.name())?;
            Some(ColumnEvidence {
                column: field.name().clone(),
                data_type: field.data_type().to_string(),
                hinted: settings.schema_hints.contains_key(field.name()),
                ..seen.clone()
            })
        };
        chosen.iter().filter_map(evidence).collect()
    }

    /// Columns with their types; `None` as type: only nulls were seen.
    fn columns(&self) -> Vec<(String, Option<DataType>)> {
        match self {
            Self::Text(shapes) => {
                shapes.fields.iter().map(|(name, shape)| (name.clone(), known(shape).map(|shape| shape.data_type()))).collect()
            }
            Self::Typed(fields) => fields.iter().map(|field| (field.name().clone(), Some(field.data_type().clone()))).collect(),
        }
    }
}

/// The part of a look that is certain: without fields and lists that held nothing but nulls.
fn known(shape: &Shape) -> Option<Shape> {
    match shape {
        Shape::Null => None,
        Shape::List(item) => Some(Shape::List(Box::new(known(item)?))),
        Shape::Struct(shapes) => {
            let mut kept = Shapes::default();
            for (name, shape) in &shapes.fields {
                if let Some(shape) = known(shape) {
                    kept.add(name, shape);
                }
            }
            (!kept.fields.is_empty()).then_some(Shape::Struct(kept))
        }
        other => Some(other.clone()),
    }
}

/// A schema that grew.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Evolved {
    pub(crate) fields: Fields,
    /// The columns that are new or gained fields.
    pub(crate) columns: Vec<String>,
}

/// The first schema: what was observed, corrected by hints. Columns of nulls only are text.
pub(crate) fn first(observed: &Observed, settings: &Settings) -> Fields {
    let mut fields: Vec<FieldRef> = Vec::new();
    for (name, data_type) in observed.columns() {
        if settings.is_reserved(&name) || position(&fields, &name).is_some() {
            continue;
        }
        let data_type = settings.schema_hints.get(&name).map(normalize).or(data_type).unwrap_or(DataType::Utf8);
        fields.push(Arc::new(Field::new(name, data_type, true)));
    }
    fields.into()
}

/// The schema with what is new in a file; `None` when nothing is.
///
/// With `widening`, a known column also takes a wider type when the values need one and nothing is lost by it.
pub(crate) fn evolve(existing: &Fields, observed: &Observed, settings: &Settings, widening: bool) -> Option<Evolved> {
    let mut fields: Vec<FieldRef> = existing.iter().map(Arc::clone).collect();
    let mut columns = Vec::new();
    for (name, data_type) in observed.columns() {
        let Some(data_type) = data_type else { continue };
        if settings.is_reserved(&name) {
            continue;
        }
        match position(&fields, &name) {
            Some(at) if is_partition(&fields[at]) => {}
            Some(at) if fields[at].name() == &name => {
                let grow = if widening { grow_and_widen } else { grow };
                let grown = grow(fields[at].data_type(), &data_type);
                if &grown != fields[at].data_type() && !settings.schema_hints.contains_key(&name) {
                    fields[at] = Arc::new(Field::new(&name, grown, true));
                    columns.push(name);
                }
            }
            // Another spelling of a known column: tables compare names without case, so it is rescued.
            Some(_) => {}
            None => {
                let data_type = settings.schema_hints.get(&name).map(normalize).unwrap_or(data_type);
                fields.push(Arc::new(Field::new(&name, data_type, true)));
                columns.push(name);
            }
        }
    }
    (!columns.is_empty()).then(|| Evolved { fields: fields.into(), columns })
}

/// Where a name stands, compared without case.
pub(crate) fn position(fields: &[FieldRef], name: &str) -> Option<usize> {
    fields
        .iter()
        .position(|field| field.name() == name)
        .or_else(|| fields.iter().position(|field| field.name().to_lowercase() == name.to_lowercase()))
}

/// The existing type with the struct fields that only `found` has.
fn grow(existing: &DataType, found: &DataType) -> DataType {
    match (existing, found) {
        (DataType::Struct(a), DataType::Struct(b)) => DataType::Struct(merge_fields(a, b, grow)),
        (DataType::List(a), DataType::List(b)) => {
            DataType::List(Arc::new(Field::new(a.name(), grow(a.data_type(), b.data_type()), true)))
        }
        (a, _) => a.clone(),
    }
}

/// Like [`grow`], and leaves become as wide as both need: a whole number that meets a float becomes a float, and so on.
/// Where no number holds both, the type stays, and what does not fit is rescued.
fn grow_and_widen(existing: &DataType, found: &DataType) -> DataType {
    match (existing, found) {
        (DataType::Struct(a), DataType::Struct(b)) => DataType::Struct(merge_fields(a, b, grow_and_widen)),
        (DataType::List(a), DataType::List(b)) => {
            DataType::List(Arc::new(Field::new(a.name(), grow_and_widen(a.data_type(), b.data_type()), true)))
        }
        // Text values tell 64 bits only; what is beyond 53 of them is rescued, value by value.
        (DataType::Int64, DataType::Float64) => DataType::Float64,
        (DataType::Float64, DataType::Int64) => DataType::Float64,
        (DataType::Date32, DataType::Timestamp(_, None)) => found.clone(),
        (DataType::Utf8, _) | (_, DataType::Utf8) => existing.clone(),
        (a, b) => widen(a, b),
    }
}

fn merge_fields(a: &Fields, b: &Fields, join: fn(&DataType, &DataType) -> DataType) -> Fields {
    let mut fields: Vec<FieldRef> = a.iter().map(Arc::clone).collect();
    for field in b {
        match position(&fields, field.name()) {
            Some(at) if fields[at].name() == field.name() => {
                let joined = join(fields[at].data_type(), field.data_type());
                fields[at] = Arc::new(Field::new(field.name(), joined, true));
            }
            Some(_) => {}
            None => fields.push(Arc::clone(field)),
        }
    }
    fields.into()
}

/// A type that holds every value of both without loss, or the first when there is none.
fn widen(a: &DataType, b: &DataType) -> DataType {
    use DataType::{Decimal128, Float32, Float64, List, Struct, Utf8};
    if a == b {
        return a.clone();
    }
    match (a, b) {
        (Struct(x), Struct(y)) => Struct(merge_fields(x, y, widen)),
        (List(x), List(y)) => List(Arc::new(Field::new(x.name(), widen(x.data_type(), y.data_type()), true))),
        // A column of an all-null file has been read as text.
        (Utf8, other) | (other, Utf8) if other.is_null() => Utf8,
        (Float32, Float64) | (Float64, Float32) => Float64,
        (x, Float64) | (Float64, x) if integer_bits(x).is_some_and(|bits| bits <= 53) => Float64,
        (x, Float32) | (Float32, x) if integer_bits(x).is_some_and(|bits| bits <= 53) => Float64,
        (Decimal128(p, s), Decimal128(q, t)) => {
            let scale = *s.max(t);
            let whole = (i16::from(*p) - i16::from(*s)).max(i16::from(*q) - i16::from(*t));
            match u8::try_from(whole + i16::from(scale)) {
                Ok(precision) if precision <= 38 => Decimal128(precision, scale),
                _ => a.clone(),
            }
        }
        (x, y) => match (integer_bits(x), integer_bits(y)) {
            (Some(m), Some(n)) => match m.max(n) {
                0..=8 => DataType::Int8,
                9..=16 => DataType::Int16,
                17..=32 => DataType::Int32,
                33..=64 if m.max(n) < 65 => DataType::Int64,
                _ => a.clone(),
            },
            _ => a.clone(),
        },
    }
}

/// Bits of the signed integer that holds the type.
fn integer_bits(data_type: &DataType) -> Option<u8> {
    Some(match data_type {
        DataType::Int8 => 8,
        DataType::UInt8 => 9,
        DataType::Int16 => 16,
        DataType::UInt16 => 17,
        DataType::Int32 => 32,
        DataType::UInt32 => 33,
        DataType::Int64 => 64,
        DataType::UInt64 => 65,
        _ => return None,
    })
}

/// The type in which a column is delivered: no dictionaries, no views, instants in microseconds UTC,
/// everything nullable, no field metadata.
pub(crate) fn normalize(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Null | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => normalize(values),
        DataType::RunEndEncoded(_, values) => normalize(values.data_type()),
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| Field::new(field.name(), normalize(field.data_type()), true)).collect())
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(Arc::new(Field::new("item", normalize(item.data_type()), true)))
        }
        DataType::Map(entries, sorted) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                let key = Field::new("key", normalize(pair[0].data_type()), false);
                let value = Field::new("value", normalize(pair[1].data_type()), true);
                let pair = DataType::Struct(vec![key, value].into());
                DataType::Map(Arc::new(Field::new("entries", pair, false)), *sorted)
            }
            _ => data_type.clone(),
        },
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::shape_of_json;

    fn observed(fields: &[(&str, &str)]) -> Observed {
        let mut shapes = Shapes::default();
        for (name, raw) in fields {
            shapes.add(name, shape_of_json(raw));
        }
        Observed::Text(shapes)
    }

    fn names(fields: &Fields) -> Vec<&str> {
        fields.iter().map(|field| field.name().as_str()).collect()
    }

    #[test]
    fn a_new_column_is_added_last_and_known_types_stay() {
        let settings = Settings::default();
        let before = first(&observed(&[("b", "1"), ("a", "null")]), &settings);
        assert_eq!(names(&before), ["b", "a"]);
        let after = evolve(&before, &observed(&[("a", "1.5"), ("c", "true"), ("b", "\"x\"")]), &settings, false).unwrap();
        assert_eq!(names(&after.fields), ["b", "a", "c"]);
        assert_eq!(after.columns, ["c"]);
        assert_eq!(after.fields[0].data_type(), &DataType::Int64);
        assert_eq!(after.fields[1].data_type(), &DataType::Utf8);
    }

    #[test]
    fn nulls_alone_other_spellings_and_reserved_names_add_nothing() {
        let settings = Settings::default();
        let before = first(&observed(&[("a", "1")]), &settings);
        let found = observed(&[("x", "null"), ("y", "[]"), ("z", "{\"q\":null}"), ("A", "1"), ("_rescued_data", "1")]);
        assert_eq!(evolve(&before, &found, &settings, false), None);
    }

    #[test]
    fn a_struct_gains_fields() {
        let settings = Settings::default();
        let before = first(&observed(&[("s", "{\"a\":1}")]), &settings);
        let after = evolve(&before, &observed(&[("s", "{\"a\":\"x\",\"b\":2}")]), &settings, false).unwrap();
        let DataType::Struct(inner) = after.fields[0].data_type() else { panic!("{after:?}") };
        assert_eq!(names(inner), ["a", "b"]);
        assert_eq!(inner[0].data_type(), &DataType::Int64);
    }

    #[test]
    fn a_hint_wins_over_what_was_observed() {
        let mut settings = Settings::default();
        settings.schema_hints.insert("a".to_owned(), DataType::Float64);
        let fields = first(&observed(&[("a", "1")]), &settings);
        assert_eq!(fields[0].data_type(), &DataType::Float64);
    }

    #[test]
    fn typed_columns_widen_without_loss_or_keep_the_first_type() {
        assert_eq!(widen(&DataType::Int32, &DataType::UInt32), DataType::Int64);
        assert_eq!(widen(&DataType::Int64, &DataType::UInt64), DataType::Int64);
        assert_eq!(widen(&DataType::Int32, &DataType::Float32), DataType::Float64);
        assert_eq!(widen(&DataType::Int64, &DataType::Float64), DataType::Int64);
        assert_eq!(widen(&DataType::Decimal128(10, 2), &DataType::Decimal128(10, 4)), DataType::Decimal128(12, 4));
    }
}
