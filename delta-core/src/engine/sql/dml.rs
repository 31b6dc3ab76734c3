//! DELETE, UPDATE and MERGE as SQL statements.

use std::sync::Arc;

use boathouse_delta_table::{
    AlterReport, CloneReport, ClusterByReport, ConvertReport, DropFeatureReport, FsckReport, ManifestReport, RestoreReport,
    VacuumReport,
};
use boathouse_frames::from_datafusion;
use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::dml::{MergeIntoAction, MergeIntoClauseKind, MergeIntoOp};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{DmlStatement, Expr, LogicalPlan, WriteOp};
use datafusion::prelude::{DataFrame, SessionContext};

use super::correlated::{Decision, is_correlated};
use super::lake::Lake;
use super::run::{Run, name_again, nearest};
use super::stars::Stars;
use super::{assignments, file_metadata, mistakes, stars, statements, subqueries, travel, upkeep, with_clause};

use crate::engine::boxed::boxed;
use crate::engine::copy::CopyReport;
use crate::engine::delete::DeleteReport;
use crate::engine::error::{EngineError, Result};
use crate::engine::ext::DeltaTableExt;
use crate::engine::formula::Formula;
use crate::engine::merge::{MergeDelete, MergeInsert, MergeReport, MergeUpdate};
use crate::engine::optimize::OptimizeReport;
use crate::engine::provider::DeltaTableProvider;
use crate::engine::replace::ReplaceReport;
use crate::engine::spelling;
use crate::engine::update::UpdateReport;

/// What a statement did.
#[derive(Debug)]
#[non_exhaustive]
pub enum StatementReport {
    /// A DELETE.
    Delete(DeleteReport),
    /// An UPDATE.
    Update(UpdateReport),
    /// A MERGE.
    Merge(MergeReport),
    /// A CREATE TABLE.
    Create {
        /// The version of the table.
        version: u64,
        /// False when it was there before.
        created: bool,
        /// Rows of its query.
        rows: u64,
    },
    /// An INSERT INTO or INSERT OVERWRITE: how many rows came.
    Insert {
        /// Rows written.
        rows: u64,
    },
    /// An INSERT … REPLACE WHERE or REPLACE USING.
    Replace(ReplaceReport),
    /// An ALTER TABLE.
    Alter(AlterReport),
    /// An OPTIMIZE or a REORG TABLE.
    Optimize(Box<OptimizeReport>),
    /// An ALTER TABLE … CLUSTER BY.
    ClusterBy(ClusterByReport),
    /// An ALTER TABLE … DROP FEATURE.
    DropFeature(DropFeatureReport),
    /// A VACUUM.
    Vacuum(VacuumReport),
    /// A RESTORE.
    Restore(RestoreReport),
    /// A CREATE TABLE … CLONE.
    Clone(CloneReport),
    /// A COPY INTO.
    Copy(CopyReport),
    /// A CONVERT TO DELTA.
    Convert(ConvertReport),
    /// An FSCK REPAIR TABLE.
    Fsck(FsckReport),
    /// A GENERATE.
    Manifest(ManifestReport),
    /// Any other statement: its rows, not computed yet.
    Rows(Box<DataFrame>),
}

