//! Which versions.

use std::ops::{RangeFrom, RangeInclusive};

use boathouse_base::TableVersion;

/// Versions whose changes are read: from the first to the last, both included.
///
/// # Example
/// ```
/// use boathouse_base::TableVersion;
/// use boathouse_delta_table::ChangeRange;
///
/// assert_eq!(ChangeRange::from(3..=7).to, TableVersion::Number(7));
/// assert_eq!(ChangeRange::from(3..).to, TableVersion::Latest);
/// // All that was committed at this instant or later.
/// let since = ChangeRange { from: TableVersion::AtUs(1_700_000_000_000_000), ..ChangeRange::from(0..) };
/// # let _ = since;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeRange {
    /// The first version; by time the first one that was committed then or later.
    pub from: TableVersion,
    /// The last version; by time the last one that was committed until then.
    pub to: TableVersion,
}

impl From<RangeFrom<u64>> for ChangeRange {
    fn from(range: RangeFrom<u64>) -> Self {
        Self { from: TableVersion::Number(range.start), to: TableVersion::Latest }
    }
}

impl From<RangeInclusive<u64>> for ChangeRange {
    fn from(range: RangeInclusive<u64>) -> Self {
        Self { from: TableVersion::Number(*range.start()), to: TableVersion::Number(*range.end()) }
    }
}
