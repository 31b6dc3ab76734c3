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

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use boathouse_base::{Offset, OutputMode, PlannedBatch, ReadLimit};
use datafusion::arrow::datatypes::SchemaRef;

use crate::crash::CrashPoint;
use crate::error::StreamError;
use crate::evolution::{OperatorRef, adopt, check};
use crate::graph::Graph;
use crate::listener::Told;
use crate::position::{Position, resume};
use crate::progress::{EpochProgress, RunReport};
use crate::query::Definition;
use crate::state::OverBy;
use crate::watermarks::Activity;
use crate::{planning, transform::plan_error};

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

/// Where the query is, and what it remembers.
pub(crate) struct Place {
    pub(crate) last: Option<Position>,
    /// Where sources begin without a position.
    starts: BTreeMap<String, Offset>,
    /// Planned at the first epoch of a run, with the state of `last`.
    pub(crate) graph: Option<Graph>,
    /// Schemas of the sources, and where the checkpoint has them.
    pub(crate) shapes: Vec<Option<(SchemaRef, Option<String>)>>,
}

/// What the sources have for an epoch, in their order; `None`: nothing new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedEpoch(pub(crate) Vec<Option<PlannedBatch>>);

impl Place {
    pub(crate) fn epoch(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.epoch + 1)
    }

    pub(crate) fn offset(&self, source: &str) -> Option<Offset> {
        match &self.last {
            Some(last) => last.sources.iter().find(|range| range.name == source)?.end(),
            None => self.starts.get(source).cloned(),
        }
    }

    /// The watermark of the last epoch: rows that it has passed are late.
    pub(crate) fn late_us(&self) -> Option<i64> {
        self.last.as_ref().and_then(|last| last.watermark_us)
    }

    /// The watermark after the last epoch: what it has passed is over.
    pub(crate) fn watermark_us(&self) -> Option<i64> {
        self.last.as_ref().and_then(|last| last.next_watermark_us)
    }

    /// When the last epoch began.
    pub(crate) fn timestamp_us(&self) -> i64 {
        self.last.as_ref().map_or(i64::MIN, |last| last.timestamp_us)
    }

    /// Whether an operator has something to do at this time, even if no rows come.
    fn is_due(&self, now_us: i64) -> bool {
        self.last.as_ref().and_then(|last| last.wake_us).is_some_and(|wake_us| wake_us < now_us)
    }

    fn remembers(&self) -> bool {
        match &self.graph {
            Some(graph) => graph.is_stateful(),
            None => self.last.as_ref().is_some_and(|last| !last.operators.is_empty()),
        }
    }
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
        let limit = self.definition.read_limit;
        match self.plan_next(limit).await? {
            Some(planned) => Ok(StepOutcome::Epoch(Box::new(self.step_over(planned).await?))),
            None => self.step_no_data().await,
        }
    }

    pub(crate) fn definition(&self) -> &Definition {
        &self.definition
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

    async fn find_place(&self) -> Result<Place, StreamError> {
        let definition = &self.definition;
        let committed = definition.sink.last_epoch(&self.query_id).await.map_err(|source| StreamError::Sink {
            attempt: "find the last epoch".to_owned(),
            query: definition.name.clone(),
            source,
        })?;
        let seen = definition.checkpoint.seen().await?;
        let last = resume(&definition.name, &definition.sink.describe(), committed, seen)?;
        if let Some(last) = &last {
            self.deliver_late(last).await?;
        }
        Ok(Place { last, starts: definition.starts.clone(), graph: None, shapes: vec![None; definition.sources.len()] })
    }

    /// The graph for the sources of this epoch, as they are or as they were last; with the state of the last epoch.
    pub(crate) async fn find_graph(&self, place: &mut Place, read: &[Option<SchemaRef>]) -> Result<Graph, StreamError> {
        let definition = &self.definition;
        let mut schemas = Vec::with_capacity(read.len());
        for (n, source) in definition.sources.iter().enumerate() {
            let known = match &read[n] {
                Some(schema) => Some(SchemaRef::clone(schema)),
                None => self.known_schema(place, n).await?,
            };
            schemas.push(known.ok_or_else(|| StreamError::ColumnsUnknown {
                query: definition.name.clone(),
                source_name: source.name.clone(),
            })?);
        }
        let before = match place.graph.take() {
            Some(graph) if graph.serves(&schemas) => return Ok(graph),
            before => before.filter(|graph| graph.has_schemas(&schemas)),
        };
        for (shape, schema) in place.shapes.iter_mut().zip(&schemas) {
            if shape.as_ref().is_none_or(|(known, _)| known.fields() != schema.fields()) {
                *shape = Some((SchemaRef::clone(schema), None));
            }
        }
        let mut graph = planning::build(definition, schemas).await?;
        for (_, _, store) in graph.stores() {
            store.set_seed(definition.env.random_u64());
            store.set_most_bytes(definition.budget().most_segment_bytes());
        }
        if let Some(mut before) = before
            && graph.take_over(&mut before)
        {
            return Ok(graph);
        }
        if let Some(last) = &place.last {
            self.load(&mut graph, last).await?;
        }
        Ok(graph)
    }

    async fn known_schema(&self, place: &mut Place, source: usize) -> Result<Option<SchemaRef>, StreamError> {
        let definition = &self.definition;
        if let Some((schema, _)) = &place.shapes[source] {
            return Ok(Some(SchemaRef::clone(schema)));
        }
        let named = &definition.sources[source];
        let range = place.last.as_ref().and_then(|last| last.sources.iter().find(|range| range.name == named.name));
        if let Some(path) = range.and_then(|range| range.shape.clone()) {
            let schema = definition.checkpoint.read_shape(&path).await?;
            place.shapes[source] = Some((SchemaRef::clone(&schema), Some(path)));
            return Ok(Some(schema));
        }
        named.source.schema().await.map_err(|error| StreamError::Source {
            attempt: "find the columns".to_owned(),
            query: definition.name.clone(),
            source: error,
        })
    }

    /// Whether what is stored serves the query as it is now; nothing is read of the sources. What cannot be planned yet is found by
    /// the first epoch.
    async fn check_change(&self, place: &Place) -> Result<(), StreamError> {
        let definition = &self.definition;
        let Some(last) = place.last.as_ref().filter(|last| !last.operators.is_empty()) else { return Ok(()) };
        let mut schemas = Vec::with_capacity(definition.sources.len());
        for source in &definition.sources {
            let range = last.sources.iter().find(|range| range.name == source.name);
            let known = match (source.source.schema().await, range.and_then(|range| range.shape.as_ref())) {
                (Ok(Some(schema)), _) => schema,
                (_, Some(path)) => definition.checkpoint.read_shape(path).await?,
                (_, None) => return Ok(()),
            };
            schemas.push(known);
        }
        match planning::build(definition, schemas).await {
            Ok(mut graph) => self.check_remembered(&graph.remembered(), last),
            Err(_) => Ok(()),
        }
    }

    fn check_remembered(&self, found: &[OperatorRef], last: &Position) -> Result<(), StreamError> {
        check(&last.operators, found).map_err(|(operator, change)| StreamError::Changed {
            query: self.definition.name.clone(),
            operator,
            change: Box::new(change),
        })
    }

    /// Puts the state of the last epoch into operators that are new.
    async fn load(&self, graph: &mut Graph, last: &Position) -> Result<(), StreamError> {
        let definition = &self.definition;
        let is_over_us = if definition.output_mode == OutputMode::Complete { None } else { last.watermark_us };
        self.check_remembered(&graph.remembered(), last)?;
        let zeros: Vec<_> = last.operators.iter().map(|operator| graph.zeros(&operator.name)).collect();
        let mut budget = definition.budget().loading();
        for (operator, name, store) in graph.stores() {
            let Some((recorded, zeros)) = last.operators.iter().zip(&zeros).find(|(recorded, _)| recorded.name == operator)
            else {
                continue;
            };
            let Some(recorded) = recorded.stores.iter().find(|recorded| recorded.name == name) else { continue };
            store.set_seed(recorded.seed);
            let mut files = Vec::with_capacity(recorded.files.len());
            for file in &recorded.files {
                let read = definition.checkpoint.read_state(file).await?;
                let adopted = adopt(read, store.schema(), recorded, zeros);
                let mut adopted = adopted.map_err(|error| definition.checkpoint.unusable(&file.path, &error))?;
                budget.take_in(&mut adopted).map_err(|error| plan_error(&definition.name, error.into()))?;
                files.push(adopted);
            }
            let over_us = match store.is_over_by() {
                OverBy::Watermark => is_over_us,
                OverBy::ProcessingTime => Some(last.timestamp_us),
                OverBy::Removal => None,
            };
            let restored = store.restore(files, |end| over_us.is_some_and(|over| end <= over));
            restored.map_err(|error| plan_error(&definition.name, error.into()))?;
        }
        Ok(())
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
