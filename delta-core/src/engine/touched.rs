//! Which rows match a condition.

use std::sync::Arc;

use boathouse_base::Value;
use boathouse_delta_protocol::deletion_vector::DeletionVector;
use boathouse_delta_table::{DataFile, FileRead, Snapshot};
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Int64Type, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use futures::{StreamExt, TryStreamExt, stream};

use super::error::{Attempt, Result};
use super::formula::Filter;

/// Files that are looked through at once.
const FILES_AT_ONCE: usize = 4;

/// A file with rows that match.
#[derive(Debug, Clone)]
pub(crate) struct Touched {
    pub(crate) file: DataFile,
    /// The rows that match, by their place in the file; `None` when all do.
    pub(crate) rows: Option<DeletionVector>,
}

impl Touched {
    /// How many rows match; `None` when it was decided without reading and the file has no statistics.
    pub(crate) fn matching(&self) -> Option<u64> {
        self.rows.as_ref().map_or_else(|| self.file.row_count(), |rows| Some(rows.len()))
    }
}

/// What a search came to.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Files with rows that match, in the order of the log.
    pub(crate) touched: Vec<Touched>,
    /// Files that could have had some, and have none.
    pub(crate) untouched: Vec<DataFile>,
}

/// Finds the rows that match.
///
/// **Cost**: reads the columns of the condition in files that can match; files of which the partition decides are not
/// opened. Memory for the numbers of the rows that match, compressed.
pub(crate) async fn find(snapshot: &Snapshot, filter: &Filter, attempt: &Attempt) -> Result<Found> {
    let files = snapshot.files(filter.predicate.as_ref()).await?;
    let mut looks = stream::iter(files).map(|file| look(snapshot, file, filter, attempt)).buffered(FILES_AT_ONCE);
    let mut found = Found::default();
    while let Some(Touched { file, rows }) = looks.try_next().await? {
        match rows {
            Some(rows) if rows.is_empty() => found.untouched.push(file),
            rows => found.touched.push(Touched { file, rows }),
        }
    }
    Ok(found)
}

async fn look(snapshot: &Snapshot, file: DataFile, filter: &Filter, attempt: &Attempt) -> Result<Touched> {
    if let Some(row) = partition_row(&snapshot.schema(), &file, &filter.columns, attempt)? {
        let all = filter.narrow.is_true(&row, attempt)?.true_count() > 0;
        return Ok(Touched { file, rows: (!all).then(DeletionVector::new) });
    }
    let read = FileRead {
        projection: Some(filter.columns.clone()),
        predicate: filter.predicate.clone(),
        row_index: Some(unused_name(&filter.columns)),
        ..FileRead::default()
    };
    let mut batches = snapshot.read_file(&file, read)?;
    let (mut rows, mut seen) = (Vec::new(), 0);
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| attempt.rows(error))?;
        let Some(numbers) = batch.columns().last() else { continue };
        let numbers = numbers.as_primitive::<Int64Type>().values();
        let columns: Vec<usize> = (0..batch.num_columns() - 1).collect();
        let matching = filter.narrow.is_true(&batch.project(&columns).map_err(|source| attempt.compute(source))?, attempt)?;
        rows.extend(matching.values().set_indices().filter_map(|at| u64::try_from(numbers[at]).ok()));
        seen += batch.num_rows() as u64;
    }
    // Row groups may have been skipped: then not all rows were seen.
    let all = !rows.is_empty() && rows.len() as u64 == seen && file.row_count() == Some(seen);
    Ok(Touched { file, rows: (!all).then(|| rows.into_iter().collect()) })
}

/// A name that none of these columns has.
pub(crate) fn unused_name<S: AsRef<str>>(columns: &[S]) -> String {
    let mut name = "__row".to_owned();
    while columns.iter().any(|column| column.as_ref() == name) {
        name.insert(0, '_');
    }
    name
}

/// A row with the partition values of a file, when these are all that the condition reads.
pub(crate) fn partition_row(
    schema: &SchemaRef,
    file: &DataFile,
    columns: &[String],
    attempt: &Attempt,
) -> Result<Option<RecordBatch>> {
    let (mut fields, mut values): (Vec<_>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for column in columns {
        let Some(value) = file.partition_value(column) else { return Ok(None) };
        let field = schema.field_with_name(column).map_err(|source| attempt.compute(source))?;
        let one = scalar(value).cast_to(field.data_type()).and_then(|scalar| scalar.to_array());
        values.push(one.map_err(|error| attempt.evaluate(column, error))?);
        fields.push(super::cast::nullable(field));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), values, &options);
    row.map(Some).map_err(|source| attempt.compute(source))
}

/// A value of the log as one of the engine.
fn scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Null => ScalarValue::Null,
        Value::Boolean(v) => ScalarValue::Boolean(Some(*v)),
        Value::Int(v) => ScalarValue::Int64(Some(*v)),
        Value::Float(v) => ScalarValue::Float64(Some(*v)),
        Value::Decimal { unscaled, scale } => ScalarValue::Decimal128(Some(*unscaled), 38, *scale),
        Value::String(v) => ScalarValue::Utf8(Some(v.to_string())),
        Value::Binary(v) => ScalarValue::Binary(Some(v.to_vec())),
        Value::Date(v) => ScalarValue::Date32(Some(*v)),
        Value::Timestamp(v) => ScalarValue::TimestampMicrosecond(Some(*v), Some("UTC".into())),
        Value::TimestampNtz(v) => ScalarValue::TimestampMicrosecond(Some(*v), None),
    }
}
