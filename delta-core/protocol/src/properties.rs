//! Table properties: the settings that a table carries along.
//!
//! **Source**: Delta protocol, "Table Properties" and the properties of the reference implementation.

use std::collections::BTreeMap;

use crate::error::{ProtocolError, Result};
use crate::schema::ColumnMappingMode;

/// Microseconds of a day.
const DAY_US: u64 = 86_400_000_000;

/// How strictly two writers must look as if one came after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IsolationLevel {
    /// The table is as if all transactions ran in the order of their versions.
    #[default]
    Serializable,
    /// Writes are in order among themselves; rows that a blind append added meanwhile may be overlooked.
    WriteSerializable,
}

impl IsolationLevel {
    /// The name in table properties and commit info.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serializable => "Serializable",
            Self::WriteSerializable => "WriteSerializable",
        }
    }
}

/// How new data files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CompressionCodec {
    /// Not at all.
    Uncompressed,
    /// Fast, moderate.
    Snappy,
    /// Slow, for old readers.
    Gzip,
    /// LZ4 blocks (`lz4_raw`; the old `lz4` framing is written as this too).
    Lz4Raw,
    /// The default.
    #[default]
    Zstd,
}

/// Which checkpoints writers make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CheckpointPolicy {
    /// One file that every reader knows.
    #[default]
    Classic,
    /// The V2 form, on tables with the feature `v2Checkpoint`.
    V2,
}

/// The properties of a table, parsed. Those that are not here are kept, but mean nothing to this build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableProperties {
    /// `delta.appendOnly`: rows never leave.
    pub append_only: bool,
    /// `delta.checkpointInterval`: a checkpoint every so many commits.
    pub checkpoint_interval: u64,
    /// `delta.logRetentionDuration`: how long commits are kept, in microseconds.
    pub log_retention_us: u64,
    /// `delta.deletedFileRetentionDuration`: how long removed files are kept, in microseconds.
    pub deleted_file_retention_us: u64,
    /// `delta.enableExpiredLogCleanup`: whether writers clean the log.
    pub enable_expired_log_cleanup: bool,
    /// `delta.dataSkippingNumIndexedCols`: statistics for so many leading leaf columns. `None`: for all.
    pub data_skipping_num_indexed_cols: Option<usize>,
    /// `delta.dataSkippingStatsColumns`: statistics for these columns instead, by dotted path.
    pub data_skipping_stats_columns: Option<Vec<String>>,
    /// `delta.isolationLevel`.
    pub isolation_level: IsolationLevel,
    /// `delta.columnMapping.mode`; see [`features::column_mapping`](crate::features::column_mapping) for when it counts.
    pub column_mapping_mode: ColumnMappingMode,
    /// `delta.parquet.compression.codec`.
    pub compression_codec: CompressionCodec,
    /// `delta.checkpointPolicy`.
    pub checkpoint_policy: CheckpointPolicy,
    /// `delta.checkpoint.writeStatsAsJson`.
    pub checkpoint_write_stats_as_json: bool,
    /// `delta.checkpoint.writeStatsAsStruct`.
    pub checkpoint_write_stats_as_struct: bool,
    /// `delta.enableChangeDataFeed`.
    pub enable_change_data_feed: bool,
    /// `delta.enableDeletionVectors`.
    pub enable_deletion_vectors: bool,
    /// `delta.enableInCommitTimestamps`.
    pub enable_in_commit_timestamps: bool,
    /// `delta.enableRowTracking`.
    pub enable_row_tracking: bool,
    /// `delta.autoOptimize.autoCompact`, or the older `delta.autoOptimize`: whether writers put small files together.
    pub auto_compact: bool,
    /// `delta.autoOptimize.optimizeWrite`: whether writers gather the rows of a partition before they write them. `None`: as they think
    /// best.
    pub optimize_write: Option<bool>,
    /// `delta.targetFileSize`, in bytes.
    pub target_file_size_bytes: Option<u64>,
    /// `delta.setTransactionRetentionDuration`, in microseconds: how long `txn` actions are kept.
    pub transaction_retention_us: Option<u64>,
    /// `delta.columnMapping.maxColumnId`: the highest column id that was ever given.
    pub column_mapping_max_column_id: Option<i64>,
    /// `delta.enableTypeWidening`: whether types of columns may become wider.
    pub enable_type_widening: bool,
    /// `delta.enableIcebergCompatV1`.
    pub enable_iceberg_compat_v1: bool,
    /// `delta.enableIcebergCompatV2`.
    pub enable_iceberg_compat_v2: bool,
    /// `delta.rowTrackingSuspended`: writers give rows no ids.
    pub row_tracking_suspended: bool,
    /// `delta.rowTracking.materializedRowIdColumnName`.
    pub materialized_row_id_column: Option<String>,
    /// `delta.rowTracking.materializedRowCommitVersionColumnName`.
    pub materialized_row_commit_version_column: Option<String>,
    /// `delta.inCommitTimestampEnablementVersion`: the first version with a time in it, when earlier ones have none.
    pub in_commit_timestamp_enablement_version: Option<u64>,
    /// `delta.inCommitTimestampEnablementTimestamp`: the time of that version, in milliseconds since the Unix epoch.
    pub in_commit_timestamp_enablement_ms: Option<i64>,
}

