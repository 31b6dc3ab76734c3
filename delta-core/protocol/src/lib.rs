//! Delta Lake values and decisions, pure: actions, schemas, features, statistics, replay and conflict checks.
//!
//! Everything here is a function from values to values, written against the public Delta protocol. Bytes come in
//! from whoever reads the object store, and go out to whoever writes it.
//!
//! ```text
//!                      log_path::plan_segment          which files make a version
//!                               │
//!   commit bytes ──▶ commit::parse ──▶ actions ──▶ Replay ──▶ TableState: protocol, metadata, txns, domains
//!        │                               │                     │
//!        │              Metadata::schema ▼     features::check ◀
//!        │               schema ◀──▶ Arrow
//!        └──▶ scan ──▶ segments ──▶ files::IndexBuilder ──▶ FileIndex ──▶ BoundsReader ──▶ Predicate::may_match
//!
//!   staged actions ─────────────────────────────▶ conflict::Attempt::check(winner) ──▶ fine, or Conflict
//!         │
//!         └──▶ commit::to_json ──▶ commit bytes
//! ```
//!
//! # What it is not
//! It does no I/O, knows no runtime, and holds no Arrow arrays: only Arrow schemas cross its border. Tables on
//! object stores are the work of `boathouse-delta-table`.
//!
//! # A story
//! ```
//! use boathouse_base::{Comparison, Predicate};
//! use boathouse_delta_protocol::scan::{CommitScan, CommitScanner, Wanted};
//! use boathouse_delta_protocol::{features, files::IndexBuilder, replay::Replay, schema::ColumnMappingMode, stats::BoundsReader};
//!
//! // Two commits, as they stand in `_delta_log`.
//! let created = br#"{"commitInfo":{"timestamp":1700000000000,"operation":"CREATE TABLE"}}
//! {"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
//! {"metaData":{"id":"5fba94ed-9794-4965-ba6e-6ee3c0d22af9","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"delay\",\"type\":\"integer\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[],"configuration":{}}}
//! "#;
//! let written = br#"{"add":{"path":"early.parquet","partitionValues":{},"size":9,"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":2,\"maxValues\":{\"delay\":5}}"}}
//! {"add":{"path":"late.parquet","partitionValues":{},"size":9,"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":2,\"maxValues\":{\"delay\":95}}"}}
//! "#;
//! let scan = |version, bytes: &[u8]| {
//!     let mut scanner = CommitScanner::new(version, Wanted::Everything);
//!     scanner.scan(bytes)?;
//!     scanner.finish()
//! };
//! let commits = [scan(0, created)?, scan(1, written)?];
//! let mut replay = Replay::new();
//! for CommitScan { version, head, .. } in &commits {
//!     replay.apply_commit(*version, head.clone())?;
//! }
//! let table = replay.finish()?;
//! features::check_read(&table.protocol)?;
//! let mut index = IndexBuilder::new();
//! commits.into_iter().rev().try_for_each(|commit| index.commit(commit))?;
//! let files = index.finish();
//!
//! // Which files can hold a delay above 30 minutes?
//! let late = Predicate::compare("delay", Comparison::Gt, 30);
//! let schema = table.metadata.schema()?;
//! let reader = BoundsReader::for_predicates(&schema, &[], ColumnMappingMode::None, [&late]);
//! let files: Vec<_> = files.iter().filter(|f| late.may_match(&reader.of_file(f))).map(|f| f.path()).collect();
//! assert_eq!(files, ["late.parquet"]);
//! # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
//! ```
//!
//! # What it does not do yet
//! - Collations are kept, and not applied.

pub mod action;
pub mod changes;
pub mod checksum;
pub mod clustering;
pub mod commit;
pub mod compaction;
pub mod conflict;
pub mod deletion_vector;
mod error;
pub mod features;
pub mod files;
mod literal;
pub mod log_path;
pub mod partition;
pub mod properties;
pub mod replay;
pub mod rules;
pub mod scan;
pub mod schema;
pub mod stats;

pub use error::{Access, ChecksumProblem, DeletionVectorProblem, ProtocolError, Result};
