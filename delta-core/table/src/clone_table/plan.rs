//! Which files a clone adds, removes, and copies.

use std::collections::{BTreeMap, BTreeSet};

use boathouse_delta_protocol::action::{Add, StringMap, decode_path, encode_path};
use boathouse_delta_protocol::deletion_vector::{DeletionVectorDescriptor, StorageType, VectorLocation};
use boathouse_storage::Storage;
use object_store::path::Path;

use crate::error::{CloneProblem, DeltaError, OnTable, Result};
use crate::scan::{DataFile, locate};
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;

/// The tag of a copied file: the id of the source, and the path of the file there.
const FROM_FILE: &str = "boathouse.clonedFile";
/// The tag of a copied file with a deletion vector: the vector there, and here.
const FROM_VECTOR: &str = "boathouse.clonedVector";

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) adds: Vec<Add>,
    pub(super) removes: Vec<DataFile>,
    pub(super) copies: Vec<Copied>,
}

/// An object that is copied.
#[derive(Debug)]
pub(super) struct Copied {
    /// Where it is, in the store of the source.
    pub(super) from: Path,
    /// Its name for messages: relative to the source, or absolute.
    pub(super) path: String,
    /// Its copy, relative to the clone.
    pub(super) to: String,
    /// Its size, of data files.
    pub(super) size_bytes: Option<u64>,
}

/// A clone that names the files of the source.
pub(super) fn shallow(source: &Snapshot, files: &[DataFile], known: Vec<DataFile>) -> Result<Plan> {
    let storage = source.table().storage();
    let mut plan = Plan::default();
    let mut wanted = BTreeSet::new();
    let known_keys: BTreeSet<_> = known.iter().map(|file| file.add().key()).collect();
    for file in files {
        let mut add = without_ids(file.add());
        add.path = encode_path(&absolute(storage, &file.path())?);
        if let Some(vector) = add.deletion_vector.as_deref_mut()
            && let VectorLocation::InTable(path) = vector.location().on(source.url())?
        {
            vector.storage_type = StorageType::AbsolutePath;
            vector.path_or_inline_dv = encode_path(&absolute(storage, &path)?);
        }
        wanted.insert(add.key());
        if !known_keys.contains(&add.key()) {
            plan.adds.push(add);
        }
    }
    plan.removes = known.into_iter().filter(|file| !wanted.contains(&file.add().key())).collect();
    Ok(plan)
}

/// A clone with files of its own. Files that an earlier clone of the same source copied stay.
pub(super) fn deep(source: &Snapshot, files: &[DataFile], target: &DeltaTable, known: Vec<DataFile>) -> Result<Plan> {
    let mut plan = Plan::default();
    let storage = source.table().storage();
    let mut known: BTreeMap<String, DataFile> = known
        .into_iter()
        .map(|file| (tag(file.add(), FROM_FILE).map_or_else(|| format!(" {}", file.add().path), str::to_owned), file))
        .collect();
    let mut vectors: BTreeMap<String, [u8; 16]> = BTreeMap::new();
    for file in files {
        let origin = format!("{} {}", source.metadata().id, file.add().path);
        let same = known.remove(&origin);
        if let Some(same) = &same
            && tag(same.add(), FROM_VECTOR) == vector_origin(file.deletion_vector(), same.deletion_vector()).as_deref()
        {
            continue;
        }
        let mut add = without_ids(file.add());
        match &same {
            // Its rows are here already; its deletion vector is another one.
            Some(same) => {
                add.path.clone_from(&same.add().path);
                (add.base_row_id, add.default_row_commit_version) =
                    (same.add().base_row_id, same.add().default_row_commit_version);
            }
            None => {
                let to = copy_name(target, &file.path());
                add.path = encode_path(&to);
                let (from, path) = (file.object_path(storage)?, file.path().into_owned());
                plan.copies.push(Copied { from, path, to, size_bytes: Some(file.size_bytes()) });
            }
        }
        if let Some(vector) = add.deletion_vector.as_deref_mut() {
            *vector = copy_vector(storage, vector, target, &mut vectors, &mut plan.copies)?;
        }
        let mut tags = add.tags.take().unwrap_or_default();
        tags.insert(FROM_FILE, Some(&origin));
        if let Some(vector) = vector_origin(file.deletion_vector(), add.deletion_vector.as_deref()) {
            tags.insert(FROM_VECTOR, Some(&vector));
        } else {
            // The source may be a clone itself.
            tags = tags.iter().filter(|(key, _)| *key != FROM_VECTOR).collect::<StringMap>();
        }
        add.tags = Some(tags);
        plan.adds.push(add);
        plan.removes.extend(same);
    }
    plan.removes.extend(known.into_values());
    Ok(plan)
}

