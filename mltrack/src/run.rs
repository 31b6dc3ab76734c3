//! Runs and what they hold.

use std::collections::BTreeMap;

/// One run: one execution of training code.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Who, when and where.
    pub info: RunInfo,
    /// Params by key.
    pub params: BTreeMap<String, String>,
    /// The latest point of each metric, by key: the one with the largest (step, timestamp, value).
    pub metrics: BTreeMap<String, Metric>,
    /// Tags by key.
    pub tags: BTreeMap<String, String>,
    /// The data it read.
    pub inputs: Vec<DatasetInput>,
}

/// Who, when and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunInfo {
    /// 32 hexadecimal digits.
    pub run_id: String,
    /// A name for people; two runs may share it.
    pub run_name: String,
    /// The experiment it belongs to.
    pub experiment_id: String,
    /// Who started it; may be empty.
    pub user_id: String,
    /// How far it is.
    pub status: RunStatus,
    /// When it began, in milliseconds since the Unix epoch.
    pub start_time_ms: i64,
    /// When it ended.
    pub end_time_ms: Option<i64>,
    /// Where its artifacts are for MLflow clients; for Rust see [`Tracker::artifact_location`](crate::Tracker::artifact_location).
    pub artifact_uri: String,
    /// Whether it was deleted.
    pub lifecycle: Lifecycle,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunStatus {
    /// It runs.
    Running,
    /// It waits for its turn.
    Scheduled,
    /// It ended well.
    Finished,
    /// It ended with an error.
    Failed,
    /// It was stopped.
    Killed,
}

impl RunStatus {
    /// The word of MLflow.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Scheduled => "SCHEDULED",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
        }
    }

    /// The status of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Running, Self::Scheduled, Self::Finished, Self::Failed, Self::Killed].into_iter().find(|s| s.as_str() == word)
    }

    /// Whether it is over.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Killed)
    }
}

/// Whether a thing was deleted. Deleted things stay until they are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lifecycle {
    /// In use.
    #[default]
    Active,
    /// Deleted, and can be restored.
    Deleted,
}

impl Lifecycle {
    /// The word of MLflow.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleted => "deleted",
        }
    }

    pub(crate) fn from_word(word: &str) -> Self {
        if word == "deleted" { Self::Deleted } else { Self::Active }
    }
}

/// Which of active and deleted things a search shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum View {
    /// Active ones.
    #[default]
    Active,
    /// Deleted ones.
    Deleted,
    /// Both.
    All,
}

impl View {
    /// As a condition over a column of lifecycle words.
    pub(crate) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Active => &["active"],
            Self::Deleted => &["deleted"],
            Self::All => &["active", "deleted"],
        }
    }
}

/// One point of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name.
    pub key: String,
    /// Its value; NaN and the infinities are kept as they are.
    pub value: f64,
    /// When it was measured, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The step of training, often an epoch.
    pub step: i64,
}

impl Metric {
    /// A point.
    pub fn new(key: impl Into<String>, value: f64, timestamp_ms: i64, step: i64) -> Self {
        Self { key: key.into(), value, timestamp_ms, step }
    }
}

/// What is logged together: all of it, or nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunBatch {
    /// At most 1000.
    pub metrics: Vec<Metric>,
    /// At most 100, each key once.
    pub params: Vec<(String, String)>,
    /// At most 100; of a key that comes twice the last value holds.
    pub tags: Vec<(String, String)>,
}

/// A dataset that a run read: for a table its location and version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatasetInput {
    /// A name for people, such as the table's.
    pub name: String,
    /// What tells two states apart, at most 36 characters: for a table its version.
    pub digest: String,
    /// What kind of thing `source` names: `delta_table`, `http`, `local`.
    pub source_type: String,
    /// Where it came from; MLflow clients expect JSON here.
    pub source: String,
    /// Its columns, as JSON.
    pub schema: Option<String>,
    /// Its statistics, as JSON.
    pub profile: Option<String>,
    /// What it was used for: `mlflow.data.context` = `training`.
    pub tags: BTreeMap<String, String>,
}

impl DatasetInput {
    /// A version of a Delta table, read for `context` (`training`, `test`).
    pub fn table_version(name: impl Into<String>, location: &str, version: u64, context: &str) -> Self {
        let source = serde_json::json!({ "path": location, "delta_table_version": version });
        Self {
            name: name.into(),
            digest: format!("v{version}"),
            source_type: "delta_table".to_owned(),
            source: source.to_string(),
            tags: BTreeMap::from([("mlflow.data.context".to_owned(), context.to_owned())]),
            ..Self::default()
        }
    }
}

/// A search over runs. Everything empty means: all active runs of all experiments, newest first.
///
/// # Example
/// ```
/// use boathouse_mltrack::RunSearch;
///
/// let search = RunSearch {
///     experiment_ids: vec!["1".into()],
///     filter: "metrics.auc > 0.7 AND params.model = 'logistic'".into(),
///     order_by: vec!["metrics.auc DESC".into()],
///     ..RunSearch::default()
/// };
/// assert_eq!(search.max_results, 1000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSearch {
    /// In these experiments; empty means in all.
    pub experiment_ids: Vec<String>,
    /// MLflow's filter grammar.
    pub filter: String,
    /// Active runs, deleted ones, or both.
    pub view: View,
    /// Keys, each with `ASC` or `DESC`; ties are broken by start time (newest first) and run id.
    pub order_by: Vec<String>,
    /// Runs in a page.
    pub max_results: usize,
    /// `next_page_token` of the page before.
    pub page_token: Option<String>,
}

impl Default for RunSearch {
    fn default() -> Self {
        Self {
            experiment_ids: Vec::new(),
            filter: String::new(),
            view: View::default(),
            order_by: Vec::new(),
            max_results: 1000,
            page_token: None,
        }
    }
}

/// A page of runs.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPage {
    /// In the order that was asked for.
    pub runs: Vec<Run>,
    /// For the next page; `None` on the last one.
    pub next_page_token: Option<String>,
}

/// What to create a run with. Unset fields get defaults from the tracker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewRun {
    /// A name for people; invented when it is absent.
    pub run_name: Option<String>,
    /// Who starts it.
    pub user_id: String,
    /// When it began; now when it is absent.
    pub start_time_ms: Option<i64>,
    /// Tags to begin with.
    pub tags: Vec<(String, String)>,
}

/// A page of a metric's history.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricPage {
    /// By timestamp, step and value.
    pub metrics: Vec<Metric>,
    /// For the next page; `None` on the last one.
    pub next_page_token: Option<String>,
}
