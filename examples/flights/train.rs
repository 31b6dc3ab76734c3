//! Step 5: two models, each a tracked run with what it read, what it scored, and itself.

use anyhow::{Context, Result};
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Float64Type, Int64Type};
use boathouse::base::Model;
use boathouse::featurestore::TrainingSet;
use boathouse::mltrack::{DatasetInput, NewRun, RunSearch, RunStatus};
use boathouse::serving::model::{
    EncoderSettings, FeatureEncoder, ForestSettings, LinfaModel, LogisticSettings, ModelFiles, ModelInfo, OptionalColumns,
};

use crate::evaluate::{RocPoint, auc, log_loss, roc, roc_svg};
use crate::features::{self, INPUTS, LABEL};
use crate::story::{MODEL, Report, Story, grouped};

/// A model that has been trained and measured.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// `logistic`, `forest`, `refit`
    pub(crate) name: String,
    /// The run that made it.
    pub(crate) run_id: String,
    /// The folder with its files.
    pub(crate) source: String,
    /// On the months that were held out.
    pub(crate) auc: f64,
}

/// What a candidate is trained and tested on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Months {
    /// Trained on January to this month.
    pub(crate) train_to: i64,
    /// Tested from this month on.
    pub(crate) test_from: i64,
}

const HELD_OUT: Months = Months { train_to: 10, test_from: 11 };

/// Trains what has not been trained on this data.
pub(crate) async fn run(story: &Story, report: &mut Report) -> Result<Vec<Candidate>> {
    let timer =
        story.begin("train", "will a flight arrive more than 30 minutes late? Train to October, test on November and December");
    let mut candidates = Vec::new();
    let mut set = None;
    let mut curves = Vec::new();
    for name in ["logistic", "forest"] {
        if let Some(done) = find(story, name).await? {
            candidates.push(done);
            continue;
        }
        if set.is_none() {
            set = Some(features::training_set(story).await?);
        }
        let Some(set) = &set else { continue };
        let (candidate, curve) = train(story, set, name, HELD_OUT, &curves).await?;
        curves.push((name, curve));
        candidates.push(candidate);
    }
    let told: Vec<String> = candidates.iter().map(|c| format!("{} AUC {:.3}", c.name, c.auc)).collect();
    timer.end(story, report, told.join(", "));
    Ok(candidates)
}

/// Trains, measures, and logs one candidate.
pub(crate) async fn train(
    story: &Story,
    set: &TrainingSet,
    name: &'static str,
    months: Months,
    earlier: &[(&str, Vec<RocPoint>)],
) -> Result<(Candidate, Vec<RocPoint>)> {
    let tracker = story.lake.tracker();
    let tags = vec![("model".to_owned(), name.to_owned()), ("data".to_owned(), data_tag(story).await?)];
    let experiment = tracker.experiment(MODEL).get_or_create().await?;
    let run = experiment.start_run_with(NewRun { run_name: Some(name.to_owned()), tags, ..NewRun::default() }).await?;
    for lookup in set.lookups() {
        let table = story.lake.table(&lookup.table);
        run.log_input(DatasetInput::table_version(&lookup.table, table.url(), lookup.version, "training")).await?;
    }
    let silver = story.lake.table("silver").snapshot().await?;
    run.log_input(DatasetInput::table_version("silver", silver.url(), silver.version(), "training")).await?;

    let train = select(set, |month| month <= months.train_to)?;
    let test = select(set, |month| month >= months.test_from)?;
    let encoder =
        FeatureEncoder::fit(&train, &INPUTS, &EncoderSettings { optional: OptionalColumns::All, ..EncoderSettings::default() })?;
    let model = fit(name, &encoder, &train)?;

    let (scores, truths) = predict(&model, &test)?;
    let curve = roc(&scores, &truths);
    let base_rate = truths.iter().filter(|late| **late).count() as f64 / truths.len().max(1) as f64;
    let (area, loss) = (auc(&curve), log_loss(&scores, &truths));
    let rows = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    run.log_params([
        ("model", name.to_owned()),
        ("train_months", format!("1-{}", months.train_to)),
        ("test_months", format!("{}-12", months.test_from)),
        ("train_rows", rows(&train).to_string()),
        ("test_rows", rows(&test).to_string()),
        ("features", encoder.width().to_string()),
    ])
    .await?;
    run.log_metrics([("auc", area), ("log_loss", loss), ("base_rate", base_rate)], 0).await?;
    let mut drawn: Vec<(&str, &[RocPoint])> = earlier.iter().map(|(name, curve)| (*name, curve.as_slice())).collect();
    drawn.push((name, &curve));
    run.log_artifact("plots/roc.svg", roc_svg("Late flights: held-out months", &drawn)).await?;
    let info = ModelInfo::new(story.lake.env()).with_run(run.id());
    for (path, bytes) in ModelFiles::linfa(&model, &info)?.iter() {
        run.log_artifact(&format!("model/{path}"), bytes.clone()).await?;
    }
    let source = format!("{}/model", run.artifact_location().await?.trim_end_matches('/'));
    let run_id = run.id().to_owned();
    // Only a run that is complete is FINISHED: one that was killed is never taken for it.
    run.end(RunStatus::Finished).await?;
    story.say(format!(
        "{name:<9} AUC {area:.4}, log-loss {loss:.4}, base rate {base_rate:.4} on {} flights; {} features; run {run_id}",
        grouped(truths.len() as u64),
        encoder.width()
    ));
    Ok((Candidate { name: name.to_owned(), run_id, source, auc: area }, curve))
}

