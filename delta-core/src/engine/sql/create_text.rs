//! The statement that makes a table like one that is there: `SHOW CREATE TABLE`, `CREATE TABLE … LIKE`.

use boathouse_delta_protocol::rules::CONSTRAINT_PREFIX;
use boathouse_delta_table::Snapshot;

use super::type_names::{declared, quoted, text};
use crate::engine::error::Result;

/// Properties that say what became of a table, and not how it is to be.
const NOT_ASKED_FOR: [&str; 5] = [
    "delta.columnMapping.maxColumnId",
    "delta.rowTracking.materializedRowIdColumnName",
    "delta.rowTracking.materializedRowCommitVersionColumnName",
    "delta.inCommitTimestampEnablementVersion",
    "delta.inCommitTimestampEnablementTimestamp",
];

/// The statement, which stands for the definition of the table and none of its rows.
pub(super) fn create_text(name: &str, snapshot: &Snapshot, location: Option<&str>) -> Result<String> {
    let metadata = snapshot.metadata();
    let mut parts: Vec<String> = snapshot.delta_schema().fields.iter().map(declared).collect();
    let mut properties = Vec::new();
    for (key, value) in &metadata.configuration {
        match key.strip_prefix(CONSTRAINT_PREFIX) {
            Some(constraint) => parts.push(format!("CONSTRAINT {} CHECK ({value})", quoted(constraint))),
            None if NOT_ASKED_FOR.contains(&key.as_str()) => {}
            None => properties.push(format!("  {} = {}", text(key), text(value))),
        }
    }
    let names = |columns: &[String]| columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
    let mut lines = vec![format!("CREATE TABLE {name} (\n  {}\n)", parts.join(",\n  ")), "USING DELTA".to_owned()];
    if !snapshot.partition_columns().is_empty() {
        lines.push(format!("PARTITIONED BY ({})", names(snapshot.partition_columns())));
    }
    let clustering = snapshot.clustering_columns()?;
    if !clustering.is_empty() {
        let path = |names: &[String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(".");
        lines.push(format!(
            "CLUSTER BY ({})",
            clustering.iter().map(|column| path(column.names())).collect::<Vec<_>>().join(", ")
        ));
    }
    if let Some(comment) = &metadata.description {
        lines.push(format!("COMMENT {}", text(comment)));
    }
    if let Some(location) = location {
        lines.push(format!("LOCATION {}", text(location)));
    }
    if !properties.is_empty() {
        lines.push(format!("TBLPROPERTIES (\n{}\n)", properties.join(",\n")));
    }
    Ok(lines.join("\n"))
}
