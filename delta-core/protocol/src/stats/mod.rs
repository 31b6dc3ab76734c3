//! Statistics of files: what the log knows of their values, and what can be skipped because of it.
//!
//! ```text
//!   writer:  FileStats ─ to_json ─▶ add.stats
//!   reader:  add.stats + add.partitionValues ─ BoundsReader ─▶ FileBounds ─ Predicate::may_match ─▶ skip or read
//! ```
//! A statistic that is missing, odd, or cannot be trusted excludes nothing. In particular:
//! - text is cut to 32 characters on writing, a minimum down and a maximum up;
//! - timestamps have milliseconds in the log: a maximum may stand up to 999 µs too low there, and is raised on reading;
//! - a 32-bit float is rounded to 32 bits on reading, as the rows are; NaN and infinities are no bounds;
//! - decimals with more than 15 digits may have gone through a 64-bit float: their bounds are widened by its error;
//! - with a deletion vector, null counts mean something only when they are 0 or all rows.
//!
//! **Source**: Delta protocol, "Per-file Statistics".

mod bounds;
mod columns;
mod file_stats;
mod quick;
mod read;
mod record;
mod text;
mod write;

pub use bounds::{BoundsReader, FileBounds};
pub use columns::{ColumnPath, indexed_columns};
pub use file_stats::{ColumnStats, FileStats};
pub(crate) use quick::{Chosen, read_chosen};
pub use record::{record_count, with_wide_bounds};
pub use text::{TEXT_LIMIT, truncate_max, truncate_min};
pub use write::bound_text;
