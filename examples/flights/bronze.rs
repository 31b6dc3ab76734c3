//! Steps 1 and 2: a year of files lands month by month, and each month becomes committed rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow::datatypes::DataType;
use boathouse::autoload::{AutoLoader, ColumnTypes, Format, MetadataColumn};
use boathouse::stream::StreamQuery;

use crate::land::{Feed, count_lines, land_month};
use crate::story::{Report, Story, grouped};

/// Lands what is missing and ingests what is new. May be killed at any moment and run again.
pub(crate) async fn run(story: &Story, report: &mut Report) -> Result<()> {
    let timer = story.begin("land", "the year arrives as one JSON-lines file a day, as real feeds do");
    let landing = story.lake.folder("landing/flights");
    let mut present: Vec<String> = landing.list("").await?.into_iter().map(|entry| entry.path).collect();
    present.sort();
    let feed = Feed::open(&story.data, story.sample_every)?;
    let missing: BTreeSet<i64> =
        feed.files.iter().filter(|file| present.binary_search(&file.name).is_err()).map(|file| file.arrives).collect();
    let late = feed.files.iter().filter(|file| file.is_late()).count();
    story.say(format!(
        "{} files, {late} of them a month late; a new column from July on, one cut file, values of wrong types",
        feed.files.len()
    ));
    timer.end(story, report, format!("{} day files, {} of them new", feed.files.len(), feed.files.len() - present.len()));

    let timer = story.begin("bronze", "Auto Loader -> stream -> Delta, one run for each month that lands");
    let bar = story.bar("months", feed.files.len() as u64);
    // A landing folder exists once something has landed.
    land_month(&feed, &landing, 1, &present, &bar).await?;
    let source = AutoLoader::over(landing.clone())
        .format(Format::json())
        .infer_column_types(ColumnTypes::Inferred)
        // A hint wins over what a dirty file suggests: what does not fit is rescued.
        .schema_hints([("distance", DataType::Int64), ("dep_delay", DataType::Int64)])
        .metadata_column(MetadataColumn::Absent)
        .state(story.lake.folder("autoload/flights"))
        .env(story.lake.env().clone())
        .open()
        .await?;
    let source = Arc::new(source);
    let query = StreamQuery::named("bronze")
        .source(source.clone())
        .sink(Arc::new(story.lake.delta_sink("bronze")))
        .checkpoint(story.lake.folder("streams/bronze"))
        .env(story.lake.env().clone());

    // Months before the first incomplete one have landed. The last of them may not have been ingested yet, unless the
    // next one has begun to land: a month only begins when the one before it is in the table.
    let first = missing.first().copied().unwrap_or(13);
    let has_begun = feed.files.iter().any(|file| file.arrives == first && present.binary_search(&file.name).is_ok());
    let (mut rows, mut epochs) = (0, 0);
    for month in 1..=12 {
        if month > 1 {
            land_month(&feed, &landing, month, &present, &bar).await?;
        }
        let waits = month + 1 >= first && !(month + 1 == first && has_begun);
        if waits {
            let run = query.clone().run_available_now().await?;
            rows += run.input_rows;
            epochs += run.epochs;
        }
    }
    bar.finish_and_clear();

    let snapshot = story.lake.table("bronze").snapshot().await?;
    let quarantined = source.quarantine_counts().await?.lines;
    let in_bronze = snapshot.row_count().await?.unwrap_or_default();
    story.say(format!("{} new rows in {epochs} epochs; bronze is at version {}", grouped(rows), snapshot.version()));
    let (lines, files) = count_lines(&landing).await?;
    story.say(format!(
        "{} rows in bronze + {quarantined} quarantined lines = {} lines in {files} files: nothing lost, nothing twice",
        grouped(in_bronze),
        grouped(lines)
    ));
    ensure!(
        in_bronze + quarantined == lines,
        "bronze has {in_bronze} rows and {quarantined} quarantined lines, of {lines} that landed"
    );
    timer.end(story, report, format!("{} rows, {quarantined} lines in quarantine", grouped(in_bronze)));
    Ok(())
}
