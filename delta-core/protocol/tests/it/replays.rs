//! Replay against a slow, obvious model.

use std::collections::{BTreeMap, BTreeSet};

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_protocol::action::{
    Action, Add, CommitInfo, DeletionVectorDescriptor, DomainMetadata, FileKey, Metadata, Protocol, Remove, Txn,
};
use boathouse_delta_protocol::commit;
use boathouse_delta_protocol::deletion_vector::StorageType;
use boathouse_delta_protocol::files::{FileIndex, IndexBuilder, SegmentBuilder};
use boathouse_delta_protocol::replay::{Replay, TableState, Tombstones};
use boathouse_delta_protocol::scan::{CommitScan, CommitScanner, Wanted};
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

/// A commit as the log has it, read as bytes.
fn scan(version: usize, actions: &[Action]) -> CommitScan {
    let bytes = commit::to_json(actions).unwrap();
    let mut scanner = CommitScanner::new(version as u64, Wanted::Everything);
    scanner.scan(&bytes).unwrap();
    scanner.finish().unwrap()
}

/// The files after these commits, in one go; `checkpoint`: files of a checkpoint before them.
fn index(first: usize, commits: &[Vec<Action>], checkpoint: Option<&FileIndex>) -> FileIndex {
    let mut builder = IndexBuilder::new();
    for (at, commit) in commits.iter().enumerate().rev() {
        builder.commit(scan(first + at, commit)).unwrap();
    }
    if let Some(checkpoint) = checkpoint {
        let mut segments = SegmentBuilder::with_stats();
        for file in checkpoint.iter() {
            segments.push((&file.to_add()).into());
        }
        for segment in segments.finish().into_iter().rev() {
            builder.checkpoint(segment).unwrap();
        }
    }
    builder.finish()
}

fn keys(files: &FileIndex) -> Vec<FileKey> {
    files.iter().map(|file| file.key()).collect()
}

proptest! {
    #[test]
    fn files_agree_with_the_model(steps in vec(vec((0..6_u8, prop::option::of(0..3_u8)), 0..5), 0..20), cut in 0..20_usize) {
        let (commits, active, removed) = play(&steps);
        let files = index(0, &commits, None);
        prop_assert_eq!(keys(&files).into_iter().collect::<BTreeSet<_>>(), active.clone());
        prop_assert_eq!(files.len(), active.len());
        prop_assert_eq!(files.size_bytes(), 10 * active.len() as u64);
        for key in &active {
            prop_assert!(files.contains(key));
            prop_assert_eq!(files.get(&key.path).unwrap().key(), key.clone());
        }
        for key in &removed {
            prop_assert!(!files.contains(key));
        }
        let mut tombstones = Tombstones::default();
        commits.iter().for_each(|commit| tombstones.apply(commit.clone()));
        prop_assert_eq!(tombstones.finish(&files).iter().map(|r| r.key()).collect::<BTreeSet<_>>(), removed);

        // From an older version, and from a checkpoint of it, in the same order.
        let cut = cut.min(commits.len() - 1);
        let older = index(0, &commits[..=cut], None);
        let (before, later) = (keys(&older), &commits[cut + 1..]);
        let mut followed = older.clone();
        for (at, commit) in later.iter().enumerate() {
            followed = followed.apply(scan(cut + 1 + at, commit)).unwrap();
        }
        prop_assert_eq!(keys(&followed), keys(&files));
        prop_assert_eq!(followed.size_bytes(), files.size_bytes());
        prop_assert_eq!(keys(&index(cut + 1, later, Some(&older))), keys(&files));
        prop_assert_eq!(keys(&older), before, "an older version never changes");
    }

    #[test]
    fn every_action_is_read_as_the_json_parser_reads_it(adds in vec(add_of_any_kind(), 1..6)) {
        let actions: Vec<Action> = adds.iter().cloned().map(Action::Add).collect();
        let scan = scan(3, &actions);
        let read: Vec<Add> = scan.segments.iter().flat_map(|s| (0..s.len()).map(|row| s.file(row).to_add())).collect();
        prop_assert_eq!(read, adds);
    }

    #[test]
    fn bytes_that_were_damaged_are_refused_by_both_ways_or_read_alike(
        adds in vec(add_of_any_kind(), 1..3), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut bytes = commit::to_json(&adds.into_iter().map(Action::Add).collect::<Vec<_>>()).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let slow = commit::parse(3, &bytes);
        let mut scanner = CommitScanner::new(3, Wanted::Everything);
        let quick = scanner.scan(&bytes).and_then(|()| scanner.finish());
        match (slow, quick) {
            (Ok(slow), Ok(quick)) => {
                let slow: Vec<Add> = slow.into_iter().filter_map(|a| if let Action::Add(add) = a { Some(add) } else { None }).collect();
                let quick: Vec<Add> = quick.segments.iter().flat_map(|s| (0..s.len()).map(|row| s.file(row).to_add())).collect();
                prop_assert_eq!(quick, slow);
            }
            // What nobody asks for is not looked at closely by the quick way.
            (Err(_), _) => {}
            (Ok(slow), Err(error)) if !bytes.is_empty() => prop_assert!(false, "{error}, while the parser reads {slow:?}"),
            _ => {}
        }
    }
}

