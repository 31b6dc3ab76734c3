//! Where a checksum and the log disagree.

use std::collections::BTreeMap;

use super::version_checksum::VersionChecksum;

/// A statement of a version checksum that the replayed log does not bear out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChecksumDifference {
    /// Bytes of all data files.
    #[error("`tableSizeBytes` is {expected}, the log has {found}")]
    TableSize {
        /// In the checksum.
        expected: u64,
        /// In the log.
        found: u64,
    },
    /// Data files.
    #[error("`numFiles` is {expected}, the log has {found}")]
    FileCount {
        /// In the checksum.
        expected: u64,
        /// In the log.
        found: u64,
    },
    /// Name, schema, partitioning or properties.
    #[error("`metadata` is not that of the log")]
    Metadata,
    /// What a client must be able to do.
    #[error("`protocol` is not that of the log")]
    Protocol,
    /// When the version was committed.
    #[error("`inCommitTimestampOpt` is {expected:?}, the log has {found:?}")]
    InCommitTimestamp {
        /// In the checksum.
        expected: Option<i64>,
        /// In the log.
        found: Option<i64>,
    },
    /// A writer with its own numbering.
    #[error("`setTransactions` has version {expected:?} for application `{app_id}`, the log has {found:?}")]
    Transaction {
        /// The application.
        app_id: String,
        /// Its version in the checksum.
        expected: Option<i64>,
        /// Its version in the log.
        found: Option<i64>,
    },
    /// A domain.
    #[error("`domainMetadata` has {expected:?} for the domain `{domain}`, the log has {found:?}")]
    Domain {
        /// The domain.
        domain: String,
        /// Its text in the checksum.
        expected: Option<String>,
        /// Its text in the log.
        found: Option<String>,
    },
    /// Sizes of files.
    #[error("`fileSizeHistogram` counts other files than the log has")]
    FileSizes,
    /// Rows deleted by deletion vectors.
    #[error("`numDeletedRecordsOpt` is {expected}, the log has {found}")]
    DeletedRecords {
        /// In the checksum.
        expected: u64,
        /// In the log.
        found: u64,
    },
    /// Files with a deletion vector.
    #[error("`numDeletionVectorsOpt` is {expected}, the log has {found}")]
    DeletionVectors {
        /// In the checksum.
        expected: u64,
        /// In the log.
        found: u64,
    },
    /// Deleted rows of files.
    #[error("`deletedRecordCountsHistogramOpt` counts other files than the log has")]
    DeletedRecordCounts,
    /// A file that one of the two does not have.
    #[error("`allFiles` and the log disagree about the file `{path}`")]
    File {
        /// Its path as it stands in the log.
        path: String,
    },
}

impl VersionChecksum {
    /// Where this checksum and what was found by replaying the log disagree. What one of the two does not know is
    /// no difference.
    pub fn differences(&self, found: &Self) -> Vec<ChecksumDifference> {
        use ChecksumDifference as D;
        let mut all = Vec::new();
        if self.table_size_bytes != found.table_size_bytes {
            all.push(D::TableSize { expected: self.table_size_bytes, found: found.table_size_bytes });
        }
        if self.num_files != found.num_files {
            all.push(D::FileCount { expected: self.num_files, found: found.num_files });
        }
        if self.metadata != found.metadata {
            all.push(D::Metadata);
        }
        if self.protocol != found.protocol {
            all.push(D::Protocol);
        }
        if self.in_commit_timestamp_ms != found.in_commit_timestamp_ms {
            all.push(D::InCommitTimestamp { expected: self.in_commit_timestamp_ms, found: found.in_commit_timestamp_ms });
        }
        if let (Some(ours), Some(theirs)) = (&self.set_transactions, &found.set_transactions) {
            let ours = ours.iter().map(|txn| (txn.app_id.as_str(), txn.version));
            let theirs = theirs.iter().map(|txn| (txn.app_id.as_str(), txn.version));
            all.extend(unequal(ours, theirs).map(|(app_id, expected, found)| D::Transaction { app_id, expected, found }));
        }
        if let (Some(ours), Some(theirs)) = (&self.domain_metadata, &found.domain_metadata) {
            let ours = ours.iter().map(|d| (d.domain.as_str(), d.configuration.clone()));
            let theirs = theirs.iter().map(|d| (d.domain.as_str(), d.configuration.clone()));
            all.extend(unequal(ours, theirs).map(|(domain, expected, found)| D::Domain { domain, expected, found }));
        }
        if let (Some(ours), Some(theirs)) = (&self.file_size_histogram, &found.file_size_histogram)
            && !ours.agrees(theirs)
        {
            all.push(D::FileSizes);
        }
        if let (Some(expected), Some(found)) = (self.num_deleted_records, found.num_deleted_records)
            && expected != found
        {
            all.push(D::DeletedRecords { expected, found });
        }
        if let (Some(expected), Some(found)) = (self.num_deletion_vectors, found.num_deletion_vectors)
            && expected != found
        {
            all.push(D::DeletionVectors { expected, found });
        }
        if let (Some(ours), Some(theirs)) = (&self.deleted_record_counts, &found.deleted_record_counts)
            && ours != theirs
        {
            all.push(D::DeletedRecordCounts);
        }
        if let (Some(ours), Some(theirs)) = (&self.all_files, &found.all_files) {
            let key = |add: &crate::action::Add| add.key().to_string();
            let (ours, theirs): (BTreeMap<_, _>, BTreeMap<_, _>) =
                (ours.iter().map(|a| (key(a), a.size)).collect(), theirs.iter().map(|a| (key(a), a.size)).collect());
            let ours = ours.iter().map(|(path, size)| (path.as_str(), *size));
            let theirs = theirs.iter().map(|(path, size)| (path.as_str(), *size));
            all.extend(unequal(ours, theirs).map(|(path, _, _)| D::File { path }));
        }
        all
    }
}

/// Entries that are missing on one side, or unequal, by key.
fn unequal<'a, V: PartialEq + Clone>(
    ours: impl Iterator<Item = (&'a str, V)>,
    theirs: impl Iterator<Item = (&'a str, V)>,
) -> impl Iterator<Item = (String, Option<V>, Option<V>)> {
    let mut both: BTreeMap<&'a str, (Option<V>, Option<V>)> = BTreeMap::new();
    ours.for_each(|(key, value)| both.entry(key).or_insert((None, None)).0 = Some(value));
    theirs.for_each(|(key, value)| both.entry(key).or_insert((None, None)).1 = Some(value));
    both.into_iter().filter(|(_, (a, b))| a != b).map(|(key, (a, b))| (key.to_owned(), a, b))
}
