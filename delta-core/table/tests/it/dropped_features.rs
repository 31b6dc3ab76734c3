//! Features that leave a table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int32Array, Int64Array, StringArray};
use arrow_cast::display::array_value_to_string;
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::{DomainError, Env, ErrorKind, ManualClock, ScanRequest, TableVersion};
use boathouse_delta_table::protocol::action::DomainMetadata;
use boathouse_delta_table::protocol::features::{DropProblem, has};
use boathouse_delta_table::{DataFile, DeltaError, DeltaTable, FeatureProblem, RowTrackingColumns, Snapshot, Transaction};
use boathouse_storage::seeded_env;
use boathouse_storage::testing::{Fault, FaultRule, FaultStore};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use crate::rows::{append_each, batch, kept, latest_ids, people, reopened, stream, table};

fn problem(error: DeltaError) -> FeatureProblem {
    match error {
        DeltaError::CannotDropFeature { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

fn later(table: &DeltaTable, hours: i64) -> DeltaTable {
    let now_us = table.env().now_us() + hours * 3_600_000_000;
    kept(DeltaTable::at(table.storage().clone(), Env::new(ManualClock::starting_at_us(now_us), 9)))
}

#[tokio::test]
async fn a_feature_of_writers_leaves_with_its_property_in_one_commit() {
    let table = table();
    table.append(people(&[1], "a")).property("delta.appendOnly", "true").run().await.unwrap();
    assert!(table.overwrite(people(&[2], "a")).run().await.is_err());
    let report = table.drop_feature("appendOnly").run().await.unwrap();
    assert_eq!((report.version, report.protected_before), (1, None));
    let snapshot = reopened(&table).snapshot().await.unwrap();
    assert!(!has(snapshot.protocol(), "appendOnly") && has(snapshot.protocol(), "invariants"));
    assert!(!snapshot.metadata().configuration.contains_key("delta.appendOnly"));
    table.overwrite(people(&[2], "a")).run().await.unwrap();
    let history = table.history(2).await.unwrap().remove(1);
    assert_eq!(history.operation.as_deref(), Some("DROP FEATURE"));
    assert_eq!(history.parameters["featureName"], "appendOnly");
}

#[tokio::test]
async fn deletion_vectors_go_when_no_file_has_one_and_earlier_versions_stay_behind_checkpoints() {
    let table = table();
    table.append(people(&[1, 2, 3], "a")).property("delta.enableDeletionVectors", "true").run().await.unwrap();
    let snapshot = table.snapshot().await.unwrap();
    let file = snapshot.files(None).await.unwrap().remove(0);
    Transaction::begin(&snapshot).delete_rows(&file, [1]).commit().await.unwrap();
    let error = table.drop_feature("deletionVectors").run().await.unwrap_err();
    assert_eq!(problem(error), FeatureProblem::HasVectors { path: file.path().into_owned() });
    assert_eq!(table.snapshot().await.unwrap().version(), 1, "nothing has changed");
    table.overwrite(people(&[1, 3], "a")).run().await.unwrap();
    let report = table.drop_feature("deletionVectors").run().await.unwrap();
    // The property, three empty commits, the drop.
    assert_eq!((report.version, report.protected_before), (7, Some(7)));
    let fresh = reopened(&table);
    let snapshot = fresh.snapshot().await.unwrap();
    assert!(!has(snapshot.protocol(), "deletionVectors") && has(snapshot.protocol(), "checkpointProtection"));
    assert_eq!(snapshot.protocol().min_reader_version, 1, "old readers can read it");
    assert_eq!(snapshot.metadata().configuration["delta.requireCheckpointProtectionBeforeVersion"], "7");
    assert!(!snapshot.metadata().configuration.contains_key("delta.enableDeletionVectors"));
    for version in [4, 5, 6, 7] {
        let checkpoint = format!("_delta_log/{version:020}.checkpoint.parquet");
        assert!(table.storage().head(&checkpoint).await.unwrap().is_some(), "{checkpoint}");
    }
    let before = fresh.snapshot_at(TableVersion::Number(1)).await.unwrap();
    assert_eq!(crate::rows::ids(&before).await, [1, 3], "earlier versions are read");
    append_each(&fresh, 9..10).await;
    assert_eq!(latest_ids(&table).await, [1, 3, 9]);
}

/// What a client that knows no vectors spares in a vacuum: files of the table, and removed ones within the retention.
async fn spared_by_old_clients(table: &DeltaTable) -> BTreeSet<String> {
    let snapshot = reopened(table).snapshot().await.unwrap();
    let files = snapshot.files(None).await.unwrap().into_iter().map(|file| file.path().into_owned());
    let removed = snapshot.tombstones().await.unwrap().into_iter().map(|remove| remove.path);
    files.chain(removed).collect()
}

/// The files of vectors in the folder.
async fn vector_files(table: &DeltaTable) -> BTreeSet<String> {
    let listed = table.storage().list("").await.unwrap().into_iter().map(|entry| entry.path);
    listed.filter(|path| path.ends_with(".bin")).collect()
}

#[tokio::test]
async fn vectors_that_earlier_versions_need_are_listed_as_removed_files_once() {
    let table = table();
    let many: Vec<i64> = (0..5000).collect();
    table.append(people(&many, "a")).property("delta.enableDeletionVectors", "true").run().await.unwrap();
    for rows in [0_u64..1000, 2000..3000] {
        let snapshot = table.snapshot().await.unwrap();
        let file = snapshot.files(None).await.unwrap().remove(0);
        // Rows here and there: a vector that is too large for the log.
        Transaction::begin(&snapshot).delete_rows(&file, rows.map(|row| row * 17 % 4999)).commit().await.unwrap();
    }
    let before = latest_ids(&table).await;
    table.overwrite(people(&[1, 3], "a")).run().await.unwrap();
    let vectors = vector_files(&table).await;
    assert_eq!(vectors.len(), 2, "of both deletions");
    assert!(spared_by_old_clients(&table).await.is_disjoint(&vectors), "nobody names them before");
    table.drop_feature("deletionVectors").run().await.unwrap();
    assert!(spared_by_old_clients(&table).await.is_superset(&vectors));
    let history = table.history(20).await.unwrap();
    let listed = |history: &[boathouse_delta_table::CommitSummary]| {
        history.iter().filter(|commit| commit.operation.as_deref() == Some("Deletion Vector Tombstones")).count()
    };
    assert_eq!(listed(&history), 1);
    // A vacuum spares them, the versions that need them are read, and rows of the newest one are what they were.
    reopened(&table).vacuum().run().await.unwrap();
    assert_eq!(vector_files(&table).await, vectors);
    assert_eq!(crate::rows::ids(&reopened(&table).snapshot_at(TableVersion::Number(2)).await.unwrap()).await, before);
    assert_eq!(latest_ids(&table).await, [1, 3]);
    assert_eq!(reopened(&table).snapshot().await.unwrap().row_count().await.unwrap(), Some(2));
    // They are not listed again when the feature comes and goes once more.
    table.alter().set_property("delta.enableDeletionVectors", "true").run().await.unwrap();
    table.drop_feature("deletionVectors").run().await.unwrap();
    assert_eq!(listed(&table.history(40).await.unwrap()), 1);
    // Older than the retention, nobody needs them.
    let later = later(&table, 24 * 40);
    later.vacuum().run().await.unwrap();
    assert_eq!(latest_ids(&table).await, [1, 3]);
}

#[tokio::test]
async fn history_is_truncated_when_it_is_a_day_old_and_then_nothing_is_protected() {
    let table = table();
    table.append(people(&[1], "a")).property("delta.enableDeletionVectors", "true").run().await.unwrap();
    let error = table.drop_feature("deletionVectors").truncate_history().run().await.unwrap_err();
    assert_eq!(problem(error), FeatureProblem::HistoryNeeds { version: 0, hours: 24 });
    assert!(has(reopened(&table).snapshot().await.unwrap().protocol(), "deletionVectors"));
    // Two days later the versions from before are gone.
    let later = later(&table, 72);
    append_each(&later, 5..6).await;
    let report = later.drop_feature("deletionVectors").truncate_history().run().await.unwrap();
    assert_eq!(report.protected_before, None);
    let snapshot = reopened(&table).snapshot().await.unwrap();
    assert!(!has(snapshot.protocol(), "deletionVectors") && !has(snapshot.protocol(), "checkpointProtection"));
    assert_eq!(latest_ids(&table).await, [1, 5]);
    assert!(reopened(&table).snapshot_at(TableVersion::Number(0)).await.is_err());
}

/// All rows as text, sorted.
async fn bag(snapshot: &Snapshot) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in crate::rows::read(snapshot).await {
        let text = |column: &ArrayRef, row| array_value_to_string(column, row).unwrap();
        rows.extend((0..batch.num_rows()).map(|row| batch.columns().iter().map(|c| text(c, row)).collect::<Vec<_>>().join(" ")));
    }
    rows.sort();
    rows
}

/// The row ids and versions of the rows by the column of this name.
async fn row_ids(snapshot: &Snapshot, key: &str) -> BTreeMap<i64, (i64, i64)> {
    let names = RowTrackingColumns { row_id: "row id".to_owned(), commit_version: "row version".to_owned() };
    let batches = snapshot.scan_with_row_ids(ScanRequest::default(), &names).unwrap().collect().await.unwrap();
    let mut rows = BTreeMap::new();
    for batch in &batches {
        let column = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
        let (key, id, version) = (column(key), column("row id"), column("row version"));
        rows.extend((0..batch.num_rows()).map(|row| (key.value(row), (id.value(row), version.value(row)))));
    }
    rows
}

/// The columns that a file has, by its footer.
async fn stored_columns(snapshot: &Snapshot, file: &DataFile) -> Vec<(String, DataType)> {
    let storage = snapshot.table().storage();
    let bytes = storage.get(&file.path()).await.unwrap();
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let footer = ArrowReaderMetadata::load(&bytes, options).unwrap();
    footer.schema().fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

async fn changes_rows(table: &DeltaTable, version: u64) -> bool {
    let stored = table.storage().get(&format!("_delta_log/{version:020}.json")).await.unwrap();
    let text = std::str::from_utf8(&stored).unwrap().to_owned();
    text.contains("\"dataChange\":true") || text.contains("\"cdc\"")
}

#[tokio::test]
async fn a_column_mapping_goes_and_files_know_columns_by_the_names_that_users_see() {
    let table = table();
    let create = table.append(people(&[1, 2, 3], "a")).partition_by(["part"]).property("delta.columnMapping.mode", "name");
    let create = create.property("delta.enableRowTracking", "true").property("delta.enableChangeDataFeed", "true");
    create.property("delta.enableDeletionVectors", "true").run().await.unwrap();
    table.alter().add_column(Field::new("note", DataType::Utf8, true)).run().await.unwrap();
    table.alter().rename_column("id", "key").rename_column("part", "town").drop_column("note").run().await.unwrap();
    let more = batch(&[("key", Arc::new(Int64Array::from(vec![7, 8]))), ("town", Arc::new(StringArray::from(vec!["b", "c d"])))]);
    table.append(stream(more)).run().await.unwrap();
    let snapshot = table.snapshot().await.unwrap();
    let file = snapshot.files(None).await.unwrap().into_iter().find(|file| file.row_count() == Some(3)).unwrap();
    Transaction::begin(&snapshot).delete_rows(&file, [1]).commit().await.unwrap();
    let before = table.snapshot().await.unwrap();
    let (rows, ids) = (bag(&before).await, row_ids(&before, "key").await);
    assert_eq!(rows, ["1 a", "3 a", "7 b", "8 c d"]);

    let report = table.drop_feature("columnMapping").run().await.unwrap();
    assert_eq!(report.files_rewritten, 3);
    assert_eq!(report.protected_before, Some(report.version));
    let fresh = reopened(&table);
    let after = fresh.snapshot().await.unwrap();
    assert!(!has(after.protocol(), "columnMapping"), "{:?}", after.protocol());
    assert_eq!(bag(&after).await, rows);
    assert_eq!(row_ids(&after, "key").await, ids, "rows keep their ids");
    assert!(!after.metadata().configuration.keys().any(|key| key.to_lowercase().contains("columnmapping")));
    assert!(!after.metadata().schema_string.contains("columnMapping"));
    for file in after.files(None).await.unwrap() {
        let columns: Vec<String> = stored_columns(&after, &file).await.into_iter().map(|(name, _)| name).collect();
        assert!(columns.contains(&"key".to_owned()) && !columns.iter().any(|name| name == "note" || name == "id"), "{columns:?}");
        assert!(file.add().partition_values.get("town").is_some(), "{:?}", file.add());
        assert!(file.add().stats.as_deref().unwrap().contains("\"key\""));
    }
    let exchange =
        fresh.history(20).await.unwrap().into_iter().find(|c| c.operation.as_deref() == Some("REMOVE COLUMN MAPPING")).unwrap();
    assert!(!changes_rows(&fresh, exchange.version).await, "change readers see nothing");
    assert_eq!(exchange.metrics["numRewrittenFiles"], "3");
    // A new column of an old name has no old values, and earlier versions are read.
    fresh
        .alter()
        .add_column(Field::new("note", DataType::Utf8, true))
        .add_column(Field::new("id", DataType::Int64, true))
        .run()
        .await
        .unwrap();
    let more = batch(&[("key", Arc::new(Int64Array::from(vec![9]))), ("town", Arc::new(StringArray::from(vec!["b"])))]);
    fresh.append(stream(more)).run().await.unwrap();
    assert_eq!(bag(&reopened(&table).snapshot().await.unwrap()).await, ["1 a  ", "3 a  ", "7 b  ", "8 c d  ", "9 b  "]);
    assert_eq!(bag(&fresh.snapshot_at(TableVersion::Number(before.version())).await.unwrap()).await, rows);
    assert!(fresh.snapshot().await.unwrap().validate_checksum().await.unwrap().differences.is_empty());
}

#[tokio::test]
async fn a_mapping_stays_where_a_name_needs_it() {
    let table = table();
    table.append(people(&[1], "a")).property("delta.columnMapping.mode", "name").run().await.unwrap();
    table.alter().rename_column("part", "home town").run().await.unwrap();
    let error = table.drop_feature("columnMapping").run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("column `home town`, with ' '"), "{error}");
    assert_eq!(table.snapshot().await.unwrap().version(), 1, "nothing has changed");
    table.alter().rename_column("home town", "town").run().await.unwrap();
    table.drop_feature("columnMapping").run().await.unwrap();
    append_by(&table, 2).await;
    assert_eq!(bag(&reopened(&table).snapshot().await.unwrap()).await, ["1 a", "2 a"]);
}

#[tokio::test]
async fn a_drop_whose_store_fails_leaves_the_rows_and_is_done_by_the_next_one() {
    let (mut failed, mut nth) = (0, 0);
    loop {
        let table = crate::rows::table();
        table.append(people(&[1], "a")).property("delta.columnMapping.mode", "name").run().await.unwrap();
        table.alter().rename_column("part", "town").run().await.unwrap();
        let store = FaultStore::new(Arc::clone(table.storage().object_store()));
        // From one request on the store fails for good.
        store.inject(FaultRule::new(Fault::FailBefore).skip(nth));
        let storage = table.storage().with_object_store(|_| Arc::new(store.clone()));
        let result = kept(DeltaTable::at(storage, seeded_env(5))).drop_feature("columnMapping").run().await;
        assert_eq!(bag(&reopened(&table).snapshot().await.unwrap()).await, ["1 a"]);
        if store.injected().is_empty() {
            result.unwrap();
            break;
        }
        failed += 1;
        nth += 1 + failed / 4;
        if has(reopened(&table).snapshot().await.unwrap().protocol(), "columnMapping") {
            assert!(result.is_err());
            reopened(&table).drop_feature("columnMapping").run().await.unwrap();
        }
        append_by(&table, 2).await;
        let after = reopened(&table).snapshot().await.unwrap();
        assert!(!has(after.protocol(), "columnMapping"));
        assert_eq!(bag(&after).await, ["1 a", "2 a"]);
    }
    assert!(failed > 5, "{failed}");
}

async fn append_by(table: &DeltaTable, id: i64) {
    let rows = batch(&[("id", Arc::new(Int64Array::from(vec![id]))), ("town", Arc::new(StringArray::from(vec!["a"])))]);
    table.append(stream(rows)).run().await.unwrap();
}

#[tokio::test]
async fn a_clustered_table_without_its_mapping_is_clustered_by_the_same_columns() {
    let table = table();
    table.append(people(&[1, 2], "a")).property("delta.columnMapping.mode", "id").run().await.unwrap();
    table.cluster_by(["id"]).run().await.unwrap();
    table.alter().rename_column("id", "key").run().await.unwrap();
    let report = table.drop_feature("columnMapping").run().await.unwrap();
    assert_eq!(report.files_rewritten, 1);
    let snapshot = reopened(&table).snapshot().await.unwrap();
    let domain = &snapshot.state().domain_metadata["delta.clustering"];
    assert!(domain.configuration.contains("[[\"key\"]]"), "{}", domain.configuration);
    let error = table.drop_feature("clustering").run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("CLUSTER BY NONE"), "{error}");
}

#[tokio::test]
async fn widened_types_go_once_files_from_before_are_written_again() {
    let table = table();
    let rows = |n: i32| stream(batch(&[("n", Arc::new(Int32Array::from(vec![n]))), ("x", Arc::new(Int32Array::from(vec![-n])))]));
    table.append(rows(5)).property("delta.enableTypeWidening", "true").run().await.unwrap();
    table.alter().widen_column("n", DataType::Int64).run().await.unwrap();
    let wide = batch(&[("n", Arc::new(Int64Array::from(vec![i64::MAX]))), ("x", Arc::new(Int32Array::from(vec![1])))]);
    table.append(stream(wide)).run().await.unwrap();
    let untouched = table.snapshot().await.unwrap().files(None).await.unwrap();
    let untouched = untouched.iter().find(|file| file.add().stats.as_deref().unwrap().contains("9223372036854775807")).unwrap();
    let rows = bag(&table.snapshot().await.unwrap()).await;
    let report = table.drop_feature("typeWidening").run().await.unwrap();
    assert_eq!(report.files_rewritten, 1);
    let snapshot = reopened(&table).snapshot().await.unwrap();
    assert!(!has(snapshot.protocol(), "typeWidening") && !snapshot.metadata().schema_string.contains("typeChanges"));
    assert_eq!(bag(&snapshot).await, rows);
    let files = snapshot.files(None).await.unwrap();
    assert!(files.iter().any(|file| file.path() == untouched.path()), "a file of the type that it is now stays");
    for file in files {
        assert_eq!(stored_columns(&snapshot, &file).await[0], ("n".to_owned(), DataType::Int64));
    }
    let exchange = table.history(20).await.unwrap().into_iter().find(|c| c.operation.as_deref() == Some("REORG")).unwrap();
    assert!(!changes_rows(&table, exchange.version).await);
    let old = reopened(&table).snapshot_at(TableVersion::Number(0)).await.unwrap();
    assert_eq!(bag(&old).await, ["5 -5"]);
}

#[tokio::test]
async fn row_ids_leave_the_log_with_their_domain_and_then_domains_may_go_as_well() {
    let table = table();
    let create = table.append(people(&[1, 2], "a")).property("delta.enableRowTracking", "true");
    create.property("delta.enableDeletionVectors", "true").run().await.unwrap();
    append_each(&table, 3..5).await;
    let snapshot = table.snapshot().await.unwrap();
    let mine = DomainMetadata { domain: "mine".to_owned(), configuration: "{}".to_owned(), removed: false };
    Transaction::begin(&snapshot).domain_metadata(mine).commit().await.unwrap();
    assert!(matches!(
        problem(table.drop_feature("domainMetadata").run().await.unwrap_err()),
        FeatureProblem::Table(DropProblem::NeededBy { .. })
    ));
    let report = table.drop_feature("rowTracking").run().await.unwrap();
    assert_eq!((report.files_rewritten, report.protected_before), (0, None));
    let snapshot = reopened(&table).snapshot().await.unwrap();
    assert!(!has(snapshot.protocol(), "rowTracking") && has(snapshot.protocol(), "domainMetadata"));
    assert!(!snapshot.metadata().configuration.keys().any(|key| key.to_lowercase().contains("rowtracking")));
    assert_eq!(snapshot.state().domain_metadata.keys().collect::<Vec<_>>(), ["mine"]);
    for file in snapshot.files(None).await.unwrap() {
        assert_eq!((file.add().base_row_id, file.add().default_row_commit_version), (None, None));
    }
    append_each(&table, 5..6).await;
    assert!(reopened(&table).snapshot().await.unwrap().files(None).await.unwrap().iter().all(|f| f.add().base_row_id.is_none()));
    table.drop_feature("domainMetadata").run().await.unwrap();
    let snapshot = reopened(&table).snapshot().await.unwrap();
    assert!(!has(snapshot.protocol(), "domainMetadata") && snapshot.state().domain_metadata.is_empty());
    assert_eq!(latest_ids(&table).await, [1, 2, 3, 4, 5]);
    assert!(snapshot.validate_checksum().await.unwrap().differences.is_empty());
    // They come again, and count anew.
    table.alter().set_property("delta.enableRowTracking", "true").run().await.unwrap();
    assert_eq!(row_ids(&reopened(&table).snapshot().await.unwrap(), "id").await.len(), 5);
}

#[tokio::test]
async fn what_must_stay_is_refused_and_says_why() {
    let table = table();
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
    let create = table.create(schema).property("delta.enableIcebergCompatV2", "true").property("delta.enableRowTracking", "true");
    let create = create.property("delta.columnMapping.mode", "name");
    create.property("delta.feature.checkpointProtection", "supported").run().await.unwrap();
    for (feature, expected) in [
        ("columnMapping", DropProblem::NeededBy { feature: "icebergCompatV2".into() }),
        ("domainMetadata", DropProblem::NeededBy { feature: "rowTracking".into() }),
        ("checkpointProtection", DropProblem::ProtectsHistory),
    ] {
        let error = table.drop_feature(feature).run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert_eq!(problem(error), FeatureProblem::Table(expected));
    }
    let error = table.drop_feature("delta.enableRowTracking").run().await.unwrap_err();
    assert!(error.to_string().contains("it has "), "{error}");
    assert_eq!(table.snapshot().await.unwrap().version(), 0);
}
