//! Offsets of Spark's sources as those of ours.

use boathouse_base::Offset;
use serde_json::{Map, Value};

use super::SparkCheckpointError;

/// The index of Delta's offsets that stands for "nothing of this version"; the second is that of their third layout.
const BEFORE_ALL: [i64; 2] = [-1, -100];

/// The offset for our source; `None`: it begins at its beginning.
pub(super) fn taken_over(file: &str, source: &str, text: &str) -> Result<Option<Offset>, SparkCheckpointError> {
    let refused = |reason: &'static str| SparkCheckpointError::Offset {
        file: file.to_owned(),
        source_id: source.to_owned(),
        offset: text.to_owned(),
        reason,
    };
    let value: Value = serde_json::from_str(text).map_err(|error| SparkCheckpointError::Corrupt {
        file: file.to_owned(),
        problem: format!("the offset of the source {source} is no JSON: {error}"),
    })?;
    match &value {
        Value::Object(fields) if fields.contains_key("reservoirVersion") => delta(fields).map_err(refused),
        Value::Object(fields) if fields.contains_key("logOffset") => Err(refused(
            "which files were read stands in a log of Spark's file source; read the folder anew into a new table, or only what came after a time",
        )),
        Value::Object(topics) if is_kafka(topics) => Ok(Some(Offset::new(text))),
        _ => Err(refused("it is none of Kafka's, Delta's or the file source's")),
    }
}

fn is_kafka(topics: &Map<String, Value>) -> bool {
    let is_partition = |(partition, offset): (&String, &Value)| {
        partition.parse::<i32>().is_ok_and(|partition| partition >= 0) && offset.as_i64().is_some_and(|offset| offset >= 0)
    };
    let is_topic = |topic: &Value| topic.as_object().is_some_and(|partitions| partitions.iter().all(is_partition));
    !topics.is_empty() && topics.values().all(is_topic)
}

fn delta(fields: &Map<String, Value>) -> Result<Option<Offset>, &'static str> {
    let number = |name: &str| fields.get(name).and_then(Value::as_i64);
    let (Some(version), Some(index), Some(id)) =
        (number("reservoirVersion"), number("index"), fields.get("reservoirId").and_then(Value::as_str))
    else {
        return Err("it lacks a reservoirId, a reservoirVersion or an index");
    };
    if !matches!(number("sourceVersion"), Some(1 | 3)) {
        return Err("its sourceVersion is none that Delta has written");
    }
    if !BEFORE_ALL.contains(&index) {
        return Err(
            "it is within a version of the table, whose files have another order here; let Spark read up to the end of a version, \
             with the trigger availableNow",
        );
    }
    if fields.get("isStartingVersion").and_then(Value::as_bool).unwrap_or(false) {
        // Nothing was read.
        return Ok(None);
    }
    match version.checked_sub(1).filter(|before| *before >= 0) {
        Some(before) => {
            let offset = serde_json::json!({"sourceVersion": 1, "reservoirId": id, "reservoirVersion": before});
            Ok(Some(Offset::new(offset.to_string())))
        }
        None => Ok(None),
    }
}
