//! What a file is told apart by: 128 bits of its path, or of its path and version.
//!
//! # Why 128 bits
//! A fingerprint that stands for two files loses the second one. Among ten million files the chance of that is about
//! 10⁻⁶ with 64 bits and 10⁻²⁵ with 128, which needs no look at the path to be sure of it. The hash is SipHash-1-3
//! keyed by the source's id: nobody who chooses file names can aim at a collision.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::discovery::FileFacts;

/// What stands for a file in the ledger.
pub(crate) type Fingerprint = u128;

/// Makes the fingerprints of one source.
#[derive(Debug, Clone)]
pub(crate) struct Fingerprints {
    key: (u64, u64),
    versions: bool,
}

impl Fingerprints {
    /// With `versions`, a file that was overwritten is another file.
    pub(crate) fn new(source: &str, versions: bool) -> Self {
        let mut hasher = SipHasher13::new_with_keys(0, 0);
        hasher.write(source.as_bytes());
        let key = hasher.finish128();
        Self { key: (key.h1, key.h2), versions }
    }

    /// Whether a file's facts take part, so that they have to be known first.
    pub(crate) fn need_facts(&self) -> bool {
        self.versions
    }

    /// The fingerprint of a path, or of a version of it: by its entity tag where the store has one, else by its time of
    /// modification, and by its size.
    pub(crate) fn of(&self, path: &str, facts: Option<&FileFacts>) -> Fingerprint {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write(path.as_bytes());
        if self.versions
            && let Some(facts) = facts
        {
            hasher.write_u8(0);
            hasher.write_u64(facts.size_bytes.to_le());
            match &facts.etag {
                Some(etag) => hasher.write(etag.as_bytes()),
                None => hasher.write_i64(facts.modified_us.to_le()),
            }
        }
        hasher.finish128().as_u128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_only_when_they_are_asked_for() {
        let old = FileFacts { size_bytes: 1, modified_us: 5, etag: None };
        let new = FileFacts { size_bytes: 1, modified_us: 6, etag: None };
        let paths = Fingerprints::new("s", false);
        assert_eq!(paths.of("a", Some(&old)), paths.of("a", None));
        assert_ne!(paths.of("a", None), paths.of("b", None));
        assert_ne!(paths.of("a", None), Fingerprints::new("t", false).of("a", None));
        let versions = Fingerprints::new("s", true);
        assert_ne!(versions.of("a", Some(&old)), versions.of("a", Some(&new)));
        let tagged = |tag: &str, modified_us| FileFacts { size_bytes: 1, modified_us, etag: Some(tag.to_owned()) };
        assert_eq!(versions.of("a", Some(&tagged("x", 1))), versions.of("a", Some(&tagged("x", 2))), "the tag says it all");
        assert_ne!(versions.of("a", Some(&tagged("x", 1))), versions.of("a", Some(&tagged("y", 1))));
    }
}
