//! Registered models and their versions.

use std::collections::BTreeMap;

use crate::stage::Stage;

/// A registered model: a name for a line of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredModel {
    /// Unique.
    pub name: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When it or a version of it last changed.
    pub updated_ms: i64,
    /// What it is for.
    pub description: Option<String>,
    /// Tags by key.
    pub tags: BTreeMap<String, String>,
    /// Version numbers by alias.
    pub aliases: BTreeMap<String, u64>,
    /// The newest version in each stage that has one.
    pub latest_versions: Vec<ModelVersion>,
}

/// One version of a registered model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelVersion {
    /// The model.
    pub name: String,
    /// 1, 2, 3, …; numbers of deleted versions are not used again.
    pub version: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When it last changed.
    pub updated_ms: i64,
    /// Its stage.
    pub stage: Stage,
    /// What is new.
    pub description: Option<String>,
    /// The folder that holds its files.
    pub source: String,
    /// The run that made it.
    pub run_id: Option<String>,
    /// A link to that run, on another server.
    pub run_link: Option<String>,
    /// Who registered it; may be empty.
    pub user_id: String,
    /// Tags by key.
    pub tags: BTreeMap<String, String>,
    /// Its aliases, sorted.
    pub aliases: Vec<String>,
}

/// What to create a version with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewVersion {
    /// The folder that holds its files, as a URL that storage can open.
    pub source: String,
    /// The run that made it.
    pub run_id: Option<String>,
    /// A link to that run, on another server.
    pub run_link: Option<String>,
    /// What is new.
    pub description: Option<String>,
    /// Who registers it.
    pub user_id: String,
    /// Tags to begin with.
    pub tags: Vec<(String, String)>,
}

/// One line of the audit: a version moved between stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The model.
    pub name: String,
    /// The version.
    pub version: u64,
    /// Where it was.
    pub from: Stage,
    /// Where it went.
    pub to: Stage,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Who; empty when it was not said.
    pub who: String,
    /// Why; empty when it was not said.
    pub why: String,
}

/// A search over models or versions. Everything empty means: all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// MLflow's filter grammar. Models: `name`, `tags.KEY`; versions: `name`, `version_number`, `run_id`, `source_path`, `tags.KEY`.
    pub filter: String,
    /// Keys, each with `ASC` or `DESC`.
    pub order_by: Vec<String>,
    /// Things in a page.
    pub max_results: usize,
    /// `next_page_token` of the page before.
    pub page_token: Option<String>,
}

impl Default for Search {
    fn default() -> Self {
        Self { filter: String::new(), order_by: Vec::new(), max_results: 100, page_token: None }
    }
}

/// A page of what a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// In the order that was asked for.
    pub items: Vec<T>,
    /// For the next page; `None` on the last one.
    pub next_page_token: Option<String>,
}
