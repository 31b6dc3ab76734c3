//! Types as files of other writers store them.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, Float32Array, Int8Array, Int16Array, Int32Array, Int64Array, ListArray,
    StringArray, StructArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Fields};
use boathouse_base::{Comparison, ErrorKind, Predicate, Value as Typed};
use boathouse_delta_table::protocol::schema::is_variant;
use parquet::data_type::{Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use super::builder::{Made, batch, column, features, rows_of, versions};

/// Julian day 2,440,588 is 1970-01-01.
fn int96(julian_day: u32, nanos: u64) -> Int96 {
    let mut value = Int96::new();
    value.set_data(u32::try_from(nanos & 0xFFFF_FFFF).unwrap(), u32::try_from(nanos >> 32).unwrap(), julian_day);
    value
}

#[tokio::test]
async fn int96_is_microseconds_at_every_depth_and_in_every_year() {
    // 0001-01-01, 1970-01-01T00:00:00.000001, 9999-12-31T23:59:59.999999.
    let values = [int96(1_721_426, 0), int96(2_440_588, 1_999), int96(5_373_484, 86_399_999_999_000)];
    let message = "message m {
        optional int96 t;
        optional group s { optional int96 t; optional int64 n; }
        optional group l (LIST) { repeated group list { optional int96 element; } }
    }";
    let schema = Arc::new(parse_message_type(message).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(WriterProperties::new())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut nth = 0;
    while let Some(mut leaf) = group.next_column().unwrap() {
        let deepest = [1, 2, 2, 3][nth];
        let (defined, repeated) = ([deepest; 3], [0_i16; 3]);
        let repeated = (nth == 3).then_some(&repeated[..]);
        if nth == 2 {
            leaf.typed::<parquet::data_type::Int64Type>().write_batch(&[1, 2, 3], Some(&defined), None).unwrap();
        } else {
            leaf.typed::<Int96Type>().write_batch(&values, Some(&defined), repeated).unwrap();
        }
        leaf.close().unwrap();
        nth += 1;
    }
    group.close().unwrap();
    writer.close().unwrap();

    let inner = json!({"type": "struct", "fields": [column("t", json!("timestamp")), column("n", json!("long"))]});
    let list = json!({"type": "array", "elementType": "timestamp", "containsNull": true});
    let fields = json!([column("t", json!("timestamp")), column("s", inner), column("l", list)]);
    let mut made = Made::in_memory().with_columns(fields, versions(1, 2)).await;
    let add = made.put("f.parquet", bytes).await;
    made.commit(&[add]).await;
    let row = |us: i64, n: i64| format!("{us}us|{{t:{us}us,n:{n},}}|[{us}us,]|");
    let mut expected = vec![row(-62_135_596_800_000_000, 1), row(1, 2), row(253_402_300_799_999_999, 3)];
    expected.sort();
    assert_eq!(made.rows().await, expected);
}

#[tokio::test]
async fn instants_of_every_unit_with_and_without_a_zone_are_microseconds() {
    let utc = || Some("UTC");
    let files: [ArrayRef; 6] = [
        Arc::new(TimestampMillisecondArray::from(vec![1_500])),
        Arc::new(TimestampMillisecondArray::from(vec![1_500]).with_timezone_opt(utc())),
        Arc::new(TimestampMicrosecondArray::from(vec![1_500_000])),
        Arc::new(TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone_opt(utc())),
        Arc::new(TimestampNanosecondArray::from(vec![1_500_000_999])),
        Arc::new(TimestampNanosecondArray::from(vec![1_500_000_999]).with_timezone_opt(utc())),
    ];
    for data_type in ["timestamp", "timestamp_ntz"] {
        let mut made = Made::in_memory().with_columns(json!([column("t", json!(data_type))]), features(&["timestampNtz"])).await;
        for (nth, file) in files.iter().enumerate() {
            let add = made.write(&format!("{nth}.parquet"), &batch(vec![("t", Arc::clone(file))])).await;
            made.commit(&[add]).await;
        }
        assert_eq!(made.rows().await, vec!["1500000us|"; files.len()], "{data_type}");
    }
}

/// The type of a column, what a file of before has, what one of after has, and both as text.
fn widenings() -> Vec<(&'static str, ArrayRef, ArrayRef, [&'static str; 2])> {
    let decimal = |value: i128, precision: u8, scale: i8| -> ArrayRef {
        Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).unwrap())
    };
    let double = |value: f64| -> ArrayRef { Arc::new(arrow_array::Float64Array::from(vec![value])) };
    let byte: ArrayRef = Arc::new(Int8Array::from(vec![-7]));
    let short: ArrayRef = Arc::new(Int16Array::from(vec![-7]));
    let int: ArrayRef = Arc::new(Int32Array::from(vec![-7]));
    let long: ArrayRef = Arc::new(Int64Array::from(vec![-7]));
    let big: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX]));
    let local: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]));
    vec![
        ("short", Arc::clone(&byte), Arc::new(Int16Array::from(vec![300])), ["-7", "300"]),
        ("integer", Arc::clone(&short), Arc::new(Int32Array::from(vec![70_000])), ["-7", "70000"]),
        ("long", Arc::clone(&byte), Arc::clone(&big), ["-7", "9223372036854775807"]),
        ("long", Arc::clone(&int), big, ["-7", "9223372036854775807"]),
        ("double", Arc::clone(&byte), double(0.5), ["dc01c000000000000", "d3fe0000000000000"]),
        ("double", Arc::clone(&int), double(0.5), ["dc01c000000000000", "d3fe0000000000000"]),
        ("double", Arc::new(Float32Array::from(vec![0.1])), double(0.5), ["d3fb99999a0000000", "d3fe0000000000000"]),
        ("decimal(12,2)", short, decimal(1, 12, 2), ["-700e-2", "1e-2"]),
        ("decimal(22,1)", long, decimal(1, 22, 1), ["-70e-1", "1e-1"]),
        ("decimal(20,5)", decimal(123, 10, 2), decimal(1, 20, 5), ["123000e-5", "1e-5"]),
        ("timestamp_ntz", Arc::new(Date32Array::from(vec![1])), local, ["86400000000us", "1us"]),
    ]
}

