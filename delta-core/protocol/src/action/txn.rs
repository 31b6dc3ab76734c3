//! Writers that number their own writes.

use serde::{Deserialize, Serialize};

/// The last version that an application wrote, by its own numbering.
///
/// **Source**: Delta protocol, "Transaction Identifiers".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Txn {
    /// Names the writer.
    pub app_id: String,
    /// The writer's number.
    pub version: i64,
    /// When it was written, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<i64>,
}
