//! A commit file: one action in a line.

use crate::action::{Action, Line};
use crate::error::{ProtocolError, Result};

/// Reads the bytes of `_delta_log/VERSION.json`.
///
/// Actions come in the order of the file. Unknown actions and blank lines are skipped.
///
/// **Errors**: `Corrupt` names the version and the line; also when there is no line at all, and when
/// there are two `metaData` or two `protocol` actions.
///
/// **Cost**: one pass.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::commit;
///
/// let actions = commit::parse(3, br#"{"txn":{"appId":"stream","version":7}}"#)?;
/// assert_eq!(actions[0].name(), "txn");
/// let error = commit::parse(4, b"{\"txn\":{\"appId\":\"stream\"}}").unwrap_err();
/// assert!(error.to_string().starts_with("read commit 4 of the log: line 1"));
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
pub fn parse(version: u64, bytes: &[u8]) -> Result<Vec<Action>> {
    let mut actions = Vec::new();
    let (mut metadata, mut protocol, mut lines) = (0, 0, 0);
    for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        lines += 1;
        let read = text(line).and_then(serde_json::from_str);
        let Line(action) = read.map_err(|source| ProtocolError::CorruptCommit { version, line: index + 1, source })?;
        let Some(action) = action else { continue };
        let count = match action {
            Action::Metadata(_) => &mut metadata,
            Action::Protocol(_) => &mut protocol,
            _ => {
                actions.push(action);
                continue;
            }
        };
        *count += 1;
        if *count > 1 {
            return Err(ProtocolError::DuplicateAction { version, action: action.name(), subject: "the table".to_owned() });
        }
        actions.push(action);
    }
    if lines == 0 {
        return Err(ProtocolError::EmptyCommit { version });
    }
    Ok(actions)
}

/// A line as text. The JSON parser does not look at bytes that it skips, and JSON is text everywhere.
pub(crate) fn text(line: &[u8]) -> Result<&str, serde_json::Error> {
    std::str::from_utf8(line).map_err(serde::de::Error::custom)
}

/// Writes actions as the bytes of a commit file: one in a line, commit info first.
///
/// The order is otherwise kept.
///
/// **Errors**: `Internal` when an action cannot be JSON, which no action of this crate does.
pub fn to_json(actions: &[Action]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(actions.len() * 256);
    let (first, rest): (Vec<_>, Vec<_>) = actions.iter().partition(|a| matches!(a, Action::CommitInfo(_)));
    for action in first.into_iter().chain(rest) {
        serde_json::to_writer(&mut bytes, action)
            .map_err(|source| ProtocolError::EncodeAction { action: action.name(), source })?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}
