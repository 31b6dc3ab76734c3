//! Statistics to the JSON text of the log.

use boathouse_base::Value;
use serde_json::{Number, Value as Json};

use super::columns::ColumnPath;
use super::file_stats::FileStats;
use super::text::{truncate_max, truncate_min};
use crate::literal::{format_date, format_decimal, format_timestamp_ms, format_timestamp_us};
use crate::schema::{ColumnMappingMode, DataType, PrimitiveType, StructType};

/// A tree of statistics, in the order of the schema.
#[derive(Default)]
struct Tree(Vec<(String, Node)>);

#[derive(Default)]
struct Trees {
    minima: Tree,
    maxima: Tree,
    nulls: Tree,
}

enum Node {
    Leaf(String),
    Inner(Tree),
}

impl FileStats {
    /// Writes `add.stats`, with the names that files have.
    ///
    /// Bounds that the log cannot hold are left out: booleans, bytes, floats that are not finite, years outside
    /// 0 to 9999. Columns that the schema does not have, or has with another type, are left out too.
    pub fn to_json(&self, schema: &StructType, mode: ColumnMappingMode) -> String {
        let mut trees = Trees::default();
        self.collect(&mut trees, None, &mut Vec::new(), schema, mode);
        let Trees { minima, maxima, nulls } = trees;
        let mut json = String::from("{");
        if let Some(rows) = self.num_records {
            json.push_str(&format!("\"numRecords\":{rows},"));
        }
        for (name, tree) in [("minValues", minima), ("maxValues", maxima), ("nullCount", nulls)] {
            json.push_str(&format!("\"{name}\":"));
            tree.write(&mut json);
            json.push(',');
        }
        json.push_str(&format!("\"tightBounds\":{}}}", self.tight_bounds));
        json
    }

    fn collect<'a>(
        &self,
        trees: &mut Trees,
        parent: Option<&ColumnPath>,
        names: &mut Vec<&'a str>,
        inner: &'a StructType,
        mode: ColumnMappingMode,
    ) {
        for field in &inner.fields {
            let path = parent.map_or_else(|| ColumnPath::from(field.name.as_str()), |p| p.child(&field.name));
            names.push(field.physical_name(mode));
            if let DataType::Struct(inner) = &field.data_type {
                self.collect(trees, Some(&path), names, inner, mode);
            } else if let Some(stats) = self.columns.get(&path) {
                if let Some(data_type) = field.data_type.as_primitive() {
                    trees.minima.insert(names, stats.min.as_ref().and_then(|v| lower(data_type, v)));
                    trees.maxima.insert(names, stats.max.as_ref().and_then(|v| upper(data_type, v)));
                }
                trees.nulls.insert(names, stats.null_count.map(|n| n.to_string()));
            }
            names.pop();
        }
    }
}

impl Tree {
    fn insert(&mut self, names: &[&str], leaf: Option<String>) {
        let (Some(leaf), Some((name, rest))) = (leaf, names.split_first()) else { return };
        if rest.is_empty() {
            self.0.push(((*name).to_owned(), Node::Leaf(leaf)));
            return;
        }
        // Leaves of one struct come one after the other.
        match self.0.last_mut() {
            Some((last, Node::Inner(inner))) if last == name => inner.insert(rest, Some(leaf)),
            _ => {
                let mut inner = Self::default();
                inner.insert(rest, Some(leaf));
                self.0.push(((*name).to_owned(), Node::Inner(inner)));
            }
        }
    }

    fn write(&self, json: &mut String) {
        json.push('{');
        for (i, (name, node)) in self.0.iter().enumerate() {
            if i > 0 {
                json.push(',');
            }
            json.push_str(&Json::from(name.as_str()).to_string());
            json.push(':');
            match node {
                Node::Leaf(leaf) => json.push_str(leaf),
                Node::Inner(inner) => inner.write(json),
            }
        }
        json.push('}');
    }
}

/// A bound that stands in a checkpoint as a value, as JSON; nothing when the log has no text for it.
///
/// A timestamp in whole milliseconds may have been cut down to them, and is written so that readers know.
pub fn bound_text(data_type: PrimitiveType, value: &Value) -> Option<String> {
    let timestamp = |us: i64| if us % 1000 == 0 { format_timestamp_ms(us) } else { format_timestamp_us(us) };
    match (data_type, value) {
        (PrimitiveType::Timestamp, Value::Timestamp(us)) => timestamp(*us).map(|t| format!("\"{t}Z\"")),
        (PrimitiveType::TimestampNtz, Value::TimestampNtz(us)) => timestamp(*us).map(|t| format!("\"{t}\"")),
        _ => exact(data_type, value),
    }
}

/// A bound below the value, as JSON.
fn lower(data_type: PrimitiveType, value: &Value) -> Option<String> {
    match (data_type, value) {
        (PrimitiveType::String, Value::String(text)) => Some(Json::from(truncate_min(text)).to_string()),
        (PrimitiveType::Timestamp, Value::Timestamp(us)) => format_timestamp_ms(*us).map(|t| format!("\"{t}Z\"")),
        (PrimitiveType::TimestampNtz, Value::TimestampNtz(us)) => format_timestamp_ms(*us).map(|t| format!("\"{t}\"")),
        _ => exact(data_type, value),
    }
}

/// A bound above the value, as JSON.
fn upper(data_type: PrimitiveType, value: &Value) -> Option<String> {
    // Up to the next millisecond.
    let up = |us: i64| us.checked_add(999).and_then(format_timestamp_ms);
    match (data_type, value) {
        (PrimitiveType::String, Value::String(text)) => truncate_max(text).map(|t| Json::from(t).to_string()),
        (PrimitiveType::Timestamp, Value::Timestamp(us)) => up(*us).map(|t| format!("\"{t}Z\"")),
        (PrimitiveType::TimestampNtz, Value::TimestampNtz(us)) => up(*us).map(|t| format!("\"{t}\"")),
        _ => exact(data_type, value),
    }
}

fn exact(data_type: PrimitiveType, value: &Value) -> Option<String> {
    match (data_type, value) {
        (PrimitiveType::Long | PrimitiveType::Integer | PrimitiveType::Short | PrimitiveType::Byte, Value::Int(v)) => {
            Some(v.to_string())
        }
        // The shortest text of 32 bits, not that of the 64-bit float that carries them.
        #[expect(clippy::cast_possible_truncation, reason = "the column holds 32 bits")]
        (PrimitiveType::Float, Value::Float(v)) if v.is_finite() && (*v as f32).is_finite() => Some(format!("{:?}", *v as f32)),
        (PrimitiveType::Double, Value::Float(v)) => Number::from_f64(*v).map(|n| n.to_string()),
        (PrimitiveType::Decimal { scale, .. }, Value::Decimal { unscaled, scale: found })
            if i16::from(*found) == i16::from(scale) =>
        {
            Some(format_decimal(*unscaled, scale))
        }
        (PrimitiveType::Date, Value::Date(v)) => format_date(*v).map(|d| format!("\"{d}\"")),
        _ => None,
    }
}
