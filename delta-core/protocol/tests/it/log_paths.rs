//! Names of the log, and which of them make a version.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_protocol::log_path::{
    CheckpointFormat, LastCheckpoint, LogFile, checkpoint_name, checkpoint_part_name, checksum_name, commit_name, list_after,
    plan_segment, uuid_checkpoint_name,
};
use proptest::collection::btree_set;
use proptest::prelude::*;

const UUID: &str = "80a083e8-7026-4e79-81be-64bd76c43a11";

#[test]
fn names_written_and_read_are_equal() {
    for version in [0, 7, 10_000_000_000, i64::MAX as u64 - 1] {
        assert_eq!(LogFile::parse(&commit_name(version)), Some(LogFile::Commit { version }));
        assert_eq!(LogFile::parse(&checkpoint_name(version)), Some(LogFile::Checkpoint { version }));
        assert_eq!(LogFile::parse(&checksum_name(version)), Some(LogFile::Checksum { version }));
        let part = LogFile::CheckpointPart { version, part: 2, parts: 3 };
        assert_eq!(LogFile::parse(&checkpoint_part_name(version, 2, 3)), Some(part));
        for format in [CheckpointFormat::Json, CheckpointFormat::Parquet] {
            let file = LogFile::UuidCheckpoint { version, uuid: UUID.to_owned(), format };
            assert_eq!(file.version(), Some(version));
            assert_eq!(LogFile::parse(&uuid_checkpoint_name(version, UUID, format)), Some(file));
        }
    }
    let compacted = LogFile::parse("00000000000000000004.00000000000000000006.compacted.json");
    assert_eq!(compacted, Some(LogFile::Compacted { from: 4, to: 6 }));
    assert_eq!(LogFile::parse("_last_checkpoint"), Some(LogFile::LastCheckpoint));
}

#[test]
fn other_names_are_no_files_of_the_log() {
    for name in [
        "",
        "1.json",
        "00000000000000000001.json.tmp",
        ".00000000000000000001.json.crc",
        "0000000000000000000a.json",
        "99999999999999999999.json",
        "00000000000000000001.checkpoint.parquet.tmp",
        "00000000000000000001.checkpoint.0000000004.0000000003.parquet",
        "00000000000000000001.checkpoint.0000000000.0000000003.parquet",
        "00000000000000000001.checkpoint.not-a-uuid.parquet",
        "00000000000000000006.00000000000000000004.compacted.json",
        "00000000000000000001.80a083e8-7026-4e79-81be-64bd76c43a11.json",
    ] {
        assert_eq!(LogFile::parse(name), None, "{name}");
    }
}

#[test]
fn the_start_of_a_listing_comes_before_all_files_of_its_version_and_after_those_below() {
    let start = list_after(10);
    assert!(start < checkpoint_name(10) && start < commit_name(10) && start > commit_name(9) && start > checksum_name(9));
}

fn commits(versions: impl IntoIterator<Item = u64>) -> Vec<String> {
    versions.into_iter().map(commit_name).collect()
}

#[test]
fn an_incomplete_or_rejected_checkpoint_gives_way_to_an_older_one() {
    let mut names = commits(0..=25);
    names.push(checkpoint_name(10));
    names.extend([1, 3].map(|part| checkpoint_part_name(20, part, 3)));
    let segment = plan_segment(&names, None, &[]).unwrap();
    assert_eq!((segment.version, segment.checkpoint.as_ref().unwrap().version, segment.commits.len()), (25, 10, 15));

    names.push(checkpoint_part_name(20, 2, 3));
    let parts = plan_segment(&names, None, &[]).unwrap().checkpoint.unwrap();
    assert_eq!((parts.version, parts.files.len()), (20, 3));
    names.push(checkpoint_name(20));
    let whole = plan_segment(&names, None, &[]).unwrap().checkpoint.unwrap();
    assert_eq!(whole.files, [LogFile::Checkpoint { version: 20 }], "one file rather than many");

    let rejected = [whole, parts];
    assert_eq!(plan_segment(&names, None, &rejected[..1]).unwrap().checkpoint.as_ref(), Some(&rejected[1]));
    let ten = plan_segment(&names, None, &rejected).unwrap().checkpoint.unwrap();
    assert_eq!(ten.version, 10);
    let none = plan_segment(&names, None, &[rejected[0].clone(), rejected[1].clone(), ten]).unwrap();
    assert_eq!((none.checkpoint, none.commits.len()), (None, 26));
}

#[test]
fn older_versions_use_checkpoints_at_or_below_them() {
    let names: Vec<_> =
        commits(0..=12).into_iter().chain([checkpoint_name(10), uuid_checkpoint_name(5, UUID, CheckpointFormat::Json)]).collect();
    for (wanted, checkpoint, first) in [(12, Some(10), Some(11)), (10, Some(10), None), (9, Some(5), Some(6)), (4, None, Some(0))]
    {
        let segment = plan_segment(&names, Some(wanted), &[]).unwrap();
        assert_eq!(
            (segment.checkpoint.map(|c| c.version), segment.commits.first().map(|c| c.to)),
            (checkpoint, first),
            "version {wanted}"
        );
        assert_eq!(segment.version, wanted);
    }
}

