//! Features that nobody knows.

use boathouse_base::{DomainError, ErrorKind};
use serde_json::json;

use super::builder::{Made, column, features, metadata, versions};
use crate::rows::people;

fn fields() -> serde_json::Value {
    json!([column("id", json!("long")), column("part", json!("string"))])
}

#[tokio::test]
async fn an_unknown_reader_feature_is_refused_by_name_whatever_else_is_listed() {
    for names in [&["timeMachine"][..], &["deletionVectors", "timeMachine"], &["timeMachine", "timestampNtz"]] {
        let made = Made::in_memory().with_columns(fields(), features(names)).await;
        let error = made.table().snapshot().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("`timeMachine`"), "{error}");
    }
}

#[tokio::test]
async fn an_unknown_reader_feature_of_a_later_commit_leaves_earlier_versions_readable() {
    let mut made = Made::in_memory().with_columns(fields(), versions(1, 2)).await;
    made.commit(&[features(&["timeMachine"])]).await;
    assert_eq!(made.table().snapshot().await.unwrap_err().kind(), ErrorKind::Unsupported);
    let old = made.table().snapshot_at(boathouse_base::TableVersion::Number(0)).await.unwrap();
    assert_eq!(old.version(), 0);
}

#[tokio::test]
async fn an_unknown_writer_feature_is_read_and_refused_by_name_on_writing() {
    let protocol = json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["timeMachine"]}});
    let mut made = Made::in_memory();
    made.commit(&[protocol, metadata(fields(), &[], json!({}))]).await;
    assert!(made.rows().await.is_empty());
    let error = made.table().append(people(&[1], "a")).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("`timeMachine`"), "{error}");
}

#[tokio::test]
async fn versions_beyond_ours_and_lists_that_are_missing_are_refused() {
    let cases = [
        (versions(4, 7), ErrorKind::Unsupported, "version 4"),
        (versions(3, 7), ErrorKind::Corrupt, "without a list of reader features"),
    ];
    for (protocol, kind, says) in cases {
        let made = Made::in_memory().with_columns(fields(), protocol).await;
        let error = made.table().snapshot().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}