impl Default for TableProperties {
    fn default() -> Self {
        Self {
            append_only: false,
            checkpoint_interval: 10,
            log_retention_us: 30 * DAY_US,
            deleted_file_retention_us: 7 * DAY_US,
            enable_expired_log_cleanup: true,
            data_skipping_num_indexed_cols: Some(32),
            data_skipping_stats_columns: None,
            isolation_level: IsolationLevel::Serializable,
            column_mapping_mode: ColumnMappingMode::None,
            compression_codec: CompressionCodec::Zstd,
            checkpoint_policy: CheckpointPolicy::Classic,
            checkpoint_write_stats_as_json: true,
            checkpoint_write_stats_as_struct: false,
            enable_change_data_feed: false,
            enable_deletion_vectors: false,
            enable_in_commit_timestamps: false,
            enable_row_tracking: false,
            auto_compact: false,
            optimize_write: None,
            target_file_size_bytes: None,
            transaction_retention_us: None,
            column_mapping_max_column_id: None,
            enable_type_widening: false,
            enable_iceberg_compat_v1: false,
            enable_iceberg_compat_v2: false,
            row_tracking_suspended: false,
            materialized_row_id_column: None,
            materialized_row_commit_version_column: None,
            in_commit_timestamp_enablement_version: None,
            in_commit_timestamp_enablement_ms: None,
        }
    }
}

