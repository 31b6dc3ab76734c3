//! TPC-H: its eight tables as Delta tables, its 22 queries, and what they answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use boathouse_base::BatchStream;
use boathouse_delta_core::DeltaTable;
use boathouse_storage::{Location, Storage, system_env};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator, RegionGenerator,
    SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

use crate::answers::Answer;

const BATCH_ROWS: usize = 32_768;

/// The tables, and in how many files they are.
pub(crate) const TABLES: [(&str, i32); 8] = [
    ("lineitem", 12),
    ("orders", 4),
    ("partsupp", 2),
    ("customer", 1),
    ("part", 1),
    ("supplier", 1),
    ("nation", 1),
    ("region", 1),
];

/// The queries, by name.
pub(crate) const QUERIES: [(&str, &str); 22] = [
    ("q01", include_str!("../queries/tpch/q01.sql")),
    ("q02", include_str!("../queries/tpch/q02.sql")),
    ("q03", include_str!("../queries/tpch/q03.sql")),
    ("q04", include_str!("../queries/tpch/q04.sql")),
    ("q05", include_str!("../queries/tpch/q05.sql")),
    ("q06", include_str!("../queries/tpch/q06.sql")),
    ("q07", include_str!("../queries/tpch/q07.sql")),
    ("q08", include_str!("../queries/tpch/q08.sql")),
    ("q09", include_str!("../queries/tpch/q09.sql")),
    ("q10", include_str!("../queries/tpch/q10.sql")),
    ("q11", include_str!("../queries/tpch/q11.sql")),
    ("q12", include_str!("../queries/tpch/q12.sql")),
    ("q13", include_str!("../queries/tpch/q13.sql")),
    ("q14", include_str!("../queries/tpch/q14.sql")),
    ("q15", include_str!("../queries/tpch/q15.sql")),
    ("q16", include_str!("../queries/tpch/q16.sql")),
    ("q17", include_str!("../queries/tpch/q17.sql")),
    ("q18", include_str!("../queries/tpch/q18.sql")),
    ("q19", include_str!("../queries/tpch/q19.sql")),
    ("q20", include_str!("../queries/tpch/q20.sql")),
    ("q21", include_str!("../queries/tpch/q21.sql")),
    ("q22", include_str!("../queries/tpch/q22.sql")),
];

/// A folder with the eight tables at a scale factor, made once.
pub(crate) fn tables(folder: &Path, scale: f64) -> Result<PathBuf> {
    let done = folder.join(format!("tpch-{scale}"));
    if done.exists() {
        return Ok(done);
    }
    eprintln!("making {} (once)", done.display());
    // Under another name until it is whole: an interrupted run leaves no half input.
    let part = done.with_extension("part");
    if part.exists() {
        std::fs::remove_dir_all(&part).with_context(|| format!("empty {}", part.display()))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for (name, files) in TABLES {
        runtime.block_on(make(&part.join(name), name, files, scale))?;
    }
    std::fs::rename(&part, &done).with_context(|| format!("rename {}", part.display()))?;
    Ok(done)
}

/// The table at a path.
pub(crate) fn at(path: &Path) -> Result<DeltaTable> {
    Ok(DeltaTable::at(Storage::open(&Location::from_path(path)?)?, system_env()))
}

async fn make(path: &Path, name: &str, files: i32, scale: f64) -> Result<()> {
    let table = at(path)?;
    for nth in 1..=files {
        let (schema, batches) = generate(name, scale, nth, files)?;
        table.append(BatchStream::from_batches(schema, batches)).create_if_absent().run().await?;
    }
    let found = table.snapshot().await?.file_count().await?;
    ensure!(usize::try_from(files)? == found, "{name} has {found} files, not {files}");
    Ok(())
}

/// One part of a table, with plain strings: a form that every writer knows.
fn generate(name: &str, scale: f64, nth: i32, of: i32) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let rows = BATCH_ROWS;
    match name {
        "lineitem" => plain(LineItemArrow::new(LineItemGenerator::new(scale, nth, of)).with_batch_size(rows)),
        "orders" => plain(OrderArrow::new(OrderGenerator::new(scale, nth, of)).with_batch_size(rows)),
        "partsupp" => plain(PartSuppArrow::new(PartSuppGenerator::new(scale, nth, of)).with_batch_size(rows)),
        "customer" => plain(CustomerArrow::new(CustomerGenerator::new(scale, nth, of)).with_batch_size(rows)),
        "part" => plain(PartArrow::new(PartGenerator::new(scale, nth, of)).with_batch_size(rows)),
        "supplier" => plain(SupplierArrow::new(SupplierGenerator::new(scale, nth, of)).with_batch_size(rows)),
        "nation" => plain(NationArrow::new(NationGenerator::new(scale, nth, of)).with_batch_size(rows)),
        _ => plain(RegionArrow::new(RegionGenerator::new(scale, nth, of)).with_batch_size(rows)),
    }
}

fn plain(batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let batches = batches.collect::<Result<Vec<_>, _>>()?;
    let generated = batches.first().context("a part of a table has rows")?.schema();
    let fields = generated.fields().iter().map(|field| {
        let data_type = if *field.data_type() == DataType::Utf8View { DataType::Utf8 } else { field.data_type().clone() };
        Field::new(field.name(), data_type, field.is_nullable())
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let cast = |batch: &RecordBatch| -> Result<RecordBatch> {
        let pairs = batch.columns().iter().zip(schema.fields());
        let columns = pairs.map(|(column, field)| arrow_cast::cast(column, field.data_type()));
        Ok(RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<_, _>>()?)?)
    };
    let batches = batches.iter().map(cast).collect::<Result<Vec<_>>>()?;
    Ok((schema, batches))
}

/// Rows as text, null as nothing.
pub(crate) fn answer(batches: &[RecordBatch]) -> Result<Answer> {
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect());
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_rows_of_their_scale() {
        let rows = |name: &str| {
            let files = TABLES.iter().find(|(table, _)| *table == name).unwrap().1;
            let parts = (1..=files).map(|nth| generate(name, 0.01, nth, files).unwrap().1);
            parts.flatten().map(|batch| batch.num_rows()).sum::<usize>()
        };
        let all = TABLES.map(|(name, _)| rows(name));
        assert_eq!(all, [60_175, 15_000, 8_000, 1_500, 2_000, 100, 25, 5]);
    }

    #[test]
    fn answers_are_text_and_null_is_nothing() {
        let column = arrow_array::Int64Array::from(vec![Some(7), None]);
        let batch = RecordBatch::try_from_iter([("n", Arc::new(column) as arrow_array::ArrayRef)]).unwrap();
        assert_eq!(answer(&[batch]).unwrap(), [vec!["7".to_owned()], vec![String::new()]]);
    }
}
