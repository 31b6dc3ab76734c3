//! Bugs on purpose: what the engine is made to believe, so that the checker can show that it would notice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use roaring::RoaringTreemap;
use serde_json::Value;

use crate::disk::Listed;
use crate::log_reader::{LOG, commit_path, version_of_commit};
use crate::vectors;

/// A bug that the harness builds in between the engine and the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// A transaction that lost a race sees the winner's commit without its changes: no conflict is ever found.
    NoConflicts,
    /// A commit that is looked up has lost its transaction id: a writer does not know its own again.
    NoRecognition,
    /// The store overwrites where it should refuse.
    PlainPut,
    /// The log is believed to end at the checkpoint that `_last_checkpoint` names.
    StaleHint,
    /// Every checkpoint loses what its last rows say.
    ThinCheckpoint,
    /// Operations do not say what they read.
    UndeclaredReads,
    /// Vacuum keeps nothing that the newest version does not need, not even what is being written.
    GreedyVacuum,
    /// A writer that marks rows of a file forgets those that winners marked in it since it began.
    ForgottenMarks,
    /// Rows of a compacted file are believed to be in the reverse order of the files that they came from.
    ReversedCompaction,
    /// A writer that lost a race does not see which row ids the winner gave out.
    UnseenRowIds,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NoConflicts,
        Self::NoRecognition,
        Self::PlainPut,
        Self::StaleHint,
        Self::ThinCheckpoint,
        Self::UndeclaredReads,
        Self::GreedyVacuum,
        Self::ForgottenMarks,
        Self::ReversedCompaction,
        Self::UnseenRowIds,
    ];

    /// Changes the bytes of a commit that a writer looks up after it lost a race.
    pub(crate) fn on_get(self, memory: &Memory, path: &str, bytes: Bytes) -> Bytes {
        if path.ends_with("/_last_checkpoint") {
            memory.lock().hint = serde_json::from_slice::<Value>(&bytes).ok().and_then(|hint| hint["version"].as_u64());
        }
        let raced = version_of_commit(path).is_some_and(|version| memory.lock().raced.is_some_and(|raced| version >= raced));
        if !raced {
            return bytes;
        }
        match self {
            Self::NoConflicts => keep_lines(&bytes, |action| {
                action.retain(|kind, _| kind == "commitInfo");
                !action.is_empty()
            }),
            Self::NoRecognition => keep_lines(&bytes, |action| {
                if let Some(info) = action.get_mut("commitInfo").and_then(Value::as_object_mut) {
                    info.remove("txnId");
                }
                true
            }),
            Self::ReversedCompaction => keep_lines(&bytes, |action| {
                let record = action.get_mut("commitInfo").and_then(|info| info.get_mut("boathouseConcatenated"));
                for sources in record.and_then(Value::as_object_mut).into_iter().flat_map(|record| record.values_mut()) {
                    sources.as_array_mut().into_iter().for_each(|sources| sources.reverse());
                }
                true
            }),
            Self::UnseenRowIds => keep_lines(&bytes, |action| {
                action.retain(|kind, _| kind != "domainMetadata");
                !action.is_empty()
            }),
            Self::ForgottenMarks => {
                memory.lock().note_marks(&bytes);
                bytes
            }
            _ => bytes,
        }
    }

    /// Hides what a listing shows behind the checkpoint.
    pub(crate) fn on_list(self, memory: &Memory, found: &mut Vec<Listed>) {
        // Whoever lists begins anew: what is looked up from here on is no race.
        let mut recalled = memory.lock();
        recalled.raced = None;
        recalled.marks.clear();
        if let (Self::StaleHint, Some(hint)) = (self, recalled.hint) {
            let last = commit_path(hint);
            found.retain(|listed| version_of_commit(&listed.path).is_none() || listed.path <= last);
        }
    }

    /// Changes what is written.
    pub(crate) fn on_put(self, memory: &Memory, path: &str, bytes: Bytes) -> Bytes {
        if self == Self::ForgottenMarks && version_of_commit(path).is_some() {
            let recalled = memory.lock();
            return keep_lines(&bytes, |action| {
                action.get_mut("add").into_iter().for_each(|add| recalled.forget_marks(add));
                true
            });
        }
        if self == Self::ThinCheckpoint && path.starts_with(LOG) && path.ends_with(".parquet") {
            return crate::data_files::without_last_row(&bytes).unwrap_or(bytes);
        }
        bytes
    }
}

/// What one actor has seen, for bugs that need it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Recalled>>);

#[derive(Debug, Default)]
pub(crate) struct Recalled {
    /// The first version that the actor wanted and may not have got.
    raced: Option<u64>,
    /// The version that `_last_checkpoint` named.
    hint: Option<u64>,
    /// Rows that winners marked, by path.
    marks: BTreeMap<String, RoaringTreemap>,
}

impl Recalled {
    /// Notes which rows a winner marked: those in the vector that a file has now, and did not have before.
    fn note_marks(&mut self, commit: &Bytes) {
        let mut before: BTreeMap<String, RoaringTreemap> = BTreeMap::new();
        let mut after = BTreeMap::new();
        for line in commit.split(|byte| *byte == b'\n') {
            let Ok(action) = serde_json::from_slice::<Value>(line) else { continue };
            for (kind, found) in [("remove", &mut before), ("add", &mut after)] {
                let file = &action[kind];
                let rows = vectors::inline(&file["deletionVector"]);
                found.extend(file["path"].as_str().map(str::to_owned).zip(rows));
            }
        }
        for (path, rows) in after {
            let new = match before.get(&path) {
                Some(old) => rows - old,
                None => rows,
            };
            *self.marks.entry(path).or_default() |= new;
        }
    }

    fn forget_marks(&self, add: &mut Value) {
        let marked = add["path"].as_str().and_then(|path| self.marks.get(path));
        let (Some(marked), Some(rows)) = (marked, vectors::inline(&add["deletionVector"])) else { return };
        let left = rows - marked;
        if let (false, Some(vector), Some(add)) = (left.is_empty(), vectors::to_inline(&left), add.as_object_mut()) {
            add.insert("deletionVector".to_owned(), vector);
        }
    }
}

impl Memory {
    pub(crate) fn lost_a_race(&self, path: &str) {
        if let Some(version) = version_of_commit(path) {
            let mut recalled = self.lock();
            recalled.raced = Some(recalled.raced.map_or(version, |raced| raced.min(version)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Recalled> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lines of a commit that stay, changed.
fn keep_lines(bytes: &Bytes, mut keep: impl FnMut(&mut serde_json::Map<String, Value>) -> bool) -> Bytes {
    let mut kept = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let Ok(Value::Object(mut action)) = serde_json::from_slice(line) else { continue };
        if keep(&mut action) {
            kept.extend(Value::Object(action).to_string().into_bytes());
            kept.push(b'\n');
        }
    }
    kept.into()
}
