//! What a commit changes, for readers of the change feed.

use std::collections::BTreeMap;

use crate::action::{Action, Add, Cdc, Remove};

/// Where rows that a commit changes are found.
#[derive(Debug, Clone, PartialEq)]
pub enum Change<'a> {
    /// A file of changes: each row says what happened to it.
    Recorded(&'a Cdc),
    /// All rows of the file came.
    Inserted(&'a Add),
    /// All rows of the file left.
    Deleted(&'a Remove),
    /// The file stays with another deletion vector: rows that only the new one deletes left, rows that only the old one deletes came back.
    Remarked {
        /// As it was.
        before: &'a Remove,
        /// As it is.
        after: &'a Add,
    },
}

/// What a commit changes.
///
/// Where a commit has files of changes, these alone count. What only rearranges rows changes nothing.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::action::{Action, Add, Cdc};
/// use boathouse_delta_protocol::changes::{Change, changes_of};
///
/// let added = Action::from(Add { path: "a".into(), data_change: true, ..Add::default() });
/// assert!(matches!(changes_of(&[added.clone()])[..], [Change::Inserted(_)]));
/// let recorded = Action::from(Cdc { path: "_change_data/c".into(), ..Cdc::default() });
/// assert!(matches!(changes_of(&[added, recorded])[..], [Change::Recorded(_)]));
/// ```
///
/// **Source**: Delta protocol, "Add CDC File", "Reader Requirements for AddCDCFile".
pub fn changes_of(actions: &[Action]) -> Vec<Change<'_>> {
    let recorded: Vec<Change<'_>> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Cdc(cdc) => Some(Change::Recorded(cdc)),
            _ => None,
        })
        .collect();
    if !recorded.is_empty() {
        return recorded;
    }
    let mut removed: BTreeMap<&str, &Remove> = BTreeMap::new();
    for action in actions {
        if let Action::Remove(remove) = action
            && remove.data_change
        {
            removed.insert(&remove.path, remove);
        }
    }
    let mut changes = Vec::new();
    for action in actions {
        if let Action::Add(add) = action
            && add.data_change
        {
            changes.push(match removed.remove(add.path.as_str()) {
                Some(before) => Change::Remarked { before, after: add },
                None => Change::Inserted(add),
            });
        }
    }
    // What leaves comes first: who applies changes one by one then never has a row twice.
    let mut all: Vec<Change<'_>> = removed.into_values().map(Change::Deleted).collect();
    all.append(&mut changes);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(path: &str, data_change: bool) -> Action {
        Add { path: path.to_owned(), data_change, ..Add::default() }.into()
    }

    fn remove(path: &str, data_change: bool) -> Action {
        Remove { path: path.to_owned(), data_change, ..Remove::default() }.into()
    }

    #[test]
    fn a_file_that_leaves_and_comes_back_is_one_change() {
        let actions = [add("a", true), remove("a", true), remove("b", true), add("c", true)];
        let found: Vec<String> = changes_of(&actions)
            .into_iter()
            .map(|change| match change {
                Change::Recorded(cdc) => format!("recorded {}", cdc.path),
                Change::Inserted(add) => format!("inserted {}", add.path),
                Change::Deleted(remove) => format!("deleted {}", remove.path),
                Change::Remarked { after, .. } => format!("remarked {}", after.path),
            })
            .collect();
        assert_eq!(found, ["deleted b", "remarked a", "inserted c"]);
    }

    #[test]
    fn what_only_rearranges_rows_changes_nothing() {
        assert_eq!(changes_of(&[remove("a", false), add("b", false)]), []);
    }
}
