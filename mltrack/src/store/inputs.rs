//! Datasets that runs read.

use boathouse_mlwire::Sql;

use super::runs::lock_active;
use crate::error::Result;
use crate::limits;
use crate::run::DatasetInput;
use crate::tracker::Tracker;

impl Tracker {
    /// Remembers which data a run read: all of `inputs`, or nothing. The same input again is fine.
    ///
    /// A dataset is known by its name and digest within the experiment; the first description of it holds.
    ///
    /// **Errors**: `NotFound` without such a run; `Invalid` when it is deleted, or an input is over the limits.
    pub async fn log_inputs(&self, run_id: &str, inputs: &[DatasetInput]) -> Result<()> {
        inputs.iter().try_for_each(limits::dataset)?;
        let mut tx = self.database().begin("log the inputs of a run").await?;
        let experiment = lock_active(&mut tx, run_id, "log inputs").await?;
        for input in inputs {
            let insert = Sql::new(
                "INSERT INTO ml_datasets (experiment_id, name, digest, source_type, source, schema_json, profile) \
                 VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (experiment_id, name, digest) DO UPDATE SET name = excluded.name \
                 RETURNING dataset_id",
            )
            .bind(experiment)
            .bind(&input.name)
            .bind(&input.digest)
            .bind(&input.source_type)
            .bind(&input.source)
            .bind(input.schema.as_deref())
            .bind(input.profile.as_deref());
            let Some(row) = tx.fetch_optional(insert).await? else { continue };
            let dataset = row.int("dataset_id")?;
            let link = Sql::new("INSERT INTO ml_inputs (run_id, dataset_id) VALUES (?, ?) ON CONFLICT DO NOTHING");
            tx.execute(link.bind(run_id).bind(dataset)).await?;
            for (key, value) in &input.tags {
                let tag = Sql::new(
                    "INSERT INTO ml_input_tags (run_id, dataset_id, key, value) VALUES (?, ?, ?, ?) \
                     ON CONFLICT (run_id, dataset_id, key) DO UPDATE SET value = excluded.value",
                );
                tx.execute(tag.bind(run_id).bind(dataset).bind(key).bind(value)).await?;
            }
        }
        Ok(tx.commit().await?)
    }
}