#[tokio::test]
async fn files_of_before_a_widening_are_read_as_the_wider_type_at_every_depth() {
    for (to, before, after, [old, new]) in widenings() {
        let inner = json!({"type": "struct", "fields": [column("v", json!(to))]});
        let list = json!({"type": "array", "elementType": to, "containsNull": true});
        let map = json!({"type": "map", "keyType": to, "valueType": to, "valueContainsNull": true});
        let fields = json!([column("v", json!(to)), column("s", inner), column("l", list), column("m", map)]);
        let mut made = Made::in_memory().with_columns(fields, features(&["typeWidening", "timestampNtz"])).await;
        for (name, values) in [("before", before), ("after", after)] {
            let add = made.write(&format!("{name}.parquet"), &batch(nested(&values))).await;
            made.commit(&[add]).await;
        }
        let row = |v: &str| format!("{v}|{{v:{v},}}|[{v},]|<{v}={v}>|");
        let mut expected = vec![row(old), row(new)];
        expected.sort();
        assert_eq!(made.rows().await, expected, "{to}");
        // Row groups have bounds of the narrower type: no row may be lost by them.
        let snapshot = made.snapshot().await;
        let not_null = rows_of(&snapshot, Some(Predicate::IsNull("v".to_owned()).negate())).await;
        assert_eq!(not_null.len(), 2, "{to}");
    }
}

/// A column, and the same in a struct, a list and a map.
fn nested(values: &ArrayRef) -> Vec<(&'static str, ArrayRef)> {
    let data_type = values.data_type();
    let inner = StructArray::new(vec![Field::new("v", data_type.clone(), true)].into(), vec![Arc::clone(values)], None);
    let element = Arc::new(Field::new("element", data_type.clone(), true));
    let list = ListArray::new(element, OffsetBuffer::from_lengths([1]), Arc::clone(values), None);
    let fields = Fields::from(vec![Field::new("key", data_type.clone(), false), Field::new("value", data_type.clone(), true)]);
    let pairs = StructArray::new(fields.clone(), vec![Arc::clone(values), Arc::clone(values)], None);
    let entries = Arc::new(Field::new("key_value", DataType::Struct(fields), false));
    let map = arrow_array::MapArray::new(entries, OffsetBuffer::from_lengths([1]), pairs, None, false);
    vec![("v", Arc::clone(values)), ("s", Arc::new(inner)), ("l", Arc::new(list)), ("m", Arc::new(map))]
}

