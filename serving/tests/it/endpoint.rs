//! Following a catalog.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::memory::{FunctionModel, MemoryCatalog, MemoryFeatures};
use boathouse_base::{DomainError, Env, ErrorKind, ManualClock, Signature};
use boathouse_serving::{Endpoint, EndpointBuilder, FirstModel, Polling, Refreshed, ServingError};

use crate::fixtures::{Shelf, constant, env, post, predictions, serve};

struct House {
    catalog: MemoryCatalog,
    shelf: Shelf,
}

impl House {
    /// Versions 1 to `versions`, each answering with its number; the first in Production.
    fn new(versions: u64) -> Self {
        let (catalog, shelf) = (MemoryCatalog::new(), Shelf::default());
        for version in 1..=versions {
            let source = format!("shelf/{version}");
            shelf.put(&source, constant(version as f64));
            assert_eq!(catalog.register("late", &source), version);
        }
        if versions > 0 {
            catalog.set_stage("late", 1, "Production").unwrap();
        }
        Self { catalog, shelf }
    }

    fn promote(&self, version: u64) {
        for other in 1.. {
            if self.catalog.set_stage("late", other, "Archived").is_err() {
                break;
            }
        }
        self.catalog.set_stage("late", version, "Production").unwrap();
    }

    fn builder(&self) -> EndpointBuilder {
        Endpoint::builder("late")
            .follow("models:/late/Production", Arc::new(self.catalog.clone()))
            .with_loader(Arc::new(self.shelf.clone()))
            .polling(Polling::ByHand)
            .env(env())
    }
}

fn x(values: &[f64]) -> RecordBatch {
    RecordBatch::try_from_iter([("x", Arc::new(Float64Array::from(values.to_vec())) as ArrayRef)]).unwrap()
}

fn first(batch: &RecordBatch) -> f64 {
    batch.column(0).as_primitive::<Float64Type>().value(0)
}

#[tokio::test]
async fn refresh_changes_to_the_promoted_version_and_pinned_ones_stay() {
    let house = House::new(2);
    let endpoint = house.builder().open().await.unwrap();
    let pinned = endpoint.scorer().unwrap();
    assert_eq!(endpoint.refresh().await.unwrap(), Refreshed::Unchanged { version: 1 });
    house.promote(2);
    assert_eq!(endpoint.refresh().await.unwrap(), Refreshed::Swapped { from: Some(1), to: 2 });
    assert_eq!(first(&endpoint.predict(&x(&[0.0])).await.unwrap()), 2.0);
    assert_eq!(first(&pinned.predict(&x(&[0.0])).await.unwrap()), 1.0);
    let status = endpoint.status();
    assert_eq!((status.version, status.swaps, status.requests, status.failures), (Some(2), 1, 1, 0));
}

#[tokio::test]
async fn a_version_that_does_not_load_leaves_the_old_one_serving_and_shows_why() {
    let house = House::new(1);
    let endpoint = house.builder().open().await.unwrap();
    house.catalog.register("late", "nowhere");
    house.promote(2);
    let error = endpoint.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("models:/late/Production"), "{error}");
    assert_eq!(first(&endpoint.predict(&x(&[0.0])).await.unwrap()), 1.0);
    assert!(endpoint.status().last_error.unwrap().contains("nowhere"));
    house.shelf.put("nowhere", constant(2.0));
    endpoint.refresh().await.unwrap();
    assert_eq!((endpoint.status().version, endpoint.status().last_error), (Some(2), None));
}

#[tokio::test]
async fn a_fixed_model_stays_whoever_asks_to_refresh() {
    let endpoint = Endpoint::builder("fixed").model("late", 3, constant(1.0)).env(env()).open().await.unwrap();
    assert_eq!(endpoint.refresh().await.unwrap(), Refreshed::Unchanged { version: 3 });
    assert_eq!(endpoint.status().swaps, 0);
}

