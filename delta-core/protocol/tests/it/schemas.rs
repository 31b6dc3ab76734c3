//! Schemas: JSON, Arrow, fitting data.

use std::sync::Arc;

use arrow_schema::{DataType as Arrow, Field, Schema, TimeUnit};
use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_protocol::schema::{
    ArrayType, ColumnMappingMode, DataType, MapType, PrimitiveType, SchemaMismatch, StructField, StructType, is_variant,
};
use proptest::prelude::*;
use serde_json::json;

fn primitive() -> impl Strategy<Value = PrimitiveType> {
    use PrimitiveType::*;
    prop_oneof![
        prop::sample::select(vec![
            String,
            Long,
            Integer,
            Short,
            Byte,
            Float,
            Double,
            Boolean,
            Binary,
            Date,
            Timestamp,
            TimestampNtz,
            Void
        ]),
        (1..=38_u8).prop_flat_map(|p| (Just(p), 0..=p)).prop_map(|(precision, scale)| Decimal { precision, scale }),
    ]
}

fn data_type() -> impl Strategy<Value = DataType> {
    primitive().prop_map(DataType::from).prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            schema_of(inner.clone()).prop_map(DataType::from),
            (inner.clone(), any::<bool>()).prop_map(|(element, contains_null)| ArrayType { element, contains_null }.into()),
            (inner.clone(), inner, any::<bool>()).prop_map(|(key, value, value_contains_null)| MapType {
                key,
                value,
                value_contains_null
            }
            .into()),
        ]
    })
}

fn schema_of(inner: impl Strategy<Value = DataType>) -> impl Strategy<Value = StructType> {
    prop::collection::vec((inner, any::<bool>(), 0..3), 0..4).prop_map(|columns| {
        StructType::new(columns.into_iter().enumerate().map(|(i, (data_type, nullable, metadata))| {
            let mut field = StructField::new(format!("c{i} é"), data_type, nullable);
            if metadata > 0 {
                field.metadata.insert("comment".into(), json!("of the column"));
            }
            if metadata > 1 {
                field.metadata.insert("delta.columnMapping.id".into(), json!(i));
                field.metadata.insert("delta.columnMapping.physicalName".into(), json!(format!("col-{i}")));
            }
            field
        }))
    })
}

proptest! {
    #[test]
    fn schemas_written_and_read_are_equal(schema in schema_of(data_type())) {
        prop_assert_eq!(StructType::from_json(&schema.to_json()).unwrap(), schema);
    }

    #[test]
    fn schemas_through_arrow_are_equal(schema in schema_of(data_type())) {
        prop_assert_eq!(StructType::from_arrow(&schema.to_arrow()).unwrap(), schema);
    }

    #[test]
    fn a_schema_fits_itself_and_merges_with_itself_to_itself(schema in schema_of(data_type())) {
        schema.check_write(&schema).unwrap();
        prop_assert_eq!(schema.merge(&schema).unwrap(), schema);
    }

    #[test]
    fn data_fits_the_schema_that_it_was_merged_into(a in schema_of(data_type()), b in schema_of(data_type())) {
        if let Ok(merged) = a.merge(&b) {
            merged.check_write(&b).unwrap();
            prop_assert_eq!(&merged.merge(&b).unwrap(), &merged);
        }
    }
}

fn col(name: &str, data_type: impl Into<DataType>) -> StructField {
    StructField::nullable(name, data_type)
}