impl StatementReport {
    /// What the statement has to say, as rows: those of a query, or one row of numbers.
    pub(crate) fn into_frame(self, session: &SessionContext, statement: &str) -> Result<DataFrame> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let some = |number: u64| Some(signed(number));
        let numbers: Vec<(&str, Option<i64>)> = match self {
            Self::Rows(frame) => return Ok(*frame),
            Self::Vacuum(report) => {
                let files: StringArray = report.files.iter().map(Some).collect();
                return one(session, statement, vec![("path", Arc::new(files))]);
            }
            Self::Fsck(report) => return one(session, statement, upkeep::missing(&report)),
            Self::Manifest(report) => {
                let files: StringArray = report.manifests.iter().map(Some).collect();
                return one(session, statement, vec![("path", Arc::new(files))]);
            }
            Self::Clone(report) => upkeep::cloned(&report),
            Self::Convert(report) => vec![
                ("version", some(report.version)),
                ("num_converted_files", some(report.files)),
                ("num_rows", some(report.rows)),
            ],
            Self::Copy(report) => vec![
                ("num_affected_rows", some(report.rows_inserted)),
                ("num_inserted_rows", some(report.rows_inserted)),
                ("num_skipped_corrupt_files", some(report.files_corrupt)),
            ],
            Self::Delete(report) => vec![("num_affected_rows", report.rows_deleted.map(signed))],
            Self::Update(report) => vec![("num_affected_rows", some(report.rows_updated))],
            Self::Merge(report) => vec![
                ("num_affected_rows", some(report.rows_updated + report.rows_deleted + report.rows_inserted)),
                ("num_updated_rows", some(report.rows_updated)),
                ("num_deleted_rows", some(report.rows_deleted)),
                ("num_inserted_rows", some(report.rows_inserted)),
            ],
            Self::Create { version, rows, .. } => vec![("version", some(version)), ("num_inserted_rows", some(rows))],
            Self::Insert { rows } => vec![("num_inserted_rows", some(rows))],
            Self::Replace(report) => vec![("num_inserted_rows", some(report.rows_inserted))],
            Self::Optimize(report) => vec![
                ("num_files_added", some(report.num_files_added())),
                ("num_files_removed", some(report.num_files_removed())),
                ("partitions_optimized", some(report.partitions_optimized)),
                ("num_batches", some(report.num_batches)),
            ],
            Self::ClusterBy(report) => vec![("version", some(report.version))],
            Self::DropFeature(report) => vec![("version", some(report.version))],
            Self::Alter(report) => vec![("version", some(report.version))],
            Self::Restore(report) => vec![
                ("version", some(report.version)),
                ("num_restored_files", some(report.files_restored)),
                ("num_removed_files", some(report.files_removed)),
            ],
        };
        let column = |(name, number)| (name, Arc::new(Int64Array::from(vec![number])) as ArrayRef);
        one(session, statement, numbers.into_iter().map(column).collect())
    }
}

fn one(session: &SessionContext, statement: &str, columns: Vec<(&str, ArrayRef)>) -> Result<DataFrame> {
    let batch = RecordBatch::try_from_iter(columns).map_err(|error| plan_error(statement, error.into()))?;
    session.read_batch(batch).map_err(|error| plan_error(statement, error))
}

/// Runs a statement of Delta, or any other as [`SessionContext::sql`] does. [`DeltaSession`](crate::DeltaSession) lists
/// what Delta adds.
///
/// Tables are named by the names that the session has for them, or by their path: ``delta.`/data/flights` ``. In a MERGE
/// the target may be named by its own name or by an alias.
///
/// Subqueries of DELETE and UPDATE are computed first, each by itself, at the version that is the newest then. Where one reads the row that
/// is decided about, a query finds the values of the columns that are read, and a merge the rows that have them.
///
/// **Errors**: `Unsupported` for subqueries in conditions and values of MERGE: join them into its source; and for `UPDATE … FROM`: write a
/// MERGE. `Invalid` when the
/// table is no Delta table. Otherwise those of the builders.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_delta_core::{DeltaTable, StatementReport, delta_sql, register_delta};
/// use datafusion::prelude::SessionContext;
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef)])?;
/// # table.append(batch.into()).create_if_absent().run().await?;
/// let session = SessionContext::new();
/// register_delta(&session, "events", &table).await?;
/// let StatementReport::Delete(report) = delta_sql(&session, "DELETE FROM events WHERE id > 1").await? else { panic!() };
/// assert_eq!(report.rows_deleted, Some(2));
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub async fn delta_sql(session: &SessionContext, statement: &str) -> Result<StatementReport> {
    run(session, statement).await.map_err(|error| mistakes::explained(error, statement))
}

