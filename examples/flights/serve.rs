//! Step 7: an HTTP endpoint answers real flights, a new version takes over under load, and a table is scored as HTTP was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, Int64Type};
use boathouse::base::ModelCatalog;
use boathouse::featurestore::OnlineStore;
use boathouse::frames::batch_stream;
use boathouse::registry::{Gate, Stage};
use boathouse::serving::{Endpoint, ScoreTable, http};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::features::{self, REQUEST};
use crate::promote::{self, LEAST_AUC};
use crate::story::{MODEL, Report, Story, grouped};
use crate::train::{self, Months};

/// Flights that are asked for over HTTP, one request each.
const REQUESTS: usize = 1_000;
/// Requests that are under way at once.
const AT_ONCE: usize = 8;

/// What one request was answered: the probability, and the version that gave it.
type Answer = (f64, u64);

/// Serves, scores, and swaps; once for each state of the data.
pub(crate) async fn run(story: &Story, report: &mut Report) -> Result<()> {
    let timer = story.begin("serve", "HTTP with feature lookup, a batch that agrees with it, and a new version under load");
    let data = features::data_version(story).await?;
    let refit = train::find(story, "refit").await?;
    let serving = promote::in_production(story).await?;
    let swapped = refit.is_some_and(|refit| serving.run_id.as_deref() == Some(refit.run_id.as_str()));
    let predictions = story.lake.table("december_predictions");
    let scored = match predictions.try_snapshot().await? {
        Some(snapshot) => snapshot.app_transaction(MODEL).await?.is_some_and(|last| last.version >= data),
        None => false,
    };
    if swapped && scored {
        story.say(format!("version {} serves, and December is scored", serving.version));
        timer.end(story, report, "nothing new to serve");
        return Ok(());
    }

    let online = publish(story).await?;
    let catalog: Arc<dyn ModelCatalog> = Arc::new(story.lake.registry().clone());
    let mut endpoint =
        Endpoint::builder(MODEL).follow(format!("models:/{MODEL}/Production"), catalog).env(story.lake.env().clone());
    for (table, keys) in features::tables() {
        endpoint = endpoint.feature_lookup(Arc::new(online.clone()), table, keys);
    }
    let endpoint = endpoint.open().await?;
    let listening = http::bind("127.0.0.1:0").await?;
    let url = listening.url();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(listening.serve(http::router(endpoint.clone()), async {
        let _ = stopped.await;
    }));

    let december = december(story).await?;
    let step = (december.num_rows() / REQUESTS).max(1);
    let asked: Vec<usize> = (0..december.num_rows()).step_by(step).take(REQUESTS).collect();
    let client = reqwest::Client::new();
    let bar = story.bar("requests", asked.len() as u64);
    let answers: BTreeMap<usize, Answer> = stream::iter(asked.iter().copied())
        .map(|row| {
            let (client, url, december, bar) = (&client, &url, &december, &bar);
            async move {
                let answer = ask(client, url, december, row).await?;
                bar.inc(1);
                anyhow::Ok((row, answer))
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    bar.finish_and_clear();
    story.say(format!("{} requests to {url} answered, each with features looked up by key", grouped(answers.len() as u64)));

    if scored {
        story.say("December was scored before");
    } else {
        let rows = boathouse::base::BatchStream::from_batches(december.schema(), vec![december.clone()]);
        let done = ScoreTable::of_stream(endpoint.scorer()?, rows)
            .keep(["flight_id", "sched_dep"])
            .once(MODEL, data)
            .run(&predictions)
            .await?;
        story.say(format!("{} flights of December scored to a table by version {}", grouped(done.rows), done.model_version));
    }
    compare(story, &december, &answers).await?;

    let versions = swap(story, &endpoint, &client, &url, &december).await?;
    let _ = stop.send(());
    server.await??;
    timer.end(
        story,
        report,
        format!("{} answers equal the batch; versions {versions:?} without an error", grouped(answers.len() as u64)),
    );
    Ok(())
}

/// Puts the newest row of each key online.
async fn publish(story: &Story) -> Result<OnlineStore> {
    let store = features::store(story);
    let online = OnlineStore::open(&story.lake.folder("features"), story.lake.env().clone()).await?;
    let mut keys = 0;
    for (name, _) in features::tables() {
        let table = store.table(name).await?;
        online.publish(&table).run().await?;
    }
    for table in online.status() {
        keys += table.keys;
    }
    story.say(format!("{} keys of {} feature tables are online", grouped(keys), online.status().len()));
    Ok(online)
}

/// What requests say of the flights of December.
async fn december(story: &Story) -> Result<RecordBatch> {
    let session = story.lake.session(["silver"]).await?;
    let frame = session.sql(&format!("SELECT {REQUEST} FROM silver WHERE month = 12 ORDER BY sched_dep, flight_id")).await?;
    let rows = batch_stream(frame).await?;
    let schema = rows.schema();
    Ok(concat_batches(&schema, &rows.collect().await?)?)
}

/// One flight, one request.
async fn ask(client: &reqwest::Client, url: &str, flights: &RecordBatch, row: usize) -> Result<Answer> {
    let text = |name: &str| flights.column_by_name(name).map(|c| c.as_string::<i32>().value(row).to_owned());
    let int = |name: &str| flights.column_by_name(name).map(|c| c.as_primitive::<Int64Type>().value(row));
    let float = |name: &str| flights.column_by_name(name).map(|c| c.as_primitive::<Float64Type>().value(row));
    let body = json!({ "dataframe_records": [{
        "carrier": text("carrier"), "origin": text("origin"), "dest": text("dest"),
        "hour": int("hour"), "day_of_week": int("day_of_week"), "distance": float("distance"),
    }]});
    let reply = client.post(format!("{url}/invocations")).json(&body).send().await?;
    let status = reply.status();
    let version = reply.headers().get("x-boathouse-model-version").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let text = reply.text().await?;
    ensure!(status.is_success(), "the endpoint answered {status}: {text}");
    // The digits are read by the standard library, which is exact: the answer is compared bit by bit.
    let number = text.split(['[', ']']).nth(1).context("the answer holds no list")?;
    Ok((number.trim().parse()?, version.context("the answer does not name the version")?))
}

/// What HTTP answered is what the table holds, bit by bit.
async fn compare(story: &Story, december: &RecordBatch, answers: &BTreeMap<usize, Answer>) -> Result<()> {
    let session = story.lake.session(["december_predictions"]).await?;
    let result = session.sql("SELECT flight_id, probability FROM december_predictions").await?.collect().await?;
    let mut table: BTreeMap<String, f64> = BTreeMap::new();
    for batch in &result {
        let ids = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
        for row in 0..batch.num_rows() {
            table.insert(ids.as_string::<i32>().value(row).to_owned(), batch.column(1).as_primitive::<Float64Type>().value(row));
        }
    }
    let ids = december.column_by_name("flight_id").context("December has no flight ids")?.as_string::<i32>();
    let differ = answers
        .iter()
        .filter(|(row, answer)| table.get(ids.value(**row)).map(|p| p.to_bits()) != Some(answer.0.to_bits()))
        .count();
    story.say(format!("{} HTTP answers compared with the table bit by bit: {differ} differ", grouped(answers.len() as u64)));
    ensure!(
        differ == 0 && table.len() == ids.len(),
        "{differ} answers differ; the table has {} of {} flights",
        table.len(),
        ids.len()
    );
    Ok(())
}

/// Promotes a model that has seen November as well, while requests run.
async fn swap(
    story: &Story,
    endpoint: &Endpoint,
    client: &reqwest::Client,
    url: &str,
    december: &RecordBatch,
) -> Result<BTreeSet<u64>> {
    let refit = match train::find(story, "refit").await? {
        Some(refit) => refit,
        None => {
            let set = features::training_set(story).await?;
            train::train(story, &set, "refit", Months { train_to: 11, test_from: 12 }, &[]).await?.0
        }
    };
    let version = promote::register(story, &refit).await?.version;
    let promoted = AtomicBool::new(false);
    let askers = stream::iter(0..AT_ONCE).map(|asker| {
        let promoted = &promoted;
        async move {
            let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
            let mut after = 0;
            for nth in 0.. {
                let row = (asker + nth * AT_ONCE) % december.num_rows();
                let (_, answered_by) = ask(client, url, december, row).await?;
                *seen.entry(answered_by).or_default() += 1;
                after += usize::from(promoted.load(Ordering::Acquire));
                if after >= 25 {
                    break;
                }
            }
            anyhow::Ok(seen)
        }
    });
    let load = askers.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>();
    let promotion = async {
        let gate = Gate::new([("auc", refit.auc)]).at_least("auc", LEAST_AUC);
        story
            .lake
            .registry()
            .promote(MODEL, version, Stage::Production)
            .require(gate)
            .because("has seen November as well")
            .run()
            .await?;
        endpoint.refresh().await?;
        promoted.store(true, Ordering::Release);
        anyhow::Ok(())
    };
    let (seen, promotion) = tokio::join!(load, promotion);
    promotion?;
    let mut answered: BTreeMap<u64, usize> = BTreeMap::new();
    for (version, n) in seen?.into_iter().flatten() {
        *answered.entry(version).or_default() += n;
    }
    let told: Vec<String> = answered.iter().map(|(version, n)| format!("{} by version {version}", grouped(*n as u64))).collect();
    story.say(format!("version {version} promoted while requests ran: {}, no error", told.join(", ")));
    ensure!(answered.contains_key(&version), "no request was answered by version {version}");
    Ok(answered.into_keys().collect())
}
