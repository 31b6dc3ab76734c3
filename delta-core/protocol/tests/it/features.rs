//! What can be read and written.

use std::collections::BTreeMap;

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_protocol::action::{Metadata, Protocol};
use boathouse_delta_protocol::features::{
    FEATURES, FeatureKind, RowChange, check_change, check_read, check_write, column_mapping, has, protocol_for, protocol_upgrade,
};
use boathouse_delta_protocol::properties::TableProperties;
use boathouse_delta_protocol::schema::{ArrayType, ColumnMappingMode, PrimitiveType, StructField, StructType};
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
fn old_versions_can_be_written_while_nothing_uses_what_they_imply() {
    for writer in 1..=6 {
        check_write(&versions(2, writer), &table(&[], &[])).unwrap();
    }
    // What is used counts from the version that brought it.
    for (first, feature, metadata) in [
        (2, "invariants", table(&[], &[("delta.invariants", json!("{}"))])),
        (3, "checkConstraints", table(&[("delta.constraints.x", "a > 1")], &[])),
        (4, "generatedColumns", table(&[], &[("delta.generationExpression", json!("1"))])),
        (5, "columnMapping", table(&[("delta.columnMapping.mode", "name")], &[])),
        (6, "identityColumns", table(&[], &[("delta.identity.start", json!(1))])),
    ] {
        for writer in 1..=6 {
            let found = refused(check_write(&versions(2, writer), &metadata));
            assert_eq!(found.as_deref(), (writer >= first).then_some(feature), "writer version {writer}");
        }
        assert_eq!(refused(check_write(&named(&[feature]), &metadata)).as_deref(), Some(feature));
        check_write(&named(&[feature]), &table(&[], &[])).unwrap();
    }
}

#[test]
fn the_error_names_what_uses_the_feature() {
    let error = check_write(&versions(1, 2), &table(&[], &[("delta.invariants", json!("{}"))])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "write to the table: it needs the table feature `invariants`, which this version cannot write: column `list.element.inner` uses it"
    );
    assert_eq!(error.kind(), ErrorKind::Unsupported);
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
    use boathouse_delta_protocol::features::WriteSupport;
    for feature in FEATURES {
        let protocol = named(&[feature.name]);
        assert_eq!(check_read(&protocol).is_ok(), feature.read, "{}", feature.name);
        let write = check_write(&protocol, &table(&[], &[])).is_ok();
        assert_eq!(write, feature.read && feature.write != WriteSupport::No, "{}", feature.name);
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
fn append_only_tables_and_change_feeds_limit_what_may_change() {
    let properties = |pairs: &[(&str, &str)]| TableProperties::parse(&configuration(pairs)).unwrap();
    let append_only = properties(&[("delta.appendOnly", "true")]);
    let feed = properties(&[("delta.enableChangeDataFeed", "true")]);
    for (change, by_append_only, by_feed) in [
        (RowChange::None, false, false),
        (RowChange::Rearrange, false, false),
        (RowChange::RemoveFiles, true, false),
        (RowChange::Rewrite, true, true),
    ] {
        assert_eq!(check_change(&versions(1, 2), &append_only, change).is_err(), by_append_only, "{change:?}");
        check_change(&versions(1, 1), &append_only, change).unwrap();
        check_change(&named(&[]), &append_only, change).unwrap();
        assert_eq!(check_change(&versions(1, 4), &feed, change).is_err(), by_feed, "{change:?}");
        check_change(&versions(1, 3), &feed, change).unwrap();
    }
    assert_eq!(check_change(&versions(1, 2), &append_only, RowChange::Rewrite).unwrap_err().kind(), ErrorKind::Invalid);
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
    let feed = protocol_for(&plain, &configuration(&[("delta.feature.changeDataFeed", "supported")])).unwrap();
    assert_eq!((feed.min_reader_version, feed.reader_features), (1, None));
    assert_eq!(feed.writer_features.unwrap(), ["appendOnly", "changeDataFeed", "invariants"]);

    for properties in [
        [("delta.enableRowTracking", "true")],
        [("delta.columnMapping.mode", "name")],
        [("delta.feature.variantType", "supported")],
        [("delta.feature.nonsense", "supported")],
    ] {
        let error = protocol_for(&plain, &configuration(&properties)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{properties:?}");
    }
    assert!(protocol_for(&plain, &configuration(&[("delta.feature.deletionVectors", "maybe")])).is_err());
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
    let feed = configuration(&[("delta.enableChangeDataFeed", "true")]);
    let upgraded = protocol_upgrade(&versions(1, 2), &StructType::default(), &feed).unwrap().unwrap();
    assert_eq!((upgraded.min_reader_version, upgraded.reader_features), (1, None));
    // Column mapping of the old kind becomes a named feature for both.
    let upgraded = protocol_upgrade(&versions(2, 5), &local, &BTreeMap::new()).unwrap().unwrap();
    assert!(has(&upgraded, "columnMapping") && upgraded.reader_features.unwrap().contains(&"columnMapping".to_owned()));
}
