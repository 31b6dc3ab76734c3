//! Conflicts: whether a transaction still holds after another one was faster.
//!
//! A transaction reads a version, stages actions, and tries to commit them as the next version. When that version
//! is taken, its actions (the *winner's*) are checked against what was read and staged; without a conflict the
//! transaction moves behind the winner and tries the version after it.
//!
//! | winner did | this transaction | |
//! | --- | --- | --- |
//! | change the protocol | anything | conflict |
//! | change schema, partitioning or a property that matters | anything | conflict |
//! | change name, description or a property that writers do not act on | stages no metadata, and did not read it | fine |
//! | add rows | read nothing (a blind append), or only rearranges rows | fine |
//! | add rows | read the whole table, or a predicate that the new file may match | conflict |
//! | add rows, as a blind append | the same, under `WriteSerializable`, without staging metadata | fine |
//! | rearrange rows (`dataChange` false) | read them | fine: they are the same rows |
//! | remove rows | read nothing | fine |
//! | remove rows | read the file, the whole table, or a predicate that the file may match | conflict |
//! | remove a file, even to rearrange it | removes or changes the same file | conflict |
//! | write a `txn` or a domain | writes or has read the same one | conflict |
//!
//! So an append never loses against appends, deletes or compaction.
//!
//! **Source**: Delta documentation, "Concurrency control"; Delta protocol, "Domain Metadata".

use std::collections::{BTreeMap, BTreeSet};

use boathouse_base::{DomainError, ErrorKind, Predicate};

use crate::action::{Action, Add, Metadata, Remove};
use crate::files::FileIndex;
use crate::properties::IsolationLevel;
use crate::schema::{ColumnMappingMode, StructType};
use crate::stats::BoundsReader;

/// What a transaction has read of the table. Empty: nothing, as a blind append.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reads {
    /// All rows.
    pub whole_table: bool,
    /// The rows that match one of these.
    pub predicates: Vec<Predicate>,
    /// The rows of these files, by path as it stands in the log.
    pub files: BTreeSet<String>,
    /// The `txn` of these writers.
    pub app_ids: BTreeSet<String>,
    /// These metadata domains.
    pub domains: BTreeSet<String>,
    /// Schema, properties or other metadata, in a way that no change of them is harmless.
    pub metadata: bool,
}

/// A commit that was faster.
#[derive(Debug, Clone, Copy)]
pub struct Winner<'a> {
    /// Its version.
    pub version: u64,
    /// Its actions.
    pub actions: &'a [Action],
}

/// Another transaction was faster, and what it did cannot be reconciled with this one. Read again, and retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// The winner changed the protocol.
    #[error("commit: version {version} ({operation}) changed the protocol of the table; read the table again and retry")]
    ProtocolChanged {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
    },
    /// The winner changed schema, partitioning or properties.
    #[error("commit: version {version} ({operation}) changed the {change} of the table; read the table again and retry")]
    MetadataChanged {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
        /// What it changed.
        change: String,
    },
    /// The winner added rows that this transaction should have read.
    #[error("commit: version {version} ({operation}) added file `{path}`, which {read}; read the table again and retry")]
    ConcurrentAppend {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
        /// The file.
        path: String,
        /// How it touches what was read.
        read: ReadScope,
    },
    /// The winner removed rows that this transaction has read.
    #[error("commit: version {version} ({operation}) removed file `{path}`, which {read}; read the table again and retry")]
    ConcurrentDeleteRead {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
        /// The file.
        path: String,
        /// How it touches what was read.
        read: ReadScope,
    },
    /// The winner removed a file that this transaction removes or changes as well.
    #[error(
        "commit: version {version} ({operation}) removed file `{path}`, which this transaction removes or changes as well; read the table again and retry"
    )]
    ConcurrentDeleteDelete {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
        /// The file.
        path: String,
    },
    /// The winner wrote for the same application.
    #[error(
        "commit: version {version} ({operation}) committed transaction {txn_version} of application `{app_id}`, which this transaction read or writes; read it again"
    )]
    ConcurrentTransaction {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
        /// The application.
        app_id: String,
        /// The number that the winner wrote.
        txn_version: i64,
    },
    /// The winner wrote the same metadata domain.
    #[error(
        "commit: version {version} ({operation}) wrote the metadata domain `{domain}`, which this transaction read or writes; read it again"
    )]
    ConcurrentDomain {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
        /// The domain.
        domain: String,
    },
}

/// How a file touches what a transaction has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadScope {
    /// The whole table was read.
    WholeTable,
    /// A predicate was read that rows of the file may match.
    Predicate,
    /// The file itself was read.
    File,
}

impl std::fmt::Display for ReadScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::WholeTable => "is part of the table, all of which this transaction read",
            Self::Predicate => "may hold rows that this transaction looked for",
            Self::File => "this transaction read",
        })
    }
}

