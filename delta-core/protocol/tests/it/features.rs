//! What can be read and written.

use std::collections::BTreeMap;

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_protocol::action::{Metadata, Protocol};
use boathouse_delta_protocol::features::{
    FEATURES, FeatureKind, RowChange, check_change, check_read, check_write, column_mapping, feature_table, has, is_active,
    protocol_for, protocol_upgrade, records_changes,
};
use boathouse_delta_protocol::properties::TableProperties;
use boathouse_delta_protocol::schema::{ArrayType, ColumnMappingMode, DataType, PrimitiveType, StructField, StructType};
use serde_json::json;

fn versions(reader: i32, writer: i32) -> Protocol {
    Protocol { min_reader_version: reader, min_writer_version: writer, ..Protocol::default() }
}

fn named(features: &[&str]) -> Protocol {
    let both = |name: &&&str| FEATURES.iter().any(|f| f.name == **name && f.kind == FeatureKind::ReaderWriter);
    Protocol {
        min_reader_version: 3,
        min_writer_version: 7,
        reader_features: Some(features.iter().filter(both).map(ToString::to_string).collect()),
        writer_features: Some(features.iter().map(ToString::to_string).collect()),
    }
}

fn table(properties: &[(&str, &str)], column_metadata: &[(&str, serde_json::Value)]) -> Metadata {
    let mut inner = StructField::nullable("inner", PrimitiveType::Long);
    inner.metadata = column_metadata.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    let list = ArrayType { element: StructType::new([inner]).into(), contains_null: true };
    let schema = StructType::new([StructField::nullable("list", list)]);
    Metadata { schema_string: schema.to_json(), configuration: configuration(properties), ..Metadata::default() }
}

