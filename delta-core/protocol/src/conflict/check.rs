//! The check of one winner.

use std::collections::{BTreeMap, BTreeSet};

use super::concatenation::Place;
use super::error::{Conflict, ReadScope};
use super::metadata::change_that_matters;
use super::row_tracking::ROW_TRACKING_DOMAIN;
use super::rows::Stake;
use super::winner::Winner;
use crate::action::{Action, Add, Metadata, Remove};
use crate::deletion_vector::DeletionVectorDescriptor;
use crate::files::FileIndex;
use crate::properties::IsolationLevel;
use crate::schema::{ColumnMappingMode, StructType};
use crate::stats::BoundsReader;

/// A file that both sides touch row by row: whether they agree is told by its deletion vectors.
#[derive(Debug, Clone, PartialEq)]
pub enum RowTouch<'w> {
    /// The winner changed which rows of the file are deleted.
    Marked {
        /// The file.
        path: &'w str,
        /// Its vector before.
        before: Option<&'w DeletionVectorDescriptor>,
        /// The file after.
        after: &'w Add,
    },
    /// The winner put the file's rows into another one.
    Moved {
        /// The file.
        path: &'w str,
        /// Its vector when it was copied.
        before: Option<DeletionVectorDescriptor>,
        /// Where its rows are.
        target: &'w Add,
        /// The first of them there.
        start: u64,
        /// How many there are.
        rows: u64,
    },
}

impl RowTouch<'_> {
    /// The vectors that must be read to follow it: before and, where it still matters, after.
    pub fn vectors(&self) -> (Option<&DeletionVectorDescriptor>, Option<&DeletionVectorDescriptor>) {
        match self {
            Self::Marked { before, after, .. } => (*before, after.deletion_vector.as_deref()),
            Self::Moved { before, .. } => (before.as_ref(), None),
        }
    }
}

