//! A store that fails at every step: a change is there as a whole or not at all.

use std::collections::BTreeSet;

use boathouse_delta_core::{DeltaError, DeltaTable, DeltaTableExt, EngineError, MergeDelete, Retention};
use boathouse_storage::testing::{Fault, FaultRule, FaultStore};
use boathouse_storage::{seeded_env, system_env};

use crate::rows::{FEED, VECTORS, batch, frame, read, row, sorted, table_of, table_with};

#[tokio::test]
async fn a_fault_at_any_request_leaves_a_merge_done_once_or_not_at_all() {
    let before = [row(1, "a", 1), row(2, "b", 2), row(3, "b", 3)];
    let after = sorted(&[row(1, "a", 1), row(2, "b", 20), row(3, "b", 3), row(4, "b", 4)]);
    for fault in [Fault::FailBefore, Fault::FailAfter, Fault::LostReply, Fault::DiskFull] {
        let mut at = 0;
        loop {
            let sound = table_of(true, &[&before]).await;
            let mut store = None;
            let storage = sound.storage().with_object_store(|inner| {
                let faulty = FaultStore::new(inner);
                store = Some(faulty.clone());
                std::sync::Arc::new(faulty)
            });
            let store = store.unwrap();
            store.inject(FaultRule::new(fault).skip(at));
            let faulty = DeltaTable::at(storage, seeded_env(3));
            let merge = faulty.merge(frame(&[row(2, "b", 20), row(4, "b", 4)]), "t.id = s.id");
            let result = merge.when_matched_update_all().when_not_matched_insert_all().run().await;
            let rows = read(&sound).await;
            match &result {
                Ok(_) => assert_eq!(rows, after, "{fault:?} at request {at}"),
                Err(EngineError::Table(DeltaError::CommitUnknown { .. })) => assert!(rows == after || rows == sorted(&before)),
                Err(error) => assert_eq!(rows, sorted(&before), "{fault:?} at request {at}: {error}"),
            }
            if store.injected().is_empty() {
                break;
            }
            at += 1;
        }
        assert!(at >= 4, "a merge makes several requests");
    }
}

/// The statements that change rows, by name.
async fn change(table: &DeltaTable, statement: &str) -> Result<(), EngineError> {
    match statement {
        "delete" => table.delete().filter("id = 2").run().await.map(drop),
        "update" => table.update().set("v", "v + 1").filter("id > 1").run().await.map(drop),
        "merge" => {
            let merge = table.merge(frame(&[row(2, "b", 20), row(9, "c", 9)]), "t.id = s.id").when_matched_update_all();
            merge
                .when_not_matched_insert_all()
                .when_not_matched_by_source_delete(MergeDelete::only_if("t.id = 6"))
                .run()
                .await
                .map(drop)
        }
        "replace where" => table.replace_where(frame(&[row(7, "b", 1)]), "part = 'b' AND v < 3").run().await.map(drop),
        "replace partitions" => table.replace_partitions(frame(&[row(7, "b", 7)])).run().await.map(drop),
        _ => table.replace_using(frame(&[row(2, "c", 7), row(5, "c", 5)]), ["id"]).run().await.map(drop),
    }
}

#[tokio::test]
async fn a_fault_at_any_request_leaves_each_statement_done_or_not_and_vacuum_takes_what_is_left_behind() {
    let rows = [row(1, "a", 1), row(2, "b", 2), row(3, "b", 3), row(4, "b", 4), row(6, "b", 7)];
    for (statement, properties) in [
        ("delete", vec![VECTORS]),
        ("delete", vec![FEED]),
        ("update", vec![VECTORS, FEED]),
        ("merge", vec![VECTORS, FEED]),
        ("merge", vec![]),
        ("replace where", vec![VECTORS]),
        ("replace partitions", vec![FEED]),
        ("replace using", vec![VECTORS, FEED]),
    ] {
        let made = async || {
            let table = table_with(true, &properties).await;
            table.append(batch(&rows).into()).run().await.unwrap();
            table
        };
        let (before, done) = (sorted(&rows), made().await);
        change(&done, statement).await.unwrap();
        let after = read(&done).await;
        assert_ne!(before, after, "{statement} changes rows");
        for fault in [Fault::FailBefore, Fault::FailAfter, Fault::LostReply, Fault::DiskFull] {
            for at in 0.. {
                let sound = made().await;
                let mut store = None;
                let storage = sound.storage().with_object_store(|inner| {
                    let faulty = FaultStore::new(inner);
                    store = Some(faulty.clone());
                    std::sync::Arc::new(faulty)
                });
                let store = store.unwrap();
                store.inject(FaultRule::new(fault).skip(at));
                let result = change(&DeltaTable::at(storage, seeded_env(3)), statement).await;
                let found = read(&sound).await;
                match &result {
                    Ok(()) => assert_eq!(found, after, "{statement}: {fault:?} at request {at}"),
                    Err(EngineError::Table(DeltaError::CommitUnknown { .. })) => assert!(found == after || found == before),
                    Err(error) => assert_eq!(found, before, "{statement}: {fault:?} at request {at}: {error}"),
                }
                // Files that no version names are older than a moment from now.
                system_env().sleep(std::time::Duration::from_millis(2)).await;
                let cleaned = DeltaTable::at(sound.storage().clone(), system_env());
                cleaned.vacuum().retention(Retention::Unsafe(std::time::Duration::ZERO)).run().await.unwrap();
                assert_eq!(read(&sound).await, found, "{statement}: {fault:?} at request {at}");
                let named: BTreeSet<String> = cleaned
                    .snapshot()
                    .await
                    .unwrap()
                    .files(None)
                    .await
                    .unwrap()
                    .iter()
                    .map(|file| file.path().into_owned())
                    .collect();
                let listed = sound.storage().list("").await.unwrap().into_iter().map(|entry| entry.path);
                let data: BTreeSet<String> =
                    listed.filter(|path| path.ends_with(".parquet") && !path.starts_with("_delta_log/")).collect();
                assert_eq!(data, named, "{statement}: {fault:?} at request {at}");
                if store.injected().is_empty() {
                    assert!(at >= 3, "{statement} makes several requests");
                    break;
                }
            }
        }
    }
}
