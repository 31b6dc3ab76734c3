//! Tables that other engines wrote, tidied: every feature and every odd file, and the same rows afterwards.

use boathouse_base::{DomainError, ErrorKind, ScanRequest};
use boathouse_delta_core::{DeltaTable, DeltaTableExt, OptimizeSettings};
use boathouse_storage::{Location, Storage, seeded_env};

use crate::corpora::{bag, unpacked};

/// The rows as text; nothing when they cannot be read, which other tests are about.
async fn rows(table: &DeltaTable) -> Option<Vec<String>> {
    let scan = table.snapshot().await.ok()?.scan(ScanRequest::default()).ok()?;
    scan.collect().await.ok().map(|batches| bag(&batches))
}

/// Tidies a table in two ways. Whether it was put together, and whether it was ordered; or what is wrong.
async fn tidy(table: &DeltaTable) -> Result<(bool, bool), String> {
    let Some(before) = rows(table).await else { return Ok((false, false)) };
    // Every file, however large, together with all others.
    let settings = || OptimizeSettings {
        target_file_size_bytes: Some(1 << 40),
        min_file_size_bytes: Some(u64::MAX),
        max_deleted_percent: 0,
        ..OptimizeSettings::default()
    };
    let optimized = match table.optimize().with_settings(settings()).run().await {
        Ok(report) => report.committed(),
        Err(error) if error.kind() == ErrorKind::Unsupported => return Ok((false, false)),
        Err(error) => return Err(format!("optimize: {error}")),
    };
    let after = |what: &'static str, after: Option<Vec<String>>| match after {
        Some(rows) if rows == before => Ok(()),
        rows => Err(format!("after {what}: {:?} rows, and {} before", rows.map(|rows| rows.len()), before.len())),
    };
    after("OPTIMIZE", rows(table).await)?;
    let schema = table.snapshot().await.map_err(|error| error.to_string())?.schema();
    let columns: Vec<String> = schema.fields().iter().take(3).map(|field| field.name().clone()).collect();
    let mut ordered = false;
    for columns in columns.iter().map(|one| vec![one.clone()]).chain([columns.clone()]) {
        match table.optimize().z_order(columns.clone()).with_settings(settings()).run().await {
            Ok(report) => ordered |= report.committed(),
            // A partition column, one without an order or statistics, or a clustered table.
            Err(error) if error.kind() == ErrorKind::Invalid => {}
            Err(error) => return Err(format!("ZORDER BY {columns:?}: {error}")),
        }
        after("ZORDER BY", rows(table).await)?;
    }
    Ok((optimized, ordered))
}

/// Tidies every table of an archive: how many of them were put together, and how many ordered.
async fn every_table(group: &str) -> (usize, usize) {
    let (_folder, folders) = unpacked(group);
    let (mut optimized, mut ordered, mut failed) = (0, 0, Vec::new());
    for path in &folders {
        let location = Location::from_path(path.join("delta")).unwrap();
        let table = DeltaTable::at(Storage::open(&location).unwrap(), seeded_env(3));
        match tidy(&table).await {
            Ok((together, in_order)) => {
                optimized += usize::from(together);
                ordered += usize::from(in_order);
            }
            Err(problem) => failed.push(format!("{}: {problem}", path.file_name().unwrap().to_string_lossy())),
        }
    }
    assert!(failed.is_empty(), "{} of {} tables:\n{}", failed.len(), folders.len(), failed.join("\n"));
    (optimized, ordered)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_spark_and_the_kernels_have_the_same_rows_after_they_were_tidied() {
    let (mut optimized, mut ordered) = (0, 0);
    for group in ["golden-spark", "spark", "kernel-data", "kernel-java"] {
        let (more, others) = every_table(group).await;
        (optimized, ordered) = (optimized + more, ordered + others);
    }
    assert_eq!((optimized, ordered), (38, 46), "tables that were put together, and ordered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn golden_tables_have_the_same_rows_after_they_were_tidied() {
    let (optimized, ordered) = every_table("golden").await;
    assert_eq!((optimized, ordered), (40, 46), "tables that were put together, and ordered");
}
