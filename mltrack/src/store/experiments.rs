//! Experiments: create, read, search, change.

use std::collections::BTreeMap;

use boathouse_mlwire::{Filter, OrderBy, Page, Row, Sql, Transaction};

use super::{CHUNK, experiment_number};
use crate::error::{Error, Result};
use crate::experiment::{Experiment, ExperimentPage, ExperimentSearch, NewExperiment};
use crate::limits;
use crate::run::Lifecycle;
use crate::schema::EXPERIMENTS;
use crate::tracker::Tracker;

const COLUMNS: &str = "SELECT e.experiment_id, e.name, e.artifact_location, e.lifecycle_stage, e.creation_time, e.last_update_time \
                       FROM ml_experiments e";

impl Tracker {
    /// Makes an experiment.
    ///
    /// **Errors**: `AlreadyExists` when an active or deleted one has the name; `Invalid` for a name or tag over the limits.
    pub async fn create_experiment(&self, new: NewExperiment) -> Result<Experiment> {
        limits::experiment_name(&new.name)?;
        new.tags.iter().try_for_each(|(key, value)| limits::experiment_tag(key, value))?;
        let now = self.now_ms();
        let mut tx = self.database().begin("create an experiment").await?;
        let insert = Sql::new(
            "INSERT INTO ml_experiments (name, artifact_location, lifecycle_stage, creation_time, last_update_time) \
             VALUES (?, ?, 'active', ?, ?) ON CONFLICT DO NOTHING RETURNING experiment_id",
        )
        .bind(&new.name)
        .bind(new.artifact_location.as_deref().filter(|l| !l.is_empty()))
        .bind(now)
        .bind(now);
        let Some(row) = tx.fetch_optional(insert).await? else {
            return Err(name_taken(&mut tx, &new.name).await?);
        };
        let id = row.int("experiment_id")?;
        for (key, value) in &new.tags {
            put_tag(&mut tx, id, key, value).await?;
        }
        tx.commit().await?;
        self.get_experiment(&id.to_string()).await
    }

    /// The experiment with this id, deleted or not.
    ///
    /// **Errors**: `NotFound`.
    pub async fn get_experiment(&self, experiment_id: &str) -> Result<Experiment> {
        let mut sql = Sql::new(COLUMNS);
        sql.push_with(" WHERE e.experiment_id = ?", experiment_number(experiment_id)?);
        let found = self.read_experiments(sql).await?.pop();
        found.ok_or_else(|| Error::NoExperiment { experiment_id: experiment_id.to_owned() })
    }

    /// The experiment with this name, deleted or not.
    ///
    /// **Errors**: `NotFound`.
    pub async fn get_experiment_by_name(&self, name: &str) -> Result<Experiment> {
        let mut sql = Sql::new(COLUMNS);
        sql.push_with(" WHERE e.name = ?", name);
        self.read_experiments(sql).await?.pop().ok_or_else(|| Error::NoExperimentNamed { name: name.to_owned() })
    }

    /// Finds experiments.
    ///
    /// **Errors**: `Invalid` for a filter, order or page token that cannot be read; the message says where and why.
    pub async fn search_experiments(&self, search: ExperimentSearch) -> Result<ExperimentPage> {
        let page = Page::new(search.max_results, search.page_token.as_deref())?;
        let filter: Filter = search.filter.parse()?;
        let order = search.order_by.iter().map(|o| o.parse()).collect::<Result<Vec<OrderBy>, _>>()?;
        let mut sql = Sql::new(COLUMNS);
        sql.push(" WHERE e.lifecycle_stage IN ").push_list(search.view.words().iter().copied());
        sql.push(" AND ").append(EXPERIMENTS.condition(&filter, self.database().dialect())?);
        sql.push(" ORDER BY ").append(EXPERIMENTS.order(&order)?);
        sql.push(if order.is_empty() { "e.creation_time DESC, e.experiment_id DESC" } else { "e.experiment_id ASC" });
        sql.push_limit(page.fetch(), page.offset());
        let (experiments, next_page_token) = page.cut(self.read_experiments(sql).await?);
        Ok(ExperimentPage { experiments, next_page_token })
    }

    /// Gives an active experiment another name.
    ///
    /// **Errors**: `NotFound`; `AlreadyExists` when the name is taken; `Invalid` when the experiment is deleted.
    pub async fn rename_experiment(&self, experiment_id: &str, name: &str) -> Result<()> {
        limits::experiment_name(name)?;
        let mut tx = self.database().begin("rename an experiment").await?;
        let id = active_experiment(&mut tx, experiment_id, "rename").await?;
        let other = Sql::new("SELECT 1 AS one FROM ml_experiments WHERE name = ? AND experiment_id != ?").bind(name).bind(id);
        if tx.fetch_optional(other).await?.is_some() {
            return Err(name_taken(&mut tx, name).await?);
        }
        let update = Sql::new("UPDATE ml_experiments SET name = ?, last_update_time = ? WHERE experiment_id = ?");
        tx.execute(update.bind(name).bind(self.now_ms()).bind(id)).await?;
        Ok(tx.commit().await?)
    }

    /// Deletes an experiment and its runs; they stay until they are restored. A deleted one stays as it is.
    ///
    /// **Errors**: `NotFound`.
    pub async fn delete_experiment(&self, experiment_id: &str) -> Result<()> {
        self.set_experiment_lifecycle(experiment_id, Lifecycle::Deleted).await
    }

