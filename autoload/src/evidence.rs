//! What a column's type was inferred from.

use serde::{Deserialize, Serialize};

/// How often each look was seen in the values of a top-level column when its type was inferred.
///
/// The type is the narrowest that holds all of them: whole numbers, then floats, then text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnEvidence {
    /// The column.
    pub column: String,
    /// The type that was chosen, as Arrow writes it.
    pub data_type: String,
    /// Whether a hint chose it, whatever the values look like.
    pub hinted: bool,
    /// Values that are null.
    pub nulls: u64,
    /// `true` and `false`.
    pub booleans: u64,
    /// Whole numbers of 64 bits.
    pub integers: u64,
    /// Other numbers.
    pub floats: u64,
    /// RFC 3339 instants.
    pub instants: u64,
    /// Text, and values that were not looked at closely because the column was text already.
    pub texts: u64,
    /// Objects and arrays.
    pub nested: u64,
}
