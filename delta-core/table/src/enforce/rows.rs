//! The rules of a table, compiled, and applied to rows.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_ord::cmp::not_distinct;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use boathouse_delta_protocol::rules::{Check, IdentityColumn, IdentityValues, Rules, ValueOf};

use crate::conform::{FieldMatch, conform_field, find_field};
use crate::error::{DeltaError, OnTable, Result};
use crate::expressions::{Expression, Expressions};
use crate::layout::Layout;

/// Applies the rules of a table to rows of one write.
#[derive(Debug)]
pub(crate) struct Enforcer {
    url: String,
    /// The columns of the table. All may be null here: the writer looks at that.
    schema: SchemaRef,
    checks: Vec<(Check, Arc<dyn Expression>)>,
    generated: Vec<(usize, ValueOf, Arc<dyn Expression>)>,
    defaults: Vec<DefaultOf>,
    identities: Vec<(usize, IdentityColumn, IdentityValues)>,
}

/// The place of a column, its default, and how that is computed when its text is not a constant.
type DefaultOf = (usize, ValueOf, Option<Arc<dyn Expression>>);

impl Enforcer {
    /// The rules of a table; nothing when it has none.
    ///
    /// **Errors**: `Unsupported` when they need somebody who knows expressions and nobody is there; `Invalid` names
    /// the rule whose text cannot be understood.
    pub(crate) fn new(
        url: &str,
        layout: &Layout,
        rules: &Rules,
        expressions: Option<&Arc<dyn Expressions>>,
    ) -> Result<Option<Self>> {
        if rules.is_empty() {
            return Ok(None);
        }
        if expressions.is_none()
            && let Some((feature, user)) = rules.needs_expressions()
        {
            return Err(DeltaError::NeedsExpressions { url: url.to_owned(), feature, user });
        }
        let fields: Vec<Field> = layout.arrow.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let compile = |subject: String, sql: &str| match expressions {
            Some(expressions) => expressions.compile(sql, &schema).map_err(|source| DeltaError::Expression {
                url: url.to_owned(),
                attempted: "understand",
                subject,
                expression: sql.to_owned(),
                source: Box::new(source),
            }),
            None => Err(DeltaError::NeedsExpressions { url: url.to_owned(), feature: "checkConstraints", user: subject }),
        };
        let place = |column: &str| {
            let available = || layout.schema.names().collect::<Vec<_>>().join(", ");
            let unknown = || DeltaError::UnknownColumn { url: url.to_owned(), column: column.to_owned(), available: available() };
            layout.column(column).ok_or_else(unknown)
        };
        let mut enforcer = Self {
            url: url.to_owned(),
            schema: Arc::clone(&schema),
            checks: Vec::new(),
            generated: Vec::new(),
            defaults: Vec::new(),
            identities: Vec::new(),
        };
        for check in &rules.checks {
            let compiled = compile(check_subject(check), &check.expression)?;
            enforcer.checks.push((check.clone(), compiled));
        }
        for value in &rules.generated {
            let compiled = compile(generated_subject(value), &value.expression)?;
            enforcer.generated.push((place(&value.column)?, value.clone(), compiled));
        }
        for value in &rules.defaults {
            let compiled = (!value.is_null()).then(|| compile(default_subject(value), &value.expression)).transpose()?;
            enforcer.defaults.push((place(&value.column)?, value.clone(), compiled));
        }
        for column in &rules.identities {
            enforcer.identities.push((place(&column.column)?, column.clone(), column.values()));
        }
        Ok(Some(enforcer))
    }

