//! Delta tables on object stores: log, snapshots, scans, writes, commits and checkpoints.
//!
//! ```text
//!   DeltaTable (a location) ─ snapshot ─▶ Snapshot (a version) ─ scan ─▶ BatchStream
//!        │                                    │ files, read_file
//!        │ append, overwrite                  ▼
//!        └─ BatchStream ─▶ DataWriter ─ Add ─▶ Transaction ─ commit ─▶ the next version
//! ```
//!
//! # What it is not
//! No query engine: it finds files, reads and writes rows, and commits. Expressions, DELETE, UPDATE, MERGE and SQL
//! live one crate up, on [`Snapshot::files`], [`Snapshot::read_file`], [`DataWriter`] and [`Transaction`].
//! What the log *means* (schemas, statistics, replay, conflicts) is `boathouse_delta_protocol`, which does no I/O.
//!
//! # A story
//! ```
//! use std::sync::Arc;
//! use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};
//! use boathouse_base::{BatchStream, Comparison, Predicate, ScanRequest, TableVersion};
//! use boathouse_delta_table::DeltaTable;
//! use boathouse_storage::{Storage, system_env};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let flights = DeltaTable::at(Storage::memory().at("flights"), system_env());
//! let rows = |carriers: Vec<&str>, delays: Vec<i32>| {
//!     let columns = [
//!         ("carrier", Arc::new(StringArray::from(carriers)) as ArrayRef),
//!         ("delay", Arc::new(Int32Array::from(delays)) as ArrayRef),
//!     ];
//!     let batch = RecordBatch::try_from_iter(columns).unwrap();
//!     BatchStream::from_batches(batch.schema(), vec![batch])
//! };
//!
//! // Version 0: the first write creates the table, partitioned by carrier. Version 1 adds to it.
//! flights.append(rows(vec!["AA", "UA"], vec![5, 90])).create_if_absent().partition_by(["carrier"]).run().await?;
//! flights.append(rows(vec!["DL"], vec![12])).run().await?;
//!
//! // A predicate skips files; the caller filters rows.
//! let late = Predicate::compare("delay", Comparison::Gt, 30);
//! assert_eq!(flights.snapshot().await?.files(Some(&late)).await?.len(), 1);
//!
//! // A bad job overwrites everything; the old version comes back.
//! flights.overwrite(rows(vec!["??"], vec![0])).run().await?;
//! flights.restore(TableVersion::Number(1)).run().await?;
//! let back = flights.snapshot().await?.scan(ScanRequest::default())?.collect().await?;
//! assert_eq!(back.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
//! let operations: Vec<_> = flights.history(10).await?.into_iter().filter_map(|c| c.operation).collect();
//! assert_eq!(operations, ["RESTORE", "WRITE", "WRITE", "WRITE"]);
//! # Ok::<_, Box<dyn std::error::Error>>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Cost
//! Opening a table: a GET of `_last_checkpoint`, one LIST from there, then the newest version checksum (or a few narrow
//! columns of the checkpoint) and the commits after it. No file of the table is looked at: that happens when rows or
//! [`Snapshot::files`] are asked for, and later versions go on from there. Looking for a newer version: two HEADs.
//! Writing: one pass over the data, and memory for about one encoded row group; columns are encoded in parallel on the
//! blocking threads of the tokio runtime (a few rows: where the writer is), each as a sample of it suggests. Committing: one put.
//!
//! # Guarantees
//! - A version appears as a whole: data files are complete before the commit that names them, and the commit is one
//!   put-if-absent.
//! - A lost reply never doubles a write: a writer knows its own commit again by the id in it.
//! - An append loses against no append, delete or compaction; two transactions that delete different rows of one file both succeed.
//! - Appends that wait for the same handle become one version, and each gets its own report.
//! - A damaged checkpoint or compacted commit, or a wrong pointer, costs time and not data: the log is read another way.
//! - A whole checkpoint without protocol or metadata is corrupt, and so is whatever contradicts itself: nothing is guessed.
//!
//! # What it does not do yet
//! - Tables with features that cannot be written yet are refused by the feature's name: see
//!   `boathouse_delta_protocol::features`. SQL of constraints, generated columns and defaults is not understood here:
//!   hand in [`Expressions`].
//! - Variants are read, whole or shredded, and written whole.
//! - There is no OPTIMIZE here; [`Transaction::concatenate`] commits a compaction that the caller has written, as the engine does.
//! - Multi-part checkpoints are read, and never written. Sidecars are not carried over from one checkpoint to the next.
//! - Whether a catalog permits maintenance of its tables is not asked: vacuum, log clean-up and compaction refuse them.

