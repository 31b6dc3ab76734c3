//! The 22 queries of TPC-H at scale factor 1: our answers over Delta tables are those of DuckDB over bare Parquet files of
//! the same rows.
//!
//! The tables are not as they were written: rows were deleted (by deletion vectors) and inserted again, one is partitioned,
//! one is clustered, one has deletion vectors and was put together again. `BOATHOUSE_TPCH_SCALE` sets another scale factor.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use boathouse_base::BatchStream;
use boathouse_delta_core::{DeltaSession, DeltaTable, session};
use boathouse_interop::Peers;
use boathouse_storage::{Location, Stores, system_env};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::parquet::arrow::ArrowWriter;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator, RegionGenerator,
    SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

/// By query.
type Answers = BTreeMap<String, Vec<Vec<String>>>;

/// How far numbers may lie apart, and as a share of them: some engines cut averages and quotients of decimals off after the
/// sixth digit.
const TOLERANCE: f64 = 1e-6;

/// Tables, their files, and what happens to them after they were made.
const TABLES: [(&str, i32, &[&str]); 8] = [
    (
        "lineitem",
        12,
        &[
            "DELETE FROM lineitem WHERE l_orderkey % 1000 = 7",
            "INSERT INTO lineitem SELECT * FROM lineitem VERSION AS OF 11 WHERE l_orderkey % 1000 = 7",
        ],
    ),
    ("orders", 4, &[]),
    (
        "partsupp",
        2,
        &[
            "DELETE FROM partsupp WHERE ps_partkey % 10 = 3",
            "INSERT INTO partsupp SELECT * FROM partsupp VERSION AS OF 1 WHERE ps_partkey % 10 = 3",
            "OPTIMIZE partsupp",
        ],
    ),
    ("customer", 2, &["ALTER TABLE customer CLUSTER BY (c_nationkey, c_mktsegment)", "OPTIMIZE customer FULL"]),
    ("part", 1, &["UPDATE part SET p_size = p_size + 1 WHERE p_size = 15", "RESTORE TABLE part TO VERSION AS OF 0"]),
    ("supplier", 1, &["DELETE FROM supplier WHERE s_suppkey = 7", "RESTORE TABLE supplier TO VERSION AS OF 0"]),
    ("nation", 1, &[]),
    ("region", 1, &[]),
];

/// Of the tables, those that are partitioned.
const PARTITIONED: [(&str, &str); 1] = [("orders", "o_orderpriority")];

