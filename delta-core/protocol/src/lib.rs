//! Delta Lake values and decisions, pure: actions, schemas, features, statistics, replay and conflict checks.
//!
//! Everything here is a function from values to values, written against the public Delta protocol. Bytes come in
//! from whoever reads the object store, and go out to whoever writes it.
//!
//! ```text
//!                      log_path::plan_segment          which files make a version
//!                               │
//!   commit bytes ──▶ commit::parse ──▶ actions ──▶ Replay ──▶ TableState ──▶ checkpoint actions
//!                                        │                    │  │  │
//!                       Metadata::schema ▼    features::check ◀  │  ▼ files: BoundsReader ──▶ Predicate::may_match
//!                        schema ◀──▶ Arrow                       ▼
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
//! use boathouse_delta_protocol::{commit, features, replay::Replay, schema::ColumnMappingMode, stats::BoundsReader};
//!
//! // Two commits, as they stand in `_delta_log`.
//! let created = br#"{"commitInfo":{"timestamp":1700000000000,"operation":"CREATE TABLE"}}
//! {"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
//! {"metaData":{"id":"5fba94ed-9794-4965-ba6e-6ee3c0d22af9","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"delay\",\"type\":\"integer\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[],"configuration":{}}}
//! "#;
//! let written = br#"{"add":{"path":"early.parquet","partitionValues":{},"size":9,"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":2,\"maxValues\":{\"delay\":5}}"}}
//! {"add":{"path":"late.parquet","partitionValues":{},"size":9,"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":2,\"maxValues\":{\"delay\":95}}"}}
//! "#;
//! let mut replay = Replay::new();
//! replay.apply_commit(0, commit::parse(0, created)?)?;
//! replay.apply_commit(1, commit::parse(1, written)?)?;
//! let table = replay.finish()?;
//! features::check_read(&table.protocol)?;
//!
//! // Which files can hold a delay above 30 minutes?
//! let late = Predicate::compare("delay", Comparison::Gt, 30);
//! let schema = table.metadata.schema()?;
//! let reader = BoundsReader::for_predicates(&schema, &[], ColumnMappingMode::None, [&late]);
//! let files: Vec<_> = table.files.iter().filter(|f| late.may_match(&reader.of_add(f))).map(|f| f.path.as_str()).collect();
//! assert_eq!(files, ["late.parquet"]);
//! # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
//! ```
//!
//! # What it does not do yet
//! - Files are kept one value each; a columnar index, and parsing without copies, come later.
//! - V2 checkpoints are only read: actions and names are here, nothing plans sidecars.
//! - Conflicts are found by file: two deletions of different rows of one file do conflict. Row tracking and
//!   in-commit timestamps are not rebased, so such tables are not written to (see [`features`]).
//! - Compacted commits are recognised by name, and not used.
//! - Variant columns, and collations, are not read.

pub mod action;
pub mod checksum;
pub mod commit;
pub mod conflict;
pub mod deletion_vector;
mod error;
pub mod features;
mod literal;
pub mod log_path;
pub mod partition;
pub mod properties;
pub mod replay;
pub mod schema;
pub mod stats;

pub use error::{Access, ChecksumProblem, DeletionVectorProblem, ProtocolError, Result};
