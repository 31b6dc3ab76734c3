//! Step 3: silver and gold, by a pipeline with expectations.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use boathouse::base::ReadLimit;
use boathouse::delta::{DeltaSource, DeltaSourceOptions, StreamStart};
use boathouse::pipelines::{Dataset, DatasetStatus, OnViolation, Pipeline, Query, StreamFlow, Target};
use boathouse::stream::{StreamQuery, TumblingWindow};

use crate::mend;
use crate::story::{Report, Story, grouped};

/// Typed flights. What had the wrong type in the feed is found again in the rescued data.
const SILVER: &str = r#"
WITH typed AS (
    SELECT *,
        arrow_cast(arrow_cast(time_hour, 'Int64') + minute * 60000000, 'Timestamp(Microsecond, Some("UTC"))') AS sched_dep,
        COALESCE(CAST(distance AS DOUBLE), CAST((regexp_match(_rescued_data, '"distance":"([0-9]+) mi"'))[1] AS DOUBLE)) AS miles,
        COALESCE(dep_delay, CAST((regexp_match(_rescued_data, '"dep_delay":"(-?[0-9]+) min"'))[1] AS BIGINT)) AS late_by
    FROM bronze
)
SELECT
    concat(carrier, CAST(flight AS VARCHAR), '-', origin, '-', to_char(sched_dep, '%Y%m%dT%H%M')) AS flight_id,
    sched_dep, make_date(year, month, day) AS flight_date, month, hour,
    CAST(date_part('dow', make_date(year, month, day)) AS BIGINT) AS day_of_week,
    carrier, flight, tailnum, origin, dest, miles AS distance, seats,
    late_by AS dep_delay, arr_delay, air_time, dep_time IS NULL AS cancelled,
    arrow_cast(arrow_cast(sched_dep, 'Int64') + (COALESCE(late_by, 0) + COALESCE(air_time, 0) + 60) * 60000000,
               'Timestamp(Microsecond, Some("UTC"))') AS known_at
FROM typed
"#;

const CARRIER_DAY: &str = "
SELECT carrier, flight_date, count(*) AS flights, sum(CAST(cancelled AS BIGINT)) AS cancelled,
       sum(CASE WHEN arr_delay > 30 THEN 1 ELSE 0 END) AS late, avg(arr_delay) AS mean_arr_delay
FROM silver GROUP BY carrier, flight_date
";

/// A late file comes a month late: windows stay open for so long.
const PATIENCE: Duration = Duration::from_secs(35 * 24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

/// The pipeline of this story.
pub(crate) fn pipeline(story: &Story) -> Result<Pipeline> {
    // Commit by commit from the first one on: months come in their order, and no hour closes too early.
    let from_the_first = DeltaSourceOptions { start: StreamStart::Version(0), ..DeltaSourceOptions::default() };
    let departures = StreamQuery::named("hourly_departures")
        .source(Arc::new(DeltaSource::new(story.lake.table("bronze")).with_options(from_the_first)))
        .sql("SELECT time_hour AS departs, origin FROM source WHERE origin IS NOT NULL AND time_hour IS NOT NULL")
        .watermark("departs", PATIENCE)
        .window(TumblingWindow::over("departs", HOUR).by(["origin"]).count("departures"))
        .read_limit(ReadLimit { files: Some(1), ..ReadLimit::default() })
        .checkpoint(story.lake.folder("streams/hourly_departures"))
        .env(story.lake.env().clone());
    let silver = Dataset::materialized_view("silver", Query::sql(SILVER))
        .expect(
            "has_route",
            "sched_dep IS NOT NULL AND carrier IS NOT NULL AND origin IS NOT NULL AND dest IS NOT NULL",
            OnViolation::Fail,
        )
        .expect("distance_known", "distance > 0", OnViolation::Drop)
        .expect("delay_plausible", "arr_delay IS NULL OR arr_delay BETWEEN -120 AND 1000", OnViolation::Warn)
        .expect("tail_number_known", "tailnum IS NOT NULL", OnViolation::Warn);
    Ok(Pipeline::named("flights")
        .external(["bronze"])
        .dataset(silver)
        .dataset(Dataset::materialized_view("carrier_day", Query::sql(CARRIER_DAY)))
        .dataset(Dataset::streaming_table("hourly_departures", StreamFlow::new(departures)))
        .build()?)
}

/// Brings silver and gold up to date.
pub(crate) async fn run(story: &Story, report: &mut Report) -> Result<()> {
    let timer = story.begin("medallion", "a pipeline with expectations makes silver and gold from bronze");
    // A run that was killed between the bad job and its mending left silver broken.
    mend::undo_bad_job(story).await?;
    let done = update(story).await?;
    for dataset in &done.datasets {
        story.say(format!("{:<18} {:<11} {:>9} rows", dataset.name, dataset.status.as_str(), grouped(dataset.rows)));
        for count in &dataset.expectations {
            story.say(format!(
                "  expect {:<19} {:<4} passed {:>9}  failed {:>6}",
                count.name,
                count.on_violation.as_str(),
                grouped(count.passed),
                grouped(count.failed)
            ));
        }
    }
    check_windows(story).await?;
    let fresh = done.datasets.iter().filter(|dataset| matches!(dataset.status, DatasetStatus::Completed)).count();
    timer.end(story, report, format!("{fresh} of {} datasets were out of date", done.datasets.len()));
    Ok(())
}

/// One update of the pipeline.
pub(crate) async fn update(story: &Story) -> Result<boathouse::pipelines::UpdateReport> {
    let target = Target {
        tables: Arc::new(story.lake.clone()),
        sinks: Arc::new(story.lake.clone()),
        env: story.lake.env().clone(),
        event_log: Some(Arc::new(story.lake.table("event_log"))),
    };
    Ok(pipeline(story)?.update(target).run().await?.into_result()?)
}

/// The stream's hourly counts against one query over all of bronze, for every hour that is closed.
async fn check_windows(story: &Story) -> Result<()> {
    let session = story.lake.session(["bronze", "hourly_departures"]).await?;
    let sql = "
        WITH batch AS (SELECT date_trunc('hour', time_hour) AS hour, origin, count(*) AS n FROM bronze GROUP BY 1, 2),
             closed AS (SELECT max(window_start) AS last FROM hourly_departures)
        SELECT count(*) AS hours,
               count(*) FILTER (WHERE stream.departures IS DISTINCT FROM batch.n) AS different
        FROM batch CROSS JOIN closed
        LEFT JOIN hourly_departures AS stream ON stream.window_start = batch.hour AND stream.origin = batch.origin
        WHERE batch.hour <= closed.last";
    let result = session.sql(sql).await?.collect().await?;
    let number = |column: usize| result.first().map_or(0, |batch| batch.column(column).as_primitive::<Int64Type>().value(0));
    let (hours, different) = (number(0), number(1));
    story.say(format!(
        "{} closed hours counted by the stream equal one query over bronze; {different} differ",
        grouped(hours as u64)
    ));
    ensure!(hours > 0 && different == 0, "{different} of {hours} hourly counts of the stream differ from bronze");
    Ok(())
}
