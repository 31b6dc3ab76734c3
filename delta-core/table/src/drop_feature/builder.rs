//! The builder of a drop, and its steps in order.

use boathouse_delta_protocol::action::{Metadata, Protocol};
use boathouse_delta_protocol::features::{
    self, CHECKPOINT_PROTECTION, Downgrade, DropProblem, FEATURE_PREFIX, FeatureHistory, PROTECTED_BEFORE, protocol_upgrade,
};

use super::history::{KEPT, truncate, with_vector};
use super::vectors::name_vectors;
use crate::checkpoint::CheckpointForm;
use crate::error::{DeltaError, FeatureProblem, OnTable, Result};
use crate::log_cleanup::refuse_managed;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::transaction::Transaction;

/// Checkpoints between versions that need the feature, and those that do not. The reference reader goes back so far when one of them
/// is damaged.
const BARRIER: usize = 3;
/// How often a change that must be the very next version is tried.
const MAX_ATTEMPTS: u32 = 100;

/// What happens to earlier versions that need the feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Earlier {
    Protect,
    Truncate,
}

/// Takes a feature from a table. Made by [`DeltaTable::drop_feature`].
///
/// | feature | what happens |
/// | --- | --- |
/// | one that only writers must know, and nothing uses | it leaves the protocol |
/// | enabled by a property, such as `delta.appendOnly` | the property goes along |
/// | `deletionVectors`, `v2Checkpoint`, `typeWidening` and others that readers must know | earlier versions stay, behind protected checkpoints (`checkpointProtection`); or go, with [`truncate_history`](Self::truncate_history) |
/// | `columnMapping` in use, `rowTracking`, `clustering`, types that were widened, tables of a catalog | refused: every file would have to be written again |
///
/// Files with deletion vectors must be written again before, which is for an engine to do. Vectors that earlier versions need are listed as
/// removed files: a vacuum by a client that does not know vectors spares them as long as those versions.
///
/// # Example
/// ```
/// # use arrow_schema::{DataType, Field, Schema};
/// # use boathouse_delta_table::{DeltaError, DeltaTable};
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
/// table.create(schema).property("delta.enableDeletionVectors", "true").run().await?;
/// let report = table.drop_feature("deletionVectors").run().await?;
/// assert_eq!(report.protocol.min_reader_version, 1);
/// assert!(report.protected_before.is_some());
/// # Ok::<_, DeltaError>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "nothing is dropped before `run`"]
pub struct DropFeatureBuilder {
    table: DeltaTable,
    feature: String,
    earlier: Earlier,
}

/// What dropping a feature did.
#[derive(Debug, Clone, PartialEq)]
pub struct DropFeatureReport {
    /// The first version without it.
    pub version: u64,
    /// What clients must be able to do from now on.
    pub protocol: Protocol,
    /// Checkpoints before this version are protected now, because older versions need the feature.
    pub protected_before: Option<u64>,
}

impl DropFeatureBuilder {
    pub(crate) fn new(table: DeltaTable, feature: String) -> Self {
        Self { table, feature, earlier: Earlier::Protect }
    }

    /// Deletes versions that are older than a day first, and demands that none which is left needs the feature. Without it,
    /// they stay, and `checkpointProtection` is demanded of writers.
    pub fn truncate_history(mut self) -> Self {
        self.earlier = Earlier::Truncate;
        self
    }

