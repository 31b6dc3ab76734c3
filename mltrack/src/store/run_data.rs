//! What runs hold, read for many runs at once.

use std::collections::BTreeMap;

use boathouse_mlwire::{Row, Sql};

use super::CHUNK;
use crate::error::Result;
use crate::run::{DatasetInput, Metric, Run, RunInfo};
use crate::tracker::Tracker;

impl Tracker {
    /// Four statements for each chunk of runs; the order stays.
    pub(super) async fn with_data(&self, infos: Vec<RunInfo>) -> Result<Vec<Run>> {
        let mut runs: Vec<Run> = infos
            .into_iter()
            .map(|info| Run {
                info,
                params: BTreeMap::new(),
                metrics: BTreeMap::new(),
                tags: BTreeMap::new(),
                inputs: Vec::new(),
            })
            .collect();
        for chunk in runs.chunks_mut(CHUNK) {
            let ids: Vec<String> = chunk.iter().map(|r| r.info.run_id.clone()).collect();
            let mut by_id: BTreeMap<String, &mut Run> = chunk.iter_mut().map(|r| (r.info.run_id.clone(), r)).collect();
            let of = |text: &'static str, order: &'static str| {
                let mut sql = Sql::new(text);
                sql.push_list(&ids).push(order);
                sql
            };
            let read = |sql| self.database().fetch_all("read what runs logged", sql);
            for row in read(of("SELECT run_id, key, value FROM ml_params WHERE run_id IN ", "")).await? {
                if let Some(run) = by_id.get_mut(&row.text("run_id")?) {
                    run.params.insert(row.text("key")?, row.text("value")?);
                }
            }
            for row in read(of("SELECT run_id, key, value FROM ml_tags WHERE run_id IN ", "")).await? {
                if let Some(run) = by_id.get_mut(&row.text("run_id")?) {
                    run.tags.insert(row.text("key")?, row.text("value")?);
                }
            }
            let latest = "SELECT run_id, key, value, is_nan, timestamp_ms, step FROM ml_latest_metrics WHERE run_id IN ";
            for row in read(of(latest, "")).await? {
                if let Some(run) = by_id.get_mut(&row.text("run_id")?) {
                    let metric = metric(&row)?;
                    run.metrics.insert(metric.key.clone(), metric);
                }
            }
            let inputs = "SELECT i.run_id, i.dataset_id, d.name, d.digest, d.source_type, d.source, d.schema_json, d.profile, \
                          t.key, t.value FROM ml_inputs i JOIN ml_datasets d ON d.dataset_id = i.dataset_id \
                          LEFT JOIN ml_input_tags t ON t.run_id = i.run_id AND t.dataset_id = i.dataset_id WHERE i.run_id IN ";
            let mut last = None;
            for row in read(of(inputs, " ORDER BY i.run_id, i.dataset_id, t.key")).await? {
                let id = (row.text("run_id")?, row.int("dataset_id")?);
                let Some(run) = by_id.get_mut(&id.0) else { continue };
                if last.as_ref() != Some(&id) {
                    run.inputs.push(dataset(&row)?);
                    last = Some(id);
                }
                if let (Some(input), Some(key)) = (run.inputs.last_mut(), row.optional_text("key")?) {
                    input.tags.insert(key, row.text("value")?);
                }
            }
        }
        Ok(runs)
    }
}

/// SQLite has no NaN: it stands as 0 with a mark.
pub(super) fn metric(row: &Row) -> Result<Metric> {
    let value = if row.flag("is_nan")? { f64::NAN } else { row.real("value")? };
    Ok(Metric { key: row.text("key")?, value, timestamp_ms: row.int("timestamp_ms")?, step: row.int("step")? })
}

fn dataset(row: &Row) -> Result<DatasetInput> {
    Ok(DatasetInput {
        name: row.text("name")?,
        digest: row.text("digest")?,
        source_type: row.text("source_type")?,
        source: row.text("source")?,
        schema: row.optional_text("schema_json")?,
        profile: row.optional_text("profile")?,
        tags: BTreeMap::new(),
    })
}
