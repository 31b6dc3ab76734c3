//! Writers with their own numbering: finding again what they committed.

use boathouse_base::CommittedAppTransaction;
use boathouse_delta_protocol::action::{Action, CommitInfo};
use futures::TryStreamExt;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::log::commit::{info, read_commit, read_commits};
use crate::snapshot::Snapshot;

/// The field of the commit info that holds payloads, by application.
const PAYLOADS: &str = "boathouseAppPayloads";

/// Keeps a payload in the commit info.
pub(crate) fn keep_payload(info: &mut CommitInfo, app_id: &str, payload: &str) {
    let payloads = info.extra.entry(PAYLOADS).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(payloads) = payloads {
        payloads.insert(app_id.to_owned(), Value::String(payload.to_owned()));
    }
}

/// Takes over the payloads of another commit info.
pub(crate) fn merge_payloads(info: &mut CommitInfo, other: &CommitInfo) {
    for (app_id, payload) in other.extra.get(PAYLOADS).and_then(Value::as_object).into_iter().flatten() {
        if let Some(payload) = payload.as_str() {
            keep_payload(info, app_id, payload);
        }
    }
}

pub(crate) async fn find(snapshot: &Snapshot, app_id: &str) -> Result<Option<CommittedAppTransaction>> {
    let Some(known) = snapshot.state().app_txns.get(app_id) else { return Ok(None) };
    let version = u64::try_from(known.txn.version).unwrap_or_default();
    let storage = snapshot.table().log();
    let actions = match known.committed_at {
        Some(at) => read_commit(storage, at).await?,
        None => {
            // It came out of a summary: walk back from there to the commit that set it, or to where the log ends.
            let from = snapshot.log().summary.unwrap_or_else(|| snapshot.version());
            let mut commits = std::pin::pin!(read_commits(storage, (0..=from).rev()));
            loop {
                match commits.try_next().await? {
                    Some((_, Some(actions))) if sets(&actions, app_id, known.txn.version) => break Some(actions),
                    Some((_, Some(_))) => {}
                    Some((_, None)) | None => break None,
                }
            }
        }
    };
    let payload = actions.as_deref().and_then(info).and_then(|info| {
        let payload = info.extra.get(PAYLOADS)?.get(app_id)?.as_str()?;
        Some(payload.to_owned())
    });
    Ok(Some(CommittedAppTransaction { version, payload }))
}

fn sets(actions: &[Action], app_id: &str, version: i64) -> bool {
    actions.iter().any(|action| matches!(action, Action::Txn(txn) if txn.app_id == app_id && txn.version == version))
}