/// A transaction that wants to move behind a winner: what it has at stake, and what it stages.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::action::{Action, Add, Metadata};
/// use boathouse_delta_protocol::conflict::{Attempt, Conflict, Reads, Stake, Winner};
/// use boathouse_delta_protocol::properties::IsolationLevel;
/// use boathouse_delta_protocol::schema::{ColumnMappingMode, StructType};
///
/// let file = |path: &str| Action::from(Add { path: path.to_owned(), data_change: true, ..Add::default() });
/// let (metadata, schema) = (Metadata::default(), StructType::default());
/// let (staged, won) = ([file("mine")], [file("theirs")]);
/// let winner = Winner { version: 7, actions: &won };
///
/// let attempt = |stake| Attempt::new(stake, &staged, IsolationLevel::Serializable, &metadata, &schema, ColumnMappingMode::None);
/// let nothing = Stake::default();
/// let all = Stake { reads: Reads { whole_table: true, ..Reads::default() }, ..Stake::default() };
/// assert_eq!(attempt(&nothing).check(&winner), Ok(vec![]));
/// assert!(matches!(attempt(&all).check(&winner), Err(Conflict::ConcurrentAppend { version: 7, .. })));
/// ```
pub struct Attempt<'a> {
    stake: &'a Stake,
    isolation: IsolationLevel,
    metadata: &'a Metadata,
    files: Option<&'a FileIndex>,
    bounds: BoundsReader,
    stages_metadata: bool,
    /// It only adds rows.
    only_adds: bool,
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
        stake: &'a Stake,
        actions: &'a [Action],
        isolation: IsolationLevel,
        metadata: &'a Metadata,
        schema: &StructType,
        mode: ColumnMappingMode,
    ) -> Self {
        let reads = &stake.reads;
        let bounds = BoundsReader::for_predicates(schema, &metadata.partition_columns, mode, &reads.predicates);
        let mut attempt = Self {
            stake,
            isolation,
            metadata,
            files: None,
            bounds,
            stages_metadata: false,
            only_adds: stake.marks.is_empty() && stake.concatenations.is_empty(),
            rearranges: false,
            touched: BTreeSet::new(),
            app_ids: reads.app_ids.iter().map(String::as_str).collect(),
            domains: reads.domains.iter().map(String::as_str).collect(),
        };
        let (mut file_actions, mut data_changes) = (stake.concatenations.len() + stake.marks.len(), stake.marks.len());
        for action in actions {
            let data_change = match action {
                Action::Add(add) => {
                    attempt.touched.insert(&add.path);
                    add.data_change
                }
                Action::Remove(remove) => {
                    attempt.only_adds = false;
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

    /// Checks against one winner. Returns the files that must be looked at row by row: [`Stake::follow`] does.
    ///
    /// **Errors**: the first conflict, with the winner's version and operation.
    ///
    /// **Cost**: one pass over the winner's actions; with predicates, its files' statistics are parsed.
    pub fn check<'w>(&self, winner: &Winner<'w>) -> Result<Vec<RowTouch<'w>>, Conflict> {
        self.check_table(winner)?;
        let removed = winner.removed_paths();
        self.check_added(winner, &removed)?;
        let touches = self.check_removed(winner)?;
        self.check_names(winner)?;
        Ok(touches)
    }

    fn check_table(&self, winner: &Winner<'_>) -> Result<(), Conflict> {
        let version = winner.version;
        for action in winner.actions {
            match action {
                Action::Protocol(_) => return Err(Conflict::ProtocolChanged { version, operation: winner.operation() }),
                Action::Metadata(now) => {
                    let change = if self.stages_metadata || self.stake.reads.metadata {
                        Some("metadata".to_owned())
                    } else {
                        change_that_matters(self.metadata, now, self.only_adds)
                    };
                    if let Some(change) = change {
                        return Err(Conflict::MetadataChanged { version, operation: winner.operation(), change });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_added(&self, winner: &Winner<'_>, removed: &BTreeSet<&str>) -> Result<(), Conflict> {
        let blind_append = winner.is_blind_append();
        let overlooks_appends =
            self.rearranges || (blind_append && self.isolation == IsolationLevel::WriteSerializable && !self.stages_metadata);
        if overlooks_appends {
            return Ok(());
        }
        // A file that leaves and comes back has lost rows: that is a removal.
        for add in winner.adds().filter(|add| add.data_change && !removed.contains(add.path.as_str())) {
            if let Some(read) = self.reads_added(add) {
                return Err(Conflict::ConcurrentAppend {
                    version: winner.version,
                    operation: winner.operation(),
                    path: add.path.clone(),
                    read,
                });
            }
        }
        Ok(())
    }

    fn check_removed<'w>(&self, winner: &Winner<'w>) -> Result<Vec<RowTouch<'w>>, Conflict> {
        let (version, operation) = (winner.version, || winner.operation());
        let added: BTreeMap<&str, &'w Add> = winner.adds().map(|add| (add.path.as_str(), add)).collect();
        let concatenations = winner.concatenations();
        let mut touches = Vec::new();
        for remove in winner.removes() {
            let path = remove.path.as_str();
            let before = remove.deletion_vector.as_deref();
            let delete_delete = || Conflict::ConcurrentDeleteDelete { version, operation: operation(), path: path.to_owned() };
            let delete_read =
                |read| Conflict::ConcurrentDeleteRead { version, operation: operation(), path: path.to_owned(), read };
            let marked = self.stake.marks.contains_key(path);
            let read_rows = self.stake.reads.rows.get(path);
            let source = self.stake.concatenations.iter().any(|c| c.place_of(path).is_some());
            if remove.data_change && self.stake.reads.files.contains(path) && !self.rearranges {
                return Err(delete_read(ReadScope::File));
            }
            if self.touched.contains(path) {
                return Err(delete_delete());
            }
            if !(marked || source || read_rows.is_some()) {
                if remove.data_change
                    && !self.rearranges
                    && let Some(read) = self.reads_removed(remove)
                {
                    return Err(delete_read(read));
                }
                continue;
            }
            // Row by row from here on.
            if let Some(after) = added.get(path) {
                touches.push(RowTouch::Marked { path, before, after });
            } else if source || (marked && remove.data_change) {
                return Err(delete_delete());
            } else if remove.data_change {
                // Searched, and nothing was found in it: it may go.
                if read_rows.is_some_and(|rows| !rows.is_empty()) {
                    return Err(delete_read(ReadScope::File));
                }
            } else {
                let place = concatenations.place_of(path);
                match place.and_then(|place| Some((*added.get(place.target)?, place))) {
                    Some((target, Place { start, rows, vector, .. })) => {
                        touches.push(RowTouch::Moved { path, before: vector.cloned(), target, start, rows });
                    }
                    None if marked => return Err(Conflict::RowsMoved { version, operation: operation(), path: path.to_owned() }),
                    None => {}
                }
            }
        }
        Ok(touches)
    }

    fn check_names(&self, winner: &Winner<'_>) -> Result<(), Conflict> {
        let version = winner.version;
        for action in winner.actions {
            match action {
                Action::Txn(txn) if self.app_ids.contains(txn.app_id.as_str()) => {
                    return Err(Conflict::ConcurrentTransaction {
                        version,
                        operation: winner.operation(),
                        app_id: txn.app_id.clone(),
                        txn_version: txn.version,
                    });
                }
                Action::DomainMetadata(domain)
                    if domain.domain != ROW_TRACKING_DOMAIN && self.domains.contains(domain.domain.as_str()) =>
                {
                    return Err(Conflict::ConcurrentDomain {
                        version,
                        operation: winner.operation(),
                        domain: domain.domain.clone(),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn reads_added(&self, add: &Add) -> Option<ReadScope> {
        let reads = &self.stake.reads;
        if reads.whole_table {
            return Some(ReadScope::WholeTable);
        }
        if reads.predicates.is_empty() {
            return None;
        }
        let bounds = self.bounds.of_add(add);
        reads.predicates.iter().any(|p| p.may_match(&bounds)).then_some(ReadScope::Predicate)
    }

    fn reads_removed(&self, remove: &Remove) -> Option<ReadScope> {
        let reads = &self.stake.reads;
        if reads.whole_table {
            return Some(ReadScope::WholeTable);
        }
        if reads.predicates.is_empty() {
            return None;
        }
        // A file that came after the version that was read was judged when it came.
        let known = self.files.and_then(|files| files.get(&remove.path));
        let bounds = match known {
            Some(file) => self.bounds.of_file(&file),
            None => self.bounds.of_remove(remove),
        };
        reads.predicates.iter().any(|p| p.may_match(&bounds)).then_some(ReadScope::Predicate)
    }
}
