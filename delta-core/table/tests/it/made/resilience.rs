//! Logs that are damaged: what can be read another way is read, and what contradicts itself is corrupt.

use std::sync::Arc;

use arrow_array::Int64Array;
use boathouse_base::{DomainError, ErrorKind};
use serde_json::{Value, json};

use super::builder::{Made, batch, column, features, metadata, versions, with};
use super::warnings::Warnings;

fn add(path: &str) -> Value {
    json!({"add": {"path": path, "partitionValues": {}, "size": 9, "modificationTime": 1, "dataChange": true}})
}

fn id_column() -> Value {
    json!([column("id", json!("long"))])
}

/// Version 0 creates the table, versions 1 to `last` add a file each.
async fn log(last: u64) -> Made {
    let mut made = Made::in_memory().with_columns(id_column(), versions(1, 2)).await;
    for version in 1..=last {
        made.commit(&[add(&format!("{version}.parquet"))]).await;
    }
    made
}

fn commit_path(version: u64) -> String {
    format!("_delta_log/{version:020}.json")
}

const LAST: &str = "_delta_log/_last_checkpoint";

#[tokio::test]
async fn a_pointer_that_is_missing_stale_or_damaged_changes_nothing() {
    let pointers: [Option<&str>; 9] = [
        None,
        Some(""),
        Some("null"),
        Some("[]"),
        Some("{\"version\":"),
        Some("{\"version\":-3,\"size\":1}"),
        Some("{\"version\":99,\"size\":1}"),
        Some("{\"version\":2,\"size\":1}"),
        Some("{\"version\":3,\"size\":1,\"parts\":4}"),
    ];
    for pointer in pointers {
        let made = log(3).await;
        made.table().checkpoint().await.unwrap();
        match pointer {
            Some(text) => made.storage.put(LAST, text.to_owned()).await.unwrap(),
            None => made.storage.delete(LAST).await.unwrap(),
        }
        assert_eq!(made.files().await.unwrap(), 3, "{pointer:?}");
    }
}

/// A checkpoint of version 3 in several files, made out of the one that we write.
async fn with_parts(made: &Made, parts: u64, left_out: Option<u64>) {
    made.table().checkpoint().await.unwrap();
    let path = "_delta_log/00000000000000000003.checkpoint.parquet";
    let whole = made.storage.get(path).await.unwrap();
    made.storage.delete(path).await.unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(whole).unwrap().build().unwrap();
    let batches: Vec<_> = reader.map(|batch| batch.unwrap()).collect();
    let rows = arrow_select::concat::concat_batches(&batches[0].schema(), &batches).unwrap();
    for part in (1..=parts).filter(|part| Some(*part) != left_out) {
        let (from, to) = (rows.num_rows() as u64 * (part - 1) / parts, rows.num_rows() as u64 * part / parts);
        let slice = rows.slice(usize::try_from(from).unwrap(), usize::try_from(to - from).unwrap());
        made.write(&format!("_delta_log/{:020}.checkpoint.{part:010}.{parts:010}.parquet", 3), &slice).await;
    }
}

#[tokio::test]
async fn a_checkpoint_in_parts_is_read_when_all_are_there_and_left_aside_otherwise() {
    let made = log(3).await;
    with_parts(&made, 2, None).await;
    // Without the commits, so that it must be the checkpoint that is read.
    for version in 0..=3 {
        made.storage.delete(&commit_path(version)).await.unwrap();
    }
    assert_eq!(made.files().await.unwrap(), 3);
    for left_out in [1, 2] {
        let made = log(3).await;
        with_parts(&made, 2, Some(left_out)).await;
        assert_eq!(made.files().await.unwrap(), 3, "part {left_out} is missing");
        for version in 0..=2 {
            made.storage.delete(&commit_path(version)).await.unwrap();
        }
        let error = made.table().snapshot().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "neither the checkpoint nor the commits: {error}");
    }
}

#[tokio::test]
async fn a_checkpoint_that_is_cut_off_anywhere_is_left_aside() {
    let whole = {
        let made = log(3).await;
        made.table().checkpoint().await.unwrap();
        made.storage.get("_delta_log/00000000000000000003.checkpoint.parquet").await.unwrap()
    };
    for end in (0..whole.len()).step_by(whole.len() / 23) {
        let made = log(3).await;
        made.storage.put("_delta_log/00000000000000000003.checkpoint.parquet", whole.slice(..end)).await.unwrap();
        made.storage.put(LAST, "{\"version\":3,\"size\":5}").await.unwrap();
        assert_eq!(made.files().await.unwrap(), 3, "cut at {end} of {}", whole.len());
    }
}

