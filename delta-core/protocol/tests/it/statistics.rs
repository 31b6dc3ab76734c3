//! Statistics: what is skipped must hold no matching row.

use boathouse_base::{Bounds, ColumnBounds, Comparison, Predicate, Value};
use boathouse_delta_protocol::action::{Add, DeletionVectorDescriptor};
use boathouse_delta_protocol::deletion_vector::StorageType;
use boathouse_delta_protocol::files::{IndexBuilder, SegmentBuilder};
use boathouse_delta_protocol::properties::TableProperties;
use boathouse_delta_protocol::schema::{ArrayType, ColumnMappingMode, PrimitiveType, StructField, StructType};
use boathouse_delta_protocol::stats::{
    BoundsReader, ColumnPath, ColumnStats, FileStats, TEXT_LIMIT, indexed_columns, truncate_max, truncate_min,
};
use proptest::collection::vec;
use proptest::prelude::*;

const COLUMNS: [&str; 9] = ["part", "long", "float", "double", "text", "date", "time", "inner.dec", "inner.local"];

fn schema() -> StructType {
    use PrimitiveType::*;
    let inner = StructType::new([
        StructField::nullable("dec", Decimal { precision: 30, scale: 3 }),
        StructField::nullable("local", TimestampNtz),
    ]);
    StructType::new([
        StructField::nullable("part", Integer),
        StructField::nullable("long", Long),
        StructField::nullable("float", Float),
        StructField::nullable("double", Double),
        StructField::nullable("text", String),
        StructField::nullable("date", Date),
        StructField::nullable("time", Timestamp),
        StructField::nullable("inner", inner),
    ])
}

/// Few different values, so that rows and literals meet.
fn value(column: usize) -> BoxedStrategy<Value> {
    let some = match column {
        0 => (0..3_i64).prop_map(Value::Int).boxed(),
        1 => prop_oneof![-3..3_i64, Just(i64::MAX), Just(i64::MIN)].prop_map(Value::Int).boxed(),
        2 => prop_oneof![prop::sample::select(vec![1.1_f32, 0.1, -0.0, f32::NAN, f32::INFINITY, f32::MAX]), any::<f32>()]
            .prop_map(Value::from)
            .boxed(),
        3 => prop_oneof![prop::sample::select(vec![1.1_f64, 0.0, f64::NAN, f64::NEG_INFINITY, f64::MIN]), any::<f64>()]
            .prop_map(Value::Float)
            .boxed(),
        4 => prop_oneof!["[ab\u{7f}]{0,3}", "a{31,34}[bé\u{10ffff}]{0,3}", "\u{10ffff}{30,45}"].prop_map(Value::String).boxed(),
        5 => prop_oneof![-2..3_i32, any::<i32>()].prop_map(Value::Date).boxed(),
        6 => prop_oneof![-2_000..2_000_i64, any::<i64>()].prop_map(Value::Timestamp).boxed(),
        7 => prop_oneof![-20..20_i128, (0..3_i128).prop_map(|v| 123_456_789_012_345_678_901_234_567 + v)]
            .prop_map(|unscaled| Value::Decimal { unscaled, scale: 3 })
            .boxed(),
        _ => (-2_000..2_000_i64).prop_map(Value::TimestampNtz).boxed(),
    };
    prop_oneof![4 => some, 1 => Just(Value::Null)].boxed()
}

fn row() -> impl Strategy<Value = Vec<Value>> {
    (0..COLUMNS.len()).map(value).collect::<Vec<_>>()
}

