//! Table properties.

use std::collections::BTreeMap;

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_protocol::properties::{CompressionCodec, IsolationLevel, TableProperties};
use boathouse_delta_protocol::schema::ColumnMappingMode;

fn parse(pairs: &[(&str, &str)]) -> Result<TableProperties, ProtocolError> {
    TableProperties::parse(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>())
}

#[test]
fn no_properties_give_the_defaults_of_the_reference_writer() {
    let properties = parse(&[("team", "harbour"), ("delta.unheardOf", "x")]).unwrap();
    assert_eq!(properties, TableProperties::default());
    assert_eq!((properties.checkpoint_interval, properties.data_skipping_num_indexed_cols), (10, Some(32)));
    assert_eq!(properties.deleted_file_retention_us, 7 * 86_400_000_000);
    assert_eq!(
        (properties.isolation_level, properties.compression_codec),
        (IsolationLevel::Serializable, CompressionCodec::Zstd)
    );
}

#[test]
fn properties_are_read() {
    let properties = parse(&[
        ("delta.appendOnly", "TRUE"),
        ("DELTA.CHECKPOINTINTERVAL", "3"),
        ("delta.logRetentionDuration", "interval 1 week 2 days"),
        ("delta.deletedFileRetentionDuration", "36 hours"),
        ("delta.setTransactionRetentionDuration", "interval '5' minutes"),
        ("delta.dataSkippingNumIndexedCols", "-1"),
        ("delta.dataSkippingStatsColumns", "a, b.c,`odd,name`"),
        ("delta.isolationLevel", "writeSerializable"),
        ("delta.columnMapping.mode", "name"),
        ("delta.parquet.compression.codec", "SNAPPY"),
        ("delta.targetFileSize", "128mb"),
    ])
    .unwrap();
    assert!(properties.append_only);
    assert_eq!(properties.checkpoint_interval, 3);
    assert_eq!(properties.log_retention_us, 9 * 86_400_000_000);
    assert_eq!(properties.deleted_file_retention_us, 36 * 3_600_000_000);
    assert_eq!(properties.transaction_retention_us, Some(300_000_000));
    assert_eq!(properties.data_skipping_num_indexed_cols, None);
    assert_eq!(properties.data_skipping_stats_columns.unwrap(), ["a", "b.c", "odd,name"]);
    assert_eq!(properties.isolation_level, IsolationLevel::WriteSerializable);
    assert_eq!(properties.column_mapping_mode, ColumnMappingMode::Name);
    assert_eq!(properties.compression_codec, CompressionCodec::Snappy);
    assert_eq!(properties.target_file_size_bytes, Some(128 << 20));
}

#[test]
fn bad_values_name_the_property() {
    for (key, value) in [
        ("delta.appendOnly", "yes"),
        ("delta.checkpointInterval", "0"),
        ("delta.checkpointInterval", "ten"),
        ("delta.logRetentionDuration", "30"),
        ("delta.logRetentionDuration", "interval 1 month"),
        ("delta.logRetentionDuration", "interval"),
        ("delta.logRetentionDuration", "interval -1 days"),
        ("delta.logRetentionDuration", "99999999999999 weeks"),
        ("delta.dataSkippingNumIndexedCols", "-2"),
        ("delta.dataSkippingStatsColumns", "a,,b"),
        ("delta.dataSkippingStatsColumns", "`a"),
        ("delta.isolationLevel", "SnapshotIsolation"),
        ("delta.columnMapping.mode", "position"),
        ("delta.parquet.compression.codec", "lzo"),
        ("delta.targetFileSize", "0"),
        ("delta.targetFileSize", "big"),
    ] {
        let error = parse(&[(key, value)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(key) && error.to_string().contains(value), "{error}");
    }
}
