//! Step 4: feature tables whose rows say since when they hold, and a training set that never looks ahead.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, Schema};
use boathouse::base::{AppTransaction, BatchStream};
use boathouse::featurestore::{FeatureLookupSpec, FeatureStore, FeatureWriteMode, TrainingSet};
use boathouse::frames::batch_stream;
use datafusion::prelude::SessionContext;

use crate::land::read_parquet;
use crate::story::{Report, Story, grouped};

/// A feature table of this story.
struct FeatureTable {
    name: &'static str,
    keys: &'static [&'static str],
    about: &'static str,
    sql: &'static str,
}

/// All of them have the column `as_of`: a row holds what was known at that instant, and from then on.
const TABLES: [FeatureTable; 4] = [
    FeatureTable {
        name: "weather",
        keys: &["origin"],
        about: "the weather of the hour at an airport",
        sql: "SELECT origin, arrow_cast(time_hour, 'Timestamp(Microsecond, Some(\"UTC\"))') AS as_of,
                     avg(temp) AS temp, avg(humid) AS humid, avg(wind_speed) AS wind_speed, avg(precip) AS precip,
                     avg(pressure) AS pressure, avg(visib) AS visib
              FROM weather_raw GROUP BY 1, 2",
    },
    FeatureTable {
        name: "route_delays",
        keys: &["origin", "dest"],
        about: "arrivals of a route in the seven days before",
        sql: "WITH known AS (
                  SELECT origin, dest, date_trunc('day', known_at) AS at, count(*) AS n, sum(arr_delay) AS delay,
                         sum(CASE WHEN arr_delay > 30 THEN 1 ELSE 0 END) AS late
                  FROM silver WHERE arr_delay IS NOT NULL GROUP BY 1, 2, 3)
              SELECT origin, dest, at + INTERVAL '1 day' AS as_of,
                     CAST(sum(late) OVER trailing AS DOUBLE) / sum(n) OVER trailing AS route_late_rate,
                     CAST(sum(delay) OVER trailing AS DOUBLE) / sum(n) OVER trailing AS route_mean_delay
              FROM known
              WINDOW trailing AS (PARTITION BY origin, dest ORDER BY at RANGE BETWEEN INTERVAL '6 days' PRECEDING AND CURRENT ROW)",
    },
    FeatureTable {
        name: "carrier_delays",
        keys: &["carrier"],
        about: "arrivals of a carrier in the 24 hours before",
        sql: "WITH known AS (
                  SELECT carrier, date_trunc('hour', known_at) AS at, count(*) AS n, sum(arr_delay) AS delay,
                         sum(CASE WHEN arr_delay > 30 THEN 1 ELSE 0 END) AS late
                  FROM silver WHERE arr_delay IS NOT NULL GROUP BY 1, 2)
              SELECT carrier, at + INTERVAL '1 hour' AS as_of,
                     CAST(sum(late) OVER trailing AS DOUBLE) / sum(n) OVER trailing AS carrier_late_rate,
                     CAST(sum(delay) OVER trailing AS DOUBLE) / sum(n) OVER trailing AS carrier_mean_delay
              FROM known
              WINDOW trailing AS (PARTITION BY carrier ORDER BY at RANGE BETWEEN INTERVAL '23 hours' PRECEDING AND CURRENT ROW)",
    },
    FeatureTable {
        name: "origin_delays",
        keys: &["origin"],
        about: "arrivals from an airport in the four hours before",
        sql: "WITH known AS (
                  SELECT origin, date_trunc('hour', known_at) AS at, count(*) AS n, sum(arr_delay) AS delay,
                         sum(CASE WHEN arr_delay > 30 THEN 1 ELSE 0 END) AS late
                  FROM silver WHERE arr_delay IS NOT NULL GROUP BY 1, 2)
              SELECT origin, at + INTERVAL '1 hour' AS as_of,
                     CAST(sum(late) OVER trailing AS DOUBLE) / sum(n) OVER trailing AS origin_late_rate,
                     CAST(sum(delay) OVER trailing AS DOUBLE) / sum(n) OVER trailing AS origin_mean_delay
              FROM known
              WINDOW trailing AS (PARTITION BY origin ORDER BY at RANGE BETWEEN INTERVAL '3 hours' PRECEDING AND CURRENT ROW)",
    },
];

/// What a request for a prediction says of a flight; everything else is looked up.
pub(crate) const REQUEST: &str = "flight_id, sched_dep, carrier, origin, dest, hour, day_of_week, distance";