fn predicate() -> impl Strategy<Value = Predicate> {
    use Comparison::*;
    let op = prop::sample::select(vec![Eq, NotEq, Lt, LtEq, Gt, GtEq]);
    let leaf = (0..COLUMNS.len()).prop_flat_map(move |at| {
        let column = COLUMNS[at].to_owned();
        let (c1, c2, c3) = (column.clone(), column.clone(), column);
        prop_oneof![
            4 => (op.clone(), value(at)).prop_map(move |(op, value)| Predicate::Compare { column: c1.clone(), op, value }),
            1 => vec(value(at), 0..3).prop_map(move |values| Predicate::In { column: c2.clone(), values }),
            1 => Just(Predicate::IsNull(c3)),
        ]
    });
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Predicate::And),
            vec(inner.clone(), 0..3).prop_map(Predicate::Or),
            inner.prop_map(Predicate::negate),
        ]
    })
}

/// The slow, obvious statistics of rows.
fn collect(rows: &[Vec<Value>]) -> FileStats {
    let mut stats = FileStats { num_records: Some(rows.len() as u64), ..FileStats::default() };
    for (at, column) in COLUMNS.iter().enumerate().skip(1) {
        let mut known = ColumnStats { null_count: Some(0), ..ColumnStats::default() };
        for value in rows.iter().map(|r| &r[at]) {
            match value {
                Value::Null => known.null_count = known.null_count.map(|n| n + 1),
                // As in Parquet: not a number is no bound.
                Value::Float(v) if v.is_nan() => {}
                value => {
                    if known.min.as_ref().is_none_or(|min| value.compare(min).unwrap().is_lt()) {
                        known.min = Some(value.clone());
                    }
                    if known.max.as_ref().is_none_or(|max| value.compare(max).unwrap().is_gt()) {
                        known.max = Some(value.clone());
                    }
                }
            }
        }
        stats.columns.insert(ColumnPath::new(column.split('.')), known);
    }
    stats
}

/// A file whose rows all have the partition value of the first.
fn file(rows: &mut [Vec<Value>], dead: usize) -> Add {
    let part = rows[0][0].clone();
    rows.iter_mut().for_each(|r| r[0] = part.clone());
    let text = match part {
        Value::Int(v) => Some(v.to_string()),
        _ => None,
    };
    let mut stats = collect(rows);
    stats.tight_bounds = dead == 0;
    Add {
        partition_values: [("part", text)].into_iter().collect(),
        stats: Some(stats.to_json(&schema(), ColumnMappingMode::None)),
        deletion_vector: (dead > 0).then(|| {
            Box::new(DeletionVectorDescriptor {
                storage_type: StorageType::Inline,
                path_or_inline_dv: String::new(),
                offset: None,
                size_in_bytes: 0,
                cardinality: dead as u64,
            })
        }),
        ..Add::default()
    }
}

