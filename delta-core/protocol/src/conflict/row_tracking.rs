//! Row ids: every row that is ever added gets a number of its own.
//!
//! **Source**: Delta protocol, "Row Tracking".

use serde::{Deserialize, Serialize};

use crate::action::{Action, Add, DomainMetadata, Protocol};
use crate::error::{ProtocolError, Result};
use crate::features;
use crate::stats::record_count;

/// The domain that holds the highest row id that was given out.
pub const ROW_TRACKING_DOMAIN: &str = "delta.rowTracking";

#[derive(Serialize, Deserialize)]
struct HighWaterMark {
    #[serde(rename = "rowIdHighWaterMark")]
    row_id: i64,
}

/// Whether files must have row ids: the table supports them, and has not suspended giving them out.
pub(super) fn gives_row_ids(protocol: &Protocol, configuration: &std::collections::BTreeMap<String, String>) -> bool {
    let suspended = configuration
        .iter()
        .any(|(key, value)| key.eq_ignore_ascii_case("delta.rowTrackingSuspended") && value.eq_ignore_ascii_case("true"));
    features::has(protocol, "rowTracking") && !suspended
}

/// The highest row id that a domain speaks of.
pub(super) fn high_water_mark(domain: &DomainMetadata) -> Option<i64> {
    let known = domain.domain == ROW_TRACKING_DOMAIN && !domain.removed;
    known.then(|| serde_json::from_str(&domain.configuration).ok().map(|mark: HighWaterMark| mark.row_id)).flatten()
}

/// Gives row ids above `high_water` to new files, and the version to those that have none. Returns the new high-water mark.
///
/// A file that has a row id keeps it: it was in the table before.
///
/// **Errors**: `Invalid` for a file without a count of rows.
pub(super) fn give_row_ids(actions: &mut [Action], high_water: Option<i64>, version: u64) -> Result<Option<i64>> {
    let mut last = high_water.unwrap_or(-1);
    for action in actions {
        let Action::Add(add) = action else { continue };
        if add.base_row_id.is_none() {
            let too_many = || ProtocolError::RowIdsExhausted { path: add.path.clone() };
            let rows = i64::try_from(rows_of(add)?).map_err(|_| too_many())?;
            let first = last.checked_add(1).ok_or_else(too_many)?;
            last = last.checked_add(rows).ok_or_else(too_many)?;
            add.base_row_id = Some(first);
        }
        if add.default_row_commit_version.is_none() {
            add.default_row_commit_version = i64::try_from(version).ok();
        }
    }
    Ok((Some(last) != high_water && last >= 0).then_some(last))
}

/// The action that keeps a high-water mark.
pub(super) fn domain(row_id: i64) -> DomainMetadata {
    let configuration = serde_json::json!({ "rowIdHighWaterMark": row_id }).to_string();
    DomainMetadata { domain: ROW_TRACKING_DOMAIN.to_owned(), configuration, removed: false }
}

fn rows_of(add: &Add) -> Result<u64> {
    let count = add.stats.as_deref().map(record_count).transpose()?.flatten();
    count.ok_or_else(|| ProtocolError::NoRowCount { path: add.path.clone() })
}
