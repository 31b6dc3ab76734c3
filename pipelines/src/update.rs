//! Running an update: computing each dataset that needs it, in order.
//!
//! A materialized view remembers what it was computed from: its commit carries an application transaction
//! `pipeline:NAME/DATASET` whose payload holds the versions of everything that it read and a fingerprint of its
//! definition. If both are what they would be now, it is up to date, and nothing is read or written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use boathouse_base::{
    AppTransaction, ErrorKind, IfAbsent, Progress, ProgressUnit, SchemaMode, Table, TableSnapshot, TableVersion, WriteMode,
    WriteReport, WriteRequest,
};
use boathouse_frames::{SnapshotProvider, batch_stream};
use datafusion::prelude::SessionContext;
use serde::{Deserialize, Serialize};

use crate::dataset::{Dataset, DatasetKind, Query, QueryKind};
use crate::error::PipelineError;
use crate::event_log;
use crate::expectation::{Counts, Guard};
use crate::flow::{Flow, FlowContext};
use crate::graph;
use crate::guarded_sink::GuardedSink;
use crate::pipeline::{Pipeline, Target};
use crate::report::{DatasetReport, DatasetStatus, UpdateReport};

/// An update of a pipeline that has not run yet.
#[must_use = "an update does nothing until it is run"]
pub struct Update {
    pipeline: Pipeline,
    target: Target,
    only: Option<BTreeSet<String>>,
    full_refresh: bool,
    progress: Progress,
}

/// What the commit of a materialized view says about where its rows come from.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Provenance {
    /// Versions of the tables that were read, by name.
    inputs: BTreeMap<String, u64>,
    /// Of the query and the expectations.
    definition: String,
}

/// What computing one dataset gave.
#[derive(Default)]
struct Outcome {
    up_to_date: bool,
    rows: u64,
    dropped_rows: u64,
    late_rows: u64,
    version: Option<u64>,
    expectations: Vec<crate::expectation::ExpectationCount>,
}

impl Update {
    pub(crate) fn new(pipeline: Pipeline, target: Target) -> Self {
        Self { pipeline, target, only: None, full_refresh: false, progress: Progress::none() }
    }

    /// Computes only these datasets; what they read is taken as it is.
    pub fn only(mut self, datasets: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.only = Some(datasets.into_iter().map(Into::into).collect());
        self
    }

    /// Computes materialized views even when nothing that they read has changed.
    pub fn full_refresh(mut self) -> Self {
        self.full_refresh = true;
        self
    }

    /// Reports each dataset that is done.
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Runs the update, and appends what happened to the event log.
    ///
    /// A dataset that fails does not stop those that do not read it: the report says for each how it ended, and
    /// [`UpdateReport::into_result`] makes the first failure an error. Every dataset is written in one commit, or in
    /// one per epoch for a streaming table; the update as a whole is not one transaction.
    ///
    /// **Errors**: `NotFound` when [`only`](Self::only) names something that is not a dataset; those of the event log.
    pub async fn run(self) -> Result<UpdateReport, PipelineError> {
        self.check_selection()?;
        let env = self.target.env.clone();
        let started_us = env.now_us();
        let mut report = UpdateReport {
            pipeline: self.pipeline.name.clone(),
            update_id: env.uuid(),
            datasets: Vec::with_capacity(self.pipeline.datasets.len()),
        };
        let session = (self.pipeline.session)();
        let total = self.pipeline.datasets.len() as u64;
        for (nth, dataset) in self.pipeline.datasets.iter().enumerate() {
            let began_us = env.monotonic_us();
            let (status, outcome) = self.compute(dataset, &session, &report).await;
            report.datasets.push(DatasetReport {
                name: dataset.name.clone(),
                status,
                rows: outcome.rows,
                dropped_rows: outcome.dropped_rows,
                late_rows: outcome.late_rows,
                version: outcome.version,
                expectations: outcome.expectations,
                duration_us: env.monotonic_us().saturating_sub(began_us),
            });
            self.progress.report(&dataset.name, nth as u64 + 1, Some(total), ProgressUnit::Steps);
        }
        self.log(&report, started_us).await?;
        Ok(report)
    }

    fn check_selection(&self) -> Result<(), PipelineError> {
        let missing = self.only.iter().flatten().find(|name| !self.pipeline.order().any(|known| known == name.as_str()));
        match missing {
            None => Ok(()),
            Some(dataset) => Err(PipelineError::NoSuchDataset {
                pipeline: self.pipeline.name.clone(),
                nearest: graph::nearest(dataset, self.pipeline.order()),
                dataset: dataset.clone(),
            }),
        }
    }

