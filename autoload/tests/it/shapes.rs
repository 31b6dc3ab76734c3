//! Documents, XML, Avro, text, whole files, values over lines; columns from folders; options by name.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_avro::writer::AvroWriter;
use arrow_schema::DataType;
use boathouse_autoload::{
    AutoLoadError, AutoLoader, ColumnTypes, CsvOptions, Format, JsonOptions, MetadataColumn, PartitionColumns, SchemaEvolution,
    TextOptions,
};
use boathouse_base::{ErrorKind, ReadLimit, StreamSource};
use boathouse_storage::Storage;
use serde_json::json;

use crate::support::{Site, drain, files, names, quarantine, rescued, rows, step};

#[tokio::test]
async fn json_documents_over_many_lines_are_read_with_place_of_what_is_none() {
    let site = Site::new();
    site.land("1.json", "[\n {\"id\": 1,\n  \"s\": {\"a\": [1,\n 2]}},\n 7,\n {\"id\": 2}\n]").await;
    site.land("2.json", "{\n\"id\": 3\n}\n{\"id\":\n").await;
    let format = Format::Json(JsonOptions { multi_line: true, ..JsonOptions::default() });
    let source = site.describe().format(format).open().await.unwrap();
    let (found, _) = drain(&source, None).await;
    assert_eq!(found, [json!({"id":1,"s":{"a":[1,2]}}), json!({"id":2}), json!({"id":3})]);
    let entries = quarantine(&source).await;
    assert_eq!((entries[0]["line"].clone(), entries[0]["raw"].clone()), (json!(5), json!("7")));
    assert_eq!(entries[1].get("line"), None);
    assert!(entries[1]["reason"].as_str().unwrap().contains("line 5"), "{entries:?}");
}

#[tokio::test]
async fn csv_values_may_hold_line_ends() {
    let site = Site::new();
    site.land("1.csv", "id,text\n1,\"a\nb\"\n2,c\n3,\"open\n4,d\n").await;
    let format = Format::Csv(CsvOptions { multi_line: true, ..CsvOptions::default() });
    let source = site.describe().format(format).open().await.unwrap();
    let (found, _) = drain(&source, None).await;
    assert_eq!(found, [json!({"id":1,"text":"a\nb"}), json!({"id":2,"text":"c"})]);
    let entries = quarantine(&source).await;
    assert_eq!((entries.len(), entries[0]["line"].clone()), (1, json!(5)));
}

#[tokio::test]
async fn xml_rows_are_objects_whose_lists_stay_lists() {
    let site = Site::new();
    site.land("1.xml", "<r><row id='1'><name>a</name><tag>x</tag><tag>y</tag></row><row id='2'><name>7</name></row></r>").await;
    let source = site.describe().format(Format::xml("row")).open().await.unwrap();
    let (found, end) = drain(&source, None).await;
    assert_eq!(found, [json!({"_id":1,"name":"a","tag":["x","y"]}), json!({"_id":2,"name":"7"})]);
    site.land("2.xml", "<r><row id='x'><tag>z</tag><new>1</new></row><row id='3'>").await;
    let (batches, _) = step(&source, end.as_ref(), ReadLimit::default()).await.unwrap();
    let found = rows(&batches);
    assert_eq!((found[0]["tag"].clone(), found[0]["new"].clone()), (json!(["z"]), json!(1)), "one is a list of one");
    assert_eq!(rescued(&found[0]), Some(json!({"_id":"x"})));
    let entries = quarantine(&source).await;
    assert!(entries[0]["reason"].as_str().unwrap().contains("ends within <row>"), "{entries:?}");
}

