//! The clauses of a merge, compiled.

use std::collections::BTreeSet;

use boathouse_base::{Predicate, SchemaMode};
use boathouse_delta_protocol::schema::StructField;
use boathouse_delta_table::Snapshot;
use boathouse_frames::to_predicate;
use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::prelude::SessionContext;

use super::builder::MergeBuilder;
use super::clause::{Change, MergeUpdate};
use super::keys::{Equality, KeyFilter, as_target, usable};
use super::matches::By;
use super::source::SourceRows;
use crate::engine::assign::{Assignments, names, place};
use crate::engine::cast::loose_schema;
use crate::engine::error::{Attempt, EngineError, Result};
use crate::engine::formula::{Compiled, Formula};

/// A compiled clause for rows of the table.
#[derive(Debug)]
pub(crate) struct ChangeClause {
    pub(crate) condition: Option<Compiled>,
    /// Nothing: the row is deleted.
    pub(crate) update: Option<Assignments>,
}

/// A compiled clause for source rows.
#[derive(Debug)]
pub(crate) struct InsertClause {
    pub(crate) condition: Option<Compiled>,
    pub(crate) values: Assignments,
}

/// A merge, compiled.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) on: Expr,
    pub(crate) on_text: String,
    pub(crate) target_alias: String,
    pub(crate) source_alias: String,
    /// The columns of the table.
    pub(crate) table: SchemaRef,
    /// The columns of a matched pair: the table's, then the source's.
    pub(crate) pair: DFSchema,
    pub(crate) matched: Vec<ChangeClause>,
    pub(crate) by_source: Vec<ChangeClause>,
    pub(crate) inserts: Vec<InsertClause>,
}

impl Plan {
    pub(crate) fn new(
        builder: &MergeBuilder,
        snapshot: &Snapshot,
        source: &SourceRows,
        session: &SessionContext,
        attempt: &Attempt,
    ) -> Result<Self> {
        let table = loose_schema(&snapshot.schema());
        let named =
            |alias: &str| DFSchema::try_from_qualified_schema(alias, &table).map_err(|error| attempt.expression(alias, error));
        let target = named(&builder.target_alias)?;
        let pair = target.join(&source.named).map_err(|error| attempt.expression(&builder.on.to_string(), error))?;
        let on = builder.on.compile_condition(session, &pair, attempt)?;
        let change = |change: &Change, row: &DFSchema, of_source: bool| -> Result<ChangeClause> {
            let condition = change.condition().map(|c| c.compile_condition(session, row, attempt)).transpose()?;
            let update = match change {
                Change::Delete(_) => None,
                Change::Update(MergeUpdate { sets: Some(sets), .. }) => {
                    Some(Assignments::new(sets, &table, row, session, attempt)?.of_update(snapshot, attempt)?)
                }
                Change::Update(MergeUpdate { sets: None, .. }) => {
                    let sets = if of_source { namesakes(snapshot, source, builder, attempt)? } else { Vec::new() };
                    Some(Assignments::new(&sets, &table, row, session, attempt)?.of_update(snapshot, attempt)?)
                }
            };
            Ok(ChangeClause { condition, update })
        };
        let matched = builder.matched.iter().map(|c| change(c, &pair, true)).collect::<Result<_>>()?;
        let by_source = builder.by_source.iter().map(|c| change(c, &target, false)).collect::<Result<_>>()?;
        let insert = |insert: &super::clause::MergeInsert| -> Result<InsertClause> {
            let row = &source.named;
            let condition = insert.condition.as_ref().map(|c| c.compile_condition(session, row, attempt)).transpose()?;
            let all = || namesakes(snapshot, source, builder, attempt);
            let values = insert.values.clone().map_or_else(all, Ok)?;
            Ok(InsertClause { condition, values: Assignments::new(&values, &table, row, session, attempt)? })
        };
        let inserts = builder.not_matched.iter().map(insert).collect::<Result<_>>()?;
        Ok(Self {
            on: on.expr,
            on_text: builder.on.to_string(),
            target_alias: builder.target_alias.clone(),
            source_alias: builder.source_alias.clone(),
            table,
            pair,
            matched,
            by_source,
            inserts,
        })
    }

