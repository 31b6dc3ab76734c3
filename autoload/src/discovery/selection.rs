//! Which files are meant.

use boathouse_storage::{Glob, Storage};

use super::FileFacts;

/// Which files are meant, by name, time and age.
#[derive(Debug)]
pub(crate) struct Selection {
    glob: Option<Glob>,
    /// Our own state, when it lies below the landing folder: its path with a slash at the end.
    state: Option<String>,
    modified_after_us: Option<i64>,
    modified_before_us: Option<i64>,
    max_file_age_us: Option<i64>,
}

impl Selection {
    pub(crate) fn new(landing: &Storage, state: &Storage, glob: Option<Glob>) -> Self {
        let below = state.url() != landing.url() && state.url().starts_with(landing.url());
        // Both URLs are encoded alike, and so is the path that is compared with them.
        let state = below.then(|| state.url()[landing.url().len()..].to_owned());
        Self { glob, state, modified_after_us: None, modified_before_us: None, max_file_age_us: None }
    }

    /// Only files that were modified within these bounds.
    pub(crate) fn modified(mut self, after_us: Option<i64>, before_us: Option<i64>, max_age_us: Option<i64>) -> Self {
        self.modified_after_us = after_us;
        self.modified_before_us = before_us;
        self.max_file_age_us = max_age_us;
        self
    }

    /// Whether a path is meant, whatever its facts are.
    pub(crate) fn meets(&self, path: &str, url_of: impl Fn(&str) -> String, landing_url: &str) -> bool {
        !is_hidden(path)
            && self.glob.as_ref().is_none_or(|glob| glob.matches(path))
            && !self
                .state
                .as_deref()
                .is_some_and(|state| url_of(path).strip_prefix(landing_url).is_some_and(|below| below.starts_with(state)))
    }

    /// Whether a file with these facts is meant.
    pub(crate) fn meets_facts(&self, facts: &FileFacts, now_us: i64) -> bool {
        self.modified_after_us.is_none_or(|after| facts.modified_us > after)
            && self.modified_before_us.is_none_or(|before| facts.modified_us < before)
            && self.max_file_age_us.is_none_or(|age| facts.modified_us >= now_us.saturating_sub(age))
    }
}

/// Files that are being written, or that belong to somebody's bookkeeping: a part of the path begins with
/// `.` or `_` (a partition folder `_x=1` does not count), or the name ends in `.tmp` or `.crc`.
pub(super) fn is_hidden(path: &str) -> bool {
    path.split('/').any(is_hidden_part) || path.ends_with(".tmp") || path.ends_with(".crc")
}

/// Whether nothing below a folder of this name is meant.
pub(super) fn is_hidden_part(part: &str) -> bool {
    part.starts_with('.') || (part.starts_with('_') && !part.contains('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_being_written_and_bookkeeping_are_hidden() {
        for hidden in [".a.json", "x/_SUCCESS", "_delta_log/0.json", "a.json.tmp", ".a.json.crc", "a.crc", "x/.y/z"] {
            assert!(is_hidden(hidden), "{hidden}");
        }
        for seen in ["a.json", "x/_day=1/a.json", "a_b/c.d"] {
            assert!(!is_hidden(seen), "{seen}");
        }
    }

    #[test]
    fn times_bound_the_files_and_an_age_moves_with_the_clock() {
        let landing = Storage::memory();
        let facts = |modified_us| FileFacts { size_bytes: 0, modified_us, etag: None };
        let selection = Selection::new(&landing, &Storage::memory(), None).modified(Some(10), Some(20), None);
        let meant: Vec<i64> = (8..22).filter(|at| selection.meets_facts(&facts(*at), 100)).collect();
        assert_eq!(meant, (11..20).collect::<Vec<_>>());
        let selection = Selection::new(&landing, &Storage::memory(), None).modified(None, None, Some(5));
        assert!(selection.meets_facts(&facts(95), 100));
        assert!(!selection.meets_facts(&facts(95), 101));
    }
}