fn add_of_any_kind() -> impl Strategy<Value = Add> {
    let text = || prop_oneof![any::<String>(), "[a-z%\"\\\\/]{0,8}".prop_map(|s| s)];
    let values = vec((text(), prop::option::of(text())), 0..3);
    let tags = prop::option::of(vec((text(), prop::option::of(text())), 0..2));
    (
        text(),
        values,
        any::<u64>().prop_map(|v| v >> 1),
        any::<i64>(),
        any::<bool>(),
        prop::option::of(text()),
        tags,
        0..3_u8,
        prop::option::of(any::<i64>()),
    )
        .prop_map(|(path, values, size, modification_time, data_change, stats, tags, dv, row_id)| Add {
            path,
            partition_values: values.into_iter().collect(),
            size,
            modification_time,
            data_change,
            stats,
            tags: tags.map(|tags| tags.into_iter().collect()),
            deletion_vector: vector(dv),
            base_row_id: row_id,
            default_row_commit_version: row_id.map(|id| id / 2),
            clustering_provider: row_id.map(|id| format!("by {id}")),
        })
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
    let names = |since| state.head_actions(since).map(|a| a.name()).collect::<Vec<_>>();
    assert_eq!(names(Some(200)), ["protocol", "metaData", "txn", "domainMetadata"]);
    assert_eq!(names(Some(201)), ["protocol", "metaData", "domainMetadata"]);
    let mut checkpoint = Replay::from_checkpoint(3);
    checkpoint.apply_checkpoint(state.head_actions(None));
    assert_eq!(checkpoint.finish().unwrap().app_txns["a"].committed_at, None);
}

#[test]
fn a_new_addition_of_the_same_file_replaces_what_is_known() {
    let changed = Action::Add(Add { path: "a".into(), size: 7, stats: Some("{}".into()), ..Add::default() });
    let commits = [created(), vec![add("a", 0), add("b", 0)], vec![changed]];
    let at_once = index(0, &commits, None);
    let step_by_step = index(0, &commits[..2], None).apply(scan(2, &commits[2])).unwrap();
    for files in [at_once, step_by_step] {
        let found: Vec<_> = files.iter().map(|f| (f.path(), f.stats().is_some())).collect();
        assert_eq!(found, [("b", false), ("a", true)]);
        assert_eq!(files.size_bytes(), 17);
    }
}

#[test]
fn a_file_added_twice_is_corrupt() {
    for commit in [vec![add("a", 0), add("a", 0)], vec![add("a", 1), add("a", 2)], vec![add("there", 1)]] {
        let commits = [created(), vec![add("there", 0)], commit];
        let step_by_step = index(0, &commits[..2], None).apply(scan(2, &commits[2])).unwrap_err();
        let mut builder = IndexBuilder::new();
        let at_once = (0..3).rev().find_map(|at| builder.commit(scan(at, &commits[at])).err()).unwrap();
        for error in [step_by_step, at_once] {
            let found = matches!(error, ProtocolError::DuplicateAction { action: "add", .. } | ProtocolError::TwoVectors { .. });
            assert!(found, "{error} for {commits:?}");
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
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
    let adds: Vec<_> = (0..40_000).map(|n| add(&format!("part-{n}"), 0)).collect();
    let removes: Vec<_> = (0..40_000).filter(|n| n % 3 == 0).map(|n| remove(&format!("part-{n}"), 0, 1)).collect();
    let commits = [created(), adds, removes];
    let at_once = index(0, &commits, None);
    let step_by_step = index(0, &commits[..2], None).apply(scan(2, &commits[2])).unwrap();
    for files in [at_once, step_by_step] {
        assert!(files.iter().map(|f| f.path().to_owned()).eq((0..40_000).filter(|n| n % 3 != 0).map(|n| format!("part-{n}"))));
        assert!(files.get("part-3").is_none() && files.get("part-4").is_some());
    }
}

#[test]
fn one_commit_after_another_leaves_few_segments() {
    let mut files = index(0, &[created()], None);
    for version in 1..=500 {
        files = files.apply(scan(version, &[add(&format!("part-{version}"), 0)])).unwrap();
        assert!(files.segments().count() <= 12, "{} segments after {version} commits", files.segments().count());
    }
    assert!(files.iter().map(|f| f.path().to_owned()).eq((1..=500).map(|n| format!("part-{n}"))));
}

#[test]
fn two_spellings_of_a_path_cancel() {
    let commits = [created(), vec![add("file:///data/t/a%20b", 0)], vec![remove("/data/t/a b", 0, 1)]];
    assert!(index(0, &commits, None).is_empty());
    assert!(index(0, &commits[..2], None).apply(scan(2, &commits[2])).unwrap().is_empty());
}

#[test]
fn a_line_that_is_no_text_is_refused_by_both_ways_even_in_a_field_that_nobody_reads() {
    let mut bytes = b"{\"commitInfo\":{}}\n".to_vec();
    bytes.extend_from_slice(
        b"{\"add\":{\"path\":\"a\",\"partitionValues\":{},\"size\":1,\"modificationTime\":1,\"dataChange\":true,\"x\":\"\xff\"}}",
    );
    let mut scanner = CommitScanner::new(3, Wanted::Everything);
    for error in [commit::parse(3, &bytes).unwrap_err(), scanner.scan(&bytes).unwrap_err()] {
        assert!(error.to_string().starts_with("read commit 3 of the log: line 2"), "{error}");
    }
}
