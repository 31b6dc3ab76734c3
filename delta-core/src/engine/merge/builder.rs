//! The builder of a merge, and its steps in order.

use std::collections::{BTreeMap, BTreeSet};

use boathouse_base::{AppTransaction, SchemaMode};
use boathouse_delta_protocol::conflict::Conflict;
use boathouse_delta_protocol::features::RowChange;
use boathouse_delta_table::{DataFile, DataWriterSettings, DeltaError, DeltaTable, Snapshot};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::datatypes::Schema;
use datafusion::prelude::{DataFrame, SessionContext};

use super::apply::Apply;
use super::budget::Budget;
use super::clause::{Change, MergeDelete, MergeInsert, MergeUpdate};
use super::matches::FoundIn;
use super::plan::Plan;
use super::report::{Counts, FileCounts, MergeReport};
use super::source::SourceRows;
use super::{insert, matches};
use crate::engine::error::{EngineError, Result};
use crate::engine::fate::{Fate, RowChangeSettings};
use crate::engine::formula::Formula;
use crate::engine::output::Output;
use crate::engine::rewrite;
use crate::engine::statement::Statement;

/// Merges rows of a source into a table. Made by [`DeltaTableExt::merge`](crate::DeltaTableExt::merge).
///
/// Of the clauses of a kind, the first whose condition is true decides; a row that no clause wants stays as it is. A
/// row of the table may be matched by several source rows as long as at most one changes it; rows that are deleted by
/// all of them are deleted once.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_delta_core::{DeltaTable, DeltaTableExt, MergeDelete};
/// use datafusion::prelude::SessionContext;
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let column = |v: Vec<i64>| Arc::new(Int64Array::from(v)) as ArrayRef;
/// # let batch = RecordBatch::try_from_iter([("id", column(vec![1, 2])), ("stock", column(vec![7, 3]))])?;
/// # table.append(batch.into()).create_if_absent().run().await?;
/// // The table has (1, 7) and (2, 3).
/// let changes = SessionContext::new().sql("SELECT * FROM (VALUES (1, 0), (2, 4), (3, 9)) AS v (id, stock)").await?;
/// let report = table
///     .merge(changes, "t.id = s.id")
///     .when_matched_delete(MergeDelete::only_if("s.stock = 0"))
///     .when_matched_update_all()
///     .when_not_matched_insert_all()
///     .run()
///     .await?;
/// assert_eq!((report.rows_deleted, report.rows_updated, report.rows_inserted), (1, 1, 1));
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is merged before `run`"]
pub struct MergeBuilder {
    pub(super) statement: Statement,
    pub(super) source: DataFrame,
    pub(super) on: Formula,
    pub(super) target_alias: String,
    pub(super) source_alias: String,
    pub(super) matched: Vec<Change>,
    pub(super) not_matched: Vec<MergeInsert>,
    pub(super) by_source: Vec<Change>,
    pub(super) schema_mode: SchemaMode,
    /// Columns by which rows of the source replace others: then all of them are inserted, matched or not.
    replaced_by: Option<Vec<String>>,
    /// The statement that it does the work of, and its condition, for the history.
    stands_for: Option<(&'static str, Option<String>)>,
    app_transaction: Option<AppTransaction>,
}

impl MergeBuilder {
    pub(crate) fn new(table: DeltaTable, source: DataFrame, on: Formula) -> Self {
        Self {
            statement: Statement::new(table),
            source,
            on,
            target_alias: "t".to_owned(),
            source_alias: "s".to_owned(),
            matched: Vec::new(),
            not_matched: Vec::new(),
            by_source: Vec::new(),
            schema_mode: SchemaMode::Enforce,
            replaced_by: None,
            stands_for: None,
            app_transaction: None,
        }
    }

    /// A merge that does the work of another statement.
    pub(crate) fn standing_for(
        statement: Statement,
        rows: DataFrame,
        on: Formula,
        operation: &'static str,
        condition: Option<String>,
    ) -> Self {
        let merge = Self::new(statement.table().clone(), rows, on);
        Self { statement, stands_for: Some((operation, condition)), ..merge }
    }

    /// Deletes the rows that `on` is true for, and inserts all of the source.
    pub(crate) fn replacing(statement: Statement, rows: DataFrame, on: Formula, columns: Vec<String>) -> Self {
        let merge = Self::new(statement.table().clone(), rows, on);
        let merge = merge.when_matched_delete(MergeDelete::all()).when_not_matched_insert_all();
        Self { statement, replaced_by: Some(columns), ..merge }
    }

