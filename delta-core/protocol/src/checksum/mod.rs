//! Version checksums: what a table is at a version, in one small file beside the commit.
//!
//! ```text
//!   v.crc ─ parse ─▶ VersionChecksum ─ next(actions of v + 1) ─▶ VersionChecksum ─ to_json ─▶ v+1.crc
//!                          │
//!   replay of the log ─ count_file … ─▶ VersionChecksum ─ differences ─▶ nothing, or what does not agree
//! ```
//! A reader that finds one beside the newest commit knows the schema, the properties and the sums without any file
//! action. It is an aid: what is not sure is left out, and a table without checksums is as right.
//!
//! **Source**: Delta protocol, "Version Checksum File".

mod difference;
mod histogram;
mod next;
mod version_checksum;

pub use difference::ChecksumDifference;
pub use histogram::{DeletedRecordCountsHistogram, FileSizeHistogram};
pub use version_checksum::VersionChecksum;
