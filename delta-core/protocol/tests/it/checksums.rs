//! Version checksums: read from other writers, carried on commit by commit, compared with a replay.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::action::{Action, Add, CommitInfo, DomainMetadata, Metadata, Protocol, Remove, Txn};
use boathouse_delta_protocol::checksum::{ChecksumDifference, VersionChecksum};
use boathouse_delta_protocol::deletion_vector::{DeletionVectorDescriptor, StorageType};
use boathouse_delta_protocol::files::FileIndex;
use boathouse_delta_protocol::replay::Replay;
use boathouse_delta_protocol::scan::{CommitScanner, Wanted};
use boathouse_delta_protocol::{ChecksumProblem, ProtocolError};
use proptest::prelude::*;

/// As the reference writer has it, with the old name of the histogram and a field that nobody knows.
const SPARK: &str = r#"{"txnId":"5d6d","tableSizeBytes":3300,"numFiles":2,"numDeletedRecordsOpt":3,"numDeletionVectorsOpt":1,"numMetadata":1,"numProtocol":1,
"setTransactions":[{"appId":"stream","version":4,"lastUpdated":1}],"domainMetadata":[{"domain":"a","configuration":"{}","removed":false}],
"metadata":{"id":"t","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[],"configuration":{},"createdTime":7},
"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]},
"histogramOpt":{"sortedBinBoundaries":[0,2000],"fileCounts":[1,1],"totalBytes":[300,3000]},
"deletedRecordCountsHistogramOpt":{"deletedRecordCounts":[1,1,0,0,0,0,0,0,0,0]},"lastManifestCommit":null,"somethingNew":{"a":[1]}}"#;

fn vectored(path: &str, size: u64, deleted: Option<u64>) -> Add {
    let vector = deleted.map(|cardinality| {
        Box::new(DeletionVectorDescriptor {
            storage_type: StorageType::UuidRelativePath,
            path_or_inline_dv: format!("{cardinality:020}"),
            offset: Some(1),
            size_in_bytes: 40,
            cardinality,
        })
    });
    Add { path: path.to_owned(), size, data_change: true, deletion_vector: vector, ..Add::default() }
}