fn v2_checkpoint(version: u64, lines: &[Value]) -> (String, String) {
    let path = format!("_delta_log/{version:020}.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json");
    (path, lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"))
}

#[tokio::test]
async fn a_sidecar_that_is_missing_or_damaged_sends_the_reader_to_the_commits() {
    let sidecar = json!({"sidecar": {"path": "side.parquet", "sizeInBytes": 99, "modificationTime": 1}});
    let head = || {
        let checkpoint = json!({"checkpointMetadata": {"version": 3}});
        vec![checkpoint, features(&["v2Checkpoint"]), metadata(id_column(), &[], json!({})), sidecar.clone()]
    };
    for damage in [None, Some("PAR1 and no more")] {
        let made = log(3).await;
        made.storage
            .put(&commit_path(0), format!("{}\n{}", features(&["v2Checkpoint"]), metadata(id_column(), &[], json!({}))))
            .await
            .unwrap();
        let (path, text) = v2_checkpoint(3, &head());
        made.storage.put(&path, text).await.unwrap();
        if let Some(bytes) = damage {
            made.storage.put("_delta_log/_sidecars/side.parquet", bytes).await.unwrap();
        }
        assert_eq!(made.files().await.unwrap(), 3, "{damage:?}");
        made.storage.delete(&commit_path(1)).await.unwrap();
        let error = made.files().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound), "never fewer files in silence: {error}");
    }
}

#[tokio::test]
async fn a_json_checkpoint_that_is_cut_off_is_left_aside() {
    let made = log(3).await;
    let lines = [
        json!({"checkpointMetadata": {"version": 3}}),
        versions(1, 2),
        metadata(id_column(), &[], json!({})),
        add("only.parquet"),
    ];
    let (path, text) = v2_checkpoint(3, &lines);
    let ends = text.match_indices('\n').map(|(at, _)| at).take(2).chain([1, text.len() - 3]);
    for end in ends {
        made.storage.put(&path, text[..end].to_owned()).await.unwrap();
        assert_eq!(made.files().await.unwrap(), 3, "cut at {end}");
    }
    made.storage.put(&path, text).await.unwrap();
    assert_eq!(made.files().await.unwrap(), 1, "whole, it is what the table is");
}

#[tokio::test]
async fn a_whole_checkpoint_without_metadata_is_corrupt_and_named() {
    let made = log(3).await;
    made.table().checkpoint().await.unwrap();
    let path = "_delta_log/00000000000000000003.checkpoint.parquet";
    let whole = made.storage.get(path).await.unwrap();
    for missing in ["protocol", "metaData"] {
        let reader =
            parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(whole.clone()).unwrap().build().unwrap();
        let batches: Vec<_> = reader.map(|batch| batch.unwrap()).collect();
        let rows = arrow_select::concat::concat_batches(&batches[0].schema(), &batches).unwrap();
        let there = arrow_array::cast::AsArray::as_struct(rows.column_by_name(missing).unwrap().as_ref()).clone();
        let keep: arrow_array::BooleanArray =
            (0..rows.num_rows()).map(|row| Some(!arrow_array::Array::is_valid(&there, row))).collect();
        made.write(path, &arrow_select::filter::filter_record_batch(&rows, &keep).unwrap()).await;
        let error = made.table().snapshot().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(&format!("`{missing}`")) && error.to_string().contains("version 3"), "{error}");
    }
}

