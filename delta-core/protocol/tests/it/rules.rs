//! Rules of rows, column mapping and wider types.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::action::{Metadata, Protocol};
use boathouse_delta_protocol::rules::Rules;
use boathouse_delta_protocol::schema::{
    ArrayType, ColumnMappingMode, DataType, MapType, NestedIds, PrimitiveType, StructField, StructType, Widening,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn with(mut field: StructField, metadata: &[(&str, Value)]) -> StructField {
    field.metadata = metadata.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    field
}

fn long(name: &str) -> StructField {
    StructField::nullable(name, PrimitiveType::Long)
}

fn of(
    fields: Vec<StructField>,
    properties: &[(&str, &str)],
    writer: i32,
) -> Result<Rules, boathouse_delta_protocol::ProtocolError> {
    let schema = StructType::new(fields);
    let configuration = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let metadata = Metadata { schema_string: schema.to_json(), configuration, ..Metadata::default() };
    let protocol = Protocol { min_writer_version: writer, ..Protocol::default() };
    Rules::of(&protocol, &metadata, &metadata.schema()?)
}

#[test]
fn rules_count_as_far_as_the_protocol_has_the_feature() {
    let fields = || {
        vec![
            with(long("a"), &[("delta.invariants", json!(r#"{"expression":{"expression":"a > 3"}}"#))]),
            with(long("b"), &[("delta.generationExpression", json!("a + 1"))]),
            with(long("c"), &[("delta.identity.start", json!(1)), ("delta.identity.step", json!(2))]),
        ]
    };
    let properties = [("delta.constraints.Small", "a < 9")];
    let counts = |writer| {
        let rules = of(fields(), &properties, writer).unwrap();
        (rules.checks.len(), rules.generated.len(), rules.identities.len())
    };
    assert_eq!([1, 2, 3, 4, 6].map(counts), [(0, 0, 0), (1, 0, 0), (2, 0, 0), (2, 1, 0), (2, 1, 1)]);
    let rules = of(fields(), &properties, 6).unwrap();
    assert_eq!(rules.needs_expressions(), Some(("checkConstraints", "property `delta.constraints.Small`".to_owned())));
    let subjects: Vec<_> = rules.expressions().map(|(_, sql)| sql.to_owned()).collect();
    assert_eq!(subjects, ["a < 9", "a > 3", "a + 1"]);
}

#[test]
fn column_metadata_that_makes_no_sense_is_named() {
    let identity = |step: Value| with(long("a"), &[("delta.identity.start", json!(1)), ("delta.identity.step", step)]);
    for (field, key) in [
        (with(long("a"), &[("delta.invariants", json!("a > 3"))]), "delta.invariants"),
        (with(long("a"), &[("delta.generationExpression", json!(3))]), "delta.generationExpression"),
        (identity(json!(0)), "delta.identity.step"),
        (identity(json!("x")), "delta.identity.step"),
        (StructField { data_type: PrimitiveType::String.into(), ..identity(json!(1)) }, "delta.identity.step"),
    ] {
        let error = of(vec![field], &[], 6).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("column `a`") && error.to_string().contains(key), "{error}");
    }
    // Within other columns nobody fills in values.
    let inner = with(long("a"), &[("delta.generationExpression", json!("1"))]);
    let error = of(vec![StructField::nullable("s", StructType::new([inner]))], &[], 6).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("s.a"), "{error}");
}

#[test]
fn a_change_of_type_is_remembered_where_the_protocol_says() {
    let list = |element: PrimitiveType| ArrayType { element: element.into(), contains_null: true };
    let map = |value: ArrayType| MapType { key: PrimitiveType::Integer.into(), value: value.into(), value_contains_null: true };
    let schema = |inner: PrimitiveType, element: PrimitiveType| {
        let inner = StructType::new([StructField::nullable("x", inner)]);
        StructType::new([StructField::nullable("s", inner), StructField::nullable("m", map(list(element)))])
    };
    let table = schema(PrimitiveType::Byte, PrimitiveType::Float);
    let data = schema(PrimitiveType::Integer, PrimitiveType::Double);
    assert!(table.merge(&data).is_err());
    let merged = table.merge_widening(&data, Widening::SameKind).unwrap();
    merged.check_write(&data).unwrap();
    merged.check_write(&table).unwrap();
    let DataType::Struct(inner) = &merged.fields[0].data_type else { panic!() };
    assert_eq!(inner.fields[0].metadata["delta.typeChanges"], json!([{"fromType": "byte", "toType": "integer"}]));
    assert!(merged.fields[0].metadata.is_empty());
    let change = json!([{"fromType": "float", "toType": "double", "fieldPath": "value.element"}]);
    assert_eq!(merged.fields[1].metadata["delta.typeChanges"], change);
    // It stays through JSON, and merging again changes nothing.
    let read = StructType::from_json(&merged.to_json()).unwrap();
    assert_eq!(read.merge_widening(&data, Widening::SameKind).unwrap(), merged);
    read.check_type_changes().unwrap();
    let strange = with(long("a"), &[("delta.typeChanges", json!([{"fromType": "string", "toType": "long"}]))]);
    let error = StructType::new([strange]).check_type_changes().unwrap_err();
    assert!(error.to_string().contains("column `a` from string to long"), "{error}");
}

#[test]
fn types_become_wider_as_the_protocol_lists_it() {
    use PrimitiveType::{Byte, Date, Decimal, Double, Float, Integer, Long, Short, String, Timestamp, TimestampNtz};
    let decimal = |precision, scale| Decimal { precision, scale };
    for (from, to, allowed, iceberg) in [
        (Byte, Short, true, true),
        (Short, Long, true, true),
        (Long, Integer, false, false),
        (Float, Double, true, true),
        (Integer, Double, true, false),
        (Long, Double, false, false),
        (Date, TimestampNtz, true, false),
        (Date, Timestamp, false, false),
        (decimal(5, 2), decimal(7, 2), true, true),
        (decimal(5, 2), decimal(7, 4), true, false),
        (decimal(5, 2), decimal(6, 4), false, false),
        (decimal(5, 2), decimal(5, 2), false, false),
        (Integer, decimal(10, 0), true, false),
        (Byte, decimal(9, 0), false, false),
        (Long, decimal(20, 0), true, false),
        (Long, decimal(20, 1), false, false),
        (Integer, String, false, false),
    ] {
        assert_eq!((from.may_become(to, false), from.may_become(to, true)), (allowed, iceberg), "{from} to {to}");
        // What the protocol calls wider holds every value.
        assert!(!allowed || from.widens_to(to) || (from, to) == (Date, TimestampNtz), "{from} to {to}");
    }
}

fn any_schema() -> impl Strategy<Value = StructType> {
    let leaf = prop_oneof![Just(PrimitiveType::Long), Just(PrimitiveType::String)].prop_map(DataType::from);
    let data_type = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|element| ArrayType { element, contains_null: true }.into()),
            (inner.clone(), inner.clone()).prop_map(|(key, value)| MapType { key, value, value_contains_null: true }.into()),
            prop::collection::vec(inner, 1..3).prop_map(|types| struct_of(types).into()),
        ]
    });
    prop::collection::vec(data_type, 1..4).prop_map(struct_of)
}

