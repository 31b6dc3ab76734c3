//! COPY INTO by its builder: each file once, also when several load at once, and when one is stopped in between.

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::{DomainError, ErrorKind, ScanRequest};
use boathouse_delta_core::{
    CopyFormat, CopySettings, CopyValidation, CorruptFiles, CsvFiles, DeltaTable, DeltaTableExt, EngineError, JsonFiles,
};
use boathouse_storage::{Storage, seeded_env};
use proptest::prelude::*;

use crate::rows::version;

fn csv() -> CopyFormat {
    CopyFormat::Csv(CsvFiles { header: true, ..CsvFiles::default() })
}

async fn table(store: &Storage, seed: u64) -> DeltaTable {
    let table = DeltaTable::at(store.clone(), seeded_env(seed));
    let columns = vec![Field::new("id", DataType::Int64, true)];
    table.create(Schema::new(columns)).if_not_exists().run().await.unwrap();
    table
}

async fn ids(table: &DeltaTable) -> Vec<i64> {
    let snapshot = table.snapshot().await.unwrap();
    let mut rows = snapshot.scan(ScanRequest::default()).unwrap();
    let mut ids = Vec::new();
    while let Some(batch) = rows.next().await {
        let batch: RecordBatch = batch.unwrap();
        let column = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        ids.extend(column.values().iter().copied());
    }
    ids.sort_unstable();
    ids
}