#[test]
fn a_checkpoint_alone_makes_a_version() {
    let segment = plan_segment([checkpoint_name(3)], None, &[]).unwrap();
    assert_eq!((segment.version, segment.commits.len()), (3, 0));
}

#[test]
fn what_cannot_be_loaded_is_told_apart() {
    assert!(matches!(plan_segment::<&str>([], None, &[]).unwrap_err(), ProtocolError::NoLog));
    assert_eq!(plan_segment(["readme.txt"], None, &[]).unwrap_err().kind(), ErrorKind::NotFound);
    let error = plan_segment(commits(0..=3), Some(9), &[]).unwrap_err();
    assert!(matches!(error, ProtocolError::VersionNotFound { wanted: 9, latest: 3 }), "{error}");
    let error = plan_segment(commits([0, 1, 3]), None, &[]).unwrap_err();
    assert!(matches!(error, ProtocolError::LogGap { wanted: 3, missing: 2 }), "{error}");
    let error = plan_segment(commits(5..=8), None, &[]).unwrap_err();
    assert!(matches!(error, ProtocolError::NoStart { wanted: 8, first: 5 }), "{error}");
    let cleaned: Vec<_> = commits(5..=12).into_iter().chain([checkpoint_name(10)]).collect();
    let error = plan_segment(&cleaned, Some(7), &[]).unwrap_err();
    assert!(matches!(error, ProtocolError::VersionCleaned { wanted: 7, oldest: 10 }), "{error}");
    let error = plan_segment(cleaned.iter().filter(|n| !n.contains("11.json")), None, &[]).unwrap_err();
    assert!(matches!(error, ProtocolError::LogGap { wanted: 12, missing: 11 }), "{error}");
}

proptest! {
    #[test]
    fn a_plan_is_contiguous_and_an_error_is_right(
        versions in btree_set(0..12_u64, 0..12),
        checkpoints in btree_set(0..12_u64, 0..3),
        wanted in prop::option::of(0..14_u64),
    ) {
        let names: Vec<_> = commits(versions.iter().copied()).into_iter().chain(checkpoints.iter().copied().map(checkpoint_name)).collect();
        let newest = versions.iter().chain(&checkpoints).max().copied();
        // The obvious rule: from the newest checkpoint at or below it, every commit must be there.
        let target = wanted.or(newest);
        let start = target.and_then(|t| checkpoints.range(..=t).next_back().copied());
        let possible = target.is_some_and(|t| newest.is_some_and(|n| t <= n) && (start.map_or(0, |c| c + 1)..=t).all(|v| versions.contains(&v)));
        match plan_segment(&names, wanted, &[]) {
            Ok(segment) => {
                prop_assert!(possible);
                prop_assert_eq!(Some(segment.version), target);
                prop_assert_eq!(segment.checkpoint.map(|c| c.version), start);
                prop_assert!(segment.commits.iter().map(|c| c.to).eq(start.map_or(0, |c| c + 1)..=segment.version));
            }
            Err(error) => prop_assert!(!possible, "{}", error),
        }
    }
}

#[test]
fn last_checkpoint_is_read_as_others_write_it() {
    // Written by Spark for a table with V2 checkpoints, shortened.
    let spark = br#"{"version":2,"size":6,"sizeInBytes":8978,"numOfAddFiles":0,"v2Checkpoint":{"path":"x"},"checkpointSchema":{"type":"struct","fields":[]}}"#;
    let read = LastCheckpoint::parse(spark).unwrap();
    assert_eq!((read.version, read.size, read.parts, read.num_of_add_files), (2, 6, None, Some(0)));
    let small = LastCheckpoint { version: 10, size: 3, ..LastCheckpoint::default() };
    let text = String::from_utf8(small.to_json().unwrap()).unwrap();
    let fields: serde_json::Value = serde_json::from_str(&text).unwrap();
    // The MD5 of `"size"=3,"version"=10`.
    assert_eq!(fields, serde_json::json!({"checksum": "004278f3c68a651ecd67be175bfee481", "size": 3, "version": 10}));
    let again = LastCheckpoint::parse(text.as_bytes()).unwrap();
    assert_eq!(LastCheckpoint { checksum: None, ..again.clone() }, small);
    assert_eq!(LastCheckpoint::parse(&again.to_json().unwrap()).unwrap(), again);
    let changed = text.replace("10", "11");
    let error = LastCheckpoint::parse(changed.as_bytes()).unwrap_err();
    assert!(matches!(error, ProtocolError::LastCheckpointChecksum { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    for bytes in [&b""[..], b"{}", b"{\"version\":-1}", b"\xff"] {
        assert_eq!(LastCheckpoint::parse(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_version_without_a_next_one_is_no_version() {
    assert_eq!(LogFile::parse("09223372036854775806.json"), Some(LogFile::Commit { version: i64::MAX as u64 - 1 }));
    for name in ["09223372036854775807.json", "18446744073709551615.checkpoint.parquet", "99999999999999999999.crc"] {
        assert_eq!(LogFile::parse(name), None, "{name}");
    }
    let names = ["18446744073709551615.checkpoint.parquet", "00000000000000000000.json", "00000000000000000001.json"];
    assert_eq!(plan_segment(names, None, &[]).unwrap().version, 1);
}
