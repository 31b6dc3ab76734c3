//! Older versions: by number, by time, and made new again.

use boathouse_base::{Comparison, DomainError, Env, ErrorKind, ManualClock, Predicate, TableVersion};
use boathouse_delta_table::{DeltaError, DeltaTable};
use boathouse_storage::Storage;

use crate::rows::{append_each, ids, latest_ids, people, reopened, table};

#[tokio::test]
async fn every_version_can_be_read_before_and_after_checkpoints() {
    let table = table();
    append_each(&table, 0..25).await;
    for version in [0, 1, 9, 10, 11, 19, 20, 24] {
        let snapshot = reopened(&table).snapshot_at(TableVersion::Number(version)).await.unwrap();
        assert_eq!(snapshot.version(), version);
        assert_eq!(ids(&snapshot).await, (0..=i64::try_from(version).unwrap()).collect::<Vec<_>>());
    }
    let error = table.snapshot_at(TableVersion::Number(25)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("25") && error.to_string().contains("24"), "{error}");
}

#[tokio::test]
async fn a_time_means_the_last_version_at_or_before_it() {
    let table = table();
    for id in 0..12 {
        append_each(&table, id..id + 1).await;
        // Times are told to the millisecond, and behind a checkpoint nothing is known of commits that came too fast.
        table.env().sleep(std::time::Duration::from_millis(2)).await;
    }
    let mut times = Vec::new();
    for version in 0..12 {
        times.push(table.snapshot_at(TableVersion::Number(version)).await.unwrap().timestamp_us());
    }
    assert!(times.windows(2).all(|w| w[0] < w[1]), "times grow: {times:?}");
    for (version, time) in times.iter().enumerate() {
        for at in [*time, time + 999] {
            assert_eq!(table.snapshot_at(TableVersion::AtUs(at)).await.unwrap().version(), version as u64);
        }
    }
    for late in [times[11] + 1000, i64::MAX] {
        let error = reopened(&table).snapshot_at(TableVersion::AtUs(late)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(
            matches!(error, DeltaError::AfterNewestVersion { newest_version: 11, newest_us, asked_us, .. } if newest_us == times[11] && asked_us == late),
            "{error}"
        );
    }
    let error = table.snapshot_at(TableVersion::AtUs(times[0] - 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_restored_version_has_its_rows_schema_and_properties_again() {
    let table = table();
    append_each(&table, 0..3).await;
    let wide = crate::rows::batch(&[("other", std::sync::Arc::new(arrow_array::Int32Array::from(vec![1])))]);
    table.overwrite(crate::rows::stream(wide)).overwrite_schema().run().await.unwrap();
    let report = table.restore(TableVersion::Number(1)).run().await.unwrap();
    assert_eq!((report.version, report.restored_version, report.files_restored, report.files_removed), (4, 1, 2, 1));
    assert_eq!(latest_ids(&table).await, [0, 1]);
    assert_eq!(reopened(&table).snapshot().await.unwrap().delta_schema().names().collect::<Vec<_>>(), ["id", "part"]);
    assert_eq!(table.history(1).await.unwrap()[0].operation.as_deref(), Some("RESTORE"));
    append_each(&table, 7..8).await;
    assert_eq!(latest_ids(&table).await, [0, 1, 7]);
}

#[tokio::test]
async fn a_restore_and_a_clone_as_of_a_time_to_come_are_refused_and_change_nothing() {
    let table = table();
    append_each(&table, 0..2).await;
    let tomorrow = TableVersion::AtUs(table.snapshot().await.unwrap().timestamp_us() + 86_400_000_000);
    let error = table.restore(tomorrow).run().await.unwrap_err();
    assert!(matches!(error, DeltaError::AfterNewestVersion { newest_version: 1, .. }), "{error}");
    let copy = DeltaTable::at(Storage::memory().at("a/copy"), table.env().clone());
    let error = table.clone_to(&copy).at(tomorrow).run().await.unwrap_err();
    assert!(matches!(error, DeltaError::AfterNewestVersion { newest_version: 1, .. }), "{error}");
    assert!(!copy.exists().await.unwrap());
    assert_eq!(table.snapshot().await.unwrap().version(), 1);
}

#[tokio::test]
async fn a_file_that_is_gone_is_named_with_the_version_that_needs_it() {
    let table = table();
    append_each(&table, 0..1).await;
    let file = table.snapshot().await.unwrap().files(None).await.unwrap()[0].path().into_owned();
    table.overwrite(people(&[5], "a")).run().await.unwrap();
    table.storage().delete(&file).await.unwrap();
    assert_eq!(latest_ids(&table).await, [5], "the newest version does not need it");
    let old = table.snapshot_at(TableVersion::Number(0)).await.unwrap();
    let error = old.scan(boathouse_base::ScanRequest::default()).unwrap().collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&file) && error.to_string().contains("version 0"), "{error}");
    let error = table.restore(TableVersion::Number(0)).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&file), "{error}");
    assert_eq!(table.snapshot().await.unwrap().version(), 1, "nothing was restored");
}

#[tokio::test]
async fn a_table_made_anew_at_the_same_place_is_not_taken_for_the_old_one() {
    let table = table();
    append_each(&table, 0..3).await;
    assert_eq!(table.snapshot().await.unwrap().version(), 2);
    for entry in table.storage().list("").await.unwrap() {
        table.storage().delete(&entry.path).await.unwrap();
    }
    assert_eq!(table.snapshot().await.unwrap_err().kind(), ErrorKind::NotFound);
    append_each(&reopened(&table), 40..45).await;
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, [40, 41, 42, 43, 44]);
}

#[tokio::test]
async fn the_same_seed_and_clock_give_the_same_log() {
    let mut logs = Vec::new();
    for _ in 0..2 {
        let clock = ManualClock::starting_at_us(1_700_000_000_000_000);
        let table = DeltaTable::at(Storage::memory(), Env::new(clock, 5));
        append_each(&table, 0..2).await;
        table.overwrite(people(&[9], "b")).replace_where(Predicate::compare("id", Comparison::Gt, 0)).run().await.unwrap();
        let mut log = Vec::new();
        for entry in table.storage().list("").await.unwrap() {
            log.push((entry.path.clone(), table.storage().get(&entry.path).await.unwrap()));
        }
        logs.push(log);
    }
    assert_eq!(logs[0], logs[1]);
}