#[tokio::test]
async fn text_comes_by_line_or_by_file_and_blank_lines_are_lines() {
    let site = Site::new();
    site.land("a.txt", b"one\r\n\ntwo\n\xff\n".as_slice()).await;
    let source = site.describe().format(Format::text()).metadata_column(MetadataColumn::Present).open().await.unwrap();
    let (batches, _) = step(&source, None, ReadLimit::default()).await.unwrap();
    let found: Vec<_> =
        rows(&batches).into_iter().map(|row| (row["value"].clone(), row["_metadata"]["row_index"].clone())).collect();
    assert_eq!(found, [(json!("one"), json!(0)), (json!(""), json!(1)), (json!("two"), json!(2))]);
    let entries = quarantine(&source).await;
    assert_eq!((entries.len(), entries[0]["line"].clone()), (1, json!(4)));
    let site = Site::new();
    site.land("a.txt", "one\ntwo\n").await;
    let whole = Format::Text(TextOptions { whole_files: true });
    let source = site.describe().format(whole).open().await.unwrap();
    assert_eq!(drain(&source, None).await.0, [json!({"value":"one\ntwo\n"})]);
}

#[tokio::test]
async fn whole_files_come_with_path_and_length() {
    let site = Site::new();
    site.land("a/b.bin", b"\x00\x01\xff".as_slice()).await;
    site.land("c.bin", "").await;
    let source = site.describe().format(Format::Binary).open().await.unwrap();
    let (found, _) = drain(&source, None).await;
    assert_eq!((found[0]["path"].clone(), found[0]["length"].clone()), (json!("memory:///landing/a/b.bin"), json!(3)));
    assert_eq!((found[0]["content"].clone(), found[1]["length"].clone()), (json!("0001ff"), json!(0)));
}

fn avro(ids: &[i64], name: Option<&str>) -> Vec<u8> {
    let mut columns: Vec<(&str, ArrayRef)> = vec![("id", Arc::new(Int64Array::from(ids.to_vec())))];
    if let Some(name) = name {
        columns.push((name, Arc::new(StringArray::from(vec!["x"; ids.len()]))));
    }
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = AvroWriter::new(Vec::new(), batch.schema().as_ref().clone()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner()
}

#[tokio::test]
async fn avro_files_bring_their_types_and_grow_columns() {
    let site = Site::new();
    site.land("1.avro", avro(&[1, 2], None)).await;
    let broken = avro(&[3; 1000], Some("new"));
    site.land("2.avro", broken[..broken.len() - 100].to_vec()).await;
    site.land("3.avro", avro(&[4], Some("new"))).await;
    site.land("4.avro", "no avro").await;
    let source = site.describe().format(Format::Avro).open().await.unwrap();
    let (batches, _) = step(&source, None, ReadLimit::default()).await.unwrap();
    assert_eq!(names(&batches), ["id", "new", "_rescued_data"]);
    let found = rows(&batches);
    assert_eq!((found[0].clone(), found.last().cloned()), (json!({"id":1}), Some(json!({"id":4,"new":"x"}))));
    assert_eq!(source.quarantine_counts().await.unwrap().files, 2);
}

#[tokio::test]
async fn bzip2_is_unpacked() {
    let site = Site::new();
    let mut packed = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    packed.write_all(b"{\"id\":1}\n{\"id\":2}\n").unwrap();
    site.land("a.json.bz2", packed.finish().unwrap()).await;
    assert_eq!(drain(&site.open().await, None).await.0, [json!({"id":1}), json!({"id":2})]);
}

#[tokio::test]
async fn folders_become_columns_whatever_the_format() {
    let parquet = {
        let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 1])) as ArrayRef)]).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    for (format, content) in [
        (Format::json(), b"{\"id\":1}\n{\"id\":1}\n".to_vec()),
        (Format::csv(), b"id\n1\n1\n".to_vec()),
        (Format::Parquet, parquet),
    ] {
        let site = Site::new();
        let describe = || site.describe().format(format.clone()).partition_columns(PartitionColumns::Inferred);
        site.land("day=2024-01-01/n=1/a", content.clone()).await;
        site.land("day=__HIVE_DEFAULT_PARTITION__/n=22/b", content.clone()).await;
        let (batches, end) = step(&describe().open().await.unwrap(), None, files(2)).await.unwrap();
        assert_eq!(names(&batches), ["id", "day", "n", "_rescued_data"]);
        let types: Vec<_> = batches[0].schema().fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(types[1..3], [DataType::Date32, DataType::Int64]);
        assert!(batches[0].schema().fields().iter().all(|field| field.metadata().is_empty()));
        let found = rows(&batches);
        assert_eq!(found[1], json!({"id":1,"day":"2024-01-01","n":1}));
        assert_eq!(found[2], json!({"id":1,"n":22}));
        // The columns stay what they are: a folder that does not fit is rescued with each row.
        site.land("n=many/c", content.clone()).await;
        let (batches, _) = step(&describe().open().await.unwrap(), Some(&end), files(2)).await.unwrap();
        let found = rows(&batches);
        assert_eq!((found.len(), found[1].get("n"), found[1].get("day")), (2, None, None));
        assert_eq!(rescued(&found[1]), Some(json!({"n":"many"})));
    }
}

