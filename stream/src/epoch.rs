//! One epoch, from what the sources have to the commit and what follows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use boathouse_base::{BatchStream, EpochCommit, EpochReport, Progress, ProgressUnit, Result as BaseResult};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::{StreamExt, stream};

use crate::checkpoint::json;
use crate::crash::CrashPoint;
use crate::definition::NamedSource;
use crate::error::StreamError;
use crate::event_time::Seen;
use crate::evolution::{OperatorRef, StoreRef, as_recorded, carry_on};
use crate::graph::{AllDone, Followed, Graph};
use crate::operators::EpochTimes;
use crate::place::{Place, PlannedEpoch};
use crate::position::{LateFile, Position, SourceRange, StateFile, VERSION};
use crate::progress::{Durations, EpochProgress, OperatorProgress, SourceProgress};
use crate::running::{REPORTS, RunningQuery};
use crate::state::Store;
use crate::transform::plan_error;

/// An epoch in the making.
struct Epoch {
    number: u64,
    began_us: u64,
    timestamp_us: i64,
    /// The watermark that it is made by.
    watermark_us: Option<i64>,
    planned: PlannedEpoch,
    durations: Durations,
    /// Rows that each source gave.
    input_rows: Vec<Arc<AtomicU64>>,
    /// How long writing the state of each operator took, in microseconds.
    commit_us: BTreeMap<String, u64>,
    /// Late rows that their sink is yet to get.
    late: Vec<LateFile>,
}

impl RunningQuery {
    pub(crate) async fn advance(&mut self, place: &mut Place, planned: PlannedEpoch) -> Result<EpochProgress, StreamError> {
        let env = self.definition.env.clone();
        let begun = place.begun.as_ref();
        let mut epoch = Epoch {
            number: place.epoch(),
            began_us: env.monotonic_us(),
            // The clock may be set back; timers and times to live go on from where they were.
            timestamp_us: begun.map_or_else(|| env.now_us().max(place.timestamp_us()), |begun| begun.timestamp_us),
            watermark_us: begun.map_or_else(|| self.watermark_us(place), |begun| begun.watermark_us),
            input_rows: planned.0.iter().map(|_| Arc::default()).collect(),
            planned,
            commit_us: BTreeMap::new(),
            late: Vec::new(),
            durations: Durations { latest_offset_us: std::mem::take(&mut self.asked_us), ..Durations::default() },
        };
        self.crash(CrashPoint::AfterPlan, epoch.number)?;
        let read = self.read(place, &mut epoch).await?;
        let planning_us = env.monotonic_us();
        let schemas: Vec<Option<SchemaRef>> = read.iter().map(|rows| rows.as_ref().map(BatchStream::schema)).collect();
        let mut graph = self.find_graph(place, &schemas).await?;
        graph.prepare().await.map_err(|error| plan_error(&self.definition.name, error))?;
        let planned_us = env.monotonic_us();
        epoch.durations.query_planning_us = planned_us.saturating_sub(planning_us);
        let mut inputs = Vec::with_capacity(read.len());
        for ((rows, shape), count) in read.into_iter().zip(&place.shapes).zip(&epoch.input_rows) {
            inputs.push(match (rows, shape) {
                (Some(rows), _) => counted(rows, Arc::clone(count), None),
                (None, Some((schema, _))) => BatchStream::from_batches(SchemaRef::clone(schema), Vec::new()),
                (None, None) => return Err(StreamError::ReadsNoSource { query: self.definition.name.clone() }),
            });
        }
        drop(graph.take_seen());
        let times = EpochTimes {
            late_us: place.late_us(),
            now_us: epoch.watermark_us,
            processing_us: epoch.timestamp_us,
            mode: self.definition.output_mode,
            keeps_late: self.definition.late_sink.is_some(),
        };
        let failed = |number, source| StreamError::Compute { epoch: number, query: self.definition.name.clone(), source };
        let (mut rows, done) = graph.run(inputs, times, &env).await.map_err(|error| failed(epoch.number, error))?;
        if graph.is_stateful() && graph.sees_late() {
            let schema = rows.schema();
            let all = rows.collect().await.map_err(|error| failed(epoch.number, error))?;
            rows = BatchStream::from_batches(schema, all);
        }
        self.crash(CrashPoint::AfterRead, epoch.number)?;
        self.crash(CrashPoint::BeforeStateWrite, epoch.number)?;
        let operators = self.write_state(&mut graph, place, &mut epoch).await?;
        epoch.late = self.write_late(place, epoch.number, &done).await?;
        self.crash(CrashPoint::AfterStateWrite, epoch.number)?;
        epoch.durations.stateful_us = env.monotonic_us().saturating_sub(planned_us);
        self.commit(place, epoch, graph, rows, done, operators).await
    }

