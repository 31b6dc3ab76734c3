//! Named texts that belong to the table.

use serde::{Deserialize, Serialize};

/// A named text that belongs to the table; `delta.…` names belong to the protocol.
///
/// **Source**: Delta protocol, "Domain Metadata".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DomainMetadata {
    /// The name.
    pub domain: String,
    /// The text; JSON by convention.
    pub configuration: String,
    /// True when the domain is deleted.
    pub removed: bool,
}
