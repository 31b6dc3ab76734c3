//! When epochs are made: all that is there now, or one after another at an interval.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use boathouse_base::{PlannedBatch, ReadLimit};
use futures::future::select;

use crate::error::StreamError;
use crate::place::PlannedEpoch;
use crate::progress::RunReport;
use crate::running::{RunningQuery, StepOutcome};

/// An idle query with an interval of zero asks its source again after this time.
const POLL: Duration = Duration::from_millis(10);

/// When epochs are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trigger {
    /// Everything that is there at the start, then no more.
    #[default]
    AvailableNow,
    /// One epoch at each multiple of this interval; when an epoch takes longer, the next one begins at once.
    ProcessingTime(Duration),
}

/// How a run knows that it has taken everything that was there when it began.
///
/// Offsets are opaque, so "at or after the end" cannot be asked of them. The unlimited plan at the start says where the
/// end is and how many files lie before it. Limited batches may jump over that end when new files have come; a batch may
/// also begin inside a file that was counted before. So after `n` batches with `f` files in all, at least `f - n` whole
/// files are taken.
#[derive(Debug)]
pub(crate) struct Goal {
    end: PlannedBatch,
    batches: u64,
    files: u64,
}

impl Goal {
    fn new(end: PlannedBatch) -> Self {
        Self { end, batches: 0, files: 0 }
    }

    fn is_reached_by(&mut self, batch: &PlannedBatch) -> bool {
        self.batches += 1;
        self.files += batch.files;
        let has_jumped = self.end.files > 0 && self.files >= self.end.files + self.batches;
        batch.end == self.end.end || has_jumped || !batch.more
    }
}

/// The goals of all sources, in their order.
#[derive(Debug)]
pub(crate) struct Goals {
    sources: Vec<Option<Goal>>,
}

impl Goals {
    fn new(ends: &PlannedEpoch) -> Self {
        Self { sources: ends.0.iter().map(|end| end.clone().map(Goal::new)).collect() }
    }

    /// What is to be read when nothing limits an epoch.
    fn ends(&self) -> PlannedEpoch {
        PlannedEpoch(self.sources.iter().map(|goal| goal.as_ref().map(|goal| goal.end.clone())).collect())
    }

    /// Leaves out what lies beyond the goals; `None` when nothing is left.
    fn within(&self, planned: PlannedEpoch) -> Option<PlannedEpoch> {
        let wanted: Vec<_> =
            planned.0.into_iter().zip(&self.sources).map(|(next, goal)| next.filter(|_| goal.is_some())).collect();
        wanted.iter().any(Option::is_some).then_some(PlannedEpoch(wanted))
    }

    /// Whether the epoch that is about to be made is the last one; a goal that is reached is forgotten.
    fn are_reached_by(&mut self, planned: &PlannedEpoch) -> bool {
        for (goal, next) in self.sources.iter_mut().zip(&planned.0) {
            let is_reached = match (goal.as_mut(), next) {
                // The source has limits of its own: its end was not known.
                (Some(goal), Some(next)) if goal.end.more => !next.more,
                (Some(goal), Some(next)) => goal.is_reached_by(next),
                (Some(_), None) => true,
                (None, _) => false,
            };
            if is_reached {
                *goal = None;
            }
        }
        self.sources.iter().all(Option::is_none)
    }
}

impl RunningQuery {
    /// Makes epochs until everything is committed that the source held when this was called, and until windows are
    /// emitted that are then closed.
    ///
    /// A source that is asked without limits and still says that there is more (it has limits of its own) is read until
    /// it has nothing new.
    ///
    /// **Errors**: of the first epoch that fails. Everything before it is committed; calling again goes on from there.
    pub async fn run_available_now(&mut self) -> Result<RunReport, StreamError> {
        self.run_goal(std::future::pending()).await
    }