fn struct_of(types: Vec<DataType>) -> StructType {
    StructType::new(types.into_iter().enumerate().map(|(at, data_type)| StructField::nullable(format!("c{at}"), data_type)))
}

/// All ids, in order of appearance.
fn ids(schema: &StructType) -> Vec<i64> {
    let mut found = Vec::new();
    schema.each_column(&mut |field| {
        found.extend(field.column_mapping_id());
        if let Some(Value::Object(nested)) = field.metadata.get("delta.columnMapping.nested.ids") {
            found.extend(nested.values().filter_map(Value::as_i64));
        }
    });
    found
}

proptest! {
    #[test]
    fn every_column_gets_one_id_and_one_name_and_keeps_them(schema in any_schema(), more in any_schema(), nested in any::<bool>()) {
        let nested = if nested { NestedIds::Assigned } else { NestedIds::None };
        let mut count = 0;
        let mut name = |_: &StructField| { count += 1; format!("col-{count}") };
        let (mapped, max) = schema.assign_mapping(0, nested, &mut name);
        let mut found = ids(&mapped);
        found.sort_unstable();
        prop_assert_eq!(&found, &(1..=max).collect::<Vec<_>>());
        // Again: nothing is new.
        prop_assert_eq!(mapped.assign_mapping(max, nested, &mut name), (mapped.clone(), max));
        // Through JSON and Arrow: nothing is lost.
        prop_assert_eq!(&StructType::from_json(&mapped.to_json()).unwrap(), &mapped);
        prop_assert_eq!(&StructType::from_arrow(&mapped.to_arrow()).unwrap(), &mapped);
        prop_assert_eq!(&mapped.without_mapping(), &schema);
        prop_assert_eq!(&mapped.as_data(), &schema);
        // A column that is added gets a higher id; the others keep theirs.
        let mut wider = mapped.clone();
        wider.fields.push(StructField::nullable("added", more));
        let (wider, wider_max) = wider.assign_mapping(max, nested, &mut name);
        prop_assert_eq!(&wider.fields[..mapped.fields.len()], &mapped.fields[..]);
        prop_assert!(wider_max > max);
        // A schema of mere data takes them up again by name.
        let (kept, kept_max) = wider.as_data().keep_mapping(&wider).assign_mapping(wider_max, nested, &mut name);
        prop_assert_eq!((kept, kept_max), (wider, wider_max));
    }
}

