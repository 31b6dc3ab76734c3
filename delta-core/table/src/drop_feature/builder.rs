//! The builder of a drop, and its steps in order.

use boathouse_delta_protocol::action::{DomainMetadata, Metadata, Protocol};
use boathouse_delta_protocol::features::{
    self, CHECKPOINT_PROTECTION, Downgrade, DropProblem, FEATURE_PREFIX, FeatureHistory, FeatureTraces, PROTECTED_BEFORE,
    protocol_upgrade,
};

use super::history::{KEPT, truncate, with_vector};
use super::traces::{listed_with_row_ids, remove_traces};
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
/// | `columnMapping` in use | all files are written again with the names that users see, as one version; then as above |
/// | `typeWidening`, and types were widened | files that were written before are written again, and columns forget their earlier types |
/// | `rowTracking` | files are listed without row ids; then it leaves, with its properties and its domain |
/// | `domainMetadata` | all domains are removed before |
/// | `clustering`, `catalogManaged` | refused: nobody drops them |
///
/// Rows are what they were, and change readers see nothing. Files with deletion vectors must be written again before, which is for an engine to do. Vectors that earlier versions need are listed as
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
    /// Files that were written again, because they were written for the feature.
    pub files_rewritten: u64,
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
    /// needs it (wait until it is a day old, and do it again), or a column whose name needs a mapping; `Unsupported` when it cannot be
    /// dropped; `Conflict` when others change the table all the time, or while files are written again. After an error, its properties may
    /// be off already, and files written again; rows have not changed.
    ///
    /// **Cost**: one commit; files are read and written once where the table above says so, one at a time; for a feature that readers must know, the properties' commit, one for
    /// `deletionVectors` that lists vectors, three empty commits, and four checkpoints.
    pub async fn run(self) -> Result<DropFeatureReport> {
        let Self { table, feature, earlier } = self;
        let snapshot = table.snapshot().await?;
        refuse_managed(&snapshot, "drop a feature of")?;
        let planned = plan(&snapshot, &feature, earlier).await?;
        let mut files_rewritten = 0;
        let (snapshot, planned) = match planned.traces {
            FeatureTraces::None => (snapshot, planned),
            _ => {
                files_rewritten += settle(&table, &feature, earlier).await?;
                let snapshot = table.snapshot().await?;
                let planned = plan(&snapshot, &feature, earlier).await?;
                (snapshot, planned)
            }
        };
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
                Ok(None) if attempt < MAX_ATTEMPTS => files_rewritten += settle(&table, &feature, earlier).await?,
                Err(DeltaError::TooManyAttempts { .. }) if attempt < MAX_ATTEMPTS => {}
                Ok(Some(report)) => break DropFeatureReport { files_rewritten, ..report },
                Ok(None) => {
                    let version = table.snapshot().await?.version();
                    return Err(DeltaError::TooManyAttempts { url: table.url().to_owned(), attempts: attempt, version });
                }
                Err(error) => return Err(error),
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

/// Takes away what stands in files and log of the newest version, until nothing does. How many files were written again.
async fn settle(table: &DeltaTable, feature: &str, earlier: Earlier) -> Result<u64> {
    let (mut attempt, mut rewritten) = (0, 0);
    loop {
        attempt += 1;
        let snapshot = table.snapshot().await?;
        let planned = plan(&snapshot, feature, earlier).await?;
        if planned.traces == FeatureTraces::None {
            return Ok(rewritten);
        }
        match remove_traces(&snapshot, feature, planned).await {
            Ok(files) => rewritten += files,
            // Another writer was faster.
            Err(DeltaError::TooManyAttempts { .. }) if attempt < MAX_ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
}

/// The table without the feature, and what of it stands in this version.
async fn plan(snapshot: &Snapshot, feature: &str, earlier: Earlier) -> Result<Downgrade> {
    let url = snapshot.url();
    features::check_write(snapshot.protocol(), snapshot.metadata()).on(url)?;
    let domains: Vec<&str> = snapshot.state().domain_metadata.keys().map(String::as_str).collect();
    let planned = features::downgrade(snapshot.protocol(), snapshot.metadata(), &domains, feature).on(url)?;
    let mut planned = planned.map_err(|problem| refused(url, feature, FeatureProblem::Table(problem)))?;
    if planned.traces == FeatureTraces::RowIds && !listed_with_row_ids(snapshot).await? {
        planned.traces = FeatureTraces::None;
    }
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

/// Drops the feature as the version after the newest one; nothing when something of it stands there again.
async fn drop_now(table: &DeltaTable, feature: &str, earlier: Earlier, protects: bool) -> Result<Option<DropFeatureReport>> {
    let snapshot = table.snapshot().await?;
    let planned = plan(&snapshot, feature, earlier).await?;
    if planned.traces != FeatureTraces::None {
        return Ok(None);
    }
    let Downgrade { mut protocol, mut configuration, schema, domains, .. } = planned;
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
    let mut transaction = match configuration == snapshot.metadata().configuration && schema == *snapshot.delta_schema() {
        true => transaction,
        false => {
            let schema_string = schema.to_json();
            transaction.set_metadata(Metadata { configuration, schema_string, ..snapshot.metadata().clone() })
        }
    };
    let known = &snapshot.state().domain_metadata;
    for domain in domains.iter().filter_map(|name| known.get(name)) {
        transaction = transaction.domain_metadata(DomainMetadata { removed: true, ..domain.clone() });
    }
    let parameters = [("featureName", feature.to_owned()), ("truncateHistory", (earlier == Earlier::Truncate).to_string())];
    let report = transaction.operation("DROP FEATURE", parameters).only_next().commit().await?;
    let protected_before = protects.then_some(next);
    Ok(Some(DropFeatureReport { version: report.version, protocol, protected_before, files_rewritten: 0 }))
}
