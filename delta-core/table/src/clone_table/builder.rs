//! The builder of a clone, and its steps in order.

use std::collections::BTreeMap;

use boathouse_base::{AppTransaction, TableVersion};
use futures::{StreamExt, TryStreamExt};

use super::definition::{Definition, define};
use super::plan::{self, Copied, Plan};
use crate::deletion::delete_all;
use crate::error::{CloneProblem, DeltaError, Result};
use crate::scan::DataFile;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::transaction::Transaction;
use crate::write::upload::copy_object;

/// Objects that are copied at once.
const AT_ONCE: usize = 8;

/// What of the source a clone has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CloneDepth {
    /// Its files, copied: nothing that happens to the source matters any more.
    #[default]
    Deep,
    /// The log alone: it names the files of the source.
    Shallow,
}

/// What happens when there is a table where the clone is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfExists {
    Fail,
    Leave,
    Replace,
}

/// Makes another table of a version of this one. Made by [`DeltaTable::clone_to`].
///
/// The clone has the schema, the partitions, the properties, the protocol and the ids of columns of its source, and a history of its
/// own. Its rows have new row ids. Name and description are not taken over.
///
/// # Vacuum
/// A **shallow** clone reads files that belong to the source. A vacuum of the source deletes files that its own versions within the
/// retention do not need, and knows nothing of clones: after that, the clone fails with `NotFound` where it needs one of them. Keep the
/// retention of the source longer than the clone lives, or make it deep. A vacuum of the clone deletes files of the clone alone.
/// A **deep** clone depends on nothing.
///
/// # Example
/// ```
/// # use boathouse_base::ScanRequest;
/// # use boathouse_delta_table::{DeltaError, DeltaTable};
/// # use boathouse_storage::{Storage, system_env};
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let store = Storage::memory();
/// # let flights = DeltaTable::at(store.at("flights"), system_env());
/// # let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap();
/// # flights.append(batch.into()).create_if_absent().run().await?;
/// let trial = DeltaTable::at(store.at("trial"), system_env());
/// let report = flights.clone_to(&trial).shallow().run().await?;
/// assert_eq!((report.version, report.files, report.files_copied), (0, 1, 0));
/// assert_eq!(trial.snapshot().await?.row_count().await?, Some(2));
/// # Ok::<_, DeltaError>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "nothing is cloned before `run`"]
pub struct CloneBuilder {
    source: DeltaTable,
    target: DeltaTable,
    version: TableVersion,
    depth: CloneDepth,
    if_exists: IfExists,
    name: Option<String>,
    properties: BTreeMap<String, String>,
}

/// What a clone did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloneReport {
    /// The version of the clone.
    pub version: u64,
    /// The version of the source.
    pub source_version: u64,
    /// Whether there was no table before.
    pub created: bool,
    /// Files of the source.
    pub files: u64,
    /// Their bytes, by the log.
    pub bytes: u64,
    /// Data files that were copied.
    pub files_copied: u64,
    /// Their bytes.
    pub bytes_copied: u64,
    /// Files that left the clone.
    pub files_removed: u64,
}

impl CloneBuilder {
    pub(crate) fn new(source: DeltaTable, target: DeltaTable) -> Self {
        Self {
            source,
            target,
            version: TableVersion::Latest,
            depth: CloneDepth::default(),
            if_exists: IfExists::Fail,
            name: None,
            properties: BTreeMap::new(),
        }
    }

    /// Clones this version in place of the newest one.
    pub fn at(mut self, version: TableVersion) -> Self {
        self.version = version;
        self
    }

    /// Names the files of the source, and copies none.
    pub fn shallow(self) -> Self {
        self.depth(CloneDepth::Shallow)
    }

    /// Copies files, or only names them.
    pub fn depth(mut self, depth: CloneDepth) -> Self {
        self.depth = depth;
        self
    }

    /// Replaces a table that is there, as a new version of it. What an earlier clone of the same source copied is not copied again.
    pub fn or_replace(mut self) -> Self {
        self.if_exists = IfExists::Replace;
        self
    }

    /// Leaves a table that is there as it is.
    pub fn if_not_exists(mut self) -> Self {
        self.if_exists = IfExists::Leave;
        self
    }

