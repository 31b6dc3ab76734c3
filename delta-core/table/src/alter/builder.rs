//! The builder of a change, and its steps in order.

use std::collections::BTreeMap;

use arrow_schema::{DataType, Field};
use boathouse_base::ScanRequest;
use boathouse_delta_protocol::action::{Add, Metadata, Protocol};
use boathouse_delta_protocol::features::{self, protocol_upgrade};
use boathouse_delta_protocol::properties::TableProperties;
use boathouse_delta_protocol::rules::{Check, Rules};
use boathouse_delta_protocol::schema::ColumnMappingMode;
use boathouse_delta_protocol::stats::indexed_columns;

use super::change::{Absent, Change, ColumnPlace};
use super::draft::Draft;
use super::identity::new_marks;
use super::required::check_required;
use crate::create::{name_hidden_columns, require_times};
use crate::enforce::Enforcer;
use crate::error::{AlterProblem, DeltaError, OnTable, Result};
use crate::layout::Layout;
use crate::mapping::{PhysicalNames, map_new_columns};
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::transaction::Transaction;

/// How often a change that must be the very next version is tried.
const MAX_ATTEMPTS: u32 = 100;

/// Changes columns, constraints and properties of a table, as one version. Made by [`DeltaTable::alter`].
///
/// Changes are made in the order in which they were asked for. Columns within others are named by dotted paths;
/// lists and maps are passed by `element`, `key` and `value`.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// # use boathouse_base::{BatchStream, ScanRequest};
/// # use boathouse_delta_table::{DeltaError, DeltaTable};
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap();
/// # table.append(BatchStream::from_batches(batch.schema(), vec![batch])).create_if_absent().run().await?;
/// let report = table
///     .alter()
///     .set_property("delta.columnMapping.mode", "name")
///     .rename_column("id", "passenger id")
///     .run()
///     .await?;
/// assert_eq!(report.version, 1);
///
/// // No file was touched.
/// let snapshot = table.snapshot().await?;
/// assert_eq!(snapshot.schema().field(0).name(), "passenger id");
/// let rows = snapshot.scan(ScanRequest::default())?.collect().await.unwrap();
/// assert_eq!(rows[0].column(0).as_ref(), &Int64Array::from(vec![1, 2]));
/// # Ok::<_, DeltaError>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is changed before `run`"]
pub struct AlterBuilder {
    table: DeltaTable,
    changes: Vec<Change>,
}

/// What a change of a table did.
#[derive(Debug, Clone, PartialEq)]
pub struct AlterReport {
    /// The version that holds it.
    pub version: u64,
    /// Rows that were read because they had to obey a new constraint.
    pub rows_checked: u64,
    /// What clients must be able to do from now on, when that changed.
    pub protocol: Option<Protocol>,
}

impl AlterBuilder {
    pub(crate) fn new(table: DeltaTable) -> Self {
        Self { table, changes: Vec::new() }
    }

    /// Adds a column at the end. Rows that are there have nulls in it.
    pub fn add_column(self, field: Field) -> Self {
        self.with(Change::AddColumn { parent: String::new(), field, place: None })
    }

    /// Adds a column at a place among the others. Rows that are there have nulls in it.
    pub fn add_column_at(self, field: Field, place: ColumnPlace) -> Self {
        self.with(Change::AddColumn { parent: String::new(), field, place: Some(place) })
    }

    /// Adds a column to a struct, at its end, or at a place among its others. `parent` is the path of the struct: a column, a field of one, the
    /// `element` of a list, the `key` or `value` of a map. Structs that are there have nulls in it.
    pub fn add_field(self, parent: impl Into<String>, field: Field, place: Option<ColumnPlace>) -> Self {
        self.with(Change::AddColumn { parent: parent.into(), field, place })
    }

    /// Gives the table these columns, in this order. Those that it has, at any depth, keep their values; new ones are null in rows that are
    /// there; missing ones are dropped, which column mapping must allow. Types become wider where `delta.enableTypeWidening` is true.
    ///
    /// A struct of which columns are missing, and others new, is refused: they may have got another name.
    pub fn replace_columns(self, fields: impl IntoIterator<Item = Field>) -> Self {
        self.with(Change::ReplaceColumns { fields: fields.into_iter().collect() })
    }

    /// Puts a column elsewhere among those of its table or struct. No file is touched.
    pub fn move_column(self, column: impl Into<String>, place: ColumnPlace) -> Self {
        self.with(Change::MoveColumn { column: column.into(), place })
    }

