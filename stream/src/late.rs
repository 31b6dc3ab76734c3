//! Rows that came too late, as a table of their own.
//!
//! # Why none is lost or doubled
//! ```text
//!   rows dropped by operators ─▶ late/….arrow ─▶ sink.commit(rows + position) ─▶ late sink.commit(the file, by epoch)
//!                                                 │ names the file
//!                                                 the only step that decides
//! ```
//! If the late sink came first, an epoch that is computed anew after a crash may read more, drop more, and find its number taken. If it
//! came second from memory, a crash between the two would lose the rows. So the rows are written to the checkpoint before the commit, as
//! state is, and the commit names their file. Then they are given to the late sink, by the number of their epoch: a second time changes
//! nothing. A query that is opened, or goes on after an error, first gives what the last position names and the late sink does not
//! hold. The file is deleted after the commit of an epoch that no longer names it.
//!
//! A query that is opened without its late sink carries the names on, for a later run that has it.

use std::collections::BTreeSet;
use std::sync::Arc;

use boathouse_base::{BatchStream, EpochCommit, OutputMode};
use datafusion::arrow::array::{
    Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::LineDelimited;

use crate::checkpoint::json;
use crate::error::StreamError;
use crate::graph::AllDone;
use crate::operators::arrow;
use crate::place::Place;
use crate::position::{LateFile, Position};
use crate::running::RunningQuery;

/// Begins the name of a column that an operator gets for its late rows alone; the number of the column and its name come after it.
const CARRIED: &str = "__late:";

/// Rows that came too late to an operator.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LateRows {
    pub(crate) rows: RecordBatch,
    /// When each was over.
    pub(crate) over_us: Int64Array,
}

/// The name by which an operator gets a column for its late rows.
pub(crate) fn carried(number: usize, name: &str) -> String {
    format!("{CARRIED}{number}:{name}")
}

/// The late rows of an epoch as a table. `None`: there are none.
///
/// **Shape**: `query`, `epoch`, `operator`, `watermark`, `over_at`, and `row` as JSON: operators of one query see rows of different columns.
fn table(query: &str, epoch: u64, late_us: Option<i64>, all: &AllDone) -> Result<Option<RecordBatch>, ArrowError> {
    let mut batches = Vec::new();
    for (operator, _, done) in all {
        for late in &done.late_rows {
            let count = late.rows.num_rows();
            let utc = |times: TimestampMicrosecondArray| Arc::new(times.with_timezone("UTC")) as ArrayRef;
            let over_at = TimestampMicrosecondArray::new(late.over_us.values().clone(), late.over_us.nulls().cloned());
            batches.push(RecordBatch::try_from_iter_with_nullable([
                ("query", texts(count, query), false),
                ("epoch", Arc::new(Int64Array::from_value(i64::try_from(epoch).unwrap_or(i64::MAX), count)), false),
                ("operator", texts(count, operator), false),
                ("watermark", utc(TimestampMicrosecondArray::from(vec![late_us; count])), true),
                ("over_at", utc(over_at), true),
                ("row", Arc::new(StringArray::from(lines(&late.rows)?)), false),
            ])?);
        }
    }
    batches.first().map(|first| concat_batches(&first.schema(), &batches)).transpose()
}

fn texts(count: usize, text: &str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, count)))
}

/// Rows as JSON, one text each.
fn lines(rows: &RecordBatch) -> Result<Vec<String>, ArrowError> {
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut bytes);
    writer.write(&shown(rows)?)?;
    writer.finish()?;
    let text = String::from_utf8(bytes).map_err(|error| ArrowError::JsonError(error.to_string()))?;
    Ok(text.lines().map(ToOwned::to_owned).collect())
}

/// The columns that a reader knows: those that were carried for this, if there are any; each by a name of its own.
fn shown(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = rows.schema();
    let is_carried = schema.fields().iter().any(|field| field.name().starts_with(CARRIED));
    let mut names = BTreeSet::new();
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        let name = match field.name().strip_prefix(CARRIED) {
            Some(carried) => carried.split_once(':').map_or(carried, |(_, name)| name),
            None if is_carried => continue,
            None => field.name(),
        };
        let mut own = name.to_owned();
        for n in 2.. {
            if names.insert(own.clone()) {
                break;
            }
            own = format!("{name} ({n})");
        }
        fields.push(field.as_ref().clone().with_name(own));
        columns.push(Arc::clone(column));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

impl RunningQuery {
    /// Gives the late rows that a committed position names to their sink, unless it holds them.
    ///
    /// **Cost**: nothing when the position names none; else a question to the sink, and a read and a commit for each epoch that it lacks.
    pub(crate) async fn deliver_late(&self, position: &Position) -> Result<(), StreamError> {
        let Some(sink) = self.definition.late_sink.as_ref().filter(|_| !position.late.is_empty()) else { return Ok(()) };
        let failed = |attempt| {
            let query = self.definition.name.clone();
            move |source| StreamError::Sink { attempt, query, source }
        };
        // Its epochs are not those of the query itself, should both write to one target.
        let query_id = format!("{}-late", self.query_id);
        let held = sink.last_epoch(&query_id).await.map_err(failed("find the last epoch of late rows".to_owned()))?;
        let held = held.map(|held| held.epoch);
        for file in position.late.iter().filter(|file| held.is_none_or(|held| file.epoch > held)) {
            let rows = self.definition.checkpoint.read_late(file).await?;
            let commit =
                EpochCommit { query_id: query_id.clone(), epoch: file.epoch, payload: json(file), mode: OutputMode::Append };
            let report = sink.commit(commit, BatchStream::from(rows)).await;
            report.map_err(failed(format!("commit the late rows of epoch {}", file.epoch)))?;
        }
        Ok(())
    }

    /// Writes the rows that operators have dropped; gives their file, after those that still wait for a sink.
    pub(crate) async fn write_late(&self, place: &Place, epoch: u64, done: &AllDone) -> Result<Vec<LateFile>, StreamError> {
        let definition = &self.definition;
        let mut files = match definition.late_sink {
            // It has all that came before.
            Some(_) => Vec::new(),
            None => place.last.as_ref().map(|last| last.late.clone()).unwrap_or_default(),
        };
        let rows = table(&definition.name, epoch, place.late_us(), done).map_err(|error| StreamError::Compute {
            epoch,
            query: definition.name.clone(),
            source: arrow(error),
        })?;
        if let Some(rows) = rows {
            files.push(definition.checkpoint.write_late(&definition.env, epoch, &rows).await?);
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carried_columns_hide_the_others_and_names_stay_apart() {
        let number = |n: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![Some(n), None])) };
        let rows = RecordBatch::try_from_iter_with_nullable([
            ("__g0", number(1), true),
            (carried(0, "at").as_str(), number(2), true),
            (carried(1, "a:b").as_str(), number(3), true),
            (carried(2, "at").as_str(), number(4), true),
        ]);
        assert_eq!(lines(&rows.unwrap()).unwrap(), [r#"{"at":2,"a:b":3,"at (2)":4}"#, r#"{"at":null,"a:b":null,"at (2)":null}"#]);
        let plain = RecordBatch::try_from_iter_with_nullable([("k", number(1), true)]).unwrap();
        assert_eq!(lines(&plain).unwrap(), [r#"{"k":1}"#, r#"{"k":null}"#]);
    }
}
