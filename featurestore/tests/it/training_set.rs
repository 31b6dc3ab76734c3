use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMicrosecondType};
use arrow_array::{
    ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
    TimestampNanosecondArray,
};
use boathouse_base::{BatchStream, DomainError, ErrorKind, Table, TableVersion, WriteRequest};
use boathouse_featurestore::{FeatureError, FeatureLookupSpec, FeatureSpec, FeatureWriteMode, TrainingSet};

use crate::world::{World, floats, instants, labels, names, texts, weather};

async fn joined(world: &World, labels: RecordBatch, lookup: FeatureLookupSpec) -> TrainingSet {
    world.store.training_set(labels).timestamp("departs").lookup(lookup).run().await.unwrap()
}

#[tokio::test]
async fn a_label_sees_the_newest_row_of_its_key_that_is_not_from_its_future() {
    let world = World::new();
    world.weather().await;
    let rows = weather(&[("JFK", 10, 1.0), ("JFK", 30, 3.0), ("JFK", 20, 2.0), ("LGA", 15, 15.0)]);
    world.store.write("weather", rows).run().await.unwrap();
    let asked = labels(&[
        (Some("JFK"), Some(29)),
        (Some("JFK"), Some(9)),
        (Some("JFK"), Some(30)),
        (Some("LGA"), Some(1_000)),
        (Some("BOS"), Some(1_000)),
        (None, Some(1_000)),
        (Some("JFK"), None),
        (Some("JFK"), Some(29)),
    ]);
    let set = joined(&world, asked.clone(), FeatureLookupSpec::new("weather")).await;
    let batch = &set.batches()[0];
    assert_eq!(names(&set.schema()), ["origin", "departs", "wind", "sky"]);
    assert_eq!(batch.project(&[0, 1]).unwrap(), asked, "labels keep their columns, rows and order");
    let expected = [Some(2.0), None, Some(3.0), Some(15.0), None, None, None, Some(2.0)];
    assert_eq!(floats(batch, "wind"), expected);
    assert_eq!(texts(batch, "sky")[3].as_deref(), Some("storm"));
    let report = &set.lookups()[0];
    assert_eq!((report.matched_rows, report.unmatched_rows), (4, 4));
    assert_eq!((report.null_key_rows, report.null_timestamp_rows), (1, 1));
    assert_eq!((report.version, report.location.as_str()), (1, "memory:///weather"));
    assert_eq!(report.columns, ["wind", "sky"]);
}

#[tokio::test]
async fn a_row_of_the_labels_own_time_counts_unless_it_must_be_strictly_before() {
    let world = World::new();
    world.weather().await;
    world.store.write("weather", weather(&[("JFK", 10, 1.0), ("JFK", 20, 2.0)])).run().await.unwrap();
    let asked = labels(&[(Some("JFK"), Some(10)), (Some("JFK"), Some(20)), (Some("JFK"), Some(21))]);
    let at = joined(&world, asked.clone(), FeatureLookupSpec::new("weather")).await;
    assert_eq!(floats(&at.batches()[0], "wind"), [Some(1.0), Some(2.0), Some(2.0)]);
    let before = joined(&world, asked, FeatureLookupSpec::new("weather").strictly_before()).await;
    assert_eq!(floats(&before.batches()[0], "wind"), [None, Some(1.0), Some(2.0)]);
}

#[tokio::test]
async fn a_row_of_exactly_the_greatest_age_counts_and_an_older_one_does_not() {
    let world = World::new();
    world.weather().await;
    world.store.write("weather", weather(&[("JFK", 100, 1.0)])).run().await.unwrap();
    let asked = labels(&[(Some("JFK"), Some(100)), (Some("JFK"), Some(150)), (Some("JFK"), Some(151))]);
    let young = FeatureLookupSpec::new("weather").max_age(Duration::from_micros(50));
    assert_eq!(floats(&joined(&world, asked.clone(), young).await.batches()[0], "wind"), [Some(1.0), Some(1.0), None]);
    let now = FeatureLookupSpec::new("weather").max_age(Duration::ZERO);
    assert_eq!(floats(&joined(&world, asked, now).await.batches()[0], "wind"), [Some(1.0), None, None]);
}

#[tokio::test]
async fn a_null_in_the_newest_row_is_the_answer() {
    let world = World::new();
    world.weather().await;
    world.store.write("weather", weather(&[("JFK", 10, 1.0)])).run().await.unwrap();
    let silent = RecordBatch::try_from_iter([
        ("origin", Arc::new(StringArray::from(vec!["JFK"])) as ArrayRef),
        ("time", instants([Some(20)])),
    ])
    .unwrap();
    world.store.write("weather", silent).run().await.unwrap();
    let set = joined(&world, labels(&[(Some("JFK"), Some(30))]), FeatureLookupSpec::new("weather")).await;
    assert_eq!(floats(&set.batches()[0], "wind"), [None]);
    assert_eq!(set.lookups()[0].matched_rows, 1, "a row was found");
}