#[tokio::test]
async fn bounds_of_a_narrower_type_lose_no_row_and_may_skip_others() {
    let mut made = Made::in_memory()
        .with_columns(
            json!([column("n", json!("long")), column("d", json!("timestamp_ntz"))]),
            features(&["typeWidening", "timestampNtz"]),
        )
        .await;
    let old = batch(vec![("n", Arc::new(Int32Array::from(vec![5]))), ("d", Arc::new(Date32Array::from(vec![10])))]);
    let add = made.write("old.parquet", &old).await;
    let stats = json!({"numRecords": 1, "minValues": {"n": 5, "d": "1970-01-11"}, "maxValues": {"n": 5, "d": "1970-01-11"}, "nullCount": {"n": 0, "d": 0}});
    made.commit(&[super::builder::with(add, json!({"stats": stats.to_string()}))]).await;
    let snapshot = made.snapshot().await;
    let local = |us: i64| Typed::TimestampNtz(us);
    let day = 86_400_000_000_i64;
    for (predicate, rows) in [
        (Predicate::eq("n", 5), 1),
        (Predicate::compare("n", Comparison::Gt, 5), 0),
        (Predicate::eq("d", local(10 * day)), 1),
        (Predicate::compare("d", Comparison::GtEq, local(10 * day)), 1),
        (Predicate::compare("d", Comparison::Lt, local(9 * day)), 0),
    ] {
        assert_eq!(rows_of(&snapshot, Some(predicate.clone())).await.len(), rows, "{predicate:?}");
    }
}

#[tokio::test]
async fn a_change_of_type_that_loses_values_is_refused_by_column() {
    let mut narrowed = column("n", json!("integer"));
    narrowed["metadata"] = json!({"delta.typeChanges": [{"fromType": "long", "toType": "integer"}]});
    let made = Made::in_memory().with_columns(json!([narrowed]), features(&["typeWidening"])).await;
    let error = made.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("`n` from long to integer"), "{error}");
}

#[tokio::test]
async fn void_columns_are_null_at_every_depth_and_cost_no_bytes() {
    let inner = json!({"type": "struct", "fields": [column("v", json!("void")), column("n", json!("long"))]});
    let list = json!({"type": "array", "elementType": inner, "containsNull": true});
    let nulls = json!({"type": "array", "elementType": "void", "containsNull": true});
    let fields = json!([column("v", json!("void")), column("s", inner), column("l", list), column("nothing", nulls)]);
    let mut made = Made::in_memory().with_columns(fields, versions(1, 2)).await;
    let group =
        || StructArray::new(vec![Field::new("n", DataType::Int64, true)].into(), vec![Arc::new(Int64Array::from(vec![1]))], None);
    let element = Arc::new(Field::new("element", *Box::new(arrow_array::Array::data_type(&group()).clone()), true));
    let lists = ListArray::new(element, OffsetBuffer::from_lengths([1]), Arc::new(group()), None);
    let add = made.write("f.parquet", &batch(vec![("s", Arc::new(group())), ("l", Arc::new(lists))])).await;
    made.commit(&[add]).await;
    assert_eq!(made.rows().await, ["-|{v:-,n:1,}|[{v:-,n:1,},]|-|"]);
    let snapshot = made.snapshot().await;
    let only = boathouse_base::ScanRequest::default().project(["v"]);
    let rows = snapshot.scan(only).unwrap().collect().await.unwrap();
    assert_eq!((rows[0].num_rows(), rows[0].column(0).data_type()), (1, &DataType::Null));
}