    /// Opens the ranges of the epoch.
    async fn read(&mut self, place: &Place, epoch: &mut Epoch) -> Result<Vec<Option<BatchStream>>, StreamError> {
        let definition = Arc::clone(&self.definition);
        let began_us = definition.env.monotonic_us();
        let mut read = Vec::with_capacity(definition.sources.len());
        for (source, planned) in definition.sources.iter().zip(&epoch.planned.0) {
            let Some(planned) = planned else {
                read.push(None);
                continue;
            };
            let start = place.offset(&source.name);
            let rows = source.source.read(start.as_ref(), &planned.end).await.map_err(|error| StreamError::Source {
                attempt: format!("read epoch {}", epoch.number),
                query: definition.name.clone(),
                source: error,
            })?;
            read.push(Some(rows));
        }
        epoch.durations.get_batch_us = definition.env.monotonic_us().saturating_sub(began_us);
        Ok(read)
    }

    /// Writes what the operators have changed, and the schemas that are not written yet.
    async fn write_state(
        &self,
        graph: &mut Graph,
        place: &mut Place,
        epoch: &mut Epoch,
    ) -> Result<Vec<OperatorRef>, StreamError> {
        let definition = &self.definition;
        if !graph.is_stateful() {
            return Ok(Vec::new());
        }
        for (schema, path) in place.shapes.iter_mut().flatten() {
            if path.is_none() {
                *path = Some(definition.checkpoint.write_shape(&definition.env, epoch.number, schema).await?);
            }
        }
        let before = place.last.as_ref().map_or(&[] as &[OperatorRef], |last| &last.operators);
        let mut operators = graph.remembered();
        let mut described = operators.iter_mut().flat_map(|operator| &mut operator.stores);
        for (operator, name, store) in graph.stores() {
            let recorded = before.iter().filter(|recorded| recorded.name == operator).flat_map(|recorded| &recorded.stores);
            let recorded = recorded.into_iter().find(|recorded| recorded.name == name);
            // The stores of the operators, in the same order.
            let Some(described) = described.next() else { break };
            carry_on(described, recorded, epoch.number);
            let began_us = definition.env.monotonic_us();
            let changes = store.changes().map_err(|error| plan_error(&definition.name, error.into()))?;
            let needed = store.needed();
            let mut files: Vec<StateFile> = recorded.map(|store| store.files.clone()).unwrap_or_default();
            files.retain(|file| needed.contains(&file.number));
            for changes in changes {
                let changes = as_recorded(changes, described).map_err(|error| plan_error(&definition.name, error.into()))?;
                files.push(definition.checkpoint.write_state(&definition.env, epoch.number, &changes).await?);
            }
            files.sort_by_key(|file| store.age(file.number));
            let took_us = definition.env.monotonic_us().saturating_sub(began_us);
            *epoch.commit_us.entry(operator).or_default() += took_us;
            (described.files, described.seed) = (files, store.seed());
        }
        self.keep_to_budget(graph, &operators)?;
        Ok(operators)
    }

    /// Leaves rows in files that do not fit into memory.
    fn keep_to_budget(&self, graph: &mut Graph, operators: &[OperatorRef]) -> Result<(), StreamError> {
        let definition = &self.definition;
        let refs: Vec<&StoreRef> = operators.iter().flat_map(|operator| &operator.stores).collect();
        let local = |store: usize, number: u32| {
            let file = refs.get(store)?.files.iter().find(|file| file.number == number)?;
            Some((definition.checkpoint.local_path(&file.path)?, file.bytes))
        };
        let mut stores: Vec<&mut Store> = graph.stores().into_iter().map(|(_, _, store)| store).collect();
        definition.budget().keep(&mut stores, local).map_err(|error| plan_error(&definition.name, error.into()))
    }

