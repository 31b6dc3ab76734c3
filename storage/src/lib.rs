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
//! # Features
//! | feature | brings |
//! | --- | --- |
//! | (none) | the local disk and memory |
//! | `s3`, `azure`, `gcs` | that cloud's store |
//! | `testing` | stores that fail, count, and take simulated time |

mod clock;
mod error;
mod location;
#[cfg(feature = "testing")]
mod operation;
mod storage;
mod stores;
mod versioned;

pub use clock::{SystemClock, seeded_env, system_env};
pub use error::{StorageError, kind_of};
pub use location::Location;
#[cfg(feature = "testing")]
pub use operation::Operation;
pub use storage::{ObjectEntry, Storage};
pub use stores::Stores;
pub use versioned::VersionedObject;