async fn run(session: &SessionContext, statement: &str) -> Result<StatementReport> {
    let lake = Lake::of(session)?;
    let moved = with_clause::moved(statement)?;
    let statement = moved.as_deref().unwrap_or(statement);
    if let Some(parsed) = statements::parse(session, statement).await? {
        let run = Run { session, lake: &lake, text: statement };
        return boxed(|| run.statement(parsed)).await;
    }
    let (text, _versions) = boxed(|| travel::resolve(session, &lake, statement)).await?;
    let (text, stars) = stars::take_out(session, &lake, &text).await?;
    let state = session.state();
    let dialect = state.config().options().sql_parser.dialect;
    let parsed = state.sql_to_statement(&text, &dialect);
    let mut parsed = parsed.map_err(|error| unplanned(session, statement, error))?;
    let prepared = assignments::prepare(session, &lake, &mut parsed, statement).await?;
    let _exposed = boxed(|| file_metadata::expose(session, &lake, &mut parsed, statement)).await?;
    let plan = spelling::plan(session, parsed).await.map_err(|error| unplanned(session, statement, error))?;
    // From here on it is the statement without what only Delta knows.
    let statement = text.as_str();
    let LogicalPlan::Dml(dml) = &plan else {
        let frame = session.execute_logical_plan(plan).await.map_err(|error| plan_error(statement, error))?;
        return Ok(StatementReport::Rows(Box::new(frame)));
    };
    match &dml.op {
        WriteOp::Delete => Ok(StatementReport::Delete(boxed(|| delete_rows(session, dml, &dml.input, statement)).await?)),
        WriteOp::Truncate => {
            let table = target(dml, statement)?;
            Ok(StatementReport::Delete(boxed(|| table.table().delete().run()).await?))
        }
        WriteOp::Update => {
            let table = target(dml, statement)?;
            let LogicalPlan::Projection(projection) = dml.input.as_ref() else {
                return Err(unsupported(statement, "this form of UPDATE", "write a MERGE"));
            };
            if prepared.deletes {
                return Ok(StatementReport::Delete(boxed(|| delete_rows(session, dml, &projection.input, statement)).await?));
            }
            let conditions = conditions(&projection.input, statement)?;
            let mut sets: Vec<(String, Expr)> = Vec::new();
            for (expr, field) in projection.expr.iter().zip(dml.input.schema().fields()) {
                if let Some(value) = assigned(expr, field.name(), prepared.casts.contains(field.name())) {
                    sets.push((field.name().clone(), value.clone()));
                }
            }
            if conditions.iter().chain(sets.iter().map(|(_, value)| value)).any(is_correlated) {
                let decision = Decision { session, table: &table, input: &projection.input, conditions: &conditions, statement };
                return Ok(StatementReport::Update(updated(boxed(|| decision.update(&sets)).await?)));
            }
            let mut update = table.table().update().with_session(session);
            if let Some(condition) = condition(session, &conditions, statement).await? {
                update = update.filter(condition);
            }
            for (column, value) in &sets {
                update = update.set(column.clone(), plain(session, value, statement).await?);
            }
            if sets.is_empty() {
                // `SET a = a`: nothing to do, but the columns were asked for.
                let first = dml.input.schema().field(0).name().clone();
                update = update.set(first.clone(), Expr::Column(Column::new_unqualified(first)));
            }
            Ok(StatementReport::Update(boxed(|| update.run()).await?))
        }
        WriteOp::MergeInto(merge) => {
            Ok(StatementReport::Merge(boxed(|| run_merge(session, dml, merge, &stars, statement)).await?))
        }
        WriteOp::Insert(_) => {
            let failed = |error| plan_error(statement, error);
            let frame = session.execute_logical_plan(plan).await.map_err(failed)?;
            // The plan gives one number: the rows that it wrote.
            let counts = frame.collect().await.map_err(|source| EngineError::Plan {
                statement: statement.to_owned(),
                source: from_datafusion("run the statement", source),
            })?;
            let counts = counts.iter().filter_map(|batch| batch.column(0).as_primitive_opt::<UInt64Type>());
            Ok(StatementReport::Insert { rows: counts.flat_map(|count| count.values().iter()).sum() })
        }
        _ => {
            let frame = session.execute_logical_plan(plan).await.map_err(|error| plan_error(statement, error))?;
            Ok(StatementReport::Rows(Box::new(frame)))
        }
    }
}

/// Deletes the rows of `input`, which is the table with its conditions.
async fn delete_rows(session: &SessionContext, dml: &DmlStatement, input: &LogicalPlan, statement: &str) -> Result<DeleteReport> {
    let table = target(dml, statement)?;
    let conditions = conditions(input, statement)?;
    if conditions.iter().any(is_correlated) {
        let decision = Decision { session, table: &table, input, conditions: &conditions, statement };
        return Ok(deleted(decision.delete().await?));
    }
    let mut delete = table.table().delete().with_session(session);
    if let Some(condition) = condition(session, &conditions, statement).await? {
        delete = delete.filter(condition);
    }
    delete.run().await
}

/// The error of a statement that the engine does not understand. A table that is not there comes with the nearest name.
fn unplanned(session: &SessionContext, statement: &str, error: datafusion::error::DataFusionError) -> EngineError {
    let text = error.to_string();
    let missing = text.split_once("table '").and_then(|(_, rest)| rest.split_once("' not found")).map(|(table, _)| table);
    match missing {
        Some(table) => {
            let table = table.rsplit('.').next().unwrap_or(table);
            let nearest = nearest(session, table);
            EngineError::NoSuchTable { statement: statement.to_owned(), table: table.to_owned(), nearest }
        }
        None => plan_error(statement, error),
    }
}