#[tokio::test]
async fn a_path_wins_over_a_field_of_the_same_name() {
    let site = Site::new();
    site.land("day=7/a.json", "{\"id\":1,\"day\":\"x\"}\n").await;
    let source =
        site.describe().partition_columns(PartitionColumns::Named(vec!["day".into(), "no".into()])).open().await.unwrap();
    let (batches, _) = step(&source, None, files(1)).await.unwrap();
    assert_eq!(names(&batches), ["id", "day", "no", "_rescued_data"]);
    let found = rows(&batches);
    assert_eq!(found[0]["day"], json!(7));
    assert_eq!(rescued(&found[0]), Some(json!({"day":"x"})));
}

#[tokio::test]
async fn new_columns_stop_the_plan_once_where_that_was_asked_for() {
    let site = Site::new();
    let describe = || site.describe().schema_evolution(SchemaEvolution::AddNewColumns);
    site.land("1.json", "{\"a\":1}").await;
    let source = describe().open().await.unwrap();
    let (_, end) = step(&source, None, files(9)).await.unwrap();
    site.land("2.json", "{\"a\":2}").await;
    site.land("3.json", "{\"a\":3,\"b\":1}").await;
    site.land("4.json", "{\"a\":4,\"c\":1}").await;
    let error = source.plan(Some(&end), files(9)).await.unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(AutoLoadError::SchemaChanged { url, columns }) if url.ends_with("3.json") && columns == &["b", "c"]),
        "{error}"
    );
    let (batches, _) = step(&describe().open().await.unwrap(), Some(&end), files(9)).await.unwrap();
    assert_eq!(names(&batches), ["a", "b", "c", "_rescued_data"]);
    assert_eq!(rows(&batches), [json!({"a":2}), json!({"a":3,"b":1}), json!({"a":4,"c":1})]);
}

#[tokio::test]
async fn a_column_widens_and_rows_of_all_ranges_keep_their_values() {
    let site = Site::new();
    let describe = || site.describe().schema_evolution(SchemaEvolution::AddNewColumnsWithTypeWidening);
    let large = (1_i64 << 53) + 1;
    site.land("1.json", format!("{{\"a\":1}}\n{{\"a\":{large}}}")).await;
    let source = describe().open().await.unwrap();
    let (batches, one) = step(&source, None, files(1)).await.unwrap();
    assert_eq!(batches[0].schema().field(0).data_type(), &DataType::Int64);
    site.land("2.json", "{\"a\":2.5}").await;
    site.land("3.json", "{\"a\":\"x\"}").await;
    assert_eq!(source.plan(Some(&one), files(1)).await.unwrap_err().kind(), ErrorKind::Conflict);
    let (batches, two) = step(&source, Some(&one), files(2)).await.unwrap();
    assert_eq!(batches[0].schema().field(0).data_type(), &DataType::Float64);
    let found = rows(&batches);
    assert_eq!((found[0]["a"].clone(), rescued(&found[1])), (json!(2.5), Some(json!({"a":"x"}))));
    // Over both, a whole number that no float holds is rescued.
    let all = rows(&source.read(None, &two).await.unwrap().collect().await.unwrap());
    assert_eq!((all[0]["a"].clone(), all[1].get("a")), (json!(1.0), None));
    assert_eq!(rescued(&all[1]), Some(json!({"a": large})));
    assert_eq!(all.len(), 4);
}