    /// Says what a column is about, for people.
    pub fn comment_column(self, column: impl Into<String>, text: impl Into<String>) -> Self {
        self.with(Change::Comment { column: column.into(), text: Some(text.into()) })
    }

    /// Takes the comment from a column.
    pub fn drop_comment(self, column: impl Into<String>) -> Self {
        self.with(Change::Comment { column: column.into(), text: None })
    }

    /// Says what the table is about, for people; `None` takes that away.
    pub fn describe(self, text: Option<String>) -> Self {
        self.with(Change::Describe { text })
    }

    /// Gives a column another name; the last part of its path. Files stay: the table must have column mapping.
    pub fn rename_column(self, column: impl Into<String>, to: impl Into<String>) -> Self {
        self.with(Change::RenameColumn { column: column.into(), to: to.into() })
    }

    /// Drops a column. Its values stay in files, where nobody finds them: the table must have column mapping.
    pub fn drop_column(self, column: impl Into<String>) -> Self {
        self.with(Change::DropColumn { column: column.into() })
    }

    /// Gives a column a wider type. The table must have `delta.enableTypeWidening`.
    pub fn widen_column(self, column: impl Into<String>, to: DataType) -> Self {
        self.with(Change::WidenColumn { column: column.into(), to })
    }

    /// Takes NOT NULL from a column.
    pub fn allow_nulls(self, column: impl Into<String>) -> Self {
        self.with(Change::AllowNulls { column: column.into() })
    }

    /// Makes a column NOT NULL. Rows that are there must have a value in it: files whose statistics do not show that are read.
    pub fn require_values(self, column: impl Into<String>) -> Self {
        self.with(Change::RequireValues { column: column.into() })
    }

    /// Lets an identity column go on behind the values that are there: above the greatest one, and below the least one when it counts
    /// down. Numbers that were given out are not given again, and none lies before the start. Of use where rows came with values of
    /// their own, from writers that do not count.
    pub fn sync_identity(self, column: impl Into<String>) -> Self {
        self.with(Change::SyncIdentity { column: column.into() })
    }

    /// Sets the value of a column for rows that give none: SQL text. Rows that are there stay as they are.
    pub fn set_default(self, column: impl Into<String>, expression: impl Into<String>) -> Self {
        self.with(Change::SetDefault { column: column.into(), expression: expression.into() })
    }

    /// Takes the default from a column.
    pub fn drop_default(self, column: impl Into<String>) -> Self {
        self.with(Change::DropDefault { column: column.into() })
    }

    /// Adds a condition, as SQL text, that must be true for every row, those that are there included.
    pub fn add_constraint(self, name: impl Into<String>, expression: impl Into<String>) -> Self {
        self.with(Change::AddConstraint { name: name.into(), expression: expression.into() })
    }

    /// Drops a condition.
    pub fn drop_constraint(self, name: impl Into<String>) -> Self {
        self.with(Change::DropConstraint { name: name.into(), absent: Absent::Fail })
    }

    /// Drops a condition, if there is one of this name.
    pub fn drop_constraint_if_exists(self, name: impl Into<String>) -> Self {
        self.with(Change::DropConstraint { name: name.into(), absent: Absent::Ignore })
    }

    /// Sets a property. Features that it enables are demanded of clients from now on.
    pub fn set_property(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(Change::SetProperty { key: key.into(), value: value.into() })
    }

    /// Removes a property, if it is there. Features that it enabled stay in the protocol.
    pub fn unset_property(self, key: impl Into<String>) -> Self {
        self.with(Change::UnsetProperty { key: key.into(), absent: Absent::Ignore })
    }

    /// Removes a property that must be there.
    pub fn unset_known_property(self, key: impl Into<String>) -> Self {
        self.with(Change::UnsetProperty { key: key.into(), absent: Absent::Fail })
    }

