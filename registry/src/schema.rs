//! The tables, and which of their columns a search may name.
//!
//! ```text
//! mr_models 1─n mr_versions 1─n mr_version_tags
//!     1 └──n mr_model_tags     └─n mr_transitions
//!     └──n mr_aliases (alias → version)
//! ```
//! Versions hang on the number of the model, so that a rename touches one row.

use boathouse_mlwire::{Attribute, Group, Keys, Migration, SearchSchema, Usage, ValueKind};

pub(crate) const COMPONENT: &str = "registry";

pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "models, versions, aliases, and the audit of transitions",
    sql: "
CREATE TABLE mr_models (
    model_id {identity},
    name {text} NOT NULL UNIQUE,
    created_ms {int} NOT NULL,
    updated_ms {int} NOT NULL,
    description {text},
    last_version {int} NOT NULL
);
CREATE TABLE mr_model_tags (
    model_id {int} NOT NULL REFERENCES mr_models (model_id) ON DELETE CASCADE,
    key {text} NOT NULL,
    value {text} NOT NULL,
    PRIMARY KEY (model_id, key)
);
CREATE TABLE mr_versions (
    model_id {int} NOT NULL REFERENCES mr_models (model_id) ON DELETE CASCADE,
    version {int} NOT NULL,
    created_ms {int} NOT NULL,
    updated_ms {int} NOT NULL,
    stage {text} NOT NULL,
    description {text},
    source {text} NOT NULL,
    run_id {text},
    run_link {text},
    user_id {text} NOT NULL,
    PRIMARY KEY (model_id, version)
);
CREATE INDEX mr_versions_by_stage ON mr_versions (model_id, stage, version);
CREATE INDEX mr_versions_by_run ON mr_versions (run_id);
CREATE TABLE mr_version_tags (
    model_id {int} NOT NULL,
    version {int} NOT NULL,
    key {text} NOT NULL,
    value {text} NOT NULL,
    PRIMARY KEY (model_id, version, key),
    FOREIGN KEY (model_id, version) REFERENCES mr_versions (model_id, version) ON DELETE CASCADE
);
CREATE TABLE mr_aliases (
    model_id {int} NOT NULL,
    alias {text} NOT NULL,
    version {int} NOT NULL,
    PRIMARY KEY (model_id, alias),
    FOREIGN KEY (model_id, version) REFERENCES mr_versions (model_id, version) ON DELETE CASCADE
);
CREATE TABLE mr_transitions (
    transition_id {identity},
    model_id {int} NOT NULL REFERENCES mr_models (model_id) ON DELETE CASCADE,
    version {int} NOT NULL,
    from_stage {text} NOT NULL,
    to_stage {text} NOT NULL,
    at_ms {int} NOT NULL,
    who {text} NOT NULL,
    why {text} NOT NULL
);
CREATE INDEX mr_transitions_of_model ON mr_transitions (model_id, transition_id);
",
}];

const fn attribute(names: &'static [&'static str], sql: &'static str, kind: ValueKind, usage: Usage) -> Attribute {
    Attribute { names, sql, kind, usage }
}

/// The main table is `mr_models m`.
pub(crate) const MODELS: SearchSchema = SearchSchema {
    searched: "registered models",
    attributes: &[
        attribute(&["name"], "m.name", ValueKind::Text, Usage::FilterAndOrder),
        attribute(&["creation_timestamp"], "m.created_ms", ValueKind::Number, Usage::Order),
        attribute(&["last_updated_timestamp", "timestamp"], "m.updated_ms", ValueKind::Number, Usage::Order),
    ],
    groups: &[Group {
        names: &["tags", "tag"],
        from: "mr_model_tags x WHERE x.model_id = m.model_id",
        keys: Keys::Rows { key: "x.key", value: "x.value" },
        kind: ValueKind::Text,
        nan: None,
    }],
};

/// The main tables are `mr_versions v` and `mr_models m`.
pub(crate) const VERSIONS: SearchSchema = SearchSchema {
    searched: "model versions",
    attributes: &[
        attribute(&["name"], "m.name", ValueKind::Text, Usage::FilterAndOrder),
        attribute(&["version_number"], "v.version", ValueKind::Number, Usage::FilterAndOrder),
        attribute(&["run_id"], "v.run_id", ValueKind::Text, Usage::Filter),
        attribute(&["source_path"], "v.source", ValueKind::Text, Usage::Filter),
        attribute(&["creation_timestamp"], "v.created_ms", ValueKind::Number, Usage::Order),
        attribute(&["last_updated_timestamp"], "v.updated_ms", ValueKind::Number, Usage::Order),
    ],
    groups: &[Group {
        names: &["tags", "tag"],
        from: "mr_version_tags x WHERE x.model_id = v.model_id AND x.version = v.version",
        keys: Keys::Rows { key: "x.key", value: "x.value" },
        kind: ValueKind::Text,
        nan: None,
    }],
};
