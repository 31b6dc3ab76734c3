//! Partition values.

use boathouse_base::{DomainError, ErrorKind, Value};
use boathouse_delta_protocol::action::Add;
use boathouse_delta_protocol::partition::{NULL_FOLDER, folder, format, parse, values_of};
use boathouse_delta_protocol::schema::{ColumnMappingMode, PrimitiveType, StructField, StructType};
use bytes::Bytes;
use proptest::prelude::*;

/// A type, and a value of it that has a text form.
fn typed() -> impl Strategy<Value = (PrimitiveType, Value)> {
    use PrimitiveType::*;
    // Years 0 to 9999.
    let us = -62_167_219_200_000_000..253_402_300_800_000_000_i64;
    prop_oneof![
        "[ -~äß漢😀]{1,20}".prop_map(|v| (String, Value::String(v))),
        any::<i64>().prop_map(|v| (Long, Value::Int(v))),
        any::<i32>().prop_map(|v| (Integer, Value::from(v))),
        any::<i16>().prop_map(|v| (Short, Value::from(v))),
        any::<i8>().prop_map(|v| (Byte, Value::from(v))),
        prop::num::f32::NORMAL.prop_map(|v| (Float, Value::from(v))),
        prop::num::f64::ANY.prop_filter("NaN is not equal to itself", |v| !v.is_nan()).prop_map(|v| (Double, Value::Float(v))),
        (1..=38_u8, any::<i128>()).prop_flat_map(|(precision, v)| (Just(precision), 0..=precision, Just(v))).prop_map(
            |(precision, scale, v)| {
                let unscaled = v % 10_i128.pow(u32::from(precision));
                (Decimal { precision, scale }, Value::Decimal { unscaled, scale: scale as i8 })
            }
        ),
        any::<bool>().prop_map(|v| (Boolean, Value::Boolean(v))),
        "[ -~ä]{1,9}".prop_map(|v| (Binary, Value::Binary(Bytes::from(v)))),
        (-719_528..2_932_897).prop_map(|v| (Date, Value::Date(v))),
        us.clone().prop_map(|v| (Timestamp, Value::Timestamp(v))),
        us.prop_map(|v| (TimestampNtz, Value::TimestampNtz(v))),
    ]
}