    async fn compute(&self, dataset: &Dataset, session: &SessionContext, so_far: &UpdateReport) -> (DatasetStatus, Outcome) {
        let excluded = self.only.as_ref().is_some_and(|only| !only.contains(&dataset.name));
        if excluded && !matches!(dataset.kind, DatasetKind::View(_)) {
            return (DatasetStatus::Excluded, Outcome::default());
        }
        let upstream = graph::upstream(&self.pipeline.nodes, &dataset.name);
        let failed =
            so_far.datasets.iter().find(|done| upstream.contains(&done.name) && matches!(done.status, DatasetStatus::Failed(_)));
        if let Some(failed) = failed {
            return (DatasetStatus::SkippedAfter(failed.name.clone()), Outcome::default());
        }
        let result = match &dataset.kind {
            DatasetKind::View(query) => {
                return match self.define_view(dataset, query, session).await {
                    Ok(()) => (DatasetStatus::View, Outcome::default()),
                    Err(error) => (DatasetStatus::Failed(error), Outcome::default()),
                };
            }
            DatasetKind::MaterializedView(query) => self.refresh(dataset, query, session).await,
            DatasetKind::StreamingTable(flow) => self.stream(dataset, flow.as_ref(), session).await,
        };
        match result {
            Ok(outcome) if outcome.up_to_date => (DatasetStatus::UpToDate, outcome),
            Ok(outcome) => (DatasetStatus::Completed, outcome),
            Err(error) => (DatasetStatus::Failed(error), Outcome::default()),
        }
    }

    /// Makes the tables that `dataset` reads known to the session, each at its newest version.
    async fn open_inputs(&self, dataset: &str, session: &SessionContext) -> Result<BTreeMap<String, u64>, PipelineError> {
        let mut versions = BTreeMap::new();
        for name in graph::upstream(&self.pipeline.nodes, dataset) {
            let is_view = self.pipeline.datasets.iter().any(|d| d.name == name && matches!(d.kind, DatasetKind::View(_)));
            if is_view {
                continue;
            }
            let snapshot = self.open(&name).await?;
            versions.insert(name.clone(), snapshot.version());
            let failed = |source| PipelineError::Query { dataset: dataset.to_owned(), source: Box::new(source) };
            session.deregister_table(name.as_str()).map_err(failed)?;
            session.register_table(name.as_str(), Arc::new(SnapshotProvider::new(snapshot))).map_err(failed)?;
        }
        Ok(versions)
    }

    async fn open(&self, name: &str) -> Result<Arc<dyn TableSnapshot>, PipelineError> {
        let failed = |source| PipelineError::Table { action: "open", dataset: name.to_owned(), source };
        self.target.tables.table(name).map_err(failed)?.snapshot(TableVersion::Latest).await.map_err(failed)
    }

    async fn define_view(&self, dataset: &Dataset, query: &Query, session: &SessionContext) -> Result<(), PipelineError> {
        self.open_inputs(&dataset.name, session).await?;
        let failed = |source| PipelineError::Query { dataset: dataset.name.clone(), source: Box::new(source) };
        let frame = query.plan(session).await.map_err(failed)?;
        session.register_table(dataset.name.as_str(), frame.into_view()).map_err(failed)?;
        Ok(())
    }

