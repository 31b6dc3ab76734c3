//! The point-in-time join against a nested loop, and the online store against the join.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{
    Array, ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray,
};
use arrow_schema::TimeUnit;
use boathouse_base::{BatchStream, Table, WriteRequest};
use boathouse_featurestore::{AsOf, FeatureLookupSpec, OnlineStore};
use proptest::prelude::*;

use crate::world::World;

/// A composite key with a null in it now and then, and a time in the unit of its side.
#[derive(Debug, Clone)]
struct Row {
    name: Option<&'static str>,
    number: Option<i32>,
    at: Option<i64>,
    /// Two features, for rows of the feature table.
    features: (Option<i64>, Option<i64>),
}

fn row() -> impl Strategy<Value = Row> {
    let name = prop_oneof![1 => Just(None), 4 => Just(Some("a")), 4 => Just(Some("ab")), 1 => Just(Some(""))];
    let number = prop_oneof![1 => Just(None), 5 => (0..2_i32).prop_map(Some)];
    let at = prop_oneof![1 => Just(None), 8 => (-4..9_i64).prop_map(Some)];
    let feature = || prop_oneof![1 => Just(None), 3 => (0..3_i64).prop_map(Some)];
    (name, number, at, (feature(), feature())).prop_map(|(name, number, at, features)| Row { name, number, at, features })
}

fn unit() -> impl Strategy<Value = TimeUnit> {
    prop_oneof![Just(TimeUnit::Second), Just(TimeUnit::Millisecond), Just(TimeUnit::Microsecond), Just(TimeUnit::Nanosecond),]
}

fn nanoseconds(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

fn times(rows: &[Row], unit: TimeUnit) -> ArrayRef {
    let at = rows.iter().map(|row| row.at);
    match unit {
        TimeUnit::Second => Arc::new(at.collect::<TimestampSecondArray>()),
        TimeUnit::Millisecond => Arc::new(at.collect::<TimestampMillisecondArray>()),
        TimeUnit::Microsecond => Arc::new(at.collect::<TimestampMicrosecondArray>()),
        TimeUnit::Nanosecond => Arc::new(at.collect::<TimestampNanosecondArray>()),
    }
}

fn feature_batch(rows: &[Row], unit: TimeUnit) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([
        ("name", Arc::new(rows.iter().map(|row| row.name).collect::<StringArray>()) as ArrayRef, true),
        ("number", Arc::new(rows.iter().map(|row| row.number.map(i64::from)).collect::<Int64Array>()) as ArrayRef, true),
        ("since", times(rows, unit), true),
        ("x", Arc::new(rows.iter().map(|row| row.features.0).collect::<Int64Array>()) as ArrayRef, true),
        ("y", Arc::new(rows.iter().map(|row| row.features.1).collect::<Int64Array>()) as ArrayRef, true),
    ])
    .unwrap()
}

/// The other key type on purpose: labels rarely come with the table's own.
fn label_batch(rows: &[Row], unit: TimeUnit) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([
        ("when", times(rows, unit), true),
        ("no", Arc::new(rows.iter().map(|row| row.number).collect::<Int32Array>()) as ArrayRef, true),
        ("name", Arc::new(rows.iter().map(|row| row.name).collect::<StringArray>()) as ArrayRef, true),
        ("id", Arc::new((0..rows.len() as i64).map(Some).collect::<Int64Array>()) as ArrayRef, true),
    ])
    .unwrap()
}

/// The slow and obvious join: for each label all rows, the best of them.
fn nested_loop(
    label: &Row,
    label_unit: TimeUnit,
    rows: &[Row],
    unit: TimeUnit,
    as_of: AsOf,
    max_age_us: Option<u64>,
) -> Option<Row> {
    let now = i128::from(label.at?) * nanoseconds(label_unit);
    let (name, number) = (label.name?, label.number?);
    let mut best: Option<(i128, Row)> = None;
    for row in rows {
        let Some(at) = row.at.map(|at| i128::from(at) * nanoseconds(unit)) else { continue };
        let is_in_time = match as_of {
            AsOf::AtOrBefore => at <= now,
            AsOf::Before => at < now,
        };
        if row.name != Some(name) || row.number != Some(number) || !is_in_time {
            continue;
        }
        // `None < Some(_)`: null is lowest.
        if best.as_ref().is_none_or(|(then, other)| (at, row.features) > (*then, other.features)) {
            best = Some((at, row.clone()));
        }
    }
    let (at, row) = best?;
    max_age_us.is_none_or(|us| now - at <= i128::from(us) * 1_000).then_some(row)
}

