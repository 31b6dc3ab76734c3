//! The checksum after one more commit.

use super::histogram::DeletedRecordCountsHistogram;
use super::version_checksum::VersionChecksum;
use crate::action::{Action, CommitInfo, DomainMetadata, Txn};
use crate::features;

/// So many transactions or domains are kept at most: the file must stay small.
const MOST_KEPT: usize = 100;

/// Operations of other writers that add files again which are there, or remove some which are not: sums over
/// their actions would be wrong.
const UNCOUNTABLE: &[&str] =
    &["COMPUTE STATS", "ROW TRACKING BACKFILL", "ROW TRACKING UNBACKFILL", "Deletion Vector Tombstones", "Manual Update"];

impl VersionChecksum {
    /// The checksum of version 0, from its actions. `None` when that is not known.
    pub fn first<'a>(actions: impl IntoIterator<Item = &'a Action, IntoIter: Clone>) -> Option<Self> {
        let actions = actions.into_iter();
        let protocol = actions.clone().find_map(|a| if let Action::Protocol(p) = a { Some(p.clone()) } else { None })?;
        let metadata = actions.clone().find_map(|a| if let Action::Metadata(m) = a { Some(m.clone()) } else { None })?;
        let empty = Self::empty(0, protocol, metadata);
        Some(Self { version: 0, ..empty.next(actions)? })
    }

    /// The checksum of the next version, whose commit has these actions.
    ///
    /// `None` when it cannot be known: a removal that does not say how large the file was, an operation that
    /// repeats files which are there, or sums that do not come out.
    ///
    /// The actions must fit the table: a file that is added was not there, and one that is removed was.
    /// The list of all files is not carried on.
    pub fn next<'a>(&self, actions: impl IntoIterator<Item = &'a Action>) -> Option<Self> {
        let mut next = Self { version: self.version.checked_add(1)?, txn_id: None, all_files: None, ..self.clone() };
        let (mut info, mut removes, mut rearranged) = (None, false, false);
        let (mut txns, mut domains) = (Vec::new(), Vec::new());
        let had_vectors = features::has(&self.protocol, "deletionVectors");
        // Features first: with deletion vectors, files of this very commit count.
        let actions: Vec<&Action> = actions.into_iter().collect();
        for action in &actions {
            match action {
                Action::Metadata(metadata) => next.metadata = metadata.clone(),
                Action::Protocol(protocol) => next.protocol = protocol.clone(),
                Action::CommitInfo(found) => info = Some(found),
                Action::Txn(txn) => txns.push(txn),
                Action::DomainMetadata(domain) => domains.push(domain),
                Action::Add(add) => rearranged |= !add.data_change,
                Action::Remove(_) => removes = true,
                _ => {}
            }
        }
        if !had_vectors && features::has(&next.protocol, "deletionVectors") {
            next.num_deleted_records = Some(0);
            next.num_deletion_vectors = Some(0);
            next.deleted_record_counts = Some(DeletedRecordCountsHistogram::without_deletions(next.num_files));
        }
        let operation = info.and_then(|info: &CommitInfo| info.operation.as_deref()).unwrap_or_default();
        // Files that come without a change of rows, for none that goes: they are most likely there already.
        if UNCOUNTABLE.contains(&operation) || (rearranged && !removes) {
            return None;
        }
        for action in actions {
            match action {
                Action::Add(add) => {
                    next.count_file(add.size, add.deletion_vector.as_ref().map(|vector| vector.cardinality));
                }
                Action::Remove(remove) => {
                    next.discount_file(remove.size?, remove.deletion_vector.as_ref().map(|vector| vector.cardinality))?;
                }
                _ => {}
            }
        }
        let properties = next.metadata.properties().ok()?;
        next.in_commit_timestamp_ms = None;
        if features::has_in_commit_timestamps(&next.protocol, &next.metadata.configuration) {
            next.in_commit_timestamp_ms = Some(info?.in_commit_timestamp?);
        }
        next.txn_id = info.and_then(|info| info.txn_id.clone());
        // With a retention, which transactions are live depends on the time of the reader.
        next.set_transactions =
            next.set_transactions.filter(|_| properties.transaction_retention_us.is_none()).and_then(|old| with_txns(old, txns));
        next.domain_metadata = next.domain_metadata.and_then(|old| with_domains(old, domains));
        Some(next)
    }

    fn discount_file(&mut self, size_bytes: u64, deleted_rows: Option<u64>) -> Option<()> {
        self.num_files = self.num_files.checked_sub(1)?;
        self.table_size_bytes = self.table_size_bytes.checked_sub(size_bytes)?;
        if let Some(sizes) = &mut self.file_size_histogram
            && !sizes.remove(size_bytes)
        {
            return None;
        }
        let deleted = deleted_rows.unwrap_or(0);
        if let Some(rows) = &mut self.num_deleted_records {
            *rows = rows.checked_sub(deleted)?;
        }
        if let Some(vectors) = &mut self.num_deletion_vectors {
            *vectors = vectors.checked_sub(u64::from(deleted_rows.is_some()))?;
        }
        if let Some(counts) = &mut self.deleted_record_counts
            && !counts.remove(deleted)
        {
            return None;
        }
        Some(())
    }
}

fn with_txns(mut known: Vec<Txn>, new: Vec<&Txn>) -> Option<Vec<Txn>> {
    for txn in new {
        if known.len() > MOST_KEPT {
            return None;
        }
        match known.iter_mut().find(|old| old.app_id == txn.app_id) {
            Some(old) => *old = txn.clone(),
            None => known.push(txn.clone()),
        }
    }
    (known.len() <= MOST_KEPT).then_some(known)
}

fn with_domains(mut known: Vec<DomainMetadata>, new: Vec<&DomainMetadata>) -> Option<Vec<DomainMetadata>> {
    for domain in new {
        known.retain(|old| old.domain != domain.domain);
        if !domain.removed {
            known.push(domain.clone());
        }
    }
    (known.len() <= MOST_KEPT).then_some(known)
}
