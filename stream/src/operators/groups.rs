//! The columns of groups, as the result has them and as the states have them.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StructArray};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::error::ArrowError;

use crate::evolution::unique;

/// A column of the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupColumn {
    /// As it is.
    Plain,
    /// A window: its start and its end are columns of their own, which the engine groups by faster than by a struct.
    Window,
}

/// The columns of groups.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) columns: Vec<GroupColumn>,
    /// What each is known by.
    pub(crate) names: Vec<String>,
    /// Of the result: the groups, then the aggregates.
    pub(crate) output: SchemaRef,
}

impl Groups {
    /// How many columns of the states are the group.
    pub(crate) fn columns(&self) -> usize {
        self.columns.iter().map(|group| if *group == GroupColumn::Window { 2 } else { 1 }).sum()
    }

    /// The names of the columns of the states that are the group.
    pub(crate) fn stored(&self) -> Vec<String> {
        let names = self.columns.iter().zip(&self.names).flat_map(|(group, name)| match group {
            GroupColumn::Plain => vec![name.clone()],
            GroupColumn::Window => vec![format!("{name}.start"), format!("{name}.end")],
        });
        unique(names)
    }

    /// Puts windows together again.
    pub(crate) fn assemble(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.output.fields().len());
        let mut at = 0;
        for (group, field) in self.columns.iter().zip(self.output.fields()) {
            match (group, field.data_type()) {
                (GroupColumn::Window, DataType::Struct(fields)) => {
                    let sides = vec![Arc::clone(batch.column(at)), Arc::clone(batch.column(at + 1))];
                    let nulls = sides[0].nulls().cloned();
                    columns.push(Arc::new(StructArray::try_new(fields.clone(), sides, nulls)?));
                    at += 2;
                }
                _ => {
                    columns.push(Arc::clone(batch.column(at)));
                    at += 1;
                }
            }
        }
        columns.extend(batch.columns()[at..].iter().cloned());
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.output), columns, &options)
    }
}
