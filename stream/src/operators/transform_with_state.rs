//! A processor of a user between the rows of an epoch and its state.

use std::sync::Arc;

use boathouse_base::{BatchStream, BoxFuture, OutputMode, Result};
use datafusion::arrow::array::types::Int64Type;
use datafusion::arrow::array::{AsArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;

use super::expiry::{arrow, in_time, times_of};
use super::{Done, EpochTimes, Operator};
use crate::state::{Keying, Store};
use crate::stateful::{
    Emitted, StateError, StateKey, StateVariables, StatefulProcessor, StatefulProcessorHandle, TimeMode, Times, Variable, group,
    number,
};

/// A processor of a user, with its state.
///
/// **Source**: Spark, `TransformWithStateExec`.
pub(crate) struct TransformWithState {
    processor: Arc<dyn StatefulProcessor>,
    mode: TimeMode,
    /// Columns of the input.
    keys: Vec<usize>,
    keying: Keying,
    /// The key's columns by their names.
    key_schema: SchemaRef,
    /// The column of the event time, when it is followed.
    time: Option<usize>,
    variables: Vec<Variable>,
    timers: Variable,
    output: SchemaRef,
}

impl TransformWithState {
    /// **Errors**: when the state makes no sense as it is declared, or the key has a type without an order.
    pub(crate) fn new(
        processor: Arc<dyn StatefulProcessor>,
        mode: TimeMode,
        input: &Schema,
        keys: Vec<usize>,
        time: Option<usize>,
        output: SchemaRef,
    ) -> Result<Self, StateError> {
        let mut declared = StateVariables::default();
        processor.init(&mut declared);
        let declared = declared.checked(mode)?;
        let failed = |source| StateError::Arrow { attempt: "make room for", target: "the state".to_owned(), source };
        // Metadata of the input, such as the mark of an event time, says nothing about what is stored.
        let of_key = |column: &usize| Field::new(input.field(*column).name(), input.field(*column).data_type().clone(), true);
        let key_schema = Arc::new(Schema::new(keys.iter().map(of_key).collect::<Vec<_>>()));
        let keying = Keying::new(&key_schema, (0..keys.len()).collect()).map_err(failed)?;
        let variables = declared.into_iter().map(|variable| Variable::new(variable, &key_schema));
        let variables = variables.collect::<Result<Vec<_>, ArrowError>>().map_err(failed)?;
        let timers = Variable::timers(mode, &key_schema).map_err(failed)?;
        Ok(Self { processor, mode, keys, keying, key_schema, time, variables, timers, output })
    }

    async fn advance(&mut self, inputs: Vec<BatchStream>, times: EpochTimes) -> Result<(Vec<RecordBatch>, Done)> {
        let mut done = Done::begin(times);
        let mut emitted = Emitted::new(SchemaRef::clone(&self.output));
        for variable in &mut self.variables {
            variable.expire(times.processing_us, &mut done);
        }
        for mut rows in inputs {
            let schema = rows.schema();
            let mut kept = Vec::new();
            while let Some(batch) = rows.next().await.transpose()? {
                kept.push(match self.time {
                    Some(time) => {
                        let column = times_of(batch.column(time));
                        in_time(batch, column, times.late_us, false, &mut done).map_err(arrow)?.0
                    }
                    None => batch,
                });
            }
            let rows = concat_batches(&schema, &kept).map_err(arrow)?;
            self.handle_rows(&rows, times, &mut emitted, &mut done)?;
        }
        self.fire_timers(times, &mut emitted, &mut done)?;
        Ok((emitted.finish()?, done))
    }

    fn handle_rows(&mut self, rows: &RecordBatch, times: EpochTimes, emitted: &mut Emitted, done: &mut Done) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let columns = self.keys.iter().map(|column| Arc::clone(rows.column(*column))).collect::<Vec<_>>();
        let keys = self.keying.of_columns(&columns, rows.num_rows()).map_err(arrow)?;
        let grouped = group(rows, &keys, &self.keys, &self.key_schema).map_err(arrow)?;
        let mut round = self.begin(&grouped.keys, times, emitted);
        for key in 0..grouped.keys.num_rows() {
            round.call(
                key,
                || "handle the rows".to_owned(),
                |processor, key, handle, row| processor.handle_input_rows(key, grouped.rows_of(row), handle),
            )?;
        }
        self.end(&grouped.keys, times, done)
    }

    /// Calls the processor for each timer that is due, earliest first.
    fn fire_timers(&mut self, times: EpochTimes, emitted: &mut Emitted, done: &mut Done) -> Result<()> {
        let now_us = match self.mode {
            TimeMode::None => None,
            TimeMode::EventTime => times.now_us,
            TimeMode::ProcessingTime => Some(times.processing_us),
        };
        let due = self.timers.store.ended(now_us.and_then(|now_us| now_us.checked_sub(1)));
        if due.is_empty() {
            return Ok(());
        }
        let due = self.timers.store.gather(&due).map_err(arrow)?;
        let columns = &due.columns()[..self.keys.len()];
        let (firsts, of_timer) = number(&self.keying.of_columns(columns, due.num_rows()).map_err(arrow)?);
        let all = RecordBatch::try_new(SchemaRef::clone(&self.key_schema), columns.to_vec()).map_err(arrow)?;
        let keys = take_record_batch(&all, &UInt32Array::from(firsts)).map_err(arrow)?;
        let at_us = due.column(self.keys.len()).as_primitive::<Int64Type>();
        let mut calls: Vec<(i64, u32)> = at_us.values().iter().copied().zip(of_timer).collect();
        calls.sort_unstable();
        let mut round = self.begin(&keys, times, emitted);
        for (timer_us, key) in calls {
            // A timer before it may have deleted it.
            if round.take_timer(key, timer_us)? {
                round.call(
                    key as usize,
                    || format!("handle the timer at {timer_us} us"),
                    |processor, key, handle, _| processor.handle_expired_timer(key, timer_us, handle),
                )?;
            }
        }
        self.end(&keys, times, done)
    }

    fn begin<'a>(&'a mut self, keys: &'a RecordBatch, times: EpochTimes, emitted: &'a mut Emitted) -> Round<'a> {
        for variable in self.variables.iter_mut().chain([&mut self.timers]) {
            variable.begin(keys.num_rows());
        }
        let times = Times { mode: self.mode, watermark_us: times.now_us, processing_us: times.processing_us };
        Round {
            processor: self.processor.as_ref(),
            variables: &mut self.variables,
            timers: &mut self.timers,
            keys,
            times,
            emitted,
        }
    }

    fn end(&mut self, keys: &RecordBatch, times: EpochTimes, done: &mut Done) -> Result<()> {
        for variable in &mut self.variables {
            variable.flush(keys, times.processing_us, done)?;
        }
        // Timers are no rows of the state.
        Ok(self.timers.flush(keys, times.processing_us, &mut Done::default())?)
    }
}

