//! What experiment tracking and the model registry share: the MLflow wire, and the database behind it.
//!
//! ```text
//!   HTTP request ─▶ WireRequest ─▶ Params ─┐                       ┌─▶ SQLite file
//!                                          ├─▶ a store ─▶ Sql ─▶ Database
//!   "metrics.auc > 0.9" ─▶ Filter ─▶ SearchSchema ─▶ condition     └─▶ PostgreSQL
//!                                          │
//!   HTTP answer  ◀─ Object / HttpError ◀───┘
//! ```
//!
//! # What it is not
//! It knows no run, no model and no route: those are `boathouse-mltrack` and `boathouse-registry`. It is not a general
//! database layer either: three types of cells, one statement at a time.
//!
//! # One story
//! ```
//! use boathouse_mlwire::{Filter, Operand, Operator};
//!
//! let filter: Filter = "metrics.auc >= 0.9 AND params.`learning rate` = '0.1'".parse()?;
//! assert_eq!(filter.comparisons[1].key.name, "learning rate");
//! assert_eq!(filter.comparisons[0].operator, Operator::GreaterOrEqual);
//! assert_eq!(filter.comparisons[0].operand, Operand::Float(0.9));
//!
//! let error = "metrics.auc >= 0.9 OR metrics.auc < 0.1".parse::<Filter>().unwrap_err();
//! assert!(error.to_string().contains("at character 20: found `OR`, expected AND"), "{error}");
//! # Ok::<(), boathouse_mlwire::Error>(())
//! ```
//!
//! # Features
//! - `http` (default): [`WireRequest`] and [`HttpError`] for axum.
//!
//! # What it does not do yet
//! - Page tokens hold an offset: rows added between two pages can shift what the second one shows.
//! - `ILIKE` on SQLite folds ASCII letters only.

mod database;
mod error;
mod filter;
#[cfg(feature = "http")]
mod http;
mod object;
mod page;
mod params;
mod search;

pub use database::{Bind, Database, Dialect, Migration, Row, Sql, Transaction};
pub use error::{Error, Result};
pub use filter::{Comparison, Direction, Filter, Key, Operand, Operator, OrderBy};
#[cfg(feature = "http")]
pub use http::{HttpError, HttpResult, MAX_BODY_BYTES, WireRequest, empty};
pub use object::{Field, Object};
pub use page::Page;
pub use params::Params;
pub use search::{Attribute, Group, Keys, SearchSchema, Usage, ValueKind};