#[tokio::test]
async fn compacted_commits_that_are_damaged_are_replaced_by_the_single_ones() {
    let compacted = "_delta_log/00000000000000000001.00000000000000000003.compacted.json";
    let fine = [add("1.parquet"), add("2.parquet"), add("3.parquet")].map(|line| line.to_string()).join("\n");
    let twice = [add("1.parquet"), add("1.parquet")].map(|line| line.to_string()).join("\n");
    for (text, what) in [(fine.as_str(), "whole"), (&fine[..fine.len() - 5], "cut off"), (&twice, "contradictory"), ("", "empty")]
    {
        let made = log(4).await;
        made.storage.put(compacted, text.to_owned()).await.unwrap();
        assert_eq!(made.files().await.unwrap(), 4, "{what}");
    }
    let made = log(4).await;
    made.storage.put(compacted, fine[..fine.len() - 5].to_owned()).await.unwrap();
    made.storage.delete(&commit_path(2)).await.unwrap();
    assert_eq!(made.files().await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_commit_that_is_cut_off_or_contradicts_itself_is_corrupt_with_version_and_line() {
    let line = |value: &Value| value.to_string();
    let (protocol, table) = (versions(1, 2), metadata(id_column(), &[], json!({})));
    let cases: [(&str, String, &str); 9] = [
        ("empty", String::new(), ""),
        ("blank", "\n \n".to_owned(), ""),
        ("cut off", format!("{}\n{}", line(&add("a")), &line(&add("b"))[..30]), "line 2"),
        ("not JSON", format!("{}\nhello", line(&add("a"))), "line 2"),
        ("not an action", format!("{}\n\n[1]", line(&add("a"))), "line 3"),
        ("without a path", format!("{}\n{}", line(&add("a")), r#"{"add":{"size":1}}"#), "line 2"),
        ("two protocols", format!("{}\n{}", line(&protocol), line(&protocol)), "protocol"),
        ("two metadata", format!("{}\n{}", line(&table), line(&table)), "metaData"),
        ("an add twice", format!("{}\n{}\n{}", line(&add("a")), line(&add("b")), line(&add("a"))), "second `add` action"),
    ];
    for (what, text, says) in cases {
        let made = log(3).await;
        made.storage.put(&commit_path(2), text).await.unwrap();
        let error = made.files().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error}");
        assert!(error.to_string().contains("commit 2") && error.to_string().contains(says), "{what}: {error}");
    }
}

#[tokio::test]
async fn a_commit_that_adds_and_removes_the_same_file_is_corrupt_and_with_another_vector_it_is_not() {
    let vector = json!({"storageType": "i", "pathOrInlineDv": "00000", "sizeInBytes": 1, "cardinality": 1});
    let remove = |changes: Value| with(json!({"remove": {"path": "a", "deletionTimestamp": 1, "dataChange": true}}), changes);
    let log = || async {
        let mut made = Made::in_memory().with_columns(id_column(), features(&["deletionVectors"])).await;
        made.commit(&[add("a")]).await;
        made
    };
    for actions in [[add("a"), remove(json!({}))], [remove(json!({})), add("a")]] {
        // From the start, and going on from a version that is known.
        let mut made = log().await;
        let known = made.table();
        assert_eq!(known.snapshot().await.unwrap().file_count().await.unwrap(), 1);
        made.commit(&actions).await;
        for table in [made.table(), known] {
            let error = table.snapshot().await.unwrap().file_count().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains("commit 2"), "{error}");
        }
    }
    let mut made = log().await;
    made.commit(&[remove(json!({})), with(add("a"), json!({"deletionVector": vector.clone()}))]).await;
    made.commit(&[remove(json!({"deletionVector": vector})), add("a")]).await;
    assert_eq!(made.files().await.unwrap(), 1);
}

#[tokio::test]
async fn every_way_around_a_damage_is_told_in_a_warning() {
    let checkpoint = "_delta_log/00000000000000000003.checkpoint.parquet";
    let part = "_delta_log/00000000000000000003.checkpoint.0000000001.0000000002.parquet";
    let compacted = "_delta_log/00000000000000000001.00000000000000000003.compacted.json";
    let (side, text) = v2_checkpoint(
        3,
        &[
            json!({"checkpointMetadata": {"version": 3}}),
            versions(1, 2),
            metadata(id_column(), &[], json!({})),
            json!({"sidecar": {"path": "gone.parquet", "sizeInBytes": 9, "modificationTime": 1}}),
        ],
    );
    let cases: [(&str, String, &str); 6] = [
        (LAST, "{\"version\":".to_owned(), "`_last_checkpoint` is damaged"),
        (LAST, "{\"version\":99,\"size\":1}".to_owned(), "`_last_checkpoint` does not hold"),
        (checkpoint, "PAR1".to_owned(), "a checkpoint is damaged"),
        (part, "PAR1".to_owned(), "a checkpoint lacks parts"),
        (compacted, "{\"add\"".to_owned(), "compacted commits are damaged"),
        (&side, text, "a checkpoint or compacted commits are damaged"),
    ];
    for (path, bytes, expected) in cases {
        let made = log(3).await;
        made.storage.put(path, bytes).await.unwrap();
        let (warnings, _guard) = Warnings::listen();
        assert_eq!(made.files().await.unwrap(), 3, "{path}");
        let told = warnings.told();
        assert!(told.iter().any(|warning| warning.contains(expected)), "{path}: {told:?}");
    }
    let made = log(3).await;
    let (warnings, _guard) = Warnings::listen();
    assert_eq!(made.files().await.unwrap(), 3);
    assert!(warnings.told().is_empty(), "nothing is damaged, and nothing told");
}

#[tokio::test]
async fn an_add_over_an_active_one_with_another_vector_is_corrupt() {
    let vector = |id: &str| json!({"storageType": "i", "pathOrInlineDv": id, "sizeInBytes": 1, "cardinality": 1});
    let mut made = Made::in_memory().with_columns(id_column(), features(&["deletionVectors"])).await;
    made.commit(&[add("a")]).await;
    made.commit(&[with(add("a"), json!({"deletionVector": vector("00000")}))]).await;
    let error = made.files().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("i00000") && error.to_string().contains("commit"), "{error}");
}

#[tokio::test]
async fn a_gap_in_the_versions_is_corrupt_and_names_what_is_missing() {
    for missing in [0, 1, 2] {
        let made = log(3).await;
        made.storage.delete(&commit_path(missing)).await.unwrap();
        let error = made.table().snapshot().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{missing}: {error}");
        assert!(error.to_string().contains("missing"), "{missing}: {error}");
    }
    // After a checkpoint as well.
    let mut made = log(3).await;
    made.table().checkpoint().await.unwrap();
    made.commit(&[add("4")]).await;
    made.commit(&[add("5")]).await;
    made.storage.delete(&commit_path(4)).await.unwrap();
    let error = made.table().snapshot().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains('4'), "{error}");
}

