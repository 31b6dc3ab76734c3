//! What tidying did.

use boathouse_delta_table::DataFile;

use super::bin::Rewritten;

/// What an OPTIMIZE or a REORG did. The names are those of Spark's metrics.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OptimizeReport {
    /// The last version that holds it; the version that was found when there was nothing to do.
    pub version: u64,
    /// Versions that it made.
    pub num_batches: u64,
    /// Files that came.
    pub files_added: FileSizes,
    /// Files that left.
    pub files_removed: FileSizes,
    /// Partitions of which files were written again; 1 for a table without partitions.
    pub partitions_optimized: u64,
    /// Groups of files that were written again together.
    pub num_bins: u64,
    /// Files that were looked at.
    pub total_considered_files: u64,
    /// Files that stayed as they were.
    pub total_files_skipped: u64,
    /// Whether rows are in the order in which they were.
    pub preserve_insertion_order: bool,
    /// Deletion vectors that are not needed any more.
    pub num_deletion_vectors_removed: u64,
    /// Rows that were written.
    pub rows_copied: u64,
    /// Attempts to commit, of all versions together: as many as these without contention.
    pub attempts: u32,
}

impl OptimizeReport {
    /// Files that came.
    pub fn num_files_added(&self) -> u64 {
        self.files_added.total_files
    }

    /// Files that left.
    pub fn num_files_removed(&self) -> u64 {
        self.files_removed.total_files
    }

    /// Whether there was anything to do.
    pub fn committed(&self) -> bool {
        self.num_batches > 0
    }

    /// Takes note of bins that became a version.
    pub(super) fn add(&mut self, bins: &[Rewritten]) {
        for bin in bins {
            bin.written.adds.iter().for_each(|add| self.files_added.add(add.size));
            for file in &bin.sources {
                self.files_removed.add(file.size_bytes());
                self.num_deletion_vectors_removed += u64::from(file.deletion_vector().is_some());
            }
            self.rows_copied += bin.written.rows;
        }
        self.num_bins += bins.len() as u64;
        self.num_batches += 1;
    }
}

/// Sizes of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileSizes {
    /// Bytes of the smallest one; `None` without files.
    pub min: Option<u64>,
    /// Bytes of the largest one; `None` without files.
    pub max: Option<u64>,
    /// How many there are.
    pub total_files: u64,
    /// Bytes of all of them.
    pub total_size: u64,
}

impl FileSizes {
    /// Mean of the bytes; 0 without files.
    ///
    /// # Example
    /// ```
    /// use boathouse_delta_core::FileSizes;
    ///
    /// let sizes = FileSizes { min: Some(1), max: Some(4), total_files: 2, total_size: 5 };
    /// assert_eq!((sizes.avg(), FileSizes::default().avg()), (2.5, 0.0));
    /// ```
    pub fn avg(&self) -> f64 {
        if self.total_files == 0 { 0.0 } else { self.total_size as f64 / self.total_files as f64 }
    }

    fn add(&mut self, bytes: u64) {
        self.min = Some(self.min.map_or(bytes, |min| min.min(bytes)));
        self.max = Some(self.max.map_or(bytes, |max| max.max(bytes)));
        self.total_files += 1;
        self.total_size = self.total_size.saturating_add(bytes);
    }
}

/// What the history says of these bins, under the names that Spark gives these metrics.
pub(super) fn metrics(bins: &[Rewritten]) -> Vec<(&'static str, u64)> {
    let mut added: Vec<u64> = bins.iter().flat_map(|bin| bin.written.adds.iter().map(|add| add.size)).collect();
    added.sort_unstable();
    let sources = || bins.iter().flat_map(|bin| &bin.sources);
    let vectors = || sources().filter_map(DataFile::deletion_vector);
    let mut metrics = vec![
        ("numAddedFiles", added.len() as u64),
        ("numRemovedFiles", sources().count() as u64),
        ("numAddedBytes", added.iter().fold(0, |sum: u64, size| sum.saturating_add(*size))),
        ("numRemovedBytes", DataFile::total_bytes(sources())),
        ("numDeletionVectorsRemoved", vectors().count() as u64),
        ("numDeletionVectorRowsRemoved", vectors().fold(0, |sum: u64, vector| sum.saturating_add(vector.cardinality))),
    ];
    let places = [("minFileSize", 0), ("p25FileSize", 1), ("p50FileSize", 2), ("p75FileSize", 3)];
    let quarter = |(name, nth): (&'static str, usize)| Some((name, *added.get(added.len() * nth / 4)?));
    metrics.extend(places.into_iter().filter_map(quarter));
    metrics.extend(added.last().map(|size| ("maxFileSize", *size)));
    metrics
}