    async fn commit(
        &mut self,
        place: &mut Place,
        mut epoch: Epoch,
        mut graph: Graph,
        rows: BatchStream,
        done: AllDone,
        operators: Vec<OperatorRef>,
    ) -> Result<EpochProgress, StreamError> {
        let definition = Arc::clone(&self.definition);
        let env = &definition.env;
        let mut seen = graph.take_seen();
        let mut position = Position {
            version: VERSION,
            epoch: epoch.number,
            run_id: self.run_id.clone(),
            timestamp_us: epoch.timestamp_us,
            sources: self.ranges(place, &epoch.planned, graph.is_stateful()),
            followed_us: BTreeMap::new(),
            watermark_us: epoch.watermark_us,
            next_watermark_us: None,
            wake_us: graph.wake_us(),
            operators,
            late: std::mem::take(&mut epoch.late),
        };
        // Without operators the rows have not been seen yet; the watermark then shows one epoch late after a restart.
        self.follow(&mut position, place.last.as_ref(), graph.watermarks(), &seen);
        self.crash(CrashPoint::BeforeSinkCommit, epoch.number)?;
        let began_us = env.monotonic_us();
        let output_rows = Arc::new(AtomicU64::new(0));
        let total_rows = Arc::clone(&self.rows_so_far);
        let rows = counted(rows, Arc::clone(&output_rows), Some((definition.progress.clone(), total_rows)));
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
        self.deliver_late(&position).await?;
        self.crash(CrashPoint::AfterLateRows, epoch.number)?;
        self.settle(place.last.as_ref(), &position).await?;
        for (seen, late) in seen.iter_mut().zip(graph.take_seen()) {
            seen.add(&late);
        }
        if !graph.is_stateful() {
            self.follow(&mut position, place.last.as_ref(), graph.watermarks(), &seen);
        }
        let done_us = env.monotonic_us();
        epoch.durations.commit_offsets_us = done_us.saturating_sub(committed_us);
        epoch.durations.trigger_execution_us = done_us.saturating_sub(epoch.began_us) + epoch.durations.latest_offset_us;
        let all_seen = seen.iter().fold(Seen::default(), |mut all, one| {
            all.add(one);
            all
        });
        let input_rows: u64 = epoch.input_rows.iter().map(|rows| rows.load(Ordering::Relaxed)).sum();
        let progress = EpochProgress {
            query_id: self.query_id.clone(),
            run_id: self.run_id.clone(),
            name: definition.name.clone(),
            epoch: epoch.number,
            timestamp_us: epoch.timestamp_us,
            input_rows,
            output_rows: if report.skipped { output_rows.load(Ordering::Relaxed) } else { report.rows },
            late_rows: done.iter().map(|(_, _, done)| done.late).sum(),
            null_event_time_rows: all_seen.null_rows,
            watermark_us: position.watermark_us,
            next_watermark_us: position.next_watermark_us,
            event_time_min_us: all_seen.min_us,
            event_time_max_us: all_seen.max_us,
            event_time_mean_us: all_seen.mean_us(),
            operators: operator_progress(&mut graph, &done, &position, &epoch.commit_us),
            sources: self.source_progress(&epoch, &position),
            sink: definition.sink.describe(),
            output_bytes: report.bytes,
            sink_version: report.version,
            durations: epoch.durations,
            since_last_us: self.last_began_us.map(|last| epoch.began_us.saturating_sub(last)),
        };
        self.last_began_us = Some(epoch.began_us);
        place.last = Some(position);
        place.begun = None;
        place.graph = Some(graph);
        self.publish(&progress, &report);
        Ok(progress)
    }

    fn ranges(&self, place: &Place, planned: &PlannedEpoch, keeps_shapes: bool) -> Vec<SourceRange> {
        let mut ranges = Vec::with_capacity(planned.0.len());
        for ((source, planned), shape) in self.definition.sources.iter().zip(&planned.0).zip(&place.shapes) {
            let start = place.offset(&source.name).map(|offset| offset.as_str().to_owned());
            let end = planned.as_ref().map(|planned| planned.end.as_str().to_owned());
            let shape = shape.as_ref().filter(|_| keeps_shapes).and_then(|(_, path)| path.clone());
            ranges.push(SourceRange { name: source.name.clone(), end: end.or_else(|| start.clone()), start, shape });
        }
        ranges
    }