    /// Names the table and the source in conditions and values. Without it: `t` and `s`.
    pub fn aliases(mut self, target: impl Into<String>, source: impl Into<String>) -> Self {
        self.target_alias = target.into();
        self.source_alias = source.into();
        self
    }

    /// Updates rows of the table that a source row matches.
    pub fn when_matched_update(mut self, update: MergeUpdate) -> Self {
        self.matched.push(Change::Update(update));
        self
    }

    /// Sets every column of a matched row from the source.
    pub fn when_matched_update_all(self) -> Self {
        self.when_matched_update(MergeUpdate::all())
    }

    /// Deletes rows of the table that a source row matches.
    pub fn when_matched_delete(mut self, delete: MergeDelete) -> Self {
        self.matched.push(Change::Delete(delete));
        self
    }

    /// Adds source rows that match no row of the table. Conditions and values read the source alone.
    pub fn when_not_matched_insert(mut self, insert: MergeInsert) -> Self {
        self.not_matched.push(insert);
        self
    }

    /// Adds source rows that match no row of the table, with every column.
    pub fn when_not_matched_insert_all(self) -> Self {
        self.when_not_matched_insert(MergeInsert::all())
    }

    /// Updates rows of the table that no source row matches. Conditions and values read the table alone.
    pub fn when_not_matched_by_source_update(mut self, update: MergeUpdate) -> Self {
        self.by_source.push(Change::Update(update));
        self
    }

    /// Deletes rows of the table that no source row matches. Conditions read the table alone.
    pub fn when_not_matched_by_source_delete(mut self, delete: MergeDelete) -> Self {
        self.by_source.push(Change::Delete(delete));
        self
    }

    /// Columns of the source that the table does not have are added to it: all of them when a clause takes every column, and otherwise
    /// those that a clause sets. Columns become wider where the table has type widening. Columns of the table that the source lacks keep
    /// their values in updated rows, and are null or filled in in inserted ones.
    ///
    /// # Example
    /// ```
    /// # use std::sync::Arc;
    /// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    /// use boathouse_delta_core::{DeltaTable, DeltaTableExt};
    /// use datafusion::prelude::SessionContext;
    /// # use boathouse_storage::{Storage, system_env};
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let table = DeltaTable::at(Storage::memory(), system_env());
    /// # let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)])?;
    /// # table.append(batch.into()).create_if_absent().run().await?;
    /// // The table has a column `id`, and no `colour`.
    /// let source = SessionContext::new().sql("SELECT 2 AS id, 'red' AS colour").await?;
    /// let merge = table.merge(source, "t.id = s.id").when_matched_update_all().with_schema_evolution();
    /// assert_eq!(merge.run().await?.rows_updated, 1);
    /// assert_eq!(table.snapshot().await?.schema().field(1).name(), "colour");
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_schema_evolution(mut self) -> Self {
        self.schema_mode = SchemaMode::Merge;
        self
    }

    /// Makes the merge idempotent: it is skipped when the application committed this version, or a later one, before. A merge that changes
    /// nothing is committed all the same, so that its number is known.
    pub fn app_transaction(mut self, transaction: AppTransaction) -> Self {
        self.app_transaction = Some(transaction);
        self
    }

    /// Joins and evaluates with this session: its functions and settings.
    pub fn with_session(mut self, session: &SessionContext) -> Self {
        self.statement = self.statement.with_session(session);
        self
    }

    /// Sets how data files are written.
    pub fn with_writer_settings(mut self, settings: DataWriterSettings) -> Self {
        self.statement = self.statement.with_writer_settings(settings);
        self
    }

    /// Sets when rows are marked as deleted, and when files are written again.
    pub fn with_row_change_settings(mut self, settings: RowChangeSettings) -> Self {
        self.statement = self.statement.with_row_change_settings(settings);
        self
    }

