//! Delta Lake for Rust: tables, transactions and the DataFusion engine over them.
//!
//! ```text
//!   DeltaTable ── snapshot, append, overwrite, restore, history …       (boathouse_delta_table)
//!       │
//!       ├── delete, update, merge ── builders; rows are marked as deleted, changed ones written, in one commit
//!       ├── optimize, purge ── small files put together, rows in the order of a curve, what was deleted taken out
//!       ├── changes ── which rows came, left and became others, version by version
//!       ├── DeltaTableProvider ── a table of DataFusion: its own Parquet scans, deletion vectors as selections, INSERT INTO
//!       │        └── DeltaSession, delta_sql ── Delta's SQL
//!       └── DeltaSource ── the rows that come, or every change, as a stream
//! ```
//!
//! This crate is the face of Delta: it re-exports the [tables](table) and the [protocol].
//!
//! # Features
//! | feature | brings |
//! | --- | --- |
//! | `datafusion` (default) | the engine: queries, DELETE, UPDATE, MERGE, OPTIMIZE, SQL |
//! | `proto` | scans as bytes, for engines that run a plan elsewhere: `DeltaPlanCodec` |
//!
//! # What it does not do yet
//! - MERGE holds the matching pairs in memory, within the pool of the session; its source goes to disk when the pool is used up.
//! - New tables of SQL have deletion vectors; those of [`DeltaTable::create`] and `create_if_absent` when the property
//!   `delta.enableDeletionVectors` asks for them: without, DELETE, UPDATE and MERGE copy the files that they touch.
//! - [`DeltaTable::append`] does not put small files together where the table asks for it (`delta.autoOptimize.autoCompact`), as statements do:
//!   call `auto_compact` behind it. Nor does it gather the rows of a partition (`delta.autoOptimize.optimizeWrite`), as INSERT does.
//! - Fields within a struct cannot be set one by one.
//! - SQL has no subqueries in MERGE; in DELETE and UPDATE those that read columns from outside where the engine can make joins of them.
//! - COPY INTO reads Parquet, CSV and JSON, and no compressed text.
//!   DELETE, UPDATE and MERGE go through [`delta_sql`]: DataFusion's own hooks lose conditions that its
//!   optimizer rewrites, so they are refused.
//! - Footers are kept, and page indexes are read each time. Filters on parts of renamed columns stay above the scan.

#[cfg(feature = "datafusion")]
mod engine;
mod source;

pub use boathouse_delta_protocol as protocol;
pub use boathouse_delta_table as table;
pub use boathouse_delta_table::*;
#[cfg(feature = "datafusion")]
pub use engine::*;
pub use source::{
    DeltaSource, DeltaSourceError, DeltaSourceOptions, EventTime, OnChange, OnDataLoss, OnNewColumns, StreamRows, StreamStart,
};
