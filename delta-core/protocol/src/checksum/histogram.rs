//! How large files are, and how many of their rows are deleted.

use serde::{Deserialize, Serialize};

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;
const GB: u64 = 1 << 30;

/// Sizes of files, in bins.
///
/// **Source**: Delta protocol, "File Size Histogram Schema"; the default bins are those of the reference writer.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::checksum::FileSizeHistogram;
///
/// let mut sizes = FileSizeHistogram::default();
/// assert!(sizes.insert(10) && sizes.insert(9_000));
/// assert_eq!((sizes.file_counts()[0], sizes.total_bytes()[1]), (1, 9_000));
/// assert!(sizes.remove(10) && !sizes.remove(10), "nothing is left to remove");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileSizeHistogram {
    sorted_bin_boundaries: Vec<u64>,
    file_counts: Vec<u64>,
    total_bytes: Vec<u64>,
}

impl Default for FileSizeHistogram {
    fn default() -> Self {
        let bins = default_bins();
        let zeros = vec![0; bins.len()];
        Self { sorted_bin_boundaries: bins, file_counts: zeros.clone(), total_bytes: zeros }
    }
}

/// Powers of two up to 4 MB, then steps that grow with the size, finer around 128 MB.
fn default_bins() -> Vec<u64> {
    let mut bins = vec![0, 8 * KB, 16 * KB, 32 * KB, 64 * KB, 128 * KB, 256 * KB, 512 * KB, MB, 2 * MB, 4 * MB];
    let mut last = 4;
    for (step, to) in [(4, 40), (8, 120), (4, 144), (16, 576), (64, 1408), (128, 2048), (256, 4096)] {
        while last < to {
            last += step;
            bins.push(last * MB);
        }
    }
    bins.extend([8 * GB, 16 * GB, 32 * GB, 64 * GB, 128 * GB, 256 * GB]);
    bins
}

impl FileSizeHistogram {
    /// Where bins start, in bytes, sorted; the first is 0, the last goes on for ever.
    pub fn bin_starts(&self) -> &[u64] {
        &self.sorted_bin_boundaries
    }

    /// Files of each bin.
    pub fn file_counts(&self) -> &[u64] {
        &self.file_counts
    }

    /// Bytes of the files of each bin.
    pub fn total_bytes(&self) -> &[u64] {
        &self.total_bytes
    }

    /// Whether the three lists fit each other.
    pub(super) fn is_sound(&self) -> bool {
        let bins = &self.sorted_bin_boundaries;
        bins.first() == Some(&0)
            && bins.windows(2).all(|pair| pair[0] < pair[1])
            && self.file_counts.len() == bins.len()
            && self.total_bytes.len() == bins.len()
    }

    /// Counts a file. False, without a change, when the sum is beyond 64 bits.
    #[must_use]
    pub fn insert(&mut self, size_bytes: u64) -> bool {
        self.change(size_bytes, u64::checked_add)
    }

    /// Takes a file out. False, without a change, when it cannot have been counted.
    #[must_use]
    pub fn remove(&mut self, size_bytes: u64) -> bool {
        self.change(size_bytes, u64::checked_sub)
    }

    fn change(&mut self, size_bytes: u64, by: fn(u64, u64) -> Option<u64>) -> bool {
        let Some(bin) = self.sorted_bin_boundaries.partition_point(|start| *start <= size_bytes).checked_sub(1) else {
            return false;
        };
        let (Some(count), Some(bytes)) = (by(self.file_counts[bin], 1), by(self.total_bytes[bin], size_bytes)) else {
            return false;
        };
        (self.file_counts[bin], self.total_bytes[bin]) = (count, bytes);
        true
    }

    /// Whether both count the same files; bins may differ in those that are empty.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        // Different bins cannot be compared: then they do not disagree.
        self.sorted_bin_boundaries != other.sorted_bin_boundaries
            || (self.file_counts == other.file_counts && self.total_bytes == other.total_bytes)
    }
}

/// How many bins there are for deleted rows.
const BINS: usize = 10;
/// Where they start.
const DELETED_STARTS: [u64; BINS] = [0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 2_147_483_647];

/// Deleted rows of files, in bins: none, 1 to 9, 10 to 99, and so on.
///
/// **Source**: Delta protocol, "Deleted Record Counts Histogram Schema".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedRecordCountsHistogram {
    deleted_record_counts: Vec<u64>,
}

impl DeletedRecordCountsHistogram {
    /// This many files, none with deleted rows.
    pub fn without_deletions(files: u64) -> Self {
        let mut deleted_record_counts = vec![0; BINS];
        deleted_record_counts[0] = files;
        Self { deleted_record_counts }
    }

    /// Files of each bin.
    pub fn file_counts(&self) -> &[u64] {
        &self.deleted_record_counts
    }

    pub(super) fn is_sound(&self) -> bool {
        self.deleted_record_counts.len() == BINS
    }

    /// Counts a file with so many deleted rows. False, without a change, when the sum is beyond 64 bits.
    #[must_use]
    pub fn insert(&mut self, deleted_rows: u64) -> bool {
        self.change(deleted_rows, u64::checked_add)
    }

    /// Takes a file out. False, without a change, when it cannot have been counted.
    #[must_use]
    pub fn remove(&mut self, deleted_rows: u64) -> bool {
        self.change(deleted_rows, u64::checked_sub)
    }

    fn change(&mut self, deleted_rows: u64, by: fn(u64, u64) -> Option<u64>) -> bool {
        let bin = DELETED_STARTS.partition_point(|start| *start <= deleted_rows) - 1;
        let Some(count) = self.deleted_record_counts.get(bin).and_then(|count| by(*count, 1)) else { return false };
        self.deleted_record_counts[bin] = count;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_bins_are_95_and_grow() {
        let sizes = FileSizeHistogram::default();
        assert!(sizes.is_sound());
        assert_eq!(sizes.bin_starts().len(), 95);
        for known in [0, 8 * KB, 4 * MB, 40 * MB, 48 * MB, 120 * MB, 124 * MB, 576 * MB, 640 * MB, 1536 * MB, 4 * GB, 256 * GB] {
            assert!(sizes.bin_starts().contains(&known), "{known}");
        }
    }

    #[test]
    fn a_size_at_the_start_of_a_bin_belongs_to_it() {
        let mut sizes = FileSizeHistogram::default();
        assert!(sizes.insert(8 * KB) && sizes.insert(8 * KB - 1) && sizes.insert(u64::MAX));
        assert_eq!(sizes.file_counts()[..2], [1, 1]);
        assert_eq!(sizes.file_counts().last(), Some(&1));
        assert!(!sizes.insert(u64::MAX), "the sum would overflow");
        assert_eq!(sizes.file_counts().last(), Some(&1));
    }

    #[test]
    fn deleted_rows_fall_into_the_bins_of_the_protocol() {
        let mut deleted = DeletedRecordCountsHistogram::without_deletions(0);
        for rows in [0, 1, 9, 10, 99, 100, 2_147_483_646, 2_147_483_647, u64::MAX] {
            assert!(deleted.insert(rows));
        }
        assert_eq!(deleted.file_counts(), [1, 2, 2, 1, 0, 0, 0, 0, 1, 2]);
    }
}
