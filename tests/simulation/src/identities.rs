//! Row ids and commit versions of tables that track their rows.

use std::collections::BTreeMap;

use crate::log_reader::History;
use crate::violation::Violation;

/// A row has one row id for its life, and shares it with no other; its commit version is that of the last change.
pub(crate) fn rows_are_known_again(history: &History) -> Result<(), Violation> {
    let (mut ids, mut owners) = (BTreeMap::new(), BTreeMap::new());
    for (at, (commit, state)) in history.commits.iter().zip(&history.states).enumerate() {
        if !state.is_tracked() {
            continue;
        }
        let version = commit.version;
        let before = at.checked_sub(1).and_then(|at| history.states.get(at));
        for (row, stored) in &state.rows {
            let odd = |what: String| Violation::RowIdentity { version, id: *row, what };
            let Some(identity) = state.identities.get(row) else { return Err(odd("has no row id".to_owned())) };
            let known = *ids.entry(*row).or_insert(identity.row_id);
            if known != identity.row_id {
                return Err(odd(format!("had the row id {known}, and has {}", identity.row_id)));
            }
            let owner = *owners.entry(identity.row_id).or_insert(*row);
            if owner != *row {
                return Err(odd(format!("has the row id {}, which is that of the row {owner}", identity.row_id)));
            }
            let unchanged = before.filter(|before| before.rows.get(row) == Some(stored));
            let wanted = match unchanged.and_then(|before| before.identities.get(row)) {
                Some(before) => before.commit_version,
                None => version.cast_signed(),
            };
            // What is brought back comes with the version that it had.
            if identity.commit_version != wanted && commit.operation != "RESTORE" {
                return Err(odd(format!("has the commit version {}, and was last changed in {wanted}", identity.commit_version)));
            }
        }
    }
    Ok(())
}
