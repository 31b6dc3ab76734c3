//! Making a feature table.

use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};
use boathouse_base::{BatchStream, ErrorKind, IfAbsent, TableVersion, WriteRequest};

use crate::conform::widens;
use crate::definition::{FeatureTableDefinition, check_name};
use crate::error::{Attempt, FeatureError, Result};
use crate::store::{FeatureStore, FeatureTable};

/// What happens when there is a feature table of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum IfExists {
    #[default]
    Fail,
    Open,
}

/// Makes a feature table; ends with [`run`](Self::run).
///
/// With a [`schema`](Self::schema) the table is created if it is absent; without one it must exist, and becomes a
/// feature table as it is.
#[derive(Debug)]
#[must_use = "nothing is made before `run`"]
pub struct CreateFeatureTable<'a> {
    store: &'a FeatureStore,
    name: String,
    primary_keys: Vec<String>,
    timestamp_key: Option<String>,
    schema: Option<SchemaRef>,
    partition_columns: Vec<String>,
    description: String,
    if_exists: IfExists,
}

impl<'a> CreateFeatureTable<'a> {
    pub(crate) fn new(store: &'a FeatureStore, name: String) -> Self {
        Self {
            store,
            name,
            primary_keys: Vec::new(),
            timestamp_key: None,
            schema: None,
            partition_columns: Vec::new(),
            description: String::new(),
            if_exists: IfExists::default(),
        }
    }

    /// The columns that say whose features a row holds: integers, text, dates, times, decimals or bytes.
    pub fn primary_keys<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.primary_keys = columns.into_iter().map(Into::into).collect();
        self
    }

    /// The column that says since when the features of a row hold (Databricks' `timeseries_columns`).
    pub fn timestamp_key(mut self, column: impl Into<String>) -> Self {
        self.timestamp_key = Some(column.into());
        self
    }

    /// All columns. Keys and time become not null, whatever their fields say.
    pub fn schema(mut self, schema: SchemaRef) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Columns to partition a new table by.
    pub fn partition_columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.partition_columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// What the features are, for people.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Opens the feature table of that name if there is one with these keys and columns.
    pub fn or_open(mut self) -> Self {
        self.if_exists = IfExists::Open;
        self
    }

    /// Makes it.
    ///
    /// **Errors**: `AlreadyExists`; `Invalid` when a key is not there or is of a type that is no key, and when
    /// `or_open` found another table; `NotFound` when there is no table and no schema to create one.
    pub async fn run(self) -> Result<FeatureTable> {
        check_name(&self.name)?;
        if let Some(found) = self.store.definitions.read(&self.name).await? {
            return self.existing(found).await;
        }
        let definition = FeatureTableDefinition {
            name: self.name.clone(),
            primary_keys: self.primary_keys.clone(),
            timestamp_key: self.timestamp_key.clone(),
            description: self.description.clone(),
            created_us: self.store.env.now_us(),
        };
        let feature_table = self.store.open(definition)?;
        let definition = &feature_table.definition;
        match feature_table.table.snapshot(TableVersion::Latest).await {
            Ok(snapshot) => {
                definition.check(&snapshot.schema())?;
                self.check_columns(&snapshot.schema())?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound && self.schema.is_some() => {
                let schema = self.keyed(definition)?;
                let if_absent =
                    IfAbsent::Create { partition_columns: self.partition_columns.clone(), properties: Default::default() };
                let request = WriteRequest { if_absent, ..WriteRequest::append() };
                let created = feature_table.table.write(request, BatchStream::empty(schema)).await;
                created.attempt(|| self.attempt())?;
            }
            Err(source) => return Err(FeatureError::Table { attempt: self.attempt(), source }),
        }
        if self.store.definitions.create(definition).await? {
            return Ok(feature_table);
        }
        // Another caller made it in the meantime: then it was there before us.
        match self.store.definitions.read(&self.name).await? {
            Some(found) => self.existing(found).await,
            None => Err(FeatureError::Contention { attempt: self.attempt(), attempts: 1 }),
        }
    }

    fn attempt(&self) -> String {
        format!("create the feature table `{}`", self.name)
    }

    async fn existing(&self, found: FeatureTableDefinition) -> Result<FeatureTable> {
        if self.if_exists == IfExists::Fail {
            return Err(FeatureError::TableExists { table: self.name.clone() });
        }
        let other = |what, found, wanted| FeatureError::OtherDefinition { table: self.name.clone(), what, found, wanted };
        if found.primary_keys != self.primary_keys {
            let (found, wanted) = (format!("{:?}", found.primary_keys), format!("{:?}", self.primary_keys));
            return Err(other("primary key", found, wanted));
        }
        if found.timestamp_key != self.timestamp_key {
            let text = |key: &Option<String>| key.clone().unwrap_or_else(|| "none".to_owned());
            return Err(other("timestamp key", text(&found.timestamp_key), text(&self.timestamp_key)));
        }
        let feature_table = self.store.open(found)?;
        self.check_columns(&feature_table.snapshot(TableVersion::Latest).await?.schema())?;
        Ok(feature_table)
    }

    /// Every column asked for is there with that type. There may be more: tables grow.
    fn check_columns(&self, found: &Schema) -> Result<()> {
        for field in self.schema.iter().flat_map(|schema| schema.fields()) {
            let there = found.field_with_name(field.name()).ok();
            if there.is_some_and(|there| widens(field.data_type(), there.data_type())) {
                continue;
            }
            return Err(FeatureError::OtherDefinition {
                table: self.name.clone(),
                what: "schema",
                found: there.map_or_else(
                    || format!("without `{}`", field.name()),
                    |there| format!("one where `{}` is {}", there.name(), there.data_type()),
                ),
                wanted: format!("`{}` of type {}", field.name(), field.data_type()),
            });
        }
        Ok(())
    }

    /// The schema with keys that are never null.
    fn keyed(&self, definition: &FeatureTableDefinition) -> Result<SchemaRef> {
        let schema = self.schema.clone().unwrap_or_else(|| Arc::new(Schema::empty()));
        definition.check(&schema)?;
        let key = |field: &Field| definition.identity().any(|key| key == field.name());
        let fields = schema
            .fields()
            .iter()
            .map(|field| if key(field) { Arc::new(field.as_ref().clone().with_nullable(false)) } else { Arc::clone(field) });
        Ok(Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())))
    }
}
