//! The columns that a model takes and gives: enforced on batches, and written as MLflow writes them.

mod enforce;
mod mlflow;

pub use enforce::{Enforced, enforce};
pub use mlflow::{schema_from_mlflow, schema_to_mlflow};