    /// Whether rows become others by this.
    pub(crate) fn is_update(&self, by: By) -> bool {
        match by {
            By::Nothing => false,
            By::Matched { clause, .. } => self.matched.get(clause).is_some_and(|clause| clause.update.is_some()),
            By::Source { clause } => self.by_source.get(clause).is_some_and(|clause| clause.update.is_some()),
        }
    }

    /// A source row as the condition sees it: the columns that it reads, with their values.
    pub(crate) fn key_of(&self, source: &SourceRows, row: usize, attempt: &Attempt) -> Result<String> {
        let values = source.take(&[row], attempt)?;
        let mut parts = Vec::new();
        for column in self.on.column_refs().into_iter().filter(|column| self.is_source(column)) {
            let Some(value) = source.schema.index_of(&column.name).ok().and_then(|at| values.get(at)) else { continue };
            let text = array_value_to_string(value, 0).map_err(|source| attempt.compute(source))?;
            let text = if value.is_null(0) { "null".to_owned() } else { text };
            parts.push(format!("{} = {text}", column.flat_name()));
        }
        parts.sort();
        Ok(parts.join(", "))
    }

    /// Columns of the table that these expressions read, in its order.
    pub(crate) fn target_columns<'a>(&self, exprs: impl IntoIterator<Item = &'a Expr>) -> Vec<usize> {
        let width = self.table.fields().len();
        self.columns(exprs).into_iter().filter(|at| *at < width).collect()
    }

    /// Columns of the source that these expressions read, in its order.
    pub(crate) fn source_columns<'a>(&self, exprs: impl IntoIterator<Item = &'a Expr>) -> Vec<usize> {
        let width = self.table.fields().len();
        self.columns(exprs).into_iter().filter_map(|at| at.checked_sub(width)).collect()
    }

    /// Columns of a pair that these expressions read.
    fn columns<'a>(&self, exprs: impl IntoIterator<Item = &'a Expr>) -> BTreeSet<usize> {
        let columns = exprs.into_iter().flat_map(Expr::column_refs);
        columns.filter_map(|column| self.pair.index_of_column(column).ok()).collect()
    }

    fn target_column(&self, column: &Column) -> Option<usize> {
        let at = self.pair.index_of_column(column).ok()?;
        (at < self.table.fields().len()).then_some(at)
    }

    fn is_source(&self, column: &Column) -> bool {
        self.pair.index_of_column(column).is_ok_and(|at| at >= self.table.fields().len())
    }

    /// The columns of the table and of the source that `on` wants to be equal.
    pub(crate) fn equalities(&self) -> Vec<Equality> {
        split_conjunction(&self.on).into_iter().filter_map(|part| self.equality(part)).collect()
    }

    fn equality(&self, part: &Expr) -> Option<Equality> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq | Operator::IsNotDistinctFrom, right }) = part else {
            return None;
        };
        let place = |expr: &Expr| self.pair.index_of_column(self.bare(expr)?).ok();
        let (left, right, width) = (place(left)?, place(right)?, self.table.fields().len());
        let (target, other) = if left < width { (left, right) } else { (right, left) };
        Some(Equality { target, source: other.checked_sub(width)? }).filter(|_| target < width)
    }

    /// A column, seen through casts that keep every whole number and every text what it is.
    fn bare<'a>(&self, expr: &'a Expr) -> Option<&'a Column> {
        match expr {
            Expr::Column(column) => Some(column),
            Expr::Cast(cast) => {
                let column = self.bare(&cast.expr)?;
                let from = self.pair.field(self.pair.index_of_column(column).ok()?).data_type();
                let to = cast.field.data_type();
                let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
                let wider = from.is_signed_integer() && to.is_signed_integer() && from.primitive_width() <= to.primitive_width();
                (from == to || wider || (text(from) && text(to))).then_some(column)
            }
            _ => None,
        }
    }

    /// What every row of the table that a source row can match satisfies.
    pub(crate) fn target_predicate(&self, source: &SourceRows, attempt: &Attempt) -> Result<Option<Predicate>> {
        if source.rows == 0 {
            return Ok(Some(Predicate::Literal(false)));
        }
        let mut all: Option<Predicate> = None;
        for part in split_conjunction(&self.on) {
            let of_target = part.column_refs().into_iter().all(|column| self.target_column(column).is_some());
            let found = if of_target { to_predicate(part) } else { self.key_predicate(part, source, attempt)? };
            all = match (all, found) {
                (Some(all), Some(found)) => Some(all.and(found)),
                (one, other) => one.or(other),
            };
        }
        tracing::debug!(table = attempt.url, predicate = all.as_ref().map(ToString::to_string), "rows that can match");
        Ok(all)
    }

    /// For `target.a = source.b`: the values of `b`.
    fn key_predicate(&self, part: &Expr, source: &SourceRows, attempt: &Attempt) -> Result<Option<Predicate>> {
        let Some(Equality { target, source: of_source }) = self.equality(part) else { return Ok(None) };
        let column = self.table.field(target).name();
        // A name with a dot would be read as a path.
        if column.contains('.') {
            return Ok(None);
        }
        let found = source.values(of_source, attempt)?.and_then(|values| values.among(column));
        // To this one nulls are equal.
        let nulls = matches!(part, Expr::BinaryExpr(BinaryExpr { op: Operator::IsNotDistinctFrom, .. }));
        Ok(found.map(|found| if nulls { found.or(Predicate::IsNull(column.clone())) } else { found }))
    }

    /// The keys of the source as a filter over batches that have these columns of the table; nothing when `on` compares no columns that
    /// a filter understands.
    pub(crate) fn key_filter(&self, source: &SourceRows, columns: &[usize], attempt: &Attempt) -> Result<Option<KeyFilter>> {
        let mut equalities = usable(&self.equalities(), &self.table, &source.schema);
        equalities.retain(|equality| columns.contains(&equality.target));
        if equalities.is_empty() || source.rows > MOST_KEYS {
            return Ok(None);
        }
        let places = equalities.iter().filter_map(|equality| columns.iter().position(|at| *at == equality.target)).collect();
        let mut filter = KeyFilter::new(places, source.rows);
        for batch in source.batches(attempt)? {
            let batch = batch?;
            let key =
                |equality: &Equality| as_target(batch.column(equality.source), self.table.field(equality.target).data_type());
            let keys = equalities.iter().map(key).collect::<datafusion::error::Result<Vec<_>>>();
            keys.and_then(|keys| filter.add(&keys, batch.num_rows())).map_err(|error| attempt.frame(error))?;
        }
        Ok(Some(filter))
    }
}

