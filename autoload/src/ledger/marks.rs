//! What became of files after they were read: committed downstream, deleted, moved.

use serde::{Deserialize, Serialize};

/// Older commits are told apart less precisely.
const MOST_MARKS: usize = 4096;

/// Files up to here are committed since then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommitMark {
    pub(crate) end: u64,
    pub(crate) at_us: i64,
}

/// Files that were cleaned together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CleanMark {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) at_us: i64,
    /// Whether they were moved, and not deleted.
    pub(crate) moved: bool,
    /// Files among them that stayed where they are: they changed, or the store refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) kept: Vec<u64>,
}

/// All marks of a source, in the order of files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    pub(super) commits: Vec<CommitMark>,
    pub(super) cleans: Vec<CleanMark>,
}

impl Marks {
    /// Adds a commit; one that says nothing new is no mark.
    pub(super) fn commit(&mut self, mark: CommitMark) {
        if mark.end <= self.committed() {
            return;
        }
        self.commits.push(mark);
        if self.commits.len() > MOST_MARKS {
            // Of two neighbours among the older half the later one stays: a file is never called committed too early.
            let half = MOST_MARKS / 2;
            let mut at = 0;
            self.commits.retain(|_| {
                at += 1;
                at > half || at % 2 == 0
            });
        }
    }

    pub(super) fn clean(&mut self, mark: CleanMark) {
        if mark.start == self.cleaned() && mark.end > mark.start {
            match self.cleans.last_mut() {
                // One of a kind right after another: a mark for each batch would be many.
                Some(last) if last.at_us == mark.at_us && last.moved == mark.moved => {
                    last.end = mark.end;
                    last.kept.extend(mark.kept);
                }
                _ => self.cleans.push(mark),
            }
        }
    }

    /// Files before this are committed.
    pub(crate) fn committed(&self) -> u64 {
        self.commits.last().map_or(0, |mark| mark.end)
    }

    /// Files before this have been cleaned.
    pub(crate) fn cleaned(&self) -> u64 {
        self.cleans.last().map_or(0, |mark| mark.end)
    }

    /// When a file was committed.
    pub(crate) fn commit_time(&self, file: u64) -> Option<i64> {
        let at = self.commits.partition_point(|mark| mark.end <= file);
        self.commits.get(at).map(|mark| mark.at_us)
    }

    /// How and when a file was cleaned.
    pub(crate) fn clean_of(&self, file: u64) -> Option<&CleanMark> {
        let at = self.cleans.partition_point(|mark| mark.end <= file);
        self.cleans.get(at).filter(|mark| mark.start <= file && mark.kept.binary_search(&file).is_err())
    }

    /// The end of the files that were committed at this time or before.
    pub(crate) fn committed_by(&self, at_us: i64) -> u64 {
        self.commits.iter().rev().find(|mark| mark.at_us <= at_us).map_or(0, |mark| mark.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_time_of_the_first_commit_that_holds_it() {
        let mut marks = Marks::default();
        for (end, at_us) in [(2, 10), (2, 20), (5, 30), (1, 40)] {
            marks.commit(CommitMark { end, at_us });
        }
        let times: Vec<_> = (0..6).map(|file| marks.commit_time(file)).collect();
        assert_eq!(times, [Some(10), Some(10), Some(30), Some(30), Some(30), None]);
        assert_eq!((marks.committed(), marks.committed_by(29), marks.committed_by(9)), (5, 2, 0));
    }

    #[test]
    fn many_commits_are_bounded_and_never_come_too_early() {
        let mut marks = Marks::default();
        let count = 3 * MOST_MARKS as u64;
        for end in 1..=count {
            marks.commit(CommitMark { end, at_us: i64::try_from(end).unwrap() });
        }
        assert!(marks.commits.len() <= MOST_MARKS);
        for file in 0..count {
            assert!(marks.commit_time(file).unwrap() > i64::try_from(file).unwrap());
        }
        assert_eq!(marks.commit_time(count - 1), Some(i64::try_from(count).unwrap()));
    }

    #[test]
    fn files_that_stayed_are_not_cleaned() {
        let mut marks = Marks::default();
        marks.clean(CleanMark { start: 0, end: 3, at_us: 7, moved: true, kept: vec![1] });
        marks.clean(CleanMark { start: 2, end: 9, at_us: 8, moved: true, kept: vec![] });
        let cleaned: Vec<_> = (0..4).map(|file| marks.clean_of(file).map(|mark| mark.at_us)).collect();
        assert_eq!((cleaned, marks.cleaned()), (vec![Some(7), None, Some(7), None], 3));
    }
}
