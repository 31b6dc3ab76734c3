//! `/mlflow/model-versions/…`

use axum::Json;
use axum::extract::State;
use boathouse_mlwire::{HttpResult, Object, WireRequest, empty};

use super::{json, pairs, version};
use crate::model::{ModelVersion, NewVersion};
use crate::registry::Registry;
use crate::stage::Existing;

fn answer(version: &ModelVersion) -> Json<serde_json::Value> {
    Json(Object::new().put("model_version", json::version(version)).json())
}

pub(super) async fn create(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    let text = |name| params.optional_text(name).map(|t| t.filter(|t| !t.is_empty()).map(str::to_owned));
    let new = NewVersion {
        source: params.text("source")?.to_owned(),
        run_id: text("run_id")?,
        run_link: text("run_link")?,
        description: text("description")?,
        user_id: text("user_id")?.unwrap_or_default(),
        tags: pairs(&params, "tags")?,
    };
    Ok(answer(&registry.create_version(params.text("name")?, new).await?))
}

pub(super) async fn update(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    let description = params.optional_text("description")?;
    Ok(answer(&registry.update_version(params.text("name")?, version(&params)?, description).await?))
}

pub(super) async fn transition(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    let stage = params.text("stage")?.parse()?;
    let existing = if params.flag("archive_existing_versions", false)? { Existing::Archive } else { Existing::Keep };
    Ok(answer(&registry.transition(params.text("name")?, version(&params)?, stage, existing).await?))
}

pub(super) async fn delete(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    registry.delete_version(params.text("name")?, version(&params)?).await?;
    Ok(empty())
}

pub(super) async fn get(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    Ok(answer(&registry.get_version(params.text("name")?, version(&params)?).await?))
}

pub(super) async fn search(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    let found = registry.search_versions(super::search(&params, 10_000, 200_000)?).await?;
    let versions = Object::new().put_list("model_versions", &found.items, json::version);
    Ok(Json(versions.put_some("next_page_token", found.next_page_token).json()))
}

pub(super) async fn download_uri(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    let version = registry.get_version(params.text("name")?, version(&params)?).await?;
    Ok(Json(Object::new().put("artifact_uri", version.source).json()))
}

pub(super) async fn set_tag(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    let value = params.optional_text("value")?.unwrap_or_default();
    registry.set_version_tag(params.text("name")?, version(&params)?, params.text("key")?, value).await?;
    Ok(empty())
}

pub(super) async fn delete_tag(State(registry): State<Registry>, WireRequest(params): WireRequest) -> HttpResult {
    registry.delete_version_tag(params.text("name")?, version(&params)?, params.text("key")?).await?;
    Ok(empty())
}