/// Beyond so many source rows most rows of the table would pass the filter.
const MOST_KEYS: usize = 4_000_000;

/// Every column of the table from the source's column of that name. What the table computes or numbers may be missing there; in a merge
/// that evolves the schema, any column may. A default is for rows that say nothing of a column, and a star speaks of all of them.
fn namesakes(
    snapshot: &Snapshot,
    source: &SourceRows,
    builder: &MergeBuilder,
    attempt: &Attempt,
) -> Result<Vec<(String, Formula)>> {
    let set = |field: &StructField| match place(&source.schema, &field.name) {
        Some(at) => {
            let column = Column::new(Some(builder.source_alias.as_str()), source.schema.field(at).name());
            Some(Ok((field.name.clone(), Formula::from(Expr::Column(column)))))
        }
        None if is_computed(field) || builder.schema_mode == SchemaMode::Merge => None,
        None => Some(Err(EngineError::MissingInSource {
            url: attempt.url.clone(),
            column: field.name.clone(),
            available: names(&source.schema),
        })),
    };
    snapshot.delta_schema().fields.iter().filter_map(set).collect()
}

/// Whether the table has an own value for each row.
fn is_computed(field: &StructField) -> bool {
    field.is_filled_in() && !field.metadata.contains_key("CURRENT_DEFAULT")
}
