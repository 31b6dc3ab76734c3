//! Columns that a table cannot be clustered by.

/// Why a table cannot be clustered by some columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusteringProblem {
    /// Clustering is instead of partitions.
    #[error("it is partitioned by {columns}, and a clustered table has no partitions; leave one of them out")]
    Partitioned {
        /// The partition columns.
        columns: String,
    },
    /// Similar values cannot be kept together.
    #[error("column `{column}` is of type {found}, of which values have no order; name another, or a part of it")]
    NoOrder {
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// A column is named twice.
    #[error("column `{column}` is named twice; name it once")]
    Twice {
        /// The column.
        column: String,
    },
    /// The protocol wants statistics of each file that is there.
    #[error(
        "the file {file} has no statistics of column `{column}`; name the column in `delta.dataSkippingStatsColumns`, and write the file again"
    )]
    NoStatistics {
        /// The column.
        column: String,
        /// The file.
        file: String,
    },
}