async fn land(landing: &Storage, name: &str, ids: std::ops::Range<i64>) {
    let lines: Vec<String> = ids.map(|id| id.to_string()).collect();
    landing.put(name, format!("id\n{}\n", lines.join("\n"))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn loaders_at_the_same_time_load_each_file_once() {
    let (store, landing) = (Storage::memory(), Storage::memory());
    table(&store, 0).await;
    for file in 0..40 {
        land(&landing, &format!("in/{file:02}.csv"), file * 10..file * 10 + 10).await;
    }
    let loaders = (0..6_u64).map(|nth| {
        let (store, landing) = (store.clone(), landing.clone());
        tokio::spawn(async move {
            // Each sees another part of the folder, and parts overlap.
            let settings = CopySettings { pattern: Some(format!("[{}-3]*.csv", nth % 3)), ..CopySettings::default() };
            let table = table(&store, nth + 1).await;
            table.copy_from(landing.at("in"), csv()).with_settings(settings).run().await.unwrap()
        })
    });
    let reports = futures::future::join_all(loaders).await;
    let loaded: u64 = reports.iter().map(|report| report.as_ref().unwrap().files_loaded).sum();
    assert_eq!(loaded, 40);
    assert_eq!(ids(&table(&store, 9).await).await, (0..400).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_loaders_of_different_files_do_not_wait_for_each_other() {
    let (store, landing) = (Storage::memory(), Storage::memory());
    let (one, two) = (table(&store, 1).await, table(&store, 2).await);
    land(&landing, "a.csv", 0..2).await;
    land(&landing, "b.csv", 2..4).await;
    let only = |name: &str| CopySettings { files: vec![name.to_owned()], ..CopySettings::default() };
    // Both look at version 0 before one of them commits.
    one.snapshot().await.unwrap();
    two.snapshot().await.unwrap();
    let first = one.copy_from(landing.clone(), csv()).with_settings(only("a.csv")).run().await.unwrap();
    let second = two.copy_from(landing, csv()).with_settings(only("b.csv")).run().await.unwrap();
    assert_eq!((first.version, second.version, second.attempts), (1, 2, 1));
    assert_eq!(ids(&one).await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn what_was_loaded_is_known_after_a_checkpoint_and_in_a_deep_clone() {
    let (store, landing) = (Storage::memory(), Storage::memory());
    let table = table(&store, 1).await;
    land(&landing, "a.csv", 0..3).await;
    table.copy_from(landing.clone(), csv()).run().await.unwrap();
    table.checkpoint().await.unwrap();
    let again = DeltaTable::at(store, seeded_env(2));
    let report = again.copy_from(landing.clone(), csv()).run().await.unwrap();
    assert_eq!((report.committed, report.files_known, report.version), (false, 1, 1));
    let forced = CopySettings { force: true, ..CopySettings::default() };
    let report = again.copy_from(landing, csv()).with_settings(forced).run().await.unwrap();
    assert_eq!((report.files_loaded, report.rows_inserted), (1, 3));
}

#[tokio::test]
async fn hidden_and_empty_files_are_not_loaded_and_a_file_is_a_source() {
    let (store, landing) = (Storage::memory(), Storage::memory());
    let table = table(&store, 1).await;
    land(&landing, "in/a.csv", 0..1).await;
    land(&landing, "in/_tmp/b.csv", 1..2).await;
    land(&landing, "in/.c.csv", 2..3).await;
    landing.put("in/empty.csv", "").await.unwrap();
    let report = table.copy_from(landing.at("in/a.csv"), csv()).run().await.unwrap();
    assert_eq!(report.files_loaded, 1);
    let report = table.copy_from(landing.at("in"), csv()).run().await.unwrap();
    assert_eq!((report.files_loaded, report.files_known), (0, 1));
    // It has rows now.
    land(&landing, "in/empty.csv", 5..6).await;
    assert_eq!(table.copy_from(landing.at("in"), csv()).run().await.unwrap().rows_inserted, 1);
    let error = table.copy_from(landing.at("out"), csv()).run().await.unwrap_err();
    assert!(matches!(error, EngineError::NoSource { .. }) && error.kind() == ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn files_that_disagree_or_do_not_fit_are_named_and_nothing_is_loaded() {
    let (store, landing) = (Storage::memory(), Storage::memory());
    let table = table(&store, 1).await;
    landing.put("a.json", "{\"id\": 1, \"x\": {\"y\": 1}}").await.unwrap();
    landing.put("b.json", "{\"id\": 2, \"x\": true}").await.unwrap();
    let json = CopyFormat::Json(JsonFiles::default());
    let merge = CopySettings { merge_schema: true, ..CopySettings::default() };
    let error = table.copy_from(landing.clone(), json.clone()).with_settings(merge).run().await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("column `x`") && said.contains("a.json") && said.contains("b.json"), "{said}");
    landing.put("b.json", "{\"id\": 1.5}").await.unwrap();
    let only = CopySettings { files: vec!["b.json".into()], ..CopySettings::default() };
    let error = table.copy_from(landing.clone(), json.clone()).with_settings(only.clone()).run().await.unwrap_err();
    assert!(error.to_string().contains("b.json") && error.to_string().contains("1.5"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(version(&table).await, 0);
    landing.put("b.json", "{\"id\": 9007199254740993}").await.unwrap();
    table.copy_from(landing, json).with_settings(only).run().await.unwrap();
    assert_eq!(ids(&table).await, [9007199254740993]);
}

#[tokio::test]
async fn a_file_that_breaks_off_is_left_out_as_a_whole() {
    let (store, landing) = (Storage::memory(), Storage::memory());
    let table = table(&store, 1).await;
    land(&landing, "a.csv", 0..20_000).await;
    let lines: String = (0..20_000).map(|id| format!("{id}\n")).collect();
    landing.put("b.csv", format!("id\n{lines}1,2,3\n")).await.unwrap();
    let skip = CopySettings { corrupt_files: CorruptFiles::Skip, ..CopySettings::default() };
    let report = table.copy_from(landing.clone(), csv()).with_settings(skip).run().await.unwrap();
    assert_eq!((report.files_loaded, report.files_corrupt, report.rows_inserted), (1, 1, 20_000));
    let error = table.copy_from(landing, csv()).run().await.unwrap_err();
    assert!(error.to_string().contains("b.csv"), "{error}");
}

#[tokio::test]
async fn validation_looks_at_all_rows_and_writes_nothing() {
    let (store, landing) = (Storage::memory(), Storage::memory());
    let table = table(&store, 1).await;
    land(&landing, "a.csv", 0..200).await;
    let before = store.list("").await.unwrap();
    let preview = table.copy_from(landing.clone(), csv()).validate(CopyValidation::All).await.unwrap();
    let shown: usize = preview.batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!((preview.rows_checked, shown, preview.files), (200, 50, 1));
    let preview = table.copy_from(landing.clone(), csv()).validate(CopyValidation::Rows(7)).await.unwrap();
    assert_eq!(preview.rows_checked, 7);
    assert_eq!(store.list("").await.unwrap(), before);
    // What was looked at is not loaded.
    assert_eq!(table.copy_from(landing, csv()).run().await.unwrap().rows_inserted, 200);
}

#[tokio::test]
async fn a_thousand_files_are_one_commit_and_are_all_known() {
    let (store, landing) = (Storage::memory(), Storage::memory());
    let table = table(&store, 1).await;
    for file in 0..1000 {
        land(&landing, &format!("{file}.csv"), file..file + 1).await;
    }
    let report = table.copy_from(landing.clone(), csv()).run().await.unwrap();
    assert_eq!((report.version, report.files_loaded, report.files_added), (1, 1000, 1));
    let report = table.copy_from(landing, csv()).run().await.unwrap();
    assert_eq!((report.committed, report.files_known), (false, 1000));
    assert_eq!(ids(&table).await, (0..1000).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Files land and are loaded in any order, some of them forced: what is in the table is what a list of names would say.
    #[test]
    fn rows_are_those_of_a_set_of_names(steps in proptest::collection::vec((0_i64..6, 0_u8..4), 1..14)) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let (store, landing) = (Storage::memory(), Storage::memory());
            let table = table(&store, 7).await;
            let (mut landed, mut loaded, mut expected) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new(), Vec::new());
            for (file, step) in steps {
                let name = format!("{file}.csv");
                match step {
                    0 | 1 => {
                        land(&landing, &name, file..file + 1).await;
                        landed.insert(file);
                    }
                    2 if !landed.is_empty() => {
                        table.copy_from(landing.clone(), csv()).run().await.unwrap();
                        expected.extend(landed.iter().filter(|file| loaded.insert(**file)).copied().collect::<Vec<_>>());
                    }
                    3 if landed.contains(&file) => {
                        let settings = CopySettings { files: vec![name], force: true, ..CopySettings::default() };
                        table.copy_from(landing.clone(), csv()).with_settings(settings).run().await.unwrap();
                        loaded.insert(file);
                        expected.push(file);
                    }
                    _ => {}
                }
            }
            expected.sort_unstable();
            assert_eq!(ids(&table).await, expected);
        });
    }
}

#[tokio::test]
async fn expressions_see_all_files_and_have_the_functions_of_the_session() {
    let (store, landing) = (Storage::memory(), Storage::memory());
    let table = table(&store, 1).await;
    land(&landing, "a.csv", 0..10).await;
    land(&landing, "b.csv", 10..20).await;
    let session = datafusion::prelude::SessionContext::new();
    let copy = table.copy_from(landing.clone(), csv()).with_session(&session);
    let error = copy.clone().select("max(id) AS idd").run().await.unwrap_err();
    assert!(error.to_string().contains("idd"), "{error}");
    let report = copy.select("max(CAST(id AS BIGINT)) AS id").run().await.unwrap();
    assert_eq!((report.files_loaded, report.rows_inserted), (2, 1));
    assert_eq!(ids(&table).await, [19]);
    let error = table.copy_from(landing, csv()).select("1; DROP TABLE x").run().await;
    assert!(error.is_ok_and(|report| !report.committed), "all files are known: nothing is planned");
}
