//! What of a log can be deleted: never what a version within the retention needs.

use std::collections::BTreeSet;

use boathouse_delta_protocol::log_path::{
    CheckpointFormat, LogEntry, LogFile, checkpoint_name, checkpoint_part_name, checksum_name, commit_name, expired_sidecars,
    midnight_before, plan_cleanup, plan_segment, uuid_checkpoint_name,
};
use proptest::prelude::*;

const UUID: &str = "80a083e8-7026-4e79-81be-64bd76c43a11";

fn at(name: String, modified_ms: i64) -> LogEntry {
    LogEntry { name, modified_ms }
}

#[test]
fn everything_before_the_checkpoint_of_the_cutoff_goes_and_commits_go_first() {
    let mut log: Vec<LogEntry> = (0..30_u64).map(|v| at(commit_name(v), i64::try_from(v).unwrap())).collect();
    log.extend((0..30_u64).map(|v| at(checksum_name(v), i64::try_from(v).unwrap())));
    let uuid = uuid_checkpoint_name(5, UUID, CheckpointFormat::Json);
    let compacted = |from: u64, to: u64| format!("{from:020}.{to:020}.compacted.json");
    for (name, ms) in [
        (uuid.clone(), 5),
        (checkpoint_name(10), 10),
        (checkpoint_part_name(20, 1, 2), 20),
        (checkpoint_part_name(20, 2, 2), 20),
        (checkpoint_part_name(22, 1, 2), 22),
        (compacted(3, 6), 6),
        (compacted(18, 21), 21),
        (compacted(21, 24), 24),
        (format!("_staged_commits/{:020}.{UUID}.json", 20), 20),
        (format!("_staged_commits/{:020}.{UUID}.json", 21), 21),
        ("_last_checkpoint".to_owned(), 0),
        ("notes.txt".to_owned(), 0),
    ] {
        log.push(at(name, ms));
    }
    let plan = plan_cleanup(&log, 23, &[]).unwrap();
    assert_eq!(plan.checkpoint.version, 20, "the one at 22 lacks a part");
    let gone: BTreeSet<&str> = plan.files.iter().map(String::as_str).collect();
    assert_eq!(gone.len(), plan.files.len());
    for version in 0..20 {
        assert!(gone.contains(commit_name(version).as_str()) && gone.contains(checksum_name(version).as_str()), "{version}");
    }
    assert!(!gone.contains(commit_name(20).as_str()), "the commit of the checkpoint says who made it");
    assert!(gone.contains(uuid.as_str()) && gone.contains(checkpoint_name(10).as_str()));
    assert!(gone.contains(compacted(3, 6).as_str()) && gone.contains(compacted(18, 21).as_str()));
    assert!(!gone.contains(compacted(21, 24).as_str()));
    assert_eq!(gone.iter().filter(|name| name.starts_with("_staged_commits/")).count(), 1);
    assert_eq!(gone.len(), 20 + 20 + 2 + 2 + 1);
    let position = |name: &str| plan.files.iter().position(|f| f == name).unwrap();
    assert!(position(&commit_name(19)) < position(&checkpoint_name(10)), "commits go first");
    assert_eq!(plan.files[0], commit_name(0));
    let again = plan_cleanup(&log, 23, std::slice::from_ref(&plan.checkpoint)).unwrap();
    assert_eq!(again.checkpoint.version, 10, "a damaged checkpoint stands in for nothing");
}

#[test]
fn nothing_goes_without_a_checkpoint_or_before_the_cutoff() {
    let log: Vec<LogEntry> = (0..30_u64).map(|v| at(commit_name(v), 1_000)).collect();
    assert_eq!(plan_cleanup(&log, 5_000, &[]), None, "no checkpoint");
    let mut log = log;
    log.push(at(checkpoint_name(10), 1_000));
    assert_eq!(plan_cleanup(&log, 999, &[]), None, "too young");
    assert!(plan_cleanup(&log, 5_000, &[]).is_some());
    // Times grow by a millisecond at least: commit 9 counts as of 1009.
    assert_eq!(plan_cleanup(&log, 1_009, &[]), None, "only commits before the checkpoint are old enough");
    assert!(plan_cleanup(&log, 1_010, &[]).is_some());
    log.retain(|entry| entry.name != commit_name(15));
    assert_eq!(plan_cleanup(&log, 5_000, &[]), None, "a log with a gap is left alone");
}

#[test]
fn unnamed_sidecars_go_after_a_day() {
    let day = 86_400_000;
    let now = 10 * day + 5_000;
    assert_eq!(midnight_before(now), 10 * day);
    assert_eq!(midnight_before(-1), -day);
    let sidecars = [
        at("_sidecars/named.parquet".to_owned(), 0),
        at("_sidecars/old.parquet".to_owned(), 9 * day - 1),
        at("_sidecars/young.parquet".to_owned(), 9 * day),
        at("_sidecars/other.txt".to_owned(), 0),
    ];
    let named = BTreeSet::from(["named.parquet".to_owned()]);
    assert_eq!(expired_sidecars(&sidecars, &named, now), ["_sidecars/old.parquet"]);
}

proptest! {
    /// Whatever the log: each version that was current at the cutoff or came later is planned from the same files before
    /// and after, and cleaning again finds nothing.
    #[test]
    fn versions_within_the_retention_stay_loadable(
        versions in 1..40_u64,
        first in 0..5_u64,
        steps in proptest::collection::vec(0..50_i64, 45),
        checkpoints in proptest::collection::btree_set(0..45_u64, 0..6),
        partial in proptest::collection::btree_set(0..45_u64, 0..3),
        cutoff in 0..1500_i64,
    ) {
        let mut time = 0;
        let mut log = Vec::new();
        let mut times = Vec::new();
        for version in 0..versions {
            time += steps[usize::try_from(version).unwrap()];
            times.push(time);
            if version >= first {
                log.push(at(commit_name(version), time));
            }
        }
        log.extend(checkpoints.iter().filter(|v| **v < versions).map(|v| at(checkpoint_name(*v), 0)));
        log.extend(partial.iter().filter(|v| **v < versions).map(|v| at(checkpoint_part_name(*v, 1, 2), 0)));
        let Some(plan) = plan_cleanup(&log, cutoff, &[]) else { return Ok(()) };
        let gone: BTreeSet<&String> = plan.files.iter().collect();
        let left: Vec<LogEntry> = log.iter().filter(|e| !gone.contains(&e.name)).cloned().collect();
        let names = |log: &[LogEntry]| log.iter().map(|e| e.name.clone()).collect::<Vec<_>>();
        for version in first..versions {
            // Current at the cutoff: the next commit came after it.
            let superseded = times.get(usize::try_from(version + 1).unwrap()).is_some_and(|next| *next <= cutoff);
            if superseded {
                continue;
            }
            let Ok(before) = plan_segment(names(&log), Some(version), &[]) else { continue };
            let after = plan_segment(names(&left), Some(version), &[]);
            prop_assert_eq!(after.ok(), Some(before), "version {} with cutoff {}", version, cutoff);
        }
        prop_assert!(left.iter().any(|e| LogFile::parse(&e.name).is_some_and(|f| f.version() == Some(plan.checkpoint.version))));
        prop_assert_eq!(plan_cleanup(&left, cutoff, &[]), None);
    }
}
