//! Making an earlier version the newest one.

use boathouse_base::TableVersion;
use boathouse_delta_protocol::action::Metadata;
use boathouse_delta_protocol::features::protocol_upgrade;
use boathouse_delta_protocol::files::FileIndex;
use boathouse_delta_protocol::rules::Rules;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;

use crate::create::ROW_TRACKING_NAMES;
use crate::error::{DeltaError, OnTable, Result};
use crate::mapping::MAX_COLUMN_ID;
use crate::scan::DataFile;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::transaction::Transaction;

/// Files that are looked up at once.
const AT_ONCE: usize = 16;

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
    /// **Cost**: no rows are read or written; one HEAD for each file that comes back.
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
        let storage = table.storage();
        let look_ups = back.iter().map(|file| {
            let (then, url) = (&then, &url);
            async move {
                let path = file.object_path(storage)?;
                match storage.object_store().head(&path).await {
                    Ok(_) => Ok(()),
                    Err(object_store::Error::NotFound { .. }) => Err(DeltaError::DataFileMissing {
                        url: url.clone(),
                        path: file.path().into_owned(),
                        version: then.version(),
                    }),
                    Err(source) => Err(DeltaError::Store {
                        attempted: "look up",
                        url: url.clone(),
                        path: file.path().into_owned(),
                        source: Box::new(source),
                    }),
                }
            }
        });
        futures::stream::iter(look_ups).buffered(AT_ONCE).try_collect::<Vec<()>>().await?;
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
        let adds = back.iter().map(|file| {
            let mut add = file.add().as_ref().clone();
            add.data_change = true;
            add
        });
        let report = transaction
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
            .await?;
        Ok(RestoreReport {
            version: report.version,
            restored_version: then.version(),
            files_restored: back.len() as u64,
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
