//! What an epoch did, and what a run did.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

/// What one epoch did.
///
/// [`to_json`](Self::to_json) gives it in the shape of Spark's `StreamingQueryProgress`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EpochProgress {
    /// The query, over all its runs.
    pub query_id: String,
    /// This run.
    pub run_id: String,
    /// The name of the query.
    pub name: String,
    /// Counts up by one from 0.
    pub epoch: u64,
    /// When the epoch began, in microseconds since the Unix epoch (UTC).
    pub timestamp_us: i64,
    /// Rows that the source gave.
    pub input_rows: u64,
    /// Rows that the sink wrote.
    pub output_rows: u64,
    /// Rows that came after the watermark had closed their window.
    pub late_rows: u64,
    /// Rows without an event time, which are in no window.
    pub null_event_time_rows: u64,
    /// The watermark that windows were emitted by, in microseconds; `None` until event times were seen.
    pub watermark_us: Option<i64>,
    /// The watermark after the epoch.
    pub next_watermark_us: Option<i64>,
    /// The earliest event time seen.
    pub event_time_min_us: Option<i64>,
    /// The latest event time seen.
    pub event_time_max_us: Option<i64>,
    /// The mean event time seen.
    pub event_time_mean_us: Option<i64>,
    /// What each operator that remembers did, in the order in which rows run through them.
    pub operators: Vec<OperatorProgress>,
    /// What was read of each source.
    pub sources: Vec<SourceProgress>,
    /// What the sink calls itself.
    pub sink: String,
    /// Bytes that the sink wrote.
    pub output_bytes: u64,
    /// The version of the target that holds the epoch, where it has versions.
    pub sink_version: Option<u64>,
    /// How long it took.
    pub durations: Durations,
    /// Since the epoch before began in this run.
    pub since_last_us: Option<u64>,
}

/// What an operator that remembers did in an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OperatorProgress {
    /// Unique in the query: `stateStoreSave[k, window(at, 10s)]`.
    pub name: String,
    /// As Spark calls it: `stateStoreSave`, `dedupe`, `symmetricHashJoin`.
    pub kind: &'static str,
    /// Rows of its state: groups, keys, rows that wait.
    pub rows: u64,
    /// Rows of its state that the epoch put in or replaced.
    pub updated_rows: u64,
    /// Rows of its state that the watermark had passed.
    pub removed_rows: u64,
    /// Rows that came after the watermark had passed them.
    pub late_rows: u64,
    /// Rows without an event time, which are in no group.
    pub null_event_time_rows: u64,
    /// Stores that hold it.
    pub stores: u64,
    /// Its run over the rows of the epoch, updates and removals together, in microseconds.
    pub run_us: u64,
    /// Writing what has changed, in microseconds.
    pub commit_us: u64,
    /// Of its state in memory.
    pub bytes: u64,
    /// Of its rows that are in files alone, for lack of memory or because nobody has asked for them since the restart.
    pub bytes_on_disk: u64,
    /// Files that hold the state.
    pub files: u64,
}

/// What an epoch read of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SourceProgress {
    /// Its name in SQL.
    pub name: String,
    /// What it calls itself.
    pub description: String,
    /// Where the epoch begins in it; `None`: at the beginning.
    pub start_offset: Option<String>,
    /// Where it ends.
    pub end_offset: Option<String>,
    /// Rows that it gave.
    pub input_rows: u64,
    /// Whether a limit left more to read.
    pub more: bool,
}

/// How long the parts of an epoch took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Durations {
    /// Asking the source what is new.
    pub latest_offset_us: u64,
    /// Opening the range.
    pub get_batch_us: u64,
    /// Planning the transformation; nothing when the plan of the last epoch served.
    pub query_planning_us: u64,
    /// Operators that remember, and writing their state.
    pub stateful_us: u64,
    /// Computing and committing the rows.
    pub add_batch_us: u64,
    /// After the commit: the copy of the position, old state, telling the source.
    pub commit_offsets_us: u64,
    /// All of it.
    pub trigger_execution_us: u64,
}

impl EpochProgress {
    /// How long the epoch took, in milliseconds.
    pub fn batch_duration_ms(&self) -> f64 {
        milliseconds(self.durations.trigger_execution_us)
    }

    /// Rows read for each second since the epoch before began; `None` for the first epoch of a run.
    pub fn input_rows_per_second(&self) -> Option<f64> {
        rate_of(self.input_rows, self.since_last_us)
    }

    /// Rows read for each second that the epoch took; `None` when the clock did not move.
    pub fn processed_rows_per_second(&self) -> Option<f64> {
        rate_of(self.input_rows, Some(self.durations.trigger_execution_us))
    }

