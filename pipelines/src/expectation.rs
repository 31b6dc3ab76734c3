//! Expectations: what must be true of a dataset's rows.
//!
//! An expectation is a SQL condition on one row. A row **violates** it when the condition is not true: false, or
//! unknown because of a null. (Write `x IS NULL OR x > 0` to let nulls pass.)
//!
//! | action | a violating row | the update |
//! | --- | --- | --- |
//! | [`Warn`](OnViolation::Warn) | is kept | goes on, and counts it |
//! | [`Drop`](OnViolation::Drop) | is left out | goes on, and counts it |
//! | [`Fail`](OnViolation::Fail) | | stops before anything of the dataset is committed |
//!
//! All expectations of a dataset see every row, also those that another one drops, so that counts do not depend on
//! the order in which they were declared.
//!
//! **Source**: Databricks, "Manage data quality with pipeline expectations" (names and actions).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use boathouse_base::{BatchStream, Error, ErrorKind};
use boathouse_frames::physical_expr;
use datafusion::common::DFSchema;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use crate::error::PipelineError;

/// What happens to a row that violates an expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnViolation {
    /// It is kept and counted.
    #[default]
    Warn,
    /// It is left out and counted.
    Drop,
    /// Nothing of the dataset is written.
    Fail,
}

impl OnViolation {
    /// The action as one word: `warn`, `drop` or `fail`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Drop => "drop",
            Self::Fail => "fail",
        }
    }
}

/// A named condition on each row of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Its name: unique within the dataset.
    pub name: String,
    /// A SQL condition over the dataset's columns.
    pub predicate: String,
    /// What happens to a row for which it is not true.
    pub on_violation: OnViolation,
}

/// How many rows passed an expectation in one update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectationCount {
    /// The expectation.
    pub name: String,
    /// Its action.
    pub on_violation: OnViolation,
    /// Rows for which it was true.
    pub passed: u64,
    /// Rows for which it was not.
    pub failed: u64,
}

/// The expectations of one dataset, compiled for its schema.
pub(crate) struct Guard {
    dataset: String,
    rules: Vec<Rule>,
}

struct Rule {
    expectation: Expectation,
    condition: Arc<dyn PhysicalExpr>,
}

/// What a guarded stream has seen; complete when the stream is over.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    rules: Vec<(Expectation, AtomicU64)>,
    seen: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    pub(crate) fn of(expectations: &[Expectation]) -> Arc<Self> {
        let rules = expectations.iter().map(|e| (e.clone(), AtomicU64::new(0))).collect();
        Arc::new(Self { rules, ..Self::default() })
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn report(&self) -> Vec<ExpectationCount> {
        let seen = self.seen.load(Ordering::Relaxed);
        self.rules
            .iter()
            .map(|(expectation, failed)| {
                let failed = failed.load(Ordering::Relaxed);
                ExpectationCount {
                    name: expectation.name.clone(),
                    on_violation: expectation.on_violation,
                    passed: seen.saturating_sub(failed),
                    failed,
                }
            })
            .collect()
    }
}

impl Guard {
    /// Compiles the conditions for rows of `schema`.
    pub(crate) fn compile(
        session: &SessionContext,
        dataset: &str,
        expectations: &[Expectation],
        schema: &SchemaRef,
    ) -> Result<Self, PipelineError> {
        let compile = |expectation: &Expectation| {
            let failed = |source| PipelineError::Expectation {
                dataset: dataset.to_owned(),
                expectation: expectation.name.clone(),
                predicate: expectation.predicate.clone(),
                source: Box::new(source),
            };
            let df_schema = DFSchema::try_from(SchemaRef::clone(schema)).map_err(failed)?;
            let condition = session
                .parse_sql_expr(&expectation.predicate, &df_schema)
                .and_then(|expr| physical_expr(session, expr, &df_schema))
                .map_err(failed)?;
            match condition.data_type(schema).map_err(failed)? {
                DataType::Boolean | DataType::Null => Ok(Rule { expectation: expectation.clone(), condition }),
                found => Err(PipelineError::ExpectationType {
                    dataset: dataset.to_owned(),
                    expectation: expectation.name.clone(),
                    predicate: expectation.predicate.clone(),
                    found: found.to_string(),
                }),
            }
        };
        let rules = expectations.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { dataset: dataset.to_owned(), rules })
    }

    /// The rows of `data` that may be written. Counts as it goes; one pass over the rows.
    pub(crate) fn apply(self, data: BatchStream, counts: Arc<Counts>) -> BatchStream {
        if self.rules.is_empty() {
            return data;
        }
        let schema = data.schema();
        BatchStream::new(schema, data.map(move |batch| self.check(batch?, &counts)))
    }

    fn check(&self, batch: RecordBatch, counts: &Counts) -> Result<RecordBatch, Error> {
        let rows = batch.num_rows();
        let seen = counts.seen.fetch_add(rows as u64, Ordering::Relaxed) + rows as u64;
        let mut keep: Option<BooleanBuffer> = None;
        for (rule, (expectation, failed)) in self.rules.iter().zip(&counts.rules) {
            let holds = self.evaluate(rule, &batch)?;
            let violations = (rows - holds.count_set_bits()) as u64;
            if violations == 0 {
                continue;
            }
            let failed = failed.fetch_add(violations, Ordering::Relaxed) + violations;
            match expectation.on_violation {
                OnViolation::Warn => {}
                OnViolation::Drop => keep = Some(keep.map_or_else(|| holds.clone(), |keep| &keep & &holds)),
                OnViolation::Fail => {
                    return Err(Error::from(PipelineError::Violated {
                        dataset: self.dataset.clone(),
                        expectation: expectation.name.clone(),
                        predicate: expectation.predicate.clone(),
                        failed,
                        seen,
                    }));
                }
            }
        }
        let Some(keep) = keep else { return Ok(batch) };
        let kept = filter_record_batch(&batch, &BooleanArray::new(keep, None)).map_err(|e| Error::new(ErrorKind::Internal, e))?;
        counts.dropped.fetch_add((rows - kept.num_rows()) as u64, Ordering::Relaxed);
        Ok(kept)
    }

    /// True for the rows that satisfy the rule; unknown is not true.
    fn evaluate(&self, rule: &Rule, batch: &RecordBatch) -> Result<BooleanBuffer, PipelineError> {
        let failed = |source| PipelineError::Expectation {
            dataset: self.dataset.clone(),
            expectation: rule.expectation.name.clone(),
            predicate: rule.expectation.predicate.clone(),
            source: Box::new(source),
        };
        let truth = rule.condition.evaluate(batch).and_then(|value| value.into_array(batch.num_rows())).map_err(failed)?;
        Ok(match truth.as_any().downcast_ref::<BooleanArray>() {
            Some(truth) => match truth.nulls() {
                Some(nulls) => truth.values() & nulls.inner(),
                None => truth.values().clone(),
            },
            // A condition of type Null is unknown for every row.
            None => BooleanBuffer::new_unset(batch.num_rows()),
        })
    }
}
