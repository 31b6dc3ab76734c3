//! Vectors of earlier versions, named for those who will not know what a vector is.
//!
//! A client without `deletionVectors` may vacuum the table when the feature is gone. It spares the data files of removals that are young, and
//! does not see the vectors beside them: versions within the retention would lose theirs. So each of these files is listed as a removed
//! file of its own.
//!
//! **Source**: the reference implementation, `DeletionVectorsPreDowngradeCommand`.

use std::collections::BTreeSet;

use boathouse_delta_protocol::action::{Remove, decode_path, encode_path};
use boathouse_delta_protocol::deletion_vector::VectorLocation;

use crate::error::{OnTable, Result};
use crate::scan::below_table;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::transaction::Transaction;

/// The reference implementation's name of it, by which readers of checksums know that files are listed that never were in the table.
const OPERATION: &str = "Deletion Vector Tombstones";

/// Lists the files of vectors that earlier versions within the retention need as removed files, unless they are. Commits when there are any.
pub(super) async fn name_vectors(table: &DeltaTable) -> Result<()> {
    let snapshot = table.snapshot().await?;
    let now_ms = table.env().now_ms();
    let removes: Vec<Remove> = unnamed(&snapshot, now_ms)
        .await?
        .into_iter()
        .map(|path| Remove {
            path: encode_path(&path),
            deletion_timestamp: Some(now_ms),
            data_change: false,
            ..Remove::default()
        })
        .collect();
    if removes.is_empty() {
        return Ok(());
    }
    let count = removes.len() as u64;
    let transaction = removes.into_iter().fold(Transaction::begin(&snapshot), Transaction::remove_action);
    transaction
        .operation(OPERATION, [])
        .metrics([("dvTombstonesWithinRetentionPeriod", count)])
        .lists_strangers()
        .commit()
        .await?;
    Ok(())
}

/// Paths below the table, as the store has them.
async fn unnamed(snapshot: &Snapshot, now_ms: i64) -> Result<BTreeSet<String>> {
    let (url, storage) = (snapshot.url(), snapshot.table().storage());
    let since_ms =
        now_ms.saturating_sub(i64::try_from(snapshot.properties().deleted_file_retention_us / 1000).unwrap_or(i64::MAX));
    let tombstones = snapshot.tombstones().await?;
    let mut named = BTreeSet::new();
    let mut vectors = BTreeSet::new();
    for remove in &tombstones {
        let Some(vector) = &remove.deletion_vector else {
            named.insert(decode_path(&remove.path).on(url)?.into_owned());
            continue;
        };
        // One without a time may be young.
        if remove.deletion_timestamp.is_none_or(|at_ms| at_ms > since_ms)
            && let VectorLocation::InTable(path) | VectorLocation::Absolute(path) = vector.location().on(url)?
        {
            vectors.extend(below_table(storage, &path));
        }
    }
    vectors.retain(|path| !named.contains(path));
    Ok(vectors)
}
