//! The open windows of a query: what is in memory, and which files hold it.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::array::RecordBatch;

use crate::position::StateFile;

/// When the open windows would lie in more files than this, all of them are written anew into one.
const FILES_BEFORE_COMPACTION: usize = 8;

/// States by the beginning of their window.
#[derive(Debug, Default)]
pub(crate) struct WindowState {
    windows: BTreeMap<i64, Stored>,
    files: BTreeMap<u64, StateFile>,
    shape: Option<String>,
}

#[derive(Debug, Clone)]
struct Stored {
    states: RecordBatch,
    /// The epoch whose file holds it.
    epoch: u64,
}

impl WindowState {
    /// What files hold, oldest first; windows that were emitted are left out.
    pub(crate) fn load(
        shape: String,
        files: Vec<(StateFile, BTreeMap<i64, RecordBatch>)>,
        is_open: impl Fn(i64) -> bool,
    ) -> Self {
        let mut loaded = Self { shape: Some(shape), ..Self::default() };
        for (file, windows) in files {
            for (start, states) in windows.into_iter().filter(|(start, _)| is_open(*start)) {
                loaded.windows.insert(start, Stored { states, epoch: file.epoch });
            }
            loaded.files.insert(file.epoch, file);
        }
        loaded.forget_dead_files();
        loaded
    }

    /// The file with the schema of the transformed rows.
    pub(crate) fn shape(&self) -> Option<&str> {
        self.shape.as_deref()
    }

    pub(crate) fn set_shape(&mut self, path: String) {
        self.shape = Some(path);
    }

    /// The states of these windows, of those that are there.
    pub(crate) fn of(&self, windows: &BTreeSet<i64>) -> Vec<RecordBatch> {
        windows.iter().filter_map(|start| self.windows.get(start)).map(|stored| stored.states.clone()).collect()
    }

    /// All states, by window.
    pub(crate) fn all(&self) -> Vec<RecordBatch> {
        self.windows.values().map(|stored| stored.states.clone()).collect()
    }

    /// The first states, for their schema.
    pub(crate) fn sample(&self) -> Option<&RecordBatch> {
        self.windows.values().next().map(|stored| &stored.states)
    }

    pub(crate) fn rows(&self) -> u64 {
        self.windows.values().map(|stored| stored.states.num_rows() as u64).sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.windows.values().map(|stored| stored.states.get_array_memory_size() as u64).sum()
    }

    /// The files that hold open windows, oldest first.
    pub(crate) fn files(&self) -> Vec<StateFile> {
        self.files.values().cloned().collect()
    }

    /// Replaces the states of windows; they are in no file yet.
    pub(crate) fn replace(&mut self, epoch: u64, windows: BTreeMap<i64, RecordBatch>) {
        for (start, states) in windows {
            self.windows.insert(start, Stored { states, epoch });
        }
    }

    /// Takes the windows out that end at or before the watermark, oldest first.
    pub(crate) fn close(&mut self, width_us: i64, watermark_us: Option<i64>) -> Vec<RecordBatch> {
        let Some(watermark_us) = watermark_us else { return Vec::new() };
        let mut closed = Vec::new();
        while let Some(first) = self.windows.first_entry() {
            if first.key().saturating_add(width_us) > watermark_us {
                break;
            }
            closed.push(first.remove().states);
        }
        closed
    }

    /// What the file of `epoch` must hold: the windows changed in it, or all when there are too many files.
    pub(crate) fn changes_of(&mut self, epoch: u64) -> Vec<RecordBatch> {
        self.forget_dead_files();
        if self.files.len() >= FILES_BEFORE_COMPACTION {
            self.windows.values_mut().for_each(|stored| stored.epoch = epoch);
            self.files.clear();
        }
        self.windows.values().filter(|stored| stored.epoch == epoch).map(|stored| stored.states.clone()).collect()
    }

    /// The windows changed in its epoch are in this file now.
    pub(crate) fn written(&mut self, file: StateFile) {
        self.files.insert(file.epoch, file);
    }

    /// A file is dead when each of its windows was emitted or lies in a later file.
    fn forget_dead_files(&mut self) {
        let live: BTreeSet<u64> = self.windows.values().map(|stored| stored.epoch).collect();
        self.files.retain(|epoch, _| live.contains(epoch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int64Array};

    fn states(n: i64) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![n])) as ArrayRef)]).unwrap()
    }

    fn file(epoch: u64) -> StateFile {
        StateFile { path: format!("{epoch}"), epoch, rows: 1, bytes: 1 }
    }

    /// One epoch that changes these windows; gives the number of states written.
    fn epoch(state: &mut WindowState, epoch: u64, changed: &[i64]) -> usize {
        state.replace(epoch, changed.iter().map(|start| (*start, states(i64::try_from(epoch).unwrap()))).collect());
        let written = state.changes_of(epoch);
        if !written.is_empty() {
            state.written(file(epoch));
        }
        written.len()
    }

    fn epochs(state: &WindowState) -> Vec<u64> {
        state.files().iter().map(|file| file.epoch).collect()
    }

    #[test]
    fn an_epoch_writes_the_windows_that_it_changed_and_dead_files_are_forgotten() {
        let mut state = WindowState::default();
        assert_eq!(epoch(&mut state, 0, &[0, 10]), 2);
        assert_eq!(epoch(&mut state, 1, &[10]), 1);
        assert_eq!(epochs(&state), [0, 1]);
        assert_eq!(epoch(&mut state, 2, &[0]), 1, "window 0 moves to file 2, so that file 0 is dead");
        assert_eq!(epochs(&state), [1, 2]);
        assert_eq!(state.close(10, Some(10)), [states(2)]);
        assert!(state.changes_of(3).is_empty());
        assert_eq!(epochs(&state), [1]);
    }

    #[test]
    fn many_files_are_written_into_one() {
        let mut state = WindowState::default();
        for n in 0..8 {
            assert_eq!(epoch(&mut state, n, &[i64::try_from(n).unwrap() * 10]), 1);
        }
        assert_eq!(epochs(&state).len(), 8);
        assert_eq!(epoch(&mut state, 8, &[80]), 9);
        assert_eq!(epochs(&state), [8]);
    }

    #[test]
    fn loading_takes_the_newest_state_of_each_open_window() {
        let windows = |n, starts: &[i64]| starts.iter().map(|start| (*start, states(n))).collect::<BTreeMap<_, _>>();
        let files = vec![(file(1), windows(1, &[0, 10, 20])), (file(4), windows(4, &[10])), (file(5), windows(5, &[20]))];
        let state = WindowState::load("shape".into(), files, |start| start >= 10);
        assert_eq!(state.all(), [states(4), states(5)]);
        assert_eq!(epochs(&state), [4, 5]);
    }
}
