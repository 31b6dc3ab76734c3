//! The `lake` example: what it prints, and how it fails.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("examples").join("lake");
    assert!(built.is_file(), "{} is not there: `cargo build --example lake` makes it", built.display());
    built
}

fn lake(args: &[&str]) -> Output {
    Command::new(example()).args(args).stdin(Stdio::null()).output().unwrap()
}

/// What a command prints, which must succeed.
fn said(args: &[&str]) -> String {
    let output = lake(args);
    assert!(output.status.success(), "lake {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a command complains of: one line, with exit code 1.
fn complaint(args: &[&str]) -> String {
    let output = lake(args);
    assert_eq!(output.status.code(), Some(1), "lake {args:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    assert!(text.starts_with("lake: "), "{text}");
    text
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

#[test]
fn a_table_is_made_read_changed_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    let table = path(folder.path(), "fl ights");
    let sql = |statement: &str| said(&["sql", &statement.replace("$T", &format!("delta.`{table}`")), "--format", "csv"]);
    sql(
        "CREATE TABLE $T (id BIGINT NOT NULL, carrier STRING COMMENT 'two letters') USING DELTA PARTITIONED BY (carrier) TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')",
    );
    sql("INSERT INTO $T VALUES (1, 'AA'), (2, 'UA')");
    sql("INSERT INTO $T VALUES (3, 'AA')");
    sql("DELETE FROM $T WHERE id = 2");

    let sorted = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(said(&["cat", &table, "--format", "csv"])), ["1,AA", "3,AA", "id,carrier"]);
    assert_eq!(
        said(&["cat", &table, "--version", "1", "--where", "id > 1", "--format", "json"]),
        "{\"id\":2,\"carrier\":\"UA\"}\n"
    );
    assert!(said(&["cat", &table, "--columns", "id", "--limit", "1"]).starts_with("+----+\n| id |\n"));
    assert_eq!(
        said(&["changes", &table, "--from", "3", "--format", "csv"]).lines().filter(|line| line.contains("delete")).count(),
        1
    );
    assert_eq!(said(&["history", &table, "--format", "json"]).lines().count(), 4);
    assert!(said(&["detail", &table, "--format", "json"]).contains("\"numFiles\":2"));
    let columns = "column,type,nullable,partition,comment\nid,long,false,false,\ncarrier,string,true,true,two letters\n";
    assert_eq!(said(&["schema", &table, "--format", "csv"]), columns);

    said(&["restore", &table, "--version", "2"]);
    assert_eq!(said(&["cat", &table, "--format", "csv"]).lines().count(), 4);
    assert!(said(&["vacuum", &table, "--dry-run"]).contains("path"));
    said(&["optimize", &table]);
    let clone = path(folder.path(), "clone");
    said(&["clone", &table, &clone, "--version", "1"]);
    assert_eq!(sorted(said(&["cat", &clone, "--format", "csv"])), ["1,AA", "2,UA", "id,carrier"]);
    assert!(said(&["fsck", &clone, "--dry-run", "--format", "csv"]).starts_with("data_file_path"));

    // Rows as a Parquet file, which becomes a table where it is.
    let raw = folder.path().join("raw").join("day=2024-01-01");
    std::fs::create_dir_all(&raw).unwrap();
    std::fs::write(raw.join("f.parquet"), lake(&["cat", &table, "--format", "parquet"]).stdout).unwrap();
    let raw = path(folder.path(), "raw");
    assert!(said(&["convert", &raw]).ends_with("is a Delta table of 3 rows\n"));
    assert_eq!(said(&["cat", &raw, "--columns", "id,day", "--where", "id = 3", "--format", "csv"]), "id,day\n3,2024-01-01\n");

    let text = folder.path().join("text");
    std::fs::create_dir(&text).unwrap();
    std::fs::write(text.join("a.csv"), "id,name\n1,x\n2,y\n").unwrap();
    let read = path(folder.path(), "read");
    said(&["convert", &path(folder.path(), "text"), "--from", "csv", "--to", &read]);
    assert_eq!(said(&["cat", &read, "--where", "id = 2", "--format", "csv"]), "id,name\n2,y\n");
}

#[test]
fn an_error_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = path(folder.path(), "nothing");
    assert!(complaint(&["cat", &nothing]).contains("there is no Delta table"));
    assert!(complaint(&["sql", "SELEKT 1"]).contains("SELEKT"));
    assert!(complaint(&["restore", &nothing]).contains("--version or --timestamp"));
    assert!(complaint(&["convert", &nothing]).contains("holds no Parquet file"));
    assert!(complaint(&["cat", "ftp://nowhere/t"]).contains("ftp"));
    // What is wrong with the command itself is no longer either.
    assert!(complaint(&["cta", &nothing]).contains("unrecognized subcommand 'cta'"));
    assert!(complaint(&["cat"]).contains("<TABLE>"));
    assert!(complaint(&[]).contains("which command?"));
    assert!(complaint(&["optimize", &nothing, "--full", "--zorder", "a"]).contains("cannot be used with"));
    assert!(said(&["--help"]).contains("Usage:") && said(&["cat", "--help"]).contains("--where"));
}

#[test]
fn statements_come_from_standard_input_until_one_fails() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(example())
        .args(["sql", "--format", "csv", "--warehouse", &path(folder.path(), "w")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let script = "CREATE TABLE t (id INT)\n  USING DELTA;\nINSERT INTO t VALUES (7); SELECT id FROM t; -- a; b\n/* c; d */ SELECT 'x;y' AS s;\nSELECT nothing FROM t;\nSELECT 9;\n";
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("id\n7\n") && text.contains("s\nx;y\n") && !text.contains('9'), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

/// Every table of other writers that can be opened is printed, or says on one line why not.
#[test]
fn tables_of_every_writer_are_printed_as_json_and_csv() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("delta-core/table/tests/corpora");
    let lines = std::fs::read_to_string(corpora.join("tables.jsonl")).unwrap();
    let (mut printed, mut refused, mut gone) = (0, 0, 0);
    for group in ["golden", "golden-spark", "spark", "kernel-data", "delta-rs", "duckdb"] {
        let folder = tempfile::tempdir().unwrap();
        let packed = std::fs::File::open(corpora.join(format!("{group}.tar.zst"))).unwrap();
        tar::Archive::new(zstd::stream::read::Decoder::new(packed).unwrap()).unpack(folder.path()).unwrap();
        for entry in std::fs::read_dir(folder.path().join(group)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let known = lines.lines().find(|line| line.contains(&format!("\"table\":\"{group}/{name}\""))).unwrap();
            let table = folder.path().join(group).join(&name).join("delta").display().to_string();
            if known.contains("\"refused\"") || known.contains("\"fails\"") {
                complaint(&["cat", &table, "--format", "json"]);
                refused += 1;
                continue;
            }
            if known.contains("\"expected\":") {
                assert!(lake(&["cat", &table]).status.success(), "{table} has rows to compare with, and files");
            } else if !lake(&["cat", &table]).status.success() {
                // Some writers' tables are logs without files.
                assert!(complaint(&["cat", &table]).contains("the file is gone"));
                gone += 1;
                continue;
            }
            let json = said(&["cat", &table, "--format", "json"]);
            let csv = said(&["cat", &table, "--format", "csv"]);
            let rows: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert!(csv.lines().count() > rows.len(), "{group}/{name}: {} rows as JSON, and as CSV {csv}", rows.len());
            printed += 1;
        }
    }
    assert!(printed > 80 && refused > 5 && gone < 40, "{printed} printed, {refused} refused, {gone} without files");
}
