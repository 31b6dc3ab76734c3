//! What of a feature stands in the files and the log of the newest version, and how it goes: one version, whose rows are what they were.
//!
//! **Source**: the reference implementation, `PreDowngradeTableFeatureCommand`.

use boathouse_delta_protocol::action::{Add, DomainMetadata, Metadata};
use boathouse_delta_protocol::clustering::{CLUSTERING_DOMAIN, clustering_domain};
use boathouse_delta_protocol::features::{Downgrade, FeatureTraces, ROW_TRACKING_SUSPENDED};

use super::rewrite::{Rewritten, rewrite, with_old_types};
use crate::error::{DeltaError, Result};
use crate::snapshot::Snapshot;
use crate::transaction::Transaction;

/// By which a table relies on row ids.
const ROW_TRACKING: &str = "delta.enableRowTracking";

/// Takes away what is planned. How many files were written again.
///
/// **Errors**: `TooManyAttempts` when another writer was faster, and all is to be looked at again.
pub(super) async fn remove_traces(snapshot: &Snapshot, feature: &str, planned: Downgrade) -> Result<u64> {
    let Downgrade { traces, configuration, schema, .. } = planned;
    let metadata = Metadata { configuration, schema_string: schema.to_json(), ..snapshot.metadata().clone() };
    match traces {
        FeatureTraces::None => Ok(0),
        FeatureTraces::Domains => remove_domains(snapshot).await,
        FeatureTraces::RowIds => suspend_row_ids(snapshot).await,
        FeatureTraces::OldTypes => {
            let files = with_old_types(snapshot).await?;
            let rewritten = rewrite(snapshot, &metadata, files).await?;
            let transaction = Transaction::begin(snapshot).read_metadata().set_metadata(metadata);
            let facts = [("predicate", "[]".to_owned()), ("feature", feature.to_owned())];
            exchange(snapshot, rewritten, transaction.operation("REORG", facts)).await
        }
        FeatureTraces::ColumnNames => {
            let rewritten = rewrite(snapshot, &metadata, snapshot.files(None).await?).await?;
            // Files that another writer adds meanwhile have other names.
            let transaction = Transaction::begin(snapshot).read_whole_table().read_metadata().set_metadata(metadata);
            let transaction = match snapshot.state().domain_metadata.contains_key(CLUSTERING_DOMAIN) {
                true => transaction.read_domain(CLUSTERING_DOMAIN).domain_metadata(clustering_by_shown_names(snapshot)?),
                false => transaction,
            };
            exchange(snapshot, rewritten, transaction.operation("REMOVE COLUMN MAPPING", [])).await
        }
    }
}

/// The columns by which the table is clustered, by the names that users see.
fn clustering_by_shown_names(snapshot: &Snapshot) -> Result<DomainMetadata> {
    let columns: Vec<Vec<String>> = snapshot.clustering_columns()?.iter().map(|path| path.names().to_vec()).collect();
    Ok(clustering_domain(&columns))
}

/// Commits files in the place of others, or deletes them.
async fn exchange(snapshot: &Snapshot, rewritten: Rewritten, transaction: Transaction) -> Result<u64> {
    let staged = rewritten.stage(transaction, snapshot.table().env().now_ms());
    match staged.alone().commit().await {
        Ok(_) => Ok(rewritten.files()),
        Err(error) => {
            // A commit whose outcome is not known may name them.
            if !matches!(error, DeltaError::CommitUnknown { .. }) {
                rewritten.discard(snapshot).await;
            }
            Err(error)
        }
    }
}

async fn remove_domains(snapshot: &Snapshot) -> Result<u64> {
    let domains = &snapshot.state().domain_metadata;
    let transaction = domains.values().fold(Transaction::begin(snapshot), |transaction, domain| {
        let removed = DomainMetadata { removed: true, ..domain.clone() };
        transaction.read_domain(removed.domain.clone()).domain_metadata(removed)
    });
    let facts = [("domainMetadataRemovedCount", domains.len().to_string())];
    transaction.operation("DOMAIN METADATA CLEANUP", facts).only_next().commit().await?;
    Ok(0)
}

/// Whether files have row ids in the log, or new ones would get some.
pub(super) async fn listed_with_row_ids(snapshot: &Snapshot) -> Result<bool> {
    let properties = snapshot.properties();
    if properties.enable_row_tracking || !properties.row_tracking_suspended {
        return Ok(true);
    }
    Ok(snapshot.files(None).await?.iter().any(|file| has_row_ids(file.add())))
}

fn has_row_ids(add: &Add) -> bool {
    add.base_row_id.is_some() || add.default_row_commit_version.is_some()
}

/// Gives no row ids from here on, and lists all files without theirs.
///
/// **Source**: Delta protocol, "Row Tracking"; the reference implementation, `RowTrackingUnBackfillCommand`.
async fn suspend_row_ids(snapshot: &Snapshot) -> Result<u64> {
    let mut metadata = snapshot.metadata().clone();
    metadata.configuration.retain(|key, _| ![ROW_TRACKING, ROW_TRACKING_SUSPENDED].iter().any(|k| k.eq_ignore_ascii_case(key)));
    metadata.configuration.insert(ROW_TRACKING.to_owned(), "false".to_owned());
    metadata.configuration.insert(ROW_TRACKING_SUSPENDED.to_owned(), "true".to_owned());
    let without = |add: &Add| Add { base_row_id: None, default_row_commit_version: None, data_change: false, ..add.clone() };
    let files = snapshot.files(None).await?;
    let adds: Vec<Add> = files.iter().filter(|file| has_row_ids(file.add())).map(|file| without(file.add())).collect();
    let transaction = Transaction::begin(snapshot).read_metadata().set_metadata(metadata).add_all(adds).keeps_row_ids();
    transaction.operation("ROW TRACKING UNBACKFILL", [("batchId", "0".to_owned())]).only_next().commit().await?;
    Ok(0)
}
