//! The event log: what happened in each update, as rows of a table.
//!
//! One row when an update begins (`create_update`), one for each dataset (`flow_progress`), one at the end
//! (`update_progress`); they are appended in one commit. `details` is JSON in the shape of Databricks' event log.
//!
//! **Source**: Databricks, "Pipeline event log schema" (event types, statuses and the `data_quality` object).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use boathouse_base::Env;
use serde_json::{Value, json};

use crate::report::{DatasetReport, DatasetStatus, UpdateReport};

/// The columns of an event log.
pub fn event_log_schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("id", false),
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        text("pipeline", false),
        text("update_id", false),
        text("dataset", true),
        text("event_type", false),
        text("status", false),
        text("level", false),
        text("message", false),
        Field::new("num_output_rows", DataType::Int64, true),
        text("details", false),
    ]))
}

struct Event {
    timestamp_us: i64,
    dataset: Option<String>,
    event_type: &'static str,
    status: &'static str,
    message: String,
    rows: Option<u64>,
    details: Value,
}

/// The rows of one update.
pub(crate) fn events(env: &Env, report: &UpdateReport, started_us: i64) -> Result<RecordBatch, ArrowError> {
    let mut events = vec![Event {
        timestamp_us: started_us,
        dataset: None,
        event_type: "create_update",
        status: "STARTING",
        message: format!("Update {} started.", report.update_id),
        rows: None,
        details: json!({ "create_update": {} }),
    }];
    let mut now_us = started_us;
    for dataset in &report.datasets {
        now_us = now_us.saturating_add(i64::try_from(dataset.duration_us).unwrap_or(i64::MAX));
        events.push(flow_progress(dataset, now_us));
    }
    let status = if report.succeeded() { "COMPLETED" } else { "FAILED" };
    events.push(Event {
        timestamp_us: now_us,
        dataset: None,
        event_type: "update_progress",
        status,
        message: format!("Update {} is {status}.", report.update_id),
        rows: None,
        details: json!({ "update_progress": { "state": status } }),
    });
    columns(env, report, &events)
}

fn flow_progress(dataset: &DatasetReport, timestamp_us: i64) -> Event {
    let expectations: Vec<Value> = dataset
        .expectations
        .iter()
        .map(|count| {
            json!({
                "name": count.name, "dataset": dataset.name,
                "passed_records": count.passed, "failed_records": count.failed,
            })
        })
        .collect();
    let message = match &dataset.status {
        DatasetStatus::Failed(error) => error.to_string(),
        DatasetStatus::SkippedAfter(upstream) => format!("Flow '{}' was skipped because '{upstream}' failed.", dataset.name),
        status => format!("Flow '{}' is {}.", dataset.name, status.as_str()),
    };
    Event {
        timestamp_us,
        dataset: Some(dataset.name.clone()),
        event_type: "flow_progress",
        status: dataset.status.as_str(),
        message,
        rows: Some(dataset.rows),
        details: json!({ "flow_progress": {
            "status": dataset.status.as_str(),
            "version": dataset.version,
            "metrics": { "num_output_rows": dataset.rows, "late_rows": dataset.late_rows, "duration_us": dataset.duration_us },
            "data_quality": { "dropped_records": dataset.dropped_rows, "expectations": expectations },
        }}),
    }
}

fn columns(env: &Env, report: &UpdateReport, events: &[Event]) -> Result<RecordBatch, ArrowError> {
    let text = |value: &dyn Fn(&Event) -> String| -> ArrayRef {
        Arc::new(events.iter().map(|e| Some(value(e))).collect::<StringArray>())
    };
    let timestamps: TimestampMicrosecondArray = events.iter().map(|e| Some(e.timestamp_us)).collect();
    let rows: Int64Array = events.iter().map(|e| e.rows.and_then(|rows| i64::try_from(rows).ok())).collect();
    let datasets: StringArray = events.iter().map(|e| e.dataset.clone()).collect();
    let level = |e: &Event| if e.status == "FAILED" { "ERROR" } else { "INFO" }.to_owned();
    RecordBatch::try_new(
        event_log_schema(),
        vec![
            text(&|_| env.uuid()),
            Arc::new(timestamps.with_timezone("UTC")),
            text(&|_| report.pipeline.clone()),
            text(&|_| report.update_id.clone()),
            Arc::new(datasets),
            text(&|e| e.event_type.to_owned()),
            text(&|e| e.status.to_owned()),
            text(&level),
            text(&|e| e.message.clone()),
            Arc::new(rows),
            text(&|e| e.details.to_string()),
        ],
    )
}
