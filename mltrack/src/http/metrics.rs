//! `/mlflow/metrics/…`

use axum::Json;
use axum::extract::State;
use boathouse_mlwire::{HttpResult, Object, WireRequest};

use super::json;
use crate::error::Error;
use crate::tracker::Tracker;

pub(super) async fn get_history(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let run_id = params.text_of(&["run_id", "run_uuid"])?;
    let max_results = params.max_results(25_000, 25_000)?;
    let token = params.optional_text("page_token")?;
    let page = tracker.get_metric_history_page(run_id, params.text("metric_key")?, max_results, token).await?;
    let found = Object::new().put_list("metrics", &page.metrics, json::metric);
    Ok(Json(found.put_some("next_page_token", page.next_page_token).json()))
}

pub(super) async fn get_history_interval(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let run_ids = params.texts("run_ids")?;
    if run_ids.is_empty() || run_ids.len() > 100 {
        return Err(Error::Wire(params.refuse("run_ids", "expected 1 to 100 run ids")).into());
    }
    let start = params.optional_int("start_step")?.unwrap_or(i64::MIN);
    let end = params.optional_int("end_step")?.unwrap_or(i64::MAX);
    if start > end {
        return Err(Error::Wire(params.refuse("start_step", "expected a step that is not after end_step")).into());
    }
    let most = params.max_results(320, 2500)?;
    let points = tracker.get_metric_interval(&run_ids, params.text("metric_key")?, start..=end, most).await?;
    let found = Object::new().put_list("metrics", &points, |(run_id, m)| json::metric_of(run_id, m));
    Ok(Json(found.json()))
}