fn matches(predicate: &Predicate, row: &[Value]) -> bool {
    let column = |name: &str| row[COLUMNS.iter().position(|c| *c == name).unwrap()].clone();
    predicate.matches(&column) == Some(true)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_file_with_a_matching_row_is_never_skipped(mut rows in vec(row(), 1..6), dead in 0..4_usize, predicate in predicate()) {
        let dead = dead.min(rows.len());
        let add = file(&mut rows, dead);
        let schema = schema();
        let reader = BoundsReader::for_predicates(&schema, &["part".to_owned()], ColumnMappingMode::None, [&predicate]);
        // The first rows are the dead ones.
        if rows[dead..].iter().any(|row| matches(&predicate, row)) {
            prop_assert!(predicate.may_match(&reader.of_add(&add)), "{} skips {:?}", predicate, add);
        }
    }

    #[test]
    fn a_row_equal_to_the_only_row_is_never_skipped(row in row()) {
        let mut rows = vec![row];
        let add = file(&mut rows, 0);
        for (at, column) in COLUMNS.iter().enumerate() {
            let predicate = Predicate::Compare { column: (*column).to_owned(), op: Comparison::Eq, value: rows[0][at].clone() };
            if matches(&predicate, &rows[0]) {
                let reader = BoundsReader::for_predicates(&schema(), &["part".to_owned()], ColumnMappingMode::None, [&predicate]);
                prop_assert!(predicate.may_match(&reader.of_add(&add)), "{} skips {:?}", predicate, add.stats);
            }
        }
    }

    #[test]
    fn an_index_finds_the_files_that_each_alone_would_not_be_skipped(
        mut files in vec((vec(row(), 1..4), 0..3_usize), 1..8), predicates in vec(predicate(), 1..4),
    ) {
        let mut segments = SegmentBuilder::with_stats();
        let mut adds = Vec::new();
        for (nth, (rows, dead)) in files.iter_mut().enumerate() {
            let dead = (*dead).min(rows.len());
            adds.push(Add { path: format!("f{nth}"), ..file(rows, dead) });
        }
        adds.iter().for_each(|add| segments.push(add.into()));
        let mut index = IndexBuilder::new();
        segments.finish().into_iter().for_each(|segment| index.checkpoint(segment).unwrap());
        let index = index.finish();
        let schema = schema();
        // The second predicate finds what the first one has read.
        for predicate in &predicates {
            let reader = BoundsReader::for_predicates(&schema, &["part".to_owned()], ColumnMappingMode::None, [predicate]);
            let found: Vec<&str> = index.matching(predicate, &reader).map(|file| file.path()).collect();
            let alone = adds.iter().filter(|add| predicate.may_match(&reader.of_add(add))).map(|add| add.path.as_str());
            if predicate.columns().iter().all(|column| *column == "part") {
                // Then the number of rows is not looked up, and a file without any is kept.
                prop_assert!(alone.clone().all(|path| found.contains(&path)), "{predicate}");
            } else {
                prop_assert_eq!(found, alone.collect::<Vec<_>>(), "{}", predicate);
            }
        }
    }

    #[test]
    fn text_is_between_its_truncated_bounds(text in prop_oneof![".{0,50}", "a{30,33}[\u{7e}-\u{80}]{0,4}", "\u{10ffff}{30,60}", "a{32}[\u{10ffff}\u{7f}]{0,20}"]) {
        let min = truncate_min(&text);
        prop_assert!(min.as_bytes() <= text.as_bytes() && min.chars().count() <= TEXT_LIMIT);
        if let Some(max) = truncate_max(&text) {
            prop_assert!(max.as_bytes() >= text.as_bytes());
            prop_assert!(text.chars().count() > TEXT_LIMIT || max == text);
        }
    }

    #[test]
    fn arbitrary_text_as_statistics_excludes_nothing_or_is_read(text in any::<String>(), predicate in predicate()) {
        let add = Add { stats: Some(text), ..Add::default() };
        let reader = BoundsReader::for_predicates(&schema(), &[], ColumnMappingMode::None, [&predicate]);
        let empty = BoundsReader::for_columns(&schema(), &[], ColumnMappingMode::None, []);
        prop_assert_eq!(predicate.may_match(&reader.of_add(&add)), predicate.may_match(&empty.of_add(&Add::default())));
    }
}

fn bounds_of(stats: &str, column: &str) -> ColumnBounds {
    let add = Add { stats: Some(stats.to_owned()), ..Add::default() };
    BoundsReader::for_columns(&schema(), &[], ColumnMappingMode::None, [column]).of_add(&add).column(column)
}