    /// The shape of Spark's progress, with the fields that apply; durations are milliseconds with a fraction.
    ///
    /// **Source**: Spark 4.3, `StreamingQueryProgress.json`.
    pub fn to_json(&self) -> Value {
        let d = &self.durations;
        let mut event_time = serde_json::Map::new();
        let known = [
            ("max", self.event_time_max_us),
            ("min", self.event_time_min_us),
            ("avg", self.event_time_mean_us),
            ("watermark", self.watermark_us),
        ];
        for (name, time) in known {
            if let Some(time) = time {
                event_time.insert(name.to_owned(), Value::String(timestamp(time)));
            }
        }
        let operator = |operator: &OperatorProgress| {
            json!({
                "operatorName": operator.kind,
                "numRowsTotal": operator.rows,
                "numRowsUpdated": operator.updated_rows,
                "numRowsRemoved": operator.removed_rows,
                // Updates and removals are one pass over the state.
                "allUpdatesTimeMs": milliseconds(operator.run_us),
                "allRemovalsTimeMs": 0.0,
                "commitTimeMs": milliseconds(operator.commit_us),
                "memoryUsedBytes": operator.bytes,
                "numRowsDroppedByWatermark": operator.late_rows,
                "numShufflePartitions": 1,
                "numStateStoreInstances": operator.stores,
                "customMetrics": { "stateFiles": operator.files, "bytesOnDisk": operator.bytes_on_disk, "nullEventTimeRows": operator.null_event_time_rows },
            })
        };
        let operators: Vec<Value> = self.operators.iter().map(operator).collect();
        let source = |source: &SourceProgress| {
            json!({
                "description": source.description,
                "startOffset": source.start_offset.as_deref().map(offset),
                "endOffset": source.end_offset.as_deref().map(offset),
                // How far the source goes is known when nothing was left.
                "latestOffset": source.end_offset.as_deref().filter(|_| !source.more).map(offset),
                "numInputRows": source.input_rows,
                "inputRowsPerSecond": rate_of(source.input_rows, self.since_last_us),
                "processedRowsPerSecond": rate_of(source.input_rows, Some(d.trigger_execution_us)),
                "metrics": {},
            })
        };
        let sources: Vec<Value> = self.sources.iter().map(source).collect();
        json!({
            "id": self.query_id,
            "runId": self.run_id,
            "name": self.name,
            "timestamp": timestamp(self.timestamp_us),
            "batchId": self.epoch,
            "batchDuration": self.batch_duration_ms(),
            "numInputRows": self.input_rows,
            "inputRowsPerSecond": self.input_rows_per_second(),
            "processedRowsPerSecond": self.processed_rows_per_second(),
            "durationMs": {
                "latestOffset": milliseconds(d.latest_offset_us),
                "getBatch": milliseconds(d.get_batch_us),
                "queryPlanning": milliseconds(d.query_planning_us),
                "stateful": milliseconds(d.stateful_us),
                "addBatch": milliseconds(d.add_batch_us),
                "commitOffsets": milliseconds(d.commit_offsets_us),
                "triggerExecution": milliseconds(d.trigger_execution_us),
            },
            "eventTime": event_time,
            "stateOperators": operators,
            "sources": sources,
            "sink": { "description": self.sink, "numOutputRows": self.output_rows, "metrics": {} },
            "observedMetrics": {},
        })
    }
}

/// What a run did until it returned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RunReport {
    /// The query, over all its runs.
    pub query_id: String,
    /// Epochs committed.
    pub epochs: u64,
    /// Rows that the source gave.
    pub input_rows: u64,
    /// Rows that the sink wrote.
    pub output_rows: u64,
    /// Rows that came after the watermark had closed their window.
    pub late_rows: u64,
    /// Bytes that the sink wrote.
    pub output_bytes: u64,
    /// The last epoch that the sink holds; `None`: it holds none.
    pub last_epoch: Option<u64>,
    /// The watermark at the end, in microseconds.
    pub watermark_us: Option<i64>,
    /// The version of the target that holds the last epoch of this run.
    pub sink_version: Option<u64>,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

impl RunReport {
    pub(crate) fn add(&mut self, progress: &EpochProgress) {
        self.epochs += 1;
        self.input_rows += progress.input_rows;
        self.output_rows += progress.output_rows;
        self.late_rows += progress.late_rows;
        self.output_bytes += progress.output_bytes;
        self.last_epoch = Some(progress.epoch);
        self.watermark_us = progress.next_watermark_us;
        self.sink_version = progress.sink_version.or(self.sink_version);
    }
}

/// An offset is JSON by convention: as itself where it is, as text where it is not.
fn offset(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn timestamp(us: i64) -> String {
    DateTime::from_timestamp_micros(us)
        .map_or_else(|| format!("{us} us"), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[expect(clippy::cast_precision_loss, reason = "a duration for people: 2^53 microseconds are 285 years")]
fn milliseconds(us: u64) -> f64 {
    us as f64 / 1e3
}

fn rate_of(rows: u64, us: Option<u64>) -> Option<f64> {
    us.filter(|us| *us > 0).map(|us| per_second(rows, us))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(rows: u64, us: u64) -> f64 {
    rows as f64 * 1e6 / us as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_has_the_field_names_of_spark() {
        let progress = EpochProgress {
            query_id: "q".into(),
            run_id: "r".into(),
            name: "bronze".into(),
            epoch: 4,
            timestamp_us: 1_700_000_000_123_456,
            input_rows: 500,
            output_rows: 3,
            late_rows: 2,
            watermark_us: Some(0),
            operators: vec![OperatorProgress { rows: 9, late_rows: 2, ..OperatorProgress::default() }],
            sources: vec![SourceProgress { end_offset: Some("{\"row\":7}".into()), input_rows: 10, ..SourceProgress::default() }],
            durations: Durations { trigger_execution_us: 250_000, ..Durations::default() },
            ..EpochProgress::default()
        };
        let json = progress.to_json();
        assert_eq!(json["timestamp"], "2023-11-14T22:13:20.123Z");
        assert_eq!(json["batchId"], 4);
        assert_eq!(json["processedRowsPerSecond"], 2000.0);
        assert_eq!(json["inputRowsPerSecond"], Value::Null);
        assert_eq!(json["eventTime"], json!({"watermark": "1970-01-01T00:00:00.000Z"}));
        assert_eq!(json["stateOperators"][0]["numRowsDroppedByWatermark"], 2);
        assert_eq!(json["sources"][0]["startOffset"], Value::Null);
        assert_eq!(json["sources"][0]["endOffset"]["row"], 7);
        assert_eq!(json["sink"]["numOutputRows"], 3);
        assert_eq!(json["durationMs"]["triggerExecution"], 250.0);
    }
}
