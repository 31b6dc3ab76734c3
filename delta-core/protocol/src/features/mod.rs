//! Table features: what a table may demand, and what this build can do.
//!
//! A table names what a client must be able to do, by version numbers (old) or by feature names (new).
//! A reader refuses what it does not know; a writer as well. On tables of the old kind a version
//! implies many features that nobody uses: there only what is *active* counts, which metadata shows.
//!
//! ```text
//!   FEATURES ── the facts, one row a feature
//!      │
//!      ├── check_read, check_write, check_change ── may we?            protocol, metadata ─▶ fine, or why not
//!      ├── protocol_for, protocol_upgrade ── what must be demanded?    schema, properties ─▶ Protocol
//!      ├── has, is_active, column_mapping ── what is in force?
//!      └── feature_table ── the facts as Markdown: docs/protocol-features.md
//! ```
//!
//! **Source**: Delta protocol, "Table Features", "Valid Feature Names in Table Features", "Writer Version Requirements".

mod active;
mod check;
mod drop;
mod exclusion;
mod negotiate;
mod table;

pub use active::{catalog_feature, column_mapping, has, has_in_commit_timestamps, is_active};
pub use check::{RowChange, check_change, check_read, check_write, records_changes};
pub use drop::{
    CHECKPOINT_PROTECTION, Downgrade, DropProblem, FeatureHistory, FeatureTraces, PROTECTED_BEFORE, ROW_TRACKING_SUSPENDED,
    downgrade, leaves_traces,
};
pub use negotiate::{FEATURE_PREFIX, protocol_for, protocol_upgrade};
pub use table::{Enabled, FEATURES, Feature, FeatureKind, READER_VERSION, WRITER_VERSION, feature, feature_table};
