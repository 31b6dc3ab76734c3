//! `add` and `remove`, field by field.

use std::borrow::Cow;

use super::cursor::{Cursor, RawText};
use super::scanner::RemovedFile;
use crate::deletion_vector::DeletionVectorDescriptor;
use crate::files::NewFile;

/// What an `add` object says; its statistics stay as they stand between their quotes, or are left out.
/// `None`: not as usual, ask the slow parser.
pub(super) fn add<'a>(cursor: &mut Cursor<'a>, with_stats: bool) -> Option<NewFile<'a>> {
    let mut file = NewFile::default();
    let (mut path, mut size, mut time, mut change) = (false, false, false, false);
    cursor.eat(b'{')?;
    loop {
        match cursor.key()? {
            "path" => {
                file.path = cursor.text()?.decode()?;
                path = true;
            }
            "partitionValues" => partition_values(cursor, &mut file.partition_values)?,
            "size" => {
                file.size = cursor.long()?.try_into().ok()?;
                size = true;
            }
            "modificationTime" => {
                file.modification_time = cursor.long()?;
                time = true;
            }
            "dataChange" => {
                file.data_change = cursor.bool()?;
                change = true;
            }
            "stats" if cursor.null() => {}
            "stats" => {
                let RawText(stats) = cursor.text()?;
                file.stats = with_stats.then_some(Cow::Borrowed(stats));
            }
            "tags" => file.tags = serde_json::from_str(cursor.value()?).ok()?,
            "deletionVector" => file.deletion_vector = serde_json::from_str(cursor.value()?).ok()?,
            "baseRowId" if cursor.null() => {}
            "baseRowId" => file.base_row_id = Some(cursor.long()?),
            "defaultRowCommitVersion" if cursor.null() => {}
            "defaultRowCommitVersion" => file.default_row_commit_version = Some(cursor.long()?),
            "clusteringProvider" => file.clustering_provider = serde_json::from_str(cursor.value()?).ok()?,
            _ => {
                cursor.value()?;
            }
        }
        if !cursor.more(b'}')? {
            break;
        }
    }
    (path && size && time && change).then_some(file)
}

fn partition_values<'a>(cursor: &mut Cursor<'a>, values: &mut Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>) -> Option<()> {
    if cursor.null() {
        return Some(());
    }
    cursor.eat(b'{')?;
    if cursor.eat(b'}').is_some() {
        return Some(());
    }
    loop {
        let key = cursor.text()?.decode()?;
        cursor.eat(b':')?;
        let value = if cursor.null() { None } else { Some(cursor.text()?.decode()?) };
        values.push((key, value));
        if !cursor.more(b'}')? {
            return Some(());
        }
    }
}

/// Which file a `remove` object is about. `None`: not as usual, ask the slow parser.
pub(super) fn remove(cursor: &mut Cursor<'_>) -> Option<RemovedFile> {
    let (mut path, mut change) = (None, false);
    let mut deletion_vector: Option<Box<DeletionVectorDescriptor>> = None;
    cursor.eat(b'{')?;
    loop {
        match cursor.key()? {
            "path" => path = Some(cursor.text()?.decode()?.into()),
            "dataChange" => {
                cursor.bool()?;
                change = true;
            }
            "deletionVector" => deletion_vector = serde_json::from_str(cursor.value()?).ok()?,
            _ => {
                cursor.value()?;
            }
        }
        if !cursor.more(b'}')? {
            break;
        }
    }
    Some(RemovedFile { path: path.filter(|_| change)?, deletion_vector })
}
