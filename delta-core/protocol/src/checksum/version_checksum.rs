//! The checksum of one version.

use serde::{Deserialize, Serialize};

use super::histogram::{DeletedRecordCountsHistogram, FileSizeHistogram};
use crate::action::{Add, DomainMetadata, Metadata, Protocol, Txn};
use crate::error::{ChecksumProblem, ProtocolError, Result};
use crate::features;

/// What a table is at a version, without its file actions.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::checksum::VersionChecksum;
/// use boathouse_delta_protocol::{action::{Add, Metadata, Protocol}, commit};
///
/// let mut empty = VersionChecksum::empty(3, Protocol::default(), Metadata::default());
/// empty.count_file(1_000, None);
/// let text = empty.to_json()?;
/// assert_eq!(VersionChecksum::parse(3, &text)?, empty);
///
/// let commit = commit::parse(4, br#"{"add":{"path":"b.parquet","size":24,"modificationTime":0,"dataChange":true}}"#)?;
/// let next = empty.next(&commit).expect("everything is known");
/// assert_eq!((next.version, next.num_files, next.table_size_bytes), (4, 2, 1_024));
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct VersionChecksum {
    /// The version; it stands in the name of the file only.
    pub version: u64,
    /// The transaction that made the version.
    pub txn_id: Option<String>,
    /// Bytes of all data files.
    pub table_size_bytes: u64,
    /// Data files.
    pub num_files: u64,
    /// When the version was committed, in milliseconds since the Unix epoch. Given when the table has in-commit
    /// timestamps, and only then.
    pub in_commit_timestamp_ms: Option<i64>,
    /// Writers with their own numbering, all of them, or nothing known.
    pub set_transactions: Option<Vec<Txn>>,
    /// Domains, all of them without removed ones, or nothing known.
    pub domain_metadata: Option<Vec<DomainMetadata>>,
    /// What the table is.
    pub metadata: Metadata,
    /// What a client must be able to do.
    pub protocol: Protocol,
    /// Sizes of files.
    pub file_size_histogram: Option<FileSizeHistogram>,
    /// All data files, when the writer put them here: some do for small tables.
    pub all_files: Option<Vec<Add>>,
    /// Rows deleted by deletion vectors.
    pub num_deleted_records: Option<u64>,
    /// Files with a deletion vector.
    pub num_deletion_vectors: Option<u64>,
    /// Deleted rows of files.
    pub deleted_record_counts: Option<DeletedRecordCountsHistogram>,
}

/// As in the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    txn_id: Option<String>,
    table_size_bytes: u64,
    num_files: u64,
    num_metadata: u64,
    num_protocol: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_commit_timestamp_opt: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set_transactions: Option<Vec<Txn>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain_metadata: Option<Vec<DomainMetadata>>,
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    protocol: Option<Protocol>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file_size_histogram: Option<FileSizeHistogram>,
    /// What the reference writer called it for a long time. Never written.
    #[serde(default, skip_serializing)]
    histogram_opt: Option<FileSizeHistogram>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all_files: Option<Vec<Add>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    num_deleted_records_opt: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    num_deletion_vectors_opt: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted_record_counts_histogram_opt: Option<DeletedRecordCountsHistogram>,
}

impl VersionChecksum {
    /// A table without files, transactions and domains.
    ///
    /// Deleted rows are counted when the table may have deletion vectors.
    pub fn empty(version: u64, protocol: Protocol, metadata: Metadata) -> Self {
        let vectors = features::has(&protocol, "deletionVectors");
        Self {
            version,
            txn_id: None,
            table_size_bytes: 0,
            num_files: 0,
            in_commit_timestamp_ms: None,
            set_transactions: Some(Vec::new()),
            domain_metadata: Some(Vec::new()),
            metadata,
            protocol,
            file_size_histogram: Some(FileSizeHistogram::default()),
            all_files: None,
            num_deleted_records: vectors.then_some(0),
            num_deletion_vectors: vectors.then_some(0),
            deleted_record_counts: vectors.then(|| DeletedRecordCountsHistogram::without_deletions(0)),
        }
    }

