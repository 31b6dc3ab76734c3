//! Compaction that tables ask for: after a commit, where small files have piled up.

use boathouse_base::BoxFuture;
use boathouse_delta_table::{DataFile, DeltaTable, Snapshot};

use super::choose::{self, Aim};
use super::settings::OptimizeSettings;
use crate::engine::ext::DeltaTableExt;

/// Bytes of a file when the table does not say: half of what OPTIMIZE gives it, since a writer waits.
const TARGET_FILE_BYTES: u64 = 128 << 20;

/// Does what the table asks for after a commit of a statement. A failure is only told: the commit stands.
pub(crate) async fn after_commit(table: &DeltaTable) {
    let compacting: BoxFuture<'_, _> = Box::pin(table.auto_compact().run());
    match compacting.await {
        Ok(report) if report.committed() => {
            let (files, version) = (report.num_files_removed(), report.version);
            tracing::debug!(table = table.url(), version, files, "put small files together");
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(table = table.url(), %error, "small files could not be put together; the next writer tries again")
        }
    }
}

/// What is small, and what comes out.
pub(super) fn aim(settings: &OptimizeSettings, snapshot: &Snapshot) -> Aim {
    let table = snapshot.properties().target_file_size_bytes;
    let target_bytes = settings.target_file_size_bytes.or(table).unwrap_or(TARGET_FILE_BYTES).max(1);
    let min_bytes = settings.min_file_size_bytes.unwrap_or(target_bytes / 2);
    Aim { target_bytes, min_bytes, max_deleted_percent: settings.max_deleted_percent }
}

/// The files of partitions that have enough small ones.
pub(super) fn piles(files: Vec<DataFile>, settings: &OptimizeSettings, aim: Aim) -> Vec<DataFile> {
    let is_pile = |files: &Vec<DataFile>| {
        files.iter().filter(|file| file.size_bytes() < aim.min_bytes).count() >= settings.auto_min_files.max(2)
    };
    choose::by_partition(files).into_iter().filter(is_pile).flatten().collect()
}