proptest! {
    #[test]
    fn values_written_and_read_are_equal((data_type, value) in typed()) {
        let text = format("c", data_type, &value).unwrap();
        prop_assert_eq!(parse("c", data_type, text.as_deref()).unwrap(), value, "{:?}", text);
    }

    #[test]
    fn arbitrary_text_is_a_value_or_a_corrupt_error((data_type, _) in typed(), text in any::<String>()) {
        if let Err(error) = parse("c", data_type, Some(&text)) {
            prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn folders_have_one_level_for_each_column(values in prop::collection::vec((".{1,8}", prop::option::of(".{0,8}")), 1..4)) {
        let path = folder(values.iter().map(|(k, v)| (k.as_str(), v.as_deref())));
        let levels: Vec<_> = path.split('/').collect();
        prop_assert_eq!(levels.len(), values.len());
        for level in levels {
            prop_assert_eq!(level.matches('=').count(), 1);
        }
    }
}

#[test]
fn text_of_other_writers_is_read() {
    use PrimitiveType::*;
    let us = 1_600_000_000_123_456;
    for (data_type, text, value) in [
        (Timestamp, "2020-09-13 12:26:40.123456", Value::Timestamp(us)),
        (Timestamp, "2020-09-13T12:26:40.123456Z", Value::Timestamp(us)),
        (Timestamp, "2020-09-13T14:26:40.123456+02:00", Value::Timestamp(us)),
        (Timestamp, "2020-09-13 12:26:40", Value::Timestamp(us - 123_456)),
        (Timestamp, "2020-09-13 12:26:40.1", Value::Timestamp(us - 23_456)),
        (Timestamp, "2020-09-13", Value::Timestamp(1_599_955_200_000_000)),
        (Timestamp, "1969-12-31 23:59:59.999999", Value::Timestamp(-1)),
        (TimestampNtz, "2020-09-13 12:26:40", Value::TimestampNtz(us - 123_456)),
        (Date, "2021-1-1", Value::Date(18_628)),
        (Double, "1.0E10", Value::Float(1e10)),
        (Double, "-Infinity", Value::Float(f64::NEG_INFINITY)),
        (Float, "1.1", Value::from(1.1_f32)),
        (Boolean, "True", Value::Boolean(true)),
        (Decimal { precision: 5, scale: 2 }, "-1.5", Value::Decimal { unscaled: -150, scale: 2 }),
        (Decimal { precision: 5, scale: 2 }, "1E+2", Value::Decimal { unscaled: 10_000, scale: 2 }),
        (Decimal { precision: 5, scale: 2 }, "0.1000", Value::Decimal { unscaled: 10, scale: 2 }),
        (Binary, "\u{1}\u{2}\u{3}", Value::Binary(Bytes::from_static(&[1, 2, 3]))),
        (Long, "", Value::Null),
    ] {
        assert_eq!(parse("c", data_type, Some(text)).unwrap(), value, "{data_type} {text}");
    }
    assert_eq!(parse("c", String, None).unwrap(), Value::Null);
}

#[test]
fn text_that_is_no_value_names_column_type_and_text() {
    use PrimitiveType::*;
    for (data_type, text) in [
        (Byte, "128"),
        (Integer, "1.0"),
        (Date, "2021-02-30"),
        (Date, "2021-02-03x"),
        (Timestamp, "2020-09-13T25:00:00Z"),
        (TimestampNtz, "2020-09-13T12:00:00Z"),
        (Boolean, "yes"),
        (Decimal { precision: 3, scale: 1 }, "100.0"),
        (Decimal { precision: 3, scale: 1 }, "1.05"),
        (Double, "1,5"),
        (Void, "x"),
    ] {
        let error = parse("when", data_type, Some(text)).unwrap_err().to_string();
        assert!(error.contains("`when`") && error.contains(&data_type.to_string()) && error.contains(text), "{error}");
    }
}

#[test]
fn values_of_another_type_or_without_text_are_refused() {
    use PrimitiveType::*;
    for (data_type, value) in [
        (Byte, Value::Int(128)),
        (Long, Value::from("1")),
        (Timestamp, Value::TimestampNtz(0)),
        (Timestamp, Value::Timestamp(i64::MAX)),
        (Date, Value::Date(i32::MAX)),
        (Binary, Value::Binary(Bytes::from_static(&[0xff]))),
        (Decimal { precision: 3, scale: 1 }, Value::Decimal { unscaled: 1000, scale: 1 }),
        (Decimal { precision: 3, scale: 1 }, Value::Decimal { unscaled: 1, scale: 2 }),
    ] {
        assert_eq!(format("c", data_type, &value).unwrap_err().kind(), ErrorKind::Invalid, "{data_type} {value}");
    }
    assert_eq!(format("c", String, &Value::from("")).unwrap(), None, "the empty text is null in this format");
    assert_eq!(format("c", Double, &Value::Float(f64::NAN)).unwrap().as_deref(), Some("NaN"));
}

#[test]
fn folders_are_escaped_as_in_hive() {
    assert_eq!(
        folder([("a", Some("x/y")), ("b c", Some("10%=ä")), ("d", None), ("e", Some(""))]),
        std::format!("a=x%2Fy/b c=10%25%3Dä/d={NULL_FOLDER}/e={NULL_FOLDER}", NULL_FOLDER = NULL_FOLDER)
    );
}

#[test]
fn values_of_a_file_come_by_physical_name_and_are_null_when_missing() {
    let mut field = StructField::nullable("day", PrimitiveType::Date);
    field.metadata.insert("delta.columnMapping.physicalName".into(), "col-1".into());
    let schema = StructType::new([field, StructField::nullable("n", PrimitiveType::Long)]);
    let add = Add { partition_values: [("col-1", Some("1970-01-02"))].into_iter().collect(), ..Add::default() };
    let columns = ["day".to_owned(), "n".to_owned()];
    assert_eq!(values_of(&add, &schema, &columns, ColumnMappingMode::Name).unwrap(), [Value::Date(1), Value::Null]);
    assert_eq!(values_of(&add, &schema, &columns, ColumnMappingMode::None).unwrap(), [Value::Null, Value::Null]);
    assert!(values_of(&add, &schema, &["gone".to_owned()], ColumnMappingMode::None).is_err());
}
