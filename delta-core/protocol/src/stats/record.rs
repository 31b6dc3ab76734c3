//! Statistics of a file as a whole, without those of its columns.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::error::{ProtocolError, Result};

#[derive(Deserialize)]
struct Counted {
    #[serde(rename = "numRecords", default)]
    records: Option<u64>,
}

/// How many rows a file has, deleted ones too, by its statistics; nothing when they do not say.
///
/// **Errors**: `Corrupt` when the text is no JSON object.
pub fn record_count(stats: &str) -> Result<Option<u64>> {
    let counted: Counted = serde_json::from_str(stats).map_err(|source| ProtocolError::CorruptStats { source })?;
    Ok(counted.records)
}

/// The same statistics, as bounds that need not be reached: rows of the file were deleted.
///
/// Numbers stay letter by letter as they are.
///
/// **Errors**: `Corrupt` when the text is no JSON object.
///
/// **Source**: Delta protocol, "Per-file Statistics".
///
/// # Example
/// ```
/// use boathouse_delta_protocol::stats::with_wide_bounds;
///
/// let wide = with_wide_bounds(r#"{"numRecords":2,"maxValues":{"price":123456789012345678.90},"tightBounds":true}"#)?;
/// assert_eq!(wide, r#"{"maxValues":{"price":123456789012345678.90},"numRecords":2,"tightBounds":false}"#);
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
pub fn with_wide_bounds(stats: &str) -> Result<String> {
    let corrupt = |source| ProtocolError::CorruptStats { source };
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(stats).map_err(corrupt)?;
    fields.insert("tightBounds".to_owned(), to_raw_value(&false).map_err(corrupt)?);
    serde_json::to_string(&fields).map_err(corrupt)
}
