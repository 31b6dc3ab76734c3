//! Experiments: named groups of runs.

use std::collections::BTreeMap;

use crate::run::{Lifecycle, View};

/// A named group of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experiment {
    /// A number, as text. `0` is the experiment `Default`, which is always there.
    pub experiment_id: String,
    /// Unique, deleted experiments included.
    pub name: String,
    /// Where artifacts of new runs go, for MLflow clients.
    pub artifact_location: String,
    /// Whether it was deleted.
    pub lifecycle: Lifecycle,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When its name or state last changed.
    pub updated_ms: i64,
    /// Tags by key.
    pub tags: BTreeMap<String, String>,
}

/// What to create an experiment with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewExperiment {
    /// Unique.
    pub name: String,
    /// Where artifacts go; below the tracker's artifact root when it is absent.
    pub artifact_location: Option<String>,
    /// Tags to begin with.
    pub tags: Vec<(String, String)>,
}

/// A search over experiments. Everything empty means: all active ones, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExperimentSearch {
    /// MLflow's filter grammar over `name`, `experiment_id`, `creation_time`, `last_update_time` and `tags.KEY`.
    pub filter: String,
    /// Active ones, deleted ones, or both.
    pub view: View,
    /// Keys, each with `ASC` or `DESC`.
    pub order_by: Vec<String>,
    /// Experiments in a page.
    pub max_results: usize,
    /// `next_page_token` of the page before.
    pub page_token: Option<String>,
}

impl Default for ExperimentSearch {
    fn default() -> Self {
        Self { filter: String::new(), view: View::default(), order_by: Vec::new(), max_results: 1000, page_token: None }
    }
}

/// A page of experiments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExperimentPage {
    /// In the order that was asked for.
    pub experiments: Vec<Experiment>,
    /// For the next page; `None` on the last one.
    pub next_page_token: Option<String>,
}