#[tokio::test(flavor = "multi_thread")]
async fn answers_over_delta_tables_are_those_of_duckdb_over_the_same_parquet() {
    let env = system_env();
    let began_us = env.monotonic_us();
    let scale = std::env::var("BOATHOUSE_TPCH_SCALE").map_or(1.0, |text| text.parse().expect("a scale is a number"));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (bare, delta) = (folder.path().join("bare"), folder.path().join("delta"));
    let lake = session();
    for (name, files, changes) in TABLES {
        let table = make(name, files, scale, &bare.join(name), &delta.join(name)).await;
        lake.register(name, &table).await.unwrap();
        let rows = table.snapshot().await.unwrap().row_count().await.unwrap();
        for statement in changes {
            lake.sql(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        assert_eq!(table.snapshot().await.unwrap().row_count().await.unwrap(), rows, "{name}");
    }
    let lineitem = open(&delta.join("lineitem")).snapshot().await.unwrap().files(None).await.unwrap();
    assert!(lineitem.iter().filter(|file| file.deletion_vector().is_some()).count() >= 12, "rows are deleted by vectors");
    println!("tables: {} ms", (env.monotonic_us() - began_us) / 1000);

    let queries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/queries/tpch");
    let (answers, began_us) = (folder.path().join("answers.json"), env.monotonic_us());
    Peers::from_env().run("tpch.py", [&bare, &queries, &answers]);
    let expected: Answers = serde_json::from_reader(File::open(&answers).unwrap()).unwrap();
    assert_eq!(expected.len(), 22);
    assert!(expected.values().all(|answer| !answer.is_empty()) || scale < 1.0, "every query has an answer");
    println!("DuckDB: {} ms", (env.monotonic_us() - began_us) / 1000);

    for (name, expected) in &expected {
        let began_us = env.monotonic_us();
        let text = std::fs::read_to_string(queries.join(format!("{name}.sql"))).unwrap();
        let answer = answer(&lake, &text).await;
        println!("{name}: {} ms, {} rows", (env.monotonic_us() - began_us) / 1000, answer.len());
        assert_same(name, &answer, expected);
    }
}

/// The rows as Parquet files, and as a Delta table of other files.
async fn make(name: &str, files: i32, scale: f64, bare: &Path, delta: &Path) -> DeltaTable {
    std::fs::create_dir_all(bare).unwrap();
    let table = open(delta);
    for nth in 1..=files {
        let batches = generate(name, scale, nth, files);
        let schema = batches[0].schema();
        let mut writer =
            ArrowWriter::try_new(File::create(bare.join(format!("{nth}.parquet"))).unwrap(), Arc::clone(&schema), None).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.close().unwrap();
        let mut append = table.append(BatchStream::from_batches(schema, batches)).create_if_absent();
        append = append.property("delta.enableDeletionVectors", "true");
        if let Some((_, column)) = PARTITIONED.iter().find(|(table, _)| *table == name) {
            append = append.partition_by([*column]);
        }
        append.run().await.unwrap();
    }
    table
}

fn open(path: &Path) -> DeltaTable {
    DeltaTable::at(Stores::new().open(&Location::from_path(path).unwrap()).unwrap(), system_env())
}

/// One part of a table, with plain strings.
fn generate(name: &str, scale: f64, nth: i32, of: i32) -> Vec<RecordBatch> {
    match name {
        "lineitem" => plain(LineItemArrow::new(LineItemGenerator::new(scale, nth, of))),
        "orders" => plain(OrderArrow::new(OrderGenerator::new(scale, nth, of))),
        "partsupp" => plain(PartSuppArrow::new(PartSuppGenerator::new(scale, nth, of))),
        "customer" => plain(CustomerArrow::new(CustomerGenerator::new(scale, nth, of))),
        "part" => plain(PartArrow::new(PartGenerator::new(scale, nth, of))),
        "supplier" => plain(SupplierArrow::new(SupplierGenerator::new(scale, nth, of))),
        "nation" => plain(NationArrow::new(NationGenerator::new(scale, nth, of))),
        "region" => plain(RegionArrow::new(RegionGenerator::new(scale, nth, of))),
        other => panic!("TPC-H has no table {other}"),
    }
}

fn plain(batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>) -> Vec<RecordBatch> {
    let batches: Vec<RecordBatch> = batches.map(Result::unwrap).collect();
    let generated = batches[0].schema();
    let fields = generated.fields().iter().map(|field| {
        let data_type = if *field.data_type() == DataType::Utf8View { DataType::Utf8 } else { field.data_type().clone() };
        Field::new(field.name(), data_type, field.is_nullable())
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let cast = |batch: &RecordBatch| {
        let pairs = batch.columns().iter().zip(schema.fields());
        let columns = pairs.map(|(column, field)| cast(column, field.data_type()).unwrap()).collect();
        RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
    };
    batches.iter().map(cast).collect()
}

/// Rows as text, null as nothing.
async fn answer(lake: &DeltaSession, query: &str) -> Vec<Vec<String>> {
    let batches = lake.query(query).await.unwrap().collect().await.unwrap();
    let options = FormatOptions::default();
    let rows = |batch: &RecordBatch| -> Vec<Vec<String>> {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap());
        let columns: Vec<ArrayFormatter<'_>> = columns.collect();
        (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()).collect()
    };
    batches.iter().flat_map(rows).collect()
}

fn assert_same(name: &str, ours: &[Vec<String>], theirs: &[Vec<String>]) {
    assert_eq!(ours.len(), theirs.len(), "{name}: rows");
    let is_same = |ours: &str, theirs: &str| match (ours.parse::<f64>(), theirs.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= TOLERANCE * (1.0 + a.abs().max(b.abs())),
        _ => ours == theirs,
    };
    for (nth, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let same = ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| is_same(a, b));
        assert!(same, "{name}, row {nth}: {ours:?}, and DuckDB has {theirs:?}");
    }
}
