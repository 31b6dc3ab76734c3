//! Which changes of a table's metadata matter to a transaction that did not see them.

use std::collections::BTreeMap;

use crate::action::Metadata;
use crate::schema::{DataType, StructField, StructType};

/// What of a change of metadata matters to a transaction that stages rows for the old one; nothing when it can go on.
///
/// It can go on when every column that it knows is as it was, new columns may be null and have no default and no rule, and the
/// changed properties are about maintenance or a user's own. A transaction that only adds rows overlooks properties about removals
/// as well. Metadata that does not parse matters.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::action::Metadata;
/// use boathouse_delta_protocol::conflict::change_that_matters;
/// use boathouse_delta_protocol::schema::{PrimitiveType, StructField, StructType};
///
/// let table = |fields: Vec<StructField>| Metadata { schema_string: StructType::new(fields).to_json(), ..Metadata::default() };
/// let id = || StructField::nullable("id", PrimitiveType::Long);
/// let wider = table(vec![id(), StructField::nullable("note", PrimitiveType::String)]);
/// assert_eq!(change_that_matters(&table(vec![id()]), &wider, true), None);
/// // The column that the transaction writes is gone.
/// assert_eq!(change_that_matters(&wider, &table(vec![id()]), true).as_deref(), Some("schema (column `note` is gone)"));
/// ```
pub fn change_that_matters(read: &Metadata, now: &Metadata, only_adds: bool) -> Option<String> {
    if now.id != read.id || now.format != read.format {
        return Some("identity".to_owned());
    }
    if now.partition_columns != read.partition_columns {
        return Some("partition columns".to_owned());
    }
    if now.schema_string != read.schema_string {
        let change = match (read.schema(), now.schema()) {
            (Ok(old), Ok(new)) => struct_change("", &old, &new),
            _ => Some("it cannot be read".to_owned()),
        };
        if let Some(change) = change {
            return Some(format!("schema ({change})"));
        }
    }
    let keys: BTreeMap<_, _> = read.configuration.iter().chain(&now.configuration).collect();
    keys.into_keys()
        .find(|key| read.configuration.get(*key) != now.configuration.get(*key) && !is_harmless(key, only_adds))
        .map(|key| format!("property `{key}`"))
}

fn struct_change(parent: &str, old: &StructType, new: &StructType) -> Option<String> {
    let path = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
    for field in &old.fields {
        let column = path(&field.name);
        match new.fields.iter().find(|f| f.name == field.name) {
            None => return Some(format!("column `{column}` is gone")),
            Some(now) => {
                if let Some(change) = field_change(&column, field, now) {
                    return Some(change);
                }
            }
        }
    }
    let added = new.fields.iter().filter(|field| old.fields.iter().all(|f| f.name != field.name));
    added.filter(|field| !field.nullable || has_rules(field)).map(|f| format!("new column `{}` has a rule", path(&f.name))).next()
}

fn field_change(column: &str, old: &StructField, new: &StructField) -> Option<String> {
    if old.nullable && !new.nullable {
        return Some(format!("column `{column}` became NOT NULL"));
    }
    let matters = |key: &str| key != "comment" && key != "delta.identity.highWaterMark";
    let changed = |key: &String| matters(key) && old.metadata.get(key) != new.metadata.get(key);
    if let Some(key) = old.metadata.keys().chain(new.metadata.keys()).find(|key| changed(key)) {
        return Some(format!("`{key}` of column `{column}`"));
    }
    type_change(column, &old.data_type, &new.data_type)
}

fn type_change(column: &str, old: &DataType, new: &DataType) -> Option<String> {
    match (old, new) {
        (DataType::Struct(old), DataType::Struct(new)) => struct_change(column, old, new),
        (DataType::Array(old), DataType::Array(new)) if old.contains_null == new.contains_null => {
            type_change(&format!("{column}.element"), &old.element, &new.element)
        }
        (DataType::Map(old), DataType::Map(new)) if old.value_contains_null == new.value_contains_null => {
            type_change(&format!("{column}.key"), &old.key, &new.key)
                .or_else(|| type_change(&format!("{column}.value"), &old.value, &new.value))
        }
        _ if old == new => None,
        _ => Some(format!("column `{column}` is {new} now, it was {old}")),
    }
}

/// Whether rows without this column would have got something else than null.
fn has_rules(field: &StructField) -> bool {
    let plain = |key: &String| key == "comment" || key.starts_with("delta.columnMapping.");
    let nested = match &field.data_type {
        DataType::Struct(inner) => inner.fields.iter().any(has_rules),
        _ => false,
    };
    nested || !field.metadata.keys().all(plain)
}

/// Properties that say nothing about how rows are written or read: maintenance, or a user's own.
fn is_harmless(key: &str, only_adds: bool) -> bool {
    const MAINTENANCE: &[&str] = &[
        "delta.checkpointinterval",
        "delta.checkpointpolicy",
        "delta.logretentionduration",
        "delta.deletedfileretentionduration",
        "delta.settransactionretentionduration",
        "delta.enableexpiredlogcleanup",
        "delta.targetfilesize",
        "delta.tunefilesizesforrewrites",
        "delta.autooptimize",
        "delta.autooptimize.autocompact",
        "delta.autooptimize.optimizewrite",
        "delta.dataskippingnumindexedcols",
        "delta.dataskippingstatscolumns",
        "delta.dataskippingstringprefixlength",
        "delta.parquet.compression.codec",
        "delta.checkpoint.writestatsasjson",
        "delta.checkpoint.writestatsasstruct",
        "delta.randomizefileprefixes",
        "delta.randomprefixlength",
    ];
    /// What only those act on who remove or change rows. An added file is the same with and without them.
    const ABOUT_REMOVALS: &[&str] =
        &["delta.appendonly", "appendonly", "delta.enablechangedatafeed", "delta.enabledeletionvectors", "delta.isolationlevel"];
    let key = key.to_ascii_lowercase();
    if MAINTENANCE.contains(&key.as_str()) || (only_adds && ABOUT_REMOVALS.contains(&key.as_str())) {
        return true;
    }
    !(key.starts_with("delta.") || key == "appendonly")
}
