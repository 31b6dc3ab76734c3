//! `SET column = value`: which columns of a row become what.

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::interleave;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DFSchema;
use datafusion::prelude::SessionContext;

use super::cast::to_column;
use super::error::{Attempt, EngineError, Result};
use super::formula::{Compiled, Formula};

/// New values for some columns of the table.
#[derive(Debug, Clone)]
pub(crate) struct Assignments {
    table: SchemaRef,
    /// For each column of the table: its new value.
    values: Vec<Option<Compiled>>,
}

impl Assignments {
    /// Compiles values over `row`, the columns that they may read.
    pub(crate) fn new(
        sets: &[(String, Formula)],
        table: &SchemaRef,
        row: &DFSchema,
        session: &SessionContext,
        attempt: &Attempt,
    ) -> Result<Self> {
        let (attempted, url) = (attempt.attempted, &attempt.url);
        let mut values: Vec<Option<Compiled>> = vec![None; table.fields().len()];
        if sets.is_empty() {
            return Err(EngineError::NothingSet { attempted, url: url.clone() });
        }
        for (column, formula) in sets {
            let at = place(table, column).ok_or_else(|| EngineError::UnknownColumn {
                attempted,
                url: url.clone(),
                column: column.clone(),
                available: names(table),
            })?;
            if values[at].replace(formula.compile(session, row, attempt)?).is_some() {
                return Err(EngineError::SetTwice { attempted, url: url.clone(), column: column.clone() });
            }
        }
        Ok(Self { table: SchemaRef::clone(table), values })
    }

    /// All columns of the table: new values where there are some, and `otherwise` for the rest.
    pub(crate) fn columns(
        &self,
        row: &RecordBatch,
        attempt: &Attempt,
        otherwise: impl Fn(usize) -> ArrayRef,
    ) -> Result<Vec<ArrayRef>> {
        let column = |(at, value): (usize, &Option<Compiled>)| match value {
            Some(value) => to_column(value.values(row, attempt)?, self.table.field(at), attempt),
            None => Ok(otherwise(at)),
        };
        self.values.iter().enumerate().map(column).collect()
    }
}

/// A column by its name: exactly, or else without regard to letter case, as Delta has it.
pub(crate) fn place(schema: &SchemaRef, column: &str) -> Option<usize> {
    let fields = schema.fields();
    let exact = fields.iter().position(|field| field.name() == column);
    exact.or_else(|| fields.iter().position(|field| field.name().to_lowercase() == column.to_lowercase()))
}

/// The names of the columns, for a message.
pub(crate) fn names(schema: &SchemaRef) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}

/// Rows of several sets of columns as one, column by column.
pub(crate) fn weave(sets: &[&[ArrayRef]], places: &[(usize, usize)], attempt: &Attempt) -> Result<Vec<ArrayRef>> {
    let width = sets.first().map_or(0, |set| set.len());
    let column = |at: usize| {
        let arrays: Vec<_> = sets.iter().map(|set| set[at].as_ref()).collect();
        interleave(&arrays, places).map_err(|source| attempt.compute(source))
    };
    (0..width).map(column).collect()
}
