//! Several writers at once: all take effect one after the other, or one gets a typed conflict.

use boathouse_base::{AppTransaction, Comparison, DomainError, ErrorKind, Predicate};
use boathouse_delta_table::protocol::conflict::Conflict;
use boathouse_delta_table::{DataWriter, DataWriterSettings, DeltaError, DeltaTable, Snapshot, Transaction};

use crate::rows::{append_each, latest_ids, people, reopened, table};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_appenders_at_once_all_succeed_and_no_row_is_lost_or_doubled() {
    let table = table();
    append_each(&table, 0..1).await;
    let writers: Vec<_> = (1..=10)
        .map(|id| {
            let table = DeltaTable::at(table.storage().clone(), boathouse_storage::seeded_env(id));
            tokio::spawn(async move { table.append(people(&[i64::try_from(id).unwrap()], "a")).run().await.unwrap() })
        })
        .collect();
    let mut versions = Vec::new();
    for writer in writers {
        versions.push(writer.await.unwrap().version);
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=10).collect::<Vec<_>>());
    assert_eq!(latest_ids(&table).await, (0..=10).collect::<Vec<_>>());
}

async fn written(snapshot: &Snapshot, ids: &[i64], part: &str) -> Transaction {
    let mut writer = DataWriter::new(snapshot, DataWriterSettings::default()).unwrap();
    let mut rows = people(ids, part);
    while let Some(batch) = rows.next().await {
        writer.write(&batch.unwrap()).await.unwrap();
    }
    Transaction::begin(snapshot).add_all(writer.finish().await.unwrap().adds)
}

