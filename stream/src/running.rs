//! A query that is open: it makes one epoch after another.
//!
//! # An epoch
//! ```text
//!   plan ─▶ read ─▶ transform ─▶ (windows: aggregate, write state) ─▶ sink.commit(rows + position) ─▶ copy, clean, tell source
//!                                                                      │
//!                                                        the only step that decides
//! ```
//! Before the commit nothing refers to what was written; after it, everything left is advice. So the query needs no log
//! of its own: two writes (state, sink) never become three.
//!
//! An epoch that failed may or may not be in the sink (an answer can be lost). The query then forgets where it was and
//! asks the sink at the next step. The same holds for a step whose future was dropped.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use boathouse_base::{
    BatchStream, EpochCommit, EpochReport, Error, Offset, OutputMode, PlannedBatch, Progress, ProgressUnit, ReadLimit,
    Result as BaseResult,
};
use boathouse_frames::from_datafusion;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::{StreamExt, stream};

use crate::checkpoint::json;
use crate::crash::CrashPoint;
use crate::error::StreamError;
use crate::event_time::{EventTime, Seen, SharedSeen, read};
use crate::position::{Position, Range, StateRef, VERSION, resume};
use crate::progress::{Durations, EpochProgress, RunReport, StateProgress};
use crate::query::Definition;
use crate::transform::TransformPlan;
use crate::window::TumblingWindow;
use crate::window_plan::{WindowPlan, split_by_window, windows_of};
use crate::window_state::WindowState;

/// Reports that are kept.
const REPORTS: usize = 100;

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
    definition: Arc<Definition>,
    query_id: String,
    run_id: String,
    /// `None` after a failure: the sink must be asked.
    place: Option<Place>,
    transform: Option<TransformPlan>,
    window: Option<WindowPlan>,
    reports: VecDeque<EpochProgress>,
    last_began_us: Option<u64>,
    rows_so_far: Arc<AtomicU64>,
    /// How long the source took to say what is new, for the next report.
    asked_us: u64,
    is_dead: bool,
}

/// Where the query is.
struct Place {
    last: Option<Position>,
    state: WindowState,
}

impl Place {
    fn epoch(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.epoch + 1)
    }

    fn offset(&self) -> Option<Offset> {
        self.last.as_ref().and_then(Position::end)
    }

    /// The watermark of the last epoch: rows of windows that it had closed are late.
    fn late_us(&self) -> Option<i64> {
        self.last.as_ref().and_then(|last| last.watermark_us)
    }

    /// The watermark after the last epoch: windows that it closes are emitted.
    fn watermark_us(&self) -> Option<i64> {
        self.last.as_ref().and_then(|last| last.next_watermark_us)
    }
}

/// An epoch in the making.
struct Epoch {
    number: u64,
    began_us: u64,
    timestamp_us: i64,
    /// `None`: an epoch without rows.
    planned: Option<PlannedBatch>,
    durations: Durations,
}

/// What an epoch gives the sink.
struct Output {
    rows: BatchStream,
    seen: SharedSeen,
    input_rows: Arc<AtomicU64>,
    state: Option<StateProgress>,
    /// Written before the commit; must be deleted after it when nothing refers to it.
    state_ref: Option<StateRef>,
    is_windowed: bool,
}

