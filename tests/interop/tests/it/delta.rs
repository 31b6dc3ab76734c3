//! Delta tables between engines: what we write, deltalake, polars and duckdb read; what deltalake writes, we read.

use std::path::Path;
use std::sync::Arc;

use boathouse_delta_core::{DeltaTable, DeltaTableExt, SparkExpressions};
use boathouse_frames::batch_stream;
use boathouse_interop::Peers;
use boathouse_storage::{Location, Stores, system_env};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{DataFrame, SessionContext, col};

/// Rows with every type of the format. `rows` is a list of numbers, as `VALUES` has them.
async fn rows(session: &SessionContext, rows: &str) -> DataFrame {
    let sql = format!(
        "SELECT n AS id, arrow_cast(n % 100, 'Int8') AS i8, arrow_cast(n * 3, 'Int16') AS i16, arrow_cast(n * 1000, 'Int32') AS i32, \
         arrow_cast(n, 'Float32') / 3 AS f32, arrow_cast(n, 'Float64') / 7 AS f64, n % 2 = 0 AS even, \
         CASE WHEN n % 5 = 0 THEN NULL ELSE arrow_cast(n, 'Decimal128(20, 4)') END AS price, \
         CASE WHEN n % 3 = 0 THEN NULL ELSE 'straße 東京 🌊 ' || n END AS name, \
         arrow_cast('bytes' || n, 'Binary') AS raw, arrow_cast(arrow_cast(n - 2, 'Int32'), 'Date32') AS since, \
         arrow_cast(n * 86400000000 - 1, 'Timestamp(Microsecond, Some(\"UTC\"))') AS at, \
         arrow_cast(n * 1000003, 'Timestamp(Microsecond, None)') AS local, \
         named_struct('a', n, 'b', 'x' || n) AS nested, make_array(n, NULL, n + 1) AS list, \
         MAP {{'k' || n: n}} AS pairs, \
         CASE n % 5 WHEN 0 THEN 'a b' WHEN 1 THEN '100%' WHEN 2 THEN 'ü/x=y&z' WHEN 3 THEN NULL ELSE 'plain' END AS part \
         FROM (VALUES {rows}) AS v (n)"
    );
    session.sql(&sql).await.unwrap()
}

fn values(range: std::ops::Range<i64>) -> String {
    range.map(|n| format!("({n})")).collect::<Vec<_>>().join(", ")
}

fn open(folder: &Path) -> DeltaTable {
    DeltaTable::at(Stores::new().open(&Location::from_path(folder).unwrap()).unwrap(), system_env())
}

/// What we read, as a file for the peers.
async fn keep(table: &DeltaTable, file: &Path) {
    let provider = table.provider().await.unwrap();
    let frame = SessionContext::new().read_table(Arc::new(provider)).unwrap();
    let options = DataFrameWriteOptions::new().with_single_file_output(true);
    frame.write_parquet(file.to_str().unwrap(), options, None).await.unwrap();
}

async fn assert_peers_agree(folder: &Path, expected_rows: usize) {
    assert_these_agree(&["deltalake", "polars", "duckdb"], folder, expected_rows).await;
}

async fn assert_these_agree(peers: &[&str], folder: &Path, expected_rows: usize) {
    let file = folder.with_extension("parquet");
    let table = open(folder);
    keep(&table, &file).await;
    let provider = table.provider().await.unwrap();
    let count = SessionContext::new().read_table(Arc::new(provider)).unwrap().count().await.unwrap();
    assert_eq!(count, expected_rows);
    let arguments = ["compare", folder.to_str().unwrap(), file.to_str().unwrap()].into_iter().chain(peers.iter().copied());
    let said = Peers::from_env().run("delta.py", arguments);
    assert_eq!(said.lines().count(), peers.len(), "{said}");
}

#[tokio::test]
async fn every_peer_reads_a_table_that_was_appended_changed_and_checkpointed() {
    let folder = tempfile::tempdir().unwrap();
    let session = SessionContext::new();
    for partitioned in [false, true] {
        let path = folder.path().join(if partitioned { "parts" } else { "plain" });
        let table = open(&path);
        let first = table.append(batch_stream(rows(&session, &values(0..20)).await).await.unwrap()).create_if_absent();
        let first = if partitioned { first.partition_by(["part"]) } else { first };
        first.run().await.unwrap();
        assert_peers_agree(&path, 20).await;
        table.append(batch_stream(rows(&session, &values(20..40)).await).await.unwrap()).run().await.unwrap();
        table.delete().filter("id % 7 = 3").run().await.unwrap();
        table.delete().filter("part = 'a b' AND id < 20").run().await.unwrap();
        table.update().set("name", "'ñ' || id").set("part", "'moved / 50%'").filter("id > 35").run().await.unwrap();
        let merge = table.merge(rows(&session, &values(30..50)).await, "t.id = s.id");
        merge.when_matched_update_all().when_not_matched_insert_all().run().await.unwrap();
        let count = (0..50).filter(|n| *n >= 30 || !(n % 7 == 3 || (n % 5 == 0 && *n < 20))).count();
        assert_peers_agree(&path, count).await;
        table.checkpoint().await.unwrap();
        table.append(batch_stream(rows(&session, &values(100..101)).await).await.unwrap()).run().await.unwrap();
        assert_peers_agree(&path, count + 1).await;
        table.overwrite(batch_stream(rows(&session, &values(7..9)).await).await.unwrap()).run().await.unwrap();
        assert_peers_agree(&path, 2).await;
    }
}

