//! `/mlflow/experiments/…`

use axum::Json;
use axum::extract::State;
use boathouse_mlwire::{HttpResult, Object, WireRequest, empty};

use super::{json, pairs, view};
use crate::experiment::{ExperimentSearch, NewExperiment};
use crate::tracker::Tracker;

pub(super) async fn create(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let new = NewExperiment {
        name: params.text("name")?.to_owned(),
        artifact_location: params.optional_text("artifact_location")?.map(str::to_owned),
        tags: pairs(&params, "tags")?,
    };
    let experiment = tracker.create_experiment(new).await?;
    Ok(Json(Object::new().put("experiment_id", experiment.experiment_id).json()))
}

pub(super) async fn search(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let search = ExperimentSearch {
        filter: params.optional_text("filter")?.unwrap_or_default().to_owned(),
        view: view(&params, "view_type")?,
        order_by: params.texts("order_by")?,
        max_results: params.max_results(1000, 50_000)?,
        page_token: params.optional_text("page_token")?.map(str::to_owned),
    };
    let page = tracker.search_experiments(search).await?;
    let found = Object::new().put_list("experiments", &page.experiments, json::experiment);
    Ok(Json(found.put_some("next_page_token", page.next_page_token).json()))
}

pub(super) async fn get(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let experiment = tracker.get_experiment(params.text("experiment_id")?).await?;
    Ok(Json(Object::new().put("experiment", json::experiment(&experiment)).json()))
}

pub(super) async fn get_by_name(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let experiment = tracker.get_experiment_by_name(params.text("experiment_name")?).await?;
    Ok(Json(Object::new().put("experiment", json::experiment(&experiment)).json()))
}

pub(super) async fn delete(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    tracker.delete_experiment(params.text("experiment_id")?).await?;
    Ok(empty())
}

pub(super) async fn restore(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    tracker.restore_experiment(params.text("experiment_id")?).await?;
    Ok(empty())
}

pub(super) async fn update(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    tracker.rename_experiment(params.text("experiment_id")?, params.text("new_name")?).await?;
    Ok(empty())
}

pub(super) async fn set_tag(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let value = params.optional_text("value")?.unwrap_or_default();
    tracker.set_experiment_tag(params.text("experiment_id")?, params.text("key")?, value).await?;
    Ok(empty())
}

pub(super) async fn delete_tag(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    tracker.delete_experiment_tag(params.text("experiment_id")?, params.text("key")?).await?;
    Ok(empty())
}
