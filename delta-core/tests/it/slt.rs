//! Delta SQL by scripts: `slt/*.slt`, in the form of sqllogictest.
//!
//! | record | what |
//! | --- | --- |
//! | `statement ok` | runs |
//! | `statement error TEXT` | fails, and says TEXT |
//! | `query [rowsort]`, a statement, `----`, rows | gives these rows; values have a space between them |
//! | `file PATH`, lines | writes a file of these lines |
//! | `remove`, a path | deletes a file, as a person would who knows nothing of tables |
//!
//! `$LAKE` is a fresh folder.

use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use boathouse_delta_core::DeltaSession;
use boathouse_storage::seeded_env;

/// A piece of a script, from one empty line to the next.
struct Record<'a> {
    line: usize,
    head: &'a str,
    sql: String,
    rows: Vec<String>,
}

fn records(script: &str) -> Vec<Record<'_>> {
    let (mut records, mut lines) = (Vec::new(), script.lines().enumerate().peekable());
    while let Some((at, head)) = lines.next() {
        if head.trim().is_empty() || head.starts_with('#') {
            continue;
        }
        let (mut sql, mut rows, mut in_rows) = (Vec::new(), Vec::new(), false);
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.trim().is_empty()) {
            match line {
                "----" => in_rows = true,
                row if in_rows => rows.push(row.trim().to_owned()),
                text => sql.push(text),
            }
        }
        records.push(Record { line: at + 1, head, sql: sql.join("\n"), rows });
    }
    records
}

async fn run(session: &DeltaSession, sql: &str) -> Result<Vec<String>, String> {
    let frame = session.query(sql).await.map_err(|error| error.to_string())?;
    let batches = frame.collect().await.map_err(|error| error.to_string())?;
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in &batches {
        let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            let values: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            values.join(" ")
        }));
    }
    Ok(rows)
}

async fn play(name: &str) {
    let script = std::fs::read_to_string(format!("{}/tests/it/slt/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().display().to_string();
    let session = DeltaSession::new(seeded_env(5)).with_warehouse(&format!("{lake}/warehouse")).unwrap();
    for Record { line, head, sql, mut rows } in records(&script) {
        let sql = sql.replace("$LAKE", &lake);
        if head == "remove" {
            std::fs::remove_file(&sql).unwrap_or_else(|error| panic!("{name}:{line}: {sql}: {error}"));
            continue;
        }
        if let Some(path) = head.strip_prefix("file ") {
            let path = std::path::PathBuf::from(path.replace("$LAKE", &lake));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, sql + "\n").unwrap();
            continue;
        }
        let result = run(&session, &sql).await;
        match head.split_once(' ').unwrap_or((head, "")) {
            ("statement", "ok") => assert!(result.is_ok(), "{name}:{line}: {sql}\n{result:?}"),
            ("statement", said) => {
                let said = said.strip_prefix("error ").expect("`statement ok` or `statement error TEXT`");
                let error = result.expect_err(&format!("{name}:{line}: {sql} should fail"));
                assert!(error.contains(said), "{name}:{line}: {sql}\nsays: {error}\nand not: {said}");
            }
            ("query", sorting) => {
                let mut found = result.unwrap_or_else(|error| panic!("{name}:{line}: {sql}\n{error}"));
                if sorting == "rowsort" {
                    found.sort();
                    rows.sort();
                }
                assert_eq!(found, rows, "{name}:{line}: {sql}");
            }
            _ => panic!("{name}:{line}: what is `{head}`?"),
        }
    }
}

#[tokio::test]
async fn tables_are_created_altered_and_named() {
    play("tables.slt").await;
}

#[tokio::test]
async fn rows_are_inserted_changed_and_merged() {
    play("rows.slt").await;
}

#[tokio::test]
async fn earlier_versions_are_queried_and_restored() {
    play("versions.slt").await;
}

#[tokio::test]
async fn tables_are_cloned_converted_and_their_columns_moved() {
    play("copies.slt").await;
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_place() {
    play("errors.slt").await;
}

#[tokio::test]
async fn changes_are_a_table_and_subqueries_are_computed_first() {
    play("changes.slt").await;
}

#[tokio::test]
async fn tables_are_optimized_ordered_and_clustered() {
    play("tidying.slt").await;
}

#[tokio::test]
async fn files_are_loaded_once_checked_and_cast() {
    play("loading.slt").await;
}

#[tokio::test]
async fn rows_are_inserted_in_every_form_and_subqueries_read_the_row() {
    play("inserting.slt").await;
}

#[tokio::test]
async fn tables_stand_in_their_schema_and_versions_of_paths_are_read() {
    play("names.slt").await;
}

#[tokio::test]
async fn rows_are_checked_before_they_are_written_and_words_mean_what_they_mean_in_spark() {
    play("writing.slt").await;
}

#[tokio::test]
async fn definitions_of_tables_are_taken_as_spark_writes_them_or_refused_by_name() {
    play("definitions.slt").await;
}

#[tokio::test]
async fn names_are_found_in_any_letter_case_and_spelled_as_declared() {
    play("letter_case.slt").await;
}

#[tokio::test]
async fn what_there_is_is_shown_described_and_dropped() {
    play("catalog.slt").await;
}

#[tokio::test]
async fn files_of_rows_are_a_column_for_those_who_name_it() {
    play("file_metadata.slt").await;
}