#[test]
fn files_are_skipped_where_their_statistics_prove_it() {
    let add = Add {
        partition_values: [("part", Some("1"))].into_iter().collect(),
        stats: Some(r#"{"numRecords":4,"minValues":{"long":10,"inner":{"dec":1.5}},"maxValues":{"long":20,"inner":{"dec":2.5}},"nullCount":{"long":0,"text":4}}"#.to_owned()),
        ..Add::default()
    };
    let dec = |unscaled| Value::Decimal { unscaled, scale: 3 };
    for (predicate, may) in [
        (Predicate::eq("part", 2), false),
        (Predicate::eq("part", 1), true),
        (Predicate::IsNull("part".into()), false),
        (Predicate::compare("long", Comparison::Gt, 20), false),
        (Predicate::compare("long", Comparison::GtEq, 20), true),
        (Predicate::IsNull("long".into()), false),
        (Predicate::eq("text", "a"), false),
        (Predicate::IsNull("text".into()).negate(), false),
        (Predicate::compare("inner.dec", Comparison::Lt, dec(1_500)), false),
        (Predicate::compare("inner.dec", Comparison::LtEq, dec(1_500)), true),
        (Predicate::eq("date", Value::Date(1)), true),
        (Predicate::eq("no_such_column", 1), true),
    ] {
        let reader = BoundsReader::for_predicates(&schema(), &["part".to_owned()], ColumnMappingMode::None, [&predicate]);
        assert_eq!(predicate.may_match(&reader.of_add(&add)), may, "{predicate}");
    }
}

#[test]
fn odd_statistics_say_nothing() {
    for stats in [
        "",
        "[]",
        "{",
        r#"{"numRecords":"many","maxValues":{"long":1.5}}"#,
        r#"{"maxValues":{"long":"7"}}"#,
        r#"{"maxValues":[1],"minValues":null}"#,
        r#"{"maxValues":{"long":null}}"#,
    ] {
        assert_eq!(bounds_of(stats, "long"), ColumnBounds::default(), "{stats}");
    }
    // A local time where an instant should be; a NaN; too many digits after the point.
    assert_eq!(bounds_of(r#"{"maxValues":{"time":"2020-01-01 00:00:00"}}"#, "time").max, None);
    assert_eq!(bounds_of(r#"{"maxValues":{"double":"NaN"},"minValues":{"double":1e999}}"#, "double"), ColumnBounds::default());
    assert_eq!(bounds_of(r#"{"maxValues":{"inner":{"dec":1.2345}}}"#, "inner.dec").max, None);
}

#[test]
fn bounds_that_other_writers_cut_down_are_widened() {
    // Milliseconds, cut down from microseconds.
    let time =
        bounds_of(r#"{"minValues":{"time":"1970-01-01T00:00:00.001Z"},"maxValues":{"time":"1970-01-01T00:00:00.002Z"}}"#, "time");
    assert_eq!((time.min, time.max), (Some(Value::Timestamp(1_000)), Some(Value::Timestamp(2_999))));
    let exact = bounds_of(r#"{"maxValues":{"time":"1970-01-01T01:00:00.000002+01:00"}}"#, "time");
    assert_eq!(exact.max, Some(Value::Timestamp(2)));
    // The row holds 1.1 as 32 bits, which is above 1.1.
    assert_eq!(bounds_of(r#"{"maxValues":{"float":1.1}}"#, "float").max, Some(Value::from(1.1_f32)));
    // A decimal that went through a 64-bit float.
    let Some(Value::Decimal { unscaled, .. }) =
        bounds_of(r#"{"maxValues":{"inner":{"dec":123456789012345680}}}"#, "inner.dec").max
    else {
        panic!()
    };
    assert!(unscaled > 123_456_789_012_345_680_000);
}

#[test]
fn null_counts_of_files_with_deleted_rows_count_only_when_none_or_all() {
    for (nulls, tight, expected) in [(0, false, Some(0)), (2, false, None), (4, false, Some(4)), (2, true, Some(2))] {
        let stats = format!(r#"{{"numRecords":4,"nullCount":{{"long":{nulls}}},"tightBounds":{tight}}}"#);
        assert_eq!(bounds_of(&stats, "long").null_count, expected, "{stats}");
    }
}

#[test]
fn a_file_whose_rows_are_all_deleted_is_skipped() {
    let mut rows = vec![vec![Value::Null; COLUMNS.len()]; 3];
    let add = file(&mut rows, 3);
    let all = Predicate::Literal(true);
    let reader = BoundsReader::for_predicates(&schema(), &[], ColumnMappingMode::None, [&all]);
    assert!(!all.may_match(&reader.of_add(&add)));
}

#[test]
fn statistics_follow_physical_names() {
    let mut inner = StructField::nullable("x", PrimitiveType::Long);
    inner.metadata.insert("delta.columnMapping.physicalName".into(), "p2".into());
    let mut outer = StructField::nullable("o", StructType::new([inner]));
    outer.metadata.insert("delta.columnMapping.physicalName".into(), "p1".into());
    let schema = StructType::new([outer]);
    let mut stats = FileStats { num_records: Some(1), ..FileStats::default() };
    stats.columns.insert(
        ColumnPath::new(["o", "x"]),
        ColumnStats { min: Some(Value::Int(1)), max: Some(Value::Int(2)), null_count: Some(0) },
    );
    let json = stats.to_json(&schema, ColumnMappingMode::Name);
    assert_eq!(
        json,
        r#"{"numRecords":1,"minValues":{"p1":{"p2":1}},"maxValues":{"p1":{"p2":2}},"nullCount":{"p1":{"p2":0}},"tightBounds":true}"#
    );
    assert_eq!(FileStats::from_json(&json, &schema, ColumnMappingMode::Name).unwrap(), stats);
    let add = Add { stats: Some(json), ..Add::default() };
    let reader = BoundsReader::for_columns(&schema, &[], ColumnMappingMode::Name, ["o.x"]);
    assert_eq!(reader.of_add(&add).column("o.x").max, Some(Value::Int(2)));
}

#[test]
fn columns_that_may_mean_two_things_are_unknown() {
    let long = PrimitiveType::Long;
    let schema = StructType::new([
        StructField::nullable("a", StructType::new([StructField::nullable("b", long)])),
        StructField::nullable("a.b", long),
    ]);
    let add = Add { stats: Some(r#"{"maxValues":{"a":{"b":1},"a.b":9}}"#.to_owned()), ..Add::default() };
    let reader = BoundsReader::for_columns(&schema, &[], ColumnMappingMode::None, ["a.b"]);
    assert_eq!(reader.of_add(&add).column("a.b"), ColumnBounds::default());
}

#[test]
fn a_widened_column_takes_no_bounds_of_the_narrow_type() {
    let mut field = StructField::nullable("d", PrimitiveType::Double);
    field.metadata.insert("delta.typeChanges".into(), serde_json::json!([{"fromType": "float", "toType": "double"}]));
    let schema = StructType::new([field]);
    let stats = FileStats::from_json(r#"{"maxValues":{"d":1.1},"nullCount":{"d":0}}"#, &schema, ColumnMappingMode::None).unwrap();
    assert_eq!(stats.columns[&"d".into()], ColumnStats { null_count: Some(0), ..ColumnStats::default() });
}

#[test]
fn properties_choose_the_columns_with_statistics() {
    let mut schema = schema();
    schema.fields.push(StructField::nullable("list", ArrayType { element: PrimitiveType::Long.into(), contains_null: true }));
    let part = ["part".to_owned()];
    let names = |properties: &TableProperties| -> Vec<String> {
        indexed_columns(&schema, &part, properties).unwrap().iter().map(ToString::to_string).collect()
    };
    let all = ["long", "float", "double", "text", "date", "time", "inner.dec", "inner.local", "list"];
    assert_eq!(names(&TableProperties::default()), all);
    let two = TableProperties { data_skipping_num_indexed_cols: Some(2), ..TableProperties::default() };
    assert_eq!(names(&two), ["long", "float"]);
    let chosen = Some(vec!["inner".to_owned(), "text".to_owned()]);
    let chosen = TableProperties { data_skipping_stats_columns: chosen, ..TableProperties::default() };
    assert_eq!(names(&chosen), ["text", "inner.dec", "inner.local"]);
    let gone = TableProperties { data_skipping_stats_columns: Some(vec!["gone".to_owned()]), ..TableProperties::default() };
    assert!(indexed_columns(&schema, &part, &gone).unwrap_err().to_string().contains("`gone`"));
}
