//! Whether what is stored serves a query that may have changed.

use std::collections::BTreeSet;

use super::{OperatorRef, QueryChange, Role, StoreRef};

/// Operators whose stores may come and go: variables of a processor.
const FREE_STORES: &str = "transformWithStateExec";

/// Compares what a checkpoint records with what a query has; gives the operator that cannot go on, and why.
pub(crate) fn check(recorded: &[OperatorRef], found: &[OperatorRef]) -> Result<(), (String, QueryChange)> {
    let unmatched = |these: &[OperatorRef], those: &[OperatorRef]| -> Vec<OperatorRef> {
        these.iter().filter(|this| those.iter().all(|that| that.name != this.name)).cloned().collect()
    };
    let (gone, new) = (unmatched(recorded, found), unmatched(found, recorded));
    let names = |operators: &[OperatorRef]| operators.iter().map(|operator| operator.name.clone()).collect();
    if let Some(operator) = gone.first() {
        let change = match new.iter().find(|other| other.kind == operator.kind) {
            Some(other) => QueryChange::Keys { recorded: operator.by.clone(), found: other.by.clone() },
            None => QueryChange::OperatorGone { found: names(found) },
        };
        return Err((operator.name.clone(), change));
    }
    if let Some(operator) = new.first() {
        return Err((operator.name.clone(), QueryChange::OperatorNew { recorded: names(recorded) }));
    }
    for operator in recorded {
        if let Some(other) = found.iter().find(|other| other.name == operator.name) {
            check_operator(operator, other).map_err(|change| (operator.name.clone(), change))?;
        }
    }
    Ok(())
}

fn check_operator(recorded: &OperatorRef, found: &OperatorRef) -> Result<(), QueryChange> {
    if recorded.kind != found.kind || recorded.by != found.by {
        return Err(QueryChange::Keys { recorded: recorded.by.clone(), found: found.by.clone() });
    }
    if recorded.also != found.also {
        return Err(QueryChange::Terms { recorded: recorded.also.clone(), found: found.also.clone() });
    }
    let names = |operator: &OperatorRef| operator.stores.iter().map(|store| store.name.clone()).collect::<Vec<_>>();
    if names(recorded) != names(found) && recorded.kind != FREE_STORES {
        return Err(QueryChange::Stores { recorded: names(recorded), found: names(found) });
    }
    for store in &recorded.stores {
        if let Some(other) = found.stores.iter().find(|other| other.name == store.name) {
            check_store(store, other)?;
        }
    }
    Ok(())
}

fn check_store(recorded: &StoreRef, found: &StoreRef) -> Result<(), QueryChange> {
    let (mut gone, mut new) = (BTreeSet::new(), BTreeSet::new());
    for column in &recorded.columns {
        let name = || column.name.clone();
        match (found.column(&column.name), column.role) {
            (Some(other), _) if other.data_type != column.data_type => {
                return Err(QueryChange::ColumnType {
                    column: name(),
                    recorded: column.data_type.clone(),
                    found: other.data_type.clone(),
                });
            }
            (Some(_), _) | (None, Role::Carried) => {}
            (None, Role::Aggregate) => drop(gone.insert(column.of.clone().unwrap_or_else(name))),
            (None, Role::Key | Role::Fixed) => return Err(QueryChange::ColumnGone { column: name() }),
        }
    }
    for column in found.columns.iter().filter(|column| recorded.column(&column.name).is_none()) {
        if column.role != Role::Aggregate {
            return Err(QueryChange::ColumnNew { column: column.name.clone(), data_type: column.data_type.clone() });
        }
        let of = column.of.clone().unwrap_or_else(|| column.name.clone());
        // An aggregate whose state has got more columns is another one.
        if recorded.columns.iter().any(|other| other.of.as_ref() == Some(&of)) {
            gone.insert(of.clone());
        }
        new.insert(of);
    }
    // The same when its state has got fewer.
    let lessened = found.columns.iter().filter_map(|column| column.of.clone()).filter(|of| gone.contains(of));
    new.extend(lessened.collect::<Vec<_>>());
    if gone.is_empty() || new.is_empty() {
        return Ok(());
    }
    Err(QueryChange::Replaced { gone: gone.into_iter().collect(), new: new.into_iter().collect() })
}

