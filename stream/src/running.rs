//! A query that is open: it makes one epoch after another.
//!
//! # An epoch
//! ```text
//!   plan ─▶ read ─▶ segments and operators ─▶ write state ─▶ sink.commit(rows + position) ─▶ copy, clean, tell sources
//!                                                              │
//!                                              the only step that decides
//! ```
//! Before the commit nothing refers to what was written; after it, everything left is advice. So the query needs no log
//! of its own: two writes (state, sink) never become three.
//!
//! An epoch that failed may or may not be in the sink (an answer can be lost). The query then forgets where it was and
//! asks the sink at the next step. The same holds for a step whose future was dropped.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use boathouse_base::{Offset, OutputMode, PlannedBatch, ReadLimit};

use crate::crash::CrashPoint;
use crate::definition::{Definition, NamedSource};
use crate::error::StreamError;
use crate::listener::Told;
use crate::place::{Place, PlannedEpoch};
use crate::position::Position;
use crate::progress::{EpochProgress, RunReport};
use crate::watermarks::Activity;

/// Reports that are kept.
pub(crate) const REPORTS: usize = 100;

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepOutcome {
    /// An epoch was committed.
    Epoch(Box<EpochProgress>),
    /// There is nothing to do.
    Idle,
}

/// A query that knows where it is.
///
/// Only one run of a query should be open at a time. When there are two, each epoch is committed by one of them, and the
/// other fails with [`ConcurrentRun`](StreamError::ConcurrentRun): no row is lost or doubled.
pub struct RunningQuery {
    pub(crate) definition: Arc<Definition>,
    pub(crate) query_id: String,
    pub(crate) run_id: String,
    /// `None` after a failure: the sink must be asked.
    pub(crate) place: Option<Place>,
    pub(crate) reports: VecDeque<EpochProgress>,
    pub(crate) last_began_us: Option<u64>,
    pub(crate) rows_so_far: Arc<AtomicU64>,
    /// How long the sources took to say what is new, for the next report.
    pub(crate) asked_us: u64,
    pub(crate) is_dead: bool,
    /// Which event times have fallen silent.
    pub(crate) activity: Activity,
    pub(crate) told: Told,
}

impl RunningQuery {
    pub(crate) async fn open(definition: Definition, query_id: String) -> Result<Self, StreamError> {
        let run_id = definition.env.uuid();
        let activity = Activity::new(definition.idle_timeout, definition.env.monotonic_us());
        let mut query = Self {
            definition: Arc::new(definition),
            query_id,
            run_id,
            place: None,
            reports: VecDeque::new(),
            last_began_us: None,
            rows_so_far: Arc::default(),
            asked_us: 0,
            is_dead: false,
            activity,
            told: Told::default(),
        };
        let place = query.find_place().await?;
        if let Some(last) = &place.last {
            let tidied = query.definition.checkpoint.delete_leftovers(last).await;
            query.advice("delete what a crash has left", tidied);
        }
        query.check_change(&place).await?;
        query.place = Some(place);
        query.tell_started();
        Ok(query)
    }

    /// The query's identity over all its runs: the `appId` of its commits.
    pub fn query_id(&self) -> &str {
        &self.query_id
    }

    /// This run.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The last reports, newest last; at most 100.
    pub fn recent_progress(&self) -> impl ExactSizeIterator<Item = &EpochProgress> {
        self.reports.iter()
    }

    /// The newest report of this run.
    pub fn last_progress(&self) -> Option<&EpochProgress> {
        self.reports.back()
    }

    /// The last epoch that is known to be committed.
    pub fn last_epoch(&self) -> Option<u64> {
        self.place.as_ref().and_then(|place| place.last.as_ref()).map(|last| last.epoch)
    }

    /// Makes one epoch, if there is something new: rows, or results that the watermark has made final.
    ///
    /// May be dropped: the epoch is then committed or not, and the next step finds out.
    ///
    /// **Errors**: of the sources, the sink, the transformation and the stores, by their kind; `Conflict` when another run
    /// of the query has committed the epoch. The next step goes on from what is committed.
    pub async fn step(&mut self) -> Result<StepOutcome, StreamError> {
        let outcome = self.step_once().await;
        self.noted(outcome)
    }

    async fn step_once(&mut self) -> Result<StepOutcome, StreamError> {
        if let Some(begun) = self.plan_begun().await? {
            return Ok(StepOutcome::Epoch(Box::new(self.step_over(begun).await?)));
        }
        let limit = self.definition.read_limit;
        match self.plan_next(limit).await? {
            Some(planned) => Ok(StepOutcome::Epoch(Box::new(self.step_over(planned).await?))),
            None => self.step_no_data().await,
        }
    }

    pub(crate) fn definition(&self) -> &Definition {
        &self.definition
    }

    /// What the epoch reads that was begun and not ended.
    pub(crate) async fn plan_begun(&mut self) -> Result<Option<PlannedEpoch>, StreamError> {
        let place = self.take_place().await?;
        let planned = place.begun.as_ref().map(|begun| self.ranges_of(begun));
        self.place = Some(place);
        Ok(planned)
    }

