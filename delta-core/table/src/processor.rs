//! Work of the processor: little of it here and now, more of it on a thread that may be blocked.
//!
//! A thread costs tens of microseconds before it begins, which is more than a commit of a few rows takes.

use tokio::task::{JoinError, spawn_blocking};

/// Bytes of rows that are little work to encode.
pub(crate) const LITTLE_BYTES: usize = 64 << 10;
/// Actions of the log that are little work to sort and encode.
pub(crate) const LITTLE_ACTIONS: usize = 256;

/// How much there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    /// About a millisecond at most.
    Little,
    Much,
}

impl Amount {
    /// Of encoding rows with so many bytes.
    pub(crate) fn of_bytes(bytes: usize) -> Self {
        if bytes <= LITTLE_BYTES { Self::Little } else { Self::Much }
    }

    /// Of sorting or encoding so many actions of the log.
    pub(crate) fn of_actions(actions: usize) -> Self {
        if actions <= LITTLE_ACTIONS { Self::Little } else { Self::Much }
    }
}

/// Does it, and waits.
///
/// **Errors**: when the thread that does it dies.
pub(crate) async fn compute<T: Send + 'static>(
    amount: Amount,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    match amount {
        Amount::Little => Ok(work()),
        Amount::Much => spawn_blocking(work).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn little_work_stays_on_its_thread_and_much_work_leaves_it() {
        let here = std::thread::current().id();
        let of = |bytes| async move { compute(Amount::of_bytes(bytes), || std::thread::current().id()).await.unwrap() };
        assert_eq!((of(0).await, of(LITTLE_BYTES).await), (here, here));
        assert_ne!(of(LITTLE_BYTES + 1).await, here);
        assert_eq!((Amount::of_actions(LITTLE_ACTIONS), Amount::of_actions(1000)), (Amount::Little, Amount::Much));
    }
}
