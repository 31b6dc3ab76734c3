//! Inputs: made once, kept below target/bench-data.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tpchgen::generators::LineItemGenerator;
use tpchgen_arrow::LineItemArrow;

const BATCH_ROWS: usize = 32_768;

/// The lineitem table of TPC-H at a scale factor (1 is 6,001,215 rows), as an Arrow file.
///
/// Strings are plain ones with offsets: the smallest form, and one that every reader knows.
pub(crate) fn lineitem(folder: &Path, scale: f64) -> Result<PathBuf> {
    let path = folder.join(format!("lineitem-{scale}.arrow"));
    if path.exists() {
        return Ok(path);
    }
    eprintln!("making {} (once)", path.display());
    let generated = LineItemArrow::schema_ref();
    let fields = generated.fields().iter().map(|field| {
        let data_type = if *field.data_type() == DataType::Utf8View { DataType::Utf8 } else { field.data_type().clone() };
        Field::new(field.name(), data_type, field.is_nullable())
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    // Under another name until it is whole: an interrupted run leaves no half input.
    let part = path.with_extension("part");
    let file = File::create(&part).with_context(|| format!("create {}", part.display()))?;
    let mut writer = FileWriter::try_new(BufWriter::new(file), &schema)?;
    for batch in LineItemArrow::new(LineItemGenerator::new(scale, 1, 1)).with_batch_size(BATCH_ROWS) {
        let batch = batch?;
        let columns =
            batch.columns().iter().zip(schema.fields()).map(|(column, field)| arrow_cast::cast(column, field.data_type()));
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<_, _>>()?)?)?;
    }
    writer.finish()?;
    drop(writer);
    std::fs::rename(&part, &path).with_context(|| format!("rename {} to {}", part.display(), path.display()))?;
    Ok(path)
}

/// The batches of an Arrow file, each read when it is asked for.
pub(crate) fn open(path: &Path) -> Result<(SchemaRef, FileReader<BufReader<File>>)> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let reader = FileReader::try_new(BufReader::new(file), None)?;
    Ok((reader.schema(), reader))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lineitem_is_made_once_and_is_read_with_plain_strings() {
        let folder = std::env::temp_dir().join(format!("boathouse-benches-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = lineitem(&folder, 0.001).unwrap();
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(lineitem(&folder, 0.001).unwrap(), path);
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), modified);
        let (schema, batches) = open(&path).unwrap();
        assert_eq!(batches.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 6005);
        assert_eq!(schema.fields().len(), 16);
        assert_eq!(schema.field_with_name("l_comment").unwrap().data_type(), &DataType::Utf8);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
