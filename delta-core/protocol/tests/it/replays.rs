//! Replay against a slow, obvious model.

use std::collections::{BTreeMap, BTreeSet};

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_protocol::action::{
    Action, Add, CommitInfo, DeletionVectorDescriptor, DomainMetadata, FileKey, Metadata, Protocol, Remove, Txn,
};
use boathouse_delta_protocol::deletion_vector::StorageType;
use boathouse_delta_protocol::replay::{Replay, TableState};
use proptest::collection::vec;
use proptest::prelude::*;

fn vector(n: u8) -> Option<Box<DeletionVectorDescriptor>> {
    (n > 0).then(|| {
        Box::new(DeletionVectorDescriptor {
            storage_type: StorageType::Inline,
            path_or_inline_dv: format!("{n}"),
            offset: None,
            size_in_bytes: 1,
            cardinality: 1,
        })
    })
}

fn add(path: &str, dv: u8) -> Action {
    Action::Add(Add { path: path.to_owned(), size: 10, deletion_vector: vector(dv), data_change: true, ..Add::default() })
}

fn remove(path: &str, dv: u8, at: i64) -> Action {
    Action::Remove(Remove {
        path: path.to_owned(),
        deletion_timestamp: Some(at),
        data_change: true,
        deletion_vector: vector(dv),
        ..Remove::default()
    })
}

fn created() -> Vec<Action> {
    vec![Protocol::default().into(), Metadata { id: "t".into(), ..Metadata::default() }.into()]
}

/// What a commit wants to do with path `p{n}`: set its deletion vector (0: plain file), or remove it.
type Step = Vec<(u8, Option<u8>)>;

/// Plays steps as valid commits, and says which files are there and which were removed.
fn play(steps: &[Step]) -> (Vec<Vec<Action>>, BTreeSet<FileKey>, BTreeSet<FileKey>) {
    let key = |n: u8, dv: u8| FileKey { path: format!("p{n}"), deletion_vector: vector(dv).map(|v| v.unique_id()) };
    let mut active: BTreeMap<u8, u8> = BTreeMap::new();
    let mut removed = BTreeSet::new();
    let mut commits = vec![created()];
    for (at, step) in steps.iter().enumerate() {
        let mut commit = vec![Action::from(CommitInfo::default())];
        let wanted: BTreeMap<u8, Option<u8>> = step.iter().copied().collect();
        for (n, wish) in wanted {
            let path = format!("p{n}");
            let now = active.get(&n).copied();
            if let Some(now) = now.filter(|now| wish != Some(*now)) {
                removed.insert(key(n, now));
                active.remove(&n);
                commit.push(remove(&path, now, at as i64));
            }
            if let Some(dv) = wish {
                removed.remove(&key(n, dv));
                active.insert(n, dv);
                // Additions come first in the file now and then: order within a commit must not matter.
                commit.insert(usize::from(n) % commit.len(), add(&path, dv));
            }
        }
        commits.push(commit);
    }
    (commits, active.into_iter().map(|(n, dv)| key(n, dv)).collect(), removed)
}

fn replay(commits: &[Vec<Action>]) -> TableState {
    let mut replay = Replay::new();
    for (version, commit) in commits.iter().enumerate() {
        replay.apply_commit(version as u64, commit.clone()).unwrap();
    }
    replay.finish().unwrap()
}

fn paths(state: &TableState) -> Vec<FileKey> {
    state.files.iter().map(|add| add.key()).collect()
}

proptest! {
    #[test]
    fn replay_agrees_with_the_model(steps in vec(vec((0..6_u8, prop::option::of(0..3_u8)), 0..5), 0..20), cut in 0..20_usize) {
        let (commits, active, removed) = play(&steps);
        let state = replay(&commits);
        prop_assert_eq!(paths(&state).into_iter().collect::<BTreeSet<_>>(), active.clone());
        prop_assert_eq!(state.files.tombstones().map(|r| r.key()).collect::<BTreeSet<_>>(), removed);
        prop_assert_eq!(state.files.len(), active.len());
        prop_assert_eq!(state.files.size_bytes(), 10 * active.len() as u64);
        for key in &active {
            prop_assert!(state.files.contains(key));
            prop_assert_eq!(state.files.get(&key.path).unwrap().key(), key.clone());
        }

        // From an older state, and from a checkpoint of it, in the same order.
        let cut = cut.min(commits.len() - 1);
        let older = replay(&commits[..=cut]);
        let mut resumed = older.resume();
        let mut checkpoint = Replay::from_checkpoint(cut as u64);
        checkpoint.apply_checkpoint(older.checkpoint_actions(i64::MIN, None)).unwrap();
        for (version, commit) in commits.iter().enumerate().skip(cut + 1) {
            resumed.apply_commit(version as u64, commit.clone()).unwrap();
            checkpoint.apply_commit(version as u64, commit.clone()).unwrap();
        }
        prop_assert_eq!(paths(&resumed.finish().unwrap()), paths(&state));
        let checkpoint = checkpoint.finish().unwrap();
        prop_assert_eq!(paths(&checkpoint).into_iter().collect::<BTreeSet<_>>(), active);
        prop_assert_eq!(
            checkpoint.files.tombstones().map(|r| r.key()).collect::<BTreeSet<_>>(),
            state.files.tombstones().map(|r| r.key()).collect::<BTreeSet<_>>()
        );
    }
}

