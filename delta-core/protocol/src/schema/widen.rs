//! Changing the type of a column to a wider one, and remembering it.
//!
//! **Source**: Delta protocol, "Type Widening".

use serde_json::{Value, json};

use super::data_type::{DataType, PrimitiveType, StructField, StructType};
use super::keys::TYPE_CHANGES;

/// Which types may become wider when a schema takes up that of some data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Widening {
    /// None.
    #[default]
    Off,
    /// Those that stay of their kind: integers, floats, decimals.
    SameKind,
    /// As [`SameKind`](Self::SameKind), except for what Iceberg cannot follow: decimals keep their scale.
    Iceberg,
}

impl PrimitiveType {
    /// Whether the protocol lets a column of this type become one of the other.
    ///
    /// With `iceberg`, only what Iceberg V2 can follow as well.
    pub fn may_become(self, wide: Self, iceberg: bool) -> bool {
        use PrimitiveType::{Byte, Date, Decimal, Double, Float, Integer, Long, Short, TimestampNtz};
        match (self, wide) {
            (Byte, Short | Integer | Long) | (Short, Integer | Long) | (Integer, Long) | (Float, Double) => true,
            (Decimal { precision: p, scale: s }, Decimal { precision, scale }) => {
                (p, s) != (precision, scale)
                    && scale >= s
                    && precision >= p
                    && precision - p >= scale - s
                    && !(iceberg && s != scale)
            }
            _ if iceberg => false,
            (Byte | Short | Integer, Double) | (Date, TimestampNtz) => true,
            (Byte | Short | Integer, Decimal { precision, scale }) => precision >= 10 && precision - 10 >= scale,
            (Long, Decimal { precision, scale }) => precision >= 20 && precision - 20 >= scale,
            _ => false,
        }
    }
}

impl Widening {
    /// Whether a column of the table may become of the type that the data has.
    pub(super) fn allows(self, table: PrimitiveType, data: PrimitiveType) -> bool {
        use PrimitiveType::{Decimal, Double};
        let same_kind = match data {
            Decimal { .. } => matches!(table, Decimal { .. }),
            Double => table == PrimitiveType::Float,
            PrimitiveType::TimestampNtz => false,
            _ => true,
        };
        match self {
            Self::Off => false,
            Self::SameKind => same_kind && table.may_become(data, false),
            Self::Iceberg => same_kind && table.may_become(data, true),
        }
    }
}

/// A change of a type, as the column that holds it remembers it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TypeChange {
    /// The path from the column to what changed: empty for the column itself, `element`, `key`, `value`, dotted.
    pub(crate) path: String,
    pub(crate) from: PrimitiveType,
    pub(crate) to: PrimitiveType,
}

impl StructField {
    /// Remembers changes of types behind those that are there.
    pub(crate) fn remember_changes(&mut self, changes: Vec<TypeChange>) {
        if changes.is_empty() {
            return;
        }
        let mut known = match self.metadata.remove(TYPE_CHANGES) {
            Some(Value::Array(known)) => known,
            _ => Vec::new(),
        };
        known.extend(changes.into_iter().map(|change| {
            let (from, to) = (change.from.to_string(), change.to.to_string());
            if change.path.is_empty() {
                json!({"fromType": from, "toType": to})
            } else {
                json!({"fromType": from, "toType": to, "fieldPath": change.path})
            }
        }));
        self.metadata.insert(TYPE_CHANGES.to_owned(), Value::Array(known));
    }

    /// Gives a column of a primitive type a wider one, as the protocol allows it.
    ///
    /// Returns false, and changes nothing, when the protocol does not.
    pub fn widen(&mut self, to: PrimitiveType, iceberg: bool) -> bool {
        let Some(from) = self.data_type.as_primitive().filter(|from| from.may_become(to, iceberg)) else { return false };
        self.data_type = DataType::Primitive(to);
        self.remember_changes(vec![TypeChange { path: String::new(), from, to }]);
        true
    }
}

impl StructType {
    /// The first change of a type in the memory of the columns for which the test holds: the column, and the change
    /// in words.
    ///
    /// A change between types that are not known is none that could be tested:
    /// [`check_type_changes`](Self::check_type_changes) refuses it.
    pub fn find_type_change(&self, test: &mut dyn FnMut(PrimitiveType, PrimitiveType) -> bool) -> Option<(String, String)> {
        let mut found = None;
        let column = self.find_column(&mut |field| {
            found = changes(field).find_map(|(from, to)| {
                let (from, to) = (from?, to?);
                test(PrimitiveType::from_name(from)?, PrimitiveType::from_name(to)?).then(|| format!("{from} to {to}"))
            });
            found.is_some()
        });
        column.zip(found)
    }
}

/// The types from and to of each change that a column remembers.
fn changes(field: &StructField) -> impl Iterator<Item = (Option<&str>, Option<&str>)> {
    let known = field.metadata.get(TYPE_CHANGES).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    known.iter().map(|change| (change.get("fromType").and_then(Value::as_str), change.get("toType").and_then(Value::as_str)))
}
