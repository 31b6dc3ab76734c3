//! Files put one after the other into one.

use boathouse_delta_table::{DataWriter, DataWriterSettings, FileRead, Snapshot};

use super::bin::{Bin, Kind, Rewritten};
use crate::engine::error::{Attempt, Result};
use crate::engine::origins::Known;

/// Writes the rows of a bin to one file, in their order, without those that are deleted.
///
/// Files are read ahead and columns encoded by other threads, so that one bin keeps more than one core busy.
///
/// Row groups that are large enough are not decoded at all.
pub(super) async fn compact(
    snapshot: &Snapshot,
    bin: Bin,
    copy_from_rows: u64,
    settings: DataWriterSettings,
    attempt: &Attempt,
) -> Result<Rewritten> {
    if let Some(written) = DataWriter::glue(snapshot, &bin.files, copy_from_rows, settings.clone()).await? {
        return Ok(Rewritten { sources: bin.files, written, kind: Kind::Concatenated });
    }
    let read = FileRead { row_tracking: snapshot.row_tracking().cloned(), has_views: true, ..FileRead::default() };
    let mut rows = snapshot.read_files(bin.files.clone(), read)?;
    let mut writer = DataWriter::new(snapshot, settings)?;
    loop {
        let written = match rows.next().await {
            None => break,
            Some(Ok(batch)) => keep(&mut writer, Known::of(snapshot, batch)).await,
            Some(Err(error)) => Err(attempt.rows(error)),
        };
        if let Err(error) = written {
            writer.abort().await;
            return Err(error);
        }
    }
    let written = writer.finish().await?;
    Ok(Rewritten { sources: bin.files, written, kind: Kind::Concatenated })
}

/// Writes rows as they were.
pub(super) async fn keep(writer: &mut DataWriter, Known { rows, origins }: Known) -> Result<()> {
    match &origins {
        Some(origins) => Ok(writer.write_kept_from(&rows, origins).await?),
        None => Ok(writer.write_kept(&rows).await?),
    }
}
