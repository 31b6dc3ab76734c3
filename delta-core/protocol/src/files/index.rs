//! The active files of a version.

use std::fmt;
use std::sync::Arc;

use super::bits::Bits;
use super::key::hash;
use super::segment::{FileRef, Segment, SegmentBuilder};
use crate::action::FileKey;
use crate::deletion_vector::DeletionVectorDescriptor;
use crate::error::{ProtocolError, Result};
use crate::scan::CommitScan;

/// Neighbours with fewer files together are put into one.
const SMALL: usize = 8 * 1024;

/// The active files of a version, in the order in which the log added them.
///
/// Cheap to clone: versions share their segments.
#[derive(Clone, Default)]
pub struct FileIndex {
    parts: Vec<Part>,
    files: usize,
    bytes: u64,
}

/// A segment, and which of its files are still there.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) segment: Arc<Segment>,
    /// Nothing: all of them.
    alive: Option<Arc<Bits>>,
    files: usize,
    bytes: u64,
}

impl Part {
    pub(super) fn whole(segment: Arc<Segment>) -> Self {
        let files = segment.len();
        let bytes = (0..files).map(|row| segment.size(row)).fold(0, u64::saturating_add);
        Self { segment, alive: None, files, bytes }
    }

    pub(super) fn new(segment: Arc<Segment>, alive: Bits, files: usize, bytes: u64) -> Self {
        let alive = (files < segment.len()).then(|| Arc::new(alive));
        Self { segment, alive, files, bytes }
    }

    fn is_alive(&self, row: usize) -> bool {
        self.alive.as_ref().is_none_or(|alive| alive.get(row))
    }

    fn kill(&mut self, row: usize) {
        let rows = self.segment.len();
        let alive = self.alive.get_or_insert_with(|| Arc::new(Bits::all(true, rows)));
        Arc::make_mut(alive).set(row, false);
        self.files -= 1;
        self.bytes = self.bytes.saturating_sub(self.segment.size(row));
    }

    fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.segment.len()).filter(|row| self.is_alive(*row))
    }

    /// Both parts in one segment. `None` when statistics are missing in one of them and not in the other.
    fn merged(&self, next: &Self) -> Option<Self> {
        if self.segment.has_stats() != next.segment.has_stats() {
            return None;
        }
        let mut builder = if self.segment.has_stats() { SegmentBuilder::with_stats() } else { return None };
        for part in [self, next] {
            let _open = part.segment.open();
            for row in part.rows() {
                builder.push((&part.segment.file(row).to_add()).into());
            }
        }
        match <[_; 1]>::try_from(builder.finish()) {
            Ok([segment]) => Some(Self::whole(segment)),
            Err(_) => None,
        }
    }
}

impl FileIndex {
    pub(super) fn from_parts(parts: Vec<Part>) -> Self {
        let parts: Vec<Part> = parts.into_iter().filter(|part| part.files > 0).collect();
        let mut index = Self { files: 0, bytes: 0, parts };
        index.count();
        index
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.files == 0
    }

    /// Bytes of all files.
    pub fn size_bytes(&self) -> u64 {
        self.bytes
    }

