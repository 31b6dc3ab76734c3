//! `SET column = value`: which columns of a row become what.

use std::sync::Arc;

use boathouse_delta_protocol::rules::Rules;
use boathouse_delta_table::{DeltaError, Expression, Snapshot};
use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::interleave;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
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
    /// Generated columns that follow from the new values.
    generated: Vec<(usize, Arc<dyn Expression>)>,
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
        Ok(Self { table: SchemaRef::clone(table), values, generated: Vec::new() })
    }

    /// The same for rows that are there: generated columns follow, and what the table numbers stays.
    pub(crate) fn of_update(mut self, snapshot: &Snapshot, attempt: &Attempt) -> Result<Self> {
        let rules = rules(snapshot)?;
        let is_set = |column: &str| place(&self.table, column).filter(|at| self.values[*at].is_some());
        if let Some(column) = rules.identities.iter().find(|i| !i.allow_explicit && is_set(&i.column).is_some()) {
            let (attempted, url, column) = (attempt.attempted, attempt.url.clone(), column.column.clone());
            return Err(EngineError::SetsIdentity { attempted, url, column });
        }
        let schema = nullable(&self.table);
        let mut generated = Vec::new();
        for value in &rules.generated {
            let Some(at) = place(&self.table, &value.column).filter(|at| self.values[*at].is_none()) else { continue };
            let Some(expressions) = snapshot.table().expressions() else { continue };
            let compiled = expressions.compile(&value.expression, &schema).map_err(|error| attempt.rows(error))?;
            generated.push((at, compiled));
        }
        self.generated = generated;
        Ok(self)
    }

    /// The places of the columns that are set.
    pub(crate) fn places(&self) -> Vec<usize> {
        (0..self.values.len()).filter(|at| self.values[*at].is_some()).collect()
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
        let mut columns: Vec<ArrayRef> = self.values.iter().enumerate().map(column).collect::<Result<_>>()?;
        if !self.generated.is_empty() {
            let changed =
                RecordBatch::try_new(nullable(&self.table), columns.clone()).map_err(|source| attempt.compute(source))?;
            for (at, expression) in &self.generated {
                let value = expression.evaluate(&changed).map_err(|error| attempt.rows(error))?;
                columns[*at] = to_column(value, self.table.field(*at), attempt)?;
            }
        }
        Ok(columns)
    }
}

/// The rules of a table.
pub(crate) fn rules(snapshot: &Snapshot) -> Result<Rules> {
    let rules = Rules::of(snapshot.protocol(), snapshot.metadata(), snapshot.delta_schema());
    rules.map_err(|source| DeltaError::Protocol { url: snapshot.url().to_owned(), source }.into())
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().map(|field| super::cast::loose(field)).collect();
    Arc::new(Schema::new(fields))
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