    /// Merges. The table is at a new version afterwards, or as it was.
    ///
    /// **Cost**: the source and the pairs of its rows with the table's are held in memory up to 32 MiB each, or an eighth of the memory
    /// pool of the session, and on disk beyond that; a pair takes 24 bytes, and a merge that only inserts keeps one bit for each source
    /// row instead. What is compared is joined by hashing while the pool has room, and then by sorting on disk. In memory stay, for each
    /// row of the table that matches or changes, two bytes or less, in sets of row numbers. Of the table the columns of the conditions are read, then all columns of the rows that change. Where the
    /// table has deletion vectors only these are written; other files with a change, and those of which
    /// [too much changes](RowChangeSettings), are written again. Files, row groups and pages are skipped by what `on` says of
    /// the table alone, and by the values of the source's columns that it compares for equality; rows are joined only when a
    /// filter of these values lets them pass. Clauses for rows that no
    /// source row matches make it look into every file.
    ///
    /// **Errors**: `Invalid` for an ambiguous match, with the values of the source that `on` reads, a column that is not there, or a value that would be another one in
    /// its column; also on append-only tables, unless rows are only inserted. `Conflict` when another writer changed what
    /// this one looked at.
    pub async fn run(self) -> Result<MergeReport> {
        if self.matched.is_empty() && self.not_matched.is_empty() && self.by_source.is_empty() {
            return Err(EngineError::NoClause { url: self.statement.url().to_owned() });
        }
        self.check_reach()?;
        let insert_only = self.matched.is_empty() && self.by_source.is_empty();
        let change = if insert_only { RowChange::None } else { RowChange::RemoveFiles };
        let mut running = self.statement.clone().begin("merge into", change).await?;
        if let Some(report) = self.done_before(&running.snapshot).await? {
            return Ok(report);
        }
        if self.has_updates() {
            rewrite::check(&running.snapshot, RowChange::Rewrite)?;
        }
        let (session, attempt) = (running.session.clone(), running.attempt.clone());
        let mut source = SourceRows::collect(&self.source, &self.source_alias, &session, &attempt).await?;
        if self.schema_mode == SchemaMode::Merge
            && let Some(evolution) = running.snapshot.evolve(&self.brought(&source))?
        {
            running.evolve(evolution);
        }
        let snapshot = running.snapshot.clone();
        let plan = Plan::new(&self, &snapshot, &source, &session, &attempt)?;
        let predicate = plan.target_predicate(&source, &attempt)?;
        let candidates = snapshot.files(predicate.as_ref()).await?;
        let mut found = matches::find(&snapshot, &candidates, &mut source, &plan, predicate.as_ref(), &session, &attempt).await?;
        if !plan.by_source.is_empty() {
            matches::add_unmatched(&snapshot, &mut found, &plan, &attempt).await?;
        }
        if self.replaced_by.is_some() {
            found.source_matched = BooleanBuffer::new_unset(source.rows);
        }
        running.scanned();
        let changed = found.files.iter().filter(|found| found.changes() > 0);
        let changed: Vec<(Fate, &FoundIn)> =
            changed.map(|found| (running.treatment.fate(&found.file, Some(found.changes())), found)).collect();
        let copies = changed.iter().any(|(fate, _)| *fate == Fate::Copy);
        let updates = changed.iter().any(|(_, found)| !found.updated.is_empty());
        if copies {
            rewrite::check(&snapshot, RowChange::Rewrite)?;
        }
        let fill = async |output: &mut Output| {
            let mut counts = Counts::of_source(source.rows as u64);
            let rows_at_once = Budget::of(&session.runtime_env()).rows_at_once(source.row_bytes());
            let apply = Apply { snapshot: &snapshot, plan: &plan, source: &source, rows_at_once, attempt: &attempt };
            let mut settled = found.settled(&attempt)?;
            for (fate, file) in &changed {
                apply.file(file, *fate, &mut settled, output, &mut counts).await?;
            }
            insert::write(&snapshot, &plan, &source, &found.source_matched, output, &mut counts, &attempt).await?;
            Ok(counts)
        };
        let (written, counts) = running.write(running.recording(copies || updates), fill).await?;
        if changed.is_empty() && counts.inserted == 0 && self.app_transaction.is_none() {
            return Ok(MergeReport { version: snapshot.version(), source_rows: counts.source_rows, ..MergeReport::default() });
        }
        let removed = changed.iter().filter(|(fate, _)| *fate != Fate::Mark).map(|(_, found)| &found.file);
        let files = FileCounts {
            added: written.files.adds.len() as u64,
            removed: removed.clone().count() as u64,
            marked: changed.iter().filter(|(fate, ..)| *fate == Fate::Mark).count() as u64,
            added_bytes: written.files.bytes,
            removed_bytes: DataFile::total_bytes(removed.clone()),
        };
        let mut metrics = counts.metrics(&files, &written);
        metrics.extend(running.times());
        let mut transaction = running
            .transaction(predicate.filter(|_| plan.by_source.is_empty()))
            .read_files(removed.clone())
            .remove_all(removed)
            .operation(self.operation(), self.parameters())
            .metrics(metrics);
        if copies || updates {
            transaction = transaction.row_change(RowChange::Rewrite);
        }
        for (fate, found) in &changed {
            if *fate == Fate::Mark {
                transaction = transaction.delete_rows(&found.file, found.changed());
            }
        }
        // In files that were looked through, rows count that some source row matches, and no others.
        let gone: BTreeSet<&str> =
            changed.iter().filter(|(fate, _)| *fate != Fate::Mark).map(|(_, found)| found.file.add().path.as_str()).collect();
        for found in found.files.iter().filter(|found| !gone.contains(found.file.add().path.as_str())) {
            transaction = transaction.read_rows(&found.file, found.seen());
        }
        if let Some(app) = &self.app_transaction {
            transaction = transaction.app_transaction(app)?;
        }
        match running.commit(transaction, &written).await {
            Ok(report) => Ok(counts.report(report, &files)),
            // Another instance of the same application may have been faster with the very same merge.
            Err(error) if is_of_an_application(&error) => {
                self.done_before(&self.statement.table().snapshot().await?).await?.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// What there is to say of a merge that the application has done.
    async fn done_before(&self, snapshot: &Snapshot) -> Result<Option<MergeReport>> {
        let Some(asked) = &self.app_transaction else { return Ok(None) };
        let known = snapshot.app_transaction(&asked.app_id).await?;
        let done = known.is_some_and(|known| known.version >= asked.version);
        Ok(done.then(|| MergeReport { version: snapshot.version(), skipped: true, ..MergeReport::default() }))
    }

    /// The columns of the source that rows of the table may come to have.
    fn brought(&self, source: &SourceRows) -> Schema {
        let updates = self.matched.iter().filter_map(|change| match change {
            Change::Update(update) => Some(update.sets.as_ref()),
            Change::Delete(_) => None,
        });
        let clauses: Vec<_> = updates.chain(self.not_matched.iter().map(|insert| insert.values.as_ref())).collect();
        if clauses.iter().any(Option::is_none) {
            return source.schema.as_ref().clone();
        }
        let set: Vec<&String> = clauses.into_iter().flatten().flatten().map(|(column, _)| column).collect();
        let is_set = |name: &str| set.iter().any(|column| column.to_lowercase() == name.to_lowercase());
        Schema::new(source.schema.fields().iter().filter(|field| is_set(field.name())).cloned().collect::<Vec<_>>())
    }

    /// Only the last clause of a kind may be without a condition.
    fn check_reach(&self) -> Result<()> {
        let matched = self.matched.iter().map(|change| change.condition().is_none()).collect::<Vec<_>>();
        let inserts = self.not_matched.iter().map(|insert| insert.condition.is_none()).collect();
        let by_source = self.by_source.iter().map(|change| change.condition().is_none()).collect();
        for (kind, all) in [("MATCHED", matched), ("NOT MATCHED", inserts), ("NOT MATCHED BY SOURCE", by_source)] {
            let but_last = all.len().saturating_sub(1);
            if let Some(at) = all.iter().take(but_last).position(|takes_all| *takes_all) {
                return Err(EngineError::Unreached { url: self.statement.url().to_owned(), kind, nth: at + 1 });
            }
        }
        Ok(())
    }

    fn has_updates(&self) -> bool {
        self.matched.iter().chain(&self.by_source).any(|change| matches!(change, Change::Update(_)))
    }

    fn operation(&self) -> &'static str {
        match &self.stands_for {
            Some((operation, _)) => operation,
            None if self.replaced_by.is_some() => "WRITE",
            None => "MERGE",
        }
    }

    /// What was asked for, as the history of a table has it.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        if let Some(columns) = &self.replaced_by {
            return vec![("mode", "Overwrite".to_owned()), ("replaceUsing", serde_json::json!(columns).to_string())];
        }
        if let Some((_, condition)) = &self.stands_for {
            return vec![("predicate", rewrite::predicate_parameter(condition.as_deref()))];
        }
        let clause = |name: &str, condition: Option<&Formula>| {
            let mut clause = BTreeMap::from([("actionType", name.to_owned())]);
            clause.extend(condition.map(|condition| ("predicate", condition.to_string())));
            serde_json::json!(clause)
        };
        let changes = |changes: &[Change]| changes.iter().map(|c| clause(c.name(), c.condition())).collect();
        let inserts = self.not_matched.iter().map(|insert| clause("insert", insert.condition.as_ref())).collect();
        let list = |clauses: Vec<serde_json::Value>| serde_json::Value::from(clauses).to_string();
        vec![
            ("predicate", rewrite::predicate_parameter(Some(&self.on.to_string()))),
            ("matchedPredicates", list(changes(&self.matched))),
            ("notMatchedPredicates", list(inserts)),
            ("notMatchedBySourcePredicates", list(changes(&self.by_source))),
        ]
    }
}

/// Whether another writer committed for the same application meanwhile.
fn is_of_an_application(error: &EngineError) -> bool {
    let EngineError::Table(DeltaError::Conflict { source, .. }) = error else { return false };
    matches!(source.as_ref(), Conflict::ConcurrentTransaction { .. })
}