#[test]
fn the_schema_of_a_real_table_is_read() {
    // From the protocol's example for column mapping.
    let text = r#"{"type":"struct","fields":[{"name":"e","type":{"type":"array","elementType":{"type":"struct","fields":[{"name":"d","type":"integer","nullable":false,"metadata":{"delta.columnMapping.id":5,"delta.columnMapping.physicalName":"col-a7f4159c"}}]},"containsNull":true},"nullable":true,"metadata":{"delta.columnMapping.id":4,"delta.columnMapping.physicalName":"col-5f422f40"}},{"name":"v","type":"varchar(5)","nullable":true,"metadata":{}},{"name":"p","type":"decimal(10, 2)","nullable":true}]}"#;
    let schema = StructType::from_json(text).unwrap();
    assert_eq!(schema.to_string(), "struct<e:array<struct<d:integer>>,v:string,p:decimal(10,2)>");
    let e = schema.field("E").unwrap();
    assert_eq!((e.physical_name(ColumnMappingMode::Name), e.column_mapping_id()), ("col-5f422f40", Some(4)));
    assert_eq!(e.physical_name(ColumnMappingMode::None), "e");
    assert_eq!(
        schema.physical(ColumnMappingMode::Name).to_string(),
        "struct<col-5f422f40:array<struct<col-a7f4159c:integer>>,v:string,p:decimal(10,2)>"
    );
}

