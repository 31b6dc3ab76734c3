//! Free facts that a writer keeps in the history of the table.

use std::collections::BTreeMap;

use boathouse_delta_protocol::action::CommitInfo;
use serde_json::{Map, Value};

/// The field of the commit info that holds them.
const FIELD: &str = "boathouseCommitMetadata";
/// The fact that is also a field of its own, which other readers show.
const USER_METADATA: &str = "userMetadata";

/// Keeps facts in the commit info.
///
/// Other readers show `userMetadata` only: without a fact of that name, it holds all of them as JSON.
pub(crate) fn keep(info: &mut CommitInfo, facts: &BTreeMap<String, String>) {
    if facts.is_empty() {
        return;
    }
    let all: Map<String, Value> = facts.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
    let text = facts.get(USER_METADATA).cloned().unwrap_or_else(|| Value::Object(all.clone()).to_string());
    info.user_metadata = Some(text);
    info.extra.insert(FIELD.to_owned(), Value::Object(all));
}

/// The facts in a commit info.
pub(crate) fn kept(info: &CommitInfo) -> BTreeMap<String, String> {
    let facts = info.extra.get(FIELD).and_then(Value::as_object);
    facts.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