    /// Names the clone.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets a property of the clone, whatever the source has.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(key.into(), value.into());
        self
    }

    /// Clones. The clone is there as a whole afterwards, or everything is as it was.
    ///
    /// **Errors**: `NotFound` without the source, its version, or one of its files; `AlreadyExists`; `Invalid` when one table lies
    /// within the other, or the column mapping would change; `Unsupported` when the clone is shallow and cannot reach the files;
    /// `Conflict` when another writer changed the clone meanwhile.
    ///
    /// **Cost**: one commit; deep: each new file is read and written once, or copied by the store where both tables are in one. After
    /// a failure, the copies are deleted.
    pub async fn run(self) -> Result<CloneReport> {
        let Self { source, target, version, depth, if_exists, name, properties } = self;
        let url = target.url().to_owned();
        if nested(source.url(), &url) {
            return Err(DeltaError::CannotClone { url, problem: CloneProblem::Nested { source_url: source.url().to_owned() } });
        }
        let now = target.try_snapshot().await?;
        let from = source.snapshot_at(version).await?;
        let unchanged = |version: u64| CloneReport {
            version,
            source_version: from.version(),
            created: false,
            files: 0,
            bytes: 0,
            files_copied: 0,
            bytes_copied: 0,
            files_removed: 0,
        };
        match (&now, if_exists) {
            (Some(now), IfExists::Fail) => return Err(DeltaError::TableExists { url, version: now.version() }),
            (Some(now), IfExists::Leave) => return Ok(unchanged(now.version())),
            _ => {}
        }
        let definition = define(&from, &target, now.as_ref(), name, &properties)?;
        let files = from.files(None).await?;
        let known = match &now {
            Some(now) => now.files(None).await?,
            None => Vec::new(),
        };
        let plan = match depth {
            CloneDepth::Shallow => plan::shallow(&from, &files, known)?,
            CloneDepth::Deep => plan::deep(&from, &files, &target, known)?,
        };
        if depth == CloneDepth::Shallow {
            plan::check_reach(target.storage(), &from, plan.adds.first()).await?;
        }
        let data = || plan.copies.iter().filter_map(|copied| copied.size_bytes);
        let report = CloneReport {
            created: now.is_none(),
            files: files.len() as u64,
            bytes: DataFile::total_bytes(&files),
            files_copied: data().count() as u64,
            bytes_copied: data().fold(0, u64::saturating_add),
            files_removed: plan.removes.len() as u64,
            ..unchanged(0)
        };
        let done = async {
            copy_all(&from, &target, &plan.copies).await?;
            commit(&from, &target, now.as_ref(), depth, definition, &plan, &report).await
        };
        match done.await {
            Ok(version) => Ok(CloneReport { version, ..report }),
            Err(error) => {
                // A commit whose outcome is not known may name them.
                if !matches!(error, DeltaError::CommitUnknown { .. }) {
                    discard(&target, &plan.copies).await;
                }
                match error {
                    DeltaError::CreatedMeanwhile { .. } if if_exists == IfExists::Leave => {
                        Ok(unchanged(target.snapshot().await?.version()))
                    }
                    error => Err(error),
                }
            }
        }
    }
}

/// Whether one folder lies within the other, or is it: a vacuum of the one would delete the other.
fn nested(a: &str, b: &str) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

async fn copy_all(from: &Snapshot, target: &DeltaTable, copies: &[Copied]) -> Result<()> {
    let (here, there) = (from.table().storage(), target.storage());
    let copy = |object: &Copied| {
        let (source, to, path) = (object.from.clone(), there.path_of(&object.to), object.path.clone());
        async move {
            copy_object(here, &source, there, to?).await.map(drop).map_err(|source| match source {
                object_store::Error::NotFound { .. } => {
                    DeltaError::DataFileMissing { url: from.url().to_owned(), path, version: from.version() }
                }
                source => DeltaError::Store { attempted: "copy", url: from.url().to_owned(), path, source: Box::new(source) },
            })
        }
    };
    let copied: Vec<_> = copies.iter().map(copy).collect();
    futures::stream::iter(copied).buffer_unordered(AT_ONCE).try_collect().await
}

async fn discard(target: &DeltaTable, copies: &[Copied]) {
    let paths: Vec<String> = copies.iter().map(|object| object.to.clone()).collect();
    if let Err(error) = delete_all(target.storage(), &paths).await {
        tracing::warn!(table = target.url(), %error, "copies of files that no commit names could not be deleted");
    }
}

async fn commit(
    from: &Snapshot,
    target: &DeltaTable,
    now: Option<&Snapshot>,
    depth: CloneDepth,
    definition: Definition,
    plan: &Plan,
    report: &CloneReport,
) -> Result<u64> {
    let Definition { protocol, metadata, domains } = definition;
    let mut transaction = match now {
        None => Transaction::create(target.clone(), protocol.unwrap_or_default(), metadata),
        Some(now) => {
            let transaction = Transaction::begin(now).read_whole_table().read_metadata().set_metadata(metadata);
            protocol.into_iter().fold(transaction, Transaction::set_protocol)
        }
    };
    transaction = domains.into_iter().fold(transaction, Transaction::domain_metadata);
    if depth == CloneDepth::Deep {
        // What applications wrote is here as well: they can go on with the clone.
        for (app_id, known) in &from.state().app_txns {
            let here = now.and_then(|now| now.state().app_txns.get(app_id)).map(|here| here.txn.version);
            if let Ok(version) = u64::try_from(known.txn.version)
                && here != Some(known.txn.version)
            {
                transaction = transaction.app_transaction(&AppTransaction { app_id: app_id.clone(), version, payload: None })?;
            }
        }
    }
    let report = transaction
        .remove_all(&plan.removes)
        .add_all(plan.adds.iter().cloned())
        .operation(
            "CLONE",
            [
                ("source", from.url().to_owned()),
                ("sourceVersion", from.version().to_string()),
                ("isShallow", (depth == CloneDepth::Shallow).to_string()),
            ],
        )
        .metrics([
            ("sourceTableSize", report.bytes),
            ("sourceNumOfFiles", report.files),
            ("numRemovedFiles", report.files_removed),
            ("removedFilesSize", DataFile::total_bytes(&plan.removes)),
            ("numCopiedFiles", report.files_copied),
            ("copiedFilesSize", report.bytes_copied),
        ])
        .alone()
        .commit()
        .await?;
    Ok(report.version)
}