fn plan_error(statement: &str, error: datafusion::error::DataFusionError) -> EngineError {
    EngineError::Plan { statement: statement.to_owned(), source: from_datafusion("plan the statement", error) }
}

fn unsupported(statement: &str, what: &'static str, instead: &'static str) -> EngineError {
    EngineError::Unsupported { statement: statement.to_owned(), what, instead }
}

/// The table that is changed.
fn target(dml: &DmlStatement, statement: &str) -> Result<DeltaTableProvider> {
    let provider = source_as_provider(&dml.target).map_err(|error| plan_error(statement, error))?;
    let (statement, table) = (statement.to_owned(), dml.table_name.to_string());
    let Some(delta) = <dyn TableProvider>::downcast_ref::<DeltaTableProvider>(provider.as_ref()) else {
        return Err(EngineError::NotDelta { statement, table });
    };
    match delta.version() {
        Some(version) => Err(EngineError::Pinned { statement, table, version }),
        None => Ok(delta.clone()),
    }
}

/// The conditions as they were written: the plan is not optimised yet, so they are the filters above the scan.
fn conditions(input: &LogicalPlan, statement: &str) -> Result<Vec<Expr>> {
    let mut conditions = Vec::new();
    let mut plan = input;
    loop {
        match plan {
            LogicalPlan::Filter(filter) => {
                conditions.push(filter.predicate.clone());
                plan = &filter.input;
            }
            LogicalPlan::SubqueryAlias(alias) => plan = &alias.input,
            LogicalPlan::TableScan(scan) => {
                conditions.extend(scan.filters.iter().cloned());
                return Ok(conditions);
            }
            _ => return Err(unsupported(statement, "a second table in DELETE or UPDATE", "write a MERGE")),
        }
    }
}

/// One condition, with the results of its subqueries.
async fn condition(session: &SessionContext, conditions: &[Expr], statement: &str) -> Result<Option<Expr>> {
    let mut plains = Vec::with_capacity(conditions.len());
    for condition in conditions {
        plains.push(plain(session, condition, statement).await?);
    }
    Ok(conjunction(plains))
}

fn deleted(report: MergeReport) -> DeleteReport {
    DeleteReport {
        version: report.version,
        committed: report.committed,
        rows_deleted: Some(report.rows_deleted),
        rows_copied: report.rows_copied,
        files_added: report.files_added,
        files_removed: report.files_removed,
        files_marked: report.files_marked,
        attempts: report.attempts,
    }
}

fn updated(report: MergeReport) -> UpdateReport {
    UpdateReport {
        version: report.version,
        committed: report.committed,
        rows_updated: report.rows_updated,
        rows_copied: report.rows_copied,
        files_added: report.files_added,
        files_removed: report.files_removed,
        files_marked: report.files_marked,
        attempts: report.attempts,
    }
}

/// An expression over the columns of one table, without its name, and with the results of its subqueries.
async fn plain(session: &SessionContext, expr: &Expr, statement: &str) -> Result<Expr> {
    qualified(&subqueries::computed(session, expr, statement).await?, statement, |_| None)
}

/// An expression whose columns are qualified anew.
fn qualified(expr: &Expr, statement: &str, qualifier: impl Fn(&Column) -> Option<TableReference>) -> Result<Expr> {
    let has_query = expr.exists(|expr| {
        let query = matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_));
        Ok(query || matches!(expr, Expr::OuterReferenceColumn(..)))
    });
    if has_query.map_err(|error| plan_error(statement, error))? {
        return Err(unsupported(statement, "a subquery in a condition or value of MERGE", "join it into the source"));
    }
    let renamed = expr.clone().transform(|expr| match expr {
        Expr::Column(column) => {
            let relation = qualifier(&column);
            Ok(Transformed::yes(Expr::Column(Column::new(relation, column.name))))
        }
        other => Ok(Transformed::no(other)),
    });
    renamed.map(|renamed| renamed.data).map_err(|error| plan_error(statement, error))
}

