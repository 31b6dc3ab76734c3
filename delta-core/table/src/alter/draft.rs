//! The metadata of a table while it is being changed.

use std::collections::BTreeMap;

use arrow_schema::Schema;
use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_protocol::features::FEATURE_PREFIX;
use boathouse_delta_protocol::properties::{TableProperties, check_effect};
use boathouse_delta_protocol::rules::CONSTRAINT_PREFIX;
use boathouse_delta_protocol::schema::{ColumnMappingMode, ReplaceRules, StructField, StructType};
use serde_json::Value;

use super::change::{Absent, Change, ColumnPlace, joined};
use crate::error::{AlterProblem, DeltaError, OnTable, Result};
use crate::mapping::{PhysicalNames, map_new_columns};
use crate::table::DeltaTable;

/// Properties that writers keep.
const INTERNAL: [&str; 5] = [
    "delta.columnMapping.maxColumnId",
    "delta.rowTracking.materializedRowIdColumnName",
    "delta.rowTracking.materializedRowCommitVersionColumnName",
    "delta.inCommitTimestampEnablementVersion",
    "delta.inCommitTimestampEnablementTimestamp",
];
/// Properties that say something about every file that is there.
const OF_ALL_FILES: [&str; 2] = ["delta.enableIcebergCompatV1", "delta.enableIcebergCompatV2"];
/// The key of a column's comment.
const COMMENT: &str = "comment";
/// The key of a column's default.
const CURRENT_DEFAULT: &str = "CURRENT_DEFAULT";

/// The metadata so far.
#[derive(Debug, Clone)]
pub(super) struct Draft<'a> {
    pub(super) table: &'a DeltaTable,
    pub(super) url: &'a str,
    pub(super) schema: StructType,
    pub(super) configuration: BTreeMap<String, String>,
    /// What is asked for beyond what is kept: features by name.
    pub(super) asked: BTreeMap<String, String>,
    pub(super) partition_columns: Vec<String>,
    /// The columns by which the table is clustered, by the names of users, dotted.
    pub(super) clustering: Vec<String>,
    pub(super) mode: ColumnMappingMode,
    pub(super) has_files: bool,
    pub(super) description: Option<String>,
    /// Columns that must have values from now on, as they were asked for.
    pub(super) required: Vec<String>,
    /// Identity columns that go on behind the values that are there.
    pub(super) synced: Vec<String>,
    /// Columns that went or got another type as all were replaced.
    pub(super) touched: Vec<String>,
}

