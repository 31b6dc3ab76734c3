//! Models and versions as JSON.

use boathouse_mlwire::Object;
use serde_json::Value;

use crate::model::{ModelVersion, RegisteredModel};

fn pair((key, value): (&String, &String)) -> Value {
    Object::new().put("key", key).put("value", value).json()
}

fn alias((alias, version): (&String, &u64)) -> Value {
    Object::new().put("alias", alias).put("version", version.to_string()).json()
}

pub(super) fn model(m: &RegisteredModel) -> Value {
    Object::new()
        .put("name", &m.name)
        .put("creation_timestamp", m.created_ms)
        .put("last_updated_timestamp", m.updated_ms)
        .put_some("description", m.description.as_deref())
        .put_list("latest_versions", &m.latest_versions, version)
        .put_list("tags", &m.tags, pair)
        .put_list("aliases", &m.aliases, alias)
        .json()
}

pub(super) fn version(v: &ModelVersion) -> Value {
    Object::new()
        .put("name", &v.name)
        .put("version", v.version.to_string())
        .put("creation_timestamp", v.created_ms)
        .put("last_updated_timestamp", v.updated_ms)
        .put("user_id", &v.user_id)
        .put("current_stage", v.stage.as_str())
        .put_some("description", v.description.as_deref())
        .put("source", &v.source)
        .put_some("run_id", v.run_id.as_deref())
        .put_some("run_link", v.run_link.as_deref())
        .put("status", "READY")
        .put_list("tags", &v.tags, pair)
        .put_list("aliases", &v.aliases, |a| Value::from(a.as_str()))
        .json()
}
