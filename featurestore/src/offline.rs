//! DataFusion frames as labels, and training sets as frames.

use std::sync::Arc;

use boathouse_base::Error;
use datafusion::catalog::MemTable;
use datafusion::prelude::{DataFrame, SessionContext};

use crate::error::{Attempt, Result};
use crate::training_set::{Labels, TrainingSet};

impl From<DataFrame> for Labels {
    fn from(frame: DataFrame) -> Self {
        Self::Frame(Box::new(frame))
    }
}

impl TrainingSet {
    /// The rows as a frame of `context`, for further queries.
    ///
    /// **Cost**: none; the frame reads the rows where they are.
    pub fn into_frame(self, context: &SessionContext) -> Result<DataFrame> {
        let attempt = "open a training set as a frame";
        let failed = |error| -> Error { boathouse_frames::from_datafusion(attempt, error) };
        let (schema, batches) = (self.schema(), self.batches().to_vec());
        let table = MemTable::try_new(schema, vec![batches]).map_err(failed).attempt(|| attempt.to_owned())?;
        context.read_table(Arc::new(table)).map_err(failed).attempt(|| attempt.to_owned())
    }
}
