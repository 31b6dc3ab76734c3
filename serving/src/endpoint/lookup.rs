//! Features that an endpoint finds by key, so that a request need not bring them.

use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema, SchemaRef};
use boathouse_base::{FeatureLookup, FeatureSchema, Signature};

use crate::error::{Result, ServingError};
use crate::signature::enforce;

/// A feature table that an endpoint was told of.
#[derive(Clone)]
pub(crate) struct LookupSpec {
    pub(crate) source: Arc<dyn FeatureLookup>,
    pub(crate) table: String,
    /// Request columns that feed the table's keys, in the table's order; empty for columns of the same names.
    pub(crate) keys: Vec<String>,
}

impl fmt::Debug for LookupSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookupSpec").field("table", &self.table).field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// A lookup that knows its table's columns and which of them a model takes.
#[derive(Debug)]
pub(crate) struct BoundLookup {
    spec: LookupSpec,
    /// The table's keys.
    keys: SchemaRef,
    /// Names of the request columns, one for each key.
    given: Vec<String>,
    /// Features that the model takes.
    features: Vec<String>,
}

impl BoundLookup {
    pub(crate) async fn bind(spec: &LookupSpec, signature: &Signature) -> Result<Self> {
        let found = spec.source.feature_schema(&spec.table).await;
        let FeatureSchema { keys, features } =
            found.map_err(|source| ServingError::FeatureLookup { table: spec.table.clone(), source })?;
        let names: Vec<String> = keys.fields().iter().map(|f| f.name().clone()).collect();
        let given = if spec.keys.is_empty() { names.clone() } else { spec.keys.clone() };
        if given.len() != names.len() {
            return Err(ServingError::LookupKeys { table: spec.table.clone(), keys: names, given });
        }
        let features = features
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .filter(|name| signature.inputs.column_with_name(name).is_some())
            .collect();
        Ok(Self { spec: spec.clone(), keys, given, features })
    }

    /// The columns that `request` must bring for the keys.
    fn request_fields(&self) -> impl Iterator<Item = Field> {
        // A key without a value finds no row; its features are then null, and the model says whether it can do without.
        self.given.iter().zip(self.keys.fields()).map(|(name, key)| Field::new(name, key.data_type().clone(), key.is_nullable()))
    }

    /// The feature columns of `rows`, by name.
    async fn features(&self, rows: &RecordBatch) -> Result<Vec<(String, ArrayRef)>> {
        let table = || self.spec.table.clone();
        let mut fields = Vec::with_capacity(self.given.len());
        let mut columns = Vec::with_capacity(self.given.len());
        for (name, key) in self.given.iter().zip(self.keys.fields()) {
            let column = rows
                .column_by_name(name)
                .ok_or_else(|| ServingError::MissingColumn { column: name.clone(), found: Vec::new() })?;
            fields.push(Field::new(key.name(), column.data_type().clone(), true));
            columns.push(Arc::clone(column));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let keys = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .map_err(|source| ServingError::Arrow { action: "gather the keys of a feature lookup", source })?;
        let keys = enforce(&self.keys, &keys)?;
        let found = self.spec.source.lookup(&self.spec.table, &keys).await;
        let found = found.map_err(|source| ServingError::FeatureLookup { table: table(), source })?;
        if found.num_rows() != rows.num_rows() {
            return Err(ServingError::RowCount {
                what: format!("the feature table `{}`", table()),
                expected: rows.num_rows(),
                found: found.num_rows(),
            });
        }
        self.features
            .iter()
            .map(|name| match found.column_by_name(name) {
                Some(column) => Ok((name.clone(), Arc::clone(column))),
                None => Err(ServingError::MissingColumn {
                    column: name.clone(),
                    found: found.schema_ref().fields().iter().map(|f| f.name().clone()).collect(),
                }),
            })
            .collect()
    }
}

/// The columns that a request must bring: what the model takes and no lookup gives, and the keys.
///
/// **Errors**: [`ServingError::AmbiguousFeature`].
pub(crate) fn request_schema(signature: &Signature, lookups: &[BoundLookup]) -> Result<SchemaRef> {
    let mut owners: Vec<(&str, &str)> = Vec::new();
    for lookup in lookups {
        for feature in &lookup.features {
            if let Some((column, first)) = owners.iter().find(|(column, _)| column == feature) {
                return Err(ServingError::AmbiguousFeature {
                    column: (*column).to_owned(),
                    first: (*first).to_owned(),
                    second: lookup.spec.table.clone(),
                });
            }
            owners.push((feature, &lookup.spec.table));
        }
    }
    if lookups.is_empty() {
        return Ok(Arc::clone(&signature.inputs));
    }
    let looked_up = |name: &str| owners.iter().any(|(column, _)| *column == name);
    let mut fields: Vec<Field> =
        signature.inputs.fields().iter().filter(|f| !looked_up(f.name())).map(|f| f.as_ref().clone()).collect();
    for key in lookups.iter().flat_map(BoundLookup::request_fields) {
        if !fields.iter().any(|f| f.name() == key.name()) {
            fields.push(key);
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The model's inputs: from the request where it brings them, from the lookups otherwise.
pub(crate) async fn join(signature: &Signature, lookups: &[BoundLookup], rows: RecordBatch) -> Result<RecordBatch> {
    if lookups.is_empty() {
        return Ok(rows);
    }
    let mut found = Vec::new();
    for lookup in lookups {
        found.extend(lookup.features(&rows).await?);
    }
    let mut fields = Vec::with_capacity(signature.inputs.fields().len());
    let mut columns = Vec::with_capacity(signature.inputs.fields().len());
    for field in signature.inputs.fields() {
        let feature = found.iter().find(|(name, _)| name == field.name()).map(|(_, column)| column);
        if let Some(column) = feature.or_else(|| rows.column_by_name(field.name())) {
            fields.push(Field::new(field.name(), column.data_type().clone(), true));
            columns.push(Arc::clone(column));
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let joined = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|source| ServingError::Arrow { action: "join looked-up features to a request", source })?;
    enforce(&signature.inputs, &joined)
}
