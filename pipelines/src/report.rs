//! What an update did.

use std::fmt;

use crate::error::PipelineError;
use crate::expectation::ExpectationCount;

/// How an update ended for one dataset.
#[derive(Debug)]
pub enum DatasetStatus {
    /// It was computed and written.
    Completed,
    /// Nothing that it reads has changed since it was last computed.
    UpToDate,
    /// It is not stored.
    View,
    /// It was not computed because this dataset, which it reads, failed.
    SkippedAfter(String),
    /// It was not part of the selection.
    Excluded,
    /// It failed; nothing of this update was written to it.
    Failed(PipelineError),
}

impl DatasetStatus {
    /// The status in the words of the event log.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Completed => "COMPLETED",
            Self::UpToDate => "UP_TO_DATE",
            Self::View => "VIEW",
            Self::SkippedAfter(_) => "SKIPPED",
            Self::Excluded => "EXCLUDED",
            Self::Failed(_) => "FAILED",
        }
    }
}

/// One dataset in an update.
#[derive(Debug)]
pub struct DatasetReport {
    /// The dataset.
    pub name: String,
    /// How it ended.
    pub status: DatasetStatus,
    /// Rows written.
    pub rows: u64,
    /// Rows left out by expectations.
    pub dropped_rows: u64,
    /// Rows that came after the watermark had closed their window.
    pub late_rows: u64,
    /// The version of the table after the update, where it has one.
    pub version: Option<u64>,
    /// Counts of its expectations, when it was computed.
    pub expectations: Vec<ExpectationCount>,
    /// Wall time, in microseconds.
    pub duration_us: u64,
}

/// An update of a pipeline.
#[derive(Debug)]
pub struct UpdateReport {
    /// The pipeline.
    pub pipeline: String,
    /// The id of the update, as in the event log.
    pub update_id: String,
    /// Datasets in the order in which they were computed.
    pub datasets: Vec<DatasetReport>,
}

impl UpdateReport {
    /// The report of one dataset.
    pub fn dataset(&self, name: &str) -> Option<&DatasetReport> {
        self.datasets.iter().find(|dataset| dataset.name == name)
    }

    /// Whether no dataset failed.
    pub fn succeeded(&self) -> bool {
        !self.datasets.iter().any(|dataset| matches!(dataset.status, DatasetStatus::Failed(_)))
    }

    /// The report if no dataset failed, or the first failure.
    ///
    /// **Errors**: that of the first dataset that failed.
    pub fn into_result(mut self) -> Result<Self, PipelineError> {
        match self.datasets.iter().position(|dataset| matches!(dataset.status, DatasetStatus::Failed(_))) {
            None => Ok(self),
            Some(at) => match self.datasets.swap_remove(at).status {
                DatasetStatus::Failed(error) => Err(error),
                _ => Ok(self),
            },
        }
    }
}

impl fmt::Display for UpdateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (update {})", self.pipeline, self.update_id)?;
        for dataset in &self.datasets {
            writeln!(
                f,
                "  {:<24} {:<10} {:>10} rows  {:>8} ms",
                dataset.name,
                dataset.status.as_str(),
                dataset.rows,
                dataset.duration_us / 1000
            )?;
            for count in &dataset.expectations {
                writeln!(
                    f,
                    "    expect {:<24} {:<4} passed {:>10}  failed {:>8}",
                    count.name,
                    count.on_violation.as_str(),
                    count.passed,
                    count.failed
                )?;
            }
        }
        Ok(())
    }
}