    fn ranges_of(&self, begun: &Position) -> PlannedEpoch {
        let of = |source: &NamedSource| {
            let range = begun.sources.iter().find(|range| range.name == source.name && range.start != range.end)?;
            // What is after it is asked for when it is done.
            Some(PlannedBatch { end: range.end()?, files: 0, bytes: 0, more: true })
        };
        PlannedEpoch(self.definition.sources.iter().map(of).collect())
    }

    /// What the sources have after where the query is; `None`: nothing.
    pub(crate) async fn plan_next(&mut self, limit: ReadLimit) -> Result<Option<PlannedEpoch>, StreamError> {
        let place = self.take_place().await?;
        let offsets: Vec<Option<Offset>> = self.definition.sources.iter().map(|source| place.offset(&source.name)).collect();
        let epoch = place.epoch();
        self.place = Some(place);
        let asked_us = self.definition.env.monotonic_us();
        let mut planned = Vec::with_capacity(offsets.len());
        for (source, offset) in self.definition.sources.iter().zip(&offsets) {
            let next = source.source.plan(offset.as_ref(), limit).await.map_err(|error| StreamError::Source {
                attempt: format!("plan epoch {epoch}"),
                query: self.definition.name.clone(),
                source: error,
            });
            planned.push(next?);
        }
        self.asked_us = self.definition.env.monotonic_us().saturating_sub(asked_us);
        Ok(planned.iter().any(Option::is_some).then_some(PlannedEpoch(planned)))
    }

    /// An epoch over ranges that [`plan_next`](Self::plan_next) gave.
    pub(crate) async fn step_over(&mut self, planned: PlannedEpoch) -> Result<EpochProgress, StreamError> {
        let mut place = self.take_place().await?;
        let progress = self.advance(&mut place, planned).await?;
        self.place = Some(place);
        Ok(progress)
    }

    /// An epoch without rows, if the watermark has moved since results were last given, or a timer is due.
    pub(crate) async fn step_no_data(&mut self) -> Result<StepOutcome, StreamError> {
        let mut place = self.take_place().await?;
        let has_moved = self.watermark_us(&place) > place.late_us();
        let is_due = place.is_due(self.definition.env.now_us());
        if !place.remembers() || self.definition.output_mode == OutputMode::Complete || !(has_moved || is_due) {
            self.place = Some(place);
            self.tell_idle();
            return Ok(StepOutcome::Idle);
        }
        let nothing = PlannedEpoch(vec![None; self.definition.sources.len()]);
        let progress = self.advance(&mut place, nothing).await?;
        self.place = Some(place);
        Ok(StepOutcome::Epoch(Box::new(progress)))
    }

    /// The watermark that an epoch after the last one is made by: event times that have fallen silent do not count.
    pub(crate) fn watermark_us(&self, place: &Place) -> Option<i64> {
        let last = place.last.as_ref()?;
        let now_us = self.definition.env.monotonic_us();
        let followed: Vec<(Option<i64>, bool)> =
            last.followed_us.iter().map(|(name, us)| (*us, self.activity.is_idle(name, now_us))).collect();
        last.next_watermark_us.max(self.definition.watermark_policy.choose(&followed))
    }

    pub(crate) fn begin_report(&self) -> RunReport {
        RunReport {
            query_id: self.query_id.clone(),
            last_epoch: self.last_epoch(),
            watermark_us: self.place.as_ref().and_then(Place::watermark_us),
            // Until the end: when it began.
            duration_us: self.definition.env.monotonic_us(),
            ..RunReport::default()
        }
    }

    pub(crate) fn end_report(&self, mut report: RunReport) -> RunReport {
        report.duration_us = self.definition.env.monotonic_us().saturating_sub(report.duration_us);
        report
    }

    fn check_alive(&self) -> Result<(), StreamError> {
        match self.is_dead {
            false => Ok(()),
            true => Err(StreamError::Crashed { point: CrashPoint::AfterSourceCommit, epoch: self.last_epoch().unwrap_or(0) }),
        }
    }

    /// Where the query is, taken out: an epoch that does not end leaves nothing that could be wrong.
    pub(crate) async fn take_place(&mut self) -> Result<Place, StreamError> {
        self.check_alive()?;
        match self.place.take() {
            Some(place) => Ok(place),
            None => self.find_place().await,
        }
    }

    pub(crate) fn advice<E: fmt::Display>(&self, step: &'static str, result: Result<(), E>) {
        if let Err(error) = result {
            tracing::warn!(query = %self.definition.name, step, %error, "the epoch is committed, and this advice was lost");
        }
    }

    pub(crate) fn crashes(&self, point: CrashPoint, epoch: u64) -> bool {
        self.definition.crash_points.as_ref().is_some_and(|points| points.crashes(point, epoch))
    }

    pub(crate) fn crash(&mut self, point: CrashPoint, epoch: u64) -> Result<(), StreamError> {
        if self.crashes(point, epoch) {
            self.is_dead = true;
            return Err(StreamError::Crashed { point, epoch });
        }
        Ok(())
    }
}

impl fmt::Debug for RunningQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningQuery")
            .field("name", &self.definition.name)
            .field("query_id", &self.query_id)
            .field("last_epoch", &self.last_epoch())
            .finish_non_exhaustive()
    }
}