/// The value that an UPDATE gives a column; nothing for a column that keeps its own.
///
/// The planner casts values to the type of the column, and rounds on the way. That cast is taken away, and the one of
/// [`to_column`](crate::engine::cast::to_column) does its work; a cast that was written stays.
fn assigned<'a>(expr: &'a Expr, column: &str, is_cast: bool) -> Option<&'a Expr> {
    match expr {
        Expr::Column(same) if same.name == column => None,
        Expr::Alias(alias) => assigned(&alias.expr, column, is_cast),
        Expr::Cast(cast) if !is_cast || matches!(cast.expr.as_ref(), Expr::Cast(_) | Expr::TryCast(_)) => Some(&cast.expr),
        value => Some(value),
    }
}

async fn run_merge(
    session: &SessionContext,
    dml: &DmlStatement,
    merge: &MergeIntoOp,
    stars: &Stars,
    statement: &str,
) -> Result<MergeReport> {
    let table = target(dml, statement)?;
    let source = DataFrame::new(session.state(), dml.input.as_ref().clone());
    // Whatever the tables are called: `t` is the one that changes and `s` the other.
    let rename = |expr: &Expr| {
        qualified(expr, statement, |column| {
            let relation = column.relation.as_ref()?;
            Some(TableReference::bare(if *relation == dml.table_name { "t" } else { "s" }))
        })
    };
    let pairs = |sets: &[(String, Expr)]| -> Result<Vec<(String, Expr)>> {
        sets.iter().map(|(column, value)| Ok((column.clone(), rename(value)?))).collect()
    };
    let mut builder = table.table().merge(source, rename(&merge.on)?).with_session(session);
    if stars.evolution.is_some() {
        builder = builder.with_schema_evolution();
    }
    for (nth, clause) in merge.clauses.iter().enumerate() {
        let condition = clause.predicate.as_ref().map(rename).transpose()?;
        if stars.clauses.contains(&nth) {
            let condition = condition.map(Formula::from);
            builder = match &clause.kind {
                MergeIntoClauseKind::Matched => builder.when_matched_update(MergeUpdate { condition, sets: None }),
                MergeIntoClauseKind::NotMatchedBySource => {
                    return Err(unsupported(statement, "a star for rows without a source row", "name the columns"));
                }
                _ => builder.when_not_matched_insert(MergeInsert { condition, values: None }),
            };
            continue;
        }
        builder = match (&clause.kind, &clause.action) {
            (MergeIntoClauseKind::Matched, MergeIntoAction::Update(sets)) => {
                builder.when_matched_update(update(pairs(sets)?, condition))
            }
            (MergeIntoClauseKind::Matched, MergeIntoAction::Delete) => builder.when_matched_delete(delete(condition)),
            (MergeIntoClauseKind::NotMatchedBySource, MergeIntoAction::Update(sets)) => {
                builder.when_not_matched_by_source_update(update(pairs(sets)?, condition))
            }
            (MergeIntoClauseKind::NotMatchedBySource, MergeIntoAction::Delete) => {
                builder.when_not_matched_by_source_delete(delete(condition))
            }
            (
                MergeIntoClauseKind::NotMatched | MergeIntoClauseKind::NotMatchedByTarget,
                MergeIntoAction::Insert { columns, values },
            ) => {
                let schema = table.schema();
                let all = || schema.fields().iter().map(|field| field.name().clone()).collect();
                let columns: Vec<String> = if columns.is_empty() { all() } else { columns.clone() };
                let values: Vec<(String, Expr)> = columns.into_iter().zip(values.iter().cloned()).collect();
                builder.when_not_matched_insert(insert(pairs(&values)?, condition))
            }
            _ => return Err(unsupported(statement, "this action for this kind of row", "see the clauses of `MergeBuilder`")),
        };
    }
    let report = builder.run().await?;
    if let Some(name) = &stars.evolution {
        name_again(session, table.table(), name, statement).await?;
    }
    Ok(report)
}

fn update(sets: Vec<(String, Expr)>, condition: Option<Expr>) -> MergeUpdate {
    let sets = sets.into_iter().map(|(column, value)| (column, value.into())).collect();
    MergeUpdate { condition: condition.map(Into::into), sets: Some(sets) }
}

fn delete(condition: Option<Expr>) -> MergeDelete {
    MergeDelete { condition: condition.map(Into::into) }
}

fn insert(values: Vec<(String, Expr)>, condition: Option<Expr>) -> MergeInsert {
    let values = values.into_iter().map(|(column, value)| (column, value.into())).collect();
    MergeInsert { condition: condition.map(Into::into), values: Some(values) }
}
