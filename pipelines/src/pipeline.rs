//! Building a pipeline: declaring datasets, and ordering them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use boathouse_base::{Env, SinkResolver, Table, TableResolver};
use datafusion::prelude::SessionContext;

use crate::dataset::{Dataset, DatasetKind, Query, QueryKind};
use crate::error::PipelineError;
use crate::graph::{self, Node};
use crate::update::Update;

/// Where a pipeline reads and writes, and what it asks for the time.
#[derive(Clone)]
pub struct Target {
    /// Tables by the names of datasets.
    pub tables: Arc<dyn TableResolver>,
    /// Sinks by the names of streaming tables.
    pub sinks: Arc<dyn SinkResolver>,
    /// Time and ids.
    pub env: Env,
    /// Where the event log goes.
    pub event_log: Option<Arc<dyn Table>>,
}

/// Declares a pipeline.
#[must_use = "a builder does nothing until it is built"]
pub struct PipelineBuilder {
    name: String,
    datasets: Vec<Dataset>,
    external: BTreeSet<String>,
    session: Arc<dyn Fn() -> SessionContext + Send + Sync>,
}

/// A graph of datasets, in order.
#[derive(Clone)]
pub struct Pipeline {
    pub(crate) name: String,
    /// In the order in which they are computed.
    pub(crate) datasets: Vec<Dataset>,
    /// Beside `datasets`.
    pub(crate) nodes: Vec<Node>,
    pub(crate) session: Arc<dyn Fn() -> SessionContext + Send + Sync>,
}

impl Pipeline {
    /// Begins a pipeline.
    pub fn named(name: impl Into<String>) -> PipelineBuilder {
        PipelineBuilder {
            name: name.into(),
            datasets: Vec::new(),
            external: BTreeSet::new(),
            session: Arc::new(SessionContext::new),
        }
    }

    /// The datasets in the order in which they are computed.
    pub fn order(&self) -> impl Iterator<Item = &str> {
        self.datasets.iter().map(|dataset| dataset.name.as_str())
    }

    /// An update of `target`; [`run`](Update::run) performs it.
    pub fn update(&self, target: Target) -> Update {
        Update::new(self.clone(), target)
    }
}

impl PipelineBuilder {
    /// Adds a dataset.
    pub fn dataset(mut self, dataset: Dataset) -> Self {
        self.datasets.push(dataset);
        self
    }

    /// Names tables that the pipeline reads and does not compute.
    pub fn external(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.external.extend(names.into_iter().map(Into::into));
        self
    }

    /// Makes the sessions that queries are planned in: for own functions and settings.
    pub fn session(mut self, make: impl Fn() -> SessionContext + Send + Sync + 'static) -> Self {
        self.session = Arc::new(make);
        self
    }

    /// Checks and orders the datasets. Does no I/O.
    ///
    /// **Errors**: `Invalid` for SQL that does not parse, a name that stands twice, a name that is read and not
    /// known, and datasets that read each other in a circle.
    pub fn build(self) -> Result<Pipeline, PipelineError> {
        let session = (self.session)();
        let mut nodes = Vec::with_capacity(self.datasets.len());
        for dataset in &self.datasets {
            check_expectations(dataset)?;
            let reads = match &dataset.kind {
                DatasetKind::MaterializedView(query) | DatasetKind::View(query) => reads(&session, &dataset.name, query)?,
                DatasetKind::StreamingTable(flow) => flow.reads(),
            };
            nodes.push(Node { name: dataset.name.clone(), reads });
        }
        let order = graph::order(&self.name, &nodes, &self.external)?;
        Ok(Pipeline {
            datasets: order.iter().map(|at| self.datasets[*at].clone()).collect(),
            nodes: order.iter().map(|at| nodes[*at].clone()).collect(),
            name: self.name,
            session: self.session,
        })
    }
}

fn check_expectations(dataset: &Dataset) -> Result<(), PipelineError> {
    let mut names = BTreeSet::new();
    for expectation in &dataset.expectations {
        if matches!(dataset.kind, DatasetKind::View(_)) {
            return Err(PipelineError::ExpectationOnView {
                dataset: dataset.name.clone(),
                expectation: expectation.name.clone(),
            });
        }
        if !names.insert(&expectation.name) {
            return Err(PipelineError::DuplicateExpectation {
                dataset: dataset.name.clone(),
                expectation: expectation.name.clone(),
            });
        }
    }
    Ok(())
}

/// The tables that a query names, each once.
fn reads(session: &SessionContext, dataset: &str, query: &Query) -> Result<Vec<String>, PipelineError> {
    let sql = match &query.0 {
        QueryKind::Function { reads, .. } => return Ok(reads.clone()),
        QueryKind::Sql(sql) => sql,
    };
    let failed = |source| PipelineError::Query { dataset: dataset.to_owned(), source: Box::new(source) };
    let state = session.state();
    let dialect = state.config().options().sql_parser.dialect;
    let statement = state.sql_to_statement(sql, &dialect).map_err(failed)?;
    let references = state.resolve_table_references(&statement).map_err(failed)?;
    let names: BTreeSet<String> = references.iter().map(|reference| reference.table().to_owned()).collect();
    Ok(names.into_iter().collect())
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("name", &self.name).field("datasets", &self.datasets).finish_non_exhaustive()
    }
}

/// The graph as text: a line for each dataset, in order, with what it reads.
impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (dataset, node) in self.datasets.iter().zip(&self.nodes) {
            let kind = match dataset.kind {
                DatasetKind::MaterializedView(_) => "materialized view",
                DatasetKind::View(_) => "view",
                DatasetKind::StreamingTable(_) => "streaming table",
            };
            write!(f, "{} ({kind})", dataset.name)?;
            match node.reads.as_slice() {
                [] => writeln!(f)?,
                reads => writeln!(f, " <- {}", reads.join(", "))?,
            }
        }
        Ok(())
    }
}
