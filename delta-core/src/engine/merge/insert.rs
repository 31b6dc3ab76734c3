//! Adding the source rows that match nothing.

use boathouse_delta_table::Snapshot;
use datafusion::arrow::array::{BooleanArray, RecordBatch, new_null_array};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::{filter_record_batch, not};

use super::plan::Plan;
use super::report::Counts;
use super::source::SourceRows;
use crate::engine::error::{Attempt, Result};
use crate::engine::output::Output;
use crate::engine::update::checked;

/// Writes the source rows that match nothing and that some clause wants.
pub(crate) async fn write(
    snapshot: &Snapshot,
    plan: &Plan,
    source: &SourceRows,
    matched: &BooleanBuffer,
    output: &mut Output,
    counts: &mut Counts,
    attempt: &Attempt,
) -> Result<()> {
    if plan.inserts.is_empty() {
        return Ok(());
    }
    let mut start = 0;
    for batch in source.batches(attempt)? {
        let batch = batch?;
        let free = BooleanArray::new(!&matched.slice(start, batch.num_rows()), None);
        start += batch.num_rows();
        let mut left = keep(&batch, &free, attempt)?;
        for clause in &plan.inserts {
            if left.num_rows() == 0 {
                break;
            }
            let wanted = match &clause.condition {
                Some(condition) => condition.is_true(&left, attempt)?,
                None => BooleanArray::from(vec![true; left.num_rows()]),
            };
            let rows = keep(&left, &wanted, attempt)?;
            left = keep(&left, &not(&wanted).map_err(|source| attempt.compute(source))?, attempt)?;
            if rows.num_rows() == 0 {
                continue;
            }
            let nothing = |at: usize| new_null_array(plan.table.field(at).data_type(), rows.num_rows());
            let columns = clause.values.columns(&rows, attempt, nothing)?;
            counts.inserted += rows.num_rows() as u64;
            // What no clause sets is missing, not null: the writer knows what the table fills in.
            let given = checked(snapshot, columns, attempt)?.project(&clause.values.places());
            output.insert(&given.map_err(|source| attempt.compute(source))?).await?;
        }
    }
    Ok(())
}

fn keep(batch: &RecordBatch, rows: &BooleanArray, attempt: &Attempt) -> Result<RecordBatch> {
    if rows.true_count() == rows.len() {
        return Ok(batch.clone());
    }
    filter_record_batch(batch, rows).map_err(|source| attempt.compute(source))
}
