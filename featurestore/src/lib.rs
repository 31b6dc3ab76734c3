//! Feature tables, point-in-time training sets and online lookup.
//!
//! ```text
//!                      write (upsert)                       publish
//!   rows ──▶ FeatureStore ──▶ feature table (any Table) ──────────────▶ OnlineStore ──▶ lookup by key
//!                                   │                                        ▲
//!   labels ──▶ training_set ────────┤ as of each label's time                │
//!                                   ▼                                        │
//!                             TrainingSet ──▶ FeatureSpec ───────────────────┘ the same columns
//!                             rows + versions read
//! ```
//!
//! A **feature table** is a table whose rows say: *these are the features of this key, from this time on*. Which
//! columns are keys and time is written down once, and every later step follows it.
//!
//! A **training set** gives each label the newest feature row of its key that is not from the label's future, always
//! one row for each label, in their order. The exact rules stand below.
//!
//! The **online store** holds the newest row of each key in memory, backed by durable segments, and answers in
//! microseconds. A [`FeatureSpec`] that a training set leaves behind gives a model the same columns there.
//!
//! # What it is not
//! It computes no features: pipelines and queries do, and write them here. It knows no table format: it is handed
//! a [`TableResolver`](boathouse_base::TableResolver).
//!
//! # A story
//! ```
//! use std::sync::Arc;
//! use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
//! use arrow_array::{cast::AsArray, types::Float64Type};
//! use boathouse_base::{Env, ManualClock, memory::MemoryTables};
//! use boathouse_featurestore::{FeatureLookupSpec, FeatureStore, OnlineStore};
//! use boathouse_storage::Storage;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let hour = 3_600_000_000_i64;
//! let env = Env::new(ManualClock::starting_at_us(10 * hour), 7);
//! let storage = Storage::memory();
//! let store = FeatureStore::new(Arc::new(MemoryTables::new(env.clone())), &storage, env.clone());
//!
//! // The weather at an airport holds until the next report.
//! let weather = RecordBatch::try_from_iter([
//!     ("origin", Arc::new(StringArray::from(vec!["JFK", "JFK", "LGA"])) as ArrayRef),
//!     ("time", Arc::new(TimestampMicrosecondArray::from(vec![hour, 3 * hour, 2 * hour])) as ArrayRef),
//!     ("wind", Arc::new(Float64Array::from(vec![5.0, 25.0, 12.0])) as ArrayRef),
//! ])?;
//! let table = store
//!     .create_table("weather")
//!     .primary_keys(["origin"])
//!     .timestamp_key("time")
//!     .schema(weather.schema())
//!     .run()
//!     .await?;
//! store.write("weather", weather).run().await?;
//!
//! // A flight at two o'clock must not see the wind of three o'clock.
//! let flights = RecordBatch::try_from_iter([
//!     ("departs", Arc::new(TimestampMicrosecondArray::from(vec![4 * hour, 2 * hour, hour])) as ArrayRef),
//!     ("origin", Arc::new(StringArray::from(vec!["JFK", "JFK", "LGA"])) as ArrayRef),
//! ])?;
//! let training_set =
//!     store.training_set(flights).timestamp("departs").lookup(FeatureLookupSpec::new("weather")).run().await?;
//! let wind = training_set.batches()[0].column_by_name("wind").unwrap().as_primitive::<Float64Type>();
//! assert_eq!(wind.iter().collect::<Vec<_>>(), [Some(25.0), Some(5.0), None]);
//! assert_eq!(training_set.lookups()[0].version, 1, "which version of the weather it was");
//!
//! // Online, the newest is all there is.
//! let online = OnlineStore::open(&storage, env).await?;
//! online.publish(&table).run().await?;
//! let request = RecordBatch::try_from_iter([("origin", Arc::new(StringArray::from(vec!["LGA", "BOS"])) as ArrayRef)])?;
//! let now = online.get("weather", &request)?;
//! assert_eq!(now.column(0).as_primitive::<Float64Type>().value(0), 12.0);
//! assert!(now.column(0).is_null(1), "nothing is known of Boston");
//! # Ok(()) })
//! # }
//! ```
//!
//! # Rules of the point-in-time join
//! | case | a label gets |
//! | --- | --- |
//! | a row of exactly its time | that row; the one before with [`FeatureLookupSpec::strictly_before`] |
//! | a row whose age is exactly [`max_age`](FeatureLookupSpec::max_age) | that row; older ones are not found |
//! | only rows of later times | nulls; the label stays |
//! | two rows with one key and time | the one whose features are greater, compared column by column in table order, null lowest |
//! | a null feature in the newest row | null: older values do not shine through |
//! | a null in its key, or no time | nulls; both are counted in the [`LookupReport`] |
//! | the same label twice | the same row twice |
//!
//! Times of other units are compared exactly. A time with a zone and one without have no common order: an error.
//! The same rules choose the row that is published.
//!
//! **Cost**: O((n + m) log(n + m)) for n labels and m rows, one pass when the table grows with time; the labels and
//! the rows of their keys in memory.
//!
//! # Features
//! | feature | brings |
//! | --- | --- |
//! | `offline` (default) | DataFusion frames as labels, training sets as frames |
//!
//! # What it does not do yet
//! - Features that a stream keeps fresh between publications, and windows computed here.
//! - On-demand functions of request and feature values.
//! - Incremental publication: each one reads the table once, and writes the newest row of every key.
//! - Other online stores (Redis, Postgres), and tables greater than memory.
//! - Reading what was known at a time (bitemporal tables): a row counts from its own time on, whenever it was written.
//! - Joins greater than memory.

mod as_of;
mod conform;
mod create;
mod definition;
mod error;
mod instant;
mod key_index;
mod lookup_spec;
#[cfg(feature = "offline")]
mod offline;
mod online;
mod store;
mod training_set;
mod write;

pub use create::CreateFeatureTable;
pub use definition::FeatureTableDefinition;
pub use error::{FeatureError, Result};
pub use lookup_spec::{AsOf, FeatureLookupSpec, FeatureSpec};
pub use online::{OnlineStore, OnlineTableStatus, PublishFeatures, PublishReport, SpecLookup};
pub use store::{FeatureStore, FeatureTable};
pub use training_set::{BuildTrainingSet, Labels, LookupReport, TrainingSet};
pub use write::{FeatureWriteMode, FeatureWriteReport, WriteFeatures};