#[tokio::test]
async fn an_endpoint_opens_without_a_model_only_when_told_to() {
    let house = House::new(0);
    let error = house.builder().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let endpoint = house.builder().first_model(FirstModel::Awaited).open().await.unwrap();
    let server = serve(&endpoint).await;
    let health = async || reqwest::get(format!("{}/health", server.url)).await.unwrap().status().as_u16();
    assert_eq!(health().await, 503);
    let (status, _, body) =
        post(&reqwest::Client::new(), &format!("{}/invocations", server.url), "application/json", r#"{"inputs":[1]}"#).await;
    assert_eq!(status, 503, "{body}");
    house.shelf.put("s", constant(1.0));
    house.catalog.register("late", "s");
    house.promote(1);
    endpoint.refresh().await.unwrap();
    assert_eq!(health().await, 200);
}

#[tokio::test]
async fn a_builder_without_a_model_or_with_a_bad_reference_says_so() {
    let error = Endpoint::builder("late").open().await.unwrap_err();
    assert!(matches!(error, ServingError::EndpointSetting { .. }), "{error}");
    let catalog = Arc::new(MemoryCatalog::new());
    let error = Endpoint::builder("late").follow("late/Production", catalog).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let house = House::new(1);
    let error = Endpoint::builder("late").follow("models:/late/Live", Arc::new(house.catalog)).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn polling_follows_the_clock_and_a_notification_does_not_wait_for_it() {
    let clock = ManualClock::default();
    let house = House::new(3);
    let endpoint =
        house.builder().polling(Polling::Every(Duration::from_secs(5))).env(Env::new(clock.clone(), 1)).open().await.unwrap();
    let version = async |wanted: u64| {
        for _ in 0..1000 {
            if endpoint.status().version == Some(wanted) {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    };
    house.promote(2);
    assert!(!version(2).await, "time stands still");
    clock.advance(Duration::from_secs(5));
    assert!(version(2).await, "a poll later");
    house.promote(3);
    endpoint.notify();
    assert!(version(3).await, "a call is enough");

    // The task ends with its endpoint: nobody sleeps any more.
    drop(endpoint);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(clock.until_next_sleeper(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn swaps_under_load_drop_no_request_and_every_answer_is_of_the_version_it_names() {
    let house = House::new(2);
    let endpoint = house.builder().open().await.unwrap();
    let server = serve(&endpoint).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (url, stop) = (format!("{}/invocations", server.url), Arc::clone(&stop));
            tokio::spawn(async move {
                let client = reqwest::Client::new();
                let (mut requests, mut seen) = (0_u64, std::collections::BTreeSet::new());
                while !stop.load(Ordering::Relaxed) {
                    let (status, version, body) =
                        post(&client, &url, "application/json", r#"{"instances":[{"x":1},{"x":2}]}"#).await;
                    assert_eq!(status, 200, "{body}");
                    let version = version.unwrap();
                    assert_eq!(predictions(&body), [version as f64; 2]);
                    requests += 1;
                    seen.insert(version);
                }
                (requests, seen)
            })
        })
        .collect();
    for turn in 0..40 {
        house.promote(1 + (turn + 1) % 2);
        endpoint.refresh().await.unwrap();
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.unwrap_err();
    }
    stop.store(true, Ordering::Relaxed);
    let (mut requests, mut seen) = (0, std::collections::BTreeSet::new());
    for client in clients {
        let (n, versions) = client.await.unwrap();
        requests += n;
        seen.extend(versions);
    }
    let status = endpoint.status();
    assert_eq!((status.swaps, status.requests, status.failures), (40, requests, 0));
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 2]);
}

/// Answers `distance + 10 · delay`, both required.
fn sum_model() -> boathouse_base::SharedModel {
    let inputs = Arc::new(Schema::new(vec![
        Field::new("distance", DataType::Float64, false),
        Field::new("delay", DataType::Float64, false),
    ]));
    let outputs = Arc::new(Schema::new(vec![Field::new("y", DataType::Float64, false)]));
    let signature = Signature { inputs, outputs: Arc::clone(&outputs) };
    Arc::new(FunctionModel::new(signature, move |rows: &RecordBatch| {
        let column = |at: usize| rows.column(at).as_primitive::<Float64Type>().clone();
        let y: Float64Array = column(0).values().iter().zip(column(1).values()).map(|(a, b)| a + 10.0 * b).collect();
        Ok(RecordBatch::try_new(Arc::clone(&outputs), vec![Arc::new(y)]).unwrap())
    }))
}

#[tokio::test]
async fn features_are_found_by_key_and_a_key_without_a_row_is_refused_by_the_feature_that_is_missing() {
    let features = MemoryFeatures::new();
    let rows = RecordBatch::try_from_iter([
        ("route", Arc::new(StringArray::from(vec!["JFK-LAX", "LGA-ORD"])) as ArrayRef),
        ("delay", Arc::new(Float64Array::from(vec![1.5, 2.5]))),
        ("unused", Arc::new(Int64Array::from(vec![1, 2]))),
    ])
    .unwrap();
    features.put("routes", &rows, &["route"]).unwrap();
    let endpoint = Endpoint::builder("late")
        .model("late", 1, sum_model())
        .feature_lookup(Arc::new(features.clone()), "routes", &["origin_dest"])
        .env(env())
        .open()
        .await
        .unwrap();
    let scorer = endpoint.scorer().unwrap();
    let names: Vec<_> = scorer.request_schema().fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["distance", "origin_dest"]);

    let server = serve(&endpoint).await;
    let (client, url) = (reqwest::Client::new(), format!("{}/invocations", server.url));
    let ask = async |body: &str| post(&client, &url, "application/json", body).await;
    let (status, _, body) =
        ask(r#"{"dataframe_records":[{"distance":100,"origin_dest":"LGA-ORD"},{"distance":200,"origin_dest":"JFK-LAX"}]}"#).await;
    assert_eq!((status, predictions(&body)), (200, vec![125.0, 215.0]));
    let (status, _, body) = ask(r#"{"dataframe_records":[{"distance":100,"origin_dest":"EWR-SFO"}]}"#).await;
    assert_eq!(status, 400);
    assert!(body.contains("`delay`"), "{body}");
    let (status, _, body) = ask(r#"{"dataframe_records":[{"distance":100}]}"#).await;
    assert_eq!(status, 400);
    assert!(body.contains("`origin_dest`"), "{body}");
}

#[tokio::test]
async fn lookups_that_cannot_be_bound_are_refused_when_the_endpoint_opens() {
    let features = MemoryFeatures::new();
    let rows = RecordBatch::try_from_iter([
        ("route", Arc::new(StringArray::from(vec!["a"])) as ArrayRef),
        ("delay", Arc::new(Float64Array::from(vec![1.0]))),
    ])
    .unwrap();
    features.put("routes", &rows, &["route"]).unwrap();
    features.put("others", &rows, &["route"]).unwrap();
    let open = async |lookups: &[(&str, &[&str])]| {
        let mut builder = Endpoint::builder("late").model("late", 1, sum_model()).env(env());
        for (table, keys) in lookups {
            builder = builder.feature_lookup(Arc::new(features.clone()), *table, keys);
        }
        builder.open().await.unwrap_err()
    };
    assert_eq!(open(&[("nowhere", &[])]).await.kind(), ErrorKind::NotFound);
    assert!(matches!(open(&[("routes", &["a", "b"])]).await, ServingError::LookupKeys { .. }));
    assert!(
        matches!(open(&[("routes", &[]), ("others", &[])]).await, ServingError::AmbiguousFeature { column, .. } if column == "delay")
    );
}
