//! From a path to the rows that have it.

use hashbrown::HashTable;

use super::key::{hash, same_path};

/// The rows of a segment by path. Several rows may have one path, with different deletion vectors.
#[derive(Debug, Default)]
pub(super) struct Lookup(HashTable<u32>);

impl Lookup {
    /// **Cost**: a hash of each path; 5 to 10 bytes a row.
    pub(super) fn new<'a>(rows: u32, path_of: impl Fn(u32) -> &'a str) -> Self {
        let hashes: Vec<u64> = (0..rows).map(|row| hash(path_of(row))).collect();
        let hash_of = |row: &u32| hashes[*row as usize];
        let mut table = HashTable::with_capacity(hashes.len());
        for row in 0..rows {
            table.insert_unique(hashes[row as usize], row, hash_of);
        }
        Self(table)
    }

    /// Rows with this path, in no order. `hash` is that of the path.
    pub(super) fn rows<'a>(
        &'a self,
        hash: u64,
        path: &'a str,
        path_of: impl Fn(u32) -> &'a str + 'a,
    ) -> impl Iterator<Item = u32> + 'a {
        self.0.iter_hash(hash).copied().filter(move |row| same_path(path_of(*row), path))
    }
}