#[tokio::test]
async fn of_two_rows_with_one_key_and_time_the_greater_answers_however_they_were_written() {
    let rows = [("JFK", 10, 7.0), ("JFK", 10, 25.0), ("JFK", 10, 8.0)];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let world = World::new();
        world.weather().await;
        for at in order {
            world.store.write("weather", weather(&[rows[at]])).mode(FeatureWriteMode::Append).run().await.unwrap();
        }
        let set = joined(&world, labels(&[(Some("JFK"), Some(30))]), FeatureLookupSpec::new("weather")).await;
        assert_eq!(floats(&set.batches()[0], "wind"), [Some(25.0)]);
        assert_eq!(set.lookups()[0].tied_rows, 2);
        // The row is chosen by all its features, so that another choice of columns shows the same row: by the
        // sky alone `storm` would win as well, but `clear` belongs to the rows that stood back.
        let sky = FeatureLookupSpec::new("weather").features(["sky"]);
        let set = joined(&world, labels(&[(Some("JFK"), Some(30))]), sky).await;
        assert_eq!(texts(&set.batches()[0], "sky"), [Some("storm".to_owned())]);
    }
}

#[tokio::test]
async fn a_tie_is_decided_by_features_that_are_not_wanted_too() {
    let world = World::new();
    world.weather().await;
    let row = |wind: f64, sky: &str| {
        let mut batch = weather(&[("JFK", 10, wind)]);
        let mut columns = batch.columns().to_vec();
        columns[3] = Arc::new(StringArray::from(vec![sky]));
        batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
        batch
    };
    for batch in [row(9.0, "aurora"), row(1.0, "zephyr")] {
        world.store.write("weather", batch).mode(FeatureWriteMode::Append).run().await.unwrap();
    }
    let sky = FeatureLookupSpec::new("weather").features(["sky"]);
    let set = joined(&world, labels(&[(Some("JFK"), Some(30))]), sky).await;
    assert_eq!(texts(&set.batches()[0], "sky"), [Some("aurora".to_owned())], "the row with the stronger wind");
}

#[tokio::test]
async fn many_lookups_stand_side_by_side_with_prefixes_and_other_key_names() {
    let world = World::new();
    world.weather().await;
    world.store.write("weather", weather(&[("JFK", 10, 1.0), ("LAX", 5, 50.0)])).run().await.unwrap();
    let planes = RecordBatch::try_from_iter([
        ("tail", Arc::new(Int64Array::from(vec![7, 8])) as ArrayRef),
        ("seats", Arc::new(Float64Array::from(vec![70.0, 80.0])) as ArrayRef),
    ])
    .unwrap();
    world.store.create_table("planes").primary_keys(["tail"]).schema(planes.schema()).run().await.unwrap();
    world.store.write("planes", planes).run().await.unwrap();
    let flights = RecordBatch::try_from_iter([
        ("origin", Arc::new(StringArray::from(vec!["JFK", "JFK"])) as ArrayRef),
        ("dest", Arc::new(StringArray::from(vec!["LAX", "BOS"])) as ArrayRef),
        // Narrower than the key: it is compared by value.
        ("tailnum", Arc::new(Int32Array::from(vec![8, -1])) as ArrayRef),
        ("departs", instants([Some(20), Some(20)])),
    ])
    .unwrap();
    let at_dest = FeatureLookupSpec::new("weather").key("origin", "dest").prefix("dest_").features(["wind"]);
    let set = world
        .store
        .training_set(flights)
        .timestamp("departs")
        .lookup(FeatureLookupSpec::new("weather").features(["wind"]))
        .lookup(at_dest)
        .lookup(FeatureLookupSpec::new("planes").key("tail", "tailnum"))
        .include_feature_timestamps()
        .exclude_columns(["tailnum"])
        .run()
        .await
        .unwrap();
    let columns = ["origin", "dest", "departs", "wind", "weather__time", "dest_wind", "dest_weather__time", "seats"];
    assert_eq!(names(&set.schema()), columns);
    let batch = &set.batches()[0];
    assert_eq!(floats(batch, "wind"), [Some(1.0), Some(1.0)]);
    assert_eq!(floats(batch, "dest_wind"), [Some(50.0), None]);
    assert_eq!(floats(batch, "seats"), [Some(80.0), None]);
    let times: Vec<Option<i64>> =
        batch.column_by_name("dest_weather__time").unwrap().as_primitive::<TimestampMicrosecondType>().iter().collect();
    assert_eq!(times, [Some(5), None]);
    assert_eq!(set.lookups()[1].timestamp_column.as_deref(), Some("dest_weather__time"));
    assert_eq!(set.lookups()[2].timestamp_column, None);

    let json = serde_json::to_string(set.spec()).unwrap();
    assert_eq!(&serde_json::from_str::<FeatureSpec>(&json).unwrap(), set.spec(), "a spec is kept as JSON");
}