#[test]
fn types_that_are_not_known_name_their_column() {
    for (data_type, name) in [
        (r#""interval""#, "interval"),
        (r#"{"type":"interval"}"#, "interval"),
        (r#""geometry(OGC:CRS84)""#, "geometry(OGC:CRS84)"),
    ] {
        let text = format!(
            r#"{{"type":"struct","fields":[{{"name":"s","type":{{"type":"struct","fields":[{{"name":"v","type":{data_type},"nullable":true}}]}},"nullable":true}}]}}"#
        );
        match StructType::from_json(&text).unwrap_err() {
            ProtocolError::UnsupportedType { column, data_type } => {
                assert_eq!((column.as_str(), data_type.as_str()), ("s.v", name))
            }
            other => panic!("{other}"),
        }
    }
    for text in [
        "",
        "[]",
        r#""long""#,
        r#"{"type":"struct"}"#,
        r#"{"type":"struct","fields":[{"name":"a"}]}"#,
        r#"{"type":"array","elementType":"long","containsNull":true}"#,
    ] {
        assert_eq!(StructType::from_json(text).unwrap_err().kind(), ErrorKind::Corrupt, "{text}");
    }
    let decimal = r#"{"type":"struct","fields":[{"name":"a","type":"decimal(39,2)","nullable":true}]}"#;
    assert_eq!(StructType::from_json(decimal).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn arrow_types_become_what_the_table_in_the_docs_says() {
    let element = |t| Arc::new(Field::new("item", t, true));
    for (arrow, delta) in [
        (Arrow::LargeUtf8, "string"),
        (Arrow::Utf8View, "string"),
        (Arrow::Dictionary(Box::new(Arrow::Int8), Box::new(Arrow::Utf8)), "string"),
        (Arrow::UInt8, "short"),
        (Arrow::UInt16, "integer"),
        (Arrow::UInt32, "long"),
        (Arrow::UInt64, "decimal(20,0)"),
        (Arrow::Float16, "float"),
        (Arrow::FixedSizeBinary(16), "binary"),
        (Arrow::Date64, "date"),
        (Arrow::Timestamp(TimeUnit::Nanosecond, Some("+02:00".into())), "timestamp"),
        (Arrow::Timestamp(TimeUnit::Second, None), "timestamp_ntz"),
        (Arrow::Decimal256(38, 4), "decimal(38,4)"),
        (Arrow::LargeList(element(Arrow::Int64)), "array<long>"),
        (Arrow::FixedSizeList(element(Arrow::Float32), 3), "array<float>"),
        (Arrow::Null, "void"),
    ] {
        assert_eq!(DataType::from_arrow("c", &arrow).unwrap().to_string(), delta, "{arrow}");
    }
    for arrow in [
        Arrow::Time64(TimeUnit::Microsecond),
        Arrow::Duration(TimeUnit::Second),
        Arrow::Decimal256(40, 0),
        Arrow::Decimal128(5, -2),
    ] {
        let schema =
            Schema::new(vec![Field::new("outer", Arrow::Struct(vec![Field::new("inner", arrow.clone(), true)].into()), true)]);
        match StructType::from_arrow(&schema).unwrap_err() {
            ProtocolError::UnsupportedArrowType { column, data_type } => {
                assert_eq!((column.as_str(), data_type), ("outer.inner", arrow))
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn metadata_that_readers_add_for_themselves_is_dropped() {
    let field = Field::new("a", Arrow::Int64, true)
        .with_metadata([("PARQUET:field_id".to_owned(), "1".to_owned()), ("comment".to_owned(), "x".to_owned())].into());
    let schema = StructType::from_arrow(&Schema::new(vec![field])).unwrap();
    assert_eq!(schema.fields[0].metadata, json!({"comment": "x"}).as_object().unwrap().clone());
}

#[test]
fn data_that_does_not_fit_names_column_and_both_types() {
    use PrimitiveType::{Boolean, Double, Integer, Long, String};
    let address = |zip: PrimitiveType| StructType::new([col("city", String), col("zip", zip)]);
    let table = StructType::new([
        StructField::required("id", Long),
        col("address", address(Integer)),
        col("scores", ArrayType { element: Double.into(), contains_null: true }),
    ]);
    let id = StructField::nullable("ID", Integer);
    // Narrower numbers, other case, other order, missing nullable columns: all fine.
    table.check_write(&StructType::new([col("ADDRESS", StructType::new([col("Zip", Integer)])), id.clone()])).unwrap();

    let data = StructType::new([id.clone(), col("address", address(String))]);
    assert_eq!(
        table.check_write(&data).unwrap_err(),
        SchemaMismatch::Type { column: "address.zip".into(), table_type: "integer".into(), data_type: "string".into() }
    );
    let data = StructType::new([id.clone(), col("scores", ArrayType { element: Boolean.into(), contains_null: true })]);
    assert_eq!(table.check_write(&data).unwrap_err().column(), "scores.element");
    let data = StructType::new([id.clone(), col("late", Boolean)]);
    assert_eq!(
        table.check_write(&data).unwrap_err(),
        SchemaMismatch::UnknownColumn { column: "late".into(), data_type: "boolean".into() }
    );
    assert_eq!(
        table.check_write(&StructType::new([])).unwrap_err(),
        SchemaMismatch::MissingColumn { column: "id".into(), table_type: "long".into() }
    );
    let data = StructType::new([id.clone(), StructField::nullable("id", Long)]);
    assert_eq!(
        table.check_write(&data).unwrap_err(),
        SchemaMismatch::DuplicateColumn { first: "ID".into(), second: "id".into() }
    );
    let data = StructType::new([StructField::nullable("id", Double)]);
    let error = table.check_write(&data).unwrap_err();
    assert_eq!((error.column(), error.kind()), ("id", ErrorKind::Invalid));
}

#[test]
fn merge_adds_columns_at_every_depth_and_refuses_other_types() {
    use PrimitiveType::{Integer, Long, String, Void};
    let table = StructType::new([col("a", Long), col("s", StructType::new([col("x", String)])), col("v", Void)]);
    let data =
        StructType::new([col("S", StructType::new([col("y", Integer)])), col("b", String), col("v", Integer), col("A", Integer)]);
    assert_eq!(table.merge(&data).unwrap().to_string(), "struct<a:long,s:struct<x:string,y:integer>,v:integer,b:string>");

    let other = StructType::new([col("s", StructType::new([col("x", Integer)]))]);
    assert_eq!(
        table.merge(&other).unwrap_err(),
        SchemaMismatch::Type { column: "s.x".into(), table_type: "string".into(), data_type: "integer".into() }
    );
    let required = StructType::new([StructField::required("b", Long)]);
    assert!(matches!(table.merge(&required).unwrap_err(), SchemaMismatch::RequiredColumn { .. }));
}

#[test]
fn widening_is_without_loss() {
    use PrimitiveType::{Byte, Date, Decimal, Double, Float, Integer, Long, Short, Timestamp};
    let decimal = |precision, scale| Decimal { precision, scale };
    for (from, to, fits) in [
        (Byte, Long, true),
        (Long, Integer, false),
        (Integer, Double, true),
        (Long, Double, false),
        (Integer, Float, false),
        (Short, Float, true),
        (Float, Double, true),
        (Double, Float, false),
        (decimal(10, 2), decimal(12, 3), true),
        (decimal(10, 2), decimal(12, 5), false),
        (Integer, decimal(10, 0), true),
        (Long, decimal(20, 2), false),
        (Date, Timestamp, false),
    ] {
        assert_eq!(from.widens_to(to), fits, "{from} to {to}");
    }
}

#[test]
fn names_that_only_differ_in_case_and_names_with_odd_characters_are_refused() {
    let long = PrimitiveType::Long;
    let twice = StructType::new([col("s", StructType::new([col("Ä", long), col("ä", long)]))]);
    assert!(
        matches!(twice.validate(ColumnMappingMode::None).unwrap_err(), ProtocolError::DuplicateColumn { first, second } if first == "s.Ä" && second == "s.ä")
    );
    let spaced = StructType::new([col("a b", long)]);
    assert!(matches!(
        spaced.validate(ColumnMappingMode::None).unwrap_err(),
        ProtocolError::InvalidColumnName { character: ' ', .. }
    ));
    spaced.validate(ColumnMappingMode::Name).unwrap();
    assert!(matches!(
        StructType::new([col("", long)]).validate(ColumnMappingMode::None).unwrap_err(),
        ProtocolError::EmptyColumnName { .. }
    ));
}

#[test]
fn partition_columns_must_exist_be_primitive_and_leave_a_column() {
    let schema = StructType::new([col("a", PrimitiveType::Long), col("b", StructType::default())]);
    schema.validate_partitioning(&["a"]).unwrap();
    assert!(matches!(schema.validate_partitioning(&["c"]).unwrap_err(), ProtocolError::UnknownColumn { .. }));
    assert!(matches!(schema.validate_partitioning(&["b"]).unwrap_err(), ProtocolError::InvalidPartitionColumn { .. }));
    assert!(matches!(schema.validate_partitioning(&["a", "a"]).unwrap_err(), ProtocolError::DuplicateColumn { .. }));
    let one = StructType::new([col("a", PrimitiveType::Long)]);
    assert!(matches!(one.validate_partitioning(&["a"]).unwrap_err(), ProtocolError::NoDataColumn { columns: 1 }));
}

#[test]
fn a_dotted_path_that_can_mean_two_columns_means_none() {
    let long = PrimitiveType::Long;
    let schema = StructType::new([col("a", StructType::new([col("b", long), col("c.d", long)])), col("a.b", long)]);
    assert!(schema.field_at("a.b").is_none());
    assert_eq!(schema.field_at("a.c.d").unwrap().name, "c.d");
    assert!(schema.field_at("a.c").is_none());
}

#[test]
fn a_variant_is_a_struct_of_two_binaries_with_the_extension_type_at_every_depth() {
    let text = r#"{"type":"struct","fields":[{"name":"v","type":"variant","nullable":true,"metadata":{}},{"name":"l","type":{"type":"array","elementType":{"type":"variant"},"containsNull":true},"nullable":true,"metadata":{}}]}"#;
    let schema = StructType::from_json(text).unwrap();
    assert_eq!(schema.to_string(), "struct<v:variant,l:array<variant>>");
    assert_eq!(StructType::from_json(&schema.to_json()).unwrap(), schema);
    let arrow = schema.to_arrow();
    assert!(is_variant(arrow.field(0)) && !is_variant(arrow.field(1)));
    let arrow_schema::DataType::List(element) = arrow.field(1).data_type() else { panic!("{arrow:?}") };
    assert!(is_variant(element));
    assert_eq!(element.data_type(), arrow.field(0).data_type());
    assert_eq!(StructType::from_arrow(&arrow).unwrap(), schema);
    assert!(schema.validate_partitioning(&["v"]).is_err(), "it has no order");
}