#[test]
fn nested_ids_are_kept_by_the_nearest_column_under_physical_paths() {
    let element =
        MapType { key: PrimitiveType::String.into(), value: StructType::new([long("x")]).into(), value_contains_null: true };
    let schema = StructType::new([StructField::nullable("l", ArrayType { element: element.into(), contains_null: true })]);
    let (mapped, max) = schema.assign_mapping(0, NestedIds::Assigned, &mut |field| format!("p{}", field.name));
    let field = &mapped.fields[0];
    assert_eq!(field.physical_name(ColumnMappingMode::Id), "pl");
    let paths = ["pl.element", "pl.element.key", "pl.element.value"];
    assert_eq!(paths.map(|path| field.nested_id(path)), [Some(2), Some(3), Some(4)]);
    assert_eq!(max, 5);
}

#[test]
fn a_column_is_found_by_its_path_in_lists_maps_and_structs() {
    let inner = || StructType::new([long("x"), long("Y")]);
    let list = ArrayType { element: inner().into(), contains_null: true };
    let map = MapType { key: inner().into(), value: inner().into(), value_contains_null: true };
    let mut schema = StructType::new([
        StructField::nullable("l", list),
        StructField::nullable("m", map),
        long("a.b"),
        StructField::nullable("a", StructType::new([long("c")])),
    ]);
    for path in ["l.element.x", "m.key.x", "m.value.y", "a.b", "A.C"] {
        schema.edit_column(path, |columns, at| columns[at].name.push('!')).unwrap();
    }
    assert_eq!(
        schema.to_string(),
        "struct<l:array<struct<x!:long,Y:long>>,m:map<struct<x!:long,Y:long>,struct<x:long,Y!:long>>,a.b!:long,a:struct<c!:long>>"
    );
    for path in ["l.x", "l.element", "m.key.z", "z", ""] {
        assert!(schema.edit_column(path, |_, _| ()).is_err(), "{path}");
    }
}
