//! A variable of a processor: its store, and what the calls of an epoch read and change of it.
//!
//! The calls of an epoch come in two rounds: rows, then timers. A round knows its keys. When its first call reads the variable, the
//! rows of all keys of the round are gathered at once; what calls write goes into a log. At the end of the round the store
//! loses what was replaced or taken out, and gets the log, in one batch.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::types::Int64Type;
use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;

use super::error::StateError;
use super::groups::scalar;
use super::processor::TimeMode;
use super::row_log::{RowLog, conform};
use super::variables::{Kind, StateVariable};
use crate::operators::Done;
use crate::state::{OverBy, Place, Store};

/// The name of the timers' store, which no variable can have.
const TIMERS: &str = "$timers";

/// A variable of a processor.
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Of a row, without the key.
    fields: Fields,
    ttl_us: Option<i64>,
    /// How many columns of the store are the key.
    key_width: usize,
    pub(crate) store: Store,
    round: Round,
}

/// A row of a key in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Of the store.
    Loaded(usize),
    /// Of the log.
    Logged(usize),
}

/// What the calls of a round read and change.
struct Round {
    loaded: Option<Loaded>,
    log: RowLog,
    /// Of each row of the log: its key, the row before it of the same key, and whether it was taken out again.
    of_log: Vec<LogRow>,
    /// The newest row of the log of each key.
    newest: Vec<Option<usize>>,
    /// The rows of maps, by key and first column.
    index: HashMap<(u32, ScalarValue), Slot>,
    /// Rows of the store that were taken out, and not replaced.
    removed: u64,
}

struct LogRow {
    key: u32,
    before: Option<usize>,
    is_gone: bool,
}

/// Rows of the store, by key, oldest first.
struct Loaded {
    rows: RecordBatch,
    places: Vec<Place>,
    is_gone: Vec<bool>,
    /// Where the rows of each key begin; then the end.
    starts: Vec<usize>,
}

impl Round {
    fn new(target: String, fields: &Fields, keys: usize) -> Self {
        Self {
            loaded: None,
            log: RowLog::new(target, fields.clone()),
            of_log: Vec::new(),
            newest: vec![None; keys],
            index: HashMap::new(),
            removed: 0,
        }
    }
}

impl Variable {
    /// **Errors**: when the key has a type without an order.
    pub(crate) fn new(declared: StateVariable, key: &Schema) -> Result<Self, ArrowError> {
        let over = if declared.ttl_us().is_some() { OverBy::ProcessingTime } else { OverBy::Removal };
        let word = declared.kind.word();
        let ttl_us = declared.ttl_us();
        Self::with_store(declared.name, declared.kind, declared.fields, ttl_us, over, word, key)
    }

    /// The timers of a processor. The time mode stands in the names of the columns: it must not change.
    pub(crate) fn timers(mode: TimeMode, key: &Schema) -> Result<Self, ArrowError> {
        let word = match mode {
            TimeMode::None => "no_timer",
            TimeMode::ProcessingTime => "processing_timer",
            TimeMode::EventTime => "event_timer",
        };
        let fields = Fields::from(vec![Field::new("us", DataType::Int64, false)]);
        Self::with_store(TIMERS.to_owned(), Kind::Timers, fields, None, OverBy::Removal, word, key)
    }

    /// The names of the store's columns say what kind of variable it is: a list is not read as a value after a change.
    fn with_store(
        name: String,
        kind: Kind,
        fields: Fields,
        ttl_us: Option<i64>,
        over: OverBy,
        word: &str,
        key: &Schema,
    ) -> Result<Self, ArrowError> {
        let renamed = |word: &str, field: &FieldRef| field.as_ref().clone().with_name(format!("{word}.{}", field.name()));
        let of_key = key.fields().iter().map(|field| renamed("key", field));
        let columns: Vec<Field> = of_key.chain(fields.iter().map(|field| renamed(word, field))).collect();
        let key_width = key.fields().len();
        let store = Store::new(Arc::new(Schema::new(columns)), (0..key_width).collect())?.over_by(over);
        let round = Round::new(target(&name), &fields, 0);
        Ok(Self { name, kind, fields, ttl_us, key_width, store, round })
    }

    /// Begins a round over so many keys.
    pub(crate) fn begin(&mut self, keys: usize) {
        self.round = Round::new(target(&self.name), &self.fields, keys);
    }

