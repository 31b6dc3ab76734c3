//! Queries: files of a snapshot as plans of the engine.
//!
//! ```text
//!   Snapshot ─ files(predicate) ─▶ ScanBuilder ─▶ DataSourceExec
//!                                    │               └─ FileScanConfig ─ ParquetSource       nothing but Parquet
//!                                    │                                 └ DeltaFileSource     vectors, ids, variants
//!                                    ├─ statistics   what the log knows of rows and columns
//!                                    ├─ Footers      footers that were read before, by path and size
//!                                    ├─ MetadataParts `_metadata`, of constants, the number of the row and stored row ids
//!                                    └─ DeltaAdapter columns of the table, found in each file
//! ```
//! A plan that any engine of the same family can run needs nothing of ours: `ParquetSource`. Where rows would be wrong
//! without us, the source is a [`DeltaFileSource`](source::DeltaFileSource), which no foreign encoding takes for another.

mod adapter;
mod builder;
#[cfg(feature = "proto")]
mod codec;
mod conform_expr;
mod exec;
mod footers;
mod metadata;
mod partitions;
mod source;
mod statistics;
mod vectors;

pub(crate) use builder::ScanBuilder;
#[cfg(feature = "proto")]
pub use codec::DeltaPlanCodec;
pub(crate) use exec::{DeltaScanExec, Locators, Scan, scan_schema};
pub(crate) use footers::{FooterCache, FooterCaches};
pub(crate) use metadata::{FILE_METADATA, MetadataParts, field as metadata_field, reads_metadata};
pub(crate) use partitions::{matching, reads_only, reads_only_of_files};
pub(crate) use source::DeltaFileSource;
