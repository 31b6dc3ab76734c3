//! The tables, and which of their columns a search may name.
//!
//! ```text
//! ml_experiments 1─n ml_runs 1─n ml_params, ml_tags, ml_metrics (every point), ml_latest_metrics (one a key)
//!       1                1
//!       n                n
//! ml_experiment_tags   ml_inputs n─1 ml_datasets,  ml_inputs 1─n ml_input_tags
//! ```

use boathouse_mlwire::{Attribute, Group, Keys, Migration, SearchSchema, Usage, ValueKind};

pub(crate) const COMPONENT: &str = "mltrack";

pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "experiments, runs, and what they log",
    sql: "
CREATE TABLE ml_experiments (
    experiment_id {identity},
    name {text} NOT NULL UNIQUE,
    artifact_location {text},
    lifecycle_stage {text} NOT NULL,
    creation_time {int} NOT NULL,
    last_update_time {int} NOT NULL
);
CREATE TABLE ml_experiment_tags (
    experiment_id {int} NOT NULL REFERENCES ml_experiments (experiment_id),
    key {text} NOT NULL,
    value {text} NOT NULL,
    PRIMARY KEY (experiment_id, key)
);
CREATE TABLE ml_runs (
    run_id {text} NOT NULL PRIMARY KEY,
    experiment_id {int} NOT NULL REFERENCES ml_experiments (experiment_id),
    run_name {text} NOT NULL,
    user_id {text} NOT NULL,
    status {text} NOT NULL,
    start_time {int} NOT NULL,
    end_time {int},
    artifact_uri {text} NOT NULL,
    lifecycle_stage {text} NOT NULL
);
CREATE INDEX ml_runs_newest ON ml_runs (experiment_id, lifecycle_stage, start_time, run_id);
CREATE TABLE ml_params (
    run_id {text} NOT NULL REFERENCES ml_runs (run_id),
    key {text} NOT NULL,
    value {text} NOT NULL,
    PRIMARY KEY (run_id, key)
);
CREATE TABLE ml_tags (
    run_id {text} NOT NULL REFERENCES ml_runs (run_id),
    key {text} NOT NULL,
    value {text} NOT NULL,
    PRIMARY KEY (run_id, key)
);
CREATE TABLE ml_metrics (
    run_id {text} NOT NULL REFERENCES ml_runs (run_id),
    key {text} NOT NULL,
    step {int} NOT NULL,
    timestamp_ms {int} NOT NULL,
    value {real} NOT NULL,
    is_nan {int} NOT NULL,
    PRIMARY KEY (run_id, key, step, timestamp_ms, value, is_nan)
);
CREATE TABLE ml_latest_metrics (
    run_id {text} NOT NULL REFERENCES ml_runs (run_id),
    key {text} NOT NULL,
    step {int} NOT NULL,
    timestamp_ms {int} NOT NULL,
    value {real} NOT NULL,
    is_nan {int} NOT NULL,
    PRIMARY KEY (run_id, key)
);
CREATE TABLE ml_datasets (
    dataset_id {identity},
    experiment_id {int} NOT NULL REFERENCES ml_experiments (experiment_id),
    name {text} NOT NULL,
    digest {text} NOT NULL,
    source_type {text} NOT NULL,
    source {text} NOT NULL,
    schema_json {text},
    profile {text},
    UNIQUE (experiment_id, name, digest)
);
CREATE TABLE ml_inputs (
    run_id {text} NOT NULL REFERENCES ml_runs (run_id),
    dataset_id {int} NOT NULL REFERENCES ml_datasets (dataset_id),
    PRIMARY KEY (run_id, dataset_id)
);
CREATE TABLE ml_input_tags (
    run_id {text} NOT NULL,
    dataset_id {int} NOT NULL,
    key {text} NOT NULL,
    value {text} NOT NULL,
    PRIMARY KEY (run_id, dataset_id, key),
    FOREIGN KEY (run_id, dataset_id) REFERENCES ml_inputs (run_id, dataset_id)
);
",
}];

const fn attribute(names: &'static [&'static str], sql: &'static str, kind: ValueKind, usage: Usage) -> Attribute {
    Attribute { names, sql, kind, usage }
}

/// The main table is `ml_runs r`.
pub(crate) const RUNS: SearchSchema = SearchSchema {
    searched: "runs",
    attributes: &[
        attribute(&["run_id"], "r.run_id", ValueKind::Text, Usage::FilterAndOrder),
        attribute(&["run_name", "Run name", "run name"], "r.run_name", ValueKind::Text, Usage::FilterAndOrder),
        attribute(&["status"], "r.status", ValueKind::Text, Usage::FilterAndOrder),
        attribute(&["artifact_uri"], "r.artifact_uri", ValueKind::Text, Usage::FilterAndOrder),
        attribute(&["user_id", "user"], "r.user_id", ValueKind::Text, Usage::FilterAndOrder),
        attribute(&["start_time", "created"], "r.start_time", ValueKind::Number, Usage::FilterAndOrder),
        attribute(&["end_time"], "r.end_time", ValueKind::Number, Usage::FilterAndOrder),
        attribute(&["experiment_id"], "r.experiment_id", ValueKind::Number, Usage::Order),
    ],
    groups: &[
        Group {
            names: &["metrics", "metric"],
            from: "ml_latest_metrics x WHERE x.run_id = r.run_id",
            keys: Keys::Rows { key: "x.key", value: "x.value" },
            kind: ValueKind::Number,
            nan: Some("x.is_nan"),
        },
        Group {
            names: &["params", "param", "parameters", "parameter"],
            from: "ml_params x WHERE x.run_id = r.run_id",
            keys: Keys::Rows { key: "x.key", value: "x.value" },
            kind: ValueKind::Text,
            nan: None,
        },
        Group {
            names: &["tags", "tag"],
            from: "ml_tags x WHERE x.run_id = r.run_id",
            keys: Keys::Rows { key: "x.key", value: "x.value" },
            kind: ValueKind::Text,
            nan: None,
        },
        Group {
            names: &["datasets", "dataset"],
            from: "ml_inputs i JOIN ml_datasets d ON d.dataset_id = i.dataset_id LEFT JOIN ml_input_tags c \
                   ON c.run_id = i.run_id AND c.dataset_id = i.dataset_id AND c.key = 'mlflow.data.context' \
                   WHERE i.run_id = r.run_id",
            keys: Keys::Columns(&[("name", "d.name"), ("digest", "d.digest"), ("context", "c.value")]),
            kind: ValueKind::Text,
            nan: None,
        },
    ],
};

/// The main table is `ml_experiments e`.
pub(crate) const EXPERIMENTS: SearchSchema = SearchSchema {
    searched: "experiments",
    attributes: &[
        attribute(&["name"], "e.name", ValueKind::Text, Usage::FilterAndOrder),
        attribute(&["experiment_id"], "CAST(e.experiment_id AS TEXT)", ValueKind::Text, Usage::Filter),
        attribute(&["experiment_id"], "e.experiment_id", ValueKind::Number, Usage::Order),
        attribute(&["creation_time"], "e.creation_time", ValueKind::Number, Usage::FilterAndOrder),
        attribute(&["last_update_time"], "e.last_update_time", ValueKind::Number, Usage::FilterAndOrder),
    ],
    groups: &[Group {
        names: &["tags", "tag"],
        from: "ml_experiment_tags x WHERE x.experiment_id = e.experiment_id",
        keys: Keys::Rows { key: "x.key", value: "x.value" },
        kind: ValueKind::Text,
        nan: None,
    }],
};