#[tokio::test]
async fn inference_tells_what_it_saw() {
    let site = Site::new();
    site.land("1.json", "{\"a\":1,\"b\":null}\n{\"a\":2.5,\"c\":\"x\"}\n").await;
    site.land("2.json", "{\"a\":7,\"c\":{}}\n{\"c\":true,\"a\":null}\n").await;
    let hinted = || site.describe().schema_hints([("b", DataType::Int64)]);
    let source = hinted().open().await.unwrap();
    assert!(source.inference().await.is_empty());
    drain(&source, None).await;
    let seen = hinted().open().await.unwrap().inference().await;
    let of = |name: &str| seen.iter().find(|column| column.column == name).unwrap();
    let a = of("a");
    assert_eq!((a.data_type.as_str(), a.integers, a.floats, a.nulls), ("Float64", 2, 1, 1));
    assert_eq!((of("b").hinted, of("b").nulls), (true, 1));
    assert_eq!((of("c").data_type.as_str(), of("c").texts + of("c").nested + of("c").booleans), ("Utf8", 3));
}

#[tokio::test]
async fn options_go_by_the_names_of_auto_loader() {
    let landing = Storage::memory();
    landing.put("x/n=1/a.csv", "id;name\n1;NA\n").await.unwrap();
    landing.put("x/n=1/a.txt", "no").await.unwrap();
    let source = AutoLoader::over(landing.clone())
        .state(Storage::memory())
        .options([
            ("cloudFiles.format", "csv"),
            ("header", "true"),
            ("SEP", ";"),
            ("nullValue", "NA"),
            ("cloudFiles.schemaHints", "id INT"),
            ("cloudFiles.inferColumnTypes", "true"),
            ("cloudFiles.partitionColumns", "n"),
            ("cloudFiles.schemaEvolutionMode", "addNewColumnsInline"),
            ("cloudFiles.maxFilesPerTrigger", "5"),
            ("cloudFiles.maxBytesPerTrigger", "10g"),
            ("cloudFiles.backfillInterval", "1 day"),
            ("cloudFiles.cleanSource", "DELETE"),
            ("cloudFiles.cleanSource.retentionDuration", "14 days"),
            ("pathGlobFilter", "*.csv"),
            ("modifiedAfter", "2001-01-01T00:00:00Z"),
            ("ignoreMissingFiles", "true"),
        ])
        .unwrap()
        .open()
        .await
        .unwrap();
    let (batches, _) = step(&source, None, ReadLimit::default()).await.unwrap();
    assert_eq!(batches[0].schema().field(0).data_type(), &DataType::Int32);
    assert_eq!(rows(&batches), [json!({"id":1,"n":1})]);
    for (name, value, message) in [
        ("cloudFiles.colour", "red", "it is unknown"),
        ("cloudFiles.allowOverwrites", "maybe", "give `true` or `false`"),
        ("cloudFiles.maxFilesPerTrigger", "0", "from 1 on"),
        ("cloudFiles.schemaHints", "a BLOB", "at character 7"),
        ("rowTag", "x", "source of json"),
        ("cloudFiles.cleanSource", "MOVE", "moveDestination"),
    ] {
        let error = AutoLoader::over(landing.clone()).options([(name, value)]).unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(message), "{name}: {error}");
    }
    let text = AutoLoader::over(landing)
        .state(Storage::memory())
        .infer_column_types(ColumnTypes::Text)
        .options([("partitionColumns", "n")])
        .unwrap();
    drop(text);
}
