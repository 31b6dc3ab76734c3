//! Runs: create, read, search, end, delete, restore.

use boathouse_mlwire::{Filter, OrderBy, Page, Row, Sql, Transaction};

use super::experiments::active_experiment;
use super::{experiment_number, logging};
use crate::error::{Error, Result};
use crate::limits;
use crate::run::{Lifecycle, NewRun, Run, RunInfo, RunPage, RunSearch, RunStatus};
use crate::run_name::invent;
use crate::schema::RUNS;
use crate::tracker::Tracker;

const COLUMNS: &str = "SELECT r.run_id, r.run_name, r.experiment_id, r.user_id, r.status, r.start_time, r.end_time, r.artifact_uri, \
                       r.lifecycle_stage FROM ml_runs r";
/// The tag that says the name again.
const NAME_TAG: &str = "mlflow.runName";

impl Tracker {
    /// Begins a run. It is `RUNNING` from now on.
    ///
    /// **Errors**: `NotFound` without such an experiment; `Invalid` when it is deleted, or a tag is over the limits.
    pub async fn create_run(&self, experiment_id: &str, new: NewRun) -> Result<Run> {
        let named = new.tags.iter().rev().find(|(key, _)| key == NAME_TAG).map(|(_, value)| value.clone());
        let run_name = new.run_name.filter(|n| !n.is_empty()).or(named).unwrap_or_else(|| invent(&self.inner.env));
        limits::run_name(&run_name)?;
        new.tags.iter().try_for_each(|(key, value)| limits::tag(key, value))?;
        let run_id = self.inner.env.hex_id();
        let location = self.get_experiment(experiment_id).await?.artifact_location;
        let artifact_uri = format!("{}/{run_id}/artifacts", location.trim_end_matches('/'));
        let mut tags = new.tags;
        tags.push((NAME_TAG.to_owned(), run_name.clone()));

        let mut tx = self.database().begin("create a run").await?;
        let experiment = active_experiment(&mut tx, experiment_id, "create a run").await?;
        let insert = Sql::new(
            "INSERT INTO ml_runs (run_id, experiment_id, run_name, user_id, status, start_time, artifact_uri, lifecycle_stage) \
             VALUES (?, ?, ?, ?, 'RUNNING', ?, ?, 'active')",
        )
        .bind(&run_id)
        .bind(experiment)
        .bind(&run_name)
        .bind(&new.user_id)
        .bind(new.start_time_ms.unwrap_or_else(|| self.now_ms()))
        .bind(&artifact_uri);
        tx.execute(insert).await?;
        logging::put_tags(&mut tx, &run_id, &tags).await?;
        tx.commit().await?;
        self.get_run(&run_id).await
    }

    /// A run and what it holds, deleted or not.
    ///
    /// **Errors**: `NotFound`.
    pub async fn get_run(&self, run_id: &str) -> Result<Run> {
        let info = self.get_run_info(run_id).await?;
        self.with_data(vec![info]).await?.pop().ok_or_else(|| Error::NoRun { run_id: run_id.to_owned() })
    }

    /// Who, when and where, without params, metrics and tags.
    ///
    /// **Errors**: `NotFound`.
    pub async fn get_run_info(&self, run_id: &str) -> Result<RunInfo> {
        let mut sql = Sql::new(COLUMNS);
        sql.push_with(" WHERE r.run_id = ?", run_id);
        let row = self.database().fetch_optional("read a run", sql).await?;
        row.map_or_else(|| Err(Error::NoRun { run_id: run_id.to_owned() }), |row| run_info(&row))
    }

    /// Finds runs.
    ///
    /// **Cost**: one statement for the page, and four for each 500 runs of it, whatever they logged.
    ///
    /// **Errors**: `Invalid` for a filter, order or page token that cannot be read; the message says where and why.
    pub async fn search_runs(&self, search: RunSearch) -> Result<RunPage> {
        let page = Page::new(search.max_results, search.page_token.as_deref())?;
        let filter: Filter = search.filter.parse()?;
        let order = search.order_by.iter().map(|o| o.parse()).collect::<Result<Vec<OrderBy>, _>>()?;
        let mut sql = Sql::new(COLUMNS);
        sql.push(" WHERE r.lifecycle_stage IN ").push_list(search.view.words().iter().copied());
        if !search.experiment_ids.is_empty() {
            // An id that is no number names no experiment: it finds nothing, as in MLflow.
            sql.push(" AND r.experiment_id IN ");
            sql.push_list(search.experiment_ids.iter().filter_map(|id| experiment_number(id).ok()));
        }
        sql.push(" AND ").append(RUNS.condition(&filter, self.database().dialect())?);
        sql.push(" ORDER BY ").append(RUNS.order(&order)?);
        sql.push("r.start_time DESC, r.run_id ASC").push_limit(page.fetch(), page.offset());
        let rows = self.database().fetch_all("search runs", sql).await?;
        let (infos, next_page_token) = page.cut(rows.iter().map(run_info).collect::<Result<Vec<_>>>()?);
        Ok(RunPage { runs: self.with_data(infos).await?, next_page_token })
    }