/// Enough rows for several pages, and for the encodings that are chosen from a sample: differences, dictionaries, one
/// that grows too large on the way, lengths; each with nulls and without.
#[tokio::test]
async fn every_peer_reads_files_of_several_pages_in_every_encoding() {
    const ROWS: usize = 45_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pages");
    let sql = format!(
        "SELECT value AS id, value * 1000003 % 1000 AS spread, arrow_cast(value / 3, 'Int32') AS slow, \
         CASE WHEN value % 7 = 0 THEN NULL ELSE arrow_cast(value * 37 % 5000, 'Decimal128(15, 2)') END AS price, \
         arrow_cast(arrow_cast(value * 31 % 2500, 'Int32'), 'Date32') AS day, \
         CASE WHEN value BETWEEN 20000 AND 39999 THEN NULL ELSE 'kind ' || (value % 5) END AS few, 'always' AS one, \
         CASE WHEN value % 2 = 0 THEN 'same' ELSE repeat('x', 60) || value END AS many, \
         CASE WHEN value % 11 = 0 THEN NULL ELSE 'straße ' || value || repeat(' 東京', value % 9) END AS each, \
         arrow_cast('bytes' || (value % 300), 'Binary') AS raw FROM generate_series(0, {}) ORDER BY value",
        ROWS - 1
    );
    let frame = SessionContext::new().sql(&sql).await.unwrap();
    open(&path).append(batch_stream(frame).await.unwrap()).create_if_absent().run().await.unwrap();
    assert_peers_agree(&path, ROWS).await;
}

#[tokio::test]
async fn tables_of_deltalake_are_read_row_for_row() {
    let folder = tempfile::tempdir().unwrap();
    let peers = Peers::from_env();
    let names = peers.run("delta.py", ["write", folder.path().to_str().unwrap()]);
    let mut seen = 0;
    for name in names.lines() {
        let ours = folder.path().join(format!("{name}.ours.parquet"));
        keep(&open(&folder.path().join(name)), &ours).await;
        let theirs = folder.path().join(format!("{name}.parquet"));
        peers.run("delta.py", ["same", ours.to_str().unwrap(), theirs.to_str().unwrap()]);
        seen += 1;
    }
    assert_eq!(seen, 5, "{names}");
}

#[tokio::test]
async fn peers_that_know_column_mapping_read_a_table_whose_columns_were_renamed_dropped_and_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let session = SessionContext::new();
    for (mode, partitioned) in [("name", false), ("name", true), ("id", false), ("id", true)] {
        // polars refuses the feature; duckdb 1.5.5 reads partition columns of such tables as null, also where Spark wrote.
        let peers: &[&str] = if partitioned { &["deltalake"] } else { &["deltalake", "duckdb"] };
        let path = folder.path().join(format!("{mode}-{partitioned}"));
        let table = open(&path);
        let first = table.append(batch_stream(rows(&session, &values(0..20)).await).await.unwrap());
        let first = if partitioned { first.partition_by(["part"]) } else { first };
        first.property("delta.columnMapping.mode", mode).run().await.unwrap();
        assert_these_agree(peers, &path, 20).await;
        let alter =
            table.alter().rename_column("name", "the name").rename_column("nested.a", "first (of two)").drop_column("f32");
        alter.run().await.unwrap();
        table.alter().add_column(Field::new("f32", DataType::Int64, true)).run().await.unwrap();
        let more = rows(&session, &values(20..30)).await.with_column_renamed("name", "the name").unwrap();
        let more = more.drop_columns(&["nested", "f32"]).unwrap().with_column("f32", col("id")).unwrap();
        table.append(batch_stream(more).await.unwrap()).run().await.unwrap();
        table.delete().filter("id % 7 = 3").run().await.unwrap();
        table.checkpoint().await.unwrap();
        assert_these_agree(peers, &path, 26).await;
    }
}

#[tokio::test]
async fn every_peer_reads_a_table_with_rules() {
    let folder = tempfile::tempdir().unwrap();
    let session = SessionContext::new();
    let path = folder.path().join("rules");
    let table = open(&path).with_expressions(Arc::new(SparkExpressions::default()));
    let with = |field: Field, key: &str, value: &str| field.with_metadata([(key.to_owned(), value.to_owned())].into());
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        with(Field::new("double", DataType::Int64, true), "delta.generationExpression", "ID * 2"),
        with(Field::new("given", DataType::Utf8, true), "CURRENT_DEFAULT", "'none'"),
    ]);
    table.create(schema).property("delta.constraints.small", "id < 1000").run().await.unwrap();
    let ids = |range| values(range);
    let numbers = async |range| session.sql(&format!("SELECT n AS id FROM (VALUES {}) AS v (n)", ids(range))).await.unwrap();
    table.append(batch_stream(numbers(0..20).await).await.unwrap()).run().await.unwrap();
    table.update().set("id", "id + 100").filter("id < 5").run().await.unwrap();
    assert!(table.append(batch_stream(numbers(990..1001).await).await.unwrap()).run().await.is_err());
    assert_peers_agree(&path, 20).await;
}
