//! Feature rows by key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray,
    downcast_primitive_array, new_null_array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::{MemoryError, lock, ready};
use crate::BoxFuture;
use crate::error::Result;
use crate::model::{FeatureLookup, FeatureSchema};

/// Feature tables in memory. Clones are one store.
///
/// **Cost**: a lookup reads every row; for tests of a few rows.
#[derive(Clone, Default)]
pub struct MemoryFeatures(Arc<Mutex<BTreeMap<String, Features>>>);

#[derive(Clone)]
struct Features {
    schema: FeatureSchema,
    keys: RecordBatch,
    values: RecordBatch,
}

impl MemoryFeatures {
    /// No tables yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a table in, or replaces it: the columns `keys` find a row, the others are found. Of two rows with
    /// one key the later answers.
    ///
    /// **Errors**: `NotFound` when a key column is not there.
    pub fn put(&self, table: &str, rows: &RecordBatch, keys: &[&str]) -> Result<()> {
        let attempt = format!("put the feature table `{table}`");
        let schema = rows.schema();
        let mut key_fields = Vec::new();
        for key in keys {
            let field = schema.field_with_name(key).map_err(|_| super::row::no_column(&attempt, key, &schema))?;
            key_fields.push(field.clone());
        }
        // A key without a row answers nulls.
        let is_feature = |field: &&Arc<Field>| !keys.contains(&field.name().as_str());
        let features: Vec<Field> =
            schema.fields().iter().filter(is_feature).map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let schema = FeatureSchema { keys: Arc::new(Schema::new(key_fields)), features: Arc::new(Schema::new(features)) };
        let keys = columns_of(rows, &schema.keys, &attempt)?;
        let values = columns_of(rows, &schema.features, &attempt)?;
        lock(&self.0).insert(table.to_owned(), Features { schema, keys, values });
        Ok(())
    }

    fn find(&self, table: &str) -> Result<Features, MemoryError> {
        lock(&self.0).get(table).cloned().ok_or_else(|| MemoryError::NoFeatures { table: table.to_owned() })
    }
}

impl Features {
    fn lookup(&self, table: &str, wanted: &RecordBatch) -> Result<RecordBatch, MemoryError> {
        let attempt = format!("look features up in `{table}`");
        let wanted_keys = self.schema.keys.fields().iter().map(|field| {
            let column = wanted.column_by_name(field.name()).ok_or_else(|| missing(field, &attempt))?;
            check_type(field, column, &attempt).map(|()| column)
        });
        let wanted_keys = wanted_keys.collect::<Result<Vec<_>, _>>()?;
        let same = |row: usize, known: usize| {
            let mut pairs = wanted_keys.iter().zip(self.keys.columns());
            pairs.all(|(a, b)| !a.is_null(row) && a.slice(row, 1).as_ref() == b.slice(known, 1).as_ref())
        };
        let rows: Vec<Option<usize>> =
            (0..wanted.num_rows()).map(|row| (0..self.keys.num_rows()).rev().find(|known| same(row, *known))).collect();
        let fields = self.schema.features.fields().iter();
        let columns = fields.zip(self.values.columns()).map(|(field, column)| {
            let unknown = || MemoryError::ValueType { column: field.name().clone(), data_type: field.data_type().clone() };
            gather(column, &rows).ok_or_else(unknown)
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema.features), columns, &options)
            .map_err(|source| MemoryError::Arrow { attempt, source })
    }
}

/// The rows of an array, null where there is none; `None` for a nested type.
fn gather(array: &ArrayRef, rows: &[Option<usize>]) -> Option<ArrayRef> {
    let array = array.as_ref();
    let valid = rows.iter().map(|row| row.filter(|row| array.is_valid(*row)));
    Some(downcast_primitive_array!(
        array => primitives(array, rows),
        DataType::Boolean => Arc::new(valid.map(|row| row.map(|at| array.as_boolean().value(at))).collect::<BooleanArray>()),
        DataType::Utf8 => Arc::new(valid.map(|row| row.map(|at| array.as_string::<i32>().value(at))).collect::<StringArray>()),
        DataType::Binary => Arc::new(valid.map(|row| row.map(|at| array.as_binary::<i32>().value(at))).collect::<BinaryArray>()),
        _ => return None,
    ))
}

fn primitives<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, rows: &[Option<usize>]) -> ArrayRef {
    let valid = rows.iter().map(|row| row.filter(|row| array.is_valid(*row)).map(|at| array.value(at)));
    let taken: PrimitiveArray<T> = valid.collect();
    Arc::new(taken.with_data_type(array.data_type().clone()))
}

fn missing(field: &Field, attempt: &str) -> MemoryError {
    MemoryError::MissingInput { attempt: attempt.to_owned(), column: field.name().clone(), expected: field.data_type().clone() }
}

fn check_type(field: &Field, column: &ArrayRef, attempt: &str) -> Result<(), MemoryError> {
    if column.data_type() == field.data_type() {
        return Ok(());
    }
    Err(MemoryError::ColumnType {
        attempt: attempt.to_owned(),
        column: field.name().clone(),
        expected: field.data_type().clone(),
        found: column.data_type().clone(),
    })
}

/// The columns of `schema` by name, in its order. A nullable one that is not there comes as nulls.
pub(super) fn columns_of(batch: &RecordBatch, schema: &SchemaRef, attempt: &str) -> Result<RecordBatch, MemoryError> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None if field.is_nullable() => new_null_array(field.data_type(), batch.num_rows()),
            None => return Err(missing(field, attempt)),
        };
        check_type(field, &column, attempt)?;
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)
        .map_err(|source| MemoryError::Arrow { attempt: attempt.to_owned(), source })
}

impl fmt::Debug for MemoryFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(lock(&self.0).keys()).finish()
    }
}

impl FeatureLookup for MemoryFeatures {
    fn feature_schema<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<FeatureSchema>> {
        ready(self.find(table).map(|features| features.schema).map_err(Into::into))
    }

    fn lookup<'a>(&'a self, table: &'a str, keys: &'a RecordBatch) -> BoxFuture<'a, Result<RecordBatch>> {
        ready(self.find(table).and_then(|features| features.lookup(table, keys)).map_err(Into::into))
    }
}
