//! From the log to an index, newest commit first.

use std::sync::Arc;

use hashbrown::HashTable;

use super::bits::Bits;
use super::index::{FileIndex, Part};
use super::key::{hash, same_path, same_vector};
use super::segment::Segment;
use crate::deletion_vector::DeletionVectorDescriptor;
use crate::error::{ProtocolError, Result};
use crate::scan::{CommitScan, RemovedFile};

/// Puts an index together from a checkpoint and the commits after it.
///
/// What comes first wins: commits go in newest first, the checkpoint last. So a file that a later commit removed is
/// dropped where it stands, and nothing that is in already changes.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::files::IndexBuilder;
/// use boathouse_delta_protocol::scan::{CommitScanner, Wanted};
///
/// let scan = |version, text: &str| {
///     let mut scanner = CommitScanner::new(version, Wanted::Everything);
///     scanner.scan(text.as_bytes())?;
///     scanner.finish()
/// };
/// let mut builder = IndexBuilder::new();
/// builder.commit(scan(1, r#"{"remove":{"path":"a.parquet","dataChange":true}}"#)?)?;
/// builder.commit(scan(0, concat!(
///     r#"{"add":{"path":"a.parquet","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}"#, "\n",
///     r#"{"add":{"path":"b.parquet","partitionValues":{},"size":2,"modificationTime":1,"dataChange":true}}"#,
/// ))?)?;
/// let files = builder.finish();
/// assert_eq!(files.iter().map(|f| f.path()).collect::<Vec<_>>(), ["b.parquet"]);
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
#[derive(Debug, Default)]
pub struct IndexBuilder {
    /// Newest first, as the commits come.
    parts: Vec<Part>,
    removed: Vec<RemovedFile>,
    seen: HashTable<Seen>,
}

/// A file that a newer commit spoke of.
#[derive(Debug, Clone, Copy)]
enum Seen {
    Added { part: u32, row: u32 },
    Removed(u32),
}

impl IndexBuilder {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next older commit.
    ///
    /// **Errors**: `Corrupt` when it adds a file twice, or adds and removes it, or adds one that is there with another
    /// deletion vector.
    ///
    /// **Cost**: a hash of the path of each file; about 10 bytes for each until [`finish`](Self::finish).
    pub fn commit(&mut self, scan: CommitScan) -> Result<()> {
        let CommitScan { version, segments, removes, .. } = scan;
        // Within a commit removals come before additions: so these win, and their rows are told apart from newer ones.
        let own = self.parts.len();
        let rows: usize = segments.iter().map(|s| s.len()).sum();
        self.reserve(rows + removes.len());
        // Segments are turned around as a whole in the end.
        for segment in segments.into_iter().rev() {
            self.segment(segment, Some((version, own)))?;
        }
        for remove in removes {
            let hash = hash(&remove.path);
            match self.find(hash, &remove.path, remove.deletion_vector.as_deref()) {
                Some(Seen::Added { part, .. }) if part as usize >= own => {
                    return Err(ProtocolError::AddedAndRemoved { version, path: remove.path.into() });
                }
                Some(_) => continue,
                None => {}
            }
            let at = number(self.removed.len());
            self.removed.push(remove);
            self.insert(hash, Seen::Removed(at));
        }
        Ok(())
    }

    /// Files of the checkpoint, all or a part of them. No commit may come after it.
    ///
    /// **Errors**: `Corrupt` when a file is there that a commit added with another deletion vector.
    ///
    /// **Cost**: without commits none; else a hash of each path.
    pub fn checkpoint(&mut self, segment: Arc<Segment>) -> Result<()> {
        self.segment(segment, None)
    }

    /// The index.
    pub fn finish(self) -> FileIndex {
        let mut parts = self.parts;
        parts.reverse();
        FileIndex::from_parts(parts)
    }

    fn segment(&mut self, segment: Arc<Segment>, commit: Option<(u64, usize)>) -> Result<()> {
        if commit.is_none() && self.seen.is_empty() {
            self.parts.push(Part::whole(segment));
            return Ok(());
        }
        let part = number(self.parts.len());
        let mut alive = Bits::all(true, segment.len());
        let (mut files, mut bytes) = (0, 0);
        // The part is there from the start: its rows may speak of each other.
        self.parts.push(Part::whole(Arc::clone(&segment)));
        for row in 0..segment.len() {
            let (path, vector) = (segment.path(row), segment.vector(row));
            let hash = hash(path);
            match self.find(hash, path, vector) {
                None => {
                    if let Some(known) = self.other_vector(hash, path) {
                        let version = commit.map_or(0, |(version, _)| version);
                        return Err(ProtocolError::TwoVectors { version, path: path.to_owned(), known });
                    }
                    if commit.is_some() {
                        self.insert(hash, Seen::Added { part, row: number(row) });
                    }
                    files += 1;
                    bytes = u64::saturating_add(bytes, segment.size(row));
                }
                Some(Seen::Added { part: by, .. }) if commit.is_some_and(|(_, own)| by as usize >= own) => {
                    let version = commit.map_or(0, |(version, _)| version);
                    let subject = segment.file(row).key().to_string();
                    return Err(ProtocolError::DuplicateAction { version, action: "add", subject });
                }
                Some(_) => alive.set(row, false),
            }
        }
        if let Some(last) = self.parts.last_mut() {
            *last = Part::new(segment, alive, files, bytes);
        }
        Ok(())
    }

    fn find(&self, hash: u64, path: &str, vector: Option<&DeletionVectorDescriptor>) -> Option<Seen> {
        self.seen.iter_hash(hash).copied().find(|seen| {
            let (known, known_vector) = self.file(*seen);
            same_vector(known_vector, vector) && same_path(known, path)
        })
    }

    /// The deletion vector with which a newer commit added this path.
    fn other_vector(&self, hash: u64, path: &str) -> Option<String> {
        let known = self.seen.iter_hash(hash).find(|seen| match seen {
            Seen::Added { .. } => same_path(self.file(**seen).0, path),
            Seen::Removed(_) => false,
        })?;
        Some(
            self.file(*known).1.map_or_else(|| "no deletion vector".to_owned(), |v| format!("deletion vector {}", v.unique_id())),
        )
    }

    fn file(&self, seen: Seen) -> (&str, Option<&DeletionVectorDescriptor>) {
        match seen {
            Seen::Added { part, row } => {
                let segment = &self.parts[part as usize].segment;
                (segment.path(row as usize), segment.vector(row as usize))
            }
            Seen::Removed(at) => {
                let removed = &self.removed[at as usize];
                (&removed.path, removed.deletion_vector.as_deref())
            }
        }
    }

    fn reserve(&mut self, more: usize) {
        let Self { parts, removed, seen } = self;
        seen.reserve(more, |seen| hash(path_of(parts, removed, *seen)));
    }

    fn insert(&mut self, hash_of_path: u64, new: Seen) {
        let Self { parts, removed, seen } = self;
        seen.insert_unique(hash_of_path, new, |seen| hash(path_of(parts, removed, *seen)));
    }
}

fn path_of<'a>(parts: &'a [Part], removed: &'a [RemovedFile], seen: Seen) -> &'a str {
    match seen {
        Seen::Added { part, row } => parts[part as usize].segment.path(row as usize),
        Seen::Removed(at) => &removed[at as usize].path,
    }
}

#[expect(clippy::expect_used, reason = "four billion files are beyond the memory of any machine that gets here")]
fn number(at: usize) -> u32 {
    u32::try_from(at).expect("fewer than four billion files")
}