#[test]
fn the_last_metadata_txn_and_domain_count() {
    let txn = |version| Action::Txn(Txn { app_id: "a".into(), version, last_updated: Some(version * 100) });
    let domain =
        |name: &str, removed| Action::DomainMetadata(DomainMetadata { domain: name.into(), configuration: "{}".into(), removed });
    let named = Metadata { id: "t".into(), name: Some("new".into()), ..Metadata::default() };
    let info = CommitInfo { operation: Some("WRITE".into()), ..CommitInfo::default() };
    let state = replay(&[
        created(),
        vec![txn(1), domain("keep", false), domain("drop", false)],
        vec![txn(2), domain("drop", true), named.into()],
        vec![info.into()],
    ]);
    assert_eq!(state.version, 3);
    assert_eq!(state.metadata.name.as_deref(), Some("new"));
    assert_eq!((state.app_txns["a"].txn.version, state.app_txns["a"].committed_at), (2, Some(2)));
    assert_eq!(state.domain_metadata.keys().collect::<Vec<_>>(), ["keep"]);
    assert_eq!(state.commit_info.as_ref().unwrap().operation.as_deref(), Some("WRITE"));

    // Expired txns leave the checkpoint; what stays is of unknown origin afterwards.
    let names = |since| state.checkpoint_actions(0, since).map(|a| a.name()).collect::<Vec<_>>();
    assert_eq!(names(Some(200)), ["protocol", "metaData", "txn", "domainMetadata"]);
    assert_eq!(names(Some(201)), ["protocol", "metaData", "domainMetadata"]);
    let mut checkpoint = Replay::from_checkpoint(3);
    checkpoint.apply_checkpoint(state.checkpoint_actions(0, None)).unwrap();
    assert_eq!(checkpoint.finish().unwrap().app_txns["a"].committed_at, None);
}

#[test]
fn tombstones_stay_in_checkpoints_until_they_expire() {
    let state = replay(&[created(), vec![add("a", 0), add("b", 0), add("c", 0)], vec![remove("a", 0, 100), remove("b", 0, 200)]]);
    let actions: Vec<_> = state.checkpoint_actions(100, None).collect();
    let removed: Vec<_> = actions
        .iter()
        .filter_map(|a| match a {
            Action::Remove(r) => Some((r.path.as_str(), r.data_change)),
            _ => None,
        })
        .collect();
    assert_eq!(removed, [("b", false)]);
    assert!(actions.iter().any(|a| matches!(a, Action::Add(add) if add.path == "c" && !add.data_change)));
}

#[test]
fn a_new_addition_of_the_same_file_replaces_what_is_known() {
    let changed = Action::Add(Add { path: "a".into(), size: 10, stats: Some("{}".into()), ..Add::default() });
    let state = replay(&[created(), vec![add("a", 0), add("b", 0)], vec![changed]]);
    let files: Vec<_> = state.files.iter().map(|f| (f.path.as_str(), f.stats.is_some())).collect();
    assert_eq!(files, [("a", true), ("b", false)], "the place stays");
}

#[test]
fn a_file_added_twice_is_corrupt() {
    for commit in [vec![add("a", 0), add("a", 0)], vec![add("a", 1), add("a", 2)], vec![add("there", 1)]] {
        let mut replay = Replay::new();
        replay.apply_commit(0, created()).unwrap();
        replay.apply_commit(1, [add("there", 0)]).unwrap();
        let error = replay.apply_commit(2, commit.clone()).unwrap_err();
        assert!(matches!(error, ProtocolError::DuplicateAction { version: 2, action: "add", .. }), "{commit:?}");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn missing_actions_and_missing_commits_are_errors() {
    let mut replay = Replay::new();
    assert!(matches!(replay.clone().finish().unwrap_err(), ProtocolError::NoLog));
    replay.apply_commit(0, [Action::from(Protocol::default())]).unwrap();
    assert!(matches!(replay.clone().finish().unwrap_err(), ProtocolError::MissingAction { action: "metaData", version: 0 }));
    let error = replay.apply_commit(2, []).unwrap_err();
    assert!(matches!(error, ProtocolError::CommitOutOfOrder { previous: 0, found: 2 }));
}

#[test]
fn many_files_keep_their_order_and_are_found() {
    let adds: Vec<_> = (0..20_000).map(|n| add(&format!("part-{n}"), 0)).collect();
    let removes: Vec<_> = (0..20_000).filter(|n| n % 3 == 0).map(|n| remove(&format!("part-{n}"), 0, 1)).collect();
    let state = replay(&[created(), adds, removes]);
    let expected = (0..20_000).filter(|n| n % 3 != 0).map(|n| format!("part-{n}"));
    assert!(state.files.iter().map(|f| f.path.clone()).eq(expected));
    assert!(state.files.get("part-3").is_none() && state.files.get("part-4").is_some());
}
