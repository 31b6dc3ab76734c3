//! Statistics from the JSON text of the log.

use std::collections::HashMap;

use boathouse_base::Value;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::columns::ColumnPath;
use super::file_stats::{ColumnStats, FileStats};
use crate::error::{ProtocolError, Result};
use crate::literal::{parse_date, parse_decimal, parse_timestamp};
use crate::partition::decimal;
use crate::schema::{ColumnMappingMode, DataType, PrimitiveType, StructField, StructType};

/// The statistics, with the values of columns still as text.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawStats<'a> {
    #[serde(borrow, default)]
    num_records: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tight_bounds: Option<&'a RawValue>,
    #[serde(borrow, default)]
    min_values: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_values: Option<&'a RawValue>,
    #[serde(borrow, default)]
    null_count: Option<&'a RawValue>,
}

/// One of the three trees, a level of it at a time.
pub(super) type Level<'a> = HashMap<String, &'a RawValue>;

/// The three trees of one level.
#[derive(Default)]
pub(super) struct Levels<'a> {
    pub(super) min: Level<'a>,
    pub(super) max: Level<'a>,
    pub(super) nulls: Level<'a>,
}

impl<'a> RawStats<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    pub(super) fn num_records(&self) -> Option<u64> {
        self.num_records?.get().parse().ok()
    }

    /// True unless it is said otherwise.
    pub(super) fn tight_bounds(&self) -> bool {
        self.tight_bounds.is_none_or(|raw| matches!(raw.get(), "true" | "null"))
    }

    pub(super) fn levels(&self) -> Levels<'a> {
        Levels { min: level(self.min_values), max: level(self.max_values), nulls: level(self.null_count) }
    }
}

impl<'a> Levels<'a> {
    /// The trees below a struct.
    pub(super) fn below(&self, name: &str) -> Levels<'a> {
        let below = |tree: &Level<'a>| level(tree.get(name).copied());
        Levels { min: below(&self.min), max: below(&self.max), nulls: below(&self.nulls) }
    }

    /// What is known of a leaf.
    pub(super) fn leaf(&self, field: &StructField, name: &str) -> ColumnStats {
        let raw = |tree: &Level<'a>| tree.get(name).map(|raw| raw.get());
        leaf(field, raw(&self.min), raw(&self.max), raw(&self.nulls))
    }
}

/// What is known of a column, from the JSON of its minimum, its maximum and its null count.
pub(super) fn leaf(field: &StructField, min: Option<&str>, max: Option<&str>, nulls: Option<&str>) -> ColumnStats {
    let null_count = nulls.and_then(|raw| raw.parse().ok());
    // Files from before a type was widened have bounds in the old type, which rounds differently.
    let widened = field.data_type == PrimitiveType::Double.into() && field.metadata.contains_key("delta.typeChanges");
    let Some(data_type) = field.data_type.as_primitive().filter(|_| !widened) else {
        return ColumnStats { null_count, ..ColumnStats::default() };
    };
    let bound = |raw: Option<&str>, side| raw.and_then(|raw| parse_bound(data_type, raw, side));
    ColumnStats { min: bound(min, Side::Min), max: bound(max, Side::Max), null_count }
}

/// An object's entries; nothing when it is no object.
fn level(raw: Option<&RawValue>) -> Level<'_> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Min,
    Max,
}

/// A bound that is certain to be one, or nothing.
pub(super) fn parse_bound(data_type: PrimitiveType, json: &str, side: Side) -> Option<Value> {
    let text = || serde_json::from_str::<String>(json).ok();
    match data_type {
        PrimitiveType::String => text().map(Value::String),
        PrimitiveType::Long | PrimitiveType::Integer | PrimitiveType::Short | PrimitiveType::Byte => {
            json.parse().ok().map(Value::Int)
        }
        PrimitiveType::Float => json.parse::<f32>().ok().filter(|v| v.is_finite()).map(|v| Value::Float(v.into())),
        PrimitiveType::Double => json.parse::<f64>().ok().filter(|v| v.is_finite()).map(Value::Float),
        PrimitiveType::Decimal { precision, scale } => decimal_bound(json, precision, scale, side),
        PrimitiveType::Boolean => json.parse().ok().map(Value::Boolean),
        PrimitiveType::Date => parse_date(&text()?).map(Value::Date),
        PrimitiveType::Timestamp => {
            // Without a zone it may be hours off.
            let parsed = parse_timestamp(&text()?).filter(|t| t.zoned)?;
            timestamp_bound(parsed.us, parsed.digits, side).map(Value::Timestamp)
        }
        PrimitiveType::TimestampNtz => {
            let parsed = parse_timestamp(&text()?).filter(|t| !t.zoned)?;
            timestamp_bound(parsed.us, parsed.digits, side).map(Value::TimestampNtz)
        }
        PrimitiveType::Binary | PrimitiveType::Void => None,
    }
}

/// A maximum was cut down to the digits that stand there.
fn timestamp_bound(us: i64, digits: usize, side: Side) -> Option<i64> {
    match (side, digits) {
        (Side::Min, _) | (Side::Max, 6) => Some(us),
        (Side::Max, 0..=3) => us.checked_add(999),
        (Side::Max, _) => us.checked_add(1),
    }
}

/// Digits that survive a 64-bit float.
const FLOAT_DIGITS: usize = 15;

fn decimal_bound(json: &str, precision: u8, scale: u8, side: Side) -> Option<Value> {
    // Some writers put text there.
    let text = if json.starts_with('"') { serde_json::from_str::<String>(json).ok()? } else { json.to_owned() };
    let unscaled = parse_decimal(&text, precision, scale)?;
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    if mantissa.bytes().filter(u8::is_ascii_digit).count() <= FLOAT_DIGITS && !text.contains(['e', 'E']) {
        return Some(decimal(unscaled, scale));
    }
    let error = i128::try_from(unscaled.unsigned_abs() >> 51).ok()?.checked_add(1)?;
    let widened = match side {
        Side::Min => unscaled.checked_sub(error),
        Side::Max => unscaled.checked_add(error),
    };
    Some(decimal(widened?, scale))
}

impl FileStats {
    /// Reads `add.stats`. What the schema does not have, or what is not certain, is not there afterwards.
    ///
    /// Bounds are [safe](super): they may be wider than what stands in the text.
    ///
    /// **Errors**: `Corrupt` when the text is no JSON object.
    pub fn from_json(text: &str, schema: &StructType, mode: ColumnMappingMode) -> Result<Self> {
        let raw = RawStats::parse(text).map_err(|source| ProtocolError::CorruptStats { source })?;
        let mut stats = Self { num_records: raw.num_records(), tight_bounds: raw.tight_bounds(), ..Self::default() };
        collect(&mut stats, None, schema, &raw.levels(), mode);
        Ok(stats)
    }
}

fn collect(stats: &mut FileStats, parent: Option<&ColumnPath>, inner: &StructType, levels: &Levels<'_>, mode: ColumnMappingMode) {
    for field in &inner.fields {
        let path = parent.map_or_else(|| ColumnPath::from(field.name.as_str()), |p| p.child(&field.name));
        let name = field.physical_name(mode);
        match &field.data_type {
            DataType::Struct(inner) => collect(stats, Some(&path), inner, &levels.below(name), mode),
            _ => {
                let leaf = levels.leaf(field, name);
                if leaf != ColumnStats::default() {
                    stats.columns.insert(path, leaf);
                }
            }
        }
    }
}
