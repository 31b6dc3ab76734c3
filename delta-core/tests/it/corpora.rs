//! Tables that other engines wrote, through SQL: the same rows as through [`Snapshot::scan`].

use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::DataType;
use boathouse_base::{Error, ErrorKind, ScanRequest};
use boathouse_delta_core::{DeltaTable, DeltaTableProvider, Snapshot};
use boathouse_frames::from_datafusion;
use boathouse_storage::{Location, Storage, seeded_env};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

/// The log of this table says that nothing is null in a column that its files do not have: who believes it skips rows.
const LYING: &str = "parsed-stats";

/// Rows as text, sorted.
pub(crate) fn bag(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            rows.push(values.join("|"));
        }
    }
    rows.sort_unstable();
    rows
}

/// Two tables of one session: `d` is the table, and `m` its rows in memory.
struct Pair {
    session: SessionContext,
    fails_as: Option<ErrorKind>,
}

impl Pair {
    async fn of(snapshot: &Snapshot, config: SessionConfig) -> Self {
        let session = SessionContext::new_with_config(config);
        let rows = match snapshot.scan(ScanRequest::default()) {
            Ok(rows) => rows.collect().await,
            Err(error) => Err(error.into()),
        };
        session.register_table("d", Arc::new(DeltaTableProvider::pinned(snapshot.clone()))).unwrap();
        match rows {
            Ok(batches) => {
                let memory = MemTable::try_new(snapshot.schema(), vec![batches]).unwrap();
                session.register_table("m", Arc::new(memory)).unwrap();
                Self { session, fails_as: None }
            }
            Err(error) => Self { session, fails_as: Some(error.kind()) },
        }
    }

    async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>, Error> {
        let frame = self.session.sql(sql).await.map_err(|error| from_datafusion("plan", error))?;
        frame.collect().await.map_err(|error| from_datafusion("execute", error))
    }

    /// The rows of the plan after it went to a session that knows nothing but the codec.
    #[cfg(feature = "proto")]
    async fn elsewhere(&self, sql: &str) -> Result<Vec<String>, String> {
        use datafusion_proto::bytes::{
            physical_plan_from_bytes_with_extension_codec as decode, physical_plan_to_bytes_with_extension_codec as encode,
        };
        let plan =
            self.session.sql(sql).await.map_err(|e| e.to_string())?.create_physical_plan().await.map_err(|e| e.to_string())?;
        let bytes = encode(plan, &boathouse_delta_core::DeltaPlanCodec).map_err(|error| format!("encode: {error}"))?;
        let there = SessionContext::new();
        let plan =
            decode(&bytes, &there.task_ctx(), &boathouse_delta_core::DeltaPlanCodec).map_err(|e| format!("decode: {e}"))?;
        let rows = datafusion::physical_plan::collect(plan, there.task_ctx()).await.map_err(|e| e.to_string())?;
        Ok(bag(&rows))
    }

    /// The same query on both.
    async fn same(&self, query: impl Fn(&str) -> String) -> Result<(), String> {
        let here = self.rows(&query("d")).await.map(|rows| bag(&rows)).map_err(|error| error.to_string());
        let there = self.rows(&query("m")).await.map(|rows| bag(&rows)).map_err(|error| error.to_string());
        if here == there {
            #[cfg(feature = "proto")]
            if let Ok(here) = here {
                let elsewhere = self.elsewhere(&query("d")).await;
                let differs = elsewhere.as_ref() != Ok(&here);
                return if differs { Err(format!("{}: {here:?}, and elsewhere {elsewhere:?}", query("d"))) } else { Ok(()) };
            }
            return Ok(());
        }
        let difference = match (&here, &there) {
            (Ok(here), Ok(there)) => {
                let at = here.iter().zip(there).position(|(a, b)| a != b);
                let row = at.map(|at| format!("\n  {}\n  {}", here[at], there[at])).unwrap_or_default();
                format!("{} rows, and {} in memory{row}", here.len(), there.len())
            }
            _ => format!("{here:?}, and in memory {there:?}"),
        };
        Err(format!("{}: {difference}", query("d")))
    }
}

fn orders(data_type: &DataType) -> bool {
    !data_type.is_nested() && !matches!(data_type, DataType::Null | DataType::Binary)
}

fn config(pushdown: bool) -> SessionConfig {
    let config = SessionConfig::new().with_target_partitions(3);
    config.set_bool("datafusion.execution.parquet.pushdown_filters", pushdown)
}