    /// Counts a data file; `deleted_rows` is the cardinality of its deletion vector. What overflows becomes unknown.
    pub fn count_file(&mut self, size_bytes: u64, deleted_rows: Option<u64>) {
        self.num_files = self.num_files.saturating_add(1);
        self.table_size_bytes = self.table_size_bytes.saturating_add(size_bytes);
        self.file_size_histogram = self.file_size_histogram.take().and_then(|mut h| h.insert(size_bytes).then_some(h));
        let deleted = deleted_rows.unwrap_or(0);
        self.num_deleted_records = self.num_deleted_records.and_then(|n| n.checked_add(deleted));
        self.num_deletion_vectors = self.num_deletion_vectors.and_then(|n| n.checked_add(u64::from(deleted_rows.is_some())));
        self.deleted_record_counts = self.deleted_record_counts.take().and_then(|mut h| h.insert(deleted).then_some(h));
    }

    /// Reads the bytes of `VERSION.crc`. Unknown fields are ignored.
    ///
    /// **Errors**: `Corrupt` says what is wrong or missing; the log itself is as good as before.
    pub fn parse(version: u64, bytes: &[u8]) -> Result<Self> {
        Self::read(version, bytes).map_err(|problem| ProtocolError::CorruptChecksum { version, problem: Box::new(problem) })
    }

    fn read(version: u64, bytes: &[u8]) -> Result<Self, ChecksumProblem> {
        let wire: Wire = serde_json::from_slice(bytes)?;
        for (field, found) in [("numMetadata", wire.num_metadata), ("numProtocol", wire.num_protocol)] {
            if found != 1 {
                return Err(ChecksumProblem::NotOne { field, found });
            }
        }
        let file_size_histogram = wire.file_size_histogram.or(wire.histogram_opt);
        if file_size_histogram.as_ref().is_some_and(|h| !h.is_sound()) {
            return Err(ChecksumProblem::Histogram { field: "fileSizeHistogram" });
        }
        if wire.deleted_record_counts_histogram_opt.as_ref().is_some_and(|h| !h.is_sound()) {
            return Err(ChecksumProblem::Histogram { field: "deletedRecordCountsHistogramOpt" });
        }
        if let Some(files) = wire.all_files.as_ref().filter(|files| files.len() as u64 != wire.num_files) {
            return Err(ChecksumProblem::FileCount { expected: wire.num_files, found: files.len() as u64 });
        }
        Ok(Self {
            version,
            txn_id: wire.txn_id,
            table_size_bytes: wire.table_size_bytes,
            num_files: wire.num_files,
            in_commit_timestamp_ms: wire.in_commit_timestamp_opt,
            set_transactions: wire.set_transactions,
            domain_metadata: wire.domain_metadata.map(|all| all.into_iter().filter(|domain| !domain.removed).collect()),
            metadata: wire.metadata.ok_or(ChecksumProblem::Missing { field: "metadata" })?,
            protocol: wire.protocol.ok_or(ChecksumProblem::Missing { field: "protocol" })?,
            file_size_histogram,
            all_files: wire.all_files,
            num_deleted_records: wire.num_deleted_records_opt,
            num_deletion_vectors: wire.num_deletion_vectors_opt,
            deleted_record_counts: wire.deleted_record_counts_histogram_opt,
        })
    }

    /// The bytes of the file: one line.
    ///
    /// **Errors**: none in practice: every value of this type is JSON.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let all = self.clone();
        let wire = Wire {
            txn_id: all.txn_id,
            table_size_bytes: all.table_size_bytes,
            num_files: all.num_files,
            num_metadata: 1,
            num_protocol: 1,
            in_commit_timestamp_opt: all.in_commit_timestamp_ms,
            set_transactions: all.set_transactions,
            domain_metadata: all.domain_metadata,
            metadata: Some(all.metadata),
            protocol: Some(all.protocol),
            file_size_histogram: all.file_size_histogram,
            histogram_opt: None,
            all_files: all.all_files,
            num_deleted_records_opt: all.num_deleted_records,
            num_deletion_vectors_opt: all.num_deletion_vectors,
            deleted_record_counts_histogram_opt: all.deleted_record_counts,
        };
        let mut bytes = serde_json::to_vec(&wire).map_err(|source| ProtocolError::CorruptChecksum {
            version: self.version,
            problem: Box::new(ChecksumProblem::Json(source)),
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
