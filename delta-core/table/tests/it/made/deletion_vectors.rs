//! Deletion vectors in every place where they can be, and damaged in every way.

use std::sync::Arc;

use arrow_array::Int64Array;
use boathouse_base::ErrorKind;
use boathouse_delta_table::protocol::deletion_vector::{DeletionVector, crc32, file, z85};
use serde_json::{Value, json};

use super::builder::{Made, batch, column, features, with};

const UUID: [u8; 16] = *b"\xd2\xc6\x39\xaa\x88\x16\x43\x1a\xaa\xf6\xd3\xfe\x25\x12\xff\x61";

/// Rows 0 to 9 in a file whose rows 3, 4 and 7 are deleted.
fn vector() -> Vec<u8> {
    DeletionVector::from_iter([3, 4, 7]).encode()
}

/// A file of vectors: another one first, then that of [`vector`]; and where it starts.
fn vector_file() -> (Vec<u8>, u64) {
    let mut bytes = Vec::new();
    file::append(&mut bytes, &DeletionVector::from_iter([1]).encode());
    let offset = file::append(&mut bytes, &vector());
    (bytes, offset)
}

fn descriptor(storage: &str, path: &str, offset: Option<u64>) -> Value {
    let mut descriptor = json!({"storageType": storage, "pathOrInlineDv": path, "sizeInBytes": vector().len(), "cardinality": 3});
    if let Some(offset) = offset {
        descriptor["offset"] = json!(offset);
    }
    descriptor
}

fn inline(bytes: &[u8]) -> String {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(4), 0);
    z85::encode(&padded)
}

/// A file of vectors: its path, and its bytes.
type Stored<'a> = Option<(String, &'a [u8])>;

async fn table(made: Made, descriptor: Value) -> Made {
    let mut made = made.with_columns(json!([column("id", json!("long"))]), features(&["deletionVectors"])).await;
    let rows = batch(vec![("id", Arc::new(Int64Array::from_iter_values(0..10)))]);
    let add = made.write("rows.parquet", &rows).await;
    made.commit(&[with(add, json!({"deletionVector": descriptor, "stats": "{\"numRecords\":10}"}))]).await;
    made
}

#[tokio::test]
async fn a_vector_is_found_inline_below_the_table_and_at_absolute_paths() {
    let uuid = z85::encode(&UUID);
    let (bytes, offset) = vector_file();
    let mut first = Vec::new();
    let first_offset = file::append(&mut first, &vector());
    assert_eq!(first_offset, 1);
    let cases: [(&str, Stored<'_>, Value); 4] = [
        ("inline", None, descriptor("i", &inline(&vector()), None)),
        ("in the table", Some((file::name("", UUID), &bytes)), descriptor("u", &uuid, Some(offset))),
        ("in a folder", Some((file::name("ab", UUID), &bytes)), descriptor("u", &format!("ab{uuid}"), Some(offset))),
        ("without an offset", Some((file::name("", UUID), &first)), descriptor("u", &uuid, None)),
    ];
    for (place, stored, descriptor) in cases {
        let made = table(Made::in_memory(), descriptor).await;
        if let Some((path, bytes)) = stored {
            made.storage.put(&path, bytes.to_vec()).await.unwrap();
        }
        assert_eq!(made.rows().await, ["0|", "1|", "2|", "5|", "6|", "8|", "9|"], "{place}");
        assert_eq!(made.snapshot().await.row_count().await.unwrap(), Some(7), "{place}");
    }
}

#[tokio::test]
async fn an_absolute_path_of_a_vector_is_percent_encoded_and_may_be_a_url() {
    for url in [false, true] {
        let made = Made::on_disk();
        let elsewhere = made.folder.as_ref().unwrap().path().join("vectors with 100%");
        std::fs::create_dir_all(&elsewhere).unwrap();
        let (bytes, offset) = vector_file();
        std::fs::write(elsewhere.join("v.bin"), &bytes).unwrap();
        let plain = elsewhere.join("v.bin").to_str().unwrap().replace('%', "%25").replace(' ', "%20");
        let path = if url { format!("file://{plain}") } else { plain };
        let made = table(made, descriptor("p", &path, Some(offset))).await;
        assert_eq!(made.rows().await.len(), 7, "{path}");
    }
}

#[tokio::test]
async fn a_damaged_vector_is_corrupt_and_named_with_its_data_file_and_version() {
    let uuid = z85::encode(&UUID);
    let (bytes, offset) = vector_file();
    let at = usize::try_from(offset).unwrap();
    let in_file = || descriptor("u", &uuid, Some(offset));
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        Some(bytes)
    };
    let mut magic = vector();
    magic[0] ^= 1;
    let mut junk = vector();
    junk.truncate(6);
    junk.resize(vector().len(), 0xFF);
    let mut first = Vec::new();
    file::append(&mut first, &vector());
    first[0] = 9;
    let cases: Vec<(&str, Option<Vec<u8>>, Value)> = vec![
        ("checksum", changed(&|b| b[at + 10] ^= 1), in_file()),
        ("checksum", changed(&|b| *b.last_mut().unwrap() ^= 1), in_file()),
        ("its descriptor says", changed(&|b| b[at + 3] += 1), in_file()),
        ("ends after", changed(&|b| b.truncate(at + 12)), in_file()),
        ("ends after 0 bytes", changed(&|b| b.truncate(at)), in_file()),
        ("format version 9", Some(first), descriptor("u", &uuid, None)),
        ("magic number", None, descriptor("i", &inline(&magic), None)),
        ("bitmap is damaged", None, descriptor("i", &inline(&junk), None)),
        ("Base85", None, descriptor("i", "not~base85~", None)),
        ("removes 3 rows", None, with_field(descriptor("i", &inline(&vector()), None), "cardinality", json!(4))),
        ("has", None, with_field(descriptor("i", &inline(&vector()), None), "sizeInBytes", json!(4000))),
        ("not a Base85 UUID", None, descriptor("u", "short", Some(1))),
        ("not a Base85 UUID", None, descriptor("u", "~~~~~~~~~~~~~~~~~~~~", Some(1))),
        ("beyond the 10 rows", None, {
            let beyond = DeletionVector::from_iter([3, 4, 10]).encode();
            with_field(descriptor("i", &inline(&beyond), None), "sizeInBytes", json!(beyond.len()))
        }),
    ];
    for (expected, stored, descriptor) in cases {
        let made = table(Made::in_memory(), descriptor).await;
        if let Some(bytes) = stored {
            made.storage.put(&file::name("", UUID), bytes).await.unwrap();
        }
        let error = made.read().await.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{expected}: {text}");
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(text.contains("rows.parquet") && text.contains("version 1"), "{text}");
    }
}

fn with_field(mut descriptor: Value, name: &str, value: Value) -> Value {
    descriptor[name] = value;
    descriptor
}

#[tokio::test]
async fn a_vector_of_an_unknown_storage_type_is_corrupt_with_version_and_line() {
    let made = table(Made::in_memory(), descriptor("x", "whatever", None)).await;
    let error = made.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("commit 1") && error.to_string().contains("line 1"), "{error}");
}

#[tokio::test]
async fn a_vector_whose_file_is_gone_is_not_found_and_never_ignored() {
    let made = table(Made::in_memory(), descriptor("u", &z85::encode(&UUID), Some(1))).await;
    let error = made.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"), "{error}");
}

#[test]
fn the_checksum_is_that_of_zip() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}
