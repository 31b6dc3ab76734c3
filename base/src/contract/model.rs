//! The contract of [`Model`].

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema};

use super::rows::{assert_kind, close, columns};
use crate::error::ErrorKind;
use crate::model::Model;

/// Checks an implementation of [`Model`] on `sample`: a few rows with its input columns.
pub fn model(model: &dyn Model, sample: &RecordBatch) {
    let (inputs, outputs) = (&model.signature().inputs, &model.signature().outputs);
    assert!(sample.num_rows() >= 2, "the sample of the suite has two rows or more");
    let whole = model.predict(sample).expect("the sample can be scored");
    assert_eq!(whole.num_rows(), sample.num_rows(), "one output row per input row");
    assert_eq!(columns(&whole.schema()), columns(outputs), "the output has the columns of the signature");
    same(&whole, &model.predict(sample).expect("scored again"), "the answer does not depend on earlier calls");
    for row in 0..sample.num_rows() {
        let one = model.predict(&sample.slice(row, 1)).expect("one row can be scored");
        same(&whole.slice(row, 1), &one, &format!("row {row} alone and among the others"));
    }
    let tail = sample.slice(1, sample.num_rows() - 1);
    same(&whole.slice(1, tail.num_rows()), &model.predict(&tail).expect("a slice"), "a slice of the sample");

    let empty = model.predict(&sample.slice(0, 0)).expect("an empty batch can be scored");
    assert_eq!(empty.num_rows(), 0, "an empty batch gives an empty batch");
    assert_eq!(columns(&empty.schema()), columns(outputs));

    let backwards: Vec<usize> = (0..sample.num_columns()).rev().collect();
    let reordered = sample.project(&backwards).unwrap();
    same(&whole, &model.predict(&reordered).expect("columns are found by name"), "columns in another order");
    let more = with_column(sample, "__not_an_input", Arc::new(Int64Array::from(vec![7; sample.num_rows()])));
    same(&whole, &model.predict(&more).expect("other columns are ignored"), "a column more");

    for field in inputs.fields() {
        if sample.schema_ref().field_with_name(field.name()).is_err() {
            continue;
        }
        if !field.is_nullable() {
            let others: Vec<usize> =
                (0..sample.num_columns()).filter(|at| sample.schema_ref().field(*at).name() != field.name()).collect();
            let without = sample.project(&others).unwrap();
            assert_kind(&model.predict(&without), ErrorKind::Invalid, &[field.name()], "an input column is missing");
        }
        let wrong: ArrayRef = match field.data_type() {
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                Arc::new(BooleanArray::from(vec![true; sample.num_rows()]))
            }
            _ => Arc::new(BinaryArray::from(vec![b"\xff\xfe".as_slice(); sample.num_rows()])),
        };
        let wrong = with_column(sample, field.name(), wrong);
        assert_kind(&model.predict(&wrong), ErrorKind::Invalid, &[field.name()], "an input column has another type");
    }
}

/// The batch with a column added or replaced.
pub(super) fn with_column(batch: &RecordBatch, name: &str, values: ArrayRef) -> RecordBatch {
    let mut fields: Vec<Arc<Field>> = batch.schema_ref().fields().iter().cloned().collect();
    let mut arrays = batch.columns().to_vec();
    let field = Arc::new(Field::new(name, values.data_type().clone(), true));
    match fields.iter().position(|f| f.name() == name) {
        Some(at) => {
            fields[at] = field;
            arrays[at] = values;
        }
        None => {
            fields.push(field);
            arrays.push(values);
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).unwrap()
}

pub(super) fn same(a: &RecordBatch, b: &RecordBatch, what: &str) {
    assert_eq!(a.num_rows(), b.num_rows(), "{what}: another number of rows");
    for ((field, a), b) in a.schema_ref().fields().iter().zip(a.columns()).zip(b.columns()) {
        assert!(close(a.as_ref(), b.as_ref()), "{what}: the column `{}` differs: {a:?} and {b:?}", field.name());
    }
}
