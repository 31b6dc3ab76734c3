//! Versions: create, read, search, change, delete.

use std::collections::BTreeMap;

use boathouse_mlwire::{OrderBy, Page, Row, Sql, Transaction};

use super::{CHUNK, lock_model, prompts, require_version, touch};
use crate::error::{Error, Result};
use crate::limits;
use crate::model::{Found, ModelVersion, NewVersion, Search};
use crate::registry::Registry;
use crate::schema::VERSIONS;

pub(super) const COLUMNS: &str = "SELECT v.model_id, m.name, v.version, v.created_ms, v.updated_ms, v.stage, v.description, v.source, \
                                  v.run_id, v.run_link, v.user_id FROM mr_versions v JOIN mr_models m ON m.model_id = v.model_id";

impl Registry {
    /// Adds a version to a model, in stage `None`. Of many that do so at once each gets a number of its own.
    ///
    /// **Errors**: `NotFound` without such a model; `Invalid` for a source with `..`, or a text over the limits.
    pub async fn create_version(&self, name: &str, new: NewVersion) -> Result<ModelVersion> {
        limits::source(&new.source)?;
        limits::description(new.description.as_deref())?;
        new.tags.iter().try_for_each(|(key, value)| limits::tag(key, value))?;
        let now = self.now_ms();
        let mut tx = self.database().begin("create a model version").await?;
        let count = Sql::new(
            "UPDATE mr_models SET last_version = last_version + 1, updated_ms = ? WHERE name = ? RETURNING model_id, last_version",
        );
        let Some(row) = tx.fetch_optional(count.bind(now).bind(name)).await? else {
            return Err(Error::NoModel { name: name.to_owned() });
        };
        let (model_id, version) = (row.int("model_id")?, row.int("last_version")?);
        let insert = Sql::new(
            "INSERT INTO mr_versions (model_id, version, created_ms, updated_ms, stage, description, source, run_id, run_link, user_id) \
             VALUES (?, ?, ?, ?, 'None', ?, ?, ?, ?, ?)",
        )
        .bind(model_id)
        .bind(version)
        .bind(now)
        .bind(now)
        .bind(new.description.as_deref())
        .bind(&new.source)
        .bind(new.run_id.as_deref().filter(|id| !id.is_empty()))
        .bind(new.run_link.as_deref().filter(|link| !link.is_empty()))
        .bind(&new.user_id);
        tx.execute(insert).await?;
        for (key, value) in &new.tags {
            put_tag(&mut tx, model_id, version, key, value).await?;
        }
        tx.commit().await?;
        self.get_version(name, u64::try_from(version).unwrap_or_default()).await
    }

    /// One version.
    ///
    /// **Errors**: `NotFound` without such a model or version.
    pub async fn get_version(&self, name: &str, version: u64) -> Result<ModelVersion> {
        let missing = || Error::NoVersion { name: name.to_owned(), version: version.to_string() };
        let number = i64::try_from(version).map_err(|_| missing())?;
        let mut sql = Sql::new(COLUMNS);
        sql.push_with(" WHERE m.name = ?", name).push_with(" AND v.version = ?", number);
        match self.read_versions(sql).await?.pop() {
            Some((_, version)) => Ok(version),
            None => {
                self.get_model(name).await?;
                Err(missing())
            }
        }
    }

    /// Finds versions; the last changed first unless the search says otherwise.
    ///
    /// **Errors**: `Invalid` for a filter, order or page token that cannot be read; the message says where and why.
    pub async fn search_versions(&self, search: Search) -> Result<Found<ModelVersion>> {
        let page = Page::new(search.max_results, search.page_token.as_deref())?;
        let (filter, prompts) = prompts::split(search.filter.parse()?);
        let order = search.order_by.iter().map(|o| o.parse()).collect::<Result<Vec<OrderBy>, _>>()?;
        let mut sql = Sql::new(COLUMNS);
        sql.push(" WHERE ").append(VERSIONS.condition(&filter, self.database().dialect())?).push(prompts);
        sql.push(" ORDER BY ").append(VERSIONS.order(&order)?);
        sql.push(if order.is_empty() { "v.updated_ms DESC, m.name ASC, v.version DESC" } else { "m.name ASC, v.version DESC" });
        sql.push_limit(page.fetch(), page.offset());
        let found = self.read_versions(sql).await?.into_iter().map(|(_, version)| version).collect();
        let (items, next_page_token) = page.cut(found);
        Ok(Found { items, next_page_token })
    }

    /// Changes what is said to be new in a version.
    ///
    /// **Errors**: `NotFound`; `Invalid` for a text over the limit.
    pub async fn update_version(&self, name: &str, version: u64, description: Option<&str>) -> Result<ModelVersion> {
        limits::description(description)?;
        let mut tx = self.database().begin("update a model version").await?;
        let model_id = lock_model(&mut tx, name).await?;
        let number = require_version(&mut tx, model_id, name, version).await?;
        let update = Sql::new("UPDATE mr_versions SET description = ? WHERE model_id = ? AND version = ?");
        tx.execute(update.bind(description).bind(model_id).bind(number)).await?;
        touch(&mut tx, model_id, Some(number), self.now_ms()).await?;
        tx.commit().await?;
        self.get_version(name, version).await
    }

