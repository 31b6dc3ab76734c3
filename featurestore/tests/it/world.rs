//! What the tests share: a store over tables in memory, and short ways to make rows.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use boathouse_base::memory::MemoryTables;
use boathouse_base::{Env, ManualClock, ScanRequest, Table, TableVersion};
use boathouse_featurestore::{FeatureStore, FeatureTable};
use boathouse_storage::Storage;

pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) env: Env,
    pub(crate) storage: Storage,
    pub(crate) tables: MemoryTables,
    pub(crate) store: FeatureStore,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::starting_at_us(1_000_000);
        let env = Env::new(clock.clone(), 1);
        let (storage, tables) = (Storage::memory(), MemoryTables::new(env.clone()));
        let store = FeatureStore::new(Arc::new(tables.clone()), &storage, env.clone());
        Self { clock, env, storage, tables, store }
    }

    /// The feature table `weather`: `origin`, `time`, `wind`, `sky`.
    pub(crate) async fn weather(&self) -> FeatureTable {
        let create = self.store.create_table("weather").primary_keys(["origin"]).timestamp_key("time");
        create.schema(weather_schema()).description("hourly weather").run().await.unwrap()
    }

    pub(crate) async fn rows(&self, table: &str) -> Vec<RecordBatch> {
        let snapshot = self.tables.get(table).snapshot(TableVersion::Latest).await.unwrap();
        snapshot.scan(ScanRequest::default()).await.unwrap().collect().await.unwrap()
    }

    pub(crate) async fn version(&self, table: &str) -> u64 {
        self.tables.get(table).snapshot(TableVersion::Latest).await.unwrap().version()
    }
}

pub(crate) fn weather_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("origin", DataType::Utf8, true),
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("wind", DataType::Float64, true),
        Field::new("sky", DataType::Utf8, true),
    ]))
}

pub(crate) fn instants(times: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(times.into_iter().collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

/// Rows of `weather`: origin, time, wind. The sky is `clear` below a wind of 10.
pub(crate) fn weather(rows: &[(&str, i64, f64)]) -> RecordBatch {
    let sky = |wind: f64| if wind < 10.0 { "clear" } else { "storm" };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>()),
        instants(rows.iter().map(|row| Some(row.1))),
        Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| Some(sky(row.2))).collect::<StringArray>()),
    ];
    RecordBatch::try_new(weather_schema(), columns).unwrap()
}

/// Labels: origin, departs.
pub(crate) fn labels(rows: &[(Option<&str>, Option<i64>)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([
        ("origin", Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()) as ArrayRef, true),
        ("departs", instants(rows.iter().map(|row| row.1)), true),
    ])
    .unwrap()
}

pub(crate) fn floats(batch: &RecordBatch, column: &str) -> Vec<Option<f64>> {
    batch.column_by_name(column).unwrap().as_primitive::<Float64Type>().iter().collect()
}

pub(crate) fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    batch.column_by_name(column).unwrap().as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

pub(crate) fn names(schema: &Schema) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}
