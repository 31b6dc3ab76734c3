//! A query with everything that it needs, from what its builder was given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use boathouse_base::{Env, Offset, OutputMode, Progress, ReadLimit, StreamSink, StreamSource};
use boathouse_storage::system_env;
use datafusion::prelude::SessionContext;

use crate::checkpoint::Checkpoint;
use crate::crash::CrashPoints;
use crate::error::StreamError;
use crate::event_time::Watermark;
use crate::listener::StreamListener;
use crate::query::{Observer, StreamQuery};
use crate::session::default_session;
use crate::sinks::{BatchWriter, JournaledSink};
use crate::state::Budget;
use crate::transform::Transform;
use crate::trigger::Trigger;
use crate::watermarks::WatermarkPolicy;
use crate::window::TumblingWindow;

/// Where rows go.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Sink(Arc<dyn StreamSink>),
    /// With its journal in the checkpoint.
    Writer(Arc<dyn BatchWriter>),
}

/// A source, and what it is called in SQL.
#[derive(Debug, Clone)]
pub(crate) struct NamedSource {
    pub(crate) name: String,
    pub(crate) source: Arc<dyn StreamSource>,
    /// Of one of its own columns.
    pub(crate) watermark: Option<Watermark>,
}

/// A query with everything that it needs.
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) sources: Vec<NamedSource>,
    pub(crate) sink: Arc<dyn StreamSink>,
    /// Where late rows go.
    pub(crate) late_sink: Option<Arc<dyn StreamSink>>,
    pub(crate) checkpoint: Checkpoint,
    /// Where sources begin that have no position yet.
    pub(crate) starts: BTreeMap<String, Offset>,
    pub(crate) transform: Transform,
    pub(crate) session: SessionContext,
    pub(crate) watermark: Option<Watermark>,
    pub(crate) watermark_policy: WatermarkPolicy,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) window: Option<TumblingWindow>,
    pub(crate) output_mode: OutputMode,
    pub(crate) trigger: Trigger,
    pub(crate) read_limit: ReadLimit,
    /// Bytes of state in memory.
    pub(crate) state_bytes: usize,
    pub(crate) env: Env,
    pub(crate) progress: Progress,
    pub(crate) observer: Option<Observer>,
    pub(crate) listeners: Vec<Arc<dyn StreamListener>>,
    pub(crate) crash_points: Option<Arc<dyn CrashPoints>>,
}

impl Definition {
    /// Of the memory for state.
    pub(crate) fn budget(&self) -> Budget {
        Budget { bytes: self.state_bytes, disk: Arc::clone(&self.session.runtime_env().disk_manager) }
    }
}

impl StreamQuery {
    /// **Errors**: when a part is missing, or two do not fit together.
    pub(crate) fn complete(self) -> Result<Definition, StreamError> {
        let name = self.name;
        let incomplete = |part, method| StreamError::Incomplete { query: name.clone(), part, method };
        if self.sources.is_empty() {
            return Err(incomplete("source", "source"));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = self.sources.iter().find(|source| !names.insert(source.name.as_str())) {
            return Err(StreamError::SameName { query: name.clone(), name: twice.name.clone() });
        }
        let sink = self.sink.ok_or_else(|| incomplete("sink", "sink"))?;
        let checkpoint = self.checkpoint.ok_or_else(|| incomplete("checkpoint", "checkpoint"))?;
        let sink = match sink {
            Target::Sink(sink) => sink,
            Target::Writer(writer) => Arc::new(JournaledSink::new(writer, checkpoint.clone())),
        };
        let checked = match &self.window {
            Some(window) => window.check(self.watermark.as_ref(), self.output_mode),
            None => Ok(()),
        };
        checked.map_err(|problem| StreamError::Window { query: name.clone(), problem })?;
        let source_names: Vec<String> = self.sources.iter().map(|source| source.name.clone()).collect();
        let starts = self.spark.map(|spark| spark.starts(&source_names)).transpose();
        let starts = starts.map_err(|source| StreamError::Spark { query: name.clone(), source: Box::new(source) })?;
        Ok(Definition {
            starts: starts.unwrap_or_default(),
            sources: self.sources,
            sink,
            late_sink: self.late_sink,
            checkpoint: Checkpoint::new(&name, checkpoint),
            transform: self.transform,
            session: self.session.unwrap_or_else(default_session),
            watermark: self.watermark,
            watermark_policy: self.watermark_policy,
            idle_timeout: self.idle_timeout,
            window: self.window,
            output_mode: self.output_mode,
            trigger: self.trigger,
            read_limit: self.read_limit,
            state_bytes: self.state_bytes,
            env: self.env.unwrap_or_else(system_env),
            progress: self.progress,
            observer: self.observer,
            listeners: self.listeners,
            crash_points: self.crash_points,
            name,
        })
    }
}