    /// New rows with all columns of the table: what is missing is filled in, and what is there obeys the rules.
    pub(crate) fn complete(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let mut columns: Vec<Option<ArrayRef>> = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let found = find_field(batch.schema_ref().fields(), field, FieldMatch::Name);
            columns.push(found.map(|at| self.cast(batch.column(at), field)).transpose()?);
        }
        for (at, value, expression) in &self.defaults {
            if let (None, Some(expression)) = (&columns[*at], expression) {
                let nothing = self.batch(&vec![None; columns.len()], rows)?;
                columns[*at] =
                    Some(self.evaluate(&default_subject(value), &value.expression, expression.as_ref(), &nothing, *at)?);
            }
        }
        let url = self.url.clone();
        for (at, column, values) in &mut self.identities {
            columns[*at] = Some(number(&url, column, values, columns[*at].as_ref(), rows)?);
        }
        self.generate(&mut columns, rows)?;
        let complete = self.batch(&columns, rows)?;
        self.check(&complete)?;
        Ok(complete)
    }

    /// Rows of the table that were changed: all columns are there, and obey the rules.
    pub(crate) fn changed(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let column = |field: &Arc<Field>| {
            let found = find_field(batch.schema_ref().fields(), field, FieldMatch::Name);
            found.map(|at| self.cast(batch.column(at), field)).transpose()
        };
        let mut columns = self.schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        self.generate(&mut columns, rows)?;
        let complete = self.batch(&columns, rows)?;
        self.check(&complete)?;
        Ok(complete)
    }

    /// The new marks of identity columns, as far as they moved.
    pub(crate) fn high_water_marks(&self) -> Vec<(String, i64)> {
        let mark = |(_, column, values): &(usize, IdentityColumn, IdentityValues)| {
            Some((column.column.clone(), values.high_water_mark()?))
        };
        self.identities.iter().filter_map(mark).collect()
    }

    /// Fills in generated columns where there is no value, and compares them where there is one.
    fn generate(&self, columns: &mut [Option<ArrayRef>], rows: usize) -> Result<()> {
        if self.generated.is_empty() {
            return Ok(());
        }
        // An expression may not use another generated column: all see the same row.
        let row = self.batch(columns, rows)?;
        for (at, value, expression) in &self.generated {
            let right = self.evaluate(&generated_subject(value), &value.expression, expression.as_ref(), &row, *at)?;
            let Some(given) = &columns[*at] else {
                columns[*at] = Some(right);
                continue;
            };
            let given_null: BooleanArray = match given.logical_nulls() {
                Some(nulls) => nulls.iter().map(|valid| Some(!valid)).collect(),
                None => BooleanArray::from(vec![false; rows]),
            };
            let same = not_distinct(given, &right).map_err(|source| self.compute("compare", source))?;
            if let Some(row) = (0..rows).find(|row| !same.value(*row) && !given_null.value(*row)) {
                return Err(DeltaError::GeneratedDiffers {
                    url: self.url.clone(),
                    column: value.column.clone(),
                    expression: value.expression.clone(),
                    row,
                    given: shown(given, row).into(),
                    right: shown(&right, row).into(),
                });
            }
            columns[*at] = Some(right);
        }
        Ok(())
    }

    fn check(&self, batch: &RecordBatch) -> Result<()> {
        for (check, expression) in &self.checks {
            let failed = |source| self.expression(check_subject(check), &check.expression, source);
            let values = expression.evaluate(batch).map_err(failed)?;
            let first = match values.data_type() {
                DataType::Boolean => values.as_boolean().iter().position(|value| value != Some(true)),
                DataType::Null => (batch.num_rows() > 0).then_some(0),
                found => {
                    let expression = check.expression.clone();
                    let (url, constraint, found) = (self.url.clone(), check.name.clone(), Box::new(found.clone()));
                    return Err(DeltaError::CheckNotBoolean { url, constraint, expression, found });
                }
            };
            if let Some(row) = first {
                return Err(DeltaError::CheckViolated {
                    attempted: "write to",
                    url: self.url.clone(),
                    constraint: check.name.clone(),
                    expression: check.expression.clone(),
                    row,
                    values: shown_row(batch, row).into(),
                });
            }
        }
        Ok(())
    }

    fn evaluate(&self, subject: &str, sql: &str, expression: &dyn Expression, row: &RecordBatch, at: usize) -> Result<ArrayRef> {
        let values = expression.evaluate(row).map_err(|source| self.expression(subject.to_owned(), sql, source))?;
        self.cast(&values, self.schema.field(at))
    }

    fn cast(&self, array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
        conform_field(array, field, FieldMatch::Name).map_err(|source| cast_error(&self.url, array, field, source))
    }

    /// Columns as a batch of the table; nulls for those that are not there.
    fn batch(&self, columns: &[Option<ArrayRef>], rows: usize) -> Result<RecordBatch> {
        let arrays = self.schema.fields().iter().zip(columns);
        let arrays = arrays.map(|(field, column)| column.clone().unwrap_or_else(|| new_null_array(field.data_type(), rows)));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), arrays.collect(), &options)
            .map_err(|source| self.compute("complete", source))
    }

    fn expression(&self, subject: String, expression: &str, source: boathouse_base::Error) -> DeltaError {
        let (url, expression) = (self.url.clone(), expression.to_owned());
        DeltaError::Expression { url, attempted: "evaluate", subject, expression, source: Box::new(source) }
    }

    fn compute(&self, attempted: &'static str, source: arrow_schema::ArrowError) -> DeltaError {
        DeltaError::Compute { attempted, url: self.url.clone(), source }
    }
}

