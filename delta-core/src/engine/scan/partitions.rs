//! Filters on partition columns, and on what `_metadata` says of files, which the log alone decides.

use std::sync::Arc;

use boathouse_base::Value;
use boathouse_delta_table::{DataFile, Snapshot};
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_empty_array};
use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Result, ScalarValue, ToDFSchema};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;

use super::metadata::{FILE_METADATA, of_files, reads_metadata, reads_no_rows};
use super::statistics::scalar;

/// Whether a filter reads these columns and nothing else, so that all rows of a file share its answer.
pub(crate) fn reads_only(filter: &Expr, columns: &[String]) -> bool {
    let read = filter.column_refs();
    let of_log = !read.is_empty() && read.iter().all(|column| columns.contains(&column.name));
    let asks_elsewhere = |expr: &Expr| {
        Ok(matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Placeholder(_)
        ))
    };
    of_log && !filter.is_volatile() && !filter.exists(asks_elsewhere).unwrap_or(true)
}

/// The same with what `_metadata` says of whole files, where that is a hidden column.
pub(crate) fn reads_only_of_files(filter: &Expr, columns: &[String]) -> bool {
    let known: Vec<String> = columns.iter().cloned().chain([FILE_METADATA.to_owned()]).collect();
    reads_only(filter, &known) && reads_no_rows(filter).unwrap_or(false)
}

/// The files for whose rows all these filters are true. `schema` is that of the table, as the engine sees it, with `_metadata` where a
/// filter reads it.
///
/// **Cost**: the filters are evaluated once, over one row for each file.
pub(crate) fn matching(
    session: &dyn Session,
    snapshot: &Snapshot,
    schema: &SchemaRef,
    files: Vec<DataFile>,
    filters: &[&Expr],
) -> Result<Vec<DataFile>> {
    let Some(filter) = conjunction(filters.iter().map(|filter| (*filter).clone())) else { return Ok(files) };
    let names = snapshot.partition_columns().iter().map(String::as_str);
    let hidden = reads_metadata(&filter) && !snapshot.partition_columns().iter().any(|name| name == FILE_METADATA);
    let names = names.chain(hidden.then_some(FILE_METADATA));
    let fields = names.map(|name| schema.field_with_name(name).cloned());
    let schema = Arc::new(Schema::new(fields.collect::<Result<Vec<_>, _>>()?));
    let column = |(at, field): (usize, &FieldRef)| -> Result<ArrayRef> {
        if at >= snapshot.partition_columns().len() {
            return of_files(snapshot, &files, field);
        }
        let values = files.iter().map(|file| {
            let value = file.partition_values().get(at).unwrap_or(&Value::Null);
            scalar(value, field.data_type()).map_or_else(|| ScalarValue::try_new_null(field.data_type()), Ok)
        });
        match values.collect::<Result<Vec<_>>>()? {
            values if values.is_empty() => Ok(new_empty_array(field.data_type())),
            values => ScalarValue::iter_to_array(values),
        }
    };
    let columns = schema.fields().iter().enumerate().map(column).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(files.len()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
    let filter = session.create_physical_expr(filter, &schema.to_dfschema()?)?;
    let answers = filter.evaluate(&batch)?.into_array(files.len())?;
    let answers = answers.as_boolean();
    Ok(files.into_iter().zip(answers).filter(|(_, answer)| *answer == Some(true)).map(|(file, _)| file).collect())
}