/// Rows of a clone are new rows: they get ids of their own.
fn without_ids(add: &Add) -> Add {
    Add { data_change: true, base_row_id: None, default_row_commit_version: None, ..add.clone() }
}

fn tag<'a>(add: &'a Add, key: &str) -> Option<&'a str> {
    add.tags.as_ref()?.get(key)?
}

/// Tells whether the vectors of a file are still those that a clone made.
fn vector_origin(there: Option<&DeletionVectorDescriptor>, here: Option<&DeletionVectorDescriptor>) -> Option<String> {
    let id = |vector: Option<&DeletionVectorDescriptor>| vector.map_or_else(|| "none".to_owned(), |v| v.unique_id());
    (there.is_some() || here.is_some()).then(|| format!("{} {}", id(there), id(here)))
}

/// The vector in a file of the clone. Many vectors stand in one file: it is copied once.
fn copy_vector(
    storage: &Storage,
    vector: &DeletionVectorDescriptor,
    target: &DeltaTable,
    copied: &mut BTreeMap<String, [u8; 16]>,
    copies: &mut Vec<Copied>,
) -> Result<DeletionVectorDescriptor> {
    let path = match vector.location().on(storage.url())? {
        VectorLocation::Inline => return Ok(vector.clone()),
        VectorLocation::InTable(path) | VectorLocation::Absolute(path) => path,
    };
    let known = copied.get(&path).copied();
    let uuid = known.unwrap_or_else(|| target.env().uuid_bytes());
    let here = vector.in_file(uuid);
    if known.is_none() {
        copied.insert(path.clone(), uuid);
        if let VectorLocation::InTable(to) = here.location().on(target.url())? {
            copies.push(Copied { from: locate(storage, &path)?, path, to, size_bytes: None });
        }
    }
    Ok(here)
}

/// A new name in the same folder, with the same endings. A file that lies elsewhere keeps the folders of its partition.
fn copy_name(target: &DeltaTable, path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let endings = name.split_once('.').map_or(String::new(), |(_, endings)| format!(".{endings}"));
    let name = format!("part-00000-{}-c000{endings}", target.env().uuid());
    let is_absolute = folder.contains(":/") || folder.starts_with('/');
    let folders: Vec<&str> = match is_absolute {
        true => {
            let last: Vec<&str> = folder.rsplit('/').take_while(|part| part.contains('=')).collect();
            last.into_iter().rev().collect()
        }
        false => folder.split('/').filter(|part| !part.is_empty()).collect(),
    };
    folders.into_iter().chain([name.as_str()]).collect::<Vec<_>>().join("/")
}

/// The absolute form of a decoded path, decoded as well.
fn absolute(storage: &Storage, path: &str) -> Result<String> {
    if path.starts_with('/') || path.contains("://") || path.starts_with("file:") {
        return Ok(path.to_owned());
    }
    let folder = decode_path(storage.url()).on(storage.url())?;
    Ok(format!("{folder}{path}"))
}

/// Checks that the clone reaches the files of the source through its own store.
///
/// **Errors**: `Unsupported` when it does not: the copy must be deep.
pub(super) async fn check_reach(target: &Storage, source: &Snapshot, first: Option<&Add>) -> Result<()> {
    let Some(add) = first else { return Ok(()) };
    let path = add.decoded_path().on(source.url())?;
    let problem = CloneProblem::AnotherStore { source_url: source.url().to_owned(), path: path.clone().into_owned() };
    let unreached = || DeltaError::CannotClone { url: target.url().to_owned(), problem };
    let Ok(object) = locate(target, &path) else { return Err(unreached()) };
    match object_store::ObjectStoreExt::head(target.object_store(), &object).await {
        Ok(_) => Ok(()),
        Err(object_store::Error::NotFound { .. }) => Err(unreached()),
        Err(error) => Err(DeltaError::Store {
            attempted: "look up",
            url: target.url().to_owned(),
            path: path.into_owned(),
            source: Box::new(error),
        }),
    }
}
