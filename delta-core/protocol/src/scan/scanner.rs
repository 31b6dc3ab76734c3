//! A commit, line by line.

use std::sync::Arc;

use bytes::Bytes;

use super::cursor::Cursor;
use super::file_action;
use crate::action::{Action, Line};
use crate::commit;
use crate::deletion_vector::DeletionVectorDescriptor;
use crate::error::{ProtocolError, Result};
use crate::files::{NewFile, Segment, SegmentBuilder};

/// What is wanted of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// What the table is: everything but files.
    Head,
    /// Files that were removed, as whole actions, and everything that is no file.
    Removes,
    /// Files, with their statistics, and everything else.
    Everything,
    /// Files without their statistics, and everything else.
    EverythingButStats,
}

/// What a commit says. A clone shares the segments.
#[derive(Debug, Clone)]
pub struct CommitScan {
    /// The version.
    pub version: u64,
    /// `metaData`, `protocol`, `txn`, `domainMetadata` and `commitInfo`, in the order of the file.
    pub head: Vec<Action>,
    /// Files that are added, in the order of the file.
    pub segments: Vec<Arc<Segment>>,
    /// Files that are removed.
    pub removes: Vec<RemovedFile>,
    lines: u64,
}

/// A file that is removed: no more than what tells it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedFile {
    /// The path as it stands in the log.
    pub path: Box<str>,
    /// The deletion vector that it had.
    pub deletion_vector: Option<Box<DeletionVectorDescriptor>>,
}

/// Reads a commit, as a whole or piece by piece.
///
/// **Cost**: one pass; lines that are not wanted are hardly looked at.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::scan::{CommitScanner, Wanted};
///
/// let mut scanner = CommitScanner::new(7, Wanted::Head);
/// scanner.scan(b"{\"txn\":{\"appId\":\"stream\",\"version\":3}}\n{\"add\":{\"path\":\"not looked at\"}}\n")?;
/// let scan = scanner.finish()?;
/// assert_eq!((scan.head.len(), scan.segments.len()), (1, 0));
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct CommitScanner {
    version: u64,
    wanted: Wanted,
    line: u64,
    lines: u64,
    head: Vec<Action>,
    files: SegmentBuilder,
    removes: Vec<RemovedFile>,
}

impl CommitScanner {
    /// For a commit from its first line on.
    pub fn new(version: u64, wanted: Wanted) -> Self {
        let files = match wanted {
            Wanted::EverythingButStats => SegmentBuilder::without_stats(),
            _ => SegmentBuilder::with_escaped_stats(),
        };
        Self { version, wanted, line: 0, lines: 0, head: Vec::new(), files, removes: Vec::new() }
    }

    /// For a piece of it, after this many lines.
    pub fn after_lines(mut self, lines: u64) -> Self {
        self.line = lines;
        self
    }

