//! Logging: params, metrics and tags, one transaction a call.

use std::collections::BTreeMap;

use boathouse_mlwire::{Sql, Transaction};

use super::CHUNK;
use super::runs::lock_active;
use crate::error::{Error, Result};
use crate::limits;
use crate::run::{Metric, RunBatch};
use crate::tracker::Tracker;

impl Tracker {
    /// Logs metrics, params and tags together: all of it, or nothing.
    ///
    /// A point of a metric that was logged before is not logged again, and neither is a param with its old value: a batch
    /// whose answer was lost can be sent again.
    ///
    /// **Errors**: `NotFound` without such a run; `Invalid` when it is deleted, when a param would change its value, or when
    /// a limit is passed (1000 metrics, 100 params, 100 tags, 1000 together).
    pub async fn log_batch(&self, run_id: &str, batch: RunBatch) -> Result<()> {
        limits::batch(&batch)?;
        let mut tx = self.database().begin("log to a run").await?;
        lock_active(&mut tx, run_id, "log").await?;
        put_params(&mut tx, run_id, &batch.params).await?;
        put_metrics(&mut tx, run_id, &batch.metrics).await?;
        put_tags(&mut tx, run_id, &batch.tags).await?;
        Ok(tx.commit().await?)
    }

    /// Logs a param. Params never change; the same value again is fine.
    ///
    /// **Errors**: as [`log_batch`](Self::log_batch).
    pub async fn log_param(&self, run_id: &str, key: &str, value: &str) -> Result<()> {
        let params = vec![(key.to_owned(), value.to_owned())];
        self.log_batch(run_id, RunBatch { params, ..RunBatch::default() }).await
    }

    /// Logs a point of a metric.
    ///
    /// **Errors**: as [`log_batch`](Self::log_batch).
    pub async fn log_metric(&self, run_id: &str, metric: Metric) -> Result<()> {
        self.log_batch(run_id, RunBatch { metrics: vec![metric], ..RunBatch::default() }).await
    }

    /// Sets a tag of a run, or changes it.
    ///
    /// **Errors**: as [`log_batch`](Self::log_batch).
    pub async fn set_tag(&self, run_id: &str, key: &str, value: &str) -> Result<()> {
        let tags = vec![(key.to_owned(), value.to_owned())];
        self.log_batch(run_id, RunBatch { tags, ..RunBatch::default() }).await
    }

    /// Removes a tag of a run.
    ///
    /// **Errors**: `NotFound` without such a run or tag; `Invalid` when the run is deleted.
    pub async fn delete_tag(&self, run_id: &str, key: &str) -> Result<()> {
        let mut tx = self.database().begin("untag a run").await?;
        lock_active(&mut tx, run_id, "delete a tag").await?;
        let delete = Sql::new("DELETE FROM ml_tags WHERE run_id = ? AND key = ?").bind(run_id).bind(key);
        if tx.execute(delete).await? == 0 {
            return Err(Error::NoTag { key: key.to_owned(), run_id: run_id.to_owned() });
        }
        Ok(tx.commit().await?)
    }
}

/// The run is locked: nobody can add a param between the check and the insert.
async fn put_params(tx: &mut Transaction, run_id: &str, params: &[(String, String)]) -> Result<()> {
    for chunk in params.chunks(CHUNK) {
        let mut sql = Sql::new("SELECT key, value FROM ml_params WHERE run_id = ?").bind(run_id);
        sql.push(" AND key IN ").push_list(chunk.iter().map(|(key, _)| key));
        let mut known = BTreeMap::new();
        for row in tx.fetch_all(sql).await? {
            known.insert(row.text("key")?, row.text("value")?);
        }
        if let Some((key, new, old)) =
            chunk.iter().find_map(|(key, new)| known.get(key).filter(|old| *old != new).map(|old| (key, new, old)))
        {
            return Err(Error::ParamChanged { run_id: run_id.to_owned(), key: key.clone(), old: old.clone(), new: new.clone() });
        }
        let new: Vec<_> = chunk.iter().filter(|(key, _)| !known.contains_key(key)).collect();
        if new.is_empty() {
            continue;
        }
        let mut sql = Sql::new("INSERT INTO ml_params (run_id, key, value) VALUES ");
        for (i, (key, value)) in new.into_iter().enumerate() {
            sql.push(if i == 0 { "" } else { ", " }).push_with("(?", run_id).push_with(", ?", key).push_with(", ?)", value);
        }
        tx.execute(sql).await?;
    }
    Ok(())
}

