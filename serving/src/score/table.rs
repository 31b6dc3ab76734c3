//! A table of rows in, a table of predictions out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use boathouse_base::{
    AppTransaction, BatchStream, IfAbsent, Progress, ScanRequest, Table, TableSnapshot, WriteMode, WriteRequest,
};

use crate::endpoint::Scorer;
use crate::error::{Result, ServingError};

/// The column that holds the registered model.
pub const MODEL_NAME_COLUMN: &str = "model_name";

/// The column that holds its version.
pub const MODEL_VERSION_COLUMN: &str = "model_version";

/// Scores rows into a table, in one commit.
///
/// # Example
/// ```no_run
/// # use std::sync::Arc;
/// # use boathouse_base::{Table, TableVersion};
/// # use boathouse_serving::{Endpoint, ScoreTable};
/// # async fn story(endpoint: Endpoint, flights: Arc<dyn Table>, scores: Arc<dyn Table>) -> Result<(), Box<dyn std::error::Error>> {
/// let december = flights.snapshot(TableVersion::Latest).await?;
/// let report = ScoreTable::of_snapshot(endpoint.scorer()?, december)
///     .keep(["flight_id"])
///     .once("december", 1)
///     .run(scores.as_ref())
///     .await?;
/// println!("{} rows by version {}", report.rows, report.model_version);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `run`"]
pub struct ScoreTable {
    scorer: Scorer,
    input: Input,
    keep: Vec<String>,
    mode: WriteMode,
    app_transaction: Option<AppTransaction>,
    progress: Progress,
}

#[derive(Debug)]
enum Input {
    Snapshot(Arc<dyn TableSnapshot>),
    Stream(BatchStream),
}

/// What scoring a table did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreReport {
    /// Rows that were scored and written; 0 when skipped.
    pub rows: u64,
    /// Whether the transaction had been committed before, so that nothing was written.
    pub skipped: bool,
    /// The registered model.
    pub model_name: String,
    /// Its version.
    pub model_version: u64,
    /// The version of the input table; `None` for a stream.
    pub input_version: Option<u64>,
    /// The version of the output table that holds the predictions.
    pub output_version: u64,
}

impl ScoreTable {
    /// Scores every row of one version of a table. Only the columns that are needed are read.
    pub fn of_snapshot(scorer: Scorer, input: Arc<dyn TableSnapshot>) -> Self {
        Self::new(scorer, Input::Snapshot(input))
    }

    /// Scores the rows of a stream, such as a query's answer.
    pub fn of_stream(scorer: Scorer, input: BatchStream) -> Self {
        Self::new(scorer, Input::Stream(input))
    }

    fn new(scorer: Scorer, input: Input) -> Self {
        Self { scorer, input, keep: Vec::new(), mode: WriteMode::Append, app_transaction: None, progress: Progress::default() }
    }

    /// Carries these columns of the input over, before the predictions.
    pub fn keep<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.keep = columns.into_iter().map(Into::into).collect();
        self
    }

    /// What happens to rows that are in the output table; they stay unless this is called.
    pub fn mode(mut self, mode: WriteMode) -> Self {
        self.mode = mode;
        self
    }

    /// Makes the write idempotent: a second run with this id and number, or a lower one, writes nothing.
    pub fn once(mut self, app_id: impl Into<String>, version: u64) -> Self {
        self.app_transaction = Some(AppTransaction { app_id: app_id.into(), version, payload: None });
        self
    }

    /// Who is told how far it is.
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Scores and writes. The table is created if it is absent.
    ///
    /// **Shape**: kept columns, the model's outputs, `model_name`, `model_version`.
    ///
    /// **Cost**: rows stream through; the output is one commit, so a failure leaves no row.
    ///
    /// **Errors**: those of [`Scorer::score_stream`] and of the two tables.
    pub async fn run(self, output: &dyn Table) -> Result<ScoreReport> {
        let Self { scorer, input, keep, mode, app_transaction, progress } = self;
        let (rows, input_version) = match input {
            Input::Stream(rows) => (rows, None),
            Input::Snapshot(snapshot) => {
                let schema = snapshot.schema();
                let wanted: BTreeSet<&str> = keep
                    .iter()
                    .map(String::as_str)
                    .chain(scorer.request_schema().fields().iter().map(|f| f.name().as_str()))
                    .collect();
                // A column that is not there is an error of scoring, which says whether it is required.
                let columns = schema.fields().iter().map(|f| f.name()).filter(|name| wanted.contains(name.as_str()));
                let request = ScanRequest::default().project(columns.cloned());
                let rows = snapshot.scan(request).await.map_err(|source| ServingError::ScoreTable { action: "read", source })?;
                (rows, Some(snapshot.version()))
            }
        };
        let scored = scorer.score_stream(rows, &keep)?;
        let request = WriteRequest {
            mode,
            if_absent: IfAbsent::create(),
            app_transaction,
            commit_metadata: BTreeMap::from([
                ("boathouse.model".to_owned(), scorer.model_name().to_owned()),
                ("boathouse.modelVersion".to_owned(), scorer.version().to_string()),
            ]),
            progress,
            ..WriteRequest::default()
        };
        let report =
            output.write(request, scored).await.map_err(|source| ServingError::ScoreTable { action: "write", source })?;
        Ok(ScoreReport {
            rows: report.rows,
            skipped: report.skipped,
            model_name: scorer.model_name().to_owned(),
            model_version: scorer.version(),
            input_version,
            output_version: report.version,
        })
    }
}