/// Says since when each column of a store is there, for the files of an epoch.
pub(crate) fn carry_on(found: &mut StoreRef, recorded: Option<&StoreRef>, epoch: u64) {
    let Some(recorded) = recorded else { return };
    for column in found.columns.iter_mut().filter(|column| column.role == Role::Aggregate) {
        column.since = recorded.column(&column.name).map_or(epoch, |known| known.since);
    }
}

impl StoreRef {
    pub(crate) fn column(&self, name: &str) -> Option<&super::ColumnRef> {
        self.columns.iter().find(|column| column.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ColumnRef;
    use super::*;

    fn column(name: &str, data_type: &str, role: Role) -> ColumnRef {
        let of = (role == Role::Aggregate).then(|| name.split('[').next().unwrap_or(name).to_owned());
        ColumnRef { name: name.to_owned(), data_type: data_type.to_owned(), role, of, since: 0 }
    }

    fn operator(name: &str, by: &[&str], columns: Vec<ColumnRef>) -> OperatorRef {
        OperatorRef {
            name: name.to_owned(),
            kind: "stateStoreSave".to_owned(),
            by: by.iter().map(|key| (*key).to_owned()).collect(),
            also: Vec::new(),
            stores: vec![StoreRef { name: "groups".to_owned(), columns, seed: 0, files: Vec::new() }],
        }
    }

    fn with(columns: &[&str]) -> Vec<OperatorRef> {
        let of = |name: &&str| column(name, "Int64", if name.contains('[') { Role::Aggregate } else { Role::Key });
        vec![operator("a", &["k"], columns.iter().map(of).collect())]
    }

    fn says(recorded: &[OperatorRef], found: &[OperatorRef]) -> String {
        check(recorded, found).map_or_else(|(operator, change)| format!("{operator}: {change}"), |()| "goes on".to_owned())
    }

    #[test]
    fn aggregates_come_or_go_but_not_both_at_once() {
        let before = with(&["k", "sum(v)[sum]", "avg(v)[count]", "avg(v)[sum]"]);
        assert_eq!(says(&before, &with(&["k", "avg(v)[sum]", "avg(v)[count]", "sum(v)[sum]", "max(v)[max]"])), "goes on");
        assert_eq!(says(&before, &with(&["k", "sum(v)[sum]"])), "goes on");
        let replaced = says(&before, &with(&["k", "sum(w)[sum]", "avg(v)[count]", "avg(v)[sum]"]));
        assert!(replaced.contains("[sum(v)]") && replaced.contains("[sum(w)]"), "{replaced}");
        for other in [
            with(&["k", "sum(v)[sum]", "avg(v)[sum]"]),
            with(&["k", "sum(v)[sum]", "sum(v)[is_set]", "avg(v)[count]", "avg(v)[sum]"]),
        ] {
            assert!(says(&before, &other).contains("begin anew"), "the state of one aggregate has other columns");
        }
    }

    #[test]
    fn an_aggregate_that_came_later_has_the_epoch_in_its_name_and_keeps_it() {
        let (mut first, mut later) =
            (with(&["k", "sum(v)[sum]"]).remove(0), with(&["k", "sum(v)[sum]", "max(v)[max]"]).remove(0));
        carry_on(&mut first.stores[0], None, 3);
        assert_eq!(first.stores[0].columns[1].stored_as(), "sum(v)[sum]");
        carry_on(&mut later.stores[0], Some(&first.stores[0]), 7);
        let mut again = later.stores[0].clone();
        carry_on(&mut again, Some(&later.stores[0]), 8);
        let names: Vec<String> = again.columns.iter().map(ColumnRef::stored_as).collect();
        assert_eq!(names, ["k", "sum(v)[sum]", "max(v)[max]@7"]);
    }

    #[test]
    fn what_a_row_that_waits_carries_may_go_and_not_come() {
        let side = |names: &[&str]| {
            vec![operator("join", &["k = k"], names.iter().map(|name| column(name, "Utf8", Role::Carried)).collect())]
        };
        assert_eq!(says(&side(&["a", "b"]), &side(&["b"])), "goes on");
        assert!(says(&side(&["a"]), &side(&["a", "b"])).contains("the column `b` (Utf8)"));
    }
}
