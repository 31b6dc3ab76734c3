//! Scoring batches, streams and tables, with the code path of HTTP.

mod stream;
mod table;

pub use table::{MODEL_NAME_COLUMN, MODEL_VERSION_COLUMN, ScoreReport, ScoreTable};