mod alter;
mod app_transaction;
mod arrow_value;
mod changes;
mod checkpoint;
mod clone_table;
mod cluster;
mod commit_metadata;
mod committer;
mod conform;
mod convert;
mod create;
mod decoder;
mod deletion;
mod drop_feature;
mod enforce;
mod erase;
mod error;
mod expressions;
mod filter;
mod fsck;
mod history;
mod layout;
mod log;
mod log_cleanup;
mod manifest;
mod mapping;
mod processor;
mod provenance;
mod restore;
mod row_tracking;
mod scan;
mod sink;
mod snapshot;
mod table;
mod transaction;
mod upkeep;
mod vacuum;
mod variant;
mod write;

pub use alter::{AlterBuilder, AlterReport, ColumnPlace};
pub use boathouse_delta_protocol as protocol;
pub use changes::{ChangeRange, ChangesBuilder, CommittedChanges, OutOfRange, changes_schema};
pub use checkpoint::{CheckpointBuilder, CheckpointForm, CheckpointReport};
pub use clone_table::{CloneBuilder, CloneDepth, CloneReport};
pub use cluster::{ClusterByBuilder, ClusterByReport};
pub use committer::{
    CatalogCommitter, CommitCatalog, CommitContent, Committer, CommitterError, DecidedCommit, DecidedCommits, Management,
    MemoryCatalog, MemoryCommitter, PutIfAbsent,
};
pub use convert::{ConvertBuilder, ConvertReport, ConvertStatistics};
pub use create::{CreateBuilder, CreateReport};
pub use drop_feature::{DropFeatureBuilder, DropFeatureReport};
pub use erase::EraseReport;
pub use error::{
    AlterProblem, CloneProblem, ClusteringProblem, ConvertProblem, DeltaError, FeatureProblem, ManifestProblem, Result,
    TransactionProblem,
};
pub use expressions::{Expression, Expressions};
pub use fsck::{FsckBuilder, FsckReport, MissingFile};
pub use history::CommitSummary;
pub use log_cleanup::{LogCleanupBuilder, LogCleanupReport};
pub use manifest::{ManifestBuilder, ManifestReport};
pub use provenance::{CommitJob, Provenance};
pub use restore::{RestoreBuilder, RestoreReport};
pub use row_tracking::{RowOrigins, RowTrackingColumns};
pub use scan::{DataFile, DeletedRows, FileColumns, FileRead, FileVector, ObjectReader};
pub use sink::{DeltaSink, DeltaSinkSettings};
pub use snapshot::Snapshot;
pub use table::DeltaTable;
pub use transaction::{CommitReport, GroupMember, Transaction};
pub use upkeep::{ChecksumReport, UpkeepSettings, UpkeepTime};
pub use vacuum::{InventoryFile, Retention, VacuumBuilder, VacuumReport, VacuumScope};
pub use write::{
    ChangeType, ChangeWriter, DataWriter, DataWriterSettings, Evolution, RowOrder, WriteBuilder, WrittenChanges, WrittenFiles,
};

/// Who wrote it, as files and commits say.
pub(crate) const ENGINE_INFO: &str = concat!("boathouse/", env!("CARGO_PKG_VERSION"));