/// Says what did not fit: a null where none may be, or a value that is none of the type.
pub(crate) fn cast_error(url: &str, array: &ArrayRef, field: &Field, source: arrow_schema::ArrowError) -> DeltaError {
    if let Some((column, row)) = super::first_null(array, field) {
        let values = within(format!("{} = {}", field.name(), shown(array, row))).into();
        return DeltaError::NullInRequiredColumn { url: url.to_owned(), column, row, values };
    }
    DeltaError::Cast {
        attempted: "write",
        column: field.name().clone(),
        from: Box::new(array.data_type().clone()),
        to: Box::new(field.data_type().clone()),
        source,
    }
}

fn check_subject(check: &Check) -> String {
    match check.feature {
        "invariants" => format!("invariant of column `{}`", check.name),
        _ => format!("CHECK constraint `{}`", check.name),
    }
}

fn generated_subject(value: &ValueOf) -> String {
    format!("generated column `{}`", value.column)
}

fn default_subject(value: &ValueOf) -> String {
    format!("default of column `{}`", value.column)
}

/// Numbers for the rows that have none.
fn number(
    url: &str,
    column: &IdentityColumn,
    values: &mut IdentityValues,
    given: Option<&ArrayRef>,
    rows: usize,
) -> Result<ArrayRef> {
    let given = given.map(|given| given.as_primitive::<Int64Type>());
    let given_at = |row: usize| given.filter(|given| given.is_valid(row)).map(|given| given.value(row));
    if let Some(row) = (0..rows).find(|row| given_at(*row).is_some()).filter(|_| !column.allow_explicit) {
        return Err(DeltaError::IdentityGiven { url: url.to_owned(), column: column.column.clone(), row });
    }
    // First what is given, so that no number that is taken below is among it.
    (0..rows).filter_map(given_at).for_each(|value| values.see(value));
    let numbers = (0..rows).map(|row| match given_at(row) {
        Some(value) => Ok(value),
        None => values.take().on(url),
    });
    Ok(Arc::new(numbers.collect::<Result<Int64Array>>()?))
}

/// A value for a message.
fn shown(array: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let shown = ArrayFormatter::try_new(array.as_ref(), &options).and_then(|values| values.value(row).try_to_string());
    shown.unwrap_or_else(|_| "a value that cannot be shown".to_owned())
}

/// The longest row in a message.
const SHOWN_CHARACTERS: usize = 300;

/// A row for a message.
pub(crate) fn shown_row(batch: &RecordBatch, row: usize) -> String {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let values: Vec<String> = columns.map(|(field, column)| format!("{} = {}", field.name(), shown(column, row))).collect();
    within(values.join(", "))
}

/// What of a text fits a message.
fn within(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(SHOWN_CHARACTERS) {
        text.truncate(end);
        text.push('…');
    }
    text
}
