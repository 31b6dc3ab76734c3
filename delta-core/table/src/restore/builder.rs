//! The restore itself.

use boathouse_base::TableVersion;
use boathouse_delta_protocol::action::Metadata;
use boathouse_delta_protocol::features::protocol_upgrade;
use boathouse_delta_protocol::files::FileIndex;
use boathouse_delta_protocol::rules::Rules;

use super::revive::revive;
use crate::create::ROW_TRACKING_NAMES;
use crate::error::{DeltaError, OnTable, Result};
use crate::mapping::MAX_COLUMN_ID;
use crate::scan::DataFile;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::transaction::Transaction;

/// Makes an earlier version the newest one, as a new version. Made by [`DeltaTable::restore`].
#[derive(Debug)]
#[must_use = "nothing is restored before `run`"]
pub struct RestoreBuilder {
    table: DeltaTable,
    version: TableVersion,
}

/// What a restore did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreReport {
    /// The new version.
    pub version: u64,
    /// The version whose rows it has.
    pub restored_version: u64,
    /// Files that came back.
    pub files_restored: u64,
    /// Of these, files that came back under a new name, because a vacuum might be deleting them.
    pub files_copied: u64,
    /// Files that left.
    pub files_removed: u64,
}

impl RestoreBuilder {
    pub(crate) fn new(table: DeltaTable, version: TableVersion) -> Self {
        Self { table, version }
    }

    /// Restores rows, schema and properties. The protocol is never lowered, and whether commits hold their time stays as it is.
    ///
    /// **Errors**: `NotFound` without that version, or naming a file of it that was vacuumed; `Invalid` on an
    /// append-only table; `Conflict` when another writer changed the table meanwhile.
    ///
    /// A file that left the table so long ago that a vacuum may delete it comes back as a copy with a new name: a vacuum that is
    /// under way would not notice the restore. Such are files whose retention (`delta.deletedFileRetentionDuration`) has
    /// ended, or ends within a day (within half of it when it is shorter than two days).
    ///
    /// **Cost**: no rows are read or written; for each file that comes back one HEAD, or one copy within the store. After a
    /// failure, the copies are deleted.
    pub async fn run(self) -> Result<RestoreReport> {
        let Self { table, version } = self;
        let url = table.url().to_owned();
        let now = table.snapshot().await?;
        let then = table.snapshot_at(version).await?;
        let (files_then, files_now) = (then.index().await?, now.index().await?);
        let missing = |from: Vec<DataFile>, in_index: &FileIndex| -> Vec<DataFile> {
            from.into_iter().filter(|file| !in_index.contains(&file.add().key())).collect()
        };
        let back = missing(then.files(None).await?, &files_now);
        let gone = missing(now.files(None).await?, &files_then);
        // Also when nothing but rows comes back: a property that is changed meanwhile would stay.
        let mut transaction = Transaction::begin(&now).read_whole_table().read_metadata();
        let (old, new) = (then.metadata(), now.metadata());
        if old != new {
            let metadata = carry_on(Metadata { id: new.id.clone(), created_time: new.created_time, ..old.clone() }, &now)?;
            if let Some(protocol) = protocol_upgrade(now.protocol(), then.delta_schema(), &metadata.configuration).on(&url)? {
                transaction = transaction.set_protocol(protocol);
            }
            transaction = transaction.set_metadata(metadata);
        }
        let parameters = match version {
            TableVersion::AtUs(at_us) => [("version", String::new()), ("timestamp", at_us.to_string())],
            _ => [("version", then.version().to_string()), ("timestamp", String::new())],
        };
        let mut revived = revive(&now, then.version(), &back).await?;
        let (adds, files_copied) = (std::mem::take(&mut revived.adds), revived.files_copied);
        let committed = transaction
            .remove_all(&gone)
            .add_all(adds)
            .operation("RESTORE", parameters)
            .metrics([
                ("numRestoredFiles", back.len() as u64),
                ("numRemovedFiles", gone.len() as u64),
                ("restoredFilesSize", DataFile::total_bytes(&back)),
                ("removedFilesSize", DataFile::total_bytes(&gone)),
                ("numOfFilesAfterRestore", files_then.len() as u64),
                ("tableSizeAfterRestore", files_then.size_bytes()),
            ])
            .commit()
            .await;
        let report = match committed {
            Ok(report) => report,
            Err(error) => {
                // A commit whose outcome is not known may name them.
                if !matches!(error, DeltaError::CommitUnknown { .. }) {
                    revived.discard(&table).await;
                }
                return Err(error);
            }
        };
        Ok(RestoreReport {
            version: report.version,
            restored_version: then.version(),
            files_restored: back.len() as u64,
            files_copied,
            files_removed: gone.len() as u64,
        })
    }
}

/// Properties of the log, and not of the rows: they stay as they are.
const OF_THE_LOG: [&str; 2] = ["delta.enableInCommitTimestamps", "delta.enableInCommitTimestamps-preview"];

/// What only ever grows goes on from where the table is: ids of columns, and the numbers of identity columns. So does how the log
/// is kept.
fn carry_on(mut metadata: Metadata, now: &Snapshot) -> Result<Metadata> {
    let url = now.url();
    let of_the_log = |key: &String| OF_THE_LOG.iter().any(|k| k.eq_ignore_ascii_case(key));
    metadata.configuration.retain(|key, _| !of_the_log(key));
    let kept = now.metadata().configuration.iter().filter(|(key, _)| of_the_log(key));
    metadata.configuration.extend(kept.map(|(key, value)| (key.clone(), value.clone())));
    // Files that come back, and those that stay, have the hidden columns under the same names.
    for key in ROW_TRACKING_NAMES {
        if let Some(name) = now.metadata().configuration.get(key) {
            metadata.configuration.insert(key.to_owned(), name.clone());
        }
    }
    let (then_max, now_max) =
        (metadata.properties().on(url)?.column_mapping_max_column_id, now.properties().column_mapping_max_column_id);
    if let Some(max) = now_max.filter(|max| Some(*max) > then_max) {
        metadata.configuration.insert(MAX_COLUMN_ID.to_owned(), max.to_string());
    }
    let rules = Rules::of(now.protocol(), now.metadata(), now.delta_schema()).on(url)?;
    let schema = metadata.schema().on(url)?;
    let marks: Vec<(String, i64)> = rules
        .identities
        .into_iter()
        .filter(|column| schema.field(&column.column).is_some())
        .filter_map(|column| Some((column.column, column.high_water_mark?)))
        .collect();
    if !marks.is_empty() {
        metadata.schema_string = schema.with_high_water_marks(&marks).to_json();
    }
    Ok(metadata)
}
