//! What a call of a processor may do: read and change the state of its key, set timers, give rows.

use datafusion::arrow::array::RecordBatch;
use datafusion::common::ScalarValue;

use super::emitted::Emitted;
use super::error::StateError;
use super::groups::{read, scalar};
use super::native::FromScalar;
use super::processor::TimeMode;
use super::variable::{Slot, Variable, target};
use super::variables::Kind;

/// What time it is in a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) mode: TimeMode,
    pub(crate) watermark_us: Option<i64>,
    pub(crate) processing_us: i64,
}

/// The state of one key, its timers, and where rows are given to.
///
/// A variable is used for as long as it is borrowed: take it anew each time, or for a few statements.
///
/// **Source**: Spark, `StatefulProcessorHandle`, `TimerValues`.
pub struct StatefulProcessorHandle<'a> {
    pub(crate) variables: &'a mut [Variable],
    pub(crate) timers: &'a mut Variable,
    pub(crate) keys: &'a RecordBatch,
    pub(crate) key: u32,
    pub(crate) times: Times,
    pub(crate) emitted: &'a mut Emitted,
}

impl StatefulProcessorHandle<'_> {
    /// The one row that the variable holds for the key.
    ///
    /// **Errors**: `Invalid` when it was not declared, or as another kind.
    pub fn value(&mut self, name: &str) -> Result<ValueState<'_>, StateError> {
        self.variable(name, Kind::Value).map(ValueState)
    }

    /// The rows that the variable holds for the key, in the order in which they were added.
    ///
    /// **Errors**: as [`value`](Self::value).
    pub fn list(&mut self, name: &str) -> Result<ListState<'_>, StateError> {
        self.variable(name, Kind::List).map(ListState)
    }

    /// The rows that the variable holds for the key, by their own key.
    ///
    /// **Errors**: as [`value`](Self::value).
    pub fn map(&mut self, name: &str) -> Result<MapState<'_>, StateError> {
        self.variable(name, Kind::Map).map(MapState)
    }

    fn variable(&mut self, name: &str, kind: Kind) -> Result<Accessor<'_>, StateError> {
        let Some(at) = self.variables.iter().position(|variable| variable.name == name) else {
            let declared: Vec<String> =
                self.variables.iter().map(|variable| format!("{} {}", variable.kind.word(), variable.name)).collect();
            return Err(StateError::Unknown { kind: kind.word(), name: name.to_owned(), declared: declared.join(", ") });
        };
        let variable = &mut self.variables[at];
        if variable.kind != kind {
            return Err(StateError::Kind { name: name.to_owned(), asked: kind.word(), declared: variable.kind.word() });
        }
        Ok(Accessor { variable, keys: self.keys, key: self.key })
    }

    /// Calls the processor for this key once the time has passed this one, in microseconds since the Unix epoch (UTC): that of the
    /// watermark or of the clock, as the time mode says. A time that has passed already is due at once: after the rows of this epoch, or,
    /// set by a timer, in the next epoch. A timer that is there already stays as it is.
    ///
    /// **Errors**: `Invalid` without a time mode.
    ///
    /// **Source**: Spark, `registerTimer`: a timer is due when its time is less than the watermark, or than the epoch's time.
    pub fn register_timer(&mut self, timer_us: i64) -> Result<(), StateError> {
        let mut timers = self.timers("register a timer")?;
        timers.load()?;
        match timers.variable.entry(timers.key, &ScalarValue::from(timer_us))? {
            Some(_) => Ok(()),
            None => timers.variable.put(timers.key, [ScalarValue::from(timer_us)]),
        }
    }

    /// Takes a timer of this key out; whether it was there.
    ///
    /// **Errors**: `Invalid` without a time mode.
    pub fn delete_timer(&mut self, timer_us: i64) -> Result<bool, StateError> {
        let mut timers = self.timers("delete a timer")?;
        timers.load()?;
        timers.variable.remove(timers.key, &ScalarValue::from(timer_us))
    }

    /// The timers of this key, earliest first.
    ///
    /// **Errors**: `Invalid` without a time mode.
    pub fn list_timers(&mut self) -> Result<Vec<i64>, StateError> {
        let mut timers = self.timers("list the timers")?;
        timers.load()?;
        let mut times = Vec::new();
        for slot in timers.variable.slots(timers.key) {
            times.extend(timers.native::<i64>(slot, 0)?);
        }
        times.sort_unstable();
        Ok(times)
    }

    fn timers(&mut self, attempt: &'static str) -> Result<Accessor<'_>, StateError> {
        if self.times.mode == TimeMode::None {
            return Err(StateError::InvalidTimeMode { attempt, mode: self.times.mode });
        }
        Ok(Accessor { variable: self.timers, keys: self.keys, key: self.key })
    }

    /// The watermark that the epoch is made by, in microseconds; `None` until event times were seen, and without a watermark.
    pub fn watermark_us(&self) -> Option<i64> {
        self.times.watermark_us
    }

    /// When the epoch began, in microseconds since the Unix epoch (UTC), by the query's clock. Never before that of an earlier epoch.
    pub fn processing_time_us(&self) -> i64 {
        self.times.processing_us
    }

    /// Gives a row of the result.
    ///
    /// **Errors**: `Invalid` when it does not have the result's columns.
    pub fn emit<T: Into<ScalarValue>>(&mut self, row: impl IntoIterator<Item = T>) -> Result<(), StateError> {
        self.emitted.row(row.into_iter().map(Into::into))
    }

    /// Gives rows of the result, whose columns are in its order, by whatever names.
    ///
    /// **Errors**: `Invalid` when their types are not those of the result.
    pub fn emit_batch(&mut self, rows: &RecordBatch) -> Result<(), StateError> {
        self.emitted.batch(rows)
    }
}