    /// Reads the next piece: whole lines, the last one with or without its end.
    ///
    /// **Errors**: `Corrupt` names the version and the line.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<()> {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                let mut rest = text;
                while !rest.is_empty() {
                    let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
                    self.line(&rest[..end])?;
                    rest = rest.get(end + 1..).unwrap_or_default();
                }
                Ok(())
            }
            // Line by line, to say which one is no text.
            Err(_) => bytes.split(|b| *b == b'\n').try_for_each(|line| match commit::text(line) {
                Ok(line) => self.line(line),
                Err(source) => {
                    self.line += 1;
                    Err(self.corrupt(source))
                }
            }),
        }
    }

    /// As [`scan`](Self::scan). Statistics that are wanted stay in the piece, which is kept with them, unpacked: for
    /// whoever reads them soon, and lets go.
    ///
    /// **Errors**: as [`scan`](Self::scan).
    pub fn scan_shared(&mut self, piece: &Bytes) -> Result<()> {
        self.files.share(piece);
        self.scan(piece)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        self.line += 1;
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        self.lines += 1;
        if self.quick(line).is_some() {
            return Ok(());
        }
        let Line(action) = serde_json::from_str(line).map_err(|source| self.corrupt(source))?;
        match action {
            Some(Action::Add(_) | Action::Remove(_)) if self.wanted == Wanted::Head => {}
            Some(Action::Add(_)) if self.wanted == Wanted::Removes => {}
            Some(action @ Action::Remove(_)) if self.wanted == Wanted::Removes => self.head.push(action),
            Some(Action::Add(add)) => {
                // It comes as the slow parser read it, and goes as it stands within a string.
                let escaped = add.stats.as_deref().map(|stats| serde_json::Value::from(stats).to_string());
                let stats = escaped.as_deref().and_then(|s| s.get(1..s.len() - 1));
                self.files.push(NewFile { stats: stats.map(Into::into), ..NewFile::from(&add) });
            }
            Some(Action::Remove(remove)) => {
                self.removes.push(RemovedFile { path: remove.path.into(), deletion_vector: remove.deletion_vector });
            }
            Some(Action::Cdc(_) | Action::CheckpointMetadata(_) | Action::Sidecar(_)) | None => {}
            Some(action) => self.head.push(action),
        }
        Ok(())
    }

    /// A line as every writer writes it. `None`: ask the slow parser.
    fn quick(&mut self, line: &str) -> Option<()> {
        let mut cursor = Cursor::new(line);
        cursor.eat(b'{')?;
        match cursor.key()? {
            // A line that was cut off is not passed over.
            "add" | "remove" | "cdc" if self.wanted == Wanted::Head => line.ends_with("}}").then_some(()),
            "add" | "cdc" if self.wanted == Wanted::Removes => line.ends_with("}}").then_some(()),
            "remove" if self.wanted == Wanted::Removes => None,
            "add" => {
                let file = file_action::add(&mut cursor, self.wanted == Wanted::Everything)?;
                end(&mut cursor)?;
                self.files.push(file);
                Some(())
            }
            "remove" => {
                let removed = file_action::remove(&mut cursor)?;
                end(&mut cursor)?;
                self.removes.push(removed);
                Some(())
            }
            _ => None,
        }
    }

    fn corrupt(&self, source: serde_json::Error) -> ProtocolError {
        let line = usize::try_from(self.line).unwrap_or(usize::MAX);
        ProtocolError::CorruptCommit { version: self.version, line, source }
    }

    /// What the commit says, or this piece of it.
    ///
    /// **Errors**: `Corrupt` when there are two `metaData` or two `protocol` actions.
    pub fn finish(self) -> Result<CommitScan> {
        let Self { version, lines, head, files, removes, .. } = self;
        let scan = CommitScan { version, head, segments: files.finish(), removes, lines };
        scan.checked()
    }
}

impl CommitScan {
    /// The pieces of a commit, in order, as one.
    ///
    /// **Errors**: `Corrupt` when there is no line at all, and when there are two `metaData` or two `protocol` actions.
    pub fn whole(version: u64, pieces: impl IntoIterator<Item = Self>) -> Result<Self> {
        let mut whole = Self { version, head: Vec::new(), segments: Vec::new(), removes: Vec::new(), lines: 0 };
        for piece in pieces {
            whole.head.extend(piece.head);
            whole.segments.extend(piece.segments);
            whole.removes.extend(piece.removes);
            whole.lines += piece.lines;
        }
        if whole.lines == 0 {
            return Err(ProtocolError::EmptyCommit { version });
        }
        whole.checked()
    }

    /// Lines with an action, or with anything else that is not blank.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    fn checked(self) -> Result<Self> {
        for name in ["metaData", "protocol"] {
            if self.head.iter().filter(|action| action.name() == name).count() > 1 {
                let (version, subject) = (self.version, "the table".to_owned());
                return Err(ProtocolError::DuplicateAction { version, action: name, subject });
            }
        }
        Ok(self)
    }
}

fn end(cursor: &mut Cursor<'_>) -> Option<()> {
    cursor.eat(b'}')?;
    cursor.end()
}