    /// Drops the feature.
    ///
    /// **Errors**: `Invalid` names what uses or needs the feature, the file with a deletion vector, or the version that is left and
    /// needs it (wait until it is a day old, and do it again); `Unsupported` when it cannot be dropped; `Conflict` when others change
    /// the table all the time. After an error, its properties may be off already; nothing else has changed.
    ///
    /// **Cost**: one commit; for a feature that readers must know, the properties' commit, one for
    /// `deletionVectors` that lists vectors, three empty commits, and four checkpoints.
    pub async fn run(self) -> Result<DropFeatureReport> {
        let Self { table, feature, earlier } = self;
        let snapshot = table.snapshot().await?;
        refuse_managed(&snapshot, "drop a feature of")?;
        let planned = plan(&snapshot, &feature, earlier).await?;
        let barrier = planned.history == FeatureHistory::Needs || feature == CHECKPOINT_PROTECTION;
        if barrier {
            if planned.configuration != snapshot.metadata().configuration && feature != CHECKPOINT_PROTECTION {
                let metadata = Metadata { configuration: planned.configuration, ..snapshot.metadata().clone() };
                let transaction = Transaction::begin(&snapshot).read_metadata().set_metadata(metadata);
                let facts = [("properties", serde_json::json!({"feature": feature}).to_string())];
                transaction.operation("UNSET TBLPROPERTIES", facts).alone().commit().await?;
            }
            if feature == "deletionVectors" {
                name_vectors(&table).await?;
            }
            let checkpoints = if earlier == Earlier::Protect { BARRIER } else { 1 };
            for _ in 0..checkpoints {
                let snapshot = table.snapshot().await?;
                Transaction::begin(&snapshot).operation("EMPTY COMMIT", []).alone().commit().await?;
                table.checkpoint().form(CheckpointForm::Classic).run().await?;
            }
        }
        if barrier
            && earlier == Earlier::Truncate
            && let Some(version) = truncate(&table, &feature).await?
        {
            let hours = KEPT.as_secs() / 3600;
            return Err(refused(table.url(), &feature, FeatureProblem::HistoryNeeds { version, hours }));
        }
        let protects = barrier && earlier == Earlier::Protect;
        let mut attempt = 0;
        let report = loop {
            attempt += 1;
            match drop_now(&table, &feature, earlier, protects).await {
                // Another writer was faster: what it did may use the feature.
                Err(DeltaError::TooManyAttempts { .. }) if attempt < MAX_ATTEMPTS => {}
                done => break done?,
            }
        };
        if protects {
            table.checkpoint().form(CheckpointForm::Classic).run().await?;
        }
        Ok(report)
    }
}

fn refused(url: &str, feature: &str, problem: FeatureProblem) -> DeltaError {
    DeltaError::CannotDropFeature { url: url.to_owned(), feature: feature.to_owned(), problem }
}

/// The table without the feature, when nothing in this version uses it.
async fn plan(snapshot: &Snapshot, feature: &str, earlier: Earlier) -> Result<Downgrade> {
    let url = snapshot.url();
    features::check_write(snapshot.protocol(), snapshot.metadata()).on(url)?;
    let domains: Vec<&str> = snapshot.state().domain_metadata.keys().map(String::as_str).collect();
    let planned = features::downgrade(snapshot.protocol(), snapshot.metadata(), &domains, feature).on(url)?;
    let planned = planned.map_err(|problem| refused(url, feature, FeatureProblem::Table(problem)))?;
    if feature == CHECKPOINT_PROTECTION && earlier == Earlier::Protect {
        return Err(refused(url, feature, FeatureProblem::Table(DropProblem::ProtectsHistory)));
    }
    if feature == "deletionVectors"
        && let Some(path) = with_vector(snapshot).await?
    {
        return Err(refused(url, feature, FeatureProblem::HasVectors { path }));
    }
    Ok(planned)
}

/// Drops the feature as the version after the newest one.
async fn drop_now(table: &DeltaTable, feature: &str, earlier: Earlier, protects: bool) -> Result<DropFeatureReport> {
    let snapshot = table.snapshot().await?;
    let Downgrade { mut protocol, mut configuration, .. } = plan(&snapshot, feature, earlier).await?;
    let next = snapshot.version() + 1;
    if protects {
        configuration.retain(|key, _| !key.eq_ignore_ascii_case(PROTECTED_BEFORE));
        configuration.insert(PROTECTED_BEFORE.to_owned(), next.to_string());
        let asked = [(format!("{FEATURE_PREFIX}{CHECKPOINT_PROTECTION}"), "supported".to_owned())].into();
        if let Some(upgraded) = protocol_upgrade(&protocol, snapshot.delta_schema(), &asked).on(table.url())? {
            protocol = upgraded;
        }
    }
    let transaction = Transaction::begin(&snapshot).read_metadata().set_protocol(protocol.clone());
    let transaction = match configuration == snapshot.metadata().configuration {
        true => transaction,
        false => transaction.set_metadata(Metadata { configuration, ..snapshot.metadata().clone() }),
    };
    let parameters = [("featureName", feature.to_owned()), ("truncateHistory", (earlier == Earlier::Truncate).to_string())];
    let report = transaction.operation("DROP FEATURE", parameters).only_next().commit().await?;
    Ok(DropFeatureReport { version: report.version, protocol, protected_before: protects.then_some(next) })
}
