//! One table against its line.

use arrow_array::RecordBatch;
use boathouse_base::{DomainError, ErrorKind, ScanRequest, TableVersion};
use boathouse_delta_table::Snapshot;

use super::archive::Archive;
use super::manifest::Line;
use super::rows::{bag_of_batches, bag_of_files, first_difference};

/// The one table whose expected rows are not compared here: see [`super::contents`].
const UPSTREAM_MISTAKE: &str = "golden/data-reader-partition-values";

/// Checks a table; says what is not as it should be.
pub(crate) async fn table(archive: &Archive, line: &Line) -> Result<(), String> {
    let table = archive.open(&line.table);
    if let Some(refused) = &line.refused {
        return match table.snapshot().await {
            Ok(snapshot) => Err(format!("opens at version {}, and should be refused", snapshot.version())),
            Err(error) if error.kind().as_str() == refused.kind && error.to_string().contains(&refused.says) => Ok(()),
            Err(error) => Err(format!("refused as {} in other words: {error}", error.kind().as_str())),
        };
    }
    let newest = table.snapshot().await.map_err(|error| format!("does not open: {error}"))?;
    let (last, ..) = line.versions.last().copied().unwrap();
    if newest.version() != last {
        return Err(format!("opens at version {}, not {last}", newest.version()));
    }
    for version in &line.gone {
        match archive.open(&line.table).snapshot_at(TableVersion::Number(*version)).await {
            Ok(_) => return Err(format!("version {version} loads, though its log is gone")),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("version {version} should be NotFound: {error}")),
        }
    }
    for (version, files, rows) in &line.versions {
        // A new handle, so that nothing of another version is known.
        let snapshot = archive.open(&line.table).snapshot_at(TableVersion::Number(*version)).await;
        let snapshot = snapshot.map_err(|error| format!("version {version} does not load: {error}"))?;
        version_is(&snapshot, *files, *rows).await.map_err(|problem| format!("version {version}: {problem}"))?;
    }
    let expected = archive.expected(&line.table);
    if expected.is_some() != line.expected {
        return Err(format!("expected rows are there: {}; its line says {}", expected.is_some(), line.expected));
    }
    match expected {
        Some(files) if line.table != UPSTREAM_MISTAKE => {
            let found = bag_of_batches(&newest.schema(), &read(&newest).await?)?;
            let expected = bag_of_files(&newest.schema(), &files)?;
            first_difference(&found, &expected)
        }
        _ => Ok(()),
    }
}

async fn version_is(snapshot: &Snapshot, files: usize, rows: Option<u64>) -> Result<(), String> {
    let found = snapshot.file_count().await.map_err(|error| error.to_string())?;
    if found != files {
        return Err(format!("{found} files, not {files}"));
    }
    let Some(rows) = rows else {
        return match snapshot.scan(ScanRequest::default()).map_err(|e| e.to_string())?.collect().await {
            Ok(_) => Err("its rows can be read, though its line says that files are missing".to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(format!("a missing file should be NotFound: {error}")),
        };
    };
    let read: u64 = read(snapshot).await?.iter().map(|batch| batch.num_rows() as u64).sum();
    if read != rows {
        return Err(format!("{read} rows, not {rows}"));
    }
    match snapshot.row_count().await.map_err(|error| error.to_string())? {
        Some(counted) if counted != rows => Err(format!("its statistics say {counted} rows, not {rows}")),
        _ => Ok(()),
    }
}

async fn read(snapshot: &Snapshot) -> Result<Vec<RecordBatch>, String> {
    let rows = snapshot.scan(ScanRequest::default()).map_err(|error| error.to_string())?;
    rows.collect().await.map_err(|error| format!("does not read: {error}"))
}
