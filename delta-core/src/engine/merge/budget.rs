//! How much of the memory of a session a merge holds before it goes on on disk.

use std::sync::Arc;

use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;

/// The most bytes of each thing that is held: rows of the source, pairs, source rows that are looked up.
const MOST_HELD_BYTES: usize = 32 << 20;
/// The most bytes of pairs that are sorted at once.
const MOST_RUN_BYTES: usize = 3 << 20;
/// With less than that sorts of a join get no pool of their own.
const LEAST_SHARED_BYTES: usize = 8 << 20;

/// What a merge may hold. Where the pool of the session has a limit, each thing takes an eighth of it at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    limit: Option<usize>,
    /// Without temporary files everything is held while the pool has room.
    spills: bool,
}

impl Budget {
    pub(super) fn of(runtime: &RuntimeEnv) -> Self {
        let limit = match runtime.memory_pool.memory_limit() {
            MemoryLimit::Finite(limit) => Some(limit),
            MemoryLimit::Infinite | MemoryLimit::Unknown => None,
        };
        Self { limit, spills: runtime.disk_manager.tmp_files_enabled() }
    }

    /// Whether there are temporary files.
    pub(super) fn spills(&self) -> bool {
        self.spills
    }

    /// The most bytes of one thing in memory.
    pub(super) fn held_bytes(&self) -> usize {
        if self.spills { self.share(8, MOST_HELD_BYTES) } else { usize::MAX }
    }

    /// The most bytes of pairs that are sorted at once.
    pub(super) fn run_bytes(&self) -> usize {
        self.share(64, MOST_RUN_BYTES).max(32 << 10)
    }

    /// How many rows of so many bytes are looked up at once.
    pub(super) fn rows_at_once(&self, row_bytes: usize) -> usize {
        // Looked up rows are there as read, put together, and in their order.
        (self.share(8, MOST_HELD_BYTES) / 3 / row_bytes.max(1)).clamp(1 << 10, 1 << 18)
    }

    fn share(&self, part: usize, most: usize) -> usize {
        self.limit.map_or(most, |limit| most.min(limit / part))
    }

    /// A pool for sorts: most of what is left of the session's, which each gets an equal part of. In a pool where the first one takes
    /// all there is, one side of a join would leave nothing to the other.
    pub(super) fn shared(&self, runtime: &RuntimeEnv) -> Option<(Arc<dyn MemoryPool>, MemoryReservation)> {
        let limit = self.limit?;
        let reserved = MemoryConsumer::new("join of a MERGE").register(&runtime.memory_pool);
        let shares = [limit / 4 * 3, limit / 2, limit / 4].into_iter().filter(|share| *share >= LEAST_SHARED_BYTES);
        let share = shares.into_iter().find(|share| reserved.try_grow(*share).is_ok())?;
        Some((Arc::new(FairSpillPool::new(share)), reserved))
    }
}