/// What a model sees.
pub(crate) const INPUTS: [&str; 17] = [
    "carrier",
    "origin",
    "hour",
    "day_of_week",
    "distance",
    "temp",
    "humid",
    "wind_speed",
    "precip",
    "pressure",
    "visib",
    "route_late_rate",
    "route_mean_delay",
    "carrier_late_rate",
    "carrier_mean_delay",
    "origin_late_rate",
    "origin_mean_delay",
];

/// What a model learns to predict: whether a flight arrives more than 30 minutes late.
pub(crate) const LABEL: &str = "late";

/// The feature store of this story.
pub(crate) fn store(story: &Story) -> FeatureStore {
    FeatureStore::new(Arc::new(story.lake.clone()), &story.lake.folder("features"), story.lake.env().clone())
}

/// The feature tables and their keys.
pub(crate) fn tables() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    TABLES.iter().map(|table| (table.name, table.keys))
}

/// Everything that features and labels are made from has the version of bronze: silver is a function of it.
pub(crate) async fn data_version(story: &Story) -> Result<u64> {
    Ok(story.lake.table("bronze").snapshot().await?.version())
}

/// Brings the feature tables up to date.
pub(crate) async fn run(story: &Story, report: &mut Report) -> Result<()> {
    let timer = story.begin("features", "weather, and trailing delay statistics that use only the past");
    let store = store(story);
    let version = data_version(story).await?;
    let session = story.lake.session(["silver"]).await?;
    session.register_batch("weather_raw", read_parquet(&story.data.join("weather.parquet"))?)?;
    let mut written = 0;
    for table in &TABLES {
        let app_id = format!("features:{}", table.name);
        let last = match story.lake.table(table.name).try_snapshot().await? {
            Some(snapshot) => snapshot.app_transaction(&app_id).await?.map(|last| last.version),
            None => None,
        };
        if last >= Some(version) {
            continue;
        }
        let rows = compute(&session, table.sql).await?;
        let schema = Arc::new(Schema::clone(&rows.schema()));
        let mut create = store.create_table(table.name).primary_keys(table.keys.iter().copied()).timestamp_key("as_of");
        create = create.description(table.about).schema(schema).or_open();
        create.run().await?;
        let transaction = AppTransaction { app_id, version, payload: None };
        let done = store.write(table.name, rows).mode(FeatureWriteMode::Overwrite).in_transaction(transaction).run().await?;
        story.say(format!("{:<15} {:>8} rows: {}", table.name, grouped(done.rows), table.about));
        written += 1;
    }
    timer.end(story, report, format!("{written} of {} feature tables were out of date", TABLES.len()));
    Ok(())
}

async fn compute(session: &SessionContext, sql: &str) -> Result<BatchStream> {
    Ok(batch_stream(session.sql(sql).await?).await?)
}

/// Labels of flights that arrived, with every feature as of the scheduled departure.
pub(crate) async fn training_set(story: &Story) -> Result<TrainingSet> {
    let session = story.lake.session(["silver"]).await?;
    let sql = format!(
        "SELECT {REQUEST}, month, arr_delay > 30 AS {LABEL} FROM silver WHERE arr_delay IS NOT NULL ORDER BY sched_dep, flight_id"
    );
    let labels = compute(&session, &sql).await?;
    let store = store(story);
    let mut set = store.training_set(labels).timestamp("sched_dep").include_feature_timestamps();
    for table in &TABLES {
        // A statistic of last week says nothing; the model is told that nothing is known.
        let lookup = FeatureLookupSpec::new(table.name).max_age(Duration::from_secs(7 * 24 * 3600));
        set = set.lookup(lookup);
    }
    let set = set.run().await?;
    prove(story, &set).await?;
    Ok(set)
}

/// No feature row lies after its label: counted over every row and every table.
async fn prove(story: &Story, set: &TrainingSet) -> Result<()> {
    let session = SessionContext::new();
    let frame = set.clone().into_frame(&session)?;
    session.register_table("set", frame.into_view())?;
    let found = TABLES.iter().map(|t| format!("count({0}__as_of)", t.name)).collect::<Vec<_>>().join(" + ");
    let ahead =
        TABLES.iter().map(|t| format!("count(*) FILTER (WHERE {0}__as_of > sched_dep)", t.name)).collect::<Vec<_>>().join(" + ");
    let result = session.sql(&format!("SELECT count(*), {found}, {ahead} FROM set")).await?.collect().await?;
    let number = |column: usize| result.first().map_or(0, |batch| batch.column(column).as_primitive::<Int64Type>().value(0));
    story.say(format!(
        "{} labels, {} feature rows found for them, {} of these after their label",
        grouped(number(0) as u64),
        grouped(number(1) as u64),
        number(2)
    ));
    ensure!(number(1) > 0 && number(2) == 0, "{} feature rows lie after their label", number(2));
    Ok(())
}
