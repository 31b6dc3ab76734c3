//! `/mlflow/registered-models/…`

use axum::Json;
use axum::extract::State;
use boathouse_mlwire::{HttpResult, Object, WireRequest, empty};

use super::{json, pairs, version};
use crate::error::Result;
use crate::model::RegisteredModel;
use crate::registry::Registry;
use crate::stage::Stage;

fn answer(model: &RegisteredModel) -> Json<serde_json::Value> {
    Json(Object::new().put("registered_model", json::model(model)).json())
}

pub(super) async fn create(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    let description = params.optional_text("description")?.filter(|d| !d.is_empty());
    Ok(answer(&registry.create_model(params.text("name")?, description, &pairs(&params, "tags")?).await?))
}

pub(super) async fn rename(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    Ok(answer(&registry.rename_model(params.text("name")?, params.text("new_name")?).await?))
}

pub(super) async fn update(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    Ok(answer(&registry.update_model(params.text("name")?, params.optional_text("description")?).await?))
}

pub(super) async fn delete(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    registry.delete_model(params.text("name")?).await?;
    Ok(empty())
}

pub(super) async fn get(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    Ok(answer(&registry.get_model(params.text("name")?).await?))
}

pub(super) async fn search(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    let found = registry.search_models(super::search(&params, 100, 1000)?).await?;
    let models = Object::new().put_list("registered_models", &found.items, json::model);
    Ok(Json(models.put_some("next_page_token", found.next_page_token).json()))
}

pub(super) async fn latest_versions(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    let stages = params.texts("stages")?.iter().map(|s| s.parse()).collect::<Result<Vec<Stage>>>()?;
    let versions = registry.latest_versions(params.text("name")?, &stages).await?;
    Ok(Json(Object::new().put_list("model_versions", &versions, json::version).json()))
}

pub(super) async fn set_tag(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    let value = params.optional_text("value")?.unwrap_or_default();
    registry.set_model_tag(params.text("name")?, params.text("key")?, value).await?;
    Ok(empty())
}

pub(super) async fn delete_tag(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    registry.delete_model_tag(params.text("name")?, params.text("key")?).await?;
    Ok(empty())
}

pub(super) async fn set_alias(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    registry.set_alias(params.text("name")?, params.text("alias")?, version(&params)?).await?;
    Ok(empty())
}

pub(super) async fn delete_alias(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    registry.delete_alias(params.text("name")?, params.text("alias")?).await?;
    Ok(empty())
}

pub(super) async fn get_alias(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    let version = registry.get_version_by_alias(params.text("name")?, params.text("alias")?).await?;
    Ok(Json(Object::new().put("model_version", json::version(&version)).json()))
}