/// A variable in a call.
struct Accessor<'a> {
    variable: &'a mut Variable,
    keys: &'a RecordBatch,
    key: u32,
}

impl Accessor<'_> {
    fn load(&mut self) -> Result<(), StateError> {
        self.variable.load(self.keys)
    }

    fn native<T: FromScalar>(&self, slot: Slot, column: usize) -> Result<Option<T>, StateError> {
        read(&self.variable.value(slot, column)?, || target(&self.variable.name))
    }

    fn rows(&mut self) -> Result<Vec<Vec<ScalarValue>>, StateError> {
        self.load()?;
        self.variable.slots(self.key).into_iter().map(|slot| self.variable.row(slot, 0)).collect()
    }

    fn column<T: FromScalar>(&mut self, column: usize) -> Result<Vec<Option<T>>, StateError> {
        self.load()?;
        self.variable.slots(self.key).into_iter().map(|slot| self.native(slot, column)).collect()
    }

    fn exists(&mut self) -> Result<bool, StateError> {
        self.load()?;
        Ok(!self.variable.slots(self.key).is_empty())
    }

    fn clear(&mut self) -> Result<(), StateError> {
        self.load()?;
        self.variable.clear(self.key)
    }
}

/// One row for a key.
///
/// **Cost**: the first call of an epoch that uses it gathers the rows of all keys of the epoch.
pub struct ValueState<'a>(Accessor<'a>);

impl ValueState<'_> {
    /// Whether there is one.
    pub fn exists(&mut self) -> Result<bool, StateError> {
        self.0.exists()
    }

    /// Its values, in the order of the columns.
    pub fn get(&mut self) -> Result<Option<Vec<ScalarValue>>, StateError> {
        self.0.load()?;
        self.0.variable.newest(self.0.key).map(|slot| self.0.variable.row(slot, 0)).transpose()
    }

    /// The value of its first column, as a type of Rust; `None` when there is none, or it is null.
    ///
    /// **Errors**: `Invalid` when the column has another type.
    pub fn get_as<T: FromScalar>(&mut self) -> Result<Option<T>, StateError> {
        self.0.load()?;
        match self.0.variable.newest(self.0.key) {
            Some(slot) => self.0.native(slot, 0),
            None => Ok(None),
        }
    }

    /// Replaces it.
    ///
    /// **Errors**: `Invalid` when the row does not have the columns that were declared.
    pub fn update<T: Into<ScalarValue>>(&mut self, row: impl IntoIterator<Item = T>) -> Result<(), StateError> {
        self.0.load()?;
        self.0.variable.set(self.0.key, row.into_iter().map(Into::into))
    }

    /// Takes it out.
    pub fn clear(&mut self) -> Result<(), StateError> {
        self.0.clear()
    }
}

/// Rows for a key, in the order in which they were added.
///
/// **Cost**: adding rows reads none. The first call of an epoch that does anything else gathers the rows of all keys of the epoch.
pub struct ListState<'a>(Accessor<'a>);

