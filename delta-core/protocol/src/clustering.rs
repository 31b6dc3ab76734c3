//! Clustered tables: which columns keep similar rows together.
//!
//! **Source**: Delta protocol, "Clustered Table".

use serde_json::{Value, json};

use crate::action::DomainMetadata;
use crate::error::{ProtocolError, Result};

/// The metadata domain that names the clustering columns.
pub const CLUSTERING_DOMAIN: &str = "delta.clustering";

/// The clustering columns, each as the physical names from the top.
///
/// Both forms are understood: a list of names, and a list of lists for columns within structs.
///
/// **Errors**: `Corrupt` when the text is none of them.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::clustering::clustering_columns;
///
/// let columns = clustering_columns(r#"{"clusteringColumns":["day",["place","city"]],"domainName":"delta.clustering"}"#)?;
/// assert_eq!(columns, [vec!["day"], vec!["place", "city"]]);
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
pub fn clustering_columns(configuration: &str) -> Result<Vec<Vec<String>>> {
    let parsed: Option<Value> = serde_json::from_str(configuration).ok();
    let columns = parsed.as_ref().and_then(|value| value.get("clusteringColumns")?.as_array()?.iter().map(names).collect());
    columns.ok_or_else(|| ProtocolError::InvalidDomain {
        domain: CLUSTERING_DOMAIN,
        found: configuration.to_owned(),
        expected: r#"JSON text like {"clusteringColumns":[["a"],["b","c"]]}"#,
    })
}

/// The action that names the clustering columns, each as the physical names from the top; none when a table is no longer clustered.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::clustering::{clustering_columns, clustering_domain};
///
/// let domain = clustering_domain(&[vec!["day".to_owned()]]);
/// assert_eq!(clustering_columns(&domain.configuration)?, [vec!["day"]]);
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
pub fn clustering_domain(columns: &[Vec<String>]) -> DomainMetadata {
    let configuration = json!({ "clusteringColumns": columns, "domainName": CLUSTERING_DOMAIN }).to_string();
    DomainMetadata { domain: CLUSTERING_DOMAIN.to_owned(), configuration, removed: false }
}

fn names(column: &Value) -> Option<Vec<String>> {
    match column {
        Value::String(name) => Some(vec![name.clone()]),
        Value::Array(names) if !names.is_empty() => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}