#[tokio::test]
async fn a_past_version_of_the_features_can_be_read() {
    let world = World::new();
    world.weather().await;
    world.store.write("weather", weather(&[("JFK", 10, 1.0)])).run().await.unwrap();
    world.store.write("weather", weather(&[("JFK", 10, 99.0)])).run().await.unwrap();
    let asked = labels(&[(Some("JFK"), Some(30))]);
    let then = FeatureLookupSpec::new("weather").at_version(TableVersion::Number(1));
    let set = joined(&world, asked.clone(), then).await;
    assert_eq!((floats(&set.batches()[0], "wind"), set.lookups()[0].version), (vec![Some(1.0)], 1));
    let set = joined(&world, asked.clone(), FeatureLookupSpec::new("weather")).await;
    assert_eq!((floats(&set.batches()[0], "wind"), set.lookups()[0].version), (vec![Some(99.0)], 2));
    let never = FeatureLookupSpec::new("weather").at_version(TableVersion::Number(9));
    let error = world.store.training_set(asked).timestamp("departs").lookup(never).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn times_of_other_units_are_compared_exactly() {
    let world = World::new();
    let rows = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1, 1])) as ArrayRef),
        ("at", Arc::new(TimestampNanosecondArray::from(vec![2_000_000, 2_000_001])) as ArrayRef),
        ("x", Arc::new(Float64Array::from(vec![1.0, 2.0])) as ArrayRef),
    ])
    .unwrap();
    world.store.create_table("t").primary_keys(["id"]).timestamp_key("at").schema(rows.schema()).run().await.unwrap();
    world.store.write("t", rows).run().await.unwrap();
    let asked = |at: ArrayRef| {
        RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef), ("departs", at)]).unwrap()
    };
    // A millisecond is rounded neither up nor down: the row one nanosecond later is in its future.
    let set = joined(&world, asked(Arc::new(TimestampMillisecondArray::from(vec![2]))), FeatureLookupSpec::new("t")).await;
    assert_eq!(floats(&set.batches()[0], "x"), [Some(1.0)]);
    let set = joined(&world, asked(Arc::new(Date32Array::from(vec![1]))), FeatureLookupSpec::new("t")).await;
    assert_eq!(floats(&set.batches()[0], "x"), [Some(2.0)]);

    let error = world.store.training_set(asked(instants([Some(5)]))).timestamp("departs").lookup(FeatureLookupSpec::new("t"));
    let error = error.run().await.unwrap_err();
    assert!(matches!(error, FeatureError::TimestampZones { .. }), "{error}");
    let far: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![253_402_300_799_000]));
    let error = world.store.training_set(asked(far)).timestamp("departs").lookup(FeatureLookupSpec::new("t"));
    let error = error.run().await.unwrap_err();
    assert!(matches!(error, FeatureError::TimestampOverflow { .. }), "{error}");
}

