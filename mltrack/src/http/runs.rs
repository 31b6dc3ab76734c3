//! `/mlflow/runs/…`

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use boathouse_mlwire::{HttpResult, Object, Params, WireRequest, empty};

use super::{cut, json, pairs, view};
use crate::error::{Error, Result};
use crate::limits::{MAX_PARAM_VALUE, MAX_TAG_VALUE};
use crate::run::{DatasetInput, Metric, NewRun, RunBatch, RunSearch, RunStatus};
use crate::tracker::Tracker;

/// Old clients say `run_uuid`.
fn run_id(params: &Params) -> Result<&str> {
    Ok(params.text_of(&["run_id", "run_uuid"])?)
}

pub(super) async fn create(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let new = NewRun {
        run_name: params.optional_text("run_name")?.map(str::to_owned),
        user_id: params.optional_text("user_id")?.unwrap_or_default().to_owned(),
        start_time_ms: params.optional_int("start_time")?,
        tags: tags(&params)?,
    };
    let experiment_id = params.optional_text("experiment_id")?.filter(|id| !id.is_empty()).unwrap_or("0");
    let run = tracker.create_run(experiment_id, new).await?;
    Ok(Json(Object::new().put("run", json::run(&run)).json()))
}

pub(super) async fn get(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let run = tracker.get_run(run_id(&params)?).await?;
    Ok(Json(Object::new().put("run", json::run(&run)).json()))
}

pub(super) async fn update(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let status = match params.optional_text("status")? {
        None => None,
        Some(word) => Some(
            RunStatus::from_word(word)
                .ok_or_else(|| params.refuse("status", "expected RUNNING, SCHEDULED, FINISHED, FAILED or KILLED"))?,
        ),
    };
    let end_time_ms = params.optional_int("end_time")?;
    let info = tracker.update_run(run_id(&params)?, status, end_time_ms, params.optional_text("run_name")?).await?;
    Ok(Json(Object::new().put("run_info", json::run_info(&info)).json()))
}

pub(super) async fn delete(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    tracker.delete_run(run_id(&params)?).await?;
    Ok(empty())
}

pub(super) async fn restore(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    tracker.restore_run(run_id(&params)?).await?;
    Ok(empty())
}

pub(super) async fn search(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let experiment_ids = params.texts("experiment_ids")?;
    if experiment_ids.is_empty() {
        // On the wire a search names its experiments; none finds nothing.
        return Ok(empty());
    }
    let search = RunSearch {
        experiment_ids,
        filter: params.optional_text("filter")?.unwrap_or_default().to_owned(),
        view: view(&params, "run_view_type")?,
        order_by: params.texts("order_by")?,
        max_results: params.max_results(1000, 50_000)?,
        page_token: params.optional_text("page_token")?.map(str::to_owned),
    };
    let page = tracker.search_runs(search).await?;
    let found = Object::new().put_list("runs", &page.runs, json::run);
    Ok(Json(found.put_some("next_page_token", page.next_page_token).json()))
}

pub(super) async fn log_metric(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    tracker.log_metric(run_id(&params)?, metric(&params)?).await?;
    Ok(empty())
}

pub(super) async fn log_param(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let mut value = params.optional_text("value")?.unwrap_or_default().to_owned();
    cut(&mut value, MAX_PARAM_VALUE);
    tracker.log_param(run_id(&params)?, params.text("key")?, &value).await?;
    Ok(empty())
}

pub(super) async fn set_tag(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let mut value = params.optional_text("value")?.unwrap_or_default().to_owned();
    cut(&mut value, MAX_TAG_VALUE);
    tracker.set_tag(run_id(&params)?, params.text("key")?, &value).await?;
    Ok(empty())
}

pub(super) async fn delete_tag(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    tracker.delete_tag(run_id(&params)?, params.text("key")?).await?;
    Ok(empty())
}

pub(super) async fn log_batch(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let metrics = params.objects("metrics")?.iter().map(metric).collect::<Result<Vec<_>>>()?;
    let mut batch = RunBatch { metrics, params: pairs(&params, "params")?, tags: tags(&params)? };
    batch.params.iter_mut().for_each(|(_, value)| cut(value, MAX_PARAM_VALUE));
    tracker.log_batch(run_id(&params)?, batch).await?;
    Ok(empty())
}

pub(super) async fn log_inputs(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    if !params.objects("models")?.is_empty() {
        return Err(Error::Wire(params.refuse("models", "logged models as inputs are not supported; log datasets only")).into());
    }
    let input = |params: &Params| {
        let dataset = params.object("dataset")?;
        let text = |name| Ok::<_, Error>(dataset.optional_text(name)?.map(str::to_owned));
        Ok::<_, Error>(DatasetInput {
            name: dataset.text("name")?.to_owned(),
            digest: dataset.text("digest")?.to_owned(),
            source_type: dataset.text("source_type")?.to_owned(),
            source: dataset.text("source")?.to_owned(),
            schema: text("schema")?,
            profile: text("profile")?,
            tags: pairs(params, "tags")?.into_iter().collect::<BTreeMap<_, _>>(),
        })
    };
    let inputs = params.objects("datasets")?.iter().map(input).collect::<Result<Vec<_>>>()?;
    tracker.log_inputs(run_id(&params)?, &inputs).await?;
    Ok(empty())
}

fn metric(params: &Params) -> Result<Metric> {
    let key = params.text("key")?;
    Ok(Metric::new(key, params.float("value")?, params.int("timestamp")?, params.optional_int("step")?.unwrap_or(0)))
}

fn tags(params: &Params) -> Result<Vec<(String, String)>> {
    let mut tags = pairs(params, "tags")?;
    tags.iter_mut().for_each(|(_, value)| cut(value, MAX_TAG_VALUE));
    Ok(tags)
}