impl RunningQuery {
    pub(crate) async fn open(definition: Definition, query_id: String) -> Result<Self, StreamError> {
        let run_id = definition.env.uuid();
        let mut query = Self {
            definition: Arc::new(definition),
            query_id,
            run_id,
            place: None,
            transform: None,
            window: None,
            reports: VecDeque::new(),
            last_began_us: None,
            rows_so_far: Arc::default(),
            asked_us: 0,
            is_dead: false,
        };
        let place = query.find_place().await?;
        if let Some(last) = &place.last {
            let tidied = query.definition.checkpoint.delete_leftovers(last).await;
            query.advice("delete what a crash has left", tidied);
        }
        query.place = Some(place);
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

    /// Makes one epoch, if there is something new: rows, or windows that the watermark has closed.
    ///
    /// May be dropped: the epoch is then committed or not, and the next step finds out.
    ///
    /// **Errors**: of the source, the sink, the transformation and the stores, by their kind; `Conflict` when another run
    /// of the query has committed the epoch. The next step goes on from what is committed.
    pub async fn step(&mut self) -> Result<StepOutcome, StreamError> {
        let limit = self.definition.read_limit;
        match self.plan_next(limit).await? {
            Some(planned) => Ok(StepOutcome::Epoch(Box::new(self.step_over(planned).await?))),
            None => self.step_no_data().await,
        }
    }

    pub(crate) fn definition(&self) -> &Definition {
        &self.definition
    }

    /// What the source has after where the query is.
    pub(crate) async fn plan_next(&mut self, limit: ReadLimit) -> Result<Option<PlannedBatch>, StreamError> {
        let place = self.take_place().await?;
        self.place = Some(place);
        let (offset, epoch) = self.place.as_ref().map_or((None, 0), |place| (place.offset(), place.epoch()));
        let asked_us = self.definition.env.monotonic_us();
        let planned = self.definition.source.plan(offset.as_ref(), limit).await;
        self.asked_us = self.definition.env.monotonic_us().saturating_sub(asked_us);
        planned.map_err(|source| StreamError::Source {
            attempt: format!("plan epoch {epoch}"),
            query: self.definition.name.clone(),
            source,
        })
    }

    /// An epoch over a range that [`plan_next`](Self::plan_next) gave.
    pub(crate) async fn step_over(&mut self, planned: PlannedBatch) -> Result<EpochProgress, StreamError> {
        let mut place = self.take_place().await?;
        let progress = self.advance(&mut place, Some(planned)).await?;
        self.place = Some(place);
        Ok(progress)
    }

    /// An epoch without rows, if the watermark has moved since windows were last emitted.
    pub(crate) async fn step_no_data(&mut self) -> Result<StepOutcome, StreamError> {
        let mut place = self.take_place().await?;
        let has_moved = place.watermark_us() > place.late_us();
        if self.definition.window.is_none() || self.definition.output_mode == OutputMode::Complete || !has_moved {
            self.place = Some(place);
            return Ok(StepOutcome::Idle);
        }
        let progress = self.advance(&mut place, None).await?;
        self.place = Some(place);
        Ok(StepOutcome::Epoch(Box::new(progress)))
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
    async fn take_place(&mut self) -> Result<Place, StreamError> {
        self.check_alive()?;
        match self.place.take() {
            Some(place) => Ok(place),
            None => {
                // Its schema may not be the one that the found state was written with.
                self.window = None;
                self.find_place().await
            }
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
        let mut place = Place { state: WindowState::default(), last };
        if let (Some(window), Some(last)) = (&definition.window, &place.last)
            && let Some(state) = &last.state
        {
            let (width_us, watermark_us) = (window.width_us(), self.emits_by(last.watermark_us));
            let is_open = |start: i64| watermark_us.is_none_or(|watermark| start.saturating_add(width_us) > watermark);
            place.state = definition.checkpoint.load_state(state, is_open).await?;
        }
        Ok(place)
    }

    /// Complete mode emits all windows and closes none.
    fn emits_by(&self, watermark_us: Option<i64>) -> Option<i64> {
        watermark_us.filter(|_| self.definition.output_mode == OutputMode::Append)
    }

    async fn advance(&mut self, place: &mut Place, planned: Option<PlannedBatch>) -> Result<EpochProgress, StreamError> {
        let env = self.definition.env.clone();
        let mut epoch = Epoch {
            number: place.epoch(),
            began_us: env.monotonic_us(),
            timestamp_us: env.now_us(),
            planned,
            durations: Durations { latest_offset_us: std::mem::take(&mut self.asked_us), ..Durations::default() },
        };
        self.crash(CrashPoint::AfterPlan, epoch.number)?;
        let input = self.read(place, &mut epoch).await?;
        let output = match self.definition.window.clone() {
            None => self.pass(input, &mut epoch).await?,
            Some(window) => self.aggregate(&window, input, place, &mut epoch).await?,
        };
        self.commit(place, epoch, output).await
    }

    /// The rows of the range, transformed; `None` in an epoch without rows.
    async fn read(&mut self, place: &Place, epoch: &mut Epoch) -> Result<Option<(BatchStream, Arc<AtomicU64>)>, StreamError> {
        let Some(planned) = &epoch.planned else { return Ok(None) };
        let definition = Arc::clone(&self.definition);
        let env = &definition.env;
        let began_us = env.monotonic_us();
        let start = place.offset();
        let rows = definition.source.read(start.as_ref(), &planned.end).await.map_err(|source| StreamError::Source {
            attempt: format!("read epoch {}", epoch.number),
            query: definition.name.clone(),
            source,
        })?;
        let read_us = env.monotonic_us();
        epoch.durations.get_batch_us = read_us.saturating_sub(began_us);
        let schema = rows.schema();
        let plan = match self.transform.take().filter(|plan| plan.serves(&schema)) {
            Some(plan) => plan,
            None => TransformPlan::build(&definition.name, &definition.transform, &definition.session, &schema).await?,
        };
        epoch.durations.query_planning_us = env.monotonic_us().saturating_sub(read_us);
        let input_rows = Arc::new(AtomicU64::new(0));
        let transformed = plan.run(counted(rows, Arc::clone(&input_rows), None)).map_err(|error| StreamError::Compute {
            epoch: epoch.number,
            query: definition.name.clone(),
            source: from_datafusion("start the transformation", error),
        })?;
        self.transform = Some(plan);
        Ok(Some((transformed, input_rows)))
    }

    /// Rows go to the sink while they are computed.
    async fn pass(&mut self, input: Option<(BatchStream, Arc<AtomicU64>)>, epoch: &mut Epoch) -> Result<Output, StreamError> {
        let Some((mut rows, input_rows)) = input else {
            // `step_no_data` makes epochs for windows only.
            return Err(StreamError::SourceReads { query: self.definition.name.clone(), times: 0 });
        };
        let seen = SharedSeen::default();
        if let Some(watermark) = &self.definition.watermark {
            let time = EventTime::find(&self.definition.name, &watermark.column, &rows.schema())?;
            rows = time.watch(rows, Arc::clone(&seen));
        }
        self.crash(CrashPoint::AfterRead, epoch.number)?;
        self.crash(CrashPoint::BeforeStateWrite, epoch.number)?;
        self.crash(CrashPoint::AfterStateWrite, epoch.number)?;
        Ok(Output { rows, seen, input_rows, state: None, state_ref: None, is_windowed: false })
    }

    /// Rows go into windows; those that are closed go to the sink.
    async fn aggregate(
        &mut self,
        window: &TumblingWindow,
        input: Option<(BatchStream, Arc<AtomicU64>)>,
        place: &mut Place,
        epoch: &mut Epoch,
    ) -> Result<Output, StreamError> {
        let definition = Arc::clone(&self.definition);
        let planning_us = definition.env.monotonic_us();
        let plan = self.window_plan(window, input.as_ref().map(|(rows, _)| rows.schema()), place).await?;
        let began_us = definition.env.monotonic_us();
        epoch.durations.query_planning_us += began_us.saturating_sub(planning_us);
        let seen = SharedSeen::default();
        let mut state = StateProgress::default();
        let input_rows = input.as_ref().map(|(_, rows)| Arc::clone(rows)).unwrap_or_default();
        let number = epoch.number;
        let failed = |source: Error| StreamError::Compute { epoch: number, query: definition.name.clone(), source };
        if let Some((rows, _)) = input {
            let mut states = plan.partial(rows, self.emits_by(place.late_us()), Arc::clone(&seen)).await.map_err(failed)?;
            self.crash(CrashPoint::AfterRead, epoch.number)?;
            if states.iter().any(|batch| batch.num_rows() > 0) {
                states.extend(place.state.of(&windows_of(&states)));
                let reduced = plan.reduce(states).await.map_err(failed)?;
                state.updated_groups = reduced.num_rows() as u64;
                place.state.replace(epoch.number, split_by_window(&reduced).map_err(failed)?);
            }
        }
        let closed = place.state.close(window.width_us(), self.emits_by(place.watermark_us()));
        state.removed_groups = closed.iter().map(|batch| batch.num_rows() as u64).sum();
        let emitted = match definition.output_mode {
            OutputMode::Append => closed,
            OutputMode::Complete => place.state.all(),
        };
        let rows = if emitted.is_empty() { Vec::new() } else { plan.finish(emitted).await.map_err(failed)? };
        self.crash(CrashPoint::BeforeStateWrite, epoch.number)?;
        let state_ref = self.write_state(&plan, place, epoch.number).await?;
        self.crash(CrashPoint::AfterStateWrite, epoch.number)?;
        state.groups = place.state.rows();
        state.bytes = place.state.bytes();
        state.files = state_ref.files.len() as u64;
        let rows = BatchStream::from_batches(plan.output(), rows);
        self.window = Some(plan);
        epoch.durations.window_us = definition.env.monotonic_us().saturating_sub(began_us);
        Ok(Output { rows, seen, input_rows, state: Some(state), state_ref: Some(state_ref), is_windowed: true })
    }

    /// The plan of the last epoch if it serves; after a restart and without rows, the one for the schema in the checkpoint.
    async fn window_plan(
        &mut self,
        window: &TumblingWindow,
        input: Option<SchemaRef>,
        place: &mut Place,
    ) -> Result<WindowPlan, StreamError> {
        let definition = Arc::clone(&self.definition);
        let recorded = place.last.as_ref().and_then(|last| last.state.as_ref());
        if let Some(plan) = self.window.take().filter(|plan| input.as_ref().is_none_or(|input| plan.serves(input))) {
            return Ok(plan);
        }
        let recorded = match recorded {
            Some(state) => Some(definition.checkpoint.read_shape(state).await?),
            None => None,
        };
        let Some(schema) = input.or_else(|| recorded.clone()) else {
            // Without a last epoch the watermark has not moved.
            return Err(StreamError::SourceReads { query: definition.name.clone(), times: 0 });
        };
        let plan = WindowPlan::build(&definition.name, window, definition.session.runtime_env(), &schema).await?;
        if let Some(states) = place.state.sample() {
            check_state(&definition.name, &states.schema(), plan.state())?;
        }
        if recorded.is_none_or(|recorded| recorded.fields() != schema.fields()) {
            let path = definition.checkpoint.write_shape(&definition.env, place.epoch(), plan.input()).await?;
            place.state.set_shape(path);
        }
        Ok(plan)
    }

    async fn write_state(&self, plan: &WindowPlan, place: &mut Place, epoch: u64) -> Result<StateRef, StreamError> {
        let checkpoint = &self.definition.checkpoint;
        let states = place.state.changes_of(epoch);
        if !states.is_empty() {
            let file = checkpoint.write_state(&self.definition.env, epoch, plan.state(), &states).await?;
            place.state.written(file);
        }
        let shape = match place.state.shape() {
            Some(shape) => shape.to_owned(),
            None => {
                let path = checkpoint.write_shape(&self.definition.env, epoch, plan.input()).await?;
                place.state.set_shape(path.clone());
                path
            }
        };
        Ok(StateRef { shape, files: place.state.files() })
    }

    async fn commit(&mut self, place: &mut Place, mut epoch: Epoch, output: Output) -> Result<EpochProgress, StreamError> {
        let definition = Arc::clone(&self.definition);
        let env = &definition.env;
        let before_us = place.watermark_us();
        let position = Position {
            version: VERSION,
            epoch: epoch.number,
            run_id: self.run_id.clone(),
            timestamp_us: epoch.timestamp_us,
            source: Range {
                start: place.offset().map(|offset| offset.as_str().to_owned()),
                end: match &epoch.planned {
                    Some(planned) => Some(planned.end.as_str().to_owned()),
                    None => place.offset().map(|offset| offset.as_str().to_owned()),
                },
            },
            watermark_us: before_us,
            // Without windows the rows have not been seen yet; the watermark then shows one epoch late after a restart.
            next_watermark_us: self.next_watermark(before_us, &read(&output.seen)),
            state: output.state_ref.clone(),
        };
        self.crash(CrashPoint::BeforeSinkCommit, epoch.number)?;
        let began_us = env.monotonic_us();
        let output_rows = Arc::new(AtomicU64::new(0));
        let total_rows = Arc::clone(&self.rows_so_far);
        let rows = counted(output.rows, Arc::clone(&output_rows), Some((definition.progress.clone(), total_rows)));
        let dies = self.crashes(CrashPoint::MidCommit, epoch.number);
        let rows = if dies { broken(rows, epoch.number) } else { rows };
        let request = EpochCommit {
            query_id: self.query_id.clone(),
            epoch: epoch.number,
            payload: json(&position),
            mode: definition.output_mode,
        };
        let report = definition.sink.commit(request, rows).await;
        if dies {
            self.is_dead = true;
            return Err(StreamError::Crashed { point: CrashPoint::MidCommit, epoch: epoch.number });
        }
        let report = report.map_err(|source| StreamError::Sink {
            attempt: format!("commit epoch {}", epoch.number),
            query: definition.name.clone(),
            source,
        })?;
        if report.skipped {
            self.check_own(&position).await?;
        }
        let committed_us = env.monotonic_us();
        epoch.durations.add_batch_us = committed_us.saturating_sub(began_us);
        self.crash(CrashPoint::AfterSinkCommit, epoch.number)?;
        self.settle(place.last.as_ref(), &position).await?;
        let seen = read(&output.seen);
        let next_watermark_us = match output.is_windowed {
            true => position.next_watermark_us,
            false => self.next_watermark(before_us, &seen),
        };
        let done_us = env.monotonic_us();
        epoch.durations.commit_offsets_us = done_us.saturating_sub(committed_us);
        epoch.durations.trigger_execution_us = done_us.saturating_sub(epoch.began_us) + epoch.durations.latest_offset_us;
        let progress = EpochProgress {
            query_id: self.query_id.clone(),
            run_id: self.run_id.clone(),
            name: definition.name.clone(),
            epoch: epoch.number,
            timestamp_us: epoch.timestamp_us,
            input_rows: output.input_rows.load(Ordering::Relaxed),
            output_rows: if report.skipped { output_rows.load(Ordering::Relaxed) } else { report.rows },
            late_rows: seen.late_rows,
            null_event_time_rows: seen.null_rows,
            watermark_us: before_us,
            next_watermark_us,
            event_time_min_us: seen.min_us,
            event_time_max_us: seen.max_us,
            event_time_mean_us: seen.mean_us(),
            state: output.state,
            source: definition.source.describe(),
            start_offset: position.source.start.clone(),
            end_offset: position.source.end.clone(),
            more: epoch.planned.as_ref().is_some_and(|planned| planned.more),
            sink: definition.sink.describe(),
            output_bytes: report.bytes,
            sink_version: report.version,
            durations: epoch.durations,
            since_last_us: self.last_began_us.map(|last| epoch.began_us.saturating_sub(last)),
        };
        self.last_began_us = Some(epoch.began_us);
        place.last = Some(Position { next_watermark_us, ..position });
        self.publish(&progress, &report);
        Ok(progress)
    }

    fn next_watermark(&self, before_us: Option<i64>, seen: &Seen) -> Option<i64> {
        self.definition.watermark.as_ref().and_then(|watermark| watermark.advance(before_us, seen.max_us))
    }

    /// The sink says that it had the epoch: it may be ours (a retry below us after a lost answer), or another run's.
    async fn check_own(&self, position: &Position) -> Result<(), StreamError> {
        let definition = &self.definition;
        let held = definition.sink.last_epoch(&self.query_id).await.map_err(|source| StreamError::Sink {
            attempt: format!("find out who committed epoch {}", position.epoch),
            query: definition.name.clone(),
            source,
        })?;
        let is_own =
            held.is_some_and(|held| held.epoch == position.epoch && held.payload.as_deref() == Some(json(position).as_str()));
        match is_own {
            true => Ok(()),
            false => Err(StreamError::ConcurrentRun { query: definition.name.clone(), epoch: position.epoch }),
        }
    }

    /// After the commit: advice that may be lost.
    async fn settle(&mut self, before: Option<&Position>, now: &Position) -> Result<(), StreamError> {
        let definition = Arc::clone(&self.definition);
        let remembered = definition.checkpoint.remember(now).await;
        self.advice("copy the position", remembered);
        self.crash(CrashPoint::AfterHint, now.epoch)?;
        if before.is_some_and(|before| before.state != now.state) {
            let deleted = definition
                .checkpoint
                .delete_unreferenced(before.and_then(|before| before.state.as_ref()), now.state.as_ref())
                .await;
            self.advice("delete old state", deleted);
        }
        if let Some(end) = now.end().filter(|_| now.source.start != now.source.end) {
            let told = definition.source.commit(&end).await;
            self.advice("tell the source", told);
        }
        self.crash(CrashPoint::AfterSourceCommit, now.epoch)
    }

    fn advice<E: fmt::Display>(&self, step: &'static str, result: Result<(), E>) {
        if let Err(error) = result {
            tracing::warn!(query = %self.definition.name, step, %error, "the epoch is committed, and this advice was lost");
        }
    }

    fn publish(&mut self, progress: &EpochProgress, report: &EpochReport) {
        tracing::debug!(
            query = %progress.name, epoch = progress.epoch, rows = progress.output_rows, bytes = report.bytes, files = report.files,
            "stream.epoch"
        );
        self.definition.progress.report("epochs", progress.epoch + 1, None, ProgressUnit::Steps);
        if let Some(observer) = &self.definition.observer {
            observer(progress);
        }
        if self.reports.len() == REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(progress.clone());
    }

    fn crashes(&self, point: CrashPoint, epoch: u64) -> bool {
        self.definition.crash_points.as_ref().is_some_and(|points| points.crashes(point, epoch))
    }

    fn crash(&mut self, point: CrashPoint, epoch: u64) -> Result<(), StreamError> {
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

/// Passes rows on, and counts them.
fn counted(rows: BatchStream, count: Arc<AtomicU64>, observed: Option<(Progress, Arc<AtomicU64>)>) -> BatchStream {
    let schema = rows.schema();
    BatchStream::new(
        schema,
        rows.inspect(move |batch| {
            if let Ok(batch) = batch {
                let rows = batch.num_rows() as u64;
                count.fetch_add(rows, Ordering::Relaxed);
                if let Some((progress, total)) = &observed {
                    let done = total.fetch_add(rows, Ordering::Relaxed) + rows;
                    progress.report("rows", done, None, ProgressUnit::Rows);
                }
            }
        }),
    )
}

/// All rows, then an error in place of the end.
fn broken(rows: BatchStream, epoch: u64) -> BatchStream {
    let schema = rows.schema();
    let error = StreamError::Crashed { point: CrashPoint::MidCommit, epoch };
    let end = stream::once(async move { BaseResult::<RecordBatch>::Err(error.into()) });
    BatchStream::new(schema, rows.chain(end))
}

fn check_state(query: &str, stored: &SchemaRef, computed: &SchemaRef) -> Result<(), StreamError> {
    let text = |schema: &SchemaRef| {
        let columns: Vec<String> =
            schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
        columns.join(", ")
    };
    let (stored, computed) = (text(stored), text(computed));
    match stored == computed {
        true => Ok(()),
        false => Err(StreamError::StateSchema { query: query.to_owned(), stored, computed }),
    }
}