    /// The files, in the order in which the log added them.
    pub fn iter(&self) -> impl Iterator<Item = FileRef<'_>> {
        self.parts.iter().flat_map(|part| {
            // As long as the walk is in this segment, its statistics stay unpacked.
            let open = part.segment.open();
            part.rows().map(move |row| {
                let _keep = &open;
                part.segment.file(row)
            })
        })
    }

    /// As [`iter`](Self::iter), for a walk that does not look at statistics: they stay packed.
    pub fn iter_without_stats(&self) -> impl Iterator<Item = FileRef<'_>> {
        self.parts.iter().flat_map(|part| part.rows().map(move |row| part.segment.file(row)))
    }

    /// Each file as the number of its segment among [all](Self::segments) and its row there, in the order of
    /// [`iter`](Self::iter).
    pub fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        self.parts.iter().enumerate().flat_map(|(at, part)| part.rows().map(move |row| (at, row)))
    }

    /// The file with this path.
    ///
    /// **Cost**: the first time a hash of every path; later a few look-ups.
    pub fn get(&self, path: &str) -> Option<FileRef<'_>> {
        let (part, row) = self.find(hash(path), path)?;
        Some(self.parts[part].segment.file(row))
    }

    /// Whether exactly this logical file is active.
    ///
    /// **Cost**: as [`get`](Self::get).
    pub fn contains(&self, key: &FileKey) -> bool {
        let known = self.get(&key.path).map(|file| file.deletion_vector().map(DeletionVectorDescriptor::unique_id));
        known.is_some_and(|vector| vector == key.deletion_vector)
    }

    /// All segments, to hand in their [statistics](Segment::set_stats).
    pub fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.parts.iter().map(|part| &part.segment)
    }

    /// Segments with their active rows.
    pub(super) fn runs(&self) -> impl Iterator<Item = (&Segment, impl Iterator<Item = usize>)> {
        self.parts.iter().map(|part| (part.segment.as_ref(), part.rows()))
    }

    /// Whether the statistics of all files are here.
    pub fn has_stats(&self) -> bool {
        self.segments().all(|segment| segment.has_stats())
    }

    /// The index of the next version.
    ///
    /// **Errors**: `Corrupt` when the commit adds a file twice, or one that is there with another deletion vector.
    ///
    /// **Cost**: that of the commit, and of [`get`](Self::get) for each of its files.
    pub fn apply(&self, scan: CommitScan) -> Result<Self> {
        let CommitScan { version, segments, removes, .. } = scan;
        let mut next = self.clone();
        for remove in &removes {
            // A file that is not there is removed all the same: nothing happens.
            if let Some((part, row)) = next.find(hash(&remove.path), &remove.path)
                && next.parts[part].segment.file(row).has_vector(remove.deletion_vector.as_deref())
            {
                next.parts[part].kill(row);
            }
        }
        let own = next.parts.len();
        for segment in segments {
            let mut part = Part::whole(Arc::clone(&segment));
            for row in 0..segment.len() {
                let file = segment.file(row);
                let hash = hash(file.path());
                let known = part.find(hash, file.path()).filter(|known| *known != row);
                if known.is_some() {
                    return Err(duplicate(version, file));
                }
                let Some((by, known)) = next.find(hash, file.path()) else { continue };
                if by >= own {
                    return Err(duplicate(version, file));
                }
                let old = next.parts[by].segment.file(known);
                if !old.has_vector(file.deletion_vector()) {
                    let known = old.deletion_vector();
                    let known =
                        known.map_or_else(|| "no deletion vector".to_owned(), |v| format!("deletion vector {}", v.unique_id()));
                    return Err(ProtocolError::TwoVectors { version, path: file.path().to_owned(), known });
                }
                next.parts[by].kill(known);
            }
            part.files = segment.len();
            next.parts.push(part);
        }
        for remove in removes {
            if let Some((by, row)) = next.find(hash(&remove.path), &remove.path)
                && by >= own
                && next.parts[by].segment.file(row).has_vector(remove.deletion_vector.as_deref())
            {
                return Err(ProtocolError::AddedAndRemoved { version, path: remove.path.into() });
            }
        }
        next.tidy();
        Ok(next)
    }

    /// Drops what is empty, and puts small parts at the end together: a row is copied a logarithmic number of times.
    fn tidy(&mut self) {
        self.parts.retain(|part| part.files > 0);
        while let [.., before, last] = self.parts.as_slice() {
            if before.files + last.files > SMALL || before.files > 2 * last.files {
                break;
            }
            let Some(merged) = before.merged(last) else { break };
            self.parts.truncate(self.parts.len() - 2);
            self.parts.push(merged);
        }
        self.count();
    }

    fn count(&mut self) {
        self.files = self.parts.iter().map(|part| part.files).sum();
        self.bytes = self.parts.iter().map(|part| part.bytes).fold(0, u64::saturating_add);
    }

    fn find(&self, hash: u64, path: &str) -> Option<(usize, usize)> {
        self.parts.iter().enumerate().rev().find_map(|(at, part)| Some((at, part.find(hash, path)?)))
    }
}

impl Part {
    /// The active file with this path.
    fn find(&self, hash: u64, path: &str) -> Option<usize> {
        self.segment.rows_of(hash, path).find(|row| self.is_alive(*row))
    }
}

fn duplicate(version: u64, file: FileRef<'_>) -> ProtocolError {
    ProtocolError::DuplicateAction { version, action: "add", subject: file.key().to_string() }
}

impl fmt::Debug for FileIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileIndex")
            .field("files", &self.files)
            .field("bytes", &self.bytes)
            .field("segments", &self.parts.len())
            .finish()
    }
}
