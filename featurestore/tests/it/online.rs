use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use boathouse_base::{DomainError, ErrorKind, FeatureLookup, contract};
use boathouse_featurestore::{FeatureLookupSpec, FeatureStore, FeatureWriteMode, OnlineStore};
use boathouse_storage::testing::{Fault, FaultRule, FaultStore};
use boathouse_storage::{Location, Storage};

use crate::world::{World, floats, labels, names, weather};

fn origins(origins: &[Option<&str>]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("origin", Arc::new(StringArray::from(origins.to_vec())) as ArrayRef, true)])
        .unwrap()
}

async fn published(world: &World, rows: &[(&str, i64, f64)]) -> OnlineStore {
    let table = world.weather().await;
    world.store.write("weather", weather(rows)).run().await.unwrap();
    let online = OnlineStore::open(&world.storage, world.env.clone()).await.unwrap();
    online.publish(&table).run().await.unwrap();
    online
}

#[tokio::test]
async fn the_newest_row_of_each_key_is_found_in_the_order_asked() {
    let world = World::new();
    let online = published(&world, &[("JFK", 10, 1.0), ("JFK", 30, 3.0), ("JFK", 20, 2.0), ("LGA", 5, 12.0)]).await;
    let found = online.get("weather", &origins(&[Some("LGA"), Some("BOS"), None, Some("JFK"), Some("LGA")])).unwrap();
    assert_eq!(names(found.schema_ref()), ["wind", "sky"]);
    assert_eq!(floats(&found, "wind"), [Some(12.0), None, None, Some(3.0), Some(12.0)]);
    let status = online.status().remove(0);
    assert_eq!((status.table.as_str(), status.keys, status.source_version), ("weather", 2, 1));
    assert_eq!((status.published_us, status.source_location.as_str()), (1_000_000, "memory:///weather"));
}

#[tokio::test]
async fn an_online_table_keeps_the_contract_of_feature_lookup() {
    let world = World::new();
    let online = published(&world, &[("JFK", 10, 1.0), ("LGA", 5, 12.0)]).await;
    let known = origins(&[Some("LGA"), Some("JFK")]);
    contract::feature_lookup(&online, "weather", &known, &origins(&[Some("BOS"), None])).await;
    let spec = world
        .store
        .training_set(labels(&[(Some("JFK"), Some(99))]))
        .timestamp("departs")
        .lookup(FeatureLookupSpec::new("weather").prefix("w_"))
        .run()
        .await
        .unwrap()
        .spec()
        .clone();
    contract::feature_lookup(&online.with_spec("late", spec), "late", &known, &origins(&[Some("BOS")])).await;
}

#[tokio::test]
async fn a_composite_key_of_other_integer_width_finds_its_row() {
    let world = World::new();
    let rows = RecordBatch::try_from_iter([
        ("carrier", Arc::new(StringArray::from(vec!["AA", "AA", "B6"])) as ArrayRef),
        ("flight", Arc::new(Int64Array::from(vec![1, 11, 1])) as ArrayRef),
        ("delay", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0])) as ArrayRef),
    ])
    .unwrap();
    let create = world.store.create_table("routes").primary_keys(["flight", "carrier"]).schema(rows.schema());
    let table = create.run().await.unwrap();
    world.store.write("routes", rows).run().await.unwrap();
    let online = OnlineStore::open(&world.storage, world.env.clone()).await.unwrap();
    online.publish(&table).run().await.unwrap();
    let asked = RecordBatch::try_from_iter([
        ("carrier", Arc::new(StringArray::from(vec!["B6", "AA", "AA"])) as ArrayRef),
        ("flight", Arc::new(arrow_array::Int16Array::from(vec![1, 11, 12])) as ArrayRef),
    ])
    .unwrap();
    let found = online.get("routes", &asked).unwrap();
    assert_eq!(floats(&found, "delay"), [Some(3.0), Some(2.0), None]);
}