    fn with(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Changes the table. It is at a new version afterwards, or as it was.
    ///
    /// **Errors**: `Invalid` says which change cannot be, or which row violates a new constraint; `NotFound` names a
    /// column that is not there; `Unsupported` names a feature that cannot be written, or the rule for which an
    /// engine must be handed in; `Conflict` when another writer changed the table meanwhile.
    ///
    /// **Cost**: one commit; a new constraint reads all rows, an identity column that is synced is read in all files, NOT NULL the column where statistics do not tell. `delta.enableRowTracking` gives row ids to all files that have none:
    /// the log of that version names each of them again.
    pub async fn run(self) -> Result<AlterReport> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.attempt().await {
                // Another writer was faster, and its files have no row ids: all is looked at again.
                Err(DeltaError::TooManyAttempts { .. }) if attempt < MAX_ATTEMPTS => {}
                done => return done,
            }
        }
    }

    async fn attempt(&self) -> Result<AlterReport> {
        let Self { table, changes } = self;
        let snapshot = table.snapshot().await?;
        let url = snapshot.url();
        features::check_write(snapshot.protocol(), snapshot.metadata()).on(url)?;
        let mut draft = Draft {
            table,
            url,
            schema: snapshot.delta_schema().clone(),
            configuration: snapshot.metadata().configuration.clone(),
            asked: BTreeMap::new(),
            partition_columns: snapshot.partition_columns().to_vec(),
            clustering: snapshot.clustering_columns()?.iter().map(ToString::to_string).collect(),
            mode: snapshot.column_mapping(),
            has_files: snapshot.file_count().await? > 0,
            description: snapshot.metadata().description.clone(),
            required: Vec::new(),
            synced: Vec::new(),
            touched: Vec::new(),
        };
        let Some(first) = changes.first() else { return Err(draft.problem(AlterProblem::Nothing)) };
        let reads_rows = |change: &Change| {
            matches!(change, Change::AddConstraint { .. } | Change::RequireValues { .. } | Change::SyncIdentity { .. })
        };
        let adds_constraint = changes.iter().any(reads_rows);
        let changes_columns = |change: &Change| {
            matches!(
                change,
                Change::RenameColumn { .. }
                    | Change::DropColumn { .. }
                    | Change::WidenColumn { .. }
                    | Change::ReplaceColumns { .. }
            )
        };
        if adds_constraint && changes.iter().any(changes_columns) {
            return Err(draft.problem(AlterProblem::ConstraintWithColumns));
        }
        for change in changes {
            draft.apply(change)?;
            if let Change::RenameColumn { column, .. } | Change::DropColumn { column } = change {
                still_understood(table, &snapshot, &draft, column)?;
            }
            if matches!(change, Change::ReplaceColumns { .. }) && !draft.touched.is_empty() {
                still_understood(table, &snapshot, &draft, &draft.touched.join(", "))?;
            }
        }
        let (protocol, metadata) = finish(table, &snapshot, &mut draft)?;
        let upgraded = protocol.as_ref().unwrap_or(snapshot.protocol());
        let layout = Layout::new(url, upgraded, &metadata)?;
        let rules = Rules::of(upgraded, &metadata, &layout.schema).on(url)?;
        Enforcer::new(url, &layout, &rules, table.expressions())?;
        indexed_columns(&layout.schema, &layout.partition_columns, &layout.properties).on(url)?;
        let is_new = |check: &&Check| {
            check.feature == "checkConstraints"
                && changes.iter().any(|c| matches!(c, Change::AddConstraint { name, .. } if *name == check.name))
        };
        let new = Rules { checks: rules.checks.iter().filter(is_new).cloned().collect(), ..Rules::default() };
        let rows_checked =
            check_rows(table, &snapshot, &layout, &new).await? + check_required(&snapshot, &layout, &draft.required).await?;
        let marks = new_marks(&snapshot, &rules, &draft.synced).await?;
        let metadata = Metadata { schema_string: draft.schema.with_high_water_marks(&marks).to_json(), ..metadata };

        let mut transaction = Transaction::begin(&snapshot).read_metadata().set_metadata(metadata);
        if let Some(protocol) = &protocol {
            transaction = transaction.set_protocol(protocol.clone());
        }
        if layout.row_tracking.is_some() && snapshot.row_tracking().is_none() {
            transaction = transaction.add_all(without_row_ids(&snapshot).await?).keeps_row_ids().only_next();
        }
        if !new.is_empty() || !draft.required.is_empty() || !draft.synced.is_empty() {
            // A row that another writer adds meanwhile was not checked.
            transaction = transaction.read_whole_table();
        }
        let operation = first.operation();
        let transaction = if changes.iter().all(|change| change.operation() == operation) {
            transaction.operation(operation, parameters(changes))
        } else {
            transaction.operation("ALTER TABLE", parameters(changes))
        };
        let report = transaction.commit().await?;
        Ok(AlterReport { version: report.version, rows_checked, protocol })
    }
}

