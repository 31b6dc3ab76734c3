//! The same store over Delta tables.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use boathouse_base::{Env, ManualClock, Result, ScanRequest, Table, TableResolver, TableVersion};
use boathouse_delta_table::DeltaTable;
use boathouse_featurestore::{FeatureLookupSpec, FeatureStore, FeatureWriteMode, OnlineStore};
use boathouse_storage::Storage;

use crate::world::{floats, labels, weather, weather_schema};

#[derive(Debug)]
struct Lake {
    storage: Storage,
    env: Env,
}

impl TableResolver for Lake {
    fn table(&self, name: &str) -> Result<Arc<dyn Table>> {
        Ok(Arc::new(DeltaTable::at(self.storage.at("tables").at(name), self.env.clone())))
    }
}

#[tokio::test]
async fn upserts_training_sets_and_publications_work_on_delta_tables() {
    let env = Env::new(ManualClock::starting_at_us(1_000_000), 1);
    let storage = Storage::memory();
    let lake = Arc::new(Lake { storage: storage.clone(), env: env.clone() });
    let store = FeatureStore::new(lake, &storage.at("features"), env.clone());
    let create = || store.create_table("weather").primary_keys(["origin"]).timestamp_key("time").schema(weather_schema());
    let table = create().run().await.unwrap();
    create().or_open().run().await.unwrap();

    let hours: Vec<(&str, i64, f64)> =
        (0..50).flat_map(|hour| [("JFK", hour * 10, hour as f64), ("LGA", hour * 10, 0.5)]).collect();
    let first = store.write("weather", weather(&hours)).run().await.unwrap();
    assert_eq!((first.rows, first.replaced_rows), (100, 0));
    assert!(store.write("weather", weather(&hours)).run().await.unwrap().skipped, "the same rows again change nothing");
    let second =
        store.write("weather", weather(&[("JFK", 200, 99.0), ("BOS", 205, 1.0), ("LGA", 210, 7.0)])).run().await.unwrap();
    assert_eq!((second.rows, second.replaced_rows, second.version), (3, 2, first.version + 1));
    let appended = store.write("weather", weather(&[("EWR", 1, 2.0)])).mode(FeatureWriteMode::Append).run().await.unwrap();

    let rows = table.snapshot(TableVersion::Latest).await.unwrap().scan(ScanRequest::default()).await.unwrap();
    let rows: usize = rows.collect().await.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 102, "replaced rows are gone, the others are there");

    let asked = labels(&[(Some("JFK"), Some(209)), (Some("JFK"), Some(199)), (Some("BOS"), Some(204)), (Some("EWR"), Some(500))]);
    let lookup = FeatureLookupSpec::new("weather").features(["wind"]);
    let set = store.training_set(asked.clone()).timestamp("departs").lookup(lookup.clone()).run().await.unwrap();
    assert_eq!(floats(&set.batches()[0], "wind"), [Some(99.0), Some(19.0), None, Some(2.0)]);
    assert_eq!(set.lookups()[0].version, appended.version);
    let then = lookup.at_version(TableVersion::Number(first.version));
    let set = store.training_set(asked).timestamp("departs").lookup(then).run().await.unwrap();
    assert_eq!(floats(&set.batches()[0], "wind"), [Some(20.0), Some(19.0), None, None], "as it was known before the upsert");

    let online = OnlineStore::open(&storage.at("features"), env).await.unwrap();
    let report = online.publish(&table).run().await.unwrap();
    assert_eq!((report.keys, report.version), (4, appended.version));
    let keys = RecordBatch::try_from_iter([("origin", Arc::new(StringArray::from(vec!["LGA", "JFK"])) as ArrayRef)]).unwrap();
    let found = online.get("weather", &keys).unwrap();
    assert_eq!(found.column(0).as_primitive::<Float64Type>().values(), &[0.5, 49.0]);
}
