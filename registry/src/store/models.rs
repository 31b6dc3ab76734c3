//! Registered models: create, read, search, rename, change, delete.

use std::collections::BTreeMap;

use boathouse_mlwire::{OrderBy, Page, Sql, Transaction};

use super::{CHUNK, lock_model, prompts, touch};
use crate::error::{Error, Result};
use crate::limits;
use crate::model::{Found, RegisteredModel, Search};
use crate::registry::Registry;
use crate::schema::MODELS;
use crate::stage::Stage;

const COLUMNS: &str = "SELECT m.model_id, m.name, m.created_ms, m.updated_ms, m.description FROM mr_models m";

impl Registry {
    /// Makes a registered model without versions.
    ///
    /// **Errors**: `AlreadyExists`; `Invalid` for a name with `/`, `:` or `@`, or over the limits.
    pub async fn create_model(
        &self,
        name: &str,
        description: Option<&str>,
        tags: &[(String, String)],
    ) -> Result<RegisteredModel> {
        limits::name(name)?;
        limits::description(description)?;
        tags.iter().try_for_each(|(key, value)| limits::tag(key, value))?;
        let now = self.now_ms();
        let mut tx = self.database().begin("create a registered model").await?;
        let insert = Sql::new(
            "INSERT INTO mr_models (name, created_ms, updated_ms, description, last_version) VALUES (?, ?, ?, ?, 0) \
             ON CONFLICT DO NOTHING RETURNING model_id",
        );
        let Some(row) = tx.fetch_optional(insert.bind(name).bind(now).bind(now).bind(description)).await? else {
            return Err(Error::ModelExists { name: name.to_owned() });
        };
        let model_id = row.int("model_id")?;
        for (key, value) in tags {
            put_tag(&mut tx, model_id, key, value).await?;
        }
        tx.commit().await?;
        self.get_model(name).await
    }

    /// A registered model with the newest version of each stage.
    ///
    /// **Errors**: `NotFound`.
    pub async fn get_model(&self, name: &str) -> Result<RegisteredModel> {
        let mut sql = Sql::new(COLUMNS);
        sql.push_with(" WHERE m.name = ?", name);
        self.read_models(sql).await?.pop().ok_or_else(|| Error::NoModel { name: name.to_owned() })
    }

    /// Finds registered models; by name unless the search says otherwise.
    ///
    /// **Errors**: `Invalid` for a filter, order or page token that cannot be read; the message says where and why.
    pub async fn search_models(&self, search: Search) -> Result<Found<RegisteredModel>> {
        let page = Page::new(search.max_results, search.page_token.as_deref())?;
        let (filter, prompts) = prompts::split(search.filter.parse()?);
        let order = search.order_by.iter().map(|o| o.parse()).collect::<Result<Vec<OrderBy>, _>>()?;
        let mut sql = Sql::new(COLUMNS);
        sql.push(" WHERE ").append(MODELS.condition(&filter, self.database().dialect())?).push(prompts);
        sql.push(" ORDER BY ").append(MODELS.order(&order)?).push("m.name ASC").push_limit(page.fetch(), page.offset());
        let (items, next_page_token) = page.cut(self.read_models(sql).await?);
        Ok(Found { items, next_page_token })
    }

    /// Gives a model another name. Its versions, stages and aliases stay.
    ///
    /// **Errors**: `NotFound`; `AlreadyExists` when the name is taken; `Invalid` for a name that is not allowed.
    pub async fn rename_model(&self, name: &str, new_name: &str) -> Result<RegisteredModel> {
        limits::name(new_name)?;
        let mut tx = self.database().begin("rename a registered model").await?;
        let model_id = lock_model(&mut tx, name).await?;
        let other = Sql::new("SELECT 1 AS one FROM mr_models WHERE name = ? AND model_id != ?").bind(new_name).bind(model_id);
        if tx.fetch_optional(other).await?.is_some() {
            return Err(Error::ModelExists { name: new_name.to_owned() });
        }
        let update = Sql::new("UPDATE mr_models SET name = ?, updated_ms = ? WHERE model_id = ?");
        tx.execute(update.bind(new_name).bind(self.now_ms()).bind(model_id)).await?;
        tx.commit().await?;
        self.get_model(new_name).await
    }

    /// Changes what a model is said to be for.
    ///
    /// **Errors**: `NotFound`; `Invalid` for a text over the limit.
    pub async fn update_model(&self, name: &str, description: Option<&str>) -> Result<RegisteredModel> {
        limits::description(description)?;
        let mut tx = self.database().begin("update a registered model").await?;
        let model_id = lock_model(&mut tx, name).await?;
        tx.execute(Sql::new("UPDATE mr_models SET description = ? WHERE model_id = ?").bind(description).bind(model_id)).await?;
        touch(&mut tx, model_id, None, self.now_ms()).await?;
        tx.commit().await?;
        self.get_model(name).await
    }