    /// Makes epochs as the query's [`Trigger`] says, until `shutdown` resolves or the trigger has no more to do.
    ///
    /// The epoch at hand is finished first.
    ///
    /// **Errors**: of the first epoch that fails. Calling again goes on from what is committed.
    pub async fn run_until(&mut self, shutdown: impl Future<Output = ()>) -> Result<RunReport, StreamError> {
        let mut shutdown = pin!(shutdown);
        let Trigger::ProcessingTime(interval) = self.definition().trigger else {
            return self.run_goal(shutdown).await;
        };
        let mut report = self.begin_report();
        let env = self.definition().env.clone();
        let interval_us = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
        let first_us = env.monotonic_us();
        loop {
            if is_ready(shutdown.as_mut()).await {
                return Ok(self.end_report(report));
            }
            let outcome = self.step().await?;
            if let StepOutcome::Epoch(progress) = &outcome {
                report.add(progress);
            }
            let elapsed_us = env.monotonic_us().saturating_sub(first_us);
            let wait = match (interval_us, &outcome) {
                (0, StepOutcome::Idle) => POLL,
                (0, StepOutcome::Epoch(_)) => continue,
                _ => Duration::from_micros(interval_us - elapsed_us % interval_us),
            };
            if matches!(select(shutdown.as_mut(), env.sleep(wait)).await, futures::future::Either::Left(_)) {
                return Ok(self.end_report(report));
            }
        }
    }

    async fn run_goal(&mut self, shutdown: impl Future<Output = ()>) -> Result<RunReport, StreamError> {
        let mut shutdown = pin!(shutdown);
        let mut report = self.begin_report();
        let mut goal = None;
        loop {
            let outcome = self.step_to_goal(&mut goal, &mut report).await;
            if !self.noted(outcome)? {
                break;
            }
            if is_ready(shutdown.as_mut()).await {
                break;
            }
        }
        Ok(self.end_report(report))
    }

    /// One epoch towards the goal; `false` when there is nothing left to do.
    async fn step_to_goal(&mut self, goal: &mut Option<Option<Goals>>, report: &mut RunReport) -> Result<bool, StreamError> {
        if let Some(begun) = self.plan_begun().await? {
            report.add(&self.step_over(begun).await?);
            return Ok(true);
        }
        let limit = self.definition().read_limit;
        if goal.is_none() {
            *goal = Some(self.plan_next(ReadLimit::default()).await?.map(|ends| Goals::new(&ends)));
        }
        let Some(Some(target)) = goal else {
            // The rows are taken. What is left are results that they have made final.
            return self.step_without_rows(report).await;
        };
        let is_unlimited = limit == ReadLimit::default();
        let planned = if is_unlimited { Some(target.ends()) } else { self.plan_next(limit).await? };
        let Some(planned) = planned.and_then(|planned| target.within(planned)) else {
            *goal = Some(None);
            return self.step_without_rows(report).await;
        };
        let is_last = target.are_reached_by(&planned);
        let progress = self.step_over(planned).await?;
        report.add(&progress);
        if is_last {
            *goal = Some(None);
        } else if is_unlimited {
            *goal = None;
        }
        Ok(true)
    }

    async fn step_without_rows(&mut self, report: &mut RunReport) -> Result<bool, StreamError> {
        match self.step_no_data().await? {
            StepOutcome::Epoch(progress) => {
                report.add(&progress);
                Ok(true)
            }
            StepOutcome::Idle => Ok(false),
        }
    }
}

/// Whether a future is done now; it is not waited for.
async fn is_ready(mut future: Pin<&mut impl Future<Output = ()>>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use boathouse_base::Offset;

    fn batch(end: &str, files: u64, more: bool) -> PlannedBatch {
        PlannedBatch { end: Offset::new(end), files, bytes: 0, more }
    }

    #[test]
    fn a_goal_is_reached_at_its_end_beyond_it_or_when_nothing_is_left() {
        let mut exact = Goal::new(batch("10", 10, false));
        assert!(!exact.is_reached_by(&batch("4", 4, true)));
        assert!(exact.is_reached_by(&batch("10", 6, true)));
        let mut jumped = Goal::new(batch("10", 10, false));
        assert!(!jumped.is_reached_by(&batch("8", 8, true)));
        assert!(jumped.is_reached_by(&batch("12", 4, true)), "files 11 and 12 came later");
        let mut empty = Goal::new(batch("10", 10, false));
        assert!(empty.is_reached_by(&batch("9", 9, false)), "nothing is left at all");
    }

    #[test]
    fn a_file_that_is_read_in_parts_is_not_taken_for_the_end() {
        let mut goal = Goal::new(batch("10", 1, false));
        assert!(!goal.is_reached_by(&batch("3", 1, true)));
        assert!(!goal.is_reached_by(&batch("6", 1, true)));
        assert!(goal.is_reached_by(&batch("10", 1, true)));
    }
}