/// Calls for some keys, between which nothing else touches the state.
struct Round<'a> {
    processor: &'a dyn StatefulProcessor,
    variables: &'a mut [Variable],
    timers: &'a mut Variable,
    keys: &'a RecordBatch,
    times: Times,
    emitted: &'a mut Emitted,
}

impl Round<'_> {
    fn call(
        &mut self,
        row: usize,
        attempt: impl Fn() -> String,
        call: impl FnOnce(&dyn StatefulProcessor, &StateKey<'_>, &mut StatefulProcessorHandle<'_>, usize) -> Result<()>,
    ) -> Result<()> {
        let key = StateKey::new(self.keys, row);
        let mut handle = StatefulProcessorHandle {
            variables: self.variables,
            timers: self.timers,
            keys: self.keys,
            key: u32::try_from(row).unwrap_or(u32::MAX),
            times: self.times,
            emitted: self.emitted,
        };
        let called = call(self.processor, &key, &mut handle, row);
        called.map_err(|source| StateError::Processor { attempt: attempt(), key: key.to_string(), source }.into())
    }

    /// Takes a timer out; whether it was still there.
    fn take_timer(&mut self, key: u32, timer_us: i64) -> Result<bool, StateError> {
        self.timers.load(self.keys)?;
        self.timers.remove(key, &ScalarValue::from(timer_us))
    }
}

impl Operator for TransformWithState {
    fn kind(&self) -> &'static str {
        "transformWithStateExec"
    }

    fn output(&self) -> SchemaRef {
        SchemaRef::clone(&self.output)
    }

    fn run<'a>(&'a mut self, inputs: Vec<BatchStream>, times: EpochTimes) -> BoxFuture<'a, Result<(Vec<RecordBatch>, Done)>> {
        debug_assert!(times.mode != OutputMode::Complete, "refused when the plan is cut");
        Box::pin(self.advance(inputs, times))
    }

    fn stores(&mut self) -> Vec<(&str, &mut Store)> {
        let variables = self.variables.iter_mut().chain([&mut self.timers]);
        variables.map(|variable| (variable.name.as_str(), &mut variable.store)).collect()
    }

    fn wake_us(&self) -> Option<i64> {
        match self.mode {
            TimeMode::ProcessingTime => self.timers.store.first_end(),
            TimeMode::None | TimeMode::EventTime => None,
        }
    }
}
