//! Rows that are there, and a column that must have values from now on.

use arrow_schema::{Field, SchemaRef};
use boathouse_base::Predicate;

use crate::enforce::first_null;
use crate::error::{AlterProblem, DeltaError, Result};
use crate::layout::Layout;
use crate::scan::{DataFile, FileRead};
use crate::snapshot::Snapshot;

/// Checks that no row has a null in these columns, as the table will be. Gives the number of rows that were read.
///
/// Statistics and partition values that exclude a null spare the file. Of others the one column is read.
pub(super) async fn check_required(snapshot: &Snapshot, layout: &Layout, columns: &[String]) -> Result<u64> {
    let mut read = 0;
    for column in columns {
        let schema = SchemaRef::clone(&layout.arrow);
        let Some(field) = top_level(&schema, column) else { continue };
        // Of a column within others statistics know too little: its parents may be null.
        let predicate = field.name().eq_ignore_ascii_case(column).then(|| Predicate::IsNull(field.name().clone()));
        for file in snapshot.files(predicate.as_ref()).await? {
            if layout.partition_at(field.name()).is_some() {
                match file.partition_value(field.name()) {
                    Some(boathouse_base::Value::Null) => return Err(has_nulls(snapshot, column, &file)),
                    _ => continue,
                }
            }
            read += check_file(snapshot, field, column, &file).await?;
        }
    }
    Ok(read)
}

async fn check_file(snapshot: &Snapshot, field: &Field, column: &str, file: &DataFile) -> Result<u64> {
    let mut rows = snapshot.read_file(file, FileRead { projection: Some(vec![field.name().clone()]), ..FileRead::default() })?;
    let mut read = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|source| DeltaError::Input { url: snapshot.url().to_owned(), source })?;
        read += batch.num_rows() as u64;
        let array = batch.column(0);
        let missing = !field.is_nullable() && array.logical_null_count() > 0;
        if missing || first_null(array, field).is_some() {
            return Err(has_nulls(snapshot, column, file));
        }
    }
    Ok(read)
}

/// The column of the table that holds a column, which may be itself.
fn top_level<'a>(schema: &'a SchemaRef, path: &str) -> Option<&'a Field> {
    let holds = |field: &&std::sync::Arc<Field>| {
        let (name, path) = (field.name().to_lowercase(), path.to_lowercase());
        path == name || path.strip_prefix(&name).is_some_and(|rest| rest.starts_with('.'))
    };
    schema.fields().iter().filter(holds).max_by_key(|field| field.name().len()).map(AsRef::as_ref)
}

fn has_nulls(snapshot: &Snapshot, column: &str, file: &DataFile) -> DeltaError {
    let problem = AlterProblem::HasNulls { column: column.to_owned(), path: file.path().into_owned() };
    DeltaError::CannotAlter { url: snapshot.url().to_owned(), problem }
}
