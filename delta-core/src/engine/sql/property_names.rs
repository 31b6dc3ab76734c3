//! Names of table properties: a slip of the pen would be a property that nobody ever reads.

use datafusion::common::utils::datafusion_strsim::levenshtein;

/// Properties of Delta, as its documentation spells them.
const NAMES: [&str; 41] = [
    "delta.appendOnly",
    "delta.autoOptimize.autoCompact",
    "delta.autoOptimize.optimizeWrite",
    "delta.checkpoint.partSize",
    "delta.checkpoint.writeStatsAsJson",
    "delta.checkpoint.writeStatsAsStruct",
    "delta.checkpointInterval",
    "delta.checkpointPolicy",
    "delta.checkpointRetentionDuration",
    "delta.columnMapping.maxColumnId",
    "delta.columnMapping.mode",
    "delta.compatibility.symlinkFormatManifest.enabled",
    "delta.dataSkippingNumIndexedCols",
    "delta.dataSkippingStatsColumns",
    "delta.deletedFileRetentionDuration",
    "delta.enableChangeDataFeed",
    "delta.enableDeletionVectors",
    "delta.enableExpiredLogCleanup",
    "delta.enableFullRetentionRollback",
    "delta.enableIcebergCompatV1",
    "delta.enableIcebergCompatV2",
    "delta.enableInCommitTimestamps",
    "delta.enableRowTracking",
    "delta.enableTypeWidening",
    "delta.enableVariantShredding",
    "delta.inCommitTimestampEnablementTimestamp",
    "delta.inCommitTimestampEnablementVersion",
    "delta.isolationLevel",
    "delta.logRetentionDuration",
    "delta.minReaderVersion",
    "delta.minWriterVersion",
    "delta.parquet.compression.codec",
    "delta.randomizeFilePrefixes",
    "delta.randomPrefixLength",
    "delta.requireCheckpointProtectionBeforeVersion",
    "delta.rowTracking.materializedRowCommitVersionColumnName",
    "delta.rowTracking.materializedRowIdColumnName",
    "delta.sampleRetentionDuration",
    "delta.setTransactionRetentionDuration",
    "delta.targetFileSize",
    "delta.tuneFileSizesForRewrites",
];

/// The property that was meant by one that is not known and nearly one that is. Others may be of a later Delta.
pub(crate) fn meant(key: &str) -> Option<&'static str> {
    let key = key.to_lowercase();
    if !key.starts_with("delta.") || key.starts_with("delta.feature.") || key.starts_with("delta.constraints.") {
        return None;
    }
    let near = NAMES.iter().map(|name| (levenshtein(&key, &name.to_lowercase()), *name)).min()?;
    (1..=3).contains(&near.0).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_noticed_and_a_name_of_its_own_is_not() {
        assert_eq!(meant("delta.enableDeletionVector"), Some("delta.enableDeletionVectors"));
        assert_eq!(meant("DELTA.APPENDONLY"), None);
        assert_eq!(meant("delta.enableTypeWiden"), Some("delta.enableTypeWidening"));
        assert_eq!(meant("delta.universalFormat.enabledFormats"), None);
        assert_eq!(meant("owner"), None);
    }
}
