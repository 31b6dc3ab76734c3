//! Parquet files: columns are matched by name, values by value.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{Field, Fields};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::adapt::{adapt, to_json};
use super::column::add_member;
use super::rows::{Target, rescued_text};
use super::{Emit, SourceFile, Stop, UnknownFields};
use crate::quarantine::QuarantinedLine;
use crate::schema::normalize;

/// The columns of a file in the types in which they are delivered.
pub(super) fn normalized(fields: &Fields) -> Fields {
    fields.iter().map(|field| Field::new(field.name(), normalize(field.data_type()), true)).collect()
}

pub(super) fn decode(
    file: &Arc<SourceFile>,
    bytes: &Bytes,
    unknown: UnknownFields,
    fields: &Fields,
    target: &Target,
    bad: &mut Vec<QuarantinedLine>,
    emit: Emit<'_>,
) -> Result<(), Stop> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())
        .and_then(|builder| builder.with_batch_size(target.batch_rows).build());
    let reader = match reader {
        Ok(reader) => reader,
        Err(error) => {
            bad.push(QuarantinedLine::whole_file(file, format!("open the Parquet file: {error}")));
            return Ok(());
        }
    };
    let mut rows = 0;
    for batch in reader {
        match batch {
            Ok(batch) => {
                rows += batch.num_rows();
                emit(convert(file, &batch, unknown, fields, target)?)?;
            }
            Err(error) => {
                bad.push(QuarantinedLine::whole_file(file, format!("read the Parquet file after {rows} rows: {error}")));
                return Ok(());
            }
        }
    }
    Ok(())
}

fn convert(
    file: &Arc<SourceFile>,
    batch: &RecordBatch,
    unknown: UnknownFields,
    fields: &Fields,
    target: &Target,
) -> Result<RecordBatch, Stop> {
    let mut rests = vec![String::new(); batch.num_rows()];
    let mut rescue = |name: &str, array: &ArrayRef, rows: &[usize]| -> Result<(), Stop> {
        if !rows.is_empty() && target.rescued {
            for (row, value) in rows.iter().zip(to_json(array, rows)?) {
                add_member(&mut rests[*row], name, &value);
            }
        }
        Ok(())
    };
    if unknown == UnknownFields::Rescue {
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
    Ok(target.assemble(fields, &arrays, Some(rescued), &[(Arc::clone(file), batch.num_rows())])?)
}
