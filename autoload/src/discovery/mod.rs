//! Where new files may be: one trait, and the ways to find them.
//!
//! ```text
//!   quick      LIST after marks │ events of the operating system │ a queue's messages ─┐
//!   thorough   LIST of everything, at the start, every `backfill_interval`, after a loss ─┴─▶ may be new ─▶ ledger: is it?
//! ```
//! A discovery may name a file twice, or one that was read long ago: the ledger decides. What it may not do is to
//! keep silent about a file for ever, and that is what the thorough scan is for.

mod events;
mod finder;
mod folder;
mod listing;
mod s3_event;
mod selection;
#[cfg(feature = "sqs")]
mod sqs;
#[cfg(feature = "sqs")]
mod sqs_error;
mod watch;

use std::fmt;

use boathouse_base::{BoxFuture, Result};
use futures::stream::BoxStream;

pub use events::{EventQueue, MemoryQueue, QueueMessage, QueuedFiles};
pub(crate) use finder::Finder;
pub(crate) use folder::{LocalFolder, facts_of};
pub(crate) use listing::{Listing, facts_of_meta};
pub use s3_event::{S3Events, parse_s3_event};
pub(crate) use selection::Selection;
#[cfg(feature = "sqs")]
pub use sqs::{SqsCredentials, SqsOptions, SqsQueue};
#[cfg(feature = "sqs")]
pub use sqs_error::SqsError;
pub use watch::FolderWatch;

/// What is known of a file without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Its size.
    pub size_bytes: u64,
    /// When it was last written, in microseconds since the Unix epoch (UTC).
    pub modified_us: i64,
    /// The store's tag of this version, without quotes.
    pub etag: Option<String>,
}

/// A file that may be new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    /// Below the landing folder, separated by slashes.
    pub path: String,
    /// Where they cost nothing. They are asked for later where they are missing.
    pub facts: Option<FileFacts>,
}

/// What a scan says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// These files lie there, or lay there a moment ago.
    Files(Vec<FoundFile>),
    /// Something may have been missed: only a thorough scan can tell.
    Lost,
}

/// How hard to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Where new files are likely.
    Quick,
    /// Everywhere.
    Thorough,
}

/// Finds files that may be new.
///
/// # Contract
/// - A scan gives files in any order, and may give the same file any number of times.
/// - It gives what came since the last [`settled`](Self::settled) again until that is called: a queue deletes its
///   messages only then.
/// - It never waits for files to come.
pub trait Discovery: Send + Sync + fmt::Debug {
    /// What it looks at, for messages.
    fn describe(&self) -> String;

    /// Looks.
    fn scan(&self, effort: Effort) -> BoxStream<'_, Result<Sighting>>;

    /// Whatever the scans gave is remembered durably.
    fn settled(&self) -> BoxFuture<'_, Result<()>>;
}
