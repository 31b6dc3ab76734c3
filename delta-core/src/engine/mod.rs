//! The engine: Delta tables as tables of DataFusion, and DELETE, UPDATE and MERGE on them.
//!
//! ```text
//!   Formula (SQL text or Expr) ─ compile ─▶ Filter ─▶ Predicate ─▶ files that can match
//!                                              │                        │ columns of the condition alone
//!                                              ▼                        ▼
//!                                    rows that match ◀──────────── touched files
//!                                              │                        │ all columns
//!                                              └──▶ DataWriter ◀────────┘
//!                                                       └─ Add ─▶ Transaction ◀─ Remove, what was read
//! ```

mod assign;
mod cast;
mod delete;
mod error;
mod expressions;
mod ext;
mod formula;
mod insert;
mod merge;
mod provider;
mod rewrite;
mod scan;
mod sql;
mod statement;
mod touched;
mod update;

pub use delete::{DeleteBuilder, DeleteReport};
pub use error::EngineError;
pub use expressions::SparkExpressions;
pub use ext::{DeltaTableExt, register_delta};
pub use formula::Formula;
pub use merge::{MergeBuilder, MergeDelete, MergeInsert, MergeReport, MergeUpdate};
pub use provider::DeltaTableProvider;
pub use sql::{StatementReport, delta_sql};
pub use update::{UpdateBuilder, UpdateReport};