impl ListState<'_> {
    /// Whether there are any.
    pub fn exists(&mut self) -> Result<bool, StateError> {
        self.0.exists()
    }

    /// All of them, oldest first.
    pub fn get(&mut self) -> Result<Vec<Vec<ScalarValue>>, StateError> {
        self.0.rows()
    }

    /// The values of their first column, as a type of Rust, oldest first.
    ///
    /// **Errors**: `Invalid` when the column has another type.
    pub fn get_as<T: FromScalar>(&mut self) -> Result<Vec<Option<T>>, StateError> {
        self.0.column(0)
    }

    /// Adds a row.
    ///
    /// **Errors**: `Invalid` when it does not have the columns that were declared.
    pub fn append_value<T: Into<ScalarValue>>(&mut self, row: impl IntoIterator<Item = T>) -> Result<(), StateError> {
        self.0.variable.push(self.0.key, row.into_iter().map(Into::into))
    }

    /// Adds the rows of a batch, whose columns are in the order of those that were declared.
    ///
    /// **Errors**: as [`append_value`](Self::append_value).
    pub fn append_batch(&mut self, rows: &RecordBatch) -> Result<(), StateError> {
        for row in 0..rows.num_rows() {
            let values = rows.columns().iter().map(|column| scalar(column, row, || "a batch".to_owned()));
            let values: Vec<ScalarValue> = values.collect::<Result<_, _>>()?;
            self.0.variable.push(self.0.key, values)?;
        }
        Ok(())
    }

    /// Replaces all of them.
    ///
    /// **Errors**: as [`append_value`](Self::append_value).
    pub fn put(&mut self, rows: impl IntoIterator<Item = Vec<ScalarValue>>) -> Result<(), StateError> {
        self.clear()?;
        rows.into_iter().try_for_each(|row| self.0.variable.push(self.0.key, row))
    }

    /// Takes all of them out.
    pub fn clear(&mut self) -> Result<(), StateError> {
        self.0.clear()
    }
}

/// Rows for a key, by a key of their own.
///
/// **Cost**: the first call of an epoch that uses it gathers the entries of all keys of the epoch; each use is a look-up then.
pub struct MapState<'a>(Accessor<'a>);

impl MapState<'_> {
    /// Whether there are any.
    pub fn exists(&mut self) -> Result<bool, StateError> {
        self.0.exists()
    }

    /// Whether there is one with this key.
    ///
    /// **Errors**: `Invalid` when the key has another type than was declared.
    pub fn contains_key(&mut self, entry: impl Into<ScalarValue>) -> Result<bool, StateError> {
        Ok(self.slot(entry.into())?.is_some())
    }

    /// The values of the one with this key, without the key.
    ///
    /// **Errors**: as [`contains_key`](Self::contains_key).
    pub fn get(&mut self, entry: impl Into<ScalarValue>) -> Result<Option<Vec<ScalarValue>>, StateError> {
        let slot = self.slot(entry.into())?;
        slot.map(|slot| self.0.variable.row(slot, 1)).transpose()
    }

    /// The first value of the one with this key, as a type of Rust; `None` when there is none, or it is null.
    ///
    /// **Errors**: as [`contains_key`](Self::contains_key), and when the column has another type.
    pub fn get_as<T: FromScalar>(&mut self, entry: impl Into<ScalarValue>) -> Result<Option<T>, StateError> {
        match self.slot(entry.into())? {
            Some(slot) => self.0.native(slot, 1),
            None => Ok(None),
        }
    }

    /// Sets the values for a key.
    ///
    /// **Errors**: `Invalid` when key and values do not have the columns that were declared.
    pub fn update_value<T: Into<ScalarValue>>(
        &mut self,
        entry: impl Into<ScalarValue>,
        values: impl IntoIterator<Item = T>,
    ) -> Result<(), StateError> {
        self.0.load()?;
        let row = [entry.into()].into_iter().chain(values.into_iter().map(Into::into));
        self.0.variable.put(self.0.key, row)
    }

    /// Takes the one with this key out; whether it was there.
    ///
    /// **Errors**: as [`contains_key`](Self::contains_key).
    pub fn remove_key(&mut self, entry: impl Into<ScalarValue>) -> Result<bool, StateError> {
        self.0.load()?;
        self.0.variable.remove(self.0.key, &entry.into())
    }

    /// All of them, each with its key first, in the order in which they were last set.
    pub fn entries(&mut self) -> Result<Vec<Vec<ScalarValue>>, StateError> {
        self.0.rows()
    }

    /// Takes all of them out.
    pub fn clear(&mut self) -> Result<(), StateError> {
        self.0.clear()
    }

    fn slot(&mut self, entry: ScalarValue) -> Result<Option<Slot>, StateError> {
        self.0.load()?;
        self.0.variable.entry(self.0.key, &entry)
    }
}
