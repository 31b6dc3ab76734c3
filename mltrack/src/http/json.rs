//! Experiments and runs as JSON.

use boathouse_mlwire::Object;
use serde_json::Value;

use crate::artifact::ArtifactEntry;
use crate::experiment::Experiment;
use crate::run::{DatasetInput, Metric, Run, RunInfo};

pub(super) fn pair((key, value): (&String, &String)) -> Value {
    Object::new().put("key", key).put("value", value).json()
}

pub(super) fn experiment(e: &Experiment) -> Value {
    Object::new()
        .put("experiment_id", &e.experiment_id)
        .put("name", &e.name)
        .put("artifact_location", &e.artifact_location)
        .put("lifecycle_stage", e.lifecycle.as_str())
        .put("last_update_time", e.updated_ms)
        .put("creation_time", e.created_ms)
        .put_list("tags", &e.tags, pair)
        .json()
}

pub(super) fn run_info(info: &RunInfo) -> Value {
    Object::new()
        .put("run_uuid", &info.run_id)
        .put("run_id", &info.run_id)
        .put("experiment_id", &info.experiment_id)
        .put("run_name", &info.run_name)
        .put("user_id", &info.user_id)
        .put("status", info.status.as_str())
        .put("start_time", info.start_time_ms)
        .put_some("end_time", info.end_time_ms)
        .put("artifact_uri", &info.artifact_uri)
        .put("lifecycle_stage", info.lifecycle.as_str())
        .json()
}

pub(super) fn metric(m: &Metric) -> Value {
    metric_object(m).json()
}

pub(super) fn metric_of(run_id: &str, m: &Metric) -> Value {
    metric_object(m).put("run_id", run_id).json()
}

fn metric_object(m: &Metric) -> Object {
    Object::new().put("key", &m.key).put("value", m.value).put("timestamp", m.timestamp_ms).put("step", m.step)
}

pub(super) fn run(run: &Run) -> Value {
    let data = Object::new()
        .put_list("metrics", run.metrics.values(), metric)
        .put_list("params", &run.params, pair)
        .put_list("tags", &run.tags, pair);
    let inputs = Object::new().put_list("dataset_inputs", &run.inputs, input);
    Object::new().put("info", run_info(&run.info)).put("data", data).put("inputs", inputs).json()
}

fn input(input: &DatasetInput) -> Value {
    let dataset = Object::new()
        .put("name", &input.name)
        .put("digest", &input.digest)
        .put("source_type", &input.source_type)
        .put("source", &input.source)
        .put_some("schema", input.schema.as_deref())
        .put_some("profile", input.profile.as_deref());
    Object::new().put_list("tags", &input.tags, pair).put("dataset", dataset).json()
}

pub(super) fn artifact(entry: &ArtifactEntry) -> Value {
    Object::new().put("path", &entry.path).put("is_dir", entry.is_dir()).put_some("file_size", entry.size_bytes).json()
}