fn start() -> Vec<Action> {
    let features = Some(vec!["deletionVectors".to_owned(), "domainMetadata".to_owned()]);
    let protocol = Protocol {
        min_reader_version: 3,
        min_writer_version: 7,
        reader_features: Some(vec!["deletionVectors".to_owned()]),
        writer_features: features,
    };
    let metadata =
        Metadata { id: "t".to_owned(), schema_string: r#"{"type":"struct","fields":[]}"#.to_owned(), ..Metadata::default() };
    vec![protocol.into(), metadata.into()]
}

#[test]
fn the_checksum_of_another_writer_is_read_with_its_old_names_and_unknown_fields() {
    let read = VersionChecksum::parse(9, SPARK.as_bytes()).unwrap();
    assert_eq!((read.version, read.num_files, read.table_size_bytes), (9, 2, 3300));
    assert_eq!((read.num_deleted_records, read.num_deletion_vectors), (Some(3), Some(1)));
    assert_eq!(read.file_size_histogram.as_ref().unwrap().file_counts(), [1, 1]);
    assert_eq!(read.set_transactions.as_ref().unwrap()[0].version, 4);
    let text = String::from_utf8(read.to_json().unwrap()).unwrap();
    assert!(text.contains("\"fileSizeHistogram\"") && !text.contains("histogramOpt\":{\"sorted"), "{text}");
    assert_eq!(VersionChecksum::parse(9, text.as_bytes()).unwrap(), read);
}

#[test]
fn what_is_wrong_with_a_checksum_is_told_by_kind() {
    let with = |from: &str, to: &str| {
        assert!(SPARK.contains(from), "{from}");
        VersionChecksum::parse(9, SPARK.replace(from, to).as_bytes()).unwrap_err()
    };
    let problem = |error: ProtocolError| match error {
        ProtocolError::CorruptChecksum { version: 9, problem } => *problem,
        other => panic!("{other}"),
    };
    assert!(matches!(problem(with("\"numMetadata\":1", "\"numMetadata\":2")), ChecksumProblem::NotOne { found: 2, .. }));
    assert!(matches!(problem(with("\"protocol\":{", "\"protokoll\":{")), ChecksumProblem::Missing { field: "protocol" }));
    assert!(matches!(problem(with("[0,2000]", "[0]")), ChecksumProblem::Histogram { .. }));
    assert!(matches!(problem(with("[0,2000]", "[2000,0]")), ChecksumProblem::Histogram { .. }));
    assert!(matches!(problem(with("[1,1,0,", "[1,0,")), ChecksumProblem::Histogram { .. }));
    assert!(matches!(
        problem(with("\"somethingNew\":", "\"allFiles\":[],\"somethingNew\":")),
        ChecksumProblem::FileCount { found: 0, .. }
    ));
    assert!(matches!(problem(with("\"numFiles\":2", "\"numFiles\":-2")), ChecksumProblem::Json(_)));
    let error = VersionChecksum::parse(9, b"{\"tableSizeBytes\"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("version 9"), "{error}");
}

#[test]
fn a_removal_without_size_or_without_its_file_leaves_the_next_checksum_unknown() {
    let mut first = VersionChecksum::first(&start()).unwrap();
    first.count_file(100, None);
    let remove = |size| Action::from(Remove { path: "a".to_owned(), size, data_change: true, ..Remove::default() });
    assert!(first.next(&[remove(None)]).is_none());
    assert!(first.next(&[remove(Some(101))]).is_none(), "more bytes than there are");
    let empty = first.next(&[remove(Some(100))]).unwrap();
    assert_eq!((empty.num_files, empty.table_size_bytes), (0, 0));
    assert!(empty.next(&[remove(Some(0))]).is_none(), "no file is left");
}

#[test]
fn operations_that_repeat_files_leave_the_next_checksum_unknown() {
    let mut first = VersionChecksum::first(&start()).unwrap();
    first.count_file(100, None);
    let again = Action::from(Add { data_change: false, ..vectored("a", 100, None) });
    assert!(first.next(std::slice::from_ref(&again)).is_none());
    let info = CommitInfo { operation: Some("COMPUTE STATS".to_owned()), ..CommitInfo::default() };
    assert!(first.next(&[info.into(), vectored("a", 100, None).into()]).is_none());
    let compacted = [again, Remove { path: "b".to_owned(), size: Some(100), ..Remove::default() }.into()];
    assert_eq!(first.next(&compacted).unwrap().num_files, 1);
}

#[test]
fn in_commit_timestamps_stand_in_the_checksum_when_the_table_has_them() {
    let mut actions = start();
    for action in &mut actions {
        match action {
            Action::Metadata(m) => {
                m.configuration.insert("delta.enableInCommitTimestamps".to_owned(), "true".to_owned());
            }
            Action::Protocol(p) => p.writer_features.as_mut().unwrap().push("inCommitTimestamp".to_owned()),
            _ => {}
        }
    }
    assert!(VersionChecksum::first(&actions).is_none(), "the commit does not say when it was");
    actions.push(CommitInfo { in_commit_timestamp: Some(77), txn_id: Some("x".to_owned()), ..CommitInfo::default() }.into());
    let first = VersionChecksum::first(&actions).unwrap();
    assert_eq!((first.in_commit_timestamp_ms, first.txn_id.as_deref()), (Some(77), Some("x")));
}

#[test]
fn transactions_and_domains_are_carried_on_until_there_are_too_many() {
    let txn = |app: &str, version| Action::from(Txn { app_id: app.to_owned(), version, last_updated: None });
    let domain =
        |name: &str, removed| Action::from(DomainMetadata { domain: name.to_owned(), configuration: "1".to_owned(), removed });
    let first = VersionChecksum::first(&start()).unwrap();
    let next = first.next(&[txn("a", 1), txn("b", 1), domain("x", false), domain("y", false)]).unwrap();
    let next = next.next(&[txn("a", 2), domain("x", true)]).unwrap();
    let txns = next.set_transactions.as_ref().unwrap();
    assert_eq!(txns.iter().map(|t| (t.app_id.as_str(), t.version)).collect::<Vec<_>>(), [("a", 2), ("b", 1)]);
    assert_eq!(next.domain_metadata.as_ref().unwrap().len(), 1);
    let many: Vec<Action> = (0..200).map(|n| txn(&n.to_string(), 1)).collect();
    assert_eq!(next.next(&many).unwrap().set_transactions, None);
}

#[test]
fn a_feature_that_comes_later_starts_to_count_from_nothing() {
    let plain = VersionChecksum::empty(
        0,
        Protocol::default(),
        Metadata { schema_string: "{\"type\":\"struct\",\"fields\":[]}".into(), ..Metadata::default() },
    );
    assert_eq!(plain.num_deletion_vectors, None);
    let plain = plain.next(&[vectored("a", 10, None).into()]).unwrap();
    let upgraded = plain.next(&[start().remove(0), vectored("b", 10, Some(5)).into()]).unwrap();
    assert_eq!((upgraded.num_deletion_vectors, upgraded.num_deleted_records), (Some(1), Some(5)));
    assert_eq!(upgraded.deleted_record_counts.unwrap().file_counts()[..2], [1, 1]);
}

#[test]
fn every_difference_is_named() {
    let read = VersionChecksum::parse(9, SPARK.as_bytes()).unwrap();
    assert_eq!(read.differences(&read), []);
    let mut other = read.clone();
    other.table_size_bytes += 1;
    other.num_files += 1;
    other.metadata.name = Some("other".to_owned());
    other.protocol.min_writer_version = 8;
    other.in_commit_timestamp_ms = Some(1);
    other.set_transactions.as_mut().unwrap()[0].version = 5;
    other.domain_metadata = Some(Vec::new());
    assert!(other.file_size_histogram.as_mut().unwrap().insert(1));
    other.num_deleted_records = Some(4);
    other.num_deletion_vectors = Some(2);
    assert!(other.deleted_record_counts.as_mut().unwrap().insert(1));
    let found = read.differences(&other);
    assert_eq!(found.len(), 11, "{found:?}");
    assert!(found.contains(&ChecksumDifference::FileCount { expected: 2, found: 3 }));
    assert!(found.iter().all(|d| !d.to_string().is_empty()));
}

/// One step of a table: files are named by number.
#[derive(Debug, Clone)]
enum Step {
    Add(u64, Option<u64>),
    Remove(usize),
    Vector(usize, u64),
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        3 => (0..20_000_000_u64, proptest::option::of(1..5_000_u64)).prop_map(|(size, dv)| Step::Add(size, dv)),
        1 => any::<usize>().prop_map(Step::Remove),
        1 => (any::<usize>(), 1..5_000_u64).prop_map(|(at, dv)| Step::Vector(at, dv)),
    ];
    proptest::collection::vec(proptest::collection::vec(step, 0..6), 1..12)
}

proptest! {
    /// Commit by commit, the sums are those of a replay from the start.
    #[test]
    fn carried_on_checksums_are_those_of_a_replay(commits in steps()) {
        let mut files = FileIndex::default();
        let mut replay = Replay::new();
        replay.apply_commit(0, start()).unwrap();
        let mut sum = VersionChecksum::first(&start()).unwrap();
        let (mut live, mut named): (Vec<Add>, u64) = (Vec::new(), 0);
        for (version, commit) in (1..).zip(commits) {
            let mut actions = Vec::new();
            // A file is touched once in a commit.
            let mut touched: Vec<Add> = Vec::new();
            for step in commit {
                match step {
                    Step::Add(size, deleted) => {
                        named += 1;
                        let add = vectored(&format!("f{named}"), size, deleted);
                        actions.push(Action::from(add.clone()));
                        touched.push(add);
                    }
                    Step::Remove(at) if !live.is_empty() => {
                        let add = live.swap_remove(at % live.len());
                        actions.push(add.to_remove(5, true).into());
                    }
                    Step::Vector(at, deleted) if !live.is_empty() => {
                        let old = live.swap_remove(at % live.len());
                        let new = vectored(&old.path, old.size, Some(deleted));
                        if new.key() == old.key() {
                            touched.push(old);
                            continue;
                        }
                        actions.push(old.to_remove(5, true).into());
                        actions.push(new.clone().into());
                        touched.push(new);
                    }
                    _ => {}
                }
            }
            live.append(&mut touched);
            sum = sum.next(&actions).unwrap();
            let mut scanner = CommitScanner::new(version, Wanted::Everything);
            scanner.scan(&boathouse_delta_protocol::commit::to_json(&actions).unwrap()).unwrap();
            files = files.apply(scanner.finish().unwrap()).unwrap();
            replay.apply_commit(version, actions).unwrap();
        }
        let state = replay.finish().unwrap();
        let mut counted = VersionChecksum::empty(state.version, state.protocol.clone(), (*state.metadata).clone());
        for file in files.iter() {
            counted.count_file(file.size_bytes(), file.deletion_vector().map(|v| v.cardinality));
        }
        prop_assert_eq!(sum.differences(&counted), []);
        prop_assert_eq!(&sum, &counted);
        prop_assert_eq!(VersionChecksum::parse(sum.version, &sum.to_json().unwrap()).unwrap(), sum);
    }
}
