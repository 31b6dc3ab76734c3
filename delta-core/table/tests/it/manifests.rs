//! Manifests for readers of Parquet.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use boathouse_delta_table::{DeltaError, ManifestProblem, Transaction};

use crate::rows::{append_each, batch, people, stream, table};

#[tokio::test]
async fn a_manifest_lists_the_files_of_the_newest_version() {
    let table = table();
    append_each(&table, 0..3).await;
    let report = table.manifest().run().await.unwrap();
    assert_eq!((report.version, report.files, report.manifests.len()), (2, 3, 1));
    let text = String::from_utf8(table.storage().get("_symlink_format_manifest/manifest").await.unwrap().to_vec()).unwrap();
    let mut listed: Vec<&str> = text.lines().collect();
    listed.sort_unstable();
    let files = table.snapshot().await.unwrap().files(None).await.unwrap();
    let mut expected: Vec<String> = files.iter().map(|file| format!("{}{}", table.url(), file.path())).collect();
    expected.sort();
    assert_eq!(listed, expected);
    // Without a file, there is an empty one: a reader finds no rows, and no error.
    let snapshot = table.snapshot().await.unwrap();
    Transaction::begin(&snapshot).remove_all(&files).commit().await.unwrap();
    assert_eq!(table.manifest().run().await.unwrap().files, 0);
    assert!(table.storage().get("_symlink_format_manifest/manifest").await.unwrap().is_empty());
}

#[tokio::test]
async fn each_partition_has_a_manifest_and_those_of_partitions_that_are_gone_go() {
    let table = table();
    let parts: ArrayRef = Arc::new(StringArray::from(vec![Some("a b"), Some("x/y"), None]));
    let rows = batch(&[("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef), ("part", parts)]);
    table.append(stream(rows)).partition_by(["part"]).run().await.unwrap();
    let report = table.manifest().run().await.unwrap();
    let folder = |name: &str| format!("_symlink_format_manifest/part={name}/manifest");
    let mut expected = [folder("a b"), folder("x%2Fy"), folder("__HIVE_DEFAULT_PARTITION__")];
    expected.sort();
    assert_eq!(report.manifests, expected);
    let text = table.storage().get(&folder("x%2Fy")).await.unwrap();
    assert!(text.starts_with(format!("{}part=x%2Fy/", table.url()).as_bytes()), "{text:?}");
    table.overwrite(people(&[9], "a b")).run().await.unwrap();
    let report = table.manifest().run().await.unwrap();
    assert_eq!(report.manifests, [folder("a b")]);
    let mut gone = [folder("__HIVE_DEFAULT_PARTITION__"), folder("x%2Fy")];
    gone.sort();
    assert_eq!(report.removed, gone);
    assert_eq!(table.storage().list("_symlink_format_manifest").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_table_that_readers_of_parquet_would_misunderstand_gets_none() {
    let table = table();
    table.append(people(&[1, 2], "a")).property("delta.enableDeletionVectors", "true").run().await.unwrap();
    assert_eq!(table.manifest().run().await.unwrap().files, 1);
    let snapshot = table.snapshot().await.unwrap();
    let file = snapshot.files(None).await.unwrap().remove(0);
    Transaction::begin(&snapshot).delete_rows(&file, [0]).commit().await.unwrap();
    let error = table.manifest().run().await.unwrap_err();
    assert!(matches!(error, DeltaError::CannotList { problem: ManifestProblem::DeletionVector { .. }, .. }), "{error}");
    table.alter().set_property("delta.columnMapping.mode", "name").run().await.unwrap();
    let error = table.manifest().run().await.unwrap_err();
    assert!(matches!(error, DeltaError::CannotList { problem: ManifestProblem::ColumnMapping, .. }), "{error}");
}