#[tokio::test]
async fn a_log_whose_beginning_is_gone_is_corrupt_even_with_checksums() {
    let made = log(3).await;
    for version in 0..=1 {
        made.storage.delete(&commit_path(version)).await.unwrap();
    }
    made.storage.put("_delta_log/00000000000000000001.crc", "{}").await.unwrap();
    let error = made.table().snapshot().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test]
async fn a_schema_that_is_none_is_corrupt() {
    for schema in ["", "{", "[]", "\"long\"", "{\"type\":\"struct\"}", "{\"type\":\"array\",\"elementType\":\"long\"}"] {
        let mut made = Made::in_memory();
        let mut table = metadata(id_column(), &[], json!({}));
        table["metaData"]["schemaString"] = json!(schema);
        made.commit(&[versions(1, 2), table]).await;
        let error = made.table().snapshot().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{schema}: {error}");
    }
}

#[tokio::test]
async fn files_that_are_none_of_the_log_are_ignored() {
    let made = log(3).await;
    for name in [
        ".00000000000000000001.json.crc",
        "00000000000000000004.json.tmp",
        "4.json",
        "00000000000000000009.checkpoint.parquet.crc",
        "_staged_commits/00000000000000000004.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.json",
        "info.txt",
    ] {
        made.storage.put(&format!("_delta_log/{name}"), "junk").await.unwrap();
    }
    assert_eq!(made.files().await.unwrap(), 3);
    assert_eq!(made.snapshot().await.version(), 3);
}

#[tokio::test]
async fn unknown_actions_and_unknown_fields_are_ignored() {
    let mut made = Made::in_memory().with_columns(id_column(), versions(1, 2)).await;
    let rows = batch(vec![("id", Arc::new(Int64Array::from(vec![1])))]);
    let file = made.write("f.parquet", &rows).await;
    let file = with(file, json!({"later": {"deep": [1, {"add": {"path": "no"}}]}, "tags": {"k": null}}));
    made.commit(&[
        json!({"cleverAction": {"path": "x"}}),
        file,
        json!({"commitInfo": {"operationParameters": {"n": 1, "o": {}}}}),
    ])
    .await;
    assert_eq!(made.rows().await, ["1|"]);
}
