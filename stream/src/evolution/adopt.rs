//! Rows of state, from the columns of a file to those of the query, and back.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;

use super::{Role, StoreRef};
use crate::state::{Changes, Recorded, Rows};

/// The rows of a file with the columns of a store; all are read if these are not the same. Aggregates that the file does not have get their state of no rows.
///
/// `recorded` says what the columns of files are; `zeros` are the states of no rows, by column.
///
/// **Errors**: when the file lacks another column, or has it with another type.
pub(crate) fn adopt(
    file: Recorded,
    schema: &SchemaRef,
    recorded: &StoreRef,
    zeros: &[(String, ScalarValue)],
) -> Result<Recorded, ArrowError> {
    let all = match &file.rows {
        // What is the same stays where it is.
        rows if rows.schema().fields() == schema.fields() && recorded.columns.iter().all(|column| column.since == 0) => {
            return Ok(file);
        }
        Rows::Held(rows) => rows.clone(),
        Rows::Filed(rows) => rows.all()?,
    };
    let stored = &all;
    let rows = stored.num_rows();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let known = recorded.column(field.name());
        let array = known.and_then(|known| stored.column_by_name(&known.stored_as()));
        let missing = |what: &str| ArrowError::SchemaError(format!("the column `{}` {what}", field.name()));
        columns.push(match array {
            Some(array) if array.data_type() == field.data_type() => Arc::clone(array),
            Some(array) => {
                return Err(missing(&format!("is {} in the file, and {} was announced", array.data_type(), field.data_type())));
            }
            None if known.is_some_and(|known| known.role != Role::Aggregate) => return Err(missing("is not in the file")),
            None => {
                let zero = zeros.iter().find(|(name, _)| name == field.name()).map(|(_, zero)| zero);
                let zero = zero.ok_or_else(|| missing("is new, and has no state of no rows"))?;
                let zero = zero.cast_to(field.data_type()).map_err(|error| missing(&error.to_string()))?;
                zero.to_array_of_size(rows).map_err(|error| missing(&error.to_string()))?
            }
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let rows = RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)?;
    Ok(Recorded { rows: Rows::Held(rows), ..file })
}

/// The rows of a store with the names that files have for its columns.
pub(crate) fn as_recorded(changes: Changes, store: &StoreRef) -> Result<Changes, ArrowError> {
    if store.columns.iter().all(|column| column.since == 0) {
        return Ok(changes);
    }
    let schema = changes.rows.schema();
    let named = |field: &Arc<Field>| {
        let name = store.column(field.name()).map_or_else(|| field.name().clone(), super::ColumnRef::stored_as);
        field.as_ref().clone().with_name(name)
    };
    let named = Schema::new_with_metadata(schema.fields().iter().map(named).collect::<Vec<_>>(), schema.metadata().clone());
    let options = RecordBatchOptions::new().with_row_count(Some(changes.rows.num_rows()));
    let rows = RecordBatch::try_new_with_options(Arc::new(named), changes.rows.columns().to_vec(), &options)?;
    Ok(Changes { rows, ..changes })
}