fn configuration(properties: &[(&str, &str)]) -> BTreeMap<String, String> {
    properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn refused(result: Result<(), ProtocolError>) -> Option<String> {
    match result {
        Ok(()) => None,
        Err(ProtocolError::UnsupportedFeature { feature, .. }) => Some(feature),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn old_versions_can_be_written_whatever_uses_what_they_imply() {
    for metadata in [
        table(&[], &[]),
        table(&[], &[("delta.invariants", json!("{}"))]),
        table(&[("delta.constraints.x", "a > 1")], &[]),
        table(&[], &[("delta.generationExpression", json!("1"))]),
        table(&[("delta.columnMapping.mode", "name")], &[]),
        table(&[], &[("delta.identity.start", json!(1))]),
    ] {
        for writer in 1..=6 {
            check_write(&versions(2, writer), &metadata).unwrap();
        }
    }
}

#[test]
fn features_that_exclude_each_other_are_named_with_what_enables_them() {
    let iceberg = [("delta.enableIcebergCompatV2", "true"), ("delta.columnMapping.mode", "name")];
    let mapped = named(&["icebergCompatV2", "columnMapping"]);
    check_write(&mapped, &table(&iceberg, &[])).unwrap();
    let widened = |from: &str, to: &str| table(&iceberg, &[("delta.typeChanges", json!([{"fromType": from, "toType": to}]))]);
    check_write(&mapped, &widened("integer", "long")).unwrap();
    for (protocol, metadata, words) in [
        (mapped.clone(), widened("integer", "double"), ["icebergCompatV2", "delta.enableIcebergCompatV2", "list.element.inner"]),
        (named(&["icebergCompatV2"]), table(&iceberg, &[]), ["icebergCompatV2", "delta.enableIcebergCompatV2", "mode"]),
        (
            named(&["icebergCompatV1", "columnMapping"]),
            table(&[("delta.enableIcebergCompatV1", "true"), ("delta.columnMapping.mode", "id")], &[]),
            ["icebergCompatV1", "delta.enableIcebergCompatV1", "column `list`"],
        ),
        (
            named(&["catalogManaged", "inCommitTimestamp"]),
            table(&[("delta.enableInCommitTimestamps", "false")], &[]),
            ["catalogManaged", "the table feature", "delta.enableInCommitTimestamps"],
        ),
        (
            named(&["clustering", "domainMetadata"]),
            Metadata { partition_columns: vec!["day".into()], ..table(&[], &[]) },
            ["clustering", "the table feature", "day"],
        ),
    ] {
        let error = check_write(&protocol, &metadata).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    }
}

#[test]
fn variants_go_with_neither_iceberg_nor_generated_columns_at_any_depth() {
    let list = |metadata: &[(&str, serde_json::Value)]| {
        let mut field = StructField::nullable("v", DataType::Variant);
        field.metadata = metadata.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        let elements = ArrayType { element: DataType::Variant, contains_null: true };
        StructType::new([StructField::nullable("l", elements), StructField::nullable("s", StructType::new([field]))])
    };
    let metadata = |schema: &StructType, properties: &[(&str, &str)]| Metadata {
        schema_string: schema.to_json(),
        configuration: configuration(properties),
        ..Metadata::default()
    };
    let plain = list(&[]);
    assert_eq!(protocol_for(&plain, &BTreeMap::new()).unwrap().reader_features.unwrap(), ["variantType"]);
    check_write(&named(&["variantType"]), &metadata(&plain, &[])).unwrap();
    let iceberg = [("delta.enableIcebergCompatV2", "true"), ("delta.columnMapping.mode", "name")];
    let error =
        check_write(&named(&["variantType", "icebergCompatV2", "columnMapping"]), &metadata(&plain, &iceberg)).unwrap_err();
    assert!(error.to_string().contains("`l.element` of type variant"), "{error}");
    let generated = list(&[("delta.generationExpression", json!("parse_json('1')"))]);
    let error = check_write(&named(&["variantType", "generatedColumns"]), &metadata(&generated, &[])).unwrap_err();
    assert!(error.to_string().contains("generated column `s.v`"), "{error}");
}

#[test]
fn unknown_reader_features_stop_readers_and_unknown_writer_features_stop_writers() {
    let mut protocol = named(&["appendOnly"]);
    protocol.writer_features.as_mut().unwrap().push("collations".into());
    check_read(&protocol).unwrap();
    assert_eq!(refused(check_write(&protocol, &table(&[], &[]))).as_deref(), Some("collations"));
    protocol.reader_features.as_mut().unwrap().push("geospatial".into());
    assert_eq!(refused(check_read(&protocol)).as_deref(), Some("geospatial"));
}

#[test]
fn every_feature_of_the_table_is_judged_as_it_says() {
    for feature in FEATURES {
        let protocol = named(&[&[feature.name], feature.needs].concat());
        assert_eq!(check_read(&protocol).is_ok(), feature.read, "{}", feature.name);
        // The versions of a catalog hold their time.
        let write = check_write(&protocol, &table(&[("delta.enableInCommitTimestamps", "true")], &[])).is_ok();
        assert_eq!(write, feature.read && feature.write, "{}", feature.name);
        assert!(has(&protocol, feature.name));
    }
}

#[test]
fn versions_beyond_ours_and_missing_lists_are_refused() {
    assert!(matches!(check_read(&versions(4, 7)).unwrap_err(), ProtocolError::UnsupportedVersion { required: 4, known: 3, .. }));
    assert!(matches!(
        check_write(&versions(1, 8), &table(&[], &[])).unwrap_err(),
        ProtocolError::UnsupportedVersion { required: 8, .. }
    ));
    assert!(matches!(check_read(&versions(3, 7)).unwrap_err(), ProtocolError::InvalidProtocol { .. }));
    assert!(matches!(check_write(&versions(1, 7), &table(&[], &[])).unwrap_err(), ProtocolError::InvalidProtocol { .. }));
}

#[test]
fn append_only_tables_keep_their_rows() {
    let properties = |pairs: &[(&str, &str)]| TableProperties::parse(&configuration(pairs)).unwrap();
    let append_only = properties(&[("delta.appendOnly", "true")]);
    for (change, by_append_only) in [
        (RowChange::None, false),
        (RowChange::Rearrange, false),
        (RowChange::RemoveFiles, true),
        (RowChange::MarkRows, true),
        (RowChange::Rewrite, true),
    ] {
        assert_eq!(check_change(&versions(1, 2), &append_only, change).is_err(), by_append_only, "{change:?}");
        check_change(&versions(1, 1), &append_only, change).unwrap();
        check_change(&named(&[]), &append_only, change).unwrap();
    }
    assert_eq!(check_change(&versions(1, 2), &append_only, RowChange::Rewrite).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn changes_are_recorded_when_property_and_feature_say_so() {
    let feed = TableProperties::parse(&configuration(&[("delta.enableChangeDataFeed", "true")])).unwrap();
    assert!(records_changes(&versions(1, 4), &feed));
    assert!(!records_changes(&versions(1, 3), &feed));
    assert!(!records_changes(&versions(1, 4), &TableProperties::default()));
}

#[test]
fn column_mapping_counts_only_with_the_feature() {
    let properties = TableProperties::parse(&configuration(&[("delta.columnMapping.mode", "id")])).unwrap();
    for (protocol, mode) in [
        (versions(1, 2), ColumnMappingMode::None),
        (versions(2, 5), ColumnMappingMode::Id),
        (versions(1, 5), ColumnMappingMode::None),
        (named(&["columnMapping"]), ColumnMappingMode::Id),
        (named(&[]), ColumnMappingMode::None),
    ] {
        assert_eq!(column_mapping(&protocol, &properties), mode, "{protocol:?}");
    }
}

#[test]
fn a_new_table_gets_the_least_protocol_that_it_needs() {
    let plain = StructType::new([StructField::nullable("a", PrimitiveType::Long)]);
    let local =
        StructType::new([StructField::nullable("s", StructType::new([StructField::nullable("t", PrimitiveType::TimestampNtz)]))]);
    assert_eq!(protocol_for(&plain, &BTreeMap::new()).unwrap(), versions(1, 2));
    let protocol = protocol_for(&local, &BTreeMap::new()).unwrap();
    assert_eq!((protocol.min_reader_version, protocol.min_writer_version), (3, 7));
    assert_eq!(protocol.reader_features.as_deref(), Some(&["timestampNtz".to_owned()][..]));
    assert_eq!(protocol.writer_features.unwrap(), ["appendOnly", "invariants", "timestampNtz"]);

    let vectors = protocol_for(&plain, &configuration(&[("delta.enableDeletionVectors", "true")])).unwrap();
    assert_eq!(vectors.reader_features.unwrap(), ["deletionVectors"]);
    // A property that is false asks for nothing.
    assert_eq!(protocol_for(&plain, &configuration(&[("delta.enableDeletionVectors", "false")])).unwrap(), versions(1, 2));
    let feed = protocol_for(&plain, &configuration(&[("delta.feature.changeDataFeed", "supported")])).unwrap();
    assert_eq!((feed.min_reader_version, feed.reader_features), (1, None));
    assert_eq!(feed.writer_features.unwrap(), ["appendOnly", "changeDataFeed", "invariants"]);

    for properties in [[("delta.feature.teleportation", "supported")], [("delta.feature.nonsense", "supported")]] {
        let error = protocol_for(&plain, &configuration(&properties)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{properties:?}");
    }
    assert!(protocol_for(&plain, &configuration(&[("delta.feature.deletionVectors", "maybe")])).is_err());
}

#[test]
fn old_versions_are_used_where_they_suffice() {
    let feed = configuration(&[("delta.enableChangeDataFeed", "true")]);
    assert_eq!(protocol_for(&StructType::default(), &feed).unwrap(), versions(1, 4));
    assert_eq!(protocol_upgrade(&versions(1, 2), &StructType::default(), &feed).unwrap(), Some(versions(1, 4)));
    assert_eq!(protocol_upgrade(&versions(1, 4), &StructType::default(), &feed).unwrap(), None);
    // One feature without a version makes all of them a list.
    let both = configuration(&[("delta.enableChangeDataFeed", "true"), ("delta.checkpointPolicy", "v2")]);
    let protocol = protocol_for(&StructType::default(), &both).unwrap();
    assert_eq!(protocol.writer_features.unwrap(), ["appendOnly", "changeDataFeed", "invariants", "v2Checkpoint"]);
    assert_eq!(protocol.reader_features.unwrap(), ["v2Checkpoint"]);
}

#[test]
fn what_a_feature_needs_comes_along() {
    for feature in FEATURES.iter().filter(|f| f.read && f.write && !f.needs.is_empty()) {
        let key = format!("delta.feature.{}", feature.name);
        let protocol = protocol_for(&StructType::default(), &configuration(&[(&key, "supported")])).unwrap();
        assert!(feature.needs.iter().all(|need| has(&protocol, need)), "{}: {protocol:?}", feature.name);
    }
}

#[test]
fn an_early_name_counts_as_the_feature() {
    let widening = configuration(&[("delta.enableTypeWidening", "true")]);
    assert_eq!(protocol_upgrade(&named(&["typeWidening-preview"]), &StructType::default(), &widening).unwrap(), None);
    assert!(has(&named(&["timestampWithoutTimezone"]), "timestampNtz"));
    assert!(!has(&named(&["timestampNtz"]), "timestampWithoutTimezone"));
}

#[test]
fn a_feature_is_active_when_it_is_there_and_used() {
    let feed = table(&[("delta.enableChangeDataFeed", "TRUE")], &[]);
    assert!(is_active(&versions(1, 4), &feed, "changeDataFeed").unwrap());
    assert!(!is_active(&versions(1, 3), &feed, "changeDataFeed").unwrap());
    assert!(!is_active(&versions(1, 4), &table(&[], &[]), "changeDataFeed").unwrap());
    assert!(is_active(&versions(1, 2), &table(&[], &[("delta.invariants", json!("{}"))]), "invariants").unwrap());
    assert!(is_active(&named(&["domainMetadata"]), &table(&[], &[]), "domainMetadata").unwrap());
}

#[test]
fn an_upgrade_keeps_what_was_implied() {
    let local = StructType::new([StructField::nullable("t", PrimitiveType::TimestampNtz)]);
    let upgraded = protocol_upgrade(&versions(1, 3), &local, &BTreeMap::new()).unwrap().unwrap();
    assert_eq!(upgraded.reader_features.as_deref(), Some(&["timestampNtz".to_owned()][..]));
    assert_eq!(upgraded.writer_features.as_deref().unwrap(), ["appendOnly", "checkConstraints", "invariants", "timestampNtz"]);
    assert_eq!(protocol_upgrade(&upgraded, &local, &BTreeMap::new()).unwrap(), None);
    assert_eq!(protocol_upgrade(&versions(1, 2), &StructType::default(), &BTreeMap::new()).unwrap(), None);
    // A writer-only feature leaves readers alone.
    let domains = configuration(&[("delta.feature.domainMetadata", "supported")]);
    let upgraded = protocol_upgrade(&versions(1, 2), &StructType::default(), &domains).unwrap().unwrap();
    assert_eq!((upgraded.min_reader_version, upgraded.reader_features), (1, None));
    // Column mapping of the old kind becomes a named feature for both.
    let upgraded = protocol_upgrade(&versions(2, 5), &local, &BTreeMap::new()).unwrap().unwrap();
    assert!(has(&upgraded, "columnMapping") && upgraded.reader_features.unwrap().contains(&"columnMapping".to_owned()));
}

/// The page for users is made of the table of facts.
#[test]
fn the_feature_page_says_what_the_table_of_facts_says() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol-features.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (_, rest) = text.split_once("<!-- features -->\n").unwrap();
    let (found, _) = rest.split_once("<!-- end -->").unwrap();
    let expected = feature_table();
    assert!(found == expected, "docs/protocol-features.md is out of date; put this between its two marks:\n{expected}");
}
