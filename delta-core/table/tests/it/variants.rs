//! Tables with variants that are written.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, Int8Array, Int64Array, ListArray, RecordBatch, StructArray, new_null_array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use boathouse_base::{BatchStream, DomainError, ErrorKind, ScanRequest};
use boathouse_delta_table::protocol::features::has;
use boathouse_delta_table::protocol::schema::{VARIANT_EXTENSION, is_variant};
use boathouse_delta_table::{DeltaError, DeltaTable};
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::rows::{reopened, table};

/// `{"a": 1}`, and the number 7: names and value.
const OBJECT: (&[u8], &[u8]) = (b"\x01\x01\x00\x01a", b"\x02\x01\x00\x00\x02\x0c\x01");
const SEVEN: (&[u8], &[u8]) = (b"\x01\x00\x00", b"\x0c\x07");

type Parts = (&'static [u8], &'static [u8]);
type Variant = Option<Parts>;

fn variants(rows: &[Variant]) -> ArrayRef {
    let part = |get: fn(Parts) -> &'static [u8]| -> ArrayRef {
        Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| row.map_or(&b""[..], get))))
    };
    let fields = Fields::from(["metadata", "value"].map(|name| Field::new(name, DataType::Binary, false)).to_vec());
    let nulls = NullBuffer::from(rows.iter().map(Option::is_some).collect::<Vec<_>>());
    Arc::new(StructArray::new(fields, vec![part(|v| v.0), part(|v| v.1)], Some(nulls)))
}

/// A field that says of itself that it holds variants.
fn field(name: &str, array: &ArrayRef) -> Field {
    let metadata = [("ARROW:extension:name".to_owned(), VARIANT_EXTENSION.to_owned())];
    Field::new(name, array.data_type().clone(), true).with_metadata(metadata.into())
}

fn stream(columns: Vec<(Field, ArrayRef)>) -> BatchStream {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    BatchStream::from_batches(schema, vec![batch])
}

/// A column of variants, one of lists of them, one of structs with them, and a number.
fn nested(rows: &[Variant]) -> BatchStream {
    let array = variants(rows);
    let element = Arc::new(field("element", &array));
    let lists: ArrayRef =
        Arc::new(ListArray::new(element, OffsetBuffer::from_lengths(vec![1; rows.len()]), Arc::clone(&array), None));
    let inner = Fields::from(vec![field("inner", &array)]);
    let structs: ArrayRef = Arc::new(StructArray::new(inner, vec![Arc::clone(&array)], array.nulls().cloned()));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..i64::try_from(rows.len()).unwrap()));
    stream(vec![
        (field("v", &array), array),
        (Field::new("l", lists.data_type().clone(), true), lists),
        (Field::new("s", structs.data_type().clone(), true), structs),
        (Field::new("n", DataType::Int64, true), numbers),
    ])
}

/// The variants of the column `v`, in the order of files.
async fn read(table: &DeltaTable) -> Vec<Option<(Vec<u8>, Vec<u8>)>> {
    let snapshot = reopened(table).snapshot().await.unwrap();
    let batches = snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap();
    batches.iter().flat_map(|batch| owned(batch.column_by_name("v").unwrap())).collect()
}

fn owned(array: &ArrayRef) -> Vec<Option<(Vec<u8>, Vec<u8>)>> {
    let variants = array.as_struct();
    let bytes = |name: &str, row: usize| variants.column_by_name(name).unwrap().as_binary::<i32>().value(row).to_vec();
    (0..variants.len()).map(|row| variants.is_valid(row).then(|| (bytes("metadata", row), bytes("value", row)))).collect()
}

fn expected(rows: &[Variant]) -> Vec<Option<(Vec<u8>, Vec<u8>)>> {
    rows.iter().map(|row| row.map(|(metadata, value)| (metadata.to_vec(), value.to_vec()))).collect()
}