    /// Moves the watermarks by what was seen.
    fn follow(&mut self, position: &mut Position, before: Option<&Position>, watermarks: &[Followed], seen: &[Seen]) {
        let now_us = self.definition.env.monotonic_us();
        let mut all = Vec::with_capacity(watermarks.len());
        for (followed, seen) in watermarks.iter().zip(seen) {
            if seen.rows > 0 {
                self.activity.see(&followed.name, now_us);
            }
            let known = before.and_then(|before| before.followed_us.get(&followed.name).copied()).flatten();
            let us = known.max(seen.max_us.map(|max| max.saturating_sub(followed.delay_us)));
            position.followed_us.insert(followed.name.clone(), us);
            all.push((us, self.activity.is_idle(&followed.name, now_us)));
        }
        position.next_watermark_us = position.watermark_us.max(self.definition.watermark_policy.choose(&all));
    }

    /// The sink says that it had the epoch: it may be ours (a retry below us after a lost answer), or another run's.
    async fn check_own(&self, position: &Position) -> Result<(), StreamError> {
        let definition = &self.definition;
        let held = definition.sink.last_epoch(&self.query_id).await.map_err(|source| StreamError::Sink {
            attempt: format!("find out who committed epoch {}", position.epoch),
            query: definition.name.clone(),
            source,
        })?;
        let holds = |payload: &str| serde_json::from_str::<Position>(payload).is_ok_and(|held| held == *position);
        let is_own = held.is_some_and(|held| held.epoch == position.epoch && held.payload.as_deref().is_some_and(holds));
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
        if let Some(before) = before {
            let deleted = definition.checkpoint.delete_unreferenced(before, now).await;
            self.advice("delete old state", deleted);
        }
        for (source, range) in definition.sources.iter().zip(&now.sources) {
            if let Some(end) = range.end().filter(|_| range.start != range.end) {
                let told = source.source.commit(&end).await;
                self.advice("tell the source", told);
            }
        }
        self.crash(CrashPoint::AfterSourceCommit, now.epoch)
    }

    fn source_progress(&self, epoch: &Epoch, position: &Position) -> Vec<SourceProgress> {
        let of = |n: usize, source: &NamedSource| {
            let range = position.sources.get(n);
            SourceProgress {
                name: source.name.clone(),
                description: source.source.describe(),
                start_offset: range.and_then(|range| range.start.clone()),
                end_offset: range.and_then(|range| range.end.clone()),
                input_rows: epoch.input_rows.get(n).map_or(0, |rows| rows.load(Ordering::Relaxed)),
                more: epoch.planned.0.get(n).and_then(Option::as_ref).is_some_and(|planned| planned.more),
            }
        };
        self.definition.sources.iter().enumerate().map(|(n, source)| of(n, source)).collect()
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
        self.tell_progress(progress);
        if self.reports.len() == REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(progress.clone());
    }
}

fn operator_progress(
    graph: &mut Graph,
    done: &AllDone,
    position: &Position,
    commit_us: &BTreeMap<String, u64>,
) -> Vec<OperatorProgress> {
    let mut sizes: BTreeMap<String, OperatorProgress> = BTreeMap::new();
    for (operator, _, store) in graph.stores() {
        let size = sizes.entry(operator).or_default();
        size.rows += store.rows();
        size.bytes += store.bytes();
        size.bytes_on_disk += store.filed_bytes();
        size.stores += 1;
    }
    let files = |name: &str| {
        let recorded = position.operators.iter().filter(|operator| operator.name == *name).flat_map(|operator| &operator.stores);
        recorded.map(|store| store.files.len() as u64).sum()
    };
    let progress = |(name, kind, done): &(String, &'static str, crate::operators::Done)| OperatorProgress {
        name: name.clone(),
        kind,
        updated_rows: done.updated,
        removed_rows: done.removed,
        late_rows: done.late,
        null_event_time_rows: done.without_time,
        run_us: done.run_us,
        commit_us: commit_us.get(name).copied().unwrap_or(0),
        files: files(name),
        ..sizes.get(name).cloned().unwrap_or_default()
    };
    done.iter().map(progress).collect()
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