    /// Deletes a model with its versions, aliases and audit, for good. The files of its versions stay where they are.
    ///
    /// **Errors**: `NotFound`.
    pub async fn delete_model(&self, name: &str) -> Result<()> {
        let mut tx = self.database().begin("delete a registered model").await?;
        let model_id = lock_model(&mut tx, name).await?;
        // What hangs on it goes with it (ON DELETE CASCADE).
        tx.execute(Sql::new("DELETE FROM mr_models WHERE model_id = ?").bind(model_id)).await?;
        Ok(tx.commit().await?)
    }

    /// Sets a tag of a model, or changes it.
    ///
    /// **Errors**: `NotFound`; `Invalid` for a tag over the limits.
    pub async fn set_model_tag(&self, name: &str, key: &str, value: &str) -> Result<()> {
        limits::tag(key, value)?;
        let mut tx = self.database().begin("tag a registered model").await?;
        let model_id = lock_model(&mut tx, name).await?;
        put_tag(&mut tx, model_id, key, value).await?;
        touch(&mut tx, model_id, None, self.now_ms()).await?;
        Ok(tx.commit().await?)
    }

    /// Removes a tag of a model, if it is there.
    ///
    /// **Errors**: `NotFound` without such a model.
    pub async fn delete_model_tag(&self, name: &str, key: &str) -> Result<()> {
        let mut tx = self.database().begin("untag a registered model").await?;
        let model_id = lock_model(&mut tx, name).await?;
        tx.execute(Sql::new("DELETE FROM mr_model_tags WHERE model_id = ? AND key = ?").bind(model_id).bind(key)).await?;
        touch(&mut tx, model_id, None, self.now_ms()).await?;
        Ok(tx.commit().await?)
    }

    async fn read_models(&self, sql: Sql) -> Result<Vec<RegisteredModel>> {
        let rows = self.database().fetch_all("read registered models", sql).await?;
        let mut models = BTreeMap::new();
        let mut order = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = row.int("model_id")?;
            order.push(id);
            models.insert(
                id,
                RegisteredModel {
                    name: row.text("name")?,
                    created_ms: row.int("created_ms")?,
                    updated_ms: row.int("updated_ms")?,
                    description: row.optional_text("description")?,
                    tags: BTreeMap::new(),
                    aliases: BTreeMap::new(),
                    latest_versions: Vec::new(),
                },
            );
        }
        for ids in order.chunks(CHUNK) {
            let of = |text: &'static str| {
                let mut sql = Sql::new(text);
                sql.push_list(ids.iter().copied());
                sql
            };
            let read = |sql| self.database().fetch_all("read registered models", sql);
            for row in read(of("SELECT model_id, key, value FROM mr_model_tags WHERE model_id IN ")).await? {
                if let Some(model) = models.get_mut(&row.int("model_id")?) {
                    model.tags.insert(row.text("key")?, row.text("value")?);
                }
            }
            for row in read(of("SELECT model_id, alias, version FROM mr_aliases WHERE model_id IN ")).await? {
                if let Some(model) = models.get_mut(&row.int("model_id")?) {
                    model.aliases.insert(row.text("alias")?, row.count("version")?);
                }
            }
            for (id, version) in self.newest_by_stage(ids).await? {
                if let Some(model) = models.get_mut(&id) {
                    model.latest_versions.push(version);
                }
            }
        }
        for model in models.values_mut() {
            model.latest_versions.sort_by_key(|v| v.stage);
        }
        Ok(order.iter().filter_map(|id| models.remove(id)).collect())
    }

    /// The newest version in each of these stages; in all that have one, when none is named.
    ///
    /// **Errors**: `NotFound` without such a model.
    pub async fn latest_versions(&self, name: &str, stages: &[Stage]) -> Result<Vec<crate::ModelVersion>> {
        let mut latest = self.get_model(name).await?.latest_versions;
        if !stages.is_empty() {
            latest.retain(|v| stages.contains(&v.stage));
        }
        Ok(latest)
    }
}

async fn put_tag(tx: &mut Transaction, model_id: i64, key: &str, value: &str) -> Result<()> {
    let upsert = Sql::new(
        "INSERT INTO mr_model_tags (model_id, key, value) VALUES (?, ?, ?) \
         ON CONFLICT (model_id, key) DO UPDATE SET value = excluded.value",
    );
    tx.execute(upsert.bind(model_id).bind(key).bind(value)).await?;
    Ok(())
}
