//! The statistics of one file.

use std::collections::BTreeMap;

use boathouse_base::Value;

use super::columns::ColumnPath;

/// What is known of the rows of a data file.
///
/// # Example
/// ```
/// use boathouse_base::Value;
/// use boathouse_delta_protocol::schema::{ColumnMappingMode, PrimitiveType, StructField, StructType};
/// use boathouse_delta_protocol::stats::{ColumnStats, FileStats};
///
/// let schema = StructType::new([StructField::nullable("delay", PrimitiveType::Integer)]);
/// let mut stats = FileStats { num_records: Some(3), ..FileStats::default() };
/// stats.columns.insert("delay".into(), ColumnStats { min: Some(Value::Int(-4)), max: Some(Value::Int(90)), null_count: Some(1) });
/// let json = stats.to_json(&schema, ColumnMappingMode::None);
/// assert_eq!(json, r#"{"numRecords":3,"minValues":{"delay":-4},"maxValues":{"delay":90},"nullCount":{"delay":1},"tightBounds":true}"#);
/// assert_eq!(FileStats::from_json(&json, &schema, ColumnMappingMode::None)?, stats);
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FileStats {
    /// Rows in the file, deleted ones too.
    pub num_records: Option<u64>,
    /// What is known of single columns.
    pub columns: BTreeMap<ColumnPath, ColumnStats>,
    /// Whether minima and maxima are values of rows that are still there.
    pub tight_bounds: bool,
}

impl Default for FileStats {
    fn default() -> Self {
        Self { num_records: None, columns: BTreeMap::new(), tight_bounds: true }
    }
}

/// What is known of a column in a file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ColumnStats {
    /// No value is below it.
    pub min: Option<Value>,
    /// No value is above it.
    pub max: Option<Value>,
    /// Rows where it is null, with all rows in which a struct around it is null.
    pub null_count: Option<u64>,
}
