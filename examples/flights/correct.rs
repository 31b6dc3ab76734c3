//! Step 9: the airlines correct what they reported. All of it is SQL, on tables with deletion vectors: what is not corrected stays where it is.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use boathouse::delta::{DeltaSession, StatementReport};

use crate::story::{Report, Story, grouped};

const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS corrections (flight_id STRING NOT NULL, kind STRING, arr_delay BIGINT) USING DELTA",
    "CREATE TABLE IF NOT EXISTS logbook USING DELTA CLUSTER BY (flight_date) AS
     SELECT flight_id, flight_date, carrier, origin, dest, CAST(arr_delay AS BIGINT) AS arr_delay, cancelled FROM silver",
];

const CORRECT: &str = "
    MERGE INTO logbook AS l USING corrections AS c ON l.flight_id = c.flight_id
    WHEN MATCHED AND c.kind = 'withdrawn' THEN DELETE
    WHEN MATCHED AND l.arr_delay IS DISTINCT FROM c.arr_delay THEN UPDATE SET arr_delay = c.arr_delay";

/// Corrections that the logbook does not show. The first of them are gone, and the others are what it says.
const OPEN: &str = "
    SELECT count(*) FROM corrections AS c JOIN logbook AS l ON l.flight_id = c.flight_id
    WHERE c.kind = 'withdrawn' OR l.arr_delay IS DISTINCT FROM c.arr_delay";

/// Loads the corrections that are new, and brings the logbook up to date. May be killed at any moment and run again.
pub(crate) async fn run(story: &Story, report: &mut Report) -> Result<()> {
    let timer = story.begin("correct", "corrections arrive as CSV; COPY INTO loads them, MERGE brings the logbook up to date");
    let tables = format!("{}tables", story.lake.url());
    let context = story.lake.session(["silver"]).await?;
    let session = DeltaSession::with_context(context, story.lake.env().clone()).with_warehouse(&tables)?;
    for statement in TABLES {
        session.sql(statement).await?;
    }
    land(story, &session).await?;
    let load = format!(
        "COPY INTO corrections FROM '{}landing/corrections' FILEFORMAT = CSV FORMAT_OPTIONS ('header' = 'true')",
        story.lake.url()
    );
    let StatementReport::Copy(loaded) = session.sql(&load).await? else { unreachable!("COPY INTO reports a copy") };
    story.say(format!(
        "COPY INTO: {} rows of {} new files, {} known",
        grouped(loaded.rows_inserted),
        loaded.files_loaded,
        loaded.files_known
    ));

    let StatementReport::Merge(merged) = session.sql(CORRECT).await? else { unreachable!("MERGE reports a merge") };
    let open = number(&session, OPEN).await?;
    ensure!(open == 0, "{open} corrections are not in the logbook");
    if !merged.committed {
        story.say("the logbook shows all of them");
        timer.end(story, report, "nothing to correct");
        return Ok(());
    }
    story.say(format!(
        "MERGE: {} flights amended, {} withdrawn; {} files got deletion vectors, and {} other rows were written again",
        grouped(merged.rows_updated),
        grouped(merged.rows_deleted),
        merged.files_marked,
        grouped(merged.rows_copied)
    ));
    let history = session.query("DESCRIBE HISTORY logbook").await?.select_columns(&["version", "operation"])?.collect().await?;
    for batch in &history {
        let (versions, operations) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
        for (version, operation) in versions.iter().zip(operations) {
            story.say(format!("  version {:<3} {}", version.unwrap_or_default(), operation.unwrap_or_default()));
        }
    }
    let before = mean(&session, "logbook VERSION AS OF 0").await?;
    let after = mean(&session, "logbook").await?;
    story.say(format!("a flight was {before:.2} minutes late before, and is {after:.2} after"));
    timer.end(story, report, format!("{} flights corrected", grouped(merged.rows_updated + merged.rows_deleted)));
    Ok(())
}

/// The corrections of each half of the year, as files. Very late flights were a little less late; some that were cancelled never were on
/// sale. What a file says is a function of silver, and a put is atomic.
async fn land(story: &Story, session: &DeltaSession) -> Result<()> {
    let landing = story.lake.folder("landing/corrections");
    for (file, months) in [("first-half.csv", "1 AND 6"), ("second-half.csv", "7 AND 12")] {
        if landing.head(file).await?.is_some() {
            continue;
        }
        let rows = session
            .query(&format!(
                "SELECT concat(flight_id, ',amended,', CAST(min(arr_delay) - 15 AS BIGINT)) AS line FROM silver
                 WHERE arr_delay > 180 AND month BETWEEN {months} GROUP BY flight_id
                 UNION ALL
                 SELECT DISTINCT concat(flight_id, ',withdrawn,') FROM silver
                 WHERE cancelled AND carrier IN ('EV', 'YV') AND month BETWEEN {months}
                 ORDER BY line"
            ))
            .await?
            .collect()
            .await?;
        let mut text = "flight_id,kind,arr_delay\n".to_owned();
        for batch in &rows {
            let lines = arrow::compute::cast(batch.column(0), &DataType::Utf8)?;
            for line in lines.as_string::<i32>().iter().flatten() {
                writeln!(text, "{line}")?;
            }
        }
        landing.put(file, text).await?;
    }
    Ok(())
}

async fn number(session: &DeltaSession, query: &str) -> Result<i64> {
    let rows = session.query(query).await?.collect().await?;
    Ok(rows.first().context("a count is one row")?.column(0).as_primitive::<Int64Type>().value(0))
}

async fn mean(session: &DeltaSession, table: &str) -> Result<f64> {
    let rows = session.query(&format!("SELECT avg(arr_delay) FROM {table}")).await?.collect().await?;
    Ok(rows.first().context("a mean is one row")?.column(0).as_primitive::<Float64Type>().value(0))
}
