//! Datasets: what a pipeline computes.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use boathouse_base::BoxFuture;
use datafusion::error::DataFusionError;
use datafusion::prelude::{DataFrame, SessionContext};

use crate::expectation::{Expectation, OnViolation};
use crate::flow::Flow;

type Build = dyn Fn(SessionContext) -> BoxFuture<'static, Result<DataFrame, DataFusionError>> + Send + Sync;

/// How the rows of a view are computed from other datasets.
#[derive(Clone)]
pub struct Query(pub(crate) QueryKind);

#[derive(Clone)]
pub(crate) enum QueryKind {
    Sql(String),
    Function { version: String, reads: Vec<String>, build: Arc<Build> },
}

impl Query {
    /// A SELECT. The names that it reads are found by parsing it.
    pub fn sql(sql: impl Into<String>) -> Self {
        Self(QueryKind::Sql(sql.into()))
    }

    /// A function on a session in which everything named in `reads` is a table.
    ///
    /// `version` stands for the code of the function: change it when the function changes, so that the dataset is
    /// computed again.
    pub fn function<F, R>(version: impl Into<String>, reads: impl IntoIterator<Item = impl Into<String>>, build: F) -> Self
    where
        F: Fn(SessionContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<DataFrame, DataFusionError>> + Send + 'static,
    {
        Self(QueryKind::Function {
            version: version.into(),
            reads: reads.into_iter().map(Into::into).collect(),
            build: Arc::new(move |session| Box::pin(build(session))),
        })
    }

    pub(crate) async fn plan(&self, session: &SessionContext) -> Result<DataFrame, DataFusionError> {
        match &self.0 {
            QueryKind::Sql(sql) => session.sql(sql).await,
            QueryKind::Function { build, .. } => build(session.clone()).await,
        }
    }

    /// What a change of must lead to computing the dataset again.
    pub(crate) fn definition(&self) -> &str {
        match &self.0 {
            QueryKind::Sql(sql) => sql,
            QueryKind::Function { version, .. } => version,
        }
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            QueryKind::Sql(sql) => f.debug_tuple("Sql").field(sql).finish(),
            QueryKind::Function { version, reads, .. } => {
                f.debug_struct("Function").field("version", version).field("reads", reads).finish_non_exhaustive()
            }
        }
    }
}

/// What a dataset is.
#[derive(Debug, Clone)]
pub(crate) enum DatasetKind {
    MaterializedView(Query),
    View(Query),
    StreamingTable(Arc<dyn Flow>),
}

/// One dataset of a pipeline.
///
/// | kind | stored | computed |
/// | --- | --- | --- |
/// | [materialized view](Self::materialized_view) | yes | whole, when something that it reads has a new version |
/// | [view](Self::view) | no | whenever it is read |
/// | [streaming table](Self::streaming_table) | yes | from what its source has that is new, exactly once |
#[derive(Debug, Clone)]
pub struct Dataset {
    pub(crate) name: String,
    pub(crate) kind: DatasetKind,
    pub(crate) expectations: Vec<Expectation>,
    pub(crate) partition_by: Vec<String>,
}

impl Dataset {
    fn new(name: impl Into<String>, kind: DatasetKind) -> Self {
        Self { name: name.into(), kind, expectations: Vec::new(), partition_by: Vec::new() }
    }

    /// A stored result that always equals its query over what it reads, as of the last update.
    pub fn materialized_view(name: impl Into<String>, query: Query) -> Self {
        Self::new(name, DatasetKind::MaterializedView(query))
    }

    /// A named query.
    pub fn view(name: impl Into<String>, query: Query) -> Self {
        Self::new(name, DatasetKind::View(query))
    }

    /// A table that grows with a stream.
    pub fn streaming_table(name: impl Into<String>, flow: impl Flow + 'static) -> Self {
        Self::new(name, DatasetKind::StreamingTable(Arc::new(flow)))
    }

    /// Adds an expectation: a SQL condition over the dataset's columns that every row should satisfy. Counted for
    /// stored datasets; those of a view are an error when the pipeline is built.
    #[must_use]
    pub fn expect(mut self, name: impl Into<String>, predicate: impl Into<String>, on_violation: OnViolation) -> Self {
        self.expectations.push(Expectation { name: name.into(), predicate: predicate.into(), on_violation });
        self
    }

    /// Partitions the stored table of a materialized view.
    #[must_use]
    pub fn partition_by(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }
}
