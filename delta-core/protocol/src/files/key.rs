//! What makes two file actions speak of the same file.

use std::borrow::Cow;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::action::decode_path;
use crate::deletion_vector::DeletionVectorDescriptor;

/// A path in the one spelling by which it is compared.
///
/// Writers encode the same path in more than one way (`%3D` or `=`), and write an absolute path of the local file
/// system with or without `file:` before it.
pub(super) fn canonical(path: &str) -> Cow<'_, str> {
    if !has_spellings(path) {
        return Cow::Borrowed(path);
    }
    let decoded = decode_path(path).unwrap_or(Cow::Borrowed(path));
    match decoded.strip_prefix("file:") {
        Some(local) if local.starts_with('/') => Cow::Owned(format!("/{}", local.trim_start_matches('/'))),
        _ => decoded,
    }
}

/// Whether the path may be written in another way.
fn has_spellings(path: &str) -> bool {
    memchr::memchr2(b'%', b':', path.as_bytes()).is_some()
}

/// The hash of a path, whatever its spelling.
pub(super) fn hash(path: &str) -> u64 {
    FixedState::default().hash_one(canonical(path).as_bytes())
}

/// Whether two spellings mean one path.
pub(super) fn same_path(a: &str, b: &str) -> bool {
    a == b || (has_spellings(a) || has_spellings(b)) && canonical(a) == canonical(b)
}

/// Two vectors of one data file are the same when their unique ids are: no text is built to find out.
pub(super) fn same_vector(a: Option<&DeletionVectorDescriptor>, b: Option<&DeletionVectorDescriptor>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            a.storage_type == b.storage_type && a.offset == b.offset && a.path_or_inline_dv == b.path_or_inline_dv
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_a_path_are_one_path() {
        for (a, b) in [("a%20b", "a b"), ("file:///x/y", "/x/y"), ("file:/x/y", "file:///x/y"), ("d=1/f", "d%3D1/f")] {
            assert!(same_path(a, b), "{a} and {b}");
            assert_eq!(hash(a), hash(b), "{a} and {b}");
        }
        for (a, b) in [("a", "b"), ("s3://x/y", "/x/y"), ("a%20b", "a%21b"), ("file:x", "x")] {
            assert!(!same_path(a, b), "{a} and {b}");
        }
    }
}
