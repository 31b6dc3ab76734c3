//! Which watermark a query has that follows several event times, and which of them have fallen silent.

use std::collections::BTreeMap;
use std::time::Duration;

/// Which of several watermarks is that of the query.
///
/// **Source**: Spark, `spark.sql.streaming.multipleWatermarkPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WatermarkPolicy {
    /// The earliest, once each event time was seen: no row is late because another source was ahead.
    #[default]
    Min,
    /// The latest: results come as early as the fastest source allows, and rows of slower ones may be late.
    Max,
}

impl WatermarkPolicy {
    /// The watermark of event times that say this, each with whether it is idle. `None`: not known yet.
    ///
    /// An idle one does not hold the others back. When all are idle none waits for another, and the latest counts.
    ///
    /// **Source**: Flink, `StatusWatermarkValve`, for what is idle.
    pub(crate) fn choose(self, followed: &[(Option<i64>, bool)]) -> Option<i64> {
        let latest = followed.iter().filter_map(|(us, _)| *us).max();
        let active: Vec<Option<i64>> = followed.iter().filter(|(_, is_idle)| !is_idle).map(|(us, _)| *us).collect();
        match self {
            Self::Max => latest,
            Self::Min if active.is_empty() => latest,
            // Nothing is less than any time: one that was not seen yet holds the query back.
            Self::Min => active.into_iter().min().flatten(),
        }
    }
}

/// When each event time was last seen, by the clock of the run.
///
/// A run begins with all of them awake: what was silent while no run looked says nothing.
#[derive(Debug)]
pub(crate) struct Activity {
    timeout_us: Option<u64>,
    began_us: u64,
    seen_us: BTreeMap<String, u64>,
}

impl Activity {
    /// Without a timeout nothing is ever idle.
    pub(crate) fn new(timeout: Option<Duration>, now_us: u64) -> Self {
        let timeout_us = timeout.map(|timeout| u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX));
        Self { timeout_us, began_us: now_us, seen_us: BTreeMap::new() }
    }

    /// The event time was seen.
    pub(crate) fn see(&mut self, name: &str, now_us: u64) {
        if self.timeout_us.is_some() {
            self.seen_us.insert(name.to_owned(), now_us);
        }
    }

    pub(crate) fn is_idle(&self, name: &str, now_us: u64) -> bool {
        let seen_us = self.seen_us.get(name).copied().unwrap_or(self.began_us);
        self.timeout_us.is_some_and(|timeout_us| now_us.saturating_sub(seen_us) >= timeout_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: (Option<i64>, bool) = (Some(10), false);
    const FAST: (Option<i64>, bool) = (Some(30), false);
    const UNSEEN: (Option<i64>, bool) = (None, false);

    fn idle(one: (Option<i64>, bool)) -> (Option<i64>, bool) {
        (one.0, true)
    }

    #[test]
    fn the_earliest_holds_the_query_back_and_the_latest_does_not() {
        assert_eq!(WatermarkPolicy::Min.choose(&[SLOW, FAST]), Some(10));
        assert_eq!(WatermarkPolicy::Max.choose(&[SLOW, FAST]), Some(30));
        assert_eq!(WatermarkPolicy::Min.choose(&[UNSEEN, FAST]), None);
        assert_eq!(WatermarkPolicy::Max.choose(&[UNSEEN, FAST]), Some(30));
        assert_eq!(WatermarkPolicy::Min.choose(&[]), None);
    }

    #[test]
    fn an_idle_one_is_left_out_and_when_all_are_idle_the_latest_counts() {
        assert_eq!(WatermarkPolicy::Min.choose(&[idle(SLOW), FAST]), Some(30));
        assert_eq!(WatermarkPolicy::Min.choose(&[idle(UNSEEN), FAST]), Some(30));
        assert_eq!(WatermarkPolicy::Min.choose(&[SLOW, idle(FAST)]), Some(10), "the idle one is not asked");
        assert_eq!(WatermarkPolicy::Min.choose(&[idle(SLOW), idle(FAST)]), Some(30));
        assert_eq!(WatermarkPolicy::Min.choose(&[idle(UNSEEN)]), None);
    }

    #[test]
    fn what_was_not_seen_for_the_timeout_is_idle_until_it_is_seen_again() {
        let mut activity = Activity::new(Some(Duration::from_micros(10)), 100);
        assert!(!activity.is_idle("a", 109));
        assert!(activity.is_idle("a", 110));
        activity.see("a", 110);
        assert!(!activity.is_idle("a", 119) && activity.is_idle("b", 119));
        assert!(!Activity::new(None, 0).is_idle("a", u64::MAX), "without a timeout");
    }
}
