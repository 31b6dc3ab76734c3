//! What lies in the log's folder.

use boathouse_delta_protocol::log_path::{LAST_CHECKPOINT, LOG_FOLDER, LastCheckpoint, LogFile, list_after};
use boathouse_storage::Storage;

use crate::error::{DeltaError, Result};

/// A file of the log.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) file: LogFile,
    pub(crate) modified_ms: i64,
    pub(crate) size_bytes: u64,
}

/// The path of a file of the log, relative to the table.
pub(crate) fn log_path(name: &str) -> String {
    format!("{LOG_FOLDER}/{name}")
}

/// Files of the log, by name. With `from`: those of this version and later ones.
pub(crate) async fn list_log(storage: &Storage, from: Option<u64>) -> Result<Vec<Listed>> {
    let entries = match from {
        Some(version) => storage.list_after(LOG_FOLDER, &log_path(&list_after(version))).await?,
        None => storage.list(LOG_FOLDER).await?,
    };
    let files = entries.into_iter().filter_map(|entry| {
        let name = entry.path.strip_prefix(LOG_FOLDER)?.strip_prefix('/')?;
        let file = LogFile::parse(name)?;
        let name = name.to_owned();
        Some(Listed { name, file, modified_ms: entry.modified_us.div_euclid(1000), size_bytes: entry.size_bytes })
    });
    Ok(files.collect())
}

/// What `_last_checkpoint` says; nothing when it is missing or damaged, since it is a hint only.
pub(crate) async fn last_checkpoint(storage: &Storage) -> Result<Option<LastCheckpoint>> {
    let Some(bytes) = storage.get_optional(&log_path(LAST_CHECKPOINT)).await? else { return Ok(None) };
    match LastCheckpoint::parse(&bytes) {
        Ok(hint) => Ok(Some(hint)),
        Err(error) => {
            tracing::warn!(table = storage.url(), %error, "`_last_checkpoint` is damaged; the log is listed from its start");
            Ok(None)
        }
    }
}

/// The error for a location without log: it says whether there is anything else.
pub(crate) async fn no_table(storage: &Storage) -> DeltaError {
    let url = storage.url().to_owned();
    match storage.list("").await {
        Ok(entries) => match entries.into_iter().next() {
            Some(entry) => DeltaError::NotATable { url, found: entry.path },
            None => DeltaError::NoTable { url },
        },
        Err(error) => error.into(),
    }
}
