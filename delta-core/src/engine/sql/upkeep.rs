//! `FSCK REPAIR TABLE`, `GENERATE symlink_format_manifest`, `DROP FEATURE`, and comments of tables.

use std::sync::Arc;

use boathouse_delta_table::protocol::features;
use boathouse_delta_table::{CloneReport, DeltaTable, DropFeatureReport, FsckReport, MissingFile};
use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};

use super::cursor::Cursor;
use super::statements::{Change, Statement};
use crate::engine::error::Result;
use crate::engine::ext::DeltaTableExt;

/// Reads `FSCK REPAIR TABLE t [DRY RUN]`, `GENERATE symlink_format_manifest FOR TABLE t` or `COMMENT ON TABLE t IS …`; nothing when it is
/// none of them.
pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Option<Statement>> {
    if cursor.takes(&["FSCK", "REPAIR", "TABLE"]) {
        let table = cursor.table_or_path()?;
        return Ok(Some(Statement::Fsck { table, dry_run: cursor.takes(&["DRY", "RUN"]) }));
    }
    if cursor.takes(&["GENERATE"]) {
        cursor.expect(&["SYMLINK_FORMAT_MANIFEST"])?;
        cursor.expect(&["FOR", "TABLE"])?;
        return Ok(Some(Statement::Manifest(cursor.table_or_path()?)));
    }
    if cursor.takes(&["COMMENT", "ON", "TABLE"]) {
        let table = cursor.table()?;
        cursor.expect(&["IS"])?;
        let text = if cursor.takes(&["NULL"]) { None } else { Some(cursor.string("a comment in quotes, or NULL")?) };
        return Ok(Some(Statement::Alter(table, vec![Change::Describe(text)])));
    }
    Ok(None)
}

/// Takes a feature from a table. Files with deletion vectors are written again before those go.
pub(crate) async fn drop_feature(table: &DeltaTable, feature: &str, truncate_history: bool) -> Result<DropFeatureReport> {
    if feature == "deletionVectors" && features::has(table.snapshot().await?.protocol(), feature) {
        table.purge().run().await?;
    }
    let drop = table.drop_feature(feature);
    Ok(if truncate_history { drop.truncate_history() } else { drop }.run().await?)
}

/// What FSCK found: a row for each file.
pub(crate) fn missing(report: &FsckReport) -> Vec<(&'static str, ArrayRef)> {
    let files = &report.missing;
    let rows = |file: &MissingFile| file.rows.and_then(|rows| i64::try_from(rows).ok());
    vec![
        ("data_file_path", Arc::new(files.iter().map(|file| Some(file.path.as_str())).collect::<StringArray>()) as ArrayRef),
        ("data_file_missing", Arc::new(files.iter().map(|file| Some(file.data_file_missing)).collect::<BooleanArray>())),
        ("deletion_vector_path", Arc::new(files.iter().map(|file| file.missing_vector.as_deref()).collect::<StringArray>())),
        ("num_rows", Arc::new(files.iter().map(rows).collect::<Int64Array>())),
    ]
}

/// What a clone did, as Spark says it.
pub(crate) fn cloned(report: &CloneReport) -> Vec<(&'static str, Option<i64>)> {
    let signed = |number: u64| i64::try_from(number).ok();
    vec![
        ("version", signed(report.version)),
        ("source_table_size", signed(report.bytes)),
        ("source_num_of_files", signed(report.files)),
        ("num_removed_files", signed(report.files_removed)),
        ("num_copied_files", signed(report.files_copied)),
        ("copied_files_size", signed(report.bytes_copied)),
    ]
}