fn fit(name: &str, encoder: &FeatureEncoder, train: &[RecordBatch]) -> Result<LinfaModel> {
    Ok(match name {
        "logistic" => LinfaModel::train_logistic(encoder, train, LABEL, &LogisticSettings::default())?,
        _ => LinfaModel::train_random_forest(encoder, train, LABEL, &ForestSettings { seed: 2013, ..ForestSettings::default() })?,
    })
}

/// A finished run of that model on the data as it is now.
pub(crate) async fn find(story: &Story, name: &str) -> Result<Option<Candidate>> {
    let data = data_tag(story).await?;
    let filter = format!("tags.model = '{name}' AND tags.data = '{data}' AND attributes.status = 'FINISHED'");
    let found = story.lake.tracker().search_runs(RunSearch { filter, max_results: 1, ..RunSearch::default() }).await?;
    let Some(run) = found.runs.into_iter().next() else { return Ok(None) };
    let run_id = run.info.run_id.clone();
    let metrics = run.metrics.get("auc").map(|metric| metric.value);
    let location = story.lake.tracker().artifact_location(&run_id).await?;
    Ok(Some(Candidate {
        name: name.to_owned(),
        source: format!("{}/model", location.trim_end_matches('/')),
        auc: metrics.context("a finished run has no metric `auc`")?,
        run_id,
    }))
}

async fn data_tag(story: &Story) -> Result<String> {
    Ok(format!("bronze-v{}", features::data_version(story).await?))
}

/// The rows of some months.
fn select(set: &TrainingSet, wanted: impl Fn(i64) -> bool) -> Result<Vec<RecordBatch>> {
    set.batches()
        .iter()
        .map(|batch| {
            let months = batch.column_by_name("month").context("the training set has no column `month`")?;
            let keep: BooleanArray =
                months.as_primitive::<Int64Type>().iter().map(|month| Some(month.is_some_and(&wanted))).collect();
            Ok(filter_record_batch(batch, &keep)?)
        })
        .collect()
}

/// Probabilities, and what happened.
fn predict(model: &LinfaModel, rows: &[RecordBatch]) -> Result<(Vec<f64>, Vec<bool>)> {
    let (mut scores, mut truths) = (Vec::new(), Vec::new());
    for batch in rows {
        let predicted = model.predict(batch)?;
        scores.extend(predicted.column(0).as_primitive::<Float64Type>().values());
        let late = batch.column_by_name(LABEL).context("the training set has no label")?;
        truths.extend(late.as_boolean().iter().map(|late| late.unwrap_or(false)));
    }
    Ok((scores, truths))
}
