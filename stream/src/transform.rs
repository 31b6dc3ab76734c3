//! What a query does to the rows of its sources.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use boathouse_base::{BatchStream, BoxFuture};
use boathouse_frames::from_engine;
use datafusion::common::{SchemaError, TableReference};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{DataFrame, SessionContext};

use crate::error::StreamError;
use crate::inlet::Inlet;

type Function = dyn Fn(DataFrame) -> BoxFuture<'static, Result<DataFrame>> + Send + Sync;
type Statement = dyn Fn(SessionContext) -> BoxFuture<'static, Result<DataFrame>> + Send + Sync;

/// What a query does to the rows of its source before they are aggregated or written.
#[derive(Clone, Default)]
pub(crate) enum Transform {
    /// Nothing.
    #[default]
    Identity,
    /// A statement over the table `source`.
    Sql(String),
    /// A function on a frame.
    Function(Arc<Function>),
    /// A function on the tables of a session.
    Tables(Arc<Statement>),
}

impl Transform {
    pub(crate) fn function(transform: impl Fn(DataFrame) -> Result<DataFrame> + Send + Sync + 'static) -> Self {
        Self::Function(Arc::new(move |frame| {
            let transformed = transform(frame);
            Box::pin(async move { transformed })
        }))
    }

    pub(crate) fn asynchronous<F>(transform: impl Fn(DataFrame) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<DataFrame>> + Send + 'static,
    {
        Self::Function(Arc::new(move |frame| Box::pin(transform(frame))))
    }

    pub(crate) fn of_tables<F>(build: impl Fn(SessionContext) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<DataFrame>> + Send + 'static,
    {
        Self::Tables(Arc::new(move |session| Box::pin(build(session))))
    }

    /// The transformed rows; `first` is the name of the first source.
    pub(crate) async fn apply(&self, session: &SessionContext, first: &str) -> Result<DataFrame> {
        match self {
            Self::Identity => session.table(TableReference::bare(first)).await,
            Self::Sql(sql) => session.sql(sql).await,
            Self::Function(function) => function(session.table(TableReference::bare(first)).await?).await,
            Self::Tables(build) => build(session.clone()).await,
        }
    }
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("Identity"),
            Self::Sql(sql) => f.debug_tuple("Sql").field(sql).finish(),
            Self::Function(_) => f.write_str("Function"),
            Self::Tables(_) => f.write_str("Tables"),
        }
    }
}

/// Executes a resident plan over the rows that are put into its inlet.
pub(crate) fn run(
    plan: &Arc<dyn ExecutionPlan>,
    inlet: &Inlet,
    rows: BatchStream,
    context: &Arc<TaskContext>,
) -> Result<BatchStream> {
    inlet.fill(rows);
    let fresh = reset_plan_states(Arc::clone(plan))?;
    Ok(from_engine(execute_stream(fresh, Arc::clone(context))?))
}

/// An error of the planner; a column that is not there gets its own variant.
pub(crate) fn plan_error(query: &str, error: DataFusionError) -> StreamError {
    if let DataFusionError::SchemaError(schema, _) = error.find_root()
        && let SchemaError::FieldNotFound { field, valid_fields } = schema.as_ref()
    {
        return StreamError::MissingColumn {
            query: query.to_owned(),
            column: field.name.clone(),
            available: valid_fields.iter().map(|field| field.name.clone()).collect(),
        };
    }
    StreamError::Plan { query: query.to_owned(), source: Box::new(error) }
}
