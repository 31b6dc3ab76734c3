//! How far a long operation is.

use std::fmt;
use std::sync::Arc;

/// What a [`ProgressEvent`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProgressUnit {
    /// Rows.
    Rows,
    /// Bytes.
    Bytes,
    /// Files.
    Files,
    /// Steps of a plan: batches, datasets, versions.
    Steps,
}

/// A step forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressEvent<'a> {
    /// What is being done: `write`, `checkpoint`, `scan`.
    pub phase: &'a str,
    /// So much is done since the phase began.
    pub done: u64,
    /// So much there is to do, where known.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: ProgressUnit,
}

/// Who is told how far a long operation is.
///
/// Called often and from any thread: it must return at once and never block.
pub trait ProgressObserver: Send + Sync {
    /// A step forward.
    fn on_progress(&self, event: ProgressEvent<'_>);
}

impl<F: Fn(ProgressEvent<'_>) + Send + Sync> ProgressObserver for F {
    fn on_progress(&self, event: ProgressEvent<'_>) {
        self(event);
    }
}

/// A handle on an observer, or on none.
///
/// # Example
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::sync::Arc;
/// use boathouse_base::{Progress, ProgressEvent, ProgressUnit};
///
/// let rows = Arc::new(AtomicU64::new(0));
/// let seen = Arc::clone(&rows);
/// let progress = Progress::new(move |event: ProgressEvent<'_>| seen.store(event.done, Ordering::Relaxed));
/// progress.report("write", 42, None, ProgressUnit::Rows);
/// assert_eq!(rows.load(Ordering::Relaxed), 42);
/// ```
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn ProgressObserver>>);

impl Progress {
    /// Tells `observer`.
    pub fn new(observer: impl ProgressObserver + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    /// Tells nobody.
    pub fn none() -> Self {
        Self(None)
    }

    /// Reports a step.
    pub fn report(&self, phase: &str, done: u64, total: Option<u64>, unit: ProgressUnit) {
        if let Some(observer) = &self.0 {
            observer.on_progress(ProgressEvent { phase, done, total, unit });
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(observed)" } else { "Progress(none)" })
    }
}
