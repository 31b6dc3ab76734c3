//! Members of a commit that several transactions share, as the history shows them.

use std::collections::BTreeMap;

use boathouse_delta_protocol::action::CommitInfo;
use serde_json::{Map, Value};

use crate::app_transaction::merge_payloads;
use crate::commit_metadata;

/// The field of the commit info that holds the members.
const FIELD: &str = "boathouseGroup";

/// One of the transactions that share a commit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GroupMember {
    /// Its own transaction id: what an error about an unknown outcome names.
    pub txn_id: Option<String>,
    /// `WRITE`, …
    pub operation: Option<String>,
    /// What it was asked to do.
    pub parameters: BTreeMap<String, String>,
    /// What it did.
    pub metrics: BTreeMap<String, String>,
    /// Free facts of the writer.
    pub commit_metadata: BTreeMap<String, String>,
    /// The version that it read.
    pub read_version: Option<u64>,
}

/// The members of a commit; none when it is that of a single transaction.
pub(crate) fn members(info: &CommitInfo) -> Vec<GroupMember> {
    let found = info.extra.get(FIELD).and_then(Value::as_array);
    let infos = found.into_iter().flatten().filter_map(|member| serde_json::from_value::<CommitInfo>(member.clone()).ok());
    infos
        .map(|info| GroupMember {
            commit_metadata: commit_metadata::kept(&info),
            txn_id: info.txn_id,
            operation: info.operation,
            parameters: texts(info.operation_parameters),
            metrics: texts(info.operation_metrics),
            read_version: info.read_version,
        })
        .collect()
}

fn texts(map: Option<BTreeMap<String, Value>>) -> BTreeMap<String, String> {
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    map.into_iter().flatten().map(|(key, value)| (key, text(value))).collect()
}

/// The commit info of several transactions: what they agree on, the sums of their metrics, and each of them by itself.
pub(super) fn grouped(members: &[&CommitInfo], txn_id: &str) -> CommitInfo {
    let Some((first, rest)) = members.split_first() else { return CommitInfo::default() };
    let mut info = CommitInfo { txn_id: Some(txn_id.to_owned()), ..(*first).clone() };
    for member in rest {
        if member.operation != info.operation {
            info.operation = Some("WRITE".to_owned());
        }
        if let Some(parameters) = &mut info.operation_parameters {
            let theirs = member.operation_parameters.as_ref();
            parameters.retain(|key, value| theirs.and_then(|p| p.get(key)) == Some(value));
        }
        for (key, value) in member.operation_metrics.iter().flatten() {
            let sums = info.operation_metrics.get_or_insert_with(BTreeMap::new);
            let sum = sums.entry(key.clone()).or_insert_with(|| Value::from("0"));
            *sum = added(sum, value);
        }
        info.read_version = info.read_version.min(member.read_version);
        merge_facts(&mut info, member);
    }
    let each = members.iter().map(|member| serde_json::to_value(alone(member)).unwrap_or(Value::Null));
    info.extra.insert(FIELD.to_owned(), Value::Array(each.collect()));
    info
}

/// What the history says of a member beside what the whole commit says: its payloads stand there.
fn alone(member: &CommitInfo) -> CommitInfo {
    let mut info = CommitInfo {
        txn_id: member.txn_id.clone(),
        operation: member.operation.clone(),
        operation_parameters: member.operation_parameters.clone(),
        operation_metrics: member.operation_metrics.clone(),
        read_version: member.read_version,
        ..CommitInfo::default()
    };
    commit_metadata::keep(&mut info, &commit_metadata::kept(member));
    info.user_metadata = None;
    info
}

/// The sum of two metrics, which are whole numbers as text; of anything else the first.
pub(super) fn added(one: &Value, other: &Value) -> Value {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    match (number(one), number(other)) {
        (Some(one), Some(other)) => Value::String(one.saturating_add(other).to_string()),
        _ => one.clone(),
    }
}

/// Whether the free facts of two transactions can stand in one commit: no fact has two values.
pub(super) fn facts_agree(one: &CommitInfo, other: &CommitInfo) -> bool {
    let (mine, theirs) = (commit_metadata::kept(one), commit_metadata::kept(other));
    mine.iter().all(|(key, value)| theirs.get(key).is_none_or(|their| their == value))
}

/// Adds the payloads of applications and the free facts of another transaction.
pub(super) fn merge_facts(info: &mut CommitInfo, other: &CommitInfo) {
    merge_payloads(info, other);
    let mut facts = commit_metadata::kept(info);
    facts.extend(commit_metadata::kept(other));
    commit_metadata::keep(info, &facts);
    let mine: Map<String, Value> = std::mem::take(&mut info.extra);
    info.extra = other.extra.clone().into_iter().chain(mine).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(txn_id: &str, rows: u64, facts: &[(&str, &str)]) -> CommitInfo {
        let mut info = CommitInfo {
            txn_id: Some(txn_id.to_owned()),
            operation: Some("WRITE".to_owned()),
            operation_parameters: Some([("mode".to_owned(), Value::from("Append")), ("by".to_owned(), txn_id.into())].into()),
            operation_metrics: Some([("numOutputRows".to_owned(), Value::from(rows.to_string()))].into()),
            read_version: Some(rows),
            ..CommitInfo::default()
        };
        commit_metadata::keep(&mut info, &facts.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        info
    }

    #[test]
    fn a_group_says_what_its_members_agree_on_and_each_of_them_by_itself() {
        let (one, two) = (info("a", 3, &[("job", "1")]), info("b", 4, &[("team", "x")]));
        let both = grouped(&[&one, &two], "g");
        assert_eq!(both.txn_id.as_deref(), Some("g"));
        assert_eq!(both.operation_parameters, Some([("mode".to_owned(), Value::from("Append"))].into()));
        assert_eq!(both.operation_metrics, Some([("numOutputRows".to_owned(), Value::from("7"))].into()));
        assert_eq!(both.read_version, Some(3));
        let facts = commit_metadata::kept(&both);
        assert_eq!(facts, [("job".to_owned(), "1".to_owned()), ("team".to_owned(), "x".to_owned())].into());
        let found = members(&both);
        assert_eq!(found.iter().map(|m| m.txn_id.as_deref()).collect::<Vec<_>>(), [Some("a"), Some("b")]);
        assert_eq!(found[1].metrics["numOutputRows"], "4");
        assert_eq!(found[0].commit_metadata, [("job".to_owned(), "1".to_owned())].into());
    }

    #[test]
    fn facts_with_two_values_do_not_agree() {
        let one = info("a", 1, &[("job", "1")]);
        assert!(!facts_agree(&one, &info("b", 1, &[("job", "2")])));
        assert!(facts_agree(&one, &info("b", 1, &[("job", "1"), ("team", "x")])));
        assert!(facts_agree(&one, &info("b", 1, &[])));
    }

    #[test]
    fn metrics_that_are_no_numbers_are_not_added() {
        assert_eq!(added(&Value::from("2"), &Value::from(3)), Value::from("5"));
        assert_eq!(added(&Value::from("fast"), &Value::from("3")), Value::from("fast"));
    }
}
