//! A processor with state of its own: numbers the rows of each key, and says when a key has been silent.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use boathouse::base::Result;
use boathouse::stream::{StateKey, StateVariables, StatefulProcessor, StatefulProcessorHandle};
use datafusion::common::ScalarValue;

/// After so many seconds of event time without a row.
const SILENCE_US: i64 = 15_000_000;

#[derive(Debug)]
pub(super) struct Numbered;

impl Numbered {
    /// `k`, `n`, `v`; a row without `v` says that the key is silent after `n` rows.
    pub(super) fn output() -> SchemaRef {
        let number = |name: &str| Field::new(name, DataType::Int64, true);
        Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8, true), number("n"), number("v")]))
    }

    fn emit(key: &StateKey<'_>, n: i64, v: Option<i64>, handle: &mut StatefulProcessorHandle<'_>) -> Result<()> {
        Ok(handle.emit(vec![key.value("k")?, ScalarValue::from(n), ScalarValue::from(v)])?)
    }
}

impl StatefulProcessor for Numbered {
    fn init(&self, states: &mut StateVariables) {
        states.value("n", [Field::new("n", DataType::Int64, false)]);
    }

    fn handle_input_rows(&self, key: &StateKey<'_>, rows: RecordBatch, handle: &mut StatefulProcessorHandle<'_>) -> Result<()> {
        let mut n = handle.value("n")?.get_as::<i64>()?.unwrap_or(0);
        let times = rows["at"].as_primitive::<TimestampMicrosecondType>();
        for (time, value) in times.values().iter().zip(rows["v"].as_primitive::<Int64Type>().values()) {
            n += 1;
            Self::emit(key, n, Some(*value), handle)?;
            for timer in handle.list_timers()? {
                handle.delete_timer(timer)?;
            }
            handle.register_timer(time + SILENCE_US)?;
        }
        Ok(handle.value("n")?.update([n])?)
    }

    fn handle_expired_timer(&self, key: &StateKey<'_>, _: i64, handle: &mut StatefulProcessorHandle<'_>) -> Result<()> {
        let n = handle.value("n")?.get_as::<i64>()?.unwrap_or(0);
        Self::emit(key, n, None, handle)
    }
}
