//! Files that come back, where no vacuum takes them.
//!
//! A vacuum that looked at the table before a restore commits may delete afterwards what it found then; nothing that a writer
//! does can stop it. It leaves two kinds of objects alone: those that a tombstone within the retention names, and those that
//! are younger than the retention. So a file of the first kind is added again as it was, and any other one is copied within
//! the store: a copy is young. A vacuum of another program does not have to take part in this.

use std::collections::BTreeMap;

use boathouse_delta_protocol::action::{Add, decode_path, encode_path};
use boathouse_delta_protocol::deletion_vector::{DeletionVectorDescriptor, VectorLocation};
use boathouse_storage::Storage;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;

use crate::deletion::delete_all;
use crate::error::{DeltaError, OnTable, Result};
use crate::scan::{DataFile, below_table, locate};
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::vacuum::Needed;
use crate::write::upload::copy_object;

/// Objects that are looked up, or copied, at once.
const AT_ONCE: usize = 16;
/// How long a restore may take, and clocks may differ, at most: files that may go so soon are copied. With a short
/// retention, half of it.
const MARGIN_US: u64 = 86_400_000_000;

/// Files that can be added again.
#[derive(Debug, Default)]
pub(super) struct Revived {
    pub(super) adds: Vec<Add>,
    /// Files with a copy of their rows, or of their deletion vector.
    pub(super) files_copied: u64,
    /// Objects that no commit names yet, relative to the table.
    copies: Vec<String>,
}

/// An object that is wanted back.
#[derive(Debug)]
struct Wanted {
    /// Where it is, decoded: relative to the table, or absolute.
    path: String,
    /// Its copy, relative to the table; nothing when it stays where it is.
    copy: Option<String>,
}

/// Makes files of `version` ready to be added to `now`.
///
/// **Errors**: `NotFound` naming a file that was vacuumed. Then nothing is left behind.
pub(super) async fn revive(now: &Snapshot, version: u64, back: &[DataFile]) -> Result<Revived> {
    let table = now.table();
    let retention_us = now.properties().deleted_file_retention_us;
    let keeps_us = retention_us - MARGIN_US.min(retention_us / 2);
    let cutoff_us = table.env().now_us().saturating_sub(i64::try_from(keeps_us).unwrap_or(i64::MAX));
    let needed = if back.is_empty() { None } else { Some(Needed::of(now, cutoff_us).await?) };
    let is_safe = |path: &str| needed.as_ref().is_some_and(|needed| needed.contains(path));
    let mut revived = Revived::default();
    let mut wanted = Vec::new();
    // Many vectors stand in one file: it is looked up, or copied, once.
    let mut vector_copies = BTreeMap::new();
    for file in back {
        let mut add = Add { data_change: true, ..file.add().as_ref().clone() };
        let path = decode_path(&add.path).on(table.url())?.into_owned();
        let copy = below_table(table.storage(), &path).filter(|path| !is_safe(path)).map(|path| renamed(table, &path));
        let mut copied = copy.is_some();
        if let Some(copy) = &copy {
            add.path = encode_path(copy);
        }
        wanted.push(Wanted { path, copy });
        if let Some(vector) = add.deletion_vector.as_deref_mut() {
            copied |= keep_vector(table, vector, is_safe, &mut vector_copies, &mut wanted)?;
        }
        revived.files_copied += u64::from(copied);
        revived.adds.push(add);
    }
    revived.copies = wanted.iter().filter_map(|object| object.copy.clone()).collect();
    // Made before they are buffered: of a closure that lends its argument the compiler cannot see that its future may change threads.
    let fetched: Vec<_> = wanted.iter().map(|object| fetch(table.storage(), version, object)).collect();
    match futures::stream::iter(fetched).buffer_unordered(AT_ONCE).try_collect::<()>().await {
        Ok(()) => Ok(revived),
        Err(error) => {
            revived.discard(table).await;
            Err(error)
        }
    }
}

impl Revived {
    /// Deletes the copies: nothing was committed. Best effort.
    pub(super) async fn discard(self, table: &DeltaTable) {
        if let Err(error) = delete_all(table.storage(), &self.copies).await {
            tracing::warn!(table = table.url(), %error, "copies of files that no commit names could not be deleted");
        }
    }
}

/// Has the vector of a file point at a copy where it must. Says whether it does.
fn keep_vector(
    table: &DeltaTable,
    vector: &mut DeletionVectorDescriptor,
    is_safe: impl Fn(&str) -> bool,
    copies: &mut BTreeMap<String, Option<[u8; 16]>>,
    wanted: &mut Vec<Wanted>,
) -> Result<bool> {
    let path = match vector.location().on(table.url())? {
        VectorLocation::Inline => return Ok(false),
        VectorLocation::InTable(path) | VectorLocation::Absolute(path) => path,
    };
    let known = copies.get(&path).copied();
    let copy = known.unwrap_or_else(|| {
        let below = below_table(table.storage(), &path);
        below.filter(|path| !is_safe(path)).map(|_| table.env().uuid_bytes())
    });
    if let Some(uuid) = copy {
        *vector = vector.in_file(uuid);
    }
    if known.is_none() {
        copies.insert(path.clone(), copy);
        let copied_to = copy.map(|_| vector.location()).transpose().on(table.url())?;
        let copy = copied_to.and_then(|location| if let VectorLocation::InTable(copy) = location { Some(copy) } else { None });
        wanted.push(Wanted { path, copy });
    }
    Ok(copy.is_some())
}

/// A new name in the same folder, with the same endings.
fn renamed(table: &DeltaTable, path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let endings = name.split_once('.').map_or(String::new(), |(_, endings)| format!(".{endings}"));
    let name = format!("part-00000-{}-c000{endings}", table.env().uuid());
    if folder.is_empty() { name } else { format!("{folder}/{name}") }
}

async fn fetch(storage: &Storage, version: u64, object: &Wanted) -> Result<()> {
    let from = locate(storage, &object.path)?;
    let (attempted, done) = match &object.copy {
        None => ("look up", storage.object_store().head(&from).await.map(drop)),
        Some(copy) => ("copy", copy_object(storage, &from, storage, storage.path_of(copy)?).await),
    };
    let (url, path) = (storage.url().to_owned(), object.path.clone());
    done.map_err(|source| match source {
        object_store::Error::NotFound { .. } => DeltaError::DataFileMissing { url, path, version },
        source => DeltaError::Store { attempted, url, path, source: Box::new(source) },
    })
}