    /// Deletes a version with its tags and aliases, for good. Its number is not used again, and its files stay.
    ///
    /// **Errors**: `NotFound`.
    pub async fn delete_version(&self, name: &str, version: u64) -> Result<()> {
        let mut tx = self.database().begin("delete a model version").await?;
        let model_id = lock_model(&mut tx, name).await?;
        let number = require_version(&mut tx, model_id, name, version).await?;
        // Tags and aliases go with it (ON DELETE CASCADE).
        tx.execute(Sql::new("DELETE FROM mr_versions WHERE model_id = ? AND version = ?").bind(model_id).bind(number)).await?;
        touch(&mut tx, model_id, None, self.now_ms()).await?;
        Ok(tx.commit().await?)
    }

    /// Sets a tag of a version, or changes it.
    ///
    /// **Errors**: `NotFound`; `Invalid` for a tag over the limits.
    pub async fn set_version_tag(&self, name: &str, version: u64, key: &str, value: &str) -> Result<()> {
        limits::tag(key, value)?;
        let mut tx = self.database().begin("tag a model version").await?;
        let model_id = lock_model(&mut tx, name).await?;
        let number = require_version(&mut tx, model_id, name, version).await?;
        put_tag(&mut tx, model_id, number, key, value).await?;
        touch(&mut tx, model_id, Some(number), self.now_ms()).await?;
        Ok(tx.commit().await?)
    }

    /// Removes a tag of a version, if it is there.
    ///
    /// **Errors**: `NotFound` without such a version.
    pub async fn delete_version_tag(&self, name: &str, version: u64, key: &str) -> Result<()> {
        let mut tx = self.database().begin("untag a model version").await?;
        let model_id = lock_model(&mut tx, name).await?;
        let number = require_version(&mut tx, model_id, name, version).await?;
        let delete = Sql::new("DELETE FROM mr_version_tags WHERE model_id = ? AND version = ? AND key = ?");
        tx.execute(delete.bind(model_id).bind(number).bind(key)).await?;
        touch(&mut tx, model_id, Some(number), self.now_ms()).await?;
        Ok(tx.commit().await?)
    }

    /// The newest version of each stage of each of these models, with the number of the model.
    pub(super) async fn newest_by_stage(&self, model_ids: &[i64]) -> Result<Vec<(i64, ModelVersion)>> {
        let mut sql = Sql::new(COLUMNS);
        sql.push(
            " WHERE v.version = (SELECT MAX(w.version) FROM mr_versions w WHERE w.model_id = v.model_id AND w.stage = v.stage)",
        );
        sql.push(" AND v.model_id IN ").push_list(model_ids.iter().copied());
        self.read_versions(sql).await
    }

    /// Versions with the number of their model, in the order of the statement.
    pub(super) async fn read_versions(&self, sql: Sql) -> Result<Vec<(i64, ModelVersion)>> {
        let rows = self.database().fetch_all("read model versions", sql).await?;
        let mut versions = rows.iter().map(version).collect::<Result<Vec<_>>>()?;
        for chunk in versions.chunks_mut(CHUNK) {
            let of = |text: &'static str, order: &'static str| {
                let mut sql = Sql::new(text);
                sql.push_list(chunk.iter().map(|(id, _)| *id)).push(order);
                sql
            };
            let tags = of("SELECT model_id, version, key, value FROM mr_version_tags WHERE model_id IN ", "");
            let aliases = of("SELECT model_id, version, alias FROM mr_aliases WHERE model_id IN ", " ORDER BY alias");
            let mut by_id: BTreeMap<(i64, u64), &mut ModelVersion> =
                chunk.iter_mut().map(|(id, v)| ((*id, v.version), v)).collect();
            for row in self.database().fetch_all("read model version tags", tags).await? {
                if let Some(version) = by_id.get_mut(&(row.int("model_id")?, row.count("version")?)) {
                    version.tags.insert(row.text("key")?, row.text("value")?);
                }
            }
            for row in self.database().fetch_all("read aliases", aliases).await? {
                if let Some(version) = by_id.get_mut(&(row.int("model_id")?, row.count("version")?)) {
                    version.aliases.push(row.text("alias")?);
                }
            }
        }
        Ok(versions)
    }
}

fn version(row: &Row) -> Result<(i64, ModelVersion)> {
    let version = ModelVersion {
        name: row.text("name")?,
        version: row.count("version")?,
        created_ms: row.int("created_ms")?,
        updated_ms: row.int("updated_ms")?,
        stage: row.text("stage")?.parse()?,
        description: row.optional_text("description")?,
        source: row.text("source")?,
        run_id: row.optional_text("run_id")?,
        run_link: row.optional_text("run_link")?,
        user_id: row.text("user_id")?,
        tags: BTreeMap::new(),
        aliases: Vec::new(),
    };
    Ok((row.int("model_id")?, version))
}

async fn put_tag(tx: &mut Transaction, model_id: i64, version: i64, key: &str, value: &str) -> Result<()> {
    let upsert = Sql::new(
        "INSERT INTO mr_version_tags (model_id, version, key, value) VALUES (?, ?, ?, ?) \
         ON CONFLICT (model_id, version, key) DO UPDATE SET value = excluded.value",
    );
    tx.execute(upsert.bind(model_id).bind(version).bind(key).bind(value)).await?;
    Ok(())
}