#[tokio::test]
async fn calls_that_cannot_be_are_refused_before_anything_is_read() {
    let world = World::new();
    world.weather().await;
    let good = || labels(&[(Some("JFK"), Some(1))]);
    let lookup = || FeatureLookupSpec::new("weather");
    let build =
        |labels: RecordBatch, lookup: FeatureLookupSpec| world.store.training_set(labels).timestamp("departs").lookup(lookup);
    let number = RecordBatch::try_from_iter([
        ("origin", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("departs", instants([Some(1)])),
    ])
    .unwrap();
    let wind = RecordBatch::try_from_iter([
        ("origin", good().column(0).clone()),
        ("departs", instants([Some(1)])),
        ("wind", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef),
    ])
    .unwrap();
    let cases: Vec<(_, ErrorKind, &[&str])> = vec![
        (world.store.training_set(good()).run().await, ErrorKind::Invalid, &["lookup"]),
        (world.store.training_set(good()).lookup(lookup()).run().await, ErrorKind::Invalid, &["weather", "timestamp"]),
        (build(good(), FeatureLookupSpec::new("wether")).run().await, ErrorKind::NotFound, &["wether", "weather"]),
        (build(good(), lookup().features(["gust"])).run().await, ErrorKind::Invalid, &["gust", "wind"]),
        (build(good(), lookup().features(["origin"])).run().await, ErrorKind::Invalid, &["origin", "wind"]),
        (build(good(), lookup().key("airport", "origin")).run().await, ErrorKind::Invalid, &["airport", "origin"]),
        (build(good(), lookup().key("origin", "dest")).run().await, ErrorKind::Invalid, &["dest", "departs"]),
        (build(good(), lookup().timestamp("origin")).run().await, ErrorKind::Invalid, &["origin", "Utf8"]),
        (build(good(), lookup()).lookup(lookup()).run().await, ErrorKind::Invalid, &["wind", "prefix"]),
        (build(wind, lookup()).run().await, ErrorKind::Invalid, &["wind", "prefix"]),
        (build(number, lookup()).run().await, ErrorKind::Invalid, &["origin", "Utf8", "Int64"]),
        (build(good(), lookup()).exclude_columns(["tail"]).run().await, ErrorKind::Invalid, &["tail"]),
    ];
    for (result, kind, words) in cases {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    }
}

#[tokio::test]
async fn labels_without_rows_and_features_without_rows_keep_their_columns() {
    let world = World::new();
    world.weather().await;
    let set = joined(&world, labels(&[(Some("JFK"), Some(1))]), FeatureLookupSpec::new("weather")).await;
    assert_eq!((set.rows(), floats(&set.batches()[0], "wind")), (1, vec![None]));
    world.store.write("weather", weather(&[("JFK", 10, 1.0)])).run().await.unwrap();
    let nobody = BatchStream::empty(labels(&[]).schema());
    let lookup = FeatureLookupSpec::new("weather");
    let set = world.store.training_set(nobody).timestamp("departs").lookup(lookup).run().await.unwrap();
    assert_eq!((set.rows(), names(&set.schema()).len()), (0, 4));
    assert!(set.into_stream().collect().await.unwrap().is_empty());
}

#[tokio::test]
async fn rows_with_null_keys_or_times_of_a_table_made_elsewhere_match_nothing() {
    let world = World::new();
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("origin", Arc::new(StringArray::from(vec![None, Some("JFK"), Some("JFK")])) as ArrayRef, true),
        ("time", instants([Some(1), None, Some(2)]), true),
        ("wind", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0])) as ArrayRef, true),
    ])
    .unwrap();
    world.tables.get("weather").write(WriteRequest::append().or_create(), BatchStream::from(rows)).await.unwrap();
    world.store.create_table("weather").primary_keys(["origin"]).timestamp_key("time").run().await.unwrap();
    let asked = labels(&[(None, Some(9)), (Some("JFK"), Some(9)), (Some("JFK"), Some(1))]);
    let set = joined(&world, asked, FeatureLookupSpec::new("weather")).await;
    assert_eq!(floats(&set.batches()[0], "wind"), [None, Some(3.0), None]);
}

/// As many rows as a year of flights from three airports with their hourly weather, against an ordered map.
#[tokio::test]
async fn a_year_of_flights_finds_the_weather_of_its_hour() {
    const FLIGHTS: i64 = 336_776;
    const HOUR: i64 = 3_600_000_000;
    let world = World::new();
    world.weather().await;
    let airports = ["EWR", "JFK", "LGA"];
    let mut random = 1_u64;
    let mut next = |below: i64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((random >> 33) % u64::try_from(below).unwrap()).unwrap()
    };
    let mut model: HashMap<&str, BTreeMap<i64, f64>> = HashMap::new();
    let mut reports = Vec::new();
    for hour in 0..8_760 {
        for airport in airports {
            // Reports are missing now and then.
            if next(160) > 0 {
                let (at, wind) = (hour * HOUR, next(500) as f64 / 10.0);
                model.entry(airport).or_default().insert(at, wind);
                reports.push((airport, at, wind));
            }
        }
    }
    world.store.write("weather", weather(&reports)).run().await.unwrap();
    let flights: Vec<(Option<&str>, Option<i64>)> =
        (0..FLIGHTS).map(|_| (Some(airports[usize::try_from(next(3)).unwrap()]), Some(next(8_760 * HOUR)))).collect();
    let batches: Vec<RecordBatch> = flights.chunks(8_192).map(labels).collect();
    let stream = BatchStream::from_batches(batches[0].schema(), batches);
    let lookup = FeatureLookupSpec::new("weather").features(["wind"]).max_age(Duration::from_secs(3_600));
    let set =
        world.store.training_set(stream).timestamp("departs").lookup(lookup).include_feature_timestamps().run().await.unwrap();
    let mut row = 0;
    for batch in set.batches() {
        let wind = batch.column_by_name("wind").unwrap().as_primitive::<Float64Type>();
        let times = batch.column_by_name("weather__time").unwrap().as_primitive::<TimestampMicrosecondType>();
        for (wind, time) in wind.iter().zip(times) {
            let (airport, at) = (flights[row].0.unwrap(), flights[row].1.unwrap());
            let expected = model[airport].range(..=at).next_back().filter(|(then, _)| at - **then <= HOUR);
            assert_eq!((time, wind), (expected.map(|e| *e.0), expected.map(|e| *e.1)), "flight {row}");
            row += 1;
        }
    }
    assert_eq!(row, flights.len());
}
