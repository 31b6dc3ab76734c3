//! What happens to files when they are done (Databricks' `cleanSource`).

use std::collections::HashSet;
use std::time::Duration;

use boathouse_base::Env;
use boathouse_storage::Storage;
use futures::{StreamExt, TryStreamExt};

use crate::error::AutoLoadError;
use crate::landing::{Fetched, Landing, is_version};
use crate::ledger::{Addition, CleanMark, Landed, Ledger};

/// Files that one commit cleans at most; the next one goes on.
const CLEAN_FILES: u64 = 4096;

/// Files that are cleaned at the same time.
const CONCURRENT: usize = 16;

/// Takes files out of the landing folder, once the stream has said that their rows are safe and some time has passed.
///
/// A file that changed since it was read stays where it is, and so does one that the store refuses to let go: the
/// [state of the files](crate::AutoLoader::files_state) shows no archive time for it. A path that was read is not
/// read again, whether its file is still there or not.
#[derive(Debug, Clone)]
pub enum CleanSource {
    /// Files are deleted.
    Delete {
        /// So long after the commit. Databricks asks for more than seven days.
        retention: Duration,
    },
    /// Files are moved, under the same path.
    Move {
        /// Where to. Not a folder below the landing folder, unless its name begins with `_` or `.`.
        destination: Storage,
        /// So long after the commit.
        retention: Duration,
    },
}

impl CleanSource {
    fn retention(&self) -> Duration {
        match self {
            Self::Delete { retention } | Self::Move { retention, .. } => *retention,
        }
    }
}

/// Cleans the files whose time has come, and remembers it.
///
/// After a crash in between they are cleaned once more, which changes nothing: a file that is not there is done.
pub(crate) async fn clean(ledger: &mut Ledger, landing: &Landing, rule: &CleanSource, env: &Env) -> Result<(), AutoLoadError> {
    let now_us = env.now_us();
    let retention_us = i64::try_from(rule.retention().as_micros()).unwrap_or(i64::MAX);
    let marks = ledger.marks();
    let start = marks.cleaned();
    let end = marks.committed_by(now_us.saturating_sub(retention_us)).min(start + CLEAN_FILES);
    if end <= start {
        return Ok(());
    }
    let files = ledger.files(start..end).await?;
    let mut facts = landing.facts(files.iter().map(|file| file.path.to_string()).collect()).await?.into_iter();
    let mut seen = HashSet::new();
    // Of a path that came in several versions, the last one decides.
    let last: Vec<bool> = files.iter().rev().map(|file| seen.insert(std::sync::Arc::clone(&file.path))).collect();
    let outcomes: Vec<Option<u64>> = futures::stream::iter((start..end).zip(files).zip(last.into_iter().rev()))
        .map(|((sequence, file), is_last)| {
            let facts = facts.next().flatten();
            async move {
                let gone = match facts {
                    None => true,
                    Some(facts) if is_last && is_version(&file, &facts) => take_away(landing, rule, &file).await,
                    Some(_) => false,
                };
                Ok::<_, AutoLoadError>((!gone).then_some(sequence))
            }
        })
        .buffered(CONCURRENT)
        .try_collect()
        .await?;
    let moved = matches!(rule, CleanSource::Move { .. });
    let mark = CleanMark { start, end, at_us: now_us, moved, kept: outcomes.into_iter().flatten().collect() };
    // Whoever was faster has cleaned the same files.
    ledger.append(Addition { clean: Some(mark), ..Addition::default() }, now_us).await?;
    Ok(())
}

/// Whether the file is gone from the landing folder.
async fn take_away(landing: &Landing, rule: &CleanSource, file: &Landed) -> bool {
    let result = async {
        if let CleanSource::Move { destination, .. } = rule {
            match landing.fetch(std::slice::from_ref(file)).await?.pop() {
                Some(Fetched::Bytes(bytes)) => destination.put(&file.path, bytes).await?,
                _ => return Ok(false),
            }
        }
        landing.storage().delete(&file.path).await?;
        Ok::<_, AutoLoadError>(true)
    };
    result.await.unwrap_or_else(|error| {
        tracing::warn!(%error, url = landing.url_of(&file.path), "autoload.clean: the file stays");
        false
    })
}
