//! Where a query is: what an epoch commits together with its rows, and what to do with it after a restart.
//!
//! There is one truth, the sink. The checkpoint holds a copy for the case that the sink still knows the number of the
//! epoch but not its payload, and to notice that the sink has lost epochs.
//!
//! | sink holds | the checkpoint's copy | what happens |
//! | --- | --- | --- |
//! | nothing | none | a new query: epoch 0 |
//! | nothing | of epoch n | [`SinkBehind`](StreamError::SinkBehind) |
//! | epoch n with payload | none, or of epoch <= n | goes on after n (the copy was not written in time) |
//! | epoch n with payload | of epoch > n | [`SinkBehind`](StreamError::SinkBehind) |
//! | epoch n without payload | of epoch n | goes on after n |
//! | epoch n without payload | none, or of epoch < n | [`PositionLost`](StreamError::PositionLost) |

use std::collections::{BTreeMap, BTreeSet};

use boathouse_base::{CommittedEpoch, Offset};
use serde::{Deserialize, Serialize};

use crate::error::StreamError;
use crate::evolution::OperatorRef;

/// Of [`Position`]; another one is not read.
pub(crate) const VERSION: u32 = 3;
/// Read too when nothing is remembered: its operators had no names that stay.
const BEFORE_NAMES: u32 = 2;

/// The payload of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Position {
    pub(crate) version: u32,
    pub(crate) epoch: u64,
    /// The run that committed it: two runs of one query can be told apart.
    pub(crate) run_id: String,
    pub(crate) timestamp_us: i64,
    pub(crate) sources: Vec<SourceRange>,
    /// What each event time that is followed said until now, less its delay, by name; nothing until it was seen.
    #[serde(default)]
    pub(crate) followed_us: BTreeMap<String, Option<i64>>,
    /// The watermark that this epoch emitted by.
    pub(crate) watermark_us: Option<i64>,
    /// The watermark after it.
    pub(crate) next_watermark_us: Option<i64>,
    /// When an operator has something to do even if no rows come: once this time has passed by the query's clock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) wake_us: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) operators: Vec<OperatorRef>,
    /// Late rows that their sink may not have yet, by epoch.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) late: Vec<LateFile>,
}

/// What says whether a position can be read.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
    #[serde(default)]
    operators: Vec<serde::de::IgnoredAny>,
}

/// A file of late rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LateFile {
    /// That dropped them.
    pub(crate) epoch: u64,
    pub(crate) path: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// What an epoch has read of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct SourceRange {
    pub(crate) name: String,
    pub(crate) start: Option<String>,
    pub(crate) end: Option<String>,
    /// Where the schema of its rows is; kept for queries that remember.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) shape: Option<String>,
}

impl SourceRange {
    pub(crate) fn end(&self) -> Option<Offset> {
        self.end.as_deref().map(Offset::new)
    }
}

/// A file of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateFile {
    /// The segment that it holds.
    pub(crate) number: u32,
    pub(crate) path: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Position {
    /// Paths in the checkpoint that it refers to.
    pub(crate) fn paths(&self) -> BTreeSet<&str> {
        let files = self.operators.iter().flat_map(|operator| &operator.stores).flat_map(|store| &store.files);
        let shapes = self.sources.iter().filter_map(|source| source.shape.as_deref());
        let late = self.late.iter().map(|file| file.path.as_str());
        files.map(|file| file.path.as_str()).chain(shapes).chain(late).collect()
    }

    pub(crate) fn parse(query: &str, what: impl FnOnce() -> String, text: &[u8]) -> Result<Self, StreamError> {
        let unreadable = |source| StreamError::Unreadable { query: query.to_owned(), what: what(), source };
        let Versioned { version, operators } = match serde_json::from_slice(text) {
            Ok(versioned) => versioned,
            Err(source) => return Err(unreadable(source)),
        };
        if version != VERSION && !(version == BEFORE_NAMES && operators.is_empty()) {
            let found = format!("a position of version {version}, this build reads version {VERSION}");
            return Err(unreadable(serde::de::Error::custom(found)));
        }
        let position: Self = match serde_json::from_slice(text) {
            Ok(position) => position,
            Err(source) => return Err(unreadable(source)),
        };
        Ok(position)
    }
}

