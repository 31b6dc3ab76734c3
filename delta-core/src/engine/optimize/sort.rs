//! Rows in the order of a key, within a budget of memory.

use std::sync::Arc;

use boathouse_base::BatchStream;
use boathouse_frames::{StreamProvider, from_datafusion};
use datafusion::common::Column;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::engine::error::{Attempt, Result};

/// Room that a sort keeps for bringing together what it wrote to disk, at most.
const MERGE_BYTES: usize = 10 << 20;

/// Sorts the rows by a column, nulls first. Beyond `memory_bytes` they go to files in the system's folder for temporary ones.
///
/// Rows with the same key are in an order that depends on nothing but the rows and the budget.
pub(super) async fn sorted(
    rows: BatchStream,
    key: &str,
    memory_bytes: usize,
    attempt: &Attempt,
) -> Result<SendableRecordBatchStream> {
    let failed = |error: DataFusionError| attempt.rows(from_datafusion("sort the rows", error));
    let pool = Arc::new(GreedyMemoryPool::new(memory_bytes));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().map_err(failed)?;
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().execution.sort_spill_reservation_bytes = MERGE_BYTES.min(memory_bytes / 8);
    let session = SessionContext::new_with_config_rt(config, runtime);
    let frame = session.read_table(Arc::new(StreamProvider::new(rows))).map_err(failed)?;
    let by = Expr::Column(Column::from_name(key)).sort(true, true);
    frame.sort(vec![by]).map_err(failed)?.execute_stream().await.map_err(failed)
}