/// Asks one version everything; tells the first thing that differs.
async fn ask(snapshot: &Snapshot, pushdown: bool) -> Result<(), String> {
    let pair = Pair::of(snapshot, config(pushdown)).await;
    if let Some(kind) = pair.fails_as {
        return match pair.rows("SELECT * FROM d").await {
            Ok(_) => Err(format!("can be read, and a scan fails as {}", kind.as_str())),
            Err(error) if error.kind() == kind => Ok(()),
            Err(error) => Err(format!("fails as {} and not as {}: {error}", error.kind().as_str(), kind.as_str())),
        };
    }
    pair.same(|t| format!("SELECT * FROM {t}")).await?;
    pair.same(|t| format!("SELECT count(*) FROM {t}")).await?;
    let schema = snapshot.schema();
    // The first columns: what is true of them is true of the others, and planning takes its time in a debug build.
    for field in schema.fields().iter().take(5) {
        let column = format!("\"{}\"", field.name().replace('"', "\"\""));
        pair.same(|t| format!("SELECT {column} FROM {t}")).await?;
        if !orders(field.data_type()) {
            continue;
        }
        pair.same(|t| format!("SELECT count({column}), min({column}), max({column}) FROM {t}")).await?;
        let some = pair.rows(&format!("SELECT {column} AS c FROM m WHERE {column} IS NOT NULL LIMIT 1")).await;
        let Some(batch) = some.ok().and_then(|rows| rows.into_iter().find(|batch| batch.num_rows() > 0)) else { continue };
        let text = bag(&[batch]).remove(0).replace('\'', "''");
        let literal = format!("arrow_cast('{text}', '{}')", field.data_type());
        pair.same(|t| format!("SELECT * FROM {t} WHERE {column} = {literal}")).await?;
        pair.same(|t| format!("SELECT count(*) FROM {t} WHERE {column} > {literal} OR {column} IS NULL")).await?;
    }
    Ok(())
}

/// The folders of the tables of an archive, below one that is deleted in the end.
pub(crate) fn unpacked(group: &str) -> (tempfile::TempDir, Vec<std::path::PathBuf>) {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("table/tests/corpora/{group}.tar.zst"));
    let folder = tempfile::tempdir().unwrap();
    let packed = std::fs::File::open(archive).unwrap();
    let bytes = zstd::stream::read::Decoder::new(BufReader::new(packed)).unwrap();
    tar::Archive::new(bytes).unpack(folder.path()).unwrap();
    let entries = std::fs::read_dir(folder.path().join(group)).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.collect();
    folders.sort();
    (folder, folders)
}

/// Every table of an archive that can be opened.
async fn every_table(group: &str, pushdown: bool) {
    let (_folder, folders) = unpacked(group);
    let (mut asked, mut failed) = (0, Vec::new());
    for path in &folders {
        let location = Location::from_path(path.join("delta")).unwrap();
        let table = DeltaTable::at(Storage::open(&location).unwrap(), seeded_env(3));
        let Ok(snapshot) = table.snapshot().await else { continue };
        if path.ends_with(LYING) {
            continue;
        }
        asked += 1;
        if let Err(problem) = ask(&snapshot, pushdown).await {
            failed.push(format!("{}: {problem}", path.file_name().unwrap().to_string_lossy()));
        }
    }
    assert!(failed.is_empty(), "{} of {asked} tables:\n{}", failed.len(), failed.join("\n"));
    let lines = include_str!("../../table/tests/corpora/tables.jsonl").lines();
    let of_group = lines.filter(|line| line.starts_with(&format!("{{\"table\":\"{group}/")));
    let opened = of_group.filter(|line| !line.contains("\"refused\"") && !line.contains(LYING)).count();
    assert_eq!(asked, opened, "tables that can be opened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn golden_tables_give_sql_the_rows_of_a_scan() {
    every_table("golden", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_spark_give_sql_the_rows_of_a_scan() {
    every_table("golden-spark", false).await;
    every_table("spark", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_the_kernels_give_sql_the_rows_of_a_scan() {
    every_table("kernel-data", true).await;
    every_table("kernel-java", false).await;
    every_table("kernel-java-workloads", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_delta_rs_and_duckdb_give_sql_the_rows_of_a_scan() {
    every_table("delta-rs", true).await;
    every_table("delta-rs-errlogs", true).await;
    every_table("duckdb", true).await;
}
