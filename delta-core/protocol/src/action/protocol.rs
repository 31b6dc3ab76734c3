//! What a client must be able to do.

use serde::{Deserialize, Serialize};

/// The versions and features that a client must have.
///
/// What this build has stands in [`features`](crate::features).
///
/// **Source**: Delta protocol, "Protocol Evolution".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protocol {
    /// At least this version of the reader's rules.
    pub min_reader_version: i32,
    /// At least this version of the writer's rules.
    pub min_writer_version: i32,
    /// Features by name; present when the reader version is 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader_features: Option<Vec<String>>,
    /// Features by name; present when the writer version is 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer_features: Option<Vec<String>>,
}

impl Default for Protocol {
    /// Versions 1 and 2: what every client reads.
    fn default() -> Self {
        Self { min_reader_version: 1, min_writer_version: 2, reader_features: None, writer_features: None }
    }
}