#[tokio::test]
async fn a_published_table_survives_a_restart_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(&Location::parse(folder.path().to_str().unwrap()).unwrap()).unwrap();
    let world = World::new();
    let store = FeatureStore::new(Arc::new(world.tables.clone()), &storage, world.env.clone());
    let create = store.create_table("weather").primary_keys(["origin"]).timestamp_key("time");
    let table = create.schema(crate::world::weather_schema()).run().await.unwrap();
    let online = OnlineStore::open(&storage, world.env.clone()).await.unwrap();
    online.publish(&table).run().await.unwrap();
    let empty = OnlineStore::open(&storage, world.env.clone()).await.unwrap();
    assert_eq!(floats(&empty.get("weather", &origins(&[Some("JFK")])).unwrap(), "wind"), [None], "a table without rows is one");

    store.write("weather", weather(&[("JFK", 10, 1.0)])).run().await.unwrap();
    online.publish(&table).run().await.unwrap();
    let restarted = OnlineStore::open(&storage, world.env.clone()).await.unwrap();
    assert_eq!(floats(&restarted.get("weather", &origins(&[Some("JFK")])).unwrap(), "wind"), [Some(1.0)]);
    let of = |store: &OnlineStore| {
        let status = store.status().remove(0);
        (status.table, status.source_version, status.published_us, status.keys)
    };
    assert_eq!(of(&restarted), of(&online));
}

#[tokio::test]
async fn a_version_is_published_once_and_other_settings_publish_it_again() {
    let world = World::new();
    let online = published(&world, &[("JFK", 10, 1.0)]).await;
    let table = world.store.table("weather").await.unwrap();
    let again = online.publish(&table).run().await.unwrap();
    assert_eq!((again.skipped, again.keys, again.version), (true, 1, 1));
    let fewer = online.publish(&table).features(["sky"]).run().await.unwrap();
    assert!(!fewer.skipped);
    assert_eq!(names(&online.schema("weather").unwrap().features), ["sky"]);
    let error = online.publish(&table).features(["gust"]).run().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("gust"), "{error}");
}

#[tokio::test]
async fn a_process_that_only_reads_takes_in_what_another_publishes() {
    let world = World::new();
    let online = published(&world, &[("JFK", 10, 1.0)]).await;
    let reader = OnlineStore::open(&world.storage, world.env.clone()).await.unwrap();
    assert!(!reader.refresh("weather").await.unwrap(), "there is nothing newer");
    assert!(!reader.refresh("nothing").await.unwrap());
    let table = world.store.table("weather").await.unwrap();
    for round in 2..8 {
        world.store.write("weather", weather(&[("JFK", 10, f64::from(round))])).run().await.unwrap();
        online.publish(&table).run().await.unwrap();
    }
    let wind = |store: &OnlineStore| floats(&store.get("weather", &origins(&[Some("JFK")])).unwrap(), "wind");
    assert_eq!(wind(&reader), [Some(1.0)], "until it is told to look, it keeps what it has");
    assert!(reader.refresh("weather").await.unwrap());
    assert_eq!(wind(&reader), [Some(7.0)]);
    // A second publisher that is behind sees that its version is online already.
    let report = reader.publish(&table).run().await.unwrap();
    assert!(report.skipped);
    let segments = world.storage.list("online/weather/segments").await.unwrap();
    assert_eq!(segments.len(), 2, "those of this manifest and of the one before: {segments:?}");
}

#[tokio::test]
async fn a_row_that_is_too_old_is_not_found() {
    let world = World::new();
    let table = world.weather().await;
    world.store.write("weather", weather(&[("JFK", 1_000_000, 1.0)])).run().await.unwrap();
    let online = OnlineStore::open(&world.storage, world.env.clone()).await.unwrap();
    online.publish(&table).max_age(Duration::from_secs(2)).run().await.unwrap();
    let wind = || floats(&online.get("weather", &origins(&[Some("JFK")])).unwrap(), "wind");
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(wind(), [Some(1.0)], "exactly the greatest age");
    world.clock.advance(Duration::from_micros(1));
    assert_eq!(wind(), [None]);
    let restarted = OnlineStore::open(&world.storage, world.env.clone()).await.unwrap();
    assert_eq!(floats(&restarted.get("weather", &origins(&[Some("JFK")])).unwrap(), "wind"), [None]);
}

