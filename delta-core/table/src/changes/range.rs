//! Which versions.

use std::ops::{RangeFrom, RangeInclusive};

use boathouse_base::TableVersion;

/// Versions whose changes are read: from the first to the last, both included. A time after the newest version is neither, unless
/// [`ChangesBuilder::out_of_range`](super::ChangesBuilder::out_of_range) lets it be.
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

/// What a time after the newest version means when changes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutOfRange {
    /// It is refused: the same call would give other rows later.
    #[default]
    Refuse,
    /// It means what is there: a range that begins then has no changes, and one that ends then ends with the newest version. Delta's
    /// `changeDataFeed.timestampOutOfRange.enabled`.
    Follow,
}

impl ChangeRange {
    /// Whether the range may lie between two versions, and so have no changes: both of its ends are times, the earlier one first; or its start
    /// is a time after the newest version, which is allowed.
    pub(super) fn lies_between(&self, follows: bool) -> bool {
        match (self.from, self.to) {
            (TableVersion::AtUs(from), TableVersion::AtUs(to)) => from <= to,
            (TableVersion::AtUs(_), TableVersion::Latest) => follows,
            _ => false,
        }
    }
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
