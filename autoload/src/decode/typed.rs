//! Batches that bring their types: columns are matched by name, values by value.

use std::fmt::Display;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{Field, Fields};

use super::adapt::{adapt, to_json};
use super::column::add_member;
use super::output::Output;
use super::rows::{Run, rescued_text};
use super::{SourceFile, Stop, UnknownFields};
use crate::schema::normalize;

/// The columns of a file in the types in which they are delivered.
pub(super) fn normalized(fields: &Fields) -> Fields {
    fields.iter().map(|field| Field::new(field.name(), normalize(field.data_type()), true)).collect()
}

/// Decodes a file that brings its types. What comes before a break stays.
pub(super) fn decode<E: Display>(
    format: &str,
    file: &Arc<SourceFile>,
    opened: Result<impl Iterator<Item = Result<RecordBatch, E>>, impl Display>,
    output: &mut Output<'_>,
) -> Result<(), Stop> {
    let batches = match opened {
        Ok(batches) => batches,
        Err(error) => {
            output.refuse_file(file, format!("open the {format} file: {error}"));
            return Ok(());
        }
    };
    let mut rows = 0;
    for batch in batches {
        match batch {
            Ok(batch) => {
                output.emit(convert(file, &batch, rows, output)?)?;
                rows += batch.num_rows() as u64;
            }
            Err(error) => {
                output.refuse_file(file, format!("read the {format} file after {rows} rows: {error}"));
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A batch of a file, whose first row is number `first_row` of it, as the schema wants it.
pub(super) fn convert(
    file: &Arc<SourceFile>,
    batch: &RecordBatch,
    first_row: u64,
    output: &Output<'_>,
) -> Result<RecordBatch, Stop> {
    let Output { unknown, fields, target, .. } = output;
    let mut rests = vec![file.rest.clone(); batch.num_rows()];
    let mut rescue = |name: &str, array: &ArrayRef, rows: &[usize]| -> Result<(), Stop> {
        if !rows.is_empty() && target.rescued {
            for (row, value) in rows.iter().zip(to_json(array, rows)?) {
                add_member(&mut rests[*row], name, &value);
            }
        }
        Ok(())
    };
    if *unknown == UnknownFields::Rescue {
        for (array, found) in batch.columns().iter().zip(batch.schema_ref().fields()) {
            if !fields.iter().any(|field| field.name() == found.name()) {
                let rows: Vec<usize> = (0..array.len()).filter(|&row| array.is_valid(row)).collect();
                rescue(found.name(), array, &rows)?;
            }
        }
    }
    let mut arrays = Vec::with_capacity(fields.len());
    for field in fields {
        match batch.column_by_name(field.name()) {
            None => arrays.push(arrow_array::new_null_array(field.data_type(), batch.num_rows())),
            Some(array) => {
                let adapted = adapt(array, field.data_type())?;
                rescue(field.name(), array, &adapted.misfits)?;
                arrays.push(adapted.array);
            }
        }
    }
    let mut rescued = StringBuilder::new();
    for rest in rests {
        rescued.append_option((!rest.is_empty()).then(|| rescued_text(rest, file)));
    }
    let rescued: ArrayRef = Arc::new(rescued.finish());
    Ok(target.assemble(fields, &arrays, Some(rescued), &[Run { file: Arc::clone(file), first_row, rows: batch.num_rows() }])?)
}
