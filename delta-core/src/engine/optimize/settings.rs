//! How tables are tidied.

use boathouse_delta_table::{DataWriterSettings, Snapshot};

/// Bytes of a file when neither the caller nor the table says: as much as a writer gives it.
const TARGET_FILE_BYTES: u64 = 256 << 20;

/// How files are chosen and written by [`OptimizeBuilder`](crate::OptimizeBuilder).
///
/// # Example
/// ```
/// use boathouse_delta_core::{OptimizeCommits, OptimizeSettings};
///
/// // A large table, little memory: progress is kept partition by partition.
/// let settings =
///     OptimizeSettings { memory_bytes: 256 << 20, commits: OptimizeCommits::EachPartition, ..OptimizeSettings::default() };
/// assert_eq!(settings.max_deleted_percent, 5);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptimizeSettings {
    /// About so many bytes a file is to have. `None`: the table's `delta.targetFileSize`, or 256 MiB.
    pub target_file_size_bytes: Option<u64>,
    /// Files from this size on stay as they are. `None`: three quarters of the target, so that what was put together is not read again.
    pub min_file_size_bytes: Option<u64>,
    /// A file is written again, whatever its size, when more than this share of its rows is deleted.
    ///
    /// **Units**: percent of the rows that it holds, deleted ones too.
    pub max_deleted_percent: u8,
    /// About so many bytes of memory are used. Rows that are sorted go to disk beyond three quarters of it.
    pub memory_bytes: usize,
    /// How often is committed.
    pub commits: OptimizeCommits,
    /// A partition with so many small files has them put together after a commit, where the table asks for it.
    pub auto_min_files: usize,
    /// Files that one run of clustering wrote stay together when they are larger than this: later runs leave them alone.
    pub min_cube_size_bytes: u64,
    /// So many bytes are clustered at once, at most.
    pub target_cube_size_bytes: u64,
    /// Row groups of at least so many rows, on average of the files that are put together, are copied as they are. Smaller ones are decoded and
    /// put together as well, so that a file does not consist of crumbs.
    pub copy_row_groups_from_rows: u64,
    /// How rows are encoded. Its target size and `data_change` do not count here.
    pub writer: DataWriterSettings,
}

impl Default for OptimizeSettings {
    fn default() -> Self {
        Self {
            target_file_size_bytes: None,
            min_file_size_bytes: None,
            max_deleted_percent: 5,
            memory_bytes: 1 << 30,
            commits: OptimizeCommits::One,
            auto_min_files: 50,
            min_cube_size_bytes: 100 << 30,
            target_cube_size_bytes: 150 << 30,
            copy_row_groups_from_rows: 128 << 10,
            writer: DataWriterSettings::default(),
        }
    }
}

/// How often a table is committed to while it is tidied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OptimizeCommits {
    /// Once, at the end: all of it or nothing.
    #[default]
    One,
    /// After each partition: what is done is done, and other writers lose less to a conflict.
    EachPartition,
}

impl OptimizeSettings {
    pub(super) fn target_bytes(&self, snapshot: &Snapshot) -> u64 {
        let table = snapshot.properties().target_file_size_bytes;
        self.target_file_size_bytes.or(table).unwrap_or(TARGET_FILE_BYTES).max(1)
    }

    pub(super) fn min_bytes(&self, target_bytes: u64) -> u64 {
        self.min_file_size_bytes.unwrap_or(target_bytes - target_bytes / 4)
    }

    pub(super) fn writer(&self, target_file_size_bytes: u64) -> DataWriterSettings {
        // A row group is held in memory until it is written.
        let row_group_bytes = self.writer.row_group_bytes.min((self.memory_bytes / 4).max(1 << 20));
        let target_file_size_bytes = Some(target_file_size_bytes);
        DataWriterSettings { target_file_size_bytes, row_group_bytes, data_change: false, ..self.writer.clone() }
    }

    /// Files that are put together at once: each needs room for a row group on either side.
    pub(super) fn bins_at_once(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
        let each = self.writer(u64::MAX).row_group_bytes.saturating_mul(2).max(1);
        (self.memory_bytes / each).clamp(1, cores)
    }

    /// What rows that are sorted may take before they go to disk.
    pub(super) fn sort_bytes(&self) -> usize {
        self.memory_bytes - self.memory_bytes / 4
    }
}
