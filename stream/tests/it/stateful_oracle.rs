//! Processors with state of their own, against a slow model that holds plain collections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use boathouse_base::memory::{MemorySink, MemorySource};
use boathouse_base::{Env, ManualClock, ReadLimit, Result};
use boathouse_storage::Storage;
use boathouse_stream::{
    StateKey, StateVariables, StatefulProcessor, StatefulProcessorHandle, StepOutcome, StreamFrame, StreamQuery, TimeMode,
};
use datafusion::arrow::array::types::{Int64Type, TimestampMicrosecondType};
use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use proptest::prelude::*;

use crate::support::drain;

const SECOND: i64 = 1_000_000;
/// How late a row may be, in seconds.
const DELAY: i64 = 10;
/// How long values, elements and entries live, in seconds.
const TTL: [i64; 3] = [7, 9, 4];
const START_US: i64 = 1_000_000_000;

/// (seconds, key, value).
pub(crate) type Row = (i64, Option<u8>, i64);

fn name(key: Option<u8>) -> Option<String> {
    key.map(|key| format!("k{key}"))
}

pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0 * SECOND))) as ArrayRef, true),
        ("k", Arc::new(StringArray::from_iter(rows.iter().map(|row| name(row.1)))), true),
        ("v", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))), true),
    ])
    .unwrap()
}

fn output() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let number = |name: &str| Field::new(name, DataType::Int64, true);
    let fields = vec![text("why"), text("k"), number("timer"), number("total"), text("list"), text("map"), text("timers")];
    Arc::new(Schema::new(fields))
}

/// Uses every gesture of the handle, as the values of its rows say.
struct Ledger(TimeMode);

impl Ledger {
    fn snapshot(
        why: &str,
        timer: Option<i64>,
        key: &StateKey<'_>,
        handle: &mut StatefulProcessorHandle<'_>,
    ) -> Result<Vec<ScalarValue>> {
        let total = handle.value("total")?.get_as::<i64>()?;
        let list = handle.list("list")?.get_as::<i64>()?;
        let entries = handle.map("map")?.entries()?;
        Ok(vec![
            ScalarValue::from(why),
            key.value("k")?,
            ScalarValue::from(timer),
            ScalarValue::from(total),
            ScalarValue::from(format!("{:?}", list.into_iter().flatten().collect::<Vec<_>>())),
            ScalarValue::from(entries.iter().map(|entry| format!("{}={};", entry[0], entry[1])).collect::<String>()),
            ScalarValue::from(format!("{:?}", handle.list_timers()?)),
        ])
    }
}

impl StatefulProcessor for Ledger {
    fn init(&self, states: &mut StateVariables) {
        let number = |name: &str| Field::new(name, DataType::Int64, false);
        let ttl = TTL.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
        let total = states.value("total", [number("total")]);
        let with_ttl = self.0 == TimeMode::ProcessingTime;
        if with_ttl {
            total.ttl(ttl[0]);
        }
        let list = states.list("list", [number("v")]);
        if with_ttl {
            list.ttl(ttl[1]);
        }
        let map = states.map("map", number("v"), [number("n")]);
        if with_ttl {
            map.ttl(ttl[2]);
        }
    }

    fn handle_input_rows(&self, key: &StateKey<'_>, rows: RecordBatch, handle: &mut StatefulProcessorHandle<'_>) -> Result<()> {
        let times = rows.column_by_name("at").unwrap().as_primitive::<TimestampMicrosecondType>().clone();
        let values = rows.column_by_name("v").unwrap().as_primitive::<Int64Type>().clone();
        for (at, v) in times.values().iter().zip(values.values()) {
            let base = if self.0 == TimeMode::EventTime { *at } else { handle.processing_time_us() };
            let mut total = handle.value("total")?;
            let sum = total.get_as::<i64>()?.unwrap_or(0) + v;
            total.update([sum])?;
            handle.list("list")?.append_value([*v])?;
            let mut map = handle.map("map")?;
            if *v < 0 {
                assert_eq!(map.contains_key(-v)?, map.remove_key(-v)?);
            } else {
                let n = map.get_as::<i64>(*v)?.unwrap_or(0);
                map.update_value(*v, [n + 1])?;
            }
            if v % 3 == 0 {
                handle.register_timer(base + v * SECOND)?;
            }
            if v % 7 == 0
                && let Some(first) = handle.list_timers()?.first()
            {
                assert!(handle.delete_timer(*first)?);
            }
            if v % 11 == 0 {
                handle.value("total")?.clear()?;
            }
            if v % 13 == 0 {
                let mut list = handle.list("list")?;
                let newest: Vec<Vec<ScalarValue>> = list.get()?.into_iter().rev().take(2).collect();
                list.put(newest)?;
            }
        }
        let row = Self::snapshot("rows", None, key, handle)?;
        Ok(handle.emit(row)?)
    }