/// `{metadata, value}` or `{value, metadata}`, and a typed value.
fn variants(value_first: bool, typed: Option<ArrayRef>) -> ArrayRef {
    let metadata: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\x01\x00\x00"[..]; 2]));
    let value: ArrayRef = match typed {
        Some(_) => Arc::new(BinaryArray::from(vec![None, Some(&b"\x05x"[..])])),
        None => Arc::new(BinaryArray::from(vec![&b"\x0c\x07"[..], b"\x05x"])),
    };
    let mut columns = vec![("metadata", metadata), ("value", value)];
    if value_first {
        columns.reverse();
    }
    columns.extend(typed.map(|typed| ("typed_value", typed)));
    let fields: Vec<Field> = columns.iter().map(|(name, a)| Field::new(*name, a.data_type().clone(), true)).collect();
    Arc::new(StructArray::new(fields.into(), columns.into_iter().map(|(_, a)| a).collect(), None))
}

#[tokio::test]
async fn variants_are_the_same_whole_and_shredded_and_carry_the_extension_type() {
    for feature in ["variantType", "variantType-preview"] {
        let list = json!({"type": "array", "elementType": {"type": "variant"}, "containsNull": true});
        let fields = json!([column("v", json!("variant")), column("l", list)]);
        let names = [feature, "variantShredding"];
        let mut made = Made::in_memory().with_columns(fields, features(&names)).await;
        let shredded: ArrayRef = Arc::new(Int8Array::from(vec![Some(7), None]));
        for (name, values) in
            [("whole", variants(false, None)), ("spark", variants(true, None)), ("shredded", variants(false, Some(shredded)))]
        {
            let element = Arc::new(Field::new("element", values.data_type().clone(), true));
            let lists = ListArray::new(element, OffsetBuffer::from_lengths([1, 1]), Arc::clone(&values), None);
            let add = made.write(&format!("{name}.parquet"), &batch(vec![("v", values), ("l", Arc::new(lists))])).await;
            made.commit(&[add]).await;
        }
        let variant = |value: &str| format!("{{metadata:010000,value:{value},}}");
        let row = |value: &str| format!("{}|[{},]|", variant(value), variant(value));
        let mut expected = [vec![row("0c07"); 3], vec![row("0578"); 3]].concat();
        expected.sort();
        assert_eq!(made.rows().await, expected);
        assert!(is_variant(made.snapshot().await.schema().field(0)));
    }
}

#[tokio::test]
async fn a_variant_that_is_shredded_into_an_unknown_type_is_corrupt_and_the_file_named() {
    let mut made = Made::in_memory().with_columns(json!([column("v", json!("variant"))]), features(&["variantType"])).await;
    let unsigned: ArrayRef = Arc::new(arrow_array::UInt16Array::from(vec![1, 2]));
    let add = made.write("odd.parquet", &batch(vec![("v", variants(false, Some(unsigned)))])).await;
    made.commit(&[add]).await;
    let error = made.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("odd.parquet") && error.to_string().contains("UInt16"), "{error}");
}

#[tokio::test]
async fn a_type_that_is_not_known_is_refused_by_column() {
    let unknown: [(Value, &str); 2] = [(json!("geometry(OGC:CRS84)"), "geometry"), (json!("interval year"), "interval")];
    for (data_type, says) in unknown {
        let made = Made::in_memory().with_columns(json!([column("g", data_type)]), versions(1, 2)).await;
        let error = made.read().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("`g`") && error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn text_of_limited_length_and_text_without_annotation_are_text() {
    let mut made = Made::in_memory()
        .with_columns(
            json!([column("c", json!("char(3)")), column("v", json!("varchar(9)")), column("s", json!("string"))]),
            versions(1, 2),
        )
        .await;
    let text = || Arc::new(StringArray::from(vec!["abc"])) as ArrayRef;
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"abc"[..]]));
    let add = made.write("f.parquet", &batch(vec![("c", text()), ("v", text()), ("s", bytes)])).await;
    made.commit(&[add]).await;
    assert_eq!(made.rows().await, ["\"abc\"|\"abc\"|\"abc\"|"]);
}