async fn feature_table(world: &World, rows: &[Row], unit: TimeUnit, batch_rows: usize) {
    let table = world.tables.get("t");
    let batches: Vec<RecordBatch> = rows.chunks(batch_rows).map(|rows| feature_batch(rows, unit)).collect();
    let stream = BatchStream::from_batches(feature_batch(&[], unit).schema(), batches);
    table.write(WriteRequest::append().or_create(), stream).await.unwrap();
    world.store.create_table("t").primary_keys(["name", "number"]).timestamp_key("since").run().await.unwrap();
}

fn value(batch: &RecordBatch, column: &str, row: usize) -> Option<i64> {
    let column = batch.column_by_name(column).unwrap().as_primitive::<Int64Type>();
    column.is_valid(row).then(|| column.value(row))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_join_agrees_with_a_nested_loop(
        labels in prop::collection::vec(row(), 0..20),
        rows in prop::collection::vec(row(), 0..30),
        (label_unit, unit) in (unit(), unit()),
        (label_rows, batch_rows) in (1_usize..8, 1_usize..8),
        as_of in prop_oneof![Just(AsOf::AtOrBefore), Just(AsOf::Before)],
        max_age_us in prop::option::of(prop_oneof![0..6_u64, Just(2_000_u64), Just(3_000_000_u64)]),
        features in prop_oneof![Just(vec!["x", "y"]), Just(vec!["y"]), Just(vec!["y", "x"])],
    ) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let world = World::new();
            feature_table(&world, &rows, unit, batch_rows).await;
            let whole = label_batch(&labels, label_unit);
            let part = |from: usize| whole.slice(from, label_rows.min(labels.len() - from));
            let batches: Vec<RecordBatch> = (0..labels.len()).step_by(label_rows).map(part).collect();
            let stream = BatchStream::from_batches(label_batch(&[], label_unit).schema(), batches);
            let mut lookup = FeatureLookupSpec::new("t").key("number", "no").features(features.clone());
            lookup.as_of = as_of;
            if let Some(us) = max_age_us {
                lookup = lookup.max_age(Duration::from_micros(us));
            }
            let set = world.store.training_set(stream).timestamp("when").lookup(lookup).include_feature_timestamps();
            let set = set.run().await.unwrap();
            let mut id = 0;
            for batch in set.batches() {
                for row in 0..batch.num_rows() {
                    assert_eq!(value(batch, "id", row), Some(id as i64), "labels keep their order");
                    let expected = nested_loop(&labels[id], label_unit, &rows, unit, as_of, max_age_us);
                    if features.contains(&"x") {
                        assert_eq!(value(batch, "x", row), expected.as_ref().and_then(|row| row.features.0), "x of label {id}");
                    }
                    assert_eq!(value(batch, "y", row), expected.as_ref().and_then(|row| row.features.1), "y of label {id}");
                    let since = batch.column_by_name("t__since").unwrap();
                    assert_eq!(since.is_valid(row), expected.is_some(), "label {id}");
                    if let Some(expected) = expected {
                        let then = times(std::slice::from_ref(&expected), unit);
                        assert_eq!(since.slice(row, 1).as_ref(), then.as_ref(), "the time that label {id} saw");
                    }
                    id += 1;
                }
            }
            assert_eq!(id, labels.len(), "one row for each label");
        });
    }

    #[test]
    fn online_is_what_the_join_gives_to_a_label_of_now(
        rows in prop::collection::vec(row(), 0..40),
        keys in prop::collection::vec(row(), 0..10),
        unit in unit(),
        batch_rows in 1_usize..8,
    ) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let world = World::new();
            feature_table(&world, &rows, unit, batch_rows).await;
            let online = OnlineStore::open(&world.storage, world.env.clone()).await.unwrap();
            let report = online.publish(&world.store.table("t").await.unwrap()).run().await.unwrap();
            let whole = |row: &&Row| row.name.is_some() && row.number.is_some() && row.at.is_some();
            assert_eq!(report.ignored_rows, (rows.len() - rows.iter().filter(whole).count()) as u64);
            let asked: Vec<Row> = keys.iter().map(|key| Row { at: Some(9), ..key.clone() }).collect();
            let found = online.get("t", &feature_batch(&keys, unit)).unwrap();
            assert_eq!(found.num_rows(), keys.len());
            for (at, label) in asked.iter().enumerate() {
                let expected = nested_loop(label, unit, &rows, unit, AsOf::AtOrBefore, None);
                assert_eq!(value(&found, "x", at), expected.as_ref().and_then(|row| row.features.0));
                assert_eq!(value(&found, "y", at), expected.as_ref().and_then(|row| row.features.1));
            }
        });
    }
}