#[tokio::test]
async fn variants_are_written_at_every_depth_and_read_back_with_their_nulls_counted() {
    for (mapping, as_struct) in [("none", "false"), ("name", "true")] {
        let table = table();
        let rows = [Some(OBJECT), None, Some(SEVEN)];
        let create = table.append(nested(&rows)).property("delta.columnMapping.mode", mapping);
        let create = create.property("delta.checkpoint.writeStatsAsStruct", as_struct).property("delta.checkpointInterval", "2");
        create.run().await.unwrap();
        for _ in 0..3 {
            table.append(nested(&[Some(SEVEN)])).run().await.unwrap();
        }
        let snapshot = reopened(&table).snapshot().await.unwrap();
        let protocol = snapshot.protocol();
        assert_eq!((protocol.min_reader_version, protocol.min_writer_version), (3, 7));
        assert!(has(protocol, "variantType") && !has(protocol, "variantShredding"));
        assert!(is_variant(snapshot.schema().field(0)));
        let mut found = read(&table).await;
        let mut all = expected(&[&rows[..], &[Some(SEVEN); 3]].concat());
        found.sort();
        all.sort();
        assert_eq!(found, all);
        let batches = snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap();
        for batch in batches.iter().filter(|batch| batch.num_rows() == 3) {
            let list = batch.column_by_name("l").unwrap().as_list::<i32>();
            assert_eq!(owned(list.values()), expected(&rows));
            assert_eq!(owned(batch.column_by_name("s").unwrap().as_struct().column(0)), expected(&rows));
        }
        // Nulls are counted, and there are no bounds; numbers behind variants have theirs.
        let wide = snapshot.files(None).await.unwrap().into_iter().find(|file| file.row_count() == Some(3)).unwrap();
        let stats: serde_json::Value = serde_json::from_str(wide.add().stats.as_deref().unwrap()).unwrap();
        let physical =
            |name: &str| snapshot.delta_schema().field(name).unwrap().physical_name(snapshot.column_mapping()).to_owned();
        assert_eq!(stats["nullCount"][physical("v")], 1, "{stats}");
        assert!(stats["minValues"].get(physical("v")).is_none() && stats["maxValues"].get(physical("v")).is_none(), "{stats}");
        assert_eq!((&stats["minValues"][physical("n")], &stats["maxValues"][physical("n")]), (&0.into(), &2.into()), "{stats}");
        // Files hold a plain group of two binaries.
        let bytes = table.storage().get(&wide.path()).await.unwrap();
        let reader = SerializedFileReader::new(bytes).unwrap();
        let column = reader.metadata().file_metadata().schema_descr().root_schema().get_fields()[0].clone();
        let parts: Vec<&str> = column.get_fields().iter().map(|part| part.name()).collect();
        assert_eq!(parts, ["metadata", "value"]);
        assert_eq!(column.get_basic_info().logical_type_ref(), None);
    }
}

