//! Runs and metrics as Arrow batches: what an analyst would query.

use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int64Builder, MapBuilder, StringBuilder, TimestampMillisecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::ArrowError;

use crate::error::{Error, Result};
use crate::run::{Metric, Run, RunSearch};
use crate::tracker::Tracker;

impl Tracker {
    /// The runs that a search finds, on all of its pages.
    ///
    /// **Shape**: one row a run, in the order of the search: `run_id`, `run_name`, `experiment_id`, `user_id`, `status` (text),
    /// `start_time`, `end_time` (timestamp in ms, UTC), `artifact_uri`, `lifecycle_stage` (text), `params`, `tags` (map of text
    /// to text), `metrics` (map of text to float: the latest point of each).
    ///
    /// **Errors**: as [`search_runs`](Self::search_runs).
    pub async fn runs_table(&self, search: RunSearch) -> Result<RecordBatch> {
        let mut runs = Vec::new();
        let mut search = search;
        loop {
            let page = self.search_runs(search.clone()).await?;
            runs.extend(page.runs);
            match page.next_page_token {
                Some(token) => search.page_token = Some(token),
                None => return runs_batch(&runs).map_err(|source| Error::Arrow { what: "runs", source }),
            }
        }
    }

    /// Every point of every metric of these runs.
    ///
    /// **Shape**: one row a point, by run in the given order, then by key, timestamp and step: `run_id`, `key` (text), `step`
    /// (int), `timestamp` (timestamp in ms, UTC), `value` (float; NaN and the infinities as they were logged).
    ///
    /// **Errors**: `NotFound` without such a run.
    pub async fn metrics_table(&self, run_ids: &[String]) -> Result<RecordBatch> {
        let mut points = Vec::new();
        for run_id in run_ids {
            for key in self.get_run(run_id).await?.metrics.into_keys() {
                points.extend(self.get_metric_history(run_id, &key).await?.into_iter().map(|m| (run_id.as_str(), m)));
            }
        }
        metrics_batch(&points).map_err(|source| Error::Arrow { what: "metrics", source })
    }
}

fn runs_batch(runs: &[Run]) -> Result<RecordBatch, ArrowError> {
    let text = |value: fn(&Run) -> &str| {
        let mut column = StringBuilder::new();
        runs.iter().for_each(|run| column.append_value(value(run)));
        Arc::new(column.finish()) as ArrayRef
    };
    let time = |value: fn(&Run) -> Option<i64>| {
        let mut column = TimestampMillisecondBuilder::new().with_timezone("UTC");
        runs.iter().for_each(|run| column.append_option(value(run)));
        Arc::new(column.finish()) as ArrayRef
    };
    let texts = |value: fn(&Run) -> &std::collections::BTreeMap<String, String>| {
        let mut column = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for run in runs {
            for (key, value) in value(run) {
                column.keys().append_value(key);
                column.values().append_value(value);
            }
            column.append(true)?;
        }
        Ok::<_, ArrowError>(Arc::new(column.finish()) as ArrayRef)
    };
    let mut metrics = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    for run in runs {
        for (key, metric) in &run.metrics {
            metrics.keys().append_value(key);
            metrics.values().append_value(metric.value);
        }
        metrics.append(true)?;
    }
    RecordBatch::try_from_iter_with_nullable([
        ("run_id", text(|r| &r.info.run_id), false),
        ("run_name", text(|r| &r.info.run_name), false),
        ("experiment_id", text(|r| &r.info.experiment_id), false),
        ("user_id", text(|r| &r.info.user_id), false),
        ("status", text(|r| r.info.status.as_str()), false),
        ("start_time", time(|r| Some(r.info.start_time_ms)), false),
        ("end_time", time(|r| r.info.end_time_ms), true),
        ("artifact_uri", text(|r| &r.info.artifact_uri), false),
        ("lifecycle_stage", text(|r| r.info.lifecycle.as_str()), false),
        ("params", texts(|r| &r.params)?, false),
        ("tags", texts(|r| &r.tags)?, false),
        ("metrics", Arc::new(metrics.finish()), false),
    ])
}

fn metrics_batch(points: &[(&str, Metric)]) -> Result<RecordBatch, ArrowError> {
    let (mut run_id, mut key) = (StringBuilder::new(), StringBuilder::new());
    let (mut step, mut value) = (Int64Builder::new(), Float64Builder::new());
    let mut timestamp = TimestampMillisecondBuilder::new().with_timezone("UTC");
    for (run, metric) in points {
        run_id.append_value(run);
        key.append_value(&metric.key);
        step.append_value(metric.step);
        timestamp.append_value(metric.timestamp_ms);
        value.append_value(metric.value);
    }
    let column = |array: ArrayRef| array;
    RecordBatch::try_from_iter_with_nullable([
        ("run_id", column(Arc::new(run_id.finish())), false),
        ("key", column(Arc::new(key.finish())), false),
        ("step", column(Arc::new(step.finish())), false),
        ("timestamp", column(Arc::new(timestamp.finish())), false),
        ("value", column(Arc::new(value.finish())), false),
    ])
}
