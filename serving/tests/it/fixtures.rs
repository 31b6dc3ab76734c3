//! Flights that are late for a reason, and models that say which version they are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::memory::FunctionModel;
use boathouse_base::{BoxFuture, Env, ManualClock, SharedModel, Signature};
use boathouse_serving::http::{bind, router};
use boathouse_serving::model::{EncoderSettings, FeatureEncoder, LinfaModel, LogisticSettings, ModelLoader};
use boathouse_serving::{Endpoint, ServingError};

pub(crate) fn env() -> Env {
    Env::new(ManualClock::starting_at_us(1_700_000_000_000_000), 11)
}

/// Late when it is late in the day, stormy, or flown by `ZZ`; with noise, and nulls in `wind`.
pub(crate) fn flights(rows: usize, seed: u64) -> RecordBatch {
    let chance = Env::new(ManualClock::default(), seed);
    let unit = || chance.random_below(1_000_000) as f64 / 1e6;
    let (mut hour, mut wind, mut carrier, mut holiday, mut late) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..rows {
        let h = chance.random_below(24) as i32;
        let w = unit() * 60.0;
        let c = ["AA", "UA", "DL", "ZZ"][chance.random_below(4) as usize];
        let day = chance.random_below(10) == 0;
        let score = f64::from(h - 14) * 0.2 + if w > 40.0 { 1.5 } else { -0.5 } + if c == "ZZ" { 1.5 } else { -0.5 } - 1.0;
        late.push(unit() < 1.0 / (1.0 + (-score).exp()));
        hour.push(h);
        wind.push((chance.random_below(20) != 0).then_some(w));
        carrier.push(c);
        holiday.push(day);
    }
    RecordBatch::try_from_iter_with_nullable([
        ("hour", Arc::new(Int32Array::from(hour)) as ArrayRef, false),
        ("wind", Arc::new(Float64Array::from(wind)), true),
        ("carrier", Arc::new(StringArray::from(carrier)), false),
        ("holiday", Arc::new(BooleanArray::from(holiday)), false),
        ("late", Arc::new(BooleanArray::from(late)), false),
        ("id", Arc::new(Int32Array::from_iter_values(0..rows as i32)), false),
    ])
    .unwrap()
}

pub(crate) const FEATURES: [&str; 4] = ["hour", "wind", "carrier", "holiday"];

pub(crate) fn encoder(rows: &RecordBatch) -> FeatureEncoder {
    FeatureEncoder::fit(std::slice::from_ref(rows), &FEATURES, &EncoderSettings::default()).unwrap()
}

pub(crate) fn logistic(rows: &RecordBatch) -> LinfaModel {
    LinfaModel::train_logistic(&encoder(rows), std::slice::from_ref(rows), "late", &LogisticSettings::default()).unwrap()
}

/// Gives `number` for every row of `x`.
pub(crate) fn constant(number: f64) -> SharedModel {
    let schema = |name: &str| Arc::new(Schema::new(vec![Field::new(name, DataType::Float64, false)]));
    let signature = Signature { inputs: schema("x"), outputs: schema("y") };
    let outputs = Arc::clone(&signature.outputs);
    Arc::new(FunctionModel::new(signature, move |rows: &RecordBatch| {
        Ok(RecordBatch::try_new(Arc::clone(&outputs), vec![Arc::new(Float64Array::from(vec![number; rows.num_rows()]))]).unwrap())
    }))
}

/// Models by source, for catalogs whose sources are no folders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<BTreeMap<String, SharedModel>>>);

impl Shelf {
    pub(crate) fn put(&self, source: &str, model: SharedModel) {
        self.0.lock().unwrap().insert(source.to_owned(), model);
    }
}

impl ModelLoader for Shelf {
    fn load<'a>(&'a self, source: &'a str) -> BoxFuture<'a, boathouse_base::Result<SharedModel>> {
        let found = self.0.lock().unwrap().get(source).cloned();
        let missing = || ServingError::ModelFileMissing { file: source.to_owned(), found: Vec::new() };
        Box::pin(async move { found.ok_or_else(|| missing().into()) })
    }
}

/// A server on a free port, until it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn serve_router(router: axum::Router) -> Server {
    let listening = bind("127.0.0.1:0").await.unwrap();
    let url = listening.url();
    let task = tokio::spawn(async move { listening.serve(router, std::future::pending()).await.unwrap() });
    Server { url, task }
}

pub(crate) async fn serve(endpoint: &Endpoint) -> Server {
    serve_router(router(endpoint.clone())).await
}

pub(crate) async fn fixed(name: &str, version: u64, model: SharedModel) -> Endpoint {
    Endpoint::builder(name).model(name, version, model).env(env()).open().await.unwrap()
}

/// Posts text; gives status, version header and body.
pub(crate) async fn post(
    client: &reqwest::Client,
    url: &str,
    content_type: &str,
    body: impl Into<String>,
) -> (u16, Option<u64>, String) {
    let reply = client.post(url).header("content-type", content_type).body(body.into()).send().await.unwrap();
    let version = reply.headers().get("x-boathouse-model-version").map(|v| v.to_str().unwrap().parse().unwrap());
    (reply.status().as_u16(), version, reply.text().await.unwrap())
}

/// The numbers of `{"predictions": […]}`, each read by the standard library.
pub(crate) fn predictions(body: &str) -> Vec<f64> {
    let list = body.strip_prefix("{\"predictions\":[").and_then(|b| b.strip_suffix("]}")).unwrap_or_else(|| panic!("{body}"));
    list.split(',').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect()
}