impl Draft<'_> {
    /// Makes one change.
    pub(super) fn apply(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::AddColumn { parent, field, place } => self.add_column(parent, field, place.as_ref()),
            Change::ReplaceColumns { fields } => self.replace_columns(fields),
            Change::MoveColumn { column, place } => self.move_column(column, place),
            Change::RenameColumn { column, to } => self.rename(column, to),
            Change::DropColumn { column } => self.drop_column(column),
            Change::WidenColumn { column, to } => self.widen(column, to),
            Change::AllowNulls { column } => self.edit(column, |columns, at| columns[at].nullable = true),
            Change::RequireValues { column } => {
                let was_nullable = self.edit(column, |columns, at| std::mem::replace(&mut columns[at].nullable, false))?;
                if was_nullable {
                    self.required.push(column.clone());
                }
                Ok(())
            }
            Change::SyncIdentity { column } => {
                self.synced.push(column.clone());
                Ok(())
            }
            Change::Comment { column, text } => self.edit(column, |columns, at| match text {
                Some(text) => {
                    columns[at].metadata.insert(COMMENT.to_owned(), Value::from(text.as_str()));
                }
                None => {
                    columns[at].metadata.remove(COMMENT);
                }
            }),
            Change::Describe { text } => {
                self.description.clone_from(text);
                Ok(())
            }
            Change::SetDefault { column, expression } => self.edit(column, |columns, at| {
                columns[at].metadata.insert(CURRENT_DEFAULT.to_owned(), Value::from(expression.as_str()));
            }),
            Change::DropDefault { column } => self.edit(column, |columns, at| {
                columns[at].metadata.remove(CURRENT_DEFAULT);
            }),
            Change::AddConstraint { name, expression } => {
                if self.constraint(name).is_some() {
                    return Err(self.problem(AlterProblem::ConstraintExists { name: name.clone() }));
                }
                self.configuration.insert(format!("{CONSTRAINT_PREFIX}{name}"), expression.clone());
                Ok(())
            }
            Change::DropConstraint { name, absent } => match self.constraint(name) {
                Some(key) => {
                    self.configuration.remove(&key);
                    Ok(())
                }
                None if *absent == Absent::Ignore => Ok(()),
                None => Err(self.problem(AlterProblem::NoConstraint { name: name.clone() })),
            },
            Change::SetProperty { key, value } => self.set(key, value),
            Change::UnsetProperty { key, absent } => {
                self.check_key(key)?;
                if *absent == Absent::Fail && !self.configuration.keys().any(|k| k.eq_ignore_ascii_case(key)) {
                    return Err(self.problem(AlterProblem::NoProperty { key: key.clone() }));
                }
                if key.eq_ignore_ascii_case("delta.columnMapping.mode") {
                    return self.set_mode("none");
                }
                self.configuration.retain(|k, _| !k.eq_ignore_ascii_case(key));
                Ok(())
            }
        }
    }

    pub(super) fn problem(&self, problem: AlterProblem) -> DeltaError {
        DeltaError::CannotAlter { url: self.url.to_owned(), problem }
    }

    fn edit<T>(&mut self, column: &str, edit: impl FnOnce(&mut Vec<StructField>, usize) -> T) -> Result<T> {
        self.schema.edit_column(column, edit).on(self.url)
    }

    /// Adds a column to the table or to a struct of it.
    fn add_column(&mut self, parent: &str, field: &arrow_schema::Field, place: Option<&ColumnPlace>) -> Result<()> {
        let column = joined(parent, field.name());
        let added = StructType::from_arrow(&Schema::new(vec![field.clone()])).on(self.url)?.as_data();
        if added.fields.iter().any(|field| !field.nullable) && self.has_files {
            return Err(self.problem(AlterProblem::RequiredColumn { column }));
        }
        let refused = self.schema.edit_struct(parent, |columns| {
            if columns.iter().any(|known| known.name.to_lowercase() == field.name().to_lowercase()) {
                return Some(AlterProblem::NameTaken { column: column.clone() });
            }
            let Some(at) = index_at(columns, place) else {
                return Some(no_sibling(&column, place, columns));
            };
            columns.splice(at..at, added.fields);
            None
        });
        match refused.on(self.url)? {
            None => Ok(()),
            Some(problem) => Err(self.problem(problem)),
        }
    }

    /// Gives the table other columns; those that it has keep their values.
    fn replace_columns(&mut self, fields: &[arrow_schema::Field]) -> Result<()> {
        let identity = |field: &StructField| field.metadata.keys().any(|key| key.starts_with("delta.identity."));
        if let Some(column) = self.schema.find_column(&mut |field| identity(field)) {
            return Err(self.problem(AlterProblem::ReplacesIdentity { column }));
        }
        let asked = StructType::from_arrow(&Schema::new(fields.to_vec())).on(self.url)?.as_data();
        asked.validate(self.mode).on(self.url)?;
        let properties = self.properties()?;
        let rules = ReplaceRules {
            mode: self.mode,
            widens: properties.enable_type_widening,
            iceberg: properties.enable_iceberg_compat_v1 || properties.enable_iceberg_compat_v2,
        };
        let replaced =
            self.schema.replace_columns(&asked, rules).map_err(|problem| self.problem(AlterProblem::Replaces(problem)))?;
        for column in replaced.dropped.iter().chain(&replaced.widened) {
            self.not_partition(column)?;
        }
        for column in &replaced.dropped {
            self.not_clustering(column)?;
        }
        self.schema = replaced.schema;
        self.touched.extend(replaced.dropped.into_iter().chain(replaced.widened));
        Ok(())
    }

    /// Puts a column elsewhere among those of its struct. Files stay: they know columns by name or id.
    fn move_column(&mut self, column: &str, place: &ColumnPlace) -> Result<()> {
        let refused = self.edit(column, |columns, at| {
            let moved = columns.remove(at);
            match index_at(columns, Some(place)) {
                Some(to) => {
                    columns.insert(to, moved);
                    None
                }
                None => {
                    let refused = no_sibling(column, Some(place), columns);
                    columns.insert(at, moved);
                    Some(refused)
                }
            }
        })?;
        refused.map_or(Ok(()), |problem| Err(self.problem(problem)))
    }

    fn rename(&mut self, column: &str, to: &str) -> Result<()> {
        self.needs_mapping(column)?;
        let (taken, before) = self.edit(column, |columns, at| {
            let taken =
                columns.iter().enumerate().any(|(place, field)| place != at && field.name.to_lowercase() == to.to_lowercase());
            let before = columns[at].name.clone();
            if !taken {
                to.clone_into(&mut columns[at].name);
            }
            (taken, before)
        })?;
        if taken {
            return Err(self.problem(AlterProblem::NameTaken { column: to.to_owned() }));
        }
        // A partition column stands at the top, whatever its name looks like.
        if before.to_lowercase() == column.to_lowercase() {
            let renamed = self.partition_columns.iter_mut().filter(|name| name.to_lowercase() == before.to_lowercase());
            renamed.for_each(|name| to.clone_into(name));
        }
        Ok(())
    }

    fn drop_column(&mut self, column: &str) -> Result<()> {
        self.needs_mapping(column)?;
        self.not_partition(column)?;
        self.not_clustering(column)?;
        let dropped = self.edit(column, |columns, at| {
            let is_last = columns.len() == 1;
            if !is_last {
                columns.remove(at);
            }
            !is_last
        })?;
        let data_columns = self.schema.fields.len() - self.partition_columns.len();
        if dropped && data_columns > 0 {
            Ok(())
        } else {
            Err(self.problem(AlterProblem::LastColumn { column: column.to_owned() }))
        }
    }

    fn widen(&mut self, column: &str, to: &arrow_schema::DataType) -> Result<()> {
        let properties = self.properties()?;
        let asked = boathouse_delta_protocol::schema::DataType::from_arrow(column, to).on(self.url)?;
        if self.edit(column, |columns, at| columns[at].data_type == asked)? {
            return Ok(());
        }
        if !properties.enable_type_widening {
            return Err(self.problem(AlterProblem::WideningOff { column: column.to_owned() }));
        }
        self.not_partition(column)?;
        let iceberg = properties.enable_iceberg_compat_v1 || properties.enable_iceberg_compat_v2;
        let refused = self.edit(column, |columns, at| {
            let from = columns[at].data_type.to_string();
            let widened = asked.as_primitive().is_some_and(|to| columns[at].widen(to, iceberg));
            (!widened).then_some(from)
        })?;
        match refused {
            None => Ok(()),
            Some(from) => Err(self.problem(AlterProblem::NotWider { column: column.to_owned(), from, to: asked.to_string() })),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        self.check_key(key)?;
        check_effect(key, value).on(self.url)?;
        if key.starts_with(FEATURE_PREFIX) {
            self.asked.insert(key.to_owned(), value.to_owned());
            return Ok(());
        }
        if key.eq_ignore_ascii_case("delta.columnMapping.mode") {
            return self.set_mode(value);
        }
        let was_on = self.configuration.iter().any(|(k, v)| k.eq_ignore_ascii_case(key) && v.eq_ignore_ascii_case("true"));
        if self.has_files
            && !was_on
            && value.eq_ignore_ascii_case("true")
            && let Some(key) = OF_ALL_FILES.iter().find(|k| k.eq_ignore_ascii_case(key))
        {
            return Err(self.problem(AlterProblem::NeedsRewrite { key: (*key).to_owned() }));
        }
        self.configuration.retain(|k, _| !k.eq_ignore_ascii_case(key));
        self.configuration.insert(key.to_owned(), value.to_owned());
        // Wrong values are found here, and not when the table is opened next.
        self.properties().map(|_| ())
    }

    fn set_mode(&mut self, value: &str) -> Result<()> {
        let wanted = BTreeMap::from([("delta.columnMapping.mode".to_owned(), value.to_owned())]);
        let wanted = TableProperties::parse(&wanted).on(self.url)?.column_mapping_mode;
        let now = self.properties()?.column_mapping_mode;
        match (now, wanted) {
            (now, wanted) if now == wanted => Ok(()),
            (ColumnMappingMode::None, ColumnMappingMode::Name) => {
                self.configuration.retain(|k, _| !k.eq_ignore_ascii_case("delta.columnMapping.mode"));
                self.configuration.insert("delta.columnMapping.mode".to_owned(), "name".to_owned());
                // Renaming is possible from now on; files that are there name columns as they are shown now.
                self.mode = ColumnMappingMode::Name;
                self.schema =
                    map_new_columns(self.table, &self.schema, &mut self.configuration, PhysicalNames::AsShown).on(self.url)?;
                Ok(())
            }
            _ => {
                let name = |mode| match mode {
                    ColumnMappingMode::None => "none".to_owned(),
                    ColumnMappingMode::Id => "id".to_owned(),
                    ColumnMappingMode::Name => "name".to_owned(),
                };
                Err(self.problem(AlterProblem::MappingMode { from: name(now), to: name(wanted) }))
            }
        }
    }

    fn check_key(&self, key: &str) -> Result<()> {
        match INTERNAL.iter().find(|internal| internal.eq_ignore_ascii_case(key)) {
            Some(key) => Err(self.problem(AlterProblem::InternalProperty { key: (*key).to_owned() })),
            None => Ok(()),
        }
    }

    fn needs_mapping(&self, column: &str) -> Result<()> {
        match self.mode {
            ColumnMappingMode::None => Err(self.problem(AlterProblem::NeedsMapping { column: column.to_owned() })),
            ColumnMappingMode::Id | ColumnMappingMode::Name => Ok(()),
        }
    }

    fn not_clustering(&self, column: &str) -> Result<()> {
        let below = format!("{}.", column.to_lowercase());
        let holds = |c: &String| c.to_lowercase() == column.to_lowercase() || c.to_lowercase().starts_with(&below);
        if self.clustering.iter().any(holds) {
            return Err(self.problem(AlterProblem::ClusteringColumn { column: column.to_owned() }));
        }
        Ok(())
    }

    fn not_partition(&self, column: &str) -> Result<()> {
        if self.partition_columns.iter().any(|name| name.to_lowercase() == column.to_lowercase()) {
            return Err(self.problem(AlterProblem::PartitionColumn { column: column.to_owned() }));
        }
        Ok(())
    }

    /// The property of a constraint; names regard no letter case.
    fn constraint(&self, name: &str) -> Option<String> {
        let wanted = format!("{CONSTRAINT_PREFIX}{name}");
        self.configuration.keys().find(|key| key.to_lowercase() == wanted.to_lowercase()).cloned()
    }

    fn properties(&self) -> Result<TableProperties> {
        let parsed: Result<_, ProtocolError> = TableProperties::parse(&self.configuration);
        parsed.on(self.url)
    }
}

/// Where a column is to stand among these; nothing when the one before it is not there.
fn index_at(columns: &[StructField], place: Option<&ColumnPlace>) -> Option<usize> {
    match place {
        None => Some(columns.len()),
        Some(ColumnPlace::First) => Some(0),
        Some(ColumnPlace::After(other)) => {
            let exact = columns.iter().position(|field| field.name == *other);
            let any_case = || columns.iter().position(|field| field.name.to_lowercase() == other.to_lowercase());
            exact.or_else(any_case).map(|other| other + 1)
        }
    }
}

fn no_sibling(column: &str, place: Option<&ColumnPlace>, columns: &[StructField]) -> AlterProblem {
    let after = if let Some(ColumnPlace::After(other)) = place { other.clone() } else { String::new() };
    let siblings = columns.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ");
    AlterProblem::NoSibling { column: column.to_owned(), after, siblings }
}