#[tokio::test]
async fn bytes_that_are_no_variant_are_refused_with_their_row_and_nothing_is_left() {
    let table = table();
    let good = variants(&[Some(SEVEN)]);
    table.create(Schema::new(vec![field("v", &good), Field::new("n", DataType::Int64, true)])).run().await.unwrap();
    let before = table.storage().list("").await.unwrap().len();
    let bad: [Variant; 5] = [
        Some((b"\x02\x00\x00", b"\x0c\x07")),
        Some((b"\x01\x01\x00", b"\x0c\x07")),
        Some((b"\x01\x00\x00", b"\x0c")),
        Some((b"\x01\x00\x00", b"\x0c\x07\x00")),
        Some((b"\x01\x00\x00", OBJECT.1)),
    ];
    for variant in bad {
        let array = variants(&[Some(SEVEN), None, variant]);
        let error = table.append(stream(vec![(field("v", &array), array)])).run().await.unwrap_err();
        assert!(matches!(&error, DeltaError::Cast { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(text.contains("row 2") && text.contains("variant"), "{text}");
    }
    assert_eq!(table.storage().list("").await.unwrap().len(), before);
}

#[tokio::test]
async fn plain_structs_of_two_binaries_in_any_layout_fit_a_column_of_variants_and_others_do_not() {
    let table = table();
    let first = variants(&[Some(SEVEN)]);
    table.append(stream(vec![(field("v", &first), first)])).create_if_absent().run().await.unwrap();
    let view = |bytes: &[u8]| -> ArrayRef { Arc::new(BinaryViewArray::from(vec![bytes])) };
    let fields = Fields::from(["value", "metadata"].map(|name| Field::new(name, DataType::BinaryView, true)).to_vec());
    let plain: ArrayRef = Arc::new(StructArray::new(fields, vec![view(OBJECT.1), view(OBJECT.0)], None));
    let column = || (Field::new("v", plain.data_type().clone(), true), Arc::clone(&plain));
    table.append(stream(vec![column()])).run().await.unwrap();
    let more: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    table.append(stream(vec![column(), (Field::new("m", DataType::Int64, true), more)])).merge_schema().run().await.unwrap();
    assert!(is_variant(table.snapshot().await.unwrap().schema().field(0)));
    assert_eq!(read(&table).await.iter().filter(|row| **row == expected(&[Some(OBJECT)])[0]).count(), 2);
    let fields = Fields::from(vec![Field::new("value", DataType::Binary, true)]);
    let half = new_null_array(&DataType::Struct(fields), 1);
    let error = table.append(stream(vec![(Field::new("v", half.data_type().clone(), true), half)])).run().await.unwrap_err();
    assert!(matches!(error, DeltaError::Schema { .. }), "{error}");
    // Without the mark, and without a table that knows better, it is a struct.
    let other = crate::rows::table();
    other.append(stream(vec![column()])).create_if_absent().run().await.unwrap();
    assert!(!is_variant(other.snapshot().await.unwrap().schema().field(0)));
}

#[tokio::test]
async fn shredded_variants_are_written_whole_also_where_shredding_is_allowed() {
    for property in ["false", "true"] {
        let table = table();
        let metadata: ArrayRef = Arc::new(BinaryArray::from(vec![SEVEN.0, SEVEN.0]));
        let value: ArrayRef = Arc::new(BinaryArray::from(vec![None, Some(&b"\x05x"[..])]));
        let typed: ArrayRef = Arc::new(Int8Array::from(vec![Some(7), None]));
        let parts = [("metadata", metadata), ("value", value), ("typed_value", typed)];
        let fields: Fields = parts.iter().map(|(name, a)| Field::new(*name, a.data_type().clone(), true)).collect();
        let shredded: ArrayRef = Arc::new(StructArray::new(fields, parts.into_iter().map(|(_, a)| a).collect(), None));
        let rows = table.append(stream(vec![(field("v", &shredded), shredded)]));
        rows.property("delta.enableVariantShredding", property).run().await.unwrap();
        assert_eq!(read(&table).await, expected(&[Some(SEVEN), Some((SEVEN.0, b"\x05x"))]));
        let snapshot = table.snapshot().await.unwrap();
        assert_eq!(has(snapshot.protocol(), "variantShredding"), property == "true");
        let file = snapshot.files(None).await.unwrap().remove(0);
        let reader = SerializedFileReader::new(table.storage().get(&file.path()).await.unwrap()).unwrap();
        assert_eq!(reader.metadata().file_metadata().schema_descr().num_columns(), 2);
    }
}

#[tokio::test]
async fn a_table_is_not_partitioned_by_variants() {
    let array = variants(&[Some(SEVEN)]);
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let rows = stream(vec![(field("v", &array), array), (Field::new("n", DataType::Int64, true), number)]);
    let error = table().append(rows).create_if_absent().partition_by(["v"]).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`v`"), "{error}");
}
