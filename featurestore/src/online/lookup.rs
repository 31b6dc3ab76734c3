//! Everything that a spec looks up, as one.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema};
use boathouse_base::{BoxFuture, FeatureLookup, FeatureSchema};

use super::OnlineStore;
use super::table::OnlineTable;
use crate::error::{Attempt, FeatureError, Result};
use crate::instant::{TimeLine, Times};
use crate::lookup_spec::{FeatureLookupSpec, FeatureSpec};

/// The features of a spec as one table, whose keys are label columns.
///
/// Hand it to a serving endpoint: a model gets the columns that its training set had.
#[derive(Debug, Clone)]
pub struct SpecLookup {
    store: OnlineStore,
    name: String,
    spec: FeatureSpec,
}

impl SpecLookup {
    pub(super) fn new(store: OnlineStore, name: String, spec: FeatureSpec) -> Self {
        Self { store, name, spec }
    }

    fn check(&self, table: &str) -> Result<()> {
        if table == self.name {
            return Ok(());
        }
        Err(FeatureError::NotOnline { table: table.to_owned(), known: vec![self.name.clone()] })
    }

    fn schema(&self) -> Result<FeatureSchema> {
        let (mut keys, mut features): (Vec<Field>, Vec<Field>) = (Vec::new(), Vec::new());
        for lookup in &self.spec.lookups {
            let table = self.store.online(&lookup.table)?;
            for key in table.schema().keys.fields() {
                let label = lookup.label_column(key.name());
                if !keys.iter().any(|known| known.name() == label) {
                    keys.push(key.as_ref().clone().with_name(label));
                }
            }
            for feature in wanted(lookup, &table)? {
                let field = table.schema().features.field(feature);
                features.push(field.clone().with_name(lookup.column_name(field.name())));
            }
        }
        Ok(FeatureSchema { keys: Arc::new(Schema::new(keys)), features: Arc::new(Schema::new(features)) })
    }
}

impl FeatureLookup for SpecLookup {
    fn feature_schema<'a>(&'a self, table: &'a str) -> BoxFuture<'a, boathouse_base::Result<FeatureSchema>> {
        Box::pin(async move {
            self.check(table)?;
            Ok(self.schema()?)
        })
    }

    fn lookup<'a>(&'a self, table: &'a str, keys: &'a RecordBatch) -> BoxFuture<'a, boathouse_base::Result<RecordBatch>> {
        Box::pin(async move {
            self.check(table)?;
            Ok(found(&self.store, &self.spec, keys)?)
        })
    }
}

/// The numbers of the features that a lookup wants.
fn wanted(lookup: &FeatureLookupSpec, table: &OnlineTable) -> Result<Vec<usize>> {
    match &lookup.features {
        Some(features) => features.iter().map(|feature| table.feature(feature)).collect(),
        None => Ok((0..table.schema().features.fields().len()).collect()),
    }
}

/// The times of the rows, where age counts and the rows have them.
fn times(lookup: &FeatureLookupSpec, spec: &FeatureSpec, rows: &RecordBatch) -> Result<Option<(TimeLine, Times)>> {
    let attempt = || format!("look features up in `{}`", lookup.table);
    let Some(column) = lookup.max_age_us.and(lookup.timestamp.as_ref().or(spec.timestamp.as_ref())) else { return Ok(None) };
    let Some(array) = rows.column_by_name(column) else { return Ok(None) };
    let line = TimeLine::of(array.data_type(), column, attempt)?;
    Ok(Some((line, line.read(array, column, attempt)?)))
}

/// The features of a spec, one row for each row.
fn found(store: &OnlineStore, spec: &FeatureSpec, rows: &RecordBatch) -> Result<RecordBatch> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for lookup in &spec.lookups {
        let table = store.online(&lookup.table)?;
        let keys: Vec<String> =
            table.schema().keys.fields().iter().map(|key| lookup.label_column(key.name()).to_owned()).collect();
        let (now_us, times) = (store.env.now_us(), times(lookup, spec, rows)?);
        let as_of_us = |row: usize| times.as_ref().and_then(|(line, times)| Some(line.to_us(times.at(row)?))).unwrap_or(now_us);
        let found = table.get_features(rows, &keys, &wanted(lookup, &table)?, lookup.max_age_us, as_of_us)?;
        for (field, column) in found.schema_ref().fields().iter().zip(found.columns()) {
            fields.push(field.as_ref().clone().with_name(lookup.column_name(field.name())));
            columns.push(Arc::clone(column));
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).attempt(|| "look features up".to_owned())
}

/// The rows, and beside them the features of a spec.
pub(super) fn assemble(store: &OnlineStore, spec: &FeatureSpec, rows: &RecordBatch) -> Result<RecordBatch> {
    let found = found(store, spec, rows)?;
    let attempt = || "put features beside their rows".to_owned();
    if let Some(twice) = found.schema_ref().fields().iter().find(|f| rows.schema_ref().field_with_name(f.name()).is_ok()) {
        let hint = "leave it out of the request: it is looked up";
        return Err(FeatureError::DuplicateColumn { attempt: attempt(), column: twice.name().clone(), hint });
    }
    let fields: Vec<Arc<Field>> = rows.schema_ref().fields().iter().chain(found.schema_ref().fields()).cloned().collect();
    let columns = rows.columns().iter().chain(found.columns()).cloned().collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).attempt(attempt)
}