impl TableProperties {
    /// Reads `metaData.configuration`. Keys are compared without regard to letter case.
    ///
    /// **Errors**: `Invalid` names the property, its value and what would be right.
    pub fn parse(configuration: &BTreeMap<String, String>) -> Result<Self> {
        let mut properties = Self::default();
        for (key, value) in configuration {
            let invalid = |expected| ProtocolError::InvalidProperty { key: key.clone(), value: value.clone(), expected };
            let text = value.trim();
            let boolean = || match text.to_ascii_lowercase().as_str() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(invalid("true or false")),
            };
            let duration = || interval_us(text).ok_or_else(|| invalid("an interval such as `interval 7 days`"));
            match key.to_ascii_lowercase().as_str() {
                // The bare name is from before Delta 0.1 and still stands in old tables.
                "delta.appendonly" | "appendonly" => properties.append_only = boolean()?,
                "delta.checkpointinterval" => {
                    properties.checkpoint_interval =
                        text.parse().ok().filter(|n| *n > 0).ok_or_else(|| invalid("a whole number above 0"))?;
                }
                "delta.logretentionduration" => properties.log_retention_us = duration()?,
                "delta.deletedfileretentionduration" => properties.deleted_file_retention_us = duration()?,
                "delta.settransactionretentionduration" => properties.transaction_retention_us = Some(duration()?),
                "delta.enableexpiredlogcleanup" => properties.enable_expired_log_cleanup = boolean()?,
                "delta.dataskippingnumindexedcols" => {
                    properties.data_skipping_num_indexed_cols = match text.parse::<i64>() {
                        Ok(-1) => None,
                        Ok(n) => Some(usize::try_from(n).map_err(|_| invalid("-1 or a whole number from 0"))?),
                        Err(_) => return Err(invalid("-1 or a whole number from 0")),
                    }
                }
                "delta.dataskippingstatscolumns" => {
                    properties.data_skipping_stats_columns =
                        Some(column_list(value).ok_or_else(|| invalid("column names with commas between, dotted when nested"))?);
                }
                "delta.isolationlevel" => {
                    properties.isolation_level = match text.to_ascii_lowercase().as_str() {
                        "serializable" => IsolationLevel::Serializable,
                        "writeserializable" => IsolationLevel::WriteSerializable,
                        _ => return Err(invalid("Serializable or WriteSerializable")),
                    }
                }
                "delta.columnmapping.mode" => {
                    properties.column_mapping_mode = match text.to_ascii_lowercase().as_str() {
                        "none" => ColumnMappingMode::None,
                        "id" => ColumnMappingMode::Id,
                        "name" => ColumnMappingMode::Name,
                        _ => return Err(invalid("none, id or name")),
                    }
                }
                "delta.parquet.compression.codec" => {
                    properties.compression_codec = match text.to_ascii_lowercase().as_str() {
                        "uncompressed" | "none" => CompressionCodec::Uncompressed,
                        "snappy" => CompressionCodec::Snappy,
                        "gzip" => CompressionCodec::Gzip,
                        "lz4" | "lz4_raw" => CompressionCodec::Lz4Raw,
                        "zstd" => CompressionCodec::Zstd,
                        _ => return Err(invalid("uncompressed, snappy, gzip, lz4_raw or zstd")),
                    }
                }
                "delta.checkpointpolicy" => {
                    properties.checkpoint_policy = match text.to_ascii_lowercase().as_str() {
                        "classic" => CheckpointPolicy::Classic,
                        "v2" => CheckpointPolicy::V2,
                        _ => return Err(invalid("classic or v2")),
                    }
                }
                "delta.checkpoint.writestatsasjson" => properties.checkpoint_write_stats_as_json = boolean()?,
                "delta.checkpoint.writestatsasstruct" => properties.checkpoint_write_stats_as_struct = boolean()?,
                "delta.enablechangedatafeed" => properties.enable_change_data_feed = boolean()?,
                "delta.enabledeletionvectors" => properties.enable_deletion_vectors = boolean()?,
                "delta.enableincommittimestamps" => properties.enable_in_commit_timestamps = boolean()?,
                "delta.enablerowtracking" => properties.enable_row_tracking = boolean()?,
                "delta.autooptimize.autocompact" | "delta.autooptimize" => properties.auto_compact |= boolean()?,
                "delta.autooptimize.optimizewrite" => properties.optimize_write = Some(boolean()?),
                "delta.targetfilesize" => {
                    properties.target_file_size_bytes =
                        Some(bytes(text).ok_or_else(|| invalid("bytes, such as 134217728 or 128mb"))?);
                }
                "delta.columnmapping.maxcolumnid" => {
                    let id = text.parse::<i64>().ok().filter(|id| *id >= 0);
                    properties.column_mapping_max_column_id = Some(id.ok_or_else(|| invalid("a whole number from 0"))?);
                }
                "delta.enabletypewidening" => properties.enable_type_widening = boolean()?,
                "delta.enableicebergcompatv1" => properties.enable_iceberg_compat_v1 = boolean()?,
                "delta.enableicebergcompatv2" => properties.enable_iceberg_compat_v2 = boolean()?,
                "delta.rowtrackingsuspended" => properties.row_tracking_suspended = boolean()?,
                "delta.rowtracking.materializedrowidcolumnname" => {
                    properties.materialized_row_id_column = Some(value.clone());
                }
                "delta.rowtracking.materializedrowcommitversioncolumnname" => {
                    properties.materialized_row_commit_version_column = Some(value.clone());
                }
                "delta.incommittimestampenablementversion" => {
                    properties.in_commit_timestamp_enablement_version =
                        Some(text.parse().map_err(|_| invalid("a version: a whole number from 0"))?);
                }
                "delta.incommittimestampenablementtimestamp" => {
                    properties.in_commit_timestamp_enablement_ms =
                        Some(text.parse().map_err(|_| invalid("milliseconds since the Unix epoch"))?);
                }
                _ => {}
            }
        }
        Ok(properties)
    }
}