    /// Gathers the rows of all keys of the round, unless that was done.
    pub(crate) fn load(&mut self, keys: &RecordBatch) -> Result<(), StateError> {
        if self.round.loaded.is_some() {
            return Ok(());
        }
        let loaded = self.gather(keys).map_err(|source| self.failed("read", source))?;
        if self.kind == Kind::Map || self.kind == Kind::Timers {
            for key in 0..keys.num_rows() {
                for row in loaded.starts[key]..loaded.starts[key + 1] {
                    let entry = scalar(loaded.rows.column(0), row, || target(&self.name))?;
                    self.round.index.insert((number(key), entry), Slot::Loaded(row));
                }
            }
        }
        self.round.loaded = Some(loaded);
        Ok(())
    }

    fn gather(&self, keys: &RecordBatch) -> Result<Loaded, ArrowError> {
        let found = self.store.find_all(&self.store.keying().of_columns(keys.columns(), keys.num_rows())?)?;
        let mut starts = vec![0_usize; keys.num_rows() + 1];
        for (key, _) in &found {
            starts[*key as usize + 1] += 1;
        }
        for key in 0..keys.num_rows() {
            starts[key + 1] += starts[key];
        }
        let places: Vec<Place> = found.into_iter().map(|(_, place)| place).collect();
        let columns: Vec<usize> = (self.key_width..self.store.schema().fields().len()).collect();
        let rows = self.store.gather_columns(&places, &columns)?;
        Ok(Loaded { rows, is_gone: vec![false; places.len()], places, starts })
    }

    /// The rows of a key, oldest first. The round is loaded.
    pub(crate) fn slots(&self, key: u32) -> Vec<Slot> {
        let mut newest_first: Vec<Slot> = Vec::new();
        let mut at = self.round.newest.get(key as usize).copied().flatten();
        while let Some(row) = at {
            if !self.round.of_log[row].is_gone {
                newest_first.push(Slot::Logged(row));
            }
            at = self.round.of_log[row].before;
        }
        self.loaded_rows(key).map(Slot::Loaded).chain(newest_first.into_iter().rev()).collect()
    }

    /// The newest row of a key. The round is loaded.
    pub(crate) fn newest(&self, key: u32) -> Option<Slot> {
        let newest = self.round.newest.get(key as usize).copied().flatten();
        let logged = newest.filter(|row| !self.round.of_log[*row].is_gone).map(Slot::Logged);
        logged.or_else(|| self.loaded_rows(key).last().map(Slot::Loaded))
    }

    /// The entry of a map. The round is loaded.
    pub(crate) fn entry(&self, key: u32, entry: &ScalarValue) -> Result<Option<Slot>, StateError> {
        Ok(self.round.index.get(&(key, self.conformed(entry)?)).copied())
    }

    fn conformed(&self, entry: &ScalarValue) -> Result<ScalarValue, StateError> {
        let mut entry = entry.clone();
        match self.fields.first() {
            Some(field) => conform(&mut entry, field, self.round.log.target()).map(|()| entry),
            None => Ok(entry),
        }
    }

    fn loaded_rows(&self, key: u32) -> impl Iterator<Item = usize> {
        let loaded = self.round.loaded.as_ref();
        let key = key as usize;
        let range = loaded.and_then(|loaded| Some(*loaded.starts.get(key)?..*loaded.starts.get(key + 1)?)).unwrap_or_default();
        range.filter(move |row| loaded.is_some_and(|loaded| !loaded.is_gone[*row]))
    }

    /// The value of a row in a column.
    pub(crate) fn value(&self, slot: Slot, column: usize) -> Result<ScalarValue, StateError> {
        if column >= self.fields.len() {
            // The value of a set's entry.
            return Ok(ScalarValue::Null);
        }
        match (slot, &self.round.loaded) {
            (Slot::Loaded(row), Some(loaded)) => scalar(loaded.rows.column(column), row, || target(&self.name)),
            (Slot::Logged(row), _) => Ok(self.round.log.value(row, column).cloned().unwrap_or(ScalarValue::Null)),
            (Slot::Loaded(_), None) => Ok(ScalarValue::Null),
        }
    }

    /// The values of a row, from this column on.
    pub(crate) fn row(&self, slot: Slot, from: usize) -> Result<Vec<ScalarValue>, StateError> {
        (from..self.fields.len()).map(|column| self.value(slot, column)).collect()
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, key: u32, row: impl IntoIterator<Item = ScalarValue>) -> Result<(), StateError> {
        let at = self.round.log.len();
        self.round.log.push(row)?;
        let newest = &mut self.round.newest[key as usize];
        self.round.of_log.push(LogRow { key, before: newest.replace(at), is_gone: false });
        Ok(())
    }

