//! Whether variants that are to be written can be read again.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::BinaryType;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType, Field};
use boathouse_delta_protocol::schema::is_variant;

use super::value::{Names, VariantProblem, is_whole};

/// Checks all variants of a column, at any depth. The column has the types of the table.
///
/// **Errors**: the first row whose names cannot be read, or whose value does not end where its bytes end, or has parts elsewhere, or
/// fields without names.
///
/// **Cost**: one pass over all values; the names of a row are parsed once.
pub(crate) fn check(array: &ArrayRef, field: &Field) -> Result<(), ArrowError> {
    check_below(array, field, None)
}

/// A row whose parent is null has no variant, whatever its bytes are.
fn check_below(array: &ArrayRef, field: &Field, parent: Option<&NullBuffer>) -> Result<(), ArrowError> {
    let live = NullBuffer::union(parent, array.nulls());
    if is_variant(field) {
        return check_rows(array, live.as_ref()).map_err(|problem| ArrowError::ExternalError(Box::new(problem)));
    }
    match field.data_type() {
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            fields.iter().zip(columns).try_for_each(|(field, column)| check_below(column, field, live.as_ref()))
        }
        DataType::List(element) => check_below(array.as_list::<i32>().values(), element, None),
        DataType::Map(entries, _) => {
            let pairs: ArrayRef = Arc::new(array.as_map().entries().clone());
            check_below(&pairs, entries, None)
        }
        _ => Ok(()),
    }
}

fn check_rows(array: &ArrayRef, live: Option<&NullBuffer>) -> Result<(), VariantProblem> {
    let variants = array.as_struct();
    let part = |name: &str| variants.column_by_name(name).and_then(|column| column.as_bytes_opt::<BinaryType>());
    let (Some(metadata), Some(values)) = (part("metadata"), part("value")) else {
        return Err(VariantProblem::ColumnType { data_type: array.data_type().clone() });
    };
    for row in (0..variants.len()).filter(|row| live.is_none_or(|live| live.is_valid(*row))) {
        if metadata.is_null(row) {
            return Err(VariantProblem::Metadata { row });
        }
        let names = Names::parse(metadata.value(row)).ok_or(VariantProblem::Metadata { row })?;
        if values.is_null(row) || !is_whole(values.value(row), &names) {
            return Err(VariantProblem::Value { row });
        }
    }
    Ok(())
}