    /// Changes how far a run is, when it ended, and its name. `None` leaves a field as it is.
    ///
    /// **Errors**: `NotFound`; `Invalid` when the run is deleted.
    pub async fn update_run(
        &self,
        run_id: &str,
        status: Option<RunStatus>,
        end_time_ms: Option<i64>,
        run_name: Option<&str>,
    ) -> Result<RunInfo> {
        let run_name = run_name.filter(|n| !n.is_empty());
        run_name.map_or(Ok(()), limits::run_name)?;
        let mut tx = self.database().begin("update a run").await?;
        lock_active(&mut tx, run_id, "update").await?;
        let update = Sql::new(
            "UPDATE ml_runs SET status = COALESCE(?, status), end_time = COALESCE(?, end_time), run_name = COALESCE(?, run_name) \
             WHERE run_id = ?",
        );
        tx.execute(update.bind(status.map(RunStatus::as_str)).bind(end_time_ms).bind(run_name).bind(run_id)).await?;
        if let Some(name) = run_name {
            logging::put_tags(&mut tx, run_id, &[(NAME_TAG.to_owned(), name.to_owned())]).await?;
        }
        tx.commit().await?;
        self.get_run_info(run_id).await
    }

    /// Ends a run now.
    ///
    /// **Errors**: as [`update_run`](Self::update_run).
    pub async fn end_run(&self, run_id: &str, status: RunStatus) -> Result<RunInfo> {
        self.update_run(run_id, Some(status), Some(self.now_ms()), None).await
    }

    /// Deletes a run; it stays until it is restored. A deleted one stays as it is.
    ///
    /// **Errors**: `NotFound`.
    pub async fn delete_run(&self, run_id: &str) -> Result<()> {
        self.set_run_lifecycle(run_id, Lifecycle::Deleted).await
    }

    /// Brings a deleted run back.
    ///
    /// **Errors**: `NotFound`.
    pub async fn restore_run(&self, run_id: &str) -> Result<()> {
        self.set_run_lifecycle(run_id, Lifecycle::Active).await
    }

    async fn set_run_lifecycle(&self, run_id: &str, lifecycle: Lifecycle) -> Result<()> {
        let mut tx = self.database().begin("delete or restore a run").await?;
        let update = Sql::new("UPDATE ml_runs SET lifecycle_stage = ? WHERE run_id = ?").bind(lifecycle.as_str()).bind(run_id);
        if tx.execute(update).await? == 0 {
            return Err(Error::NoRun { run_id: run_id.to_owned() });
        }
        Ok(tx.commit().await?)
    }
}

fn run_info(row: &Row) -> Result<RunInfo> {
    let status = row.text("status")?;
    Ok(RunInfo {
        run_id: row.text("run_id")?,
        run_name: row.text("run_name")?,
        experiment_id: row.int("experiment_id")?.to_string(),
        user_id: row.text("user_id")?,
        status: RunStatus::from_word(&status).ok_or(boathouse_mlwire::Error::Column {
            column: "status".to_owned(),
            expected: "a run status",
            found: status,
        })?,
        start_time_ms: row.int("start_time")?,
        end_time_ms: row.optional_int("end_time")?,
        artifact_uri: row.text("artifact_uri")?,
        lifecycle: Lifecycle::from_word(&row.text("lifecycle_stage")?),
    })
}

/// Locks the run, so that of two writers one waits, and checks that it is active. Returns its experiment.
pub(super) async fn lock_active(tx: &mut Transaction, run_id: &str, action: &'static str) -> Result<i64> {
    let find =
        Sql::new("SELECT lifecycle_stage, experiment_id FROM ml_runs WHERE run_id = ?").bind(run_id).for_update(tx.dialect());
    let Some(row) = tx.fetch_optional(find).await? else {
        return Err(Error::NoRun { run_id: run_id.to_owned() });
    };
    match Lifecycle::from_word(&row.text("lifecycle_stage")?) {
        Lifecycle::Active => Ok(row.int("experiment_id")?),
        Lifecycle::Deleted => Err(Error::RunDeleted { action, run_id: run_id.to_owned() }),
    }
}
