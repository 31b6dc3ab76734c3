//! Features that leave a table.

use std::collections::BTreeSet;

use arrow_schema::{DataType, Field, Schema};
use boathouse_base::{DomainError, Env, ErrorKind, ManualClock, TableVersion};
use boathouse_delta_table::protocol::features::{DropProblem, has};
use boathouse_delta_table::{DeltaError, DeltaTable, FeatureProblem, Transaction};

use crate::rows::{append_each, kept, latest_ids, people, reopened, table};

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

#[tokio::test]
async fn what_must_stay_is_refused_and_says_why() {
    let table = table();
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
    let create = table.create(schema).property("delta.columnMapping.mode", "name").property("delta.enableRowTracking", "true");
    create.property("delta.feature.checkpointProtection", "supported").run().await.unwrap();
    for (feature, expected) in [
        ("columnMapping", DropProblem::InFiles),
        ("rowTracking", DropProblem::InFiles),
        ("domainMetadata", DropProblem::NeededBy { feature: "rowTracking".into() }),
        ("checkpointProtection", DropProblem::ProtectsHistory),
    ] {
        let error = table.drop_feature(feature).run().await.unwrap_err();
        assert_eq!(error.kind() == ErrorKind::Unsupported, expected == DropProblem::InFiles, "{error}");
        assert_eq!(problem(error), FeatureProblem::Table(expected));
    }
    let error = table.drop_feature("delta.enableRowTracking").run().await.unwrap_err();
    assert!(error.to_string().contains("it has appendOnly, checkpointProtection, columnMapping"), "{error}");
    assert_eq!(table.snapshot().await.unwrap().version(), 0);
}