    /// Adds a row to a map, in place of the one with its first column. The round is loaded.
    pub(crate) fn put(&mut self, key: u32, row: impl IntoIterator<Item = ScalarValue>) -> Result<(), StateError> {
        let at = self.round.log.len();
        self.push(key, row)?;
        let entry = self.round.log.value(at, 0).cloned().unwrap_or(ScalarValue::Null);
        if let Some(old) = self.round.index.insert((key, entry), Slot::Logged(at)) {
            self.drop_slot(old);
        }
        Ok(())
    }

    /// Takes an entry out of a map; whether it was there. The round is loaded.
    pub(crate) fn remove(&mut self, key: u32, entry: &ScalarValue) -> Result<bool, StateError> {
        let entry = self.conformed(entry)?;
        let slot = self.round.index.remove(&(key, entry));
        if let Some(slot) = slot {
            self.round.removed += u64::from(matches!(slot, Slot::Loaded(_)));
            self.drop_slot(slot);
        }
        Ok(slot.is_some())
    }

    /// Takes all rows of a key out. The round is loaded.
    pub(crate) fn clear(&mut self, key: u32) -> Result<(), StateError> {
        for slot in self.slots(key) {
            if self.kind == Kind::Map || self.kind == Kind::Timers {
                let entry = self.value(slot, 0)?;
                self.round.index.remove(&(key, entry));
            }
            self.round.removed += u64::from(matches!(slot, Slot::Loaded(_)));
            self.drop_slot(slot);
        }
        Ok(())
    }

    /// Sets the one row of a key. The round is loaded.
    pub(crate) fn set(&mut self, key: u32, row: impl IntoIterator<Item = ScalarValue>) -> Result<(), StateError> {
        let old = self.newest(key);
        self.push(key, row)?;
        if let Some(old) = old {
            self.drop_slot(old);
        }
        Ok(())
    }

    fn drop_slot(&mut self, slot: Slot) {
        match (slot, &mut self.round.loaded) {
            (Slot::Loaded(row), Some(loaded)) => loaded.is_gone[row] = true,
            (Slot::Logged(row), _) => self.round.of_log[row].is_gone = true,
            (Slot::Loaded(_), None) => {}
        }
    }

    /// Forgets what has lived its time.
    pub(crate) fn expire(&mut self, now_us: i64, done: &mut Done) {
        if self.ttl_us.is_some() {
            let over = self.store.ended(Some(now_us));
            done.removed += over.len() as u64;
            self.store.forget(&over);
        }
    }

    /// Ends the round: the store gets what its calls have changed.
    pub(crate) fn flush(&mut self, keys: &RecordBatch, now_us: i64, done: &mut Done) -> Result<(), StateError> {
        let round = std::mem::replace(&mut self.round, Round::new(target(&self.name), &self.fields, 0));
        done.removed += round.removed;
        self.write(round, keys, now_us, done).map_err(|source| self.failed("write", source))
    }

    fn write(&mut self, round: Round, keys: &RecordBatch, now_us: i64, done: &mut Done) -> Result<(), ArrowError> {
        if let Some(loaded) = &round.loaded {
            let gone: Vec<Place> =
                loaded.places.iter().zip(&loaded.is_gone).filter(|(_, is_gone)| **is_gone).map(|(place, _)| *place).collect();
            self.store.remove(&gone);
        }
        let of_rows: Vec<u32> = round.of_log.iter().filter(|row| !row.is_gone).map(|row| row.key).collect();
        if of_rows.is_empty() {
            return Ok(());
        }
        let count = of_rows.len();
        let of_rows = UInt32Array::from(of_rows);
        let mut columns: Vec<ArrayRef> =
            keys.columns().iter().map(|column| take(column, &of_rows, None)).collect::<Result<_, _>>()?;
        columns.extend(round.log.into_columns(|row| !round.of_log[row].is_gone)?);
        let rows = RecordBatch::try_new(SchemaRef::clone(self.store.schema()), columns)?;
        let ends = match (self.kind, self.ttl_us) {
            (Kind::Timers, _) => Some(rows.column(self.key_width).as_primitive::<Int64Type>().clone()),
            (_, Some(ttl_us)) => Some(Int64Array::from_value(now_us.saturating_add(ttl_us), count)),
            _ => None,
        };
        let keys = self.store.keying().of_batch(&rows)?;
        self.store.insert(&rows, &keys, ends)?;
        done.updated += count as u64;
        Ok(())
    }

    fn failed(&self, attempt: &'static str, source: ArrowError) -> StateError {
        StateError::Arrow { attempt, target: target(&self.name), source }
    }
}

/// A variable in errors.
pub(crate) fn target(name: &str) -> String {
    format!("the state `{name}`")
}

fn number(key: usize) -> u32 {
    u32::try_from(key).unwrap_or(u32::MAX)
}