#[tokio::test]
async fn a_spec_gives_a_request_the_columns_of_the_training_set() {
    let world = World::new();
    let online = published(&world, &[("JFK", 10, 1.0), ("LAX", 20, 20.0)]).await;
    let columns = |asked: &RecordBatch| {
        RecordBatch::try_from_iter_with_nullable([
            ("origin", asked.column(0).clone(), true),
            ("departs", asked.column(1).clone(), true),
            ("dest", Arc::new(StringArray::from(vec!["LAX", "JFK"])) as ArrayRef, true),
        ])
        .unwrap()
    };
    let asked = columns(&labels(&[(Some("JFK"), Some(25)), (Some("BOS"), Some(25))]));
    let set = world
        .store
        .training_set(asked.clone())
        .timestamp("departs")
        .lookup(FeatureLookupSpec::new("weather").features(["sky", "wind"]))
        .lookup(FeatureLookupSpec::new("weather").key("origin", "dest").prefix("dest_").max_age(Duration::from_micros(10)))
        .run()
        .await
        .unwrap();
    let assembled = online.assemble(set.spec(), &asked).unwrap();
    assert_eq!(assembled.schema().fields(), set.schema().fields());
    assert_eq!(&assembled, &set.batches()[0], "the request is answered as the label was");
    assert_eq!(floats(&assembled, "dest_wind"), [Some(20.0), None], "ages count from the time of the request");
    let error = online.assemble(set.spec(), &set.batches()[0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn wrong_requests_name_what_is_wrong() {
    let world = World::new();
    let online = published(&world, &[("JFK", 10, 1.0)]).await;
    let error = online.get("wether", &origins(&[Some("JFK")])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("wether") && error.to_string().contains("\"weather\""), "{error}");
    let number = RecordBatch::try_from_iter([("origin", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    let error = FeatureLookup::lookup(&online, "weather", &number).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(["`origin`", "Utf8", "Int64"].iter().all(|word| error.to_string().contains(word)), "{error}");
}

#[tokio::test]
async fn a_damaged_segment_is_corrupt_and_is_named() {
    let world = World::new();
    published(&world, &[("JFK", 10, 1.0), ("LGA", 10, 2.0)]).await;
    let path = world.storage.list("online/weather/segments").await.unwrap().remove(0).path;
    let whole = world.storage.get(&path).await.unwrap().to_vec();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bytes in [flipped, whole[..whole.len() - 1].to_vec(), Vec::new()] {
        world.storage.put(&path, bytes).await.unwrap();
        let error = OnlineStore::open(&world.storage, world.env.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("segments/"), "{error}");
    }
}

/// Every request of a publication may be the last one: what is online afterwards is the old table or the new one,
/// and the next publication mends the rest.
#[tokio::test]
async fn a_publication_that_dies_at_any_request_leaves_the_old_table_or_the_new_one() {
    let mut died = 0;
    for request in 0..60 {
        let world = World::new();
        let table = world.weather().await;
        let faulty = FaultStore::new(Arc::clone(world.storage.object_store()));
        world.store.write("weather", weather(&[("JFK", 1, 1.0)])).run().await.unwrap();
        let online = OnlineStore::open(&faulty.storage(), world.env.clone()).await.unwrap();
        online.publish(&table).run().await.unwrap();
        world.store.write("weather", weather(&[("JFK", 1, 2.0), ("LGA", 1, 2.0)])).run().await.unwrap();
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            faulty.inject(FaultRule::new(fault).skip(request).times(1));
            let result = online.publish(&table).run().await;
            let crashed = faulty.is_crashed();
            faulty.clear();
            faulty.revive();
            died += u32::from(crashed);
            let asked = origins(&[Some("JFK"), Some("LGA")]);
            let restarted = OnlineStore::open(&faulty.storage(), world.env.clone()).await.unwrap();
            for store in [&online, &restarted] {
                let found = floats(&store.get("weather", &asked).unwrap(), "wind");
                let (old, new) = (vec![Some(1.0), None], vec![Some(2.0), Some(2.0)]);
                assert!(found == old || found == new, "{found:?} after {fault:?} at request {request}");
                assert!(result.is_err() || found == new, "a publication that succeeded is seen");
            }
        }
        online.publish(&table).run().await.unwrap();
        let found = online.get("weather", &origins(&[Some("LGA")])).unwrap();
        assert_eq!(floats(&found, "wind"), [Some(2.0)]);
    }
    assert!(died > 10, "{died} crashes");
}

/// Each publication gives all keys one value, so a mixed answer would show two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_during_a_publication_see_the_old_table_or_the_new_one() {
    let world = World::new();
    let names: Vec<String> = (0..200).map(|key| format!("K{key}")).collect();
    let rows = |wind: f64| weather(&names.iter().map(|name| (name.as_str(), 1, wind)).collect::<Vec<_>>());
    let table = world.weather().await;
    world.store.write("weather", rows(0.0)).run().await.unwrap();
    let online = OnlineStore::open(&world.storage, world.env.clone()).await.unwrap();
    online.publish(&table).run().await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let asked = origins(&names.iter().map(|name| Some(name.as_str())).collect::<Vec<_>>());
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (online, done, asked) = (online.clone(), Arc::clone(&done), asked.clone());
            std::thread::spawn(move || {
                let (mut last, mut lookups) = (0.0, 0_u64);
                while !done.load(Ordering::Relaxed) || lookups == 0 {
                    let found = online.get("weather", &asked).unwrap();
                    let wind = found.column(0).as_primitive::<Float64Type>().values();
                    assert!(wind.iter().all(|value| *value == wind[0]), "a mixed answer");
                    assert!(wind[0] >= last, "time went backwards");
                    (last, lookups) = (wind[0], lookups + 1);
                }
                lookups
            })
        })
        .collect();
    for wind in 1..20 {
        world.store.write("weather", rows(f64::from(wind))).mode(FeatureWriteMode::Overwrite).run().await.unwrap();
        online.publish(&table).run().await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
}

#[tokio::test]
async fn two_publishers_at_once_both_end_with_the_newest_version_online() {
    let world = World::new();
    let first = published(&world, &[("JFK", 10, 1.0)]).await;
    let second = OnlineStore::open(&world.storage, world.env.clone()).await.unwrap();
    let table = world.store.table("weather").await.unwrap();
    for round in 2..10 {
        world.store.write("weather", weather(&[("JFK", 10, f64::from(round))])).run().await.unwrap();
        let (a, b) = tokio::join!(first.publish(&table).run(), second.publish(&table).run());
        assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
        for store in [&first, &second] {
            let found = store.get("weather", &origins(&[Some("JFK")])).unwrap();
            assert_eq!(floats(&found, "wind"), [Some(f64::from(round))]);
        }
    }
}

#[tokio::test]
async fn a_million_rows_of_few_keys_are_compacted_on_the_way() {
    let world = World::new();
    let rows = |from: i64, rows: i64| {
        RecordBatch::try_from_iter([
            ("id", Arc::new((from..from + rows).map(|row| Some(row % 7)).collect::<Int64Array>()) as ArrayRef),
            ("at", crate::world::instants((from..from + rows).map(|row| Some((row * 7_919) % 1_000_003)))),
            ("row", Arc::new((from..from + rows).map(Some).collect::<Int64Array>()) as ArrayRef),
        ])
        .unwrap()
    };
    let create = world.store.create_table("t").primary_keys(["id"]).timestamp_key("at").schema(rows(0, 0).schema());
    let table = create.run().await.unwrap();
    let all = 1_300_000;
    let batches = (0..13).map(|part| rows(part * 100_000, 100_000)).collect();
    let stream = boathouse_base::BatchStream::from_batches(rows(0, 0).schema(), batches);
    let request = boathouse_base::WriteRequest::append();
    boathouse_base::Table::write(&world.tables.get("t"), request, stream).await.unwrap();
    let online = OnlineStore::open(&world.storage, world.env.clone()).await.unwrap();
    let report = online.publish(&table).run().await.unwrap();
    assert_eq!((report.keys, report.rows_read), (7, all as u64));
    let asked = RecordBatch::try_from_iter([("id", Arc::new((0..7).map(Some).collect::<Int64Array>()) as ArrayRef)]).unwrap();
    let found = online.get("t", &asked).unwrap();
    for key in 0..7_i64 {
        let newest = (0..all).filter(|row| row % 7 == key).max_by_key(|row| ((row * 7_919) % 1_000_003, *row));
        assert_eq!(Some(found.column(0).as_primitive::<Int64Type>().value(usize::try_from(key).unwrap())), newest);
    }
}
