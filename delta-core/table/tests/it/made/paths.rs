//! Data files wherever a path can say that they are.

use std::sync::Arc;

use arrow_array::Int64Array;
use boathouse_base::ErrorKind;
use serde_json::json;

use super::builder::{Made, batch, column, versions, with};

fn ids(from: i64) -> arrow_array::RecordBatch {
    batch(vec![("id", Arc::new(Int64Array::from(vec![from, from + 1])))])
}

async fn table() -> Made {
    Made::on_disk().with_columns(json!([column("id", json!("long"))]), versions(1, 2)).await
}

#[tokio::test]
async fn relative_paths_are_percent_decoded_once() {
    let names = [
        ("plain.parquet", "plain.parquet"),
        ("a b.parquet", "a%20b.parquet"),
        ("a%20b.parquet", "a%2520b.parquet"),
        ("p=10:30/ü#?+&.parquet", "p=10%3A30/%C3%BC%23%3F+&.parquet"),
        ("p=x%2Fy/f.parquet", "p=x%252Fy/f.parquet"),
    ];
    let mut made = table().await;
    for (nth, (stored, logged)) in names.into_iter().enumerate() {
        let add = made.write(stored, &ids(10 * i64::try_from(nth).unwrap())).await;
        made.commit(&[with(add, json!({"path": logged}))]).await;
    }
    let rows = made.rows().await;
    assert_eq!(rows, ["0|", "10|", "11|", "1|", "20|", "21|", "30|", "31|", "40|", "41|"]);
}

#[tokio::test]
async fn absolute_paths_and_file_urls_reach_files_outside_of_the_table() {
    let mut made = table().await;
    let root = made.folder.as_ref().unwrap().path().to_path_buf();
    let outside = |name: &str| root.join("out side").join(name).to_str().unwrap().to_owned();
    std::fs::create_dir_all(root.join("out side")).unwrap();
    let forms = [("", "one"), ("file:", "two"), ("file://", "three")];
    for (nth, (scheme, name)) in forms.into_iter().enumerate() {
        let inside = format!("{name}.parquet");
        let add = made.write(&inside, &ids(10 * i64::try_from(nth).unwrap())).await;
        std::fs::rename(root.join("a %20 table").join(&inside), outside(&inside)).unwrap();
        let logged = format!("{scheme}{}", outside(&inside).replace('%', "%25").replace(' ', "%20"));
        made.commit(&[with(add, json!({"path": logged}))]).await;
    }
    assert_eq!(made.rows().await, ["0|", "10|", "11|", "1|", "20|", "21|"]);
}

#[tokio::test]
async fn a_file_is_removed_under_another_spelling_of_its_path() {
    let spellings = [
        ("/far/away.parquet", "file:/far/away.parquet"),
        ("file:/far/away.parquet", "file:///far/away.parquet"),
        ("file:///far/away.parquet", "/far/away.parquet"),
        ("far%20away.parquet", "far%20away.parquet"),
        ("p=10%3A30/f.parquet", "p=10:30/f.parquet"),
    ];
    for (added, removed) in spellings {
        let mut made = table().await;
        let add = json!({"add": {"path": added, "partitionValues": {}, "size": 9, "modificationTime": 1, "dataChange": true}});
        made.commit(&[add]).await;
        assert_eq!(made.files().await.unwrap(), 1);
        made.commit(&[json!({"remove": {"path": removed, "deletionTimestamp": 1, "dataChange": true}})]).await;
        assert_eq!(made.files().await.unwrap(), 0, "{added} and {removed}");
    }
}

#[tokio::test]
async fn a_file_in_another_store_and_a_path_that_is_not_text_are_refused() {
    let cases = [
        ("s3://bucket/f.parquet", ErrorKind::Unsupported, "s3://bucket/f.parquet"),
        ("bad%FF.parquet", ErrorKind::Corrupt, "bad%FF.parquet"),
        ("../up.parquet", ErrorKind::Invalid, "../up.parquet"),
    ];
    for (path, kind, says) in cases {
        let mut made = table().await;
        let add = json!({"add": {"path": path, "partitionValues": {}, "size": 9, "modificationTime": 1, "dataChange": true}});
        made.commit(&[add]).await;
        let error = made.read().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{path}: {error}");
        assert!(error.to_string().contains(says), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_is_not_found_whatever_size_the_log_gives_it() {
    for size in [0, 1, 9, 5000] {
        let mut made = table().await;
        let add = json!({"add": {"path": "gone.parquet", "partitionValues": {}, "size": size, "modificationTime": 1, "dataChange": true}});
        made.commit(&[add]).await;
        let error = made.read().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{size}: {error}");
        assert!(error.to_string().contains("gone.parquet"), "{error}");
    }
}