/// The position to go on after: `None` begins the stream.
pub(crate) fn resume(
    query: &str,
    sink: &str,
    committed: Option<CommittedEpoch>,
    seen: Option<Position>,
) -> Result<Option<Position>, StreamError> {
    let behind = |seen: u64, found| StreamError::SinkBehind { query: query.to_owned(), sink: sink.to_owned(), seen, found };
    match (committed, seen) {
        (None, None) => Ok(None),
        (None, Some(seen)) => Err(behind(seen.epoch, None)),
        (Some(committed), Some(seen)) if seen.epoch > committed.epoch => Err(behind(seen.epoch, Some(committed.epoch))),
        (Some(CommittedEpoch { epoch, payload: Some(payload) }), _) => {
            Position::parse(query, || format!("the position of epoch {epoch} in {sink}"), payload.as_bytes()).map(Some)
        }
        (Some(CommittedEpoch { epoch, payload: None }), Some(seen)) if seen.epoch == epoch => Ok(Some(seen)),
        (Some(CommittedEpoch { epoch, payload: None }), seen) => Err(StreamError::PositionLost {
            query: query.to_owned(),
            sink: sink.to_owned(),
            epoch,
            seen: seen.map(|seen| seen.epoch),
        }),
    }
}

/// The position of the epoch that was begun after `last`.
pub(crate) fn begun_after(
    query: &str,
    sink: &str,
    last: Option<&Position>,
    begun: Option<CommittedEpoch>,
) -> Result<Option<Position>, StreamError> {
    let Some(CommittedEpoch { epoch, payload: Some(payload) }) = begun else { return Ok(None) };
    let (found, next) = (last.map(|last| last.epoch), last.map_or(0, |last| last.epoch + 1));
    if epoch > next {
        return Err(StreamError::SinkBehind { query: query.to_owned(), sink: sink.to_owned(), seen: epoch - 1, found });
    }
    let what = || format!("what epoch {epoch} was begun with in {sink}");
    let position = Position::parse(query, what, payload.as_bytes())?;
    Ok((epoch == next).then_some(position))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(epoch: u64) -> Position {
        Position {
            version: VERSION,
            epoch,
            run_id: "r".into(),
            timestamp_us: 1,
            sources: vec![SourceRange { name: "source".into(), end: Some(epoch.to_string()), ..SourceRange::default() }],
            followed_us: BTreeMap::new(),
            watermark_us: None,
            next_watermark_us: Some(-5),
            wake_us: None,
            operators: Vec::new(),
            late: Vec::new(),
        }
    }

    fn committed(epoch: u64, with_payload: bool) -> Option<CommittedEpoch> {
        let payload = with_payload.then(|| serde_json::to_string(&position(epoch)).unwrap());
        Some(CommittedEpoch { epoch, payload })
    }

    #[test]
    fn the_sink_decides_where_a_query_goes_on() {
        let resume = |committed, seen: Option<u64>| resume("q", "memory", committed, seen.map(position));
        assert_eq!(resume(None, None).unwrap(), None);
        assert_eq!(resume(committed(3, true), None).unwrap(), Some(position(3)));
        assert_eq!(resume(committed(3, true), Some(2)).unwrap(), Some(position(3)));
        assert_eq!(resume(committed(3, false), Some(3)).unwrap(), Some(position(3)));
        assert!(matches!(resume(None, Some(0)), Err(StreamError::SinkBehind { seen: 0, found: None, .. })));
        assert!(matches!(resume(committed(3, true), Some(4)), Err(StreamError::SinkBehind { seen: 4, found: Some(3), .. })));
        assert!(matches!(resume(committed(3, false), Some(2)), Err(StreamError::PositionLost { epoch: 3, seen: Some(2), .. })));
        assert!(matches!(resume(committed(3, false), None), Err(StreamError::PositionLost { epoch: 3, seen: None, .. })));
    }

    #[test]
    fn a_payload_that_is_no_position_is_corrupt_and_named() {
        let error = resume("q", "memory", Some(CommittedEpoch { epoch: 7, payload: Some("{".into()) }), None).unwrap_err();
        assert!(error.to_string().starts_with("read the position of epoch 7 in memory of the query `q`"), "{error}");
        let newer = serde_json::to_string(&Position { version: VERSION + 1, ..position(7) }).unwrap();
        let error = resume("q", "memory", Some(CommittedEpoch { epoch: 7, payload: Some(newer) }), None).unwrap_err();
        assert!(error.to_string().contains("version 4"), "{error}");
        let nothing = Position { version: BEFORE_NAMES, ..position(7) };
        let read = |text: &str| Position::parse("q", String::new, text.as_bytes());
        assert_eq!(read(&serde_json::to_string(&nothing).unwrap()).unwrap(), nothing);
        let operators =
            r#"{"version":2,"operators":[{"name":"dedupe-0","stores":[{"name":"keys","columns":"k Utf8","files":[]}]}]}"#;
        assert!(read(operators).unwrap_err().to_string().contains("a position of version 2"), "its state has no names");
    }
}
