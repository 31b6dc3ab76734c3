//! Tables that other engines wrote.
//!
//! `tests/corpora` holds the tables, packed by where they come from, and `tables.jsonl`: one line for each table
//! that says what is to be found in it. Every table of an archive must have its line, and every line its table.

mod archive;
mod check;
mod contents;
mod manifest;
pub(crate) mod rows;

use self::archive::Archive;
use self::manifest::Line;

/// Unpacks an archive, checks every table of it, and tells of all that are not as they should be.
async fn check_archive(group: &str, tables: usize) {
    let archive = Archive::unpack(group);
    let lines: Vec<Line> = manifest::lines().into_iter().filter(|line| line.group() == group).collect();
    let listed: Vec<&str> = lines.iter().map(|line| line.table.as_str()).collect();
    assert_eq!(archive.tables(), listed, "the tables of the archive, and those of `tables.jsonl`");
    assert_eq!(listed.len(), tables);
    let mut failed = Vec::new();
    for line in &lines {
        if let Err(problem) = check::table(&archive, line).await {
            failed.push(format!("{}: {problem}", line.table));
        }
    }
    assert!(failed.is_empty(), "{} of {} tables:\n{}", failed.len(), lines.len(), failed.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn golden_tables_of_the_kernels_are_read_right() {
    check_archive("golden", 62).await;
}

#[tokio::test]
async fn golden_tables_of_spark_are_read_right() {
    check_archive("golden-spark", 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_the_rust_kernel_are_read_right() {
    check_archive("kernel-data", 39).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_the_java_kernel_are_read_right() {
    check_archive("kernel-java", 9).await;
}

#[tokio::test]
async fn workloads_of_the_java_kernel_are_read_right() {
    check_archive("kernel-java-workloads", 2).await;
}

#[tokio::test]
async fn tables_of_spark_are_read_right() {
    check_archive("spark", 9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_delta_rs_are_read_right() {
    check_archive("delta-rs", 28).await;
}

#[tokio::test]
async fn broken_logs_of_delta_rs_are_read_or_refused_right() {
    check_archive("delta-rs-errlogs", 6).await;
}

#[tokio::test]
async fn tables_of_duckdb_are_read_right() {
    check_archive("duckdb", 3).await;
}

#[test]
fn every_line_belongs_to_an_archive() {
    let groups = [
        "golden",
        "golden-spark",
        "kernel-data",
        "kernel-java",
        "kernel-java-workloads",
        "spark",
        "delta-rs",
        "delta-rs-errlogs",
        "duckdb",
    ];
    let mut archives = Archive::names();
    archives.sort_unstable();
    let mut sorted = groups;
    sorted.sort_unstable();
    assert_eq!(archives, sorted);
    for line in manifest::lines() {
        assert!(groups.contains(&line.group()), "{}", line.table);
    }
}
