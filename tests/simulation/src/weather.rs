//! How slow and how faulty the store is.

use std::time::Duration;

use boathouse_storage::testing::RandomFaults;

use crate::chance::Chance;

/// How slow and how faulty the store of a schedule is.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    /// The longest usual time of a request, there and back.
    pub(crate) usual_us: u64,
    /// How many of 1,000 requests take much longer.
    pub(crate) slow_per_mille: u64,
    /// Faults of the fault store.
    pub(crate) faults: RandomFaults,
    /// How many of 1,000 writes fail for their sender, and are done later all the same.
    pub(crate) late_per_mille: u64,
    /// How many of 1,000 listings are put together at two moments.
    pub(crate) torn_list_per_mille: u64,
    /// Listings show the store as it was up to so long ago. 0: as it is.
    pub(crate) stale_list_us: u64,
    /// How many of 1,000 processes end at one of their requests.
    pub(crate) crash_per_mille: u64,
    /// The largest error of a clock.
    pub(crate) skew_us: u64,
}

impl Weather {
    /// Nothing goes wrong, and everything is quick.
    pub(crate) fn fine() -> Self {
        let faults = RandomFaults {
            fail_before_per_mille: 0,
            fail_after_per_mille: 0,
            lost_reply_per_mille: 0,
            delay_per_mille: 0,
            max_delay: Duration::ZERO,
        };
        Self {
            usual_us: 1,
            slow_per_mille: 0,
            faults,
            late_per_mille: 0,
            torn_list_per_mille: 0,
            stale_list_us: 0,
            crash_per_mille: 0,
            skew_us: 0,
        }
    }

    /// Whether requests can fail.
    pub(crate) fn is_faulty(&self) -> bool {
        let faults = &self.faults;
        faults.fail_before_per_mille + faults.fail_after_per_mille + faults.lost_reply_per_mille + self.late_per_mille > 0
    }

    pub(crate) fn draw(chance: &Chance) -> Self {
        let calm = chance.per_mille(150);
        let faulty = |most: u64| if calm || chance.per_mille(400) { 0 } else { chance.between(1, most) };
        // In a storm, a request fails more often than not after a few tries.
        let most = if chance.per_mille(100) { 400 } else { 60 };
        let faults = RandomFaults {
            fail_before_per_mille: faulty(most),
            fail_after_per_mille: faulty(most),
            lost_reply_per_mille: faulty(60),
            delay_per_mille: faulty(60),
            max_delay: Duration::from_millis(chance.between(10, 5_000)),
        };
        Self {
            usual_us: chance.weighted(&[(1, 100), (4, 20_000), (2, 400_000)], 20_000),
            slow_per_mille: faulty(80),
            faults,
            late_per_mille: faulty(most),
            torn_list_per_mille: faulty(200),
            stale_list_us: if chance.per_mille(100) { chance.between(1_000, 3_000_000) } else { 0 },
            crash_per_mille: if calm { 0 } else { chance.weighted(&[(1, 0), (1, 200), (1, 600)], 0) },
            skew_us: chance.weighted(&[(1, 0), (2, 5_000_000), (1, 90_000_000)], 0),
        }
    }
}
