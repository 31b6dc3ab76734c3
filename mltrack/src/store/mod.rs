//! Reading and writing the tables.

mod experiments;
mod inputs;
mod logging;
mod metrics;
mod run_data;
mod runs;

/// Values of one `INSERT` or one `IN` list: far below what both databases can bind.
const CHUNK: usize = 500;

/// Ids are numbers in the tables and texts everywhere else.
fn experiment_number(experiment_id: &str) -> crate::Result<i64> {
    experiment_id.parse().map_err(|_| crate::Error::NoExperiment { experiment_id: experiment_id.to_owned() })
}