impl Conflict {
    /// The winner's version.
    pub fn version(&self) -> u64 {
        match self {
            Self::ProtocolChanged { version, .. }
            | Self::MetadataChanged { version, .. }
            | Self::ConcurrentAppend { version, .. }
            | Self::ConcurrentDeleteRead { version, .. }
            | Self::ConcurrentDeleteDelete { version, .. }
            | Self::ConcurrentTransaction { version, .. }
            | Self::ConcurrentDomain { version, .. } => *version,
        }
    }
}

impl DomainError for Conflict {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Conflict
    }
}

/// A transaction that wants to move behind winners: what it read, and what it stages.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::action::{Action, Add, Metadata};
/// use boathouse_delta_protocol::conflict::{Attempt, Conflict, Reads, Winner};
/// use boathouse_delta_protocol::properties::IsolationLevel;
/// use boathouse_delta_protocol::schema::{ColumnMappingMode, StructType};
///
/// let file = |path: &str| Action::from(Add { path: path.to_owned(), data_change: true, ..Add::default() });
/// let (metadata, schema) = (Metadata::default(), StructType::default());
/// let (staged, won) = ([file("mine")], [file("theirs")]);
/// let winner = Winner { version: 7, actions: &won };
///
/// let attempt = |reads| Attempt::new(reads, &staged, IsolationLevel::Serializable, &metadata, &schema, ColumnMappingMode::None);
/// let (nothing, all) = (Reads::default(), Reads { whole_table: true, ..Reads::default() });
/// assert_eq!(attempt(&nothing).check(&winner), Ok(()));
/// assert!(matches!(attempt(&all).check(&winner), Err(Conflict::ConcurrentAppend { version: 7, .. })));
/// ```
#[derive(Debug)]
pub struct Attempt<'a> {
    reads: &'a Reads,
    isolation: IsolationLevel,
    metadata: &'a Metadata,
    files: Option<&'a FileIndex>,
    bounds: BoundsReader,
    stages_metadata: bool,
    /// It has file actions, and none of them changes data.
    rearranges: bool,
    /// Paths that must still be in the table: removed, or added again with other facts.
    touched: BTreeSet<&'a str>,
    app_ids: BTreeSet<&'a str>,
    domains: BTreeSet<&'a str>,
}

impl<'a> Attempt<'a> {
    /// `metadata`, `schema` and `mode` are those of the version that was read.
    pub fn new(
        reads: &'a Reads,
        actions: &'a [Action],
        isolation: IsolationLevel,
        metadata: &'a Metadata,
        schema: &StructType,
        mode: ColumnMappingMode,
    ) -> Self {
        let bounds = BoundsReader::for_predicates(schema, &metadata.partition_columns, mode, &reads.predicates);
        let mut attempt = Self {
            reads,
            isolation,
            metadata,
            files: None,
            bounds,
            stages_metadata: false,
            rearranges: false,
            touched: BTreeSet::new(),
            app_ids: reads.app_ids.iter().map(String::as_str).collect(),
            domains: reads.domains.iter().map(String::as_str).collect(),
        };
        let (mut file_actions, mut data_changes) = (0, 0);
        for action in actions {
            let data_change = match action {
                Action::Add(add) => {
                    attempt.touched.insert(&add.path);
                    add.data_change
                }
                Action::Remove(remove) => {
                    attempt.touched.insert(&remove.path);
                    remove.data_change
                }
                Action::Metadata(_) => {
                    attempt.stages_metadata = true;
                    continue;
                }
                Action::Txn(txn) => {
                    attempt.app_ids.insert(&txn.app_id);
                    continue;
                }
                Action::DomainMetadata(domain) => {
                    attempt.domains.insert(&domain.domain);
                    continue;
                }
                _ => continue,
            };
            file_actions += 1;
            data_changes += usize::from(data_change);
        }
        attempt.rearranges = file_actions > 0 && data_changes == 0;
        attempt
    }

    /// Gives the files of the version that was read, so that a removed file is judged by what was known of it
    /// and not only by what the winner says of it.
    #[must_use]
    pub fn with_files(mut self, files: &'a FileIndex) -> Self {
        self.files = Some(files);
        self
    }

