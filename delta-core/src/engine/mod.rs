//! The engine: Delta tables as tables of DataFusion, DELETE, UPDATE and MERGE on them, and OPTIMIZE.
//!
//! ```text
//!   Formula (SQL text or Expr) ─ compile ─▶ Filter ─▶ Predicate ─▶ files that can match
//!                                              │                        │ columns of the condition alone
//!                                              ▼                        ▼
//!                                    rows that match ◀──────────── touched files ─ fate ─▶ remove, mark, or copy
//!                                              │                        │ all columns: of these rows, or of the file
//!                                              └──▶ Output ◀────────────┘
//!                                                     └─ add, cdc ─▶ Transaction ◀─ remove, deletion vectors, what was read
//! ```

mod assign;
mod boxed;
mod cast;
mod copy;
mod delete;
mod error;
mod expressions;
mod ext;
mod fan_out;
mod fate;
mod fit;
mod formula;
mod insert;
mod leaving;
mod merge;
mod nearest;
mod optimize;
mod origins;
mod output;
mod planning;
mod provider;
mod replace;
mod rewrite;
mod scan;
mod spelling;
mod spill;
mod sql;
mod statement;
mod touched;
mod update;
mod upsert;

pub use copy::{
    CopyBuilder, CopyFormat, CopyPreview, CopyReport, CopySettings, CopyValidation, CorruptFiles, CsvFiles, JsonFiles,
    MissingFiles,
};
pub use delete::{DeleteBuilder, DeleteReport};
pub use error::EngineError;
pub use expressions::SparkExpressions;
pub use ext::{DeltaTableExt, register_delta};
pub use fate::RowChangeSettings;
pub use formula::Formula;
pub use merge::{MergeBuilder, MergeDelete, MergeInsert, MergeReport, MergeUpdate};
pub use optimize::{FileSizes, OptimizeBuilder, OptimizeCommits, OptimizeReport, OptimizeSettings};
pub use planning::planned;
pub use provider::DeltaTableProvider;
pub use replace::{ReplaceBuilder, ReplaceReport};
#[cfg(feature = "proto")]
pub use scan::DeltaPlanCodec;
pub use sql::{DeltaSession, StatementReport, delta_sql, session};
pub use update::{UpdateBuilder, UpdateReport};
pub use upsert::UpsertSink;
