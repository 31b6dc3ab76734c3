//! State on object stores.
//!
//! ```text
//!   "data/lake", "s3://…", "memory://…"
//!        │ Location
//!        ▼
//!     Stores ──▶ Storage (a folder: get, put, put_if_absent, list, delete)
//!                   ├──▶ VersionedObject (a small value with compare-and-set)
//!                   └──▶ anything that takes an ObjectStore
//! ```
//!
//! # What it is not
//! Not a cache and not a file system: there are objects and prefixes, and a folder exists when something is in it.
//!
//! # A story
//! ```
//! use boathouse_base::{DomainError, ErrorKind};
//! use boathouse_storage::{Location, Stores, VersionedObject};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let stores = Stores::new();
//! let lake = stores.open(&Location::parse("memory://lake/bronze")?)?;
//! lake.put("landing/1.json", r#"{"id":1}"#).await?;
//! assert_eq!(lake.list("landing").await?[0].path, "landing/1.json");
//!
//! // Two workers take the next piece of work; one of them gets it.
//! let cursor = VersionedObject::new(&lake, "_state/cursor");
//! cursor.compare_and_set(None, "landing/1.json is taken by worker 1").await?;
//! let late = cursor.compare_and_set(None, "landing/1.json is taken by worker 2").await.unwrap_err();
//! assert_eq!(late.kind(), ErrorKind::Conflict);
//! # Ok::<_, boathouse_storage::StorageError>(()) }).unwrap();
//! ```
//!
//! # Features
//! | feature | brings |
//! | --- | --- |
//! | (none) | the local disk and memory |
//! | `s3`, `azure`, `gcs` | that cloud's store |
//! | `testing` | module `testing`: stores that fail, count, and take simulated time |
//!
//! Options of cloud stores are given by [`Stores::with_options`], or stand in environment variables; a store that is set up
//! in another way is handed in with [`Stores::with_store`].
//!
//! # Durability
//! A write to the local disk is whole or absent for every reader, and survives the end of the process. It is not forced
//! to the disk: after a power cut the operating system decides, unless [`Stores::with_synced_writes`] says otherwise.
//!
//! # What it does not do yet
//! No layers of its own for retries, limits, caching or metering; cloud clients retry by themselves.

mod clock;
mod error;
mod glob;
mod location;
#[cfg(feature = "testing")]
mod operation;
mod storage;
mod store_options;
mod stores;
mod synced;
#[cfg(feature = "testing")]
pub mod testing;
mod versioned;

pub use clock::{SystemClock, seeded_env, system_env};
pub use error::{StorageError, kind_of};
pub use glob::{Glob, GlobError};
pub use location::Location;
#[cfg(feature = "testing")]
pub use operation::Operation;
pub use storage::{ObjectEntry, Storage};
pub use stores::Stores;
pub use versioned::VersionedObject;
