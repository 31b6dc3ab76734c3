//! A table and its files, gone for good.

use boathouse_delta_protocol::log_path::{LOG_FOLDER, LogFile};
use boathouse_storage::{ObjectEntry, Storage};
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::Result;
use crate::table::DeltaTable;

/// Deletions that are under way at once.
const AT_ONCE: usize = 16;

/// What [`DeltaTable::erase`] deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EraseReport {
    /// Files of the log, data files, and whatever else was in the folder.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
}

/// Deletes all that is in the folder of a table, whether its log can be read or not.
///
/// In four steps, so that nobody ever reads an older version for the newest one: what shortens the reading of the log; the oldest commit,
/// without which there is no table any more; the other commits; everything else.
pub(crate) async fn erase(table: &DeltaTable) -> Result<EraseReport> {
    table.settle().await;
    let mut steps: [Vec<ObjectEntry>; 4] = Default::default();
    for entry in table.storage().list("").await? {
        let name = entry.path.strip_prefix(LOG_FOLDER).and_then(|rest| rest.strip_prefix('/'));
        let step = match name.map(LogFile::parse) {
            Some(Some(LogFile::Commit { .. })) if steps[1].is_empty() => 1,
            Some(Some(LogFile::Commit { .. })) => 2,
            Some(_) => 0,
            None => 3,
        };
        steps[step].push(entry);
    }
    let mut report = EraseReport::default();
    for step in steps {
        report.files += step.len() as u64;
        report.bytes += step.iter().map(|entry| entry.size_bytes).sum::<u64>();
        delete(table.storage(), step).await?;
    }
    Ok(report)
}

async fn delete(storage: &Storage, entries: Vec<ObjectEntry>) -> Result<()> {
    let deletions = stream::iter(entries).map(|entry| async move { storage.delete(&entry.path).await });
    Ok(deletions.buffer_unordered(AT_ONCE).try_collect().await?)
}
