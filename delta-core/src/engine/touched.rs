//! Which files hold rows that match a condition.

use std::sync::Arc;

use boathouse_base::Value;
use boathouse_delta_table::{DataFile, FileRead, Snapshot};
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
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
    /// How many rows match; `None` when it was decided without reading and the file has no statistics.
    pub(crate) matching: Option<u64>,
    /// All rows match.
    pub(crate) whole: bool,
}

/// Finds the files with rows that match, in the order of the log.
///
/// **Cost**: reads the columns of the condition in files that can match; files of which the partition decides are not
/// opened.
pub(crate) async fn find(snapshot: &Snapshot, filter: &Filter, attempt: &Attempt) -> Result<Vec<Touched>> {
    let files = snapshot.files(filter.predicate.as_ref()).await?;
    let found = stream::iter(files).map(|file| look(snapshot, file, filter, attempt)).buffered(FILES_AT_ONCE);
    let found: Vec<Option<Touched>> = found.try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn look(snapshot: &Snapshot, file: DataFile, filter: &Filter, attempt: &Attempt) -> Result<Option<Touched>> {
    if let Some(row) = partition_row(&snapshot.schema(), &file, &filter.columns, attempt)? {
        let matches = filter.narrow.is_true(&row, attempt)?.true_count() > 0;
        let matching = file.row_count();
        return Ok(matches.then_some(Touched { file, matching, whole: true }));
    }
    let read = FileRead { projection: Some(filter.columns.clone()), predicate: filter.predicate.clone(), ..FileRead::default() };
    let mut rows = snapshot.read_file(&file, read)?;
    let (mut matching, mut seen) = (0, 0);
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| attempt.rows(error))?;
        matching += filter.narrow.is_true(&batch, attempt)?.true_count() as u64;
        seen += batch.num_rows() as u64;
    }
    // Row groups may have been skipped: then not all rows were seen.
    let whole = matching == seen && file.row_count() == Some(seen);
    Ok((matching > 0).then_some(Touched { file, matching: Some(matching), whole }))
}

/// A row with the partition values of a file, when these are all that the condition reads.
fn partition_row(schema: &SchemaRef, file: &DataFile, columns: &[String], attempt: &Attempt) -> Result<Option<RecordBatch>> {
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
