//! Actions and commits.

use std::collections::BTreeMap;

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::action::{
    Action, Add, Cdc, CheckpointMetadata, CommitInfo, DeletionVectorDescriptor, DomainMetadata, Format, Metadata, Protocol,
    Remove, Sidecar, StringMap, Txn, decode_path, encode_path,
};
use boathouse_delta_protocol::deletion_vector::StorageType;
use boathouse_delta_protocol::{ProtocolError, commit};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

fn text() -> impl Strategy<Value = String> {
    "[ -~äß漢😀\n\"\\\\]{0,12}"
}

fn string_map() -> impl Strategy<Value = StringMap> {
    btree_map(text(), option::of(text()), 0..4).prop_map(|map| map.into_iter().collect())
}

fn vector() -> impl Strategy<Value = DeletionVectorDescriptor> {
    (0..3_usize, text(), option::of(any::<u32>()), any::<u32>(), any::<u64>()).prop_map(
        |(kind, path, offset, size_in_bytes, cardinality)| {
            let storage_type = [StorageType::UuidRelativePath, StorageType::Inline, StorageType::AbsolutePath][kind];
            DeletionVectorDescriptor { storage_type, path_or_inline_dv: path, offset, size_in_bytes, cardinality }
        },
    )
}

fn add() -> impl Strategy<Value = Add> {
    let first = (text(), string_map(), any::<u64>(), any::<i64>(), any::<bool>());
    let rest = (option::of(text()), option::of(string_map()), option::of(vector()), option::of(any::<i64>()), option::of(text()));
    (first, rest).prop_map(
        |((path, partition_values, size, modification_time, data_change), (stats, tags, vector, row_id, clustering))| Add {
            path,
            partition_values,
            size,
            modification_time,
            data_change,
            stats,
            tags,
            deletion_vector: vector.map(Box::new),
            base_row_id: row_id,
            default_row_commit_version: row_id,
            clustering_provider: clustering,
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        add().prop_map(Action::Add),
        (add(), any::<i64>(), any::<bool>()).prop_map(|(add, at, change)| Action::Remove(add.to_remove(at, change))),
        (text(), any::<bool>()).prop_map(|(path, data_change)| Action::Remove(Remove { path, data_change, ..Remove::default() })),
        (text(), string_map(), any::<u64>(), option::of(string_map())).prop_map(|(path, partition_values, size, tags)| {
            Action::Cdc(Cdc { path, partition_values, size, data_change: false, tags })
        }),
        (text(), any::<i64>(), option::of(any::<i64>())).prop_map(|(app_id, version, last_updated)| Action::Txn(Txn {
            app_id,
            version,
            last_updated
        })),
        (text(), text(), any::<bool>()).prop_map(|(domain, configuration, removed)| Action::DomainMetadata(DomainMetadata {
            domain,
            configuration,
            removed
        })),
        (option::of(any::<i64>()), option::of(text()), option::of(any::<bool>()), text()).prop_map(
            |(timestamp, operation, is_blind_append, own)| Action::CommitInfo(CommitInfo {
                timestamp,
                operation,
                is_blind_append,
                operation_parameters: Some(BTreeMap::from([("mode".to_owned(), json!("Append")), ("n".to_owned(), json!(3))])),
                extra: json!({"boathouse": {"payload": own}}).as_object().unwrap().clone(),
                ..CommitInfo::default()
            })
        ),
        (any::<u64>(), option::of(string_map()))
            .prop_map(|(version, tags)| Action::CheckpointMetadata(CheckpointMetadata { version, tags })),
        (text(), any::<u64>(), any::<i64>()).prop_map(|(path, size_in_bytes, modification_time)| {
            Action::Sidecar(Sidecar { path, size_in_bytes, modification_time, tags: None })
        }),
    ]
}

proptest! {
    #[test]
    fn actions_written_and_read_are_equal_with_commit_info_first(actions in vec(action(), 1..12)) {
        let read = commit::parse(5, &commit::to_json(&actions).unwrap()).unwrap();
        let (mut expected, rest): (Vec<_>, Vec<_>) = actions.into_iter().partition(|a| matches!(a, Action::CommitInfo(_)));
        expected.extend(rest);
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn paths_encoded_and_decoded_are_equal(path in "[ -~äß漢😀\n]{0,40}") {
        let encoded = encode_path(&path);
        prop_assert!(encoded.is_ascii() && !encoded.contains([' ', '\n', '#', '?']));
        prop_assert_eq!(decode_path(&encoded).unwrap(), path);
    }

    #[test]
    fn arbitrary_bytes_give_actions_or_a_corrupt_error(bytes in vec(any::<u8>(), 0..200)) {
        if let Err(error) = commit::parse(1, &bytes) {
            prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}

/// Lines as the reference writer (Spark, Delta 2.4) and old Databricks writers have them.
const REAL: &str = r#"{"commitInfo":{"timestamp":1681798578373,"operation":"DLT REFRESH","operationParameters":{"pipelineId":"5c7b47e9"},"isolationLevel":"WriteSerializable","isBlindAppend":false,"operationMetrics":{},"engineInfo":"Databricks-Runtime/dlt:11.3","txnId":"a2ad05c8-4559-41bc-b7b1-a94773bd2286","notebook":{"notebookId":"4443029"}}}
{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}
{"metaData":{"id":"ac0a0120-970e-4d8c-ae92-b5244b055d6e","format":{"provider":"parquet","options":{}},"partitionColumns":[],"configuration":{"delta.appendOnly":null,"delta.checkpointInterval":"2"},"createdTime":1681798577757}}
{"remove":{"path":"part-0.parquet","deletionTimestamp":1677811194429,"dataChange":true,"extendedFileMetadata":true,"partitionValues":{},"size":635,"tags":{"INSERTION_TIME":"1677811178336000","MIN_INSERTION_TIME":null}}}
{"add":{"path":"part-0.parquet","partitionValues":{},"size":635,"modificationTime":1677811178336,"dataChange":true,"stats":"{\"numRecords\":10}","tags":{"INSERTION_TIME":"1677811178336000"},"deletionVector":{"storageType":"u","pathOrInlineDv":"vBn[lx{q8@P<9BNH/isA","offset":1,"sizeInBytes":36,"cardinality":2}}}
{"futureAction":{"anything":[1,2,3]}}
"#;

#[test]
fn lines_of_real_logs_are_read_whole() {
    let actions = commit::parse(0, REAL.as_bytes()).unwrap();
    assert_eq!(
        actions.iter().map(Action::name).collect::<Vec<_>>(),
        ["commitInfo", "protocol", "metaData", "remove", "add"],
        "an action that is not known is skipped"
    );
    let Action::CommitInfo(info) = &actions[0] else { panic!() };
    assert_eq!(info.operation.as_deref(), Some("DLT REFRESH"));
    assert_eq!(info.extra["notebook"]["notebookId"], "4443029");
    let Action::Metadata(metadata) = &actions[2] else { panic!() };
    assert_eq!(metadata.configuration, BTreeMap::from([("delta.checkpointInterval".to_owned(), "2".to_owned())]));
    assert!(metadata.schema().unwrap().fields.is_empty(), "a table without columns has no schema in the log");
    let Action::Remove(remove) = &actions[3] else { panic!() };
    assert_eq!(remove.tags.as_ref().unwrap().get("MIN_INSERTION_TIME"), Some(None));
    let Action::Add(add) = &actions[4] else { panic!() };
    assert_eq!(add.deletion_vector.as_ref().unwrap().unique_id(), "uvBn[lx{q8@P<9BNH/isA@1");
    assert_ne!(add.key(), remove.key());
    assert_eq!(add.key().path, remove.key().path);
}

#[test]
fn commit_info_of_odd_types_is_kept_and_not_refused() {
    let line = br#"{"commitInfo":{"timestamp":"yesterday","version":-1,"readVersion":-1,"operationParameters":"none","userMetadata":null,"isBlindAppend":true}}"#;
    let actions = commit::parse(0, line).unwrap();
    let Action::CommitInfo(info) = &actions[0] else { panic!() };
    assert_eq!((info.timestamp, info.read_version, info.is_blind_append), (None, None, Some(true)));
    assert_eq!(info.extra["timestamp"], "yesterday");
    let again = commit::parse(0, &commit::to_json(&actions).unwrap()).unwrap();
    assert_eq!(again, actions);
}

#[test]
fn own_fields_of_commit_info_win_over_stray_ones_of_the_same_name() {
    let mut info = CommitInfo { operation: Some("WRITE".to_owned()), ..CommitInfo::default() };
    info.extra.insert("operation".to_owned(), json!(7));
    let bytes = commit::to_json(&[info.into()]).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), "{\"commitInfo\":{\"operation\":\"WRITE\"}}\n");
}

#[test]
fn a_broken_line_names_version_and_line() {
    let error = commit::parse(7, b"{\"txn\":{\"appId\":\"a\",\"version\":1}}\n\n{\"add\":{\"path\":\"x\"").unwrap_err();
    assert!(matches!(error, ProtocolError::CorruptCommit { version: 7, line: 3, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn a_missing_required_field_is_corrupt() {
    for line in [
        r#"{"add":{"path":"x","partitionValues":{},"modificationTime":1,"dataChange":true}}"#,
        r#"{"remove":{"dataChange":true}}"#,
        r#"{"protocol":{"minReaderVersion":1}}"#,
        r#"{"add":{"path":"x","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true,"deletionVector":{"storageType":"x","pathOrInlineDv":"","sizeInBytes":1,"cardinality":1}}}"#,
        r#"{"txn":{"appId":"a","version":1},"add":{"path":"x","size":1,"modificationTime":1,"dataChange":true}}"#,
        r#"[]"#,
    ] {
        let error = commit::parse(0, line.as_bytes()).unwrap_err();
        assert!(matches!(error, ProtocolError::CorruptCommit { line: 1, .. }), "{line}: {error}");
    }
}

#[test]
fn an_empty_commit_and_double_metadata_are_corrupt() {
    assert!(matches!(commit::parse(3, b" \n").unwrap_err(), ProtocolError::EmptyCommit { version: 3 }));
    let protocol = Action::from(Protocol::default());
    let twice = commit::to_json(&[protocol.clone(), protocol]).unwrap();
    assert!(matches!(commit::parse(3, &twice).unwrap_err(), ProtocolError::DuplicateAction { action: "protocol", .. }));
}

#[test]
fn null_actions_and_carriage_returns_are_skipped() {
    let actions = commit::parse(0, b"{\"add\":null,\"txn\":{\"appId\":\"a\",\"version\":1}}\r\n\r\n").unwrap();
    assert_eq!(actions, [Action::Txn(Txn { app_id: "a".into(), version: 1, last_updated: None })]);
}

#[test]
fn metadata_is_written_as_other_writers_have_it() {
    let metadata = Metadata {
        id: "id".into(),
        format: Format::default(),
        schema_string: "{}".into(),
        partition_columns: vec!["day".into()],
        configuration: BTreeMap::from([("a".into(), "b".into())]),
        ..Metadata::default()
    };
    assert_eq!(
        String::from_utf8(commit::to_json(&[metadata.into()]).unwrap()).unwrap(),
        "{\"metaData\":{\"id\":\"id\",\"format\":{\"provider\":\"parquet\",\"options\":{}},\"schemaString\":\"{}\",\"partitionColumns\":[\"day\"],\"configuration\":{\"a\":\"b\"}}}\n"
    );
}

#[test]
fn a_path_that_is_not_utf8_is_an_error() {
    assert!(matches!(decode_path("a%FFb").unwrap_err(), ProtocolError::InvalidPath { .. }));
}