    fn handle_expired_timer(&self, key: &StateKey<'_>, timer_us: i64, handle: &mut StatefulProcessorHandle<'_>) -> Result<()> {
        let row = Self::snapshot("timer", Some(timer_us), key, handle)?;
        handle.emit(row)?;
        let second = timer_us / SECOND;
        handle.list("list")?.clear()?;
        if second % 2 == 0 {
            handle.register_timer(timer_us + 3 * SECOND)?;
        }
        if second % 3 == 0
            && let Some(next) = handle.list_timers()?.first()
        {
            handle.delete_timer(*next)?;
        }
        if second % 5 == 0 {
            handle.map("map")?.clear()?;
        }
        Ok(())
    }
}

/// What the model knows of a key; each with when it is over.
#[derive(Default)]
struct Known {
    total: Option<(i64, i64)>,
    list: Vec<(i64, i64)>,
    map: Vec<(i64, i64, i64)>,
    timers: BTreeSet<i64>,
}

struct Model {
    mode: TimeMode,
    keys: BTreeMap<Option<u8>, Known>,
    /// Of each epoch, sorted.
    epochs: Vec<Vec<String>>,
    late: u64,
}

impl Model {
    fn new(mode: TimeMode) -> Self {
        Self { mode, keys: BTreeMap::new(), epochs: Vec::new(), late: 0 }
    }

    fn end(&self, variable: usize, now_us: i64) -> i64 {
        if self.mode == TimeMode::ProcessingTime { now_us + TTL[variable] * SECOND } else { i64::MAX }
    }

    fn line(why: &str, timer: Option<i64>, key: Option<u8>, known: &Known) -> String {
        let map: String = known.map.iter().map(|(v, n, _)| format!("{v}={n};")).collect();
        let list: Vec<i64> = known.list.iter().map(|(v, _)| *v).collect();
        let timers: Vec<i64> = known.timers.iter().copied().collect();
        let total = known.total.map(|(total, _)| total);
        format!("{why} {:?} {timer:?} {total:?} {list:?} {map} {timers:?}", name(key))
    }

    fn epoch(&mut self, rows: &[Row], late_us: Option<i64>, watermark_us: Option<i64>, now_us: i64) {
        let ends = [0, 1, 2].map(|variable| self.end(variable, now_us));
        let mut lines = Vec::new();
        for known in self.keys.values_mut() {
            known.total = known.total.filter(|(_, end)| *end > now_us);
            known.list.retain(|(_, end)| *end > now_us);
            known.map.retain(|(_, _, end)| *end > now_us);
        }
        let in_time: Vec<Row> = rows.iter().filter(|row| late_us.is_none_or(|late| row.0 * SECOND > late)).copied().collect();
        self.late += (rows.len() - in_time.len()) as u64;
        let touched: BTreeSet<Option<u8>> = in_time.iter().map(|row| row.1).collect();
        for key in touched {
            let known = self.keys.entry(key).or_default();
            for (at, _, v) in in_time.iter().filter(|row| row.1 == key) {
                let base = if self.mode == TimeMode::EventTime { at * SECOND } else { now_us };
                known.total = Some((known.total.map_or(0, |(total, _)| total) + v, ends[0]));
                known.list.push((*v, ends[1]));
                if *v < 0 {
                    known.map.retain(|(entry, _, _)| entry != &-v);
                } else {
                    let n = known.map.iter().find(|(entry, _, _)| entry == v).map_or(0, |(_, n, _)| *n);
                    known.map.retain(|(entry, _, _)| entry != v);
                    known.map.push((*v, n + 1, ends[2]));
                }
                if v % 3 == 0 {
                    known.timers.insert(base + v * SECOND);
                }
                if v % 7 == 0 {
                    known.timers.pop_first();
                }
                if v % 11 == 0 {
                    known.total = None;
                }
                if v % 13 == 0 {
                    known.list = known.list.iter().rev().take(2).map(|(v, _)| (*v, ends[1])).collect();
                }
            }
            lines.push(Self::line("rows", None, key, known));
        }
        let limit = if self.mode == TimeMode::EventTime { watermark_us } else { Some(now_us) };
        for (key, known) in &mut self.keys {
            let due: Vec<i64> = known.timers.iter().copied().filter(|timer| limit.is_some_and(|limit| *timer < limit)).collect();
            for timer in due {
                // One that another has deleted does not fire.
                if !known.timers.remove(&timer) {
                    continue;
                }
                lines.push(Self::line("timer", Some(timer), *key, known));
                let second = timer / SECOND;
                known.list.clear();
                if second % 2 == 0 {
                    known.timers.insert(timer + 3 * SECOND);
                }
                if second % 3 == 0 {
                    known.timers.pop_first();
                }
                if second % 5 == 0 {
                    known.map.clear();
                }
            }
        }
        lines.sort();
        self.epochs.push(lines);
    }

