//! CSV, Parquet, and packed files.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::DataType;
use boathouse_autoload::{CsvHeader, CsvOptions, Format};
use boathouse_base::ReadLimit;
use serde_json::json;

use crate::support::{Site, drain, names, quarantine, rescued, rows, step};

#[tokio::test]
async fn csv_columns_are_matched_by_name_and_bad_lines_are_kept_aside() {
    let site = Site::new();
    site.land("1.csv", "id,name,at\n1,\"a,\"\"b\"\"\",2024-01-01T00:00:00Z\n2,,\n3\n4,\"open,\n\n5,\"\",x\n").await;
    let source = site.describe().format(Format::csv()).open().await.unwrap();
    let (batches, first) = step(&source, None, ReadLimit::default()).await.unwrap();
    let found = rows(&batches);
    assert_eq!(found[0], json!({"id":1,"name":"a,\"b\"","at":"2024-01-01T00:00:00Z"}));
    assert_eq!(found[1], json!({"id":2}));
    assert_eq!(found[2], json!({"id":5,"name":"","at":"x"}));
    let entries = quarantine(&source).await;
    let reasons: Vec<_> =
        entries.iter().map(|entry| (entry["line"].as_u64().unwrap(), entry["reason"].as_str().unwrap())).collect();
    assert_eq!(reasons, [(4, "1 values for 3 columns"), (5, "a quote opened at column 3 is never closed")]);

    site.land("2.csv", "extra,id\n7,6\n8,six\n").await;
    let (batches, _) = step(&source, Some(&first), ReadLimit::default()).await.unwrap();
    assert_eq!(names(&batches), ["id", "name", "at", "extra", "_rescued_data"]);
    let found = rows(&batches);
    assert_eq!(found[0], json!({"id":6,"extra":7}));
    assert_eq!(rescued(&found[1]), Some(json!({"id":"six"})));
}

#[tokio::test]
async fn csv_without_header_names_columns_by_place() {
    let site = Site::new();
    site.land("1.csv", "1|NULL\n2|b\n").await;
    let options =
        CsvOptions { delimiter: b'|', header: CsvHeader::Absent, null_text: "NULL".to_owned(), ..CsvOptions::default() };
    let source = site.describe().format(Format::Csv(options)).open().await.unwrap();
    assert_eq!(drain(&source, None).await.0, [json!({"_c0":1}), json!({"_c0":2,"_c1":"b"})]);
}

#[tokio::test]
async fn a_csv_file_with_a_broken_header_goes_to_quarantine() {
    let site = Site::new();
    site.land("1.csv", "a,a\n1,2\n").await;
    site.land("2.csv", "a\n1\n").await;
    let source = site.describe().format(Format::csv()).open().await.unwrap();
    assert_eq!(drain(&source, None).await.0, [json!({"a":1})]);
    assert_eq!(source.quarantine_counts().await.unwrap().files, 1);
}

#[tokio::test]
async fn packed_files_are_unpacked_and_broken_ones_kept_aside() {
    let site = Site::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"{\"id\":1}\n").unwrap();
    let packed = packed.finish().unwrap();
    site.land("a.json.gz", packed.clone()).await;
    site.land("b.json.gz", packed[..packed.len() - 5].to_vec()).await;
    site.land("c.json.zst", zstd::stream::encode_all(&b"{\"id\":2,\"x\":1}"[..], 1).unwrap()).await;
    let source = site.open().await;
    assert_eq!(drain(&source, None).await.0, [json!({"id":1}), json!({"id":2,"x":1})]);
    let entries = quarantine(&source).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["file_sequence"], json!(1));
    assert!(entries[0].get("line").is_none());
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[tokio::test]
async fn parquet_columns_are_merged_cast_without_loss_or_rescued() {
    let site = Site::new();
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    site.land("1.parquet", parquet(vec![("n", Arc::clone(&ints)), ("s", Arc::new(StringArray::from(vec!["a", "b"])))])).await;
    site.land("2.parquet", parquet(vec![("n", Arc::new(Int64Array::from(vec![1 << 40])))])).await;
    let source = site.describe().format(Format::Parquet).open().await.unwrap();
    let (batches, first) = step(&source, None, ReadLimit::default()).await.unwrap();
    assert_eq!(batches[0].schema().field(0).data_type(), &DataType::Int64);
    assert_eq!(rows(&batches), [json!({"n":1,"s":"a"}), json!({"n":2,"s":"b"}), json!({"n":1_i64 << 40})]);

    let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(3.0), Some(3.5), None]));
    let late: ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "z"]));
    site.land("3.parquet", parquet(vec![("late", late), ("n", floats)])).await;
    site.land("4.parquet", "PAR1 this is none").await;
    let (batches, _) = step(&source, Some(&first), ReadLimit::default()).await.unwrap();
    assert_eq!(names(&batches), ["n", "s", "late", "_rescued_data"]);
    let found = rows(&batches);
    assert_eq!(found[0], json!({"n":3,"late":"x"}));
    assert_eq!(rescued(&found[1]), Some(json!({"n":3.5})));
    assert_eq!(found[2], json!({"late":"z"}));
    let entries = quarantine(&source).await;
    assert_eq!(entries.len(), 1);
    assert!(entries[0]["reason"].as_str().unwrap().starts_with("open the Parquet file: "), "{entries:?}");
}