/// Spark's intervals without months and years: `interval 1 week 2 days`, `7 days`, `36 hours`.
fn interval_us(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let mut words = text.split_whitespace().peekable();
    words.next_if_eq(&"interval");
    words.peek()?;
    let mut total: u64 = 0;
    while let Some(count) = words.next() {
        // `interval '7' days` is SQL too.
        let count: u64 = count.trim_matches('\'').parse().ok()?;
        let unit = words.next()?;
        let unit_us = match unit.strip_suffix('s').unwrap_or(unit) {
            "week" => 7 * DAY_US,
            "day" => DAY_US,
            "hour" => 3_600_000_000,
            "minute" => 60_000_000,
            "second" => 1_000_000,
            "millisecond" => 1_000,
            "microsecond" => 1,
            _ => return None,
        };
        total = total.checked_add(count.checked_mul(unit_us)?)?;
    }
    Some(total)
}

/// Names with commas between; back-ticks protect commas and dots, a doubled back-tick is one.
fn column_list(text: &str) -> Option<Vec<String>> {
    let (mut columns, mut column, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '`' if quoted && letters.next_if_eq(&'`').is_some() => column.push('`'),
            '`' => quoted = !quoted,
            ',' if !quoted => columns.push(std::mem::take(&mut column).trim().to_owned()),
            _ => column.push(letter),
        }
    }
    if quoted {
        return None;
    }
    columns.push(column.trim().to_owned());
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    columns.iter().all(|c| !c.is_empty()).then_some(columns)
}

fn bytes(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].trim() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor).filter(|b| *b > 0)
}

/// Whether a property that a user sets comes to anything. Tables that have it from elsewhere are read and written all the same.
///
/// Hints for where and how files are laid out (`delta.randomizeFilePrefixes`, `delta.checkpoint.partSize`, …) are kept and need not be
/// followed.
///
/// **Errors**: `Unsupported` says what would help; `Invalid` for a version of the protocol that does not exist.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::properties::check_effect;
///
/// assert!(check_effect("delta.universalFormat.enabledFormats", "iceberg").is_err());
/// assert!(check_effect("delta.minReaderVersion", "9").is_err());
/// check_effect("delta.minReaderVersion", "3")?;
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
pub fn check_effect(key: &str, value: &str) -> Result<()> {
    let without = |instead| Err(ProtocolError::PropertyWithoutEffect { key: key.to_owned(), value: value.to_owned(), instead });
    let within = |most: u32, expected| match value.trim().parse::<u32>() {
        Ok(version) if (1..=most).contains(&version) => Ok(()),
        _ => Err(ProtocolError::InvalidProperty { key: key.to_owned(), value: value.to_owned(), expected }),
    };
    let is_on = value.trim().eq_ignore_ascii_case("true");
    match key.to_ascii_lowercase().as_str() {
        "delta.universalformat.enabledformats" if !value.trim().is_empty() => {
            without("no metadata of other formats is written; leave it out")
        }
        "delta.compatibility.symlinkformatmanifest.enabled" if is_on => {
            without("write the manifest after changes, with GENERATE symlink_format_manifest FOR TABLE")
        }
        "delta.enablefullretentionrollback" if is_on => {
            without("set `delta.logRetentionDuration` and `delta.deletedFileRetentionDuration` to the same interval")
        }
        "delta.minreaderversion" => within(3, "a version of the protocol, from 1 to 3"),
        "delta.minwriterversion" => within(7, "a version of the protocol, from 1 to 7"),
        _ => Ok(()),
    }
}
