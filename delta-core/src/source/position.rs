//! Where a stream is.

use std::cmp::Ordering;

use boathouse_base::Offset;
use serde::{Deserialize, Serialize};

/// The layout of [`Position`] in an offset; raised when it changes.
const OFFSET_FORMAT: u32 = 1;

/// Everything up to here has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Position {
    source_version: u32,
    pub(super) reservoir_id: String,
    pub(super) reservoir_version: u64,
    /// So many parts of that version have been read: files, or intervals of time. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    /// Whether these are the rows that were there in the beginning, and not what the version did.
    #[serde(default)]
    is_starting_version: bool,
    #[serde(flatten, default)]
    begun: Option<Begun>,
}

/// Where a stream began, which an offset must remember: a range from the beginning is read by its end alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Begun {
    /// With all rows of this version.
    #[serde(rename = "initialVersion")]
    Snapshot(u64),
    /// With what this version did.
    #[serde(rename = "firstVersion")]
    Commit(u64),
}

/// What is to be read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) begun: Begun,
    pub(super) next: Next,
}

/// A part of a version; parts are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Of the rows that were there in the beginning.
    Snapshot { version: u64, part: u64 },
    /// Of what the version did.
    Commit { version: u64, part: u64 },
}

impl Position {
    /// `read` parts of what `next` names, or all.
    pub(super) fn after(table_id: &str, begun: Begun, next: Next, read: Option<u64>) -> Self {
        let (reservoir_version, is_starting_version) = match next {
            Next::Snapshot { version, .. } => (version, true),
            Next::Commit { version, .. } => (version, false),
        };
        Self {
            source_version: OFFSET_FORMAT,
            reservoir_id: table_id.to_owned(),
            reservoir_version,
            index: read,
            is_starting_version,
            begun: Some(begun),
        }
    }

    /// The position of an offset; nothing when it is another source's.
    pub(super) fn of(offset: &Offset) -> Option<Self> {
        let position: Self = serde_json::from_str(offset.as_str()).ok()?;
        (position.source_version == OFFSET_FORMAT).then_some(position)
    }

    pub(super) fn offset(&self) -> Offset {
        Offset::new(serde_json::json!(self).to_string())
    }

    /// What comes after it.
    pub(super) fn cursor(&self) -> Cursor {
        let version = self.reservoir_version;
        let next = match (self.is_starting_version, self.index) {
            (true, Some(part)) => Next::Snapshot { version, part },
            (false, Some(part)) => Next::Commit { version, part },
            (_, None) => Next::Commit { version: version.saturating_add(1), part: 0 },
        };
        Cursor { begun: self.begun(), next }
    }

    fn begun(&self) -> Begun {
        // Offsets of earlier releases: these streams began with the first commit.
        self.begun.unwrap_or(Begun::Commit(0))
    }

    /// The beginning of the stream that came to this position.
    pub(super) fn beginning(&self) -> Cursor {
        Cursor::at(self.begun())
    }
}

impl Cursor {
    /// The beginning of a stream.
    pub(super) fn at(begun: Begun) -> Self {
        let next = match begun {
            Begun::Snapshot(version) => Next::Snapshot { version, part: 0 },
            Begun::Commit(version) => Next::Commit { version, part: 0 },
        };
        Self { begun, next }
    }
}

impl Next {
    pub(super) fn version(self) -> u64 {
        match self {
            Self::Snapshot { version, .. } | Self::Commit { version, .. } => version,
        }
    }

    /// The order in which a stream reads: the rows of the beginning come first.
    fn place(self) -> (bool, u64, u64) {
        match self {
            Self::Snapshot { version, part } => (false, version, part),
            Self::Commit { version, part } => (true, version, part),
        }
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.place().cmp(&other.place()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn offsets_keep_everything_and_those_of_earlier_releases_are_understood() {
        let next = Next::Snapshot { version: 4, part: 2 };
        let position = Position::after("t", Begun::Snapshot(4), next, Some(3));
        let offset = position.offset();
        assert_eq!(Position::of(&offset).unwrap(), position);
        assert_eq!(position.cursor().next, Next::Snapshot { version: 4, part: 3 });
        assert!(offset.as_str().contains("\"initialVersion\":4"), "{offset}");
        let old = Offset::new(r#"{"sourceVersion":1,"reservoirId":"t","reservoirVersion":6}"#);
        let old = Position::of(&old).unwrap();
        assert_eq!(old.cursor().next, Next::Commit { version: 7, part: 0 });
        assert_eq!(old.beginning().next, Next::Commit { version: 0, part: 0 });
        assert_eq!(Position::of(&Offset::new(r#"{"sourceVersion":2,"reservoirId":"t","reservoirVersion":6}"#)), None);
    }
}
