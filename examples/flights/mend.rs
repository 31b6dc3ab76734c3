//! Step 8: a bad job overwrites silver; history shows it, and RESTORE brings the old version back.

use anyhow::{Context, Result, ensure};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use boathouse::base::{BatchStream, ScanRequest, TableVersion};
use boathouse::delta::CommitSummary;

use crate::medallion;
use crate::story::{Report, Story, grouped};

/// How the bad job signs its commits.
const BAD_JOB: &str = "cleanup.py";

/// Breaks silver, shows it, and mends it; once for each folder.
pub(crate) async fn run(story: &Story, report: &mut Report) -> Result<()> {
    let timer = story.begin("mend", "a bad job overwrites silver; history shows it, RESTORE brings it back");
    let silver = story.lake.table("silver");
    let history = silver.history(100).await?;
    if history.iter().any(|commit| commit.operation.as_deref() == Some("RESTORE")) {
        story.say("silver was mended before");
        timer.end(story, report, "nothing to mend");
        return Ok(());
    }
    let good = silver.snapshot().await?;
    let before = count(story, TableVersion::Latest).await?;

    let some = good.scan(ScanRequest { limit_rows: Some(10), ..ScanRequest::default() })?.collect().await?;
    let rows: Vec<RecordBatch> = some.into_iter().take(1).map(|batch| batch.slice(0, batch.num_rows().min(10))).collect();
    silver.overwrite(BatchStream::from_batches(good.schema(), rows)).commit_metadata("job", BAD_JOB).run().await?;
    story.say(format!("{} rows of silver are now {}", grouped(before), count(story, TableVersion::Latest).await?));
    for commit in silver.history(3).await? {
        let job = commit.commit_metadata.get("job").map_or("", String::as_str);
        story.say(format!("  version {:<3} {:<10} {job}", commit.version, commit.operation.unwrap_or_default()));
    }
    undo_bad_job(story).await?;

    let restored = count(story, TableVersion::Latest).await?;
    let travelled = count(story, TableVersion::AtUs(good.timestamp_us())).await?;
    story.say(format!("restored: {} rows; as of the time before the bad job: {} rows", grouped(restored), grouped(travelled)));
    ensure!(
        restored == before && travelled == before,
        "silver had {before} rows, has {restored}, and had {travelled} by time travel"
    );
    // Gold follows the restored silver, so that the next run finds everything up to date.
    medallion::update(story).await?;
    timer.end(story, report, format!("{} rows restored", grouped(restored)));
    Ok(())
}

/// Restores silver if its newest change is the bad job's.
pub(crate) async fn undo_bad_job(story: &Story) -> Result<()> {
    let silver = story.lake.table("silver");
    if silver.try_snapshot().await?.is_none() {
        return Ok(());
    }
    let newest: CommitSummary = silver.history(1).await?.into_iter().next().context("silver has no history")?;
    if newest.commit_metadata.get("job").map(String::as_str) == Some(BAD_JOB) {
        let report = silver.restore(TableVersion::Number(newest.version - 1)).run().await?;
        story.say(format!("RESTORE to version {}: {} files came back", report.restored_version, report.files_restored));
    }
    Ok(())
}

/// The rows of silver at some version, counted by SQL over their keys.
async fn count(story: &Story, version: TableVersion) -> Result<u64> {
    let snapshot = story.lake.table("silver").snapshot_at(version).await?;
    let session = datafusion::prelude::SessionContext::new();
    session
        .register_table("silver", std::sync::Arc::new(boathouse::frames::SnapshotProvider::new(std::sync::Arc::new(snapshot))))?;
    let result = session.sql("SELECT count(DISTINCT flight_id) FROM silver").await?.collect().await?;
    Ok(result.first().map_or(0, |batch| batch.column(0).as_primitive::<Int64Type>().value(0)) as u64)
}