async fn put_metrics(tx: &mut Transaction, run_id: &str, metrics: &[Metric]) -> Result<()> {
    for chunk in metrics.chunks(CHUNK) {
        let mut sql = Sql::new("INSERT INTO ml_metrics (run_id, key, step, timestamp_ms, value, is_nan) VALUES ");
        push_rows(&mut sql, run_id, chunk);
        sql.push(" ON CONFLICT DO NOTHING");
        tx.execute(sql).await?;
    }
    // One row a key, the largest of the batch; then it must also beat what is there.
    let mut latest: BTreeMap<&str, &Metric> = BTreeMap::new();
    for metric in metrics {
        let place = latest.entry(&metric.key).or_insert(metric);
        if is_later(metric, place) {
            *place = metric;
        }
    }
    let latest: Vec<Metric> = latest.into_values().cloned().collect();
    for chunk in latest.chunks(CHUNK) {
        let mut sql = Sql::new("INSERT INTO ml_latest_metrics (run_id, key, step, timestamp_ms, value, is_nan) VALUES ");
        push_rows(&mut sql, run_id, chunk);
        sql.push(
            " ON CONFLICT (run_id, key) DO UPDATE SET step = excluded.step, timestamp_ms = excluded.timestamp_ms, \
             value = excluded.value, is_nan = excluded.is_nan \
             WHERE (excluded.step, excluded.timestamp_ms, excluded.value) > \
             (ml_latest_metrics.step, ml_latest_metrics.timestamp_ms, ml_latest_metrics.value)",
        );
        tx.execute(sql).await?;
    }
    Ok(())
}

fn push_rows(sql: &mut Sql, run_id: &str, metrics: &[Metric]) {
    for (i, metric) in metrics.iter().enumerate() {
        sql.push(if i == 0 { "" } else { ", " });
        sql.push_with("(?", run_id)
            .push_with(", ?", &metric.key)
            .push_with(", ?", metric.step)
            .push_with(", ?", metric.timestamp_ms);
        sql.push_with(", ?", stored(metric.value)).push_with(", ?)", metric.value.is_nan());
    }
}

/// SQLite has no NaN: it stands as 0 with a mark. Minus zero is zero.
fn stored(value: f64) -> f64 {
    if value.is_nan() || value == 0.0 { 0.0 } else { value }
}

/// The order of (step, timestamp, value), as the statement above compares it.
fn is_later(a: &Metric, b: &Metric) -> bool {
    (a.step, a.timestamp_ms).cmp(&(b.step, b.timestamp_ms)).then(stored(a.value).total_cmp(&stored(b.value))).is_gt()
}

pub(super) async fn put_tags(tx: &mut Transaction, run_id: &str, tags: &[(String, String)]) -> Result<()> {
    // One row a key; the last one holds.
    let tags: BTreeMap<&str, &str> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    if tags.is_empty() {
        return Ok(());
    }
    let mut sql = Sql::new("INSERT INTO ml_tags (run_id, key, value) VALUES ");
    for (i, (key, value)) in tags.iter().enumerate() {
        sql.push(if i == 0 { "" } else { ", " }).push_with("(?", run_id).push_with(", ?", *key).push_with(", ?)", *value);
    }
    sql.push(" ON CONFLICT (run_id, key) DO UPDATE SET value = excluded.value");
    tx.execute(sql).await?;
    // The name of a run is also a tag; setting the tag renames the run.
    if let Some(name) = tags.get("mlflow.runName") {
        tx.execute(Sql::new("UPDATE ml_runs SET run_name = ? WHERE run_id = ?").bind(*name).bind(run_id)).await?;
    }
    Ok(())
}