/// The files that have no row ids yet, as they are: the commit gives them ids and the version.
async fn without_row_ids(snapshot: &Snapshot) -> Result<Vec<Add>> {
    let files = snapshot.files(None).await?;
    let known = |add: &Add| add.base_row_id.is_some() && add.default_row_commit_version.is_some();
    let adds = files.iter().map(|file| file.add().as_ref()).filter(|add| !known(add));
    Ok(adds.map(|add| Add { data_change: false, ..add.clone() }).collect())
}

fn parameters(changes: &[Change]) -> Vec<(&'static str, String)> {
    match changes {
        [change] => change.parameters().into_iter().collect(),
        several => {
            let list: Vec<_> = several
                .iter()
                .map(|change| serde_json::json!({"operation": change.operation(), "parameters": change.parameters()}))
                .collect();
            vec![("changes", serde_json::Value::from(list).to_string())]
        }
    }
}

/// A rule that uses a column which is gone, or has another name, would stop every writer.
fn still_understood(table: &DeltaTable, snapshot: &Snapshot, draft: &Draft<'_>, column: &str) -> Result<()> {
    let metadata = Metadata {
        schema_string: draft.schema.to_json(),
        configuration: draft.configuration.clone(),
        partition_columns: draft.partition_columns.clone(),
        ..snapshot.metadata().clone()
    };
    // Features that the draft asks for, and the table lacks, have rules as well; none of them has any in the table yet.
    let layout = Layout::new(draft.url, snapshot.protocol(), &metadata)?;
    let rules = Rules::of(snapshot.protocol(), &metadata, &layout.schema).on(draft.url)?;
    match Enforcer::new(draft.url, &layout, &rules, table.expressions()) {
        Ok(_) => Ok(()),
        Err(DeltaError::Expression { subject, expression, .. }) => {
            Err(draft.problem(AlterProblem::UsedByRule { column: column.to_owned(), subject, expression }))
        }
        Err(other) => Err(other),
    }
}

/// Protocol, when it changes, and metadata of the table as it will be.
fn finish(table: &DeltaTable, snapshot: &Snapshot, draft: &mut Draft<'_>) -> Result<(Option<Protocol>, Metadata)> {
    let url = draft.url;
    draft.schema.validate(draft.mode).on(url)?;
    draft.schema.validate_partitioning(&draft.partition_columns).on(url)?;
    if TableProperties::parse(&draft.configuration).on(url)?.enable_row_tracking {
        name_hidden_columns(table, &mut draft.configuration);
    }
    if draft.mode != ColumnMappingMode::None {
        draft.schema = map_new_columns(table, &draft.schema, &mut draft.configuration, PhysicalNames::Fresh).on(url)?;
    }
    let mut asked = draft.configuration.clone();
    asked.append(&mut draft.asked.clone());
    let protocol = protocol_upgrade(snapshot.protocol(), &draft.schema, &asked).on(url)?;
    require_times(protocol.as_ref().unwrap_or(snapshot.protocol()), &mut draft.configuration);
    let metadata = Metadata {
        schema_string: draft.schema.to_json(),
        configuration: draft.configuration.clone(),
        partition_columns: draft.partition_columns.clone(),
        description: draft.description.clone(),
        ..snapshot.metadata().clone()
    };
    features::check_write(protocol.as_ref().unwrap_or(snapshot.protocol()), &metadata).on(url)?;
    Ok((protocol, metadata))
}

/// Reads all rows, which must obey new rules.
async fn check_rows(table: &DeltaTable, snapshot: &Snapshot, layout: &Layout, rules: &Rules) -> Result<u64> {
    let Some(enforcer) = Enforcer::new(snapshot.url(), layout, rules, table.expressions())? else { return Ok(0) };
    let mut rows = snapshot.scan(ScanRequest::default())?;
    let mut checked = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|source| DeltaError::Input { url: snapshot.url().to_owned(), source })?;
        checked += batch.num_rows() as u64;
        enforcer.changed(&batch).map_err(|error| match error {
            DeltaError::CheckViolated { url, constraint, expression, row, values, .. } => {
                DeltaError::CheckViolated { attempted: "add a constraint to", url, constraint, expression, row, values }
            }
            other => other,
        })?;
    }
    Ok(checked)
}