fn conflict(error: DeltaError) -> Conflict {
    assert_eq!(error.kind(), ErrorKind::Conflict);
    match error {
        DeltaError::Conflict { source, .. } => *source,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_stale_append_goes_behind_a_delete_an_overwrite_and_a_compaction() {
    let table = table();
    append_each(&table, 0..3).await;
    let stale = table.snapshot().await.unwrap();
    let append = written(&stale, &[100], "a").await;
    let now = table.snapshot().await.unwrap();
    let files = now.files(None).await.unwrap();
    Transaction::begin(&now).read_whole_table().remove(&files[0]).commit().await.unwrap();
    table.overwrite(people(&[7], "a")).run().await.unwrap();
    let report = append.commit().await.unwrap();
    assert_eq!((report.version, report.attempts), (5, 1), "commits of the same handle are known without an attempt");
    assert_eq!(latest_ids(&table).await, [7, 100]);
}

#[tokio::test]
async fn a_stale_overwrite_does_not_bury_an_append_that_it_did_not_see() {
    let table = table();
    append_each(&table, 0..2).await;
    let stale = table.snapshot().await.unwrap();
    let overwrite = written(&stale, &[50], "a").await.read_whole_table().remove_all(&stale.files(None).await.unwrap());
    append_each(&table, 2..3).await;
    let error = conflict(overwrite.commit().await.unwrap_err());
    assert!(matches!(error, Conflict::ConcurrentAppend { version: 2, .. }), "{error}");
    assert_eq!(latest_ids(&table).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_transaction_that_read_a_predicate_conflicts_only_with_rows_that_may_match() {
    let table = table();
    append_each(&table, 0..3).await;
    let stale = table.snapshot().await.unwrap();
    let small = Predicate::compare("id", Comparison::Lt, 10);
    let delete = async || {
        let file = stale.files(Some(&Predicate::eq("id", 0))).await.unwrap();
        Transaction::begin(&stale).read_predicate(small.clone()).remove_all(&file)
    };
    append_each(&table, 100..101).await;
    let other = delete().await;
    assert_eq!(other.commit().await.unwrap().version, 4, "an append beyond the predicate is no conflict");
    let error = conflict(delete().await.commit().await.unwrap_err());
    assert!(matches!(error, Conflict::ConcurrentDeleteRead { .. } | Conflict::ConcurrentDeleteDelete { .. }), "{error}");
    assert_eq!(latest_ids(&table).await, [1, 2, 100]);
}

#[tokio::test]
async fn two_deletes_of_the_same_file_conflict() {
    let table = table();
    append_each(&table, 0..2).await;
    let snapshot = table.snapshot().await.unwrap();
    let file = snapshot.files(None).await.unwrap()[0].clone();
    Transaction::begin(&snapshot).remove(&file).commit().await.unwrap();
    let error = conflict(Transaction::begin(&snapshot).remove(&file).commit().await.unwrap_err());
    assert!(matches!(error, Conflict::ConcurrentDeleteDelete { version: 2, .. }), "{error}");
}

#[tokio::test]
async fn a_changed_schema_stops_a_stale_append_and_says_why() {
    let table = table();
    append_each(&table, 0..1).await;
    let append = written(&table.snapshot().await.unwrap(), &[5], "a").await;
    let wide = crate::rows::batch(&[("more", std::sync::Arc::new(arrow_array::Int32Array::from(vec![1])))]);
    table.append(crate::rows::stream(wide.clone())).merge_schema().run().await.unwrap();
    // A new column that may be null does not touch it.
    append.clone().commit().await.unwrap();
    table.overwrite(crate::rows::stream(wide)).overwrite_schema().run().await.unwrap();
    let error = conflict(append.commit().await.unwrap_err());
    assert!(matches!(&error, Conflict::MetadataChanged { change, .. } if change == "schema (column `id` is gone)"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_of_one_application_write_each_version_once() {
    let table = table();
    append_each(&table, 0..1).await;
    for round in 1..4_u64 {
        let writers: Vec<_> = (0..4)
            .map(|seed| {
                let table = DeltaTable::at(table.storage().clone(), boathouse_storage::seeded_env(seed * 100 + round));
                let app = AppTransaction { app_id: "job".into(), version: round, payload: None };
                tokio::spawn(async move {
                    table.append(people(&[i64::try_from(round).unwrap()], "a")).app_transaction(app).run().await.unwrap()
                })
            })
            .collect();
        let mut skipped = 0;
        for writer in writers {
            skipped += u32::from(writer.await.unwrap().skipped);
        }
        assert_eq!(skipped, 3);
    }
    assert_eq!(latest_ids(&reopened(&table)).await, [0, 1, 2, 3]);
    // Files of writers that were not needed are gone again.
    let files = table
        .storage()
        .list("")
        .await
        .unwrap()
        .into_iter()
        .filter(|e| e.path.ends_with(".parquet") && !e.path.contains("_delta_log"));
    assert_eq!(files.count(), 4);
}

#[tokio::test]
async fn too_many_faster_writers_end_in_a_typed_error() {
    let table = table();
    append_each(&table, 0..1).await;
    let append = written(&table.snapshot().await.unwrap(), &[5], "a").await;
    append_each(&reopened(&table), 1..2).await;
    let error = append.max_attempts(1).commit().await.unwrap_err();
    assert!(matches!(error, DeltaError::TooManyAttempts { attempts: 1, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_that_create_the_same_table_at_once_all_succeed() {
    for round in 0..5_u64 {
        let storage = boathouse_storage::Storage::memory();
        let writers: Vec<_> = (1..=6_u64)
            .map(|id| {
                let table = DeltaTable::at(storage.clone(), boathouse_storage::seeded_env(id + 10 * round));
                tokio::spawn(async move {
                    let rows = people(&[i64::try_from(id).unwrap()], "a");
                    table.append(rows).create_if_absent().partition_by(["part"]).run().await.unwrap()
                })
            })
            .collect();
        let mut versions = Vec::new();
        for writer in writers {
            versions.push(writer.await.unwrap().version);
        }
        versions.sort_unstable();
        assert_eq!(versions, [0, 1, 2, 3, 4, 5]);
        let table = DeltaTable::at(storage, boathouse_storage::seeded_env(1));
        assert_eq!(latest_ids(&table).await, [1, 2, 3, 4, 5, 6]);
    }
}

#[tokio::test]
async fn creators_whose_tables_differ_conflict() {
    use boathouse_storage::testing::{LatencyProfile, LatencyStore, run_on_clock};
    let clock = boathouse_base::ManualClock::default();
    let env = boathouse_base::Env::new(clock.clone(), 1);
    let storage = LatencyStore::wrap(&boathouse_storage::Storage::memory(), env.clone(), LatencyProfile::default());
    let (one, two) = (DeltaTable::at(storage.clone(), env.clone()), DeltaTable::at(storage, env));
    let other = crate::rows::batch(&[("x", std::sync::Arc::new(arrow_array::Int32Array::from(vec![1])))]);
    let both = async {
        futures::join!(
            one.append(people(&[1], "a")).create_if_absent().run(),
            two.append(crate::rows::stream(other)).create_if_absent().run()
        )
    };
    let (one, two) = run_on_clock(&clock, both).await;
    let lost = one.err().or(two.err()).unwrap();
    assert!(matches!(lost, DeltaError::CreatedMeanwhile { .. }), "{lost}");
}
