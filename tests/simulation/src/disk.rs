//! The store itself: objects in memory, with everything that ever was.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Who put an object there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Author {
    pub(crate) actor: usize,
    /// The operation that the actor was at, when it asked.
    pub(crate) op: Option<usize>,
}

/// An object, or its absence, since a moment.
#[derive(Debug, Clone)]
pub(crate) struct Revision {
    pub(crate) at_us: u64,
    /// Nothing: deleted.
    pub(crate) bytes: Option<Bytes>,
    pub(crate) author: Author,
}

/// An object as a listing shows it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) at_us: u64,
    pub(crate) revision: usize,
}

/// Objects in memory. Nothing is forgotten: the checker looks at what was overwritten and deleted.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    objects: BTreeMap<String, Vec<Revision>>,
}

impl Disk {
    /// False when `absent` is demanded and there is an object.
    pub(crate) fn put(&mut self, path: &str, bytes: Bytes, at_us: u64, author: Author, absent: bool) -> bool {
        if absent && self.get(path).is_some() {
            return false;
        }
        self.objects.entry(path.to_owned()).or_default().push(Revision { at_us, bytes: Some(bytes), author });
        true
    }

    /// False when there was none.
    pub(crate) fn delete(&mut self, path: &str, at_us: u64, author: Author) -> bool {
        let there = self.get(path).is_some();
        if there {
            self.objects.entry(path.to_owned()).or_default().push(Revision { at_us, bytes: None, author });
        }
        there
    }

    /// The bytes of an object, and how it is listed.
    pub(crate) fn get(&self, path: &str) -> Option<(Bytes, Listed)> {
        let revisions = self.objects.get(path)?;
        let (listed, bytes) = listed(path, revisions, u64::MAX)?;
        Some((bytes.clone(), listed))
    }

    /// The objects below a folder as they were at a moment, sorted.
    pub(crate) fn list(&self, folder: &str, at_us: u64) -> Vec<Listed> {
        let below = self.objects.range(folder.to_owned()..).take_while(|(path, _)| path.starts_with(folder));
        below.filter_map(|(path, revisions)| Some(listed(path, revisions, at_us)?.0)).collect()
    }

    /// Everything that ever stood at a path.
    pub(crate) fn revisions(&self, path: &str) -> &[Revision] {
        self.objects.get(path).map_or(&[], Vec::as_slice)
    }

    /// What stood there last, be it deleted since.
    pub(crate) fn last_bytes(&self, path: &str) -> Option<Bytes> {
        self.revisions(path).iter().rev().find_map(|revision| revision.bytes.clone())
    }
}

fn listed<'d>(path: &str, revisions: &'d [Revision], at_us: u64) -> Option<(Listed, &'d Bytes)> {
    let (revision, found) = revisions.iter().enumerate().rev().find(|(_, revision)| revision.at_us <= at_us)?;
    let bytes = found.bytes.as_ref()?;
    Some((Listed { path: path.to_owned(), size: bytes.len() as u64, at_us: found.at_us, revision }, bytes))
}