    async fn refresh(&self, dataset: &Dataset, query: &Query, session: &SessionContext) -> Result<Outcome, PipelineError> {
        let name = &dataset.name;
        let inputs = self.open_inputs(name, session).await?;
        let provenance = Provenance { inputs, definition: self.fingerprint(dataset, query) };
        let unreadable = |source| PipelineError::Table { action: "open", dataset: name.clone(), source };
        let table = self.target.tables.table(name).map_err(unreadable)?;
        let app_id = format!("pipeline:{}/{name}", self.pipeline.name);
        let last = match table.snapshot(TableVersion::Latest).await {
            Ok(snapshot) => snapshot.app_transaction(&app_id).await.map_err(unreadable)?.map(|t| (t, snapshot.version())),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(error)),
        };
        if let Some((transaction, version)) = &last {
            let written = transaction.payload.as_deref().and_then(|payload| serde_json::from_str::<Provenance>(payload).ok());
            if !self.full_refresh && written.as_ref() == Some(&provenance) {
                return Ok(Outcome { up_to_date: true, version: Some(*version), ..Outcome::default() });
            }
        }
        let transaction = AppTransaction {
            app_id,
            version: last.map_or(0, |(transaction, _)| transaction.version + 1),
            payload: serde_json::to_string(&provenance).ok(),
        };
        let counts = Counts::of(&dataset.expectations);
        let written = self.write(dataset, query, session, table.as_ref(), transaction, &counts).await?;
        Ok(Outcome {
            // Another update was faster, and has written what this one computed.
            up_to_date: written.skipped,
            rows: written.rows,
            dropped_rows: counts.dropped(),
            late_rows: 0,
            version: Some(written.version),
            expectations: counts.report(),
        })
    }

    async fn write(
        &self,
        dataset: &Dataset,
        query: &Query,
        session: &SessionContext,
        table: &dyn Table,
        transaction: AppTransaction,
        counts: &Arc<Counts>,
    ) -> Result<WriteReport, PipelineError> {
        let failed = |source| PipelineError::Query { dataset: dataset.name.clone(), source: Box::new(source) };
        let frame = query.plan(session).await.map_err(failed)?;
        let rows = batch_stream(frame).await.map_err(|source| PipelineError::Table {
            action: "compute",
            dataset: dataset.name.clone(),
            source,
        })?;
        let guard = Guard::compile(session, &dataset.name, &dataset.expectations, &rows.schema())?;
        let request = WriteRequest {
            mode: WriteMode::Overwrite,
            schema_mode: SchemaMode::Overwrite,
            if_absent: IfAbsent::Create { partition_columns: dataset.partition_by.clone(), properties: BTreeMap::new() },
            app_transaction: Some(transaction),
            progress: self.progress.clone(),
            ..WriteRequest::default()
        };
        table
            .write(request, guard.apply(rows, Arc::clone(counts)))
            .await
            .map_err(|source| unwrap_violation(&dataset.name, source))
    }

    async fn stream(&self, dataset: &Dataset, flow: &dyn Flow, session: &SessionContext) -> Result<Outcome, PipelineError> {
        let name = &dataset.name;
        let failed = |source| PipelineError::Table { action: "open", dataset: name.clone(), source };
        let counts = Counts::of(&dataset.expectations);
        let sink = Arc::new(GuardedSink {
            inner: self.target.sinks.sink(name).map_err(failed)?,
            session: session.clone(),
            dataset: name.clone(),
            expectations: dataset.expectations.clone(),
            counts: Arc::clone(&counts),
        });
        let context = FlowContext { sink, progress: self.progress.clone() };
        let flowed = flow.run(context).await.map_err(|source| unwrap_violation(name, source))?;
        let version = match self.target.tables.table(name).map_err(failed)?.snapshot(TableVersion::Latest).await {
            Ok(snapshot) => Some(snapshot.version()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        Ok(Outcome {
            up_to_date: flowed.epochs == 0,
            rows: flowed.rows_written,
            dropped_rows: counts.dropped(),
            late_rows: flowed.late_rows,
            version,
            expectations: if flowed.epochs == 0 { Vec::new() } else { counts.report() },
        })
    }

    /// Changes when the query of the dataset, of a view that it reads, or one of its expectations changes.
    fn fingerprint(&self, dataset: &Dataset, query: &Query) -> String {
        let mut hash = Fnv::new();
        hash.add(query.definition());
        let upstream = graph::upstream(&self.pipeline.nodes, &dataset.name);
        for view in self.pipeline.datasets.iter().filter(|d| upstream.contains(&d.name)) {
            if let DatasetKind::View(query) = &view.kind {
                hash.add(&view.name);
                hash.add(query.definition());
            }
        }
        for expectation in &dataset.expectations {
            hash.add(&expectation.name);
            hash.add(&expectation.predicate);
            hash.add(expectation.on_violation.as_str());
        }
        dataset.partition_by.iter().for_each(|column| hash.add(column));
        let form = match query.0 {
            QueryKind::Sql(_) => "sql",
            QueryKind::Function { .. } => "function",
        };
        format!("{form}:{:016x}", hash.0)
    }

    async fn log(&self, report: &UpdateReport, started_us: i64) -> Result<(), PipelineError> {
        let Some(table) = &self.target.event_log else { return Ok(()) };
        let failed = |source| PipelineError::EventLog { pipeline: self.pipeline.name.clone(), source };
        let rows = event_log::events(&self.target.env, report, started_us)
            .map_err(|error| failed(boathouse_base::Error::new(ErrorKind::Internal, error)))?;
        let rows = boathouse_base::BatchStream::from_batches(rows.schema(), vec![rows]);
        table.write(WriteRequest::append().or_create(), rows).await.map_err(failed)?;
        Ok(())
    }
}

/// A violated expectation travels through the table as the error of its input: it comes out as what it was.
fn unwrap_violation(dataset: &str, source: boathouse_base::Error) -> PipelineError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(source.get_ref());
    while let Some(error) = cause {
        let inner = error.downcast_ref::<boathouse_base::Error>().map_or(error, |e| e.get_ref());
        if let Some(PipelineError::Violated { dataset, expectation, predicate, failed, seen }) = inner.downcast_ref() {
            return PipelineError::Violated {
                dataset: dataset.clone(),
                expectation: expectation.clone(),
                predicate: predicate.clone(),
                failed: *failed,
                seen: *seen,
            };
        }
        cause = inner.source();
    }
    PipelineError::Table { action: "write", dataset: dataset.to_owned(), source }
}

/// FNV-1a, 64 bits: the same on every machine and for ever, which the standard library's hasher does not promise.
///
/// **Source**: Fowler, Noll, Vo, "The FNV non-cryptographic hash algorithm".
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds a text and its end, so that ("ab", "c") differs from ("a", "bc").
    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
