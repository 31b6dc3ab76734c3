//! Where rows go that are not a table: folders of files, functions, the console, and nowhere.
//!
//! | sink | after a crash |
//! | --- | --- |
//! | [`FileSink`] | each row once: an epoch is in the folder's log or it is not |
//! | [`JournaledSink`] over a [`BatchWriter`]: [functions](ForeachBatch), the [console](ConsoleWriter) | the epoch that was at work is given again, with its number and the same rows |
//! | [`NoopSink`] | nothing is kept |

mod batch_writer;
mod console;
mod error;
mod files;
mod journal;
mod journaled;
mod noop;

pub use batch_writer::{BatchWriter, EpochBatch, ForeachBatch};
pub use console::{ConsoleOptions, ConsoleWriter};
pub use error::{FileError, SinkError};
pub use files::{FileFormat, FileSink};
pub use journaled::JournaledSink;
pub use noop::NoopSink;