    fn next_timer(&self) -> Option<i64> {
        self.keys.values().filter_map(|known| known.timers.first().copied()).min()
    }
}

pub(crate) struct Rig {
    pub(crate) source: MemorySource,
    pub(crate) sink: MemorySink,
    pub(crate) checkpoint: Storage,
    pub(crate) clock: ManualClock,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self {
            source: MemorySource::new(batch(&[]).schema()),
            sink: MemorySink::new(),
            checkpoint: Storage::memory(),
            clock: ManualClock::starting_at_us(START_US),
        }
    }

    pub(crate) fn query(&self, mode: TimeMode, rows: u64) -> StreamQuery {
        let query = StreamQuery::named("ledger")
            .sink(Arc::new(self.sink.clone()))
            .checkpoint(self.checkpoint.clone())
            .env(Env::new(self.clock.clone(), 7))
            .read_limit(ReadLimit { rows: Some(rows), ..ReadLimit::default() });
        let source = Arc::new(self.source.clone());
        let query = match mode {
            TimeMode::EventTime => query.source_with_watermark("source", source, "at", Duration::from_secs(DELAY.unsigned_abs())),
            _ => query.source(source),
        };
        query.transform(move |frame| frame.transform_with_state(&["k"], &output(), mode, Arc::new(Ledger(mode))))
    }

    /// What stands in the sink, epoch by epoch, each sorted.
    pub(crate) fn epochs(&self) -> Vec<Vec<String>> {
        let lines = |batch: &RecordBatch| -> Vec<String> {
            let text = |column: usize, row: usize| {
                batch.column(column).as_string::<i32>().iter().nth(row).flatten().map(ToOwned::to_owned)
            };
            let number = |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().iter().nth(row).flatten();
            let line = |row: usize| {
                let shown = |column: usize| text(column, row).unwrap_or_default();
                let (why, key, timer, total) = (shown(0), text(1, row), number(2, row), number(3, row));
                format!("{why} {key:?} {timer:?} {total:?} {} {} {}", shown(4), shown(5), shown(6))
            };
            (0..batch.num_rows()).map(line).collect()
        };
        let of_epoch = |batches: Vec<RecordBatch>| {
            let mut lines: Vec<String> = batches.iter().flat_map(lines).collect();
            lines.sort();
            lines
        };
        self.sink.epochs().into_iter().map(|epoch| of_epoch(epoch.batches)).collect()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    // Some rows are later than the watermark allows.
    let row = (0..6_i64, 0..=DELAY + 15, proptest::option::weighted(0.9, 0..4_u8), -8..30_i64);
    proptest::collection::vec(row, 1..70).prop_map(|rows| {
        let mut time = 100;
        let stamp = |(step, behind, key, value): (i64, i64, Option<u8>, i64)| {
            time += step;
            (time - behind, key, value)
        };
        rows.into_iter().map(stamp).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn by_event_time_every_epoch_is_that_of_the_model_whatever_the_restarts(rows in rows(), size in 1..12_u64, restarts in any::<u32>()) {
        let rig = Rig::new();
        rig.source.push(batch(&rows)).unwrap();
        let mut late = 0;
        block_on(async {
            let query = rig.query(TimeMode::EventTime, size);
            let mut running = query.clone().open().await.unwrap();
            let mut epochs = 0;
            while let StepOutcome::Epoch(progress) = running.step().await.unwrap() {
                late += progress.late_rows;
                if restarts >> (epochs % 32) & 1 == 1 {
                    running = query.clone().open().await.unwrap();
                }
                epochs += 1;
            }
        });
        let mut model = Model::new(TimeMode::EventTime);
        let (mut late_us, mut watermark_us) = (None, None);
        for chunk in rows.chunks(usize::try_from(size).unwrap()) {
            model.epoch(chunk, late_us, watermark_us, START_US);
            late_us = watermark_us;
            watermark_us = watermark_us.max(chunk.iter().map(|row| (row.0 - DELAY) * SECOND).max());
        }
        if watermark_us > late_us {
            model.epoch(&[], late_us, watermark_us, START_US);
        }
        prop_assert_eq!(rig.epochs(), model.epochs);
        prop_assert_eq!(late, model.late);
    }

    #[test]
    fn by_processing_time_states_die_and_timers_fire_as_in_the_model_whatever_the_restarts(
        rows in rows(),
        waits in proptest::collection::vec((0..12_u64, 0..6_usize), 4..16),
        restarts in any::<u32>(),
    ) {
        let rig = Rig::new();
        let mut model = Model::new(TimeMode::ProcessingTime);
        let mut rest = rows.as_slice();
        block_on(async {
            let query = rig.query(TimeMode::ProcessingTime, 1_000);
            let mut running = query.clone().open().await.unwrap();
            let mut now_us = START_US;
            for (n, (seconds, count)) in waits.into_iter().enumerate() {
                rig.clock.advance(Duration::from_secs(seconds));
                now_us += i64::try_from(seconds).unwrap() * SECOND;
                let (chunk, after) = rest.split_at(count.min(rest.len()));
                rest = after;
                if !chunk.is_empty() {
                    rig.source.push(batch(chunk)).unwrap();
                    model.epoch(chunk, None, None, now_us);
                }
                while model.next_timer().is_some_and(|timer| timer < now_us) {
                    model.epoch(&[], None, None, now_us);
                }
                while let StepOutcome::Epoch(_) = running.step().await.unwrap() {}
                if restarts >> (n % 32) & 1 == 1 {
                    running = query.clone().open().await.unwrap();
                }
            }
        });
        prop_assert_eq!(rig.epochs(), model.epochs);
    }
}

#[tokio::test]
async fn a_crash_at_any_place_fires_each_timer_once_and_loses_no_state() {
    let some_rows: Vec<Row> = (0..40).map(|n| (100 + n * 2, Some(u8::try_from(n % 3).unwrap()), n % 17 - 2)).collect();
    let run = async |rig: &Rig, nth: u64| -> u64 {
        let asked = Arc::new(AtomicU64::new(0));
        let open = || {
            let asked = Arc::clone(&asked);
            let points = move |_, _| asked.fetch_add(1, Ordering::Relaxed) == nth;
            rig.query(TimeMode::EventTime, 5).with_crash_points(points).open()
        };
        let mut running = open().await.unwrap();
        let mut died = 0;
        for chunk in some_rows.chunks(10) {
            rig.source.push(batch(chunk)).unwrap();
            while drain(&mut running).await.is_err() {
                died += 1;
                running = open().await.unwrap();
            }
        }
        died
    };
    let calm = Rig::new();
    run(&calm, u64::MAX).await;
    let fired = calm.epochs().iter().flatten().filter(|line| line.starts_with("timer")).count();
    assert!(fired > 5, "{fired} timers");
    for nth in 0.. {
        let rig = Rig::new();
        let died = run(&rig, nth).await;
        assert_eq!(rig.epochs(), calm.epochs(), "died at place {nth}");
        if died == 0 {
            assert!(nth > 80, "there are many places: {nth}");
            break;
        }
    }
}
