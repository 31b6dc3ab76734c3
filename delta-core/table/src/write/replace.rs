//! Which files leave when rows are replaced, and which of their rows stay.

use arrow_array::BooleanArray;
use arrow_select::filter::filter_record_batch;
use boathouse_base::{Predicate, WriteMode};

use super::data_writer::DataWriter;
use crate::error::{DeltaError, Result};
use crate::filter::matching_rows;
use crate::scan::{DataFile, FileRead};
use crate::snapshot::Snapshot;

/// What leaves.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    /// Files that leave.
    pub(super) removed: Vec<DataFile>,
    /// Those among them whose other rows were written again.
    pub(super) rewritten: Vec<DataFile>,
    /// How many rows were written again.
    pub(super) rows_kept: u64,
}

/// Finds the files that leave; rows of theirs that stay are written again.
///
/// **Cost**: reads each file that can hold a matching row and also others; a file is decided by its partition
/// values alone when the predicate is about them.
pub(super) async fn plan(base: &Snapshot, mode: &WriteMode, writer: &mut DataWriter) -> Result<Replaced> {
    match mode {
        WriteMode::Append => Ok(Replaced::default()),
        WriteMode::Overwrite => Ok(Replaced { removed: base.files(None).await?, ..Replaced::default() }),
        WriteMode::ReplaceWhere(predicate) => {
            let mut replaced = Replaced::default();
            for file in base.files(Some(predicate)).await? {
                replace(base, file, predicate, writer, &mut replaced).await?;
            }
            Ok(replaced)
        }
    }
}

async fn replace(
    base: &Snapshot,
    file: DataFile,
    predicate: &Predicate,
    writer: &mut DataWriter,
    into: &mut Replaced,
) -> Result<()> {
    let columns = predicate.columns();
    if columns.iter().all(|column| file.partition_value(column).is_some()) {
        let row = |column: &str| file.partition_value(column).cloned().unwrap_or(boathouse_base::Value::Null);
        if predicate.matches(&row) == Some(true) {
            into.removed.push(file);
        }
        return Ok(());
    }
    let failed = |source| DeltaError::Compute { attempted: "filter", url: base.url().to_owned(), source };
    let input = |source: boathouse_base::Error| DeltaError::Input { url: base.url().to_owned(), source };
    // First only what the predicate needs: a file without a matching row stays as it is.
    let known: Vec<String> = columns.iter().filter_map(|c| top_column(base, c)).collect();
    let mut rows = base.read_file(&file, FileRead { projection: Some(known), ..FileRead::default() })?;
    let (mut some, mut all) = (false, true);
    while let Some(batch) = rows.next().await {
        let matching = matching_rows(predicate, &batch.map_err(input)?).map_err(failed)?;
        some |= matching.true_count() > 0;
        all &= matching.true_count() == matching.len();
    }
    if !some {
        return Ok(());
    }
    if !all {
        let tracking = base.row_tracking();
        let mut rows = base.read_file(&file, FileRead { row_tracking: tracking.cloned(), ..FileRead::default() })?;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(input)?;
            let matching = matching_rows(predicate, &batch).map_err(failed)?;
            let stays: BooleanArray = matching.iter().map(|m| Some(m != Some(true))).collect();
            let kept = filter_record_batch(&batch, &stays).map_err(failed)?;
            into.rows_kept += kept.num_rows() as u64;
            match tracking.and_then(|columns| columns.split(&kept)) {
                Some((kept, origins)) => writer.write_kept_from(&kept, &origins).await?,
                None => writer.write_kept(&kept).await?,
            }
        }
        into.rewritten.push(file.clone());
    }
    into.removed.push(file);
    Ok(())
}

/// The column at the top that holds a dotted one; nothing when the table has none.
pub(super) fn top_column(base: &Snapshot, path: &str) -> Option<String> {
    let schema = base.delta_schema();
    if schema.field(path).is_some() {
        return Some(path.to_owned());
    }
    path.match_indices('.').map(|(dot, _)| &path[..dot]).find(|name| schema.field(name).is_some()).map(str::to_owned)
}