    /// Checks against one winner.
    ///
    /// **Errors**: the first conflict, with the winner's version and operation.
    ///
    /// **Cost**: one pass over the winner's actions; with predicates, its files' statistics are parsed.
    pub fn check(&self, winner: &Winner<'_>) -> Result<(), Conflict> {
        let version = winner.version;
        let info = winner.actions.iter().find_map(|a| match a {
            Action::CommitInfo(info) => Some(info),
            _ => None,
        });
        let operation = || info.and_then(|i| i.operation.clone()).unwrap_or_else(|| "unknown operation".to_owned());
        let blind_append = info.is_some_and(|i| i.is_blind_append == Some(true));
        for action in winner.actions {
            match action {
                Action::Protocol(_) => return Err(Conflict::ProtocolChanged { version, operation: operation() }),
                Action::Metadata(changed) => {
                    if let Some(change) = self.metadata_change(changed) {
                        return Err(Conflict::MetadataChanged { version, operation: operation(), change });
                    }
                }
                _ => {}
            }
        }
        let overlooks_appends =
            self.rearranges || (blind_append && self.isolation == IsolationLevel::WriteSerializable && !self.stages_metadata);
        if !overlooks_appends {
            let adds = winner.actions.iter().filter_map(|a| match a {
                Action::Add(add) if add.data_change => Some(add),
                _ => None,
            });
            for add in adds {
                if let Some(read) = self.reads_added(add) {
                    return Err(Conflict::ConcurrentAppend { version, operation: operation(), path: add.path.clone(), read });
                }
            }
        }
        let removes = || {
            winner.actions.iter().filter_map(|a| match a {
                Action::Remove(remove) => Some(remove),
                _ => None,
            })
        };
        if !self.rearranges {
            for remove in removes().filter(|r| r.data_change) {
                if let Some(read) = self.reads_removed(remove) {
                    return Err(Conflict::ConcurrentDeleteRead {
                        version,
                        operation: operation(),
                        path: remove.path.clone(),
                        read,
                    });
                }
            }
        }
        if let Some(remove) = removes().find(|r| self.touched.contains(r.path.as_str())) {
            return Err(Conflict::ConcurrentDeleteDelete { version, operation: operation(), path: remove.path.clone() });
        }
        for action in winner.actions {
            match action {
                Action::Txn(txn) if self.app_ids.contains(txn.app_id.as_str()) => {
                    return Err(Conflict::ConcurrentTransaction {
                        version,
                        operation: operation(),
                        app_id: txn.app_id.clone(),
                        txn_version: txn.version,
                    });
                }
                Action::DomainMetadata(domain) if self.domains.contains(domain.domain.as_str()) => {
                    return Err(Conflict::ConcurrentDomain { version, operation: operation(), domain: domain.domain.clone() });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn reads_added(&self, add: &Add) -> Option<ReadScope> {
        if self.reads.whole_table {
            return Some(ReadScope::WholeTable);
        }
        if self.reads.predicates.is_empty() {
            return None;
        }
        let bounds = self.bounds.of_add(add);
        self.reads.predicates.iter().any(|p| p.may_match(&bounds)).then_some(ReadScope::Predicate)
    }

    fn reads_removed(&self, remove: &Remove) -> Option<ReadScope> {
        if self.reads.files.contains(&remove.path) {
            return Some(ReadScope::File);
        }
        if self.reads.whole_table {
            return Some(ReadScope::WholeTable);
        }
        if self.reads.predicates.is_empty() {
            return None;
        }
        // A file that came after the version that was read was judged when it came.
        let known = self.files.and_then(|files| files.get(&remove.path));
        let bounds = match known {
            Some(file) => self.bounds.of_file(&file),
            None => self.bounds.of_remove(remove),
        };
        self.reads.predicates.iter().any(|p| p.may_match(&bounds)).then_some(ReadScope::Predicate)
    }

    /// What the winner's metadata changes that matters here.
    fn metadata_change(&self, changed: &Metadata) -> Option<String> {
        let read = self.metadata;
        if self.stages_metadata || self.reads.metadata {
            return Some("metadata".to_owned());
        }
        if changed.schema_string != read.schema_string {
            return Some("schema".to_owned());
        }
        if changed.partition_columns != read.partition_columns {
            return Some("partition columns".to_owned());
        }
        if changed.id != read.id || changed.format != read.format {
            return Some("identity".to_owned());
        }
        let properties: BTreeMap<_, _> = read.configuration.iter().chain(&changed.configuration).collect();
        properties
            .into_keys()
            .find(|key| read.configuration.get(*key) != changed.configuration.get(*key) && !is_harmless(key))
            .map(|key| format!("property `{key}`"))
    }
}

/// Properties that say nothing about how rows are written or read: maintenance, or a user's own.
fn is_harmless(key: &str) -> bool {
    const HARMLESS: &[&str] = &[
        "delta.checkpointinterval",
        "delta.logretentionduration",
        "delta.deletedfileretentionduration",
        "delta.settransactionretentionduration",
        "delta.enableexpiredlogcleanup",
        "delta.targetfilesize",
        "delta.autooptimize.autocompact",
        "delta.autooptimize.optimizewrite",
        "delta.dataskippingnumindexedcols",
        "delta.dataskippingstatscolumns",
        "delta.parquet.compression.codec",
        "delta.checkpoint.writestatsasjson",
        "delta.checkpoint.writestatsasstruct",
    ];
    let key = key.to_ascii_lowercase();
    !(key.starts_with("delta.") || key == "appendonly") || HARMLESS.contains(&key.as_str())
}
