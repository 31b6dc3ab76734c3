//! What becomes of a file some of whose rows change.

use boathouse_delta_protocol::features;
use boathouse_delta_table::{DataFile, Snapshot};

/// When rows are marked as deleted, and when their file is written again.
///
/// Marking writes no row again, and leaves rows in the file that every later read steps over until the file is written again.
///
/// # Example
/// ```
/// use boathouse_delta_core::RowChangeSettings;
///
/// assert_eq!(RowChangeSettings::default().copy_above_percent, 50);
/// // As before there were deletion vectors: every touched file is written again.
/// let copy_always = RowChangeSettings { copy_above_percent: 0 };
/// # let _ = copy_always;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChangeSettings {
    /// A file is written again when more than this share of its rows would be deleted afterwards. Matters only for tables with
    /// `delta.enableDeletionVectors`; all others copy.
    ///
    /// **Units**: percent of the rows that the file holds, deleted ones too.
    pub copy_above_percent: u8,
}

impl Default for RowChangeSettings {
    fn default() -> Self {
        Self { copy_above_percent: 50 }
    }
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// All its rows change: it leaves.
    Remove,
    /// Its rows that change are marked as deleted.
    Mark,
    /// It leaves, and its other rows are written again.
    Copy,
}

/// How files of a table may be treated.
#[derive(Debug, Clone)]
pub(crate) struct Treatment {
    vectors: bool,
    settings: RowChangeSettings,
}

impl Treatment {
    pub(crate) fn of(snapshot: &Snapshot, settings: RowChangeSettings) -> Self {
        let vectors = snapshot.properties().enable_deletion_vectors && features::has(snapshot.protocol(), "deletionVectors");
        Self { vectors, settings }
    }

    /// The fate of a file of which so many rows change; `None` for all of them.
    pub(crate) fn fate(&self, file: &DataFile, changing: Option<u64>) -> Fate {
        let deleted = file.deletion_vector().map_or(0, |vector| vector.cardinality);
        self.decide(file.row_count(), deleted, changing)
    }

    fn decide(&self, live: Option<u64>, deleted: u64, changing: Option<u64>) -> Fate {
        let Some(changing) = changing else { return Fate::Remove };
        // Without a number of rows nothing can be marked.
        let Some(live) = live else { return Fate::Copy };
        if changing >= live {
            return Fate::Remove;
        }
        let (gone, all) = (u128::from(deleted) + u128::from(changing), u128::from(deleted) + u128::from(live));
        let few = gone * 100 <= all * u128::from(self.settings.copy_above_percent);
        if self.vectors && few { Fate::Mark } else { Fate::Copy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn treatment(vectors: bool, copy_above_percent: u8) -> Treatment {
        Treatment { vectors, settings: RowChangeSettings { copy_above_percent } }
    }

    #[test]
    fn few_rows_are_marked_many_copied_and_all_removed() {
        let half = treatment(true, 50);
        assert_eq!(half.decide(Some(100), 0, Some(1)), Fate::Mark);
        assert_eq!(half.decide(Some(100), 0, Some(50)), Fate::Mark);
        assert_eq!(half.decide(Some(100), 0, Some(51)), Fate::Copy);
        assert_eq!(half.decide(Some(100), 0, Some(100)), Fate::Remove);
        assert_eq!(half.decide(Some(100), 0, None), Fate::Remove);
    }

    #[test]
    fn rows_that_are_deleted_already_count() {
        assert_eq!(treatment(true, 50).decide(Some(60), 40, Some(10)), Fate::Mark);
        assert_eq!(treatment(true, 50).decide(Some(60), 40, Some(11)), Fate::Copy);
    }

    #[test]
    fn without_vectors_or_without_a_number_of_rows_files_are_copied() {
        assert_eq!(treatment(false, 100).decide(Some(100), 0, Some(1)), Fate::Copy);
        assert_eq!(treatment(true, 100).decide(None, 0, Some(1)), Fate::Copy);
        assert_eq!(treatment(true, 0).decide(Some(100), 0, Some(1)), Fate::Copy);
    }
}