    /// Brings a deleted experiment and its runs back.
    ///
    /// **Errors**: `NotFound`.
    pub async fn restore_experiment(&self, experiment_id: &str) -> Result<()> {
        self.set_experiment_lifecycle(experiment_id, Lifecycle::Active).await
    }

    /// Sets a tag of an active experiment.
    ///
    /// **Errors**: `NotFound`; `Invalid` when the experiment is deleted or the tag is over the limits.
    pub async fn set_experiment_tag(&self, experiment_id: &str, key: &str, value: &str) -> Result<()> {
        limits::experiment_tag(key, value)?;
        let mut tx = self.database().begin("tag an experiment").await?;
        let id = active_experiment(&mut tx, experiment_id, "set a tag").await?;
        put_tag(&mut tx, id, key, value).await?;
        Ok(tx.commit().await?)
    }

    /// Removes a tag of an active experiment, if it is there.
    ///
    /// **Errors**: `NotFound`; `Invalid` when the experiment is deleted.
    pub async fn delete_experiment_tag(&self, experiment_id: &str, key: &str) -> Result<()> {
        let mut tx = self.database().begin("untag an experiment").await?;
        let id = active_experiment(&mut tx, experiment_id, "delete a tag").await?;
        let delete = Sql::new("DELETE FROM ml_experiment_tags WHERE experiment_id = ? AND key = ?");
        tx.execute(delete.bind(id).bind(key)).await?;
        Ok(tx.commit().await?)
    }

    async fn set_experiment_lifecycle(&self, experiment_id: &str, lifecycle: Lifecycle) -> Result<()> {
        let id = experiment_number(experiment_id)?;
        let mut tx = self.database().begin("delete or restore an experiment").await?;
        let update = Sql::new("UPDATE ml_experiments SET lifecycle_stage = ?, last_update_time = ? WHERE experiment_id = ?");
        if tx.execute(update.bind(lifecycle.as_str()).bind(self.now_ms()).bind(id)).await? == 0 {
            return Err(Error::NoExperiment { experiment_id: experiment_id.to_owned() });
        }
        let runs = Sql::new("UPDATE ml_runs SET lifecycle_stage = ? WHERE experiment_id = ?");
        tx.execute(runs.bind(lifecycle.as_str()).bind(id)).await?;
        Ok(tx.commit().await?)
    }

    async fn read_experiments(&self, sql: Sql) -> Result<Vec<Experiment>> {
        let rows = self.database().fetch_all("read experiments", sql).await?;
        let mut experiments = rows.iter().map(experiment).collect::<Result<Vec<_>>>()?;
        for chunk in experiments.chunks_mut(CHUNK) {
            let mut sql = Sql::new("SELECT experiment_id, key, value FROM ml_experiment_tags WHERE experiment_id IN ");
            sql.push_list(chunk.iter().filter_map(|e| e.experiment_id.parse::<i64>().ok()));
            let mut tags: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
            for row in self.database().fetch_all("read experiment tags", sql).await? {
                tags.entry(row.int("experiment_id")?.to_string()).or_default().insert(row.text("key")?, row.text("value")?);
            }
            for experiment in chunk {
                experiment.tags = tags.remove(&experiment.experiment_id).unwrap_or_default();
            }
        }
        Ok(experiments)
    }
}

fn experiment(row: &Row) -> Result<Experiment> {
    let experiment_id = row.int("experiment_id")?.to_string();
    let artifact_location =
        row.optional_text("artifact_location")?.unwrap_or_else(|| format!("{}/{experiment_id}", crate::artifact::WIRE_ROOT));
    Ok(Experiment {
        experiment_id,
        name: row.text("name")?,
        artifact_location,
        lifecycle: Lifecycle::from_word(&row.text("lifecycle_stage")?),
        created_ms: row.int("creation_time")?,
        updated_ms: row.int("last_update_time")?,
        tags: BTreeMap::new(),
    })
}

/// Locks the experiment and checks that it is active.
pub(super) async fn active_experiment(tx: &mut Transaction, experiment_id: &str, action: &'static str) -> Result<i64> {
    let id = experiment_number(experiment_id)?;
    let find = Sql::new("SELECT lifecycle_stage FROM ml_experiments WHERE experiment_id = ?").bind(id).for_update(tx.dialect());
    let Some(row) = tx.fetch_optional(find).await? else {
        return Err(Error::NoExperiment { experiment_id: experiment_id.to_owned() });
    };
    match Lifecycle::from_word(&row.text("lifecycle_stage")?) {
        Lifecycle::Active => Ok(id),
        Lifecycle::Deleted => Err(Error::ExperimentDeleted { action, experiment_id: experiment_id.to_owned() }),
    }
}

async fn put_tag(tx: &mut Transaction, id: i64, key: &str, value: &str) -> Result<()> {
    let upsert = Sql::new(
        "INSERT INTO ml_experiment_tags (experiment_id, key, value) VALUES (?, ?, ?) \
         ON CONFLICT (experiment_id, key) DO UPDATE SET value = excluded.value",
    );
    tx.execute(upsert.bind(id).bind(key).bind(value)).await?;
    Ok(())
}

async fn name_taken(tx: &mut Transaction, name: &str) -> Result<Error> {
    let find = Sql::new("SELECT lifecycle_stage FROM ml_experiments WHERE name = ?").bind(name);
    let state = match tx.fetch_optional(find).await? {
        Some(row) => Lifecycle::from_word(&row.text("lifecycle_stage")?).as_str(),
        None => Lifecycle::Active.as_str(),
    };
    Ok(Error::ExperimentExists { name: name.to_owned(), state })
}
