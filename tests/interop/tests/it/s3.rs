//! A real S3 server: what conditional writes promise, and two processes that append to one table.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use boathouse::Lakehouse;
use boathouse_base::{BatchStream, DomainError, ErrorKind, TableVersion};
use boathouse_delta_core::DeltaTable;
use boathouse_interop::S3Server;
use boathouse_storage::{Location, Storage, Stores, VersionedObject, system_env};
use futures::future::join_all;

/// Commits of both processes together.
const COMMITS: i64 = 1000;

fn storage(options: &[(&str, String)], url: &str) -> Storage {
    let stores = Stores::new().with_options(options.iter().map(|(name, value)| (*name, value.as_str())));
    stores.open(&Location::parse(url).unwrap()).unwrap()
}

fn rows(ids: &[i64]) -> BatchStream {
    RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef)]).unwrap().into()
}

async fn ids(table: &DeltaTable) -> Vec<i64> {
    let batches = table.snapshot().await.unwrap().scan(Default::default()).unwrap().collect().await.unwrap();
    let column = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(column).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_all_who_write_one_object_if_absent_one_wins() {
    let server = S3Server::start("lake");
    let storage = storage(server.options(), &server.url("race/a folder"));
    for object in 0..10 {
        let path = format!("p=x%20y/{object}");
        let puts = (0..16).map(|writer| storage.put_if_absent(&path, format!("writer {writer}")));
        let (mut winners, mut losers) = (Vec::new(), 0);
        for (writer, put) in join_all(puts).await.into_iter().enumerate() {
            match put {
                Ok(()) => winners.push(writer),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => losers += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((winners.len(), losers), (1, 15));
        assert_eq!(storage.get(&path).await.unwrap(), format!("writer {}", winners[0]));
    }
    let listed = storage.list_after("", "p=x%20y/4").await.unwrap();
    assert_eq!(
        listed.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(),
        ["5", "6", "7", "8", "9"].map(|n| format!("p=x%20y/{n}"))
    );
    assert_eq!(storage.get_optional("none").await.unwrap(), None);
    storage.delete("p=x%20y/4").await.unwrap();
    storage.delete("p=x%20y/4").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_that_eight_replace_at_once_counts_every_step() {
    let server = S3Server::start("lake");
    let folder = storage(server.options(), &server.url("counter"));
    let steps = |value: &[u8]| std::str::from_utf8(value).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap();
    let count = async |writer: usize| {
        let counter = VersionedObject::new(&folder, "steps");
        for _ in 0..10 {
            loop {
                let read = counter.read().await.unwrap();
                let taken = read.as_ref().map_or(0, |(_, value)| steps(value));
                // Two writers of equal bytes both succeed, so the value names its writer.
                match counter.compare_and_set(read.map(|(version, _)| version), format!("{} {writer}", taken + 1)).await {
                    Ok(_) => break,
                    Err(error) if error.kind() == ErrorKind::Conflict => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    join_all((0..8).map(count)).await;
    let (_, value) = VersionedObject::new(&folder, "steps").read().await.unwrap().unwrap();
    assert_eq!(steps(&value), 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_append_at_once_and_no_commit_is_lost_or_doubled() {
    if let Ok(writer) = std::env::var("BOATHOUSE_S3_WRITER") {
        return append_as(&writer).await;
    }
    let server = S3Server::start("lake");
    let url = server.url("tables/events");
    let table = DeltaTable::at(storage(server.options(), &url), system_env());
    table.create(rows(&[]).schema().as_ref().clone()).run().await.unwrap();

    // The writers are this program again, asked for this test alone, and told who they are.
    let this = std::env::current_exe().unwrap();
    let env = system_env();
    let began_us = env.monotonic_us();
    let writers: Vec<_> = ["0", "1"]
        .into_iter()
        .map(|writer| {
            let mut command = Command::new(&this);
            command.args(["--exact", "s3::two_processes_append_at_once_and_no_commit_is_lost_or_doubled", "--nocapture"]);
            command.env("BOATHOUSE_S3_WRITER", writer).env("BOATHOUSE_S3_URL", &url);
            command.env("BOATHOUSE_S3_OPTIONS", serde_json::json!(server.options()).to_string());
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let ended =
        tokio::task::spawn_blocking(|| writers.into_iter().map(|writer| writer.wait_with_output().unwrap()).collect::<Vec<_>>());
    for output in ended.await.unwrap() {
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("attempts"), "{said}");
        println!("{}", said.lines().find(|line| line.contains("attempts")).unwrap_or_default());
    }
    println!("{COMMITS} commits of two processes in {} ms", (env.monotonic_us() - began_us) / 1000);

    let table = DeltaTable::at(storage(server.options(), &url), system_env());
    let found = ids(&table).await;
    let expected: BTreeSet<i64> = (0..COMMITS).collect();
    assert_eq!(found.len() as i64, COMMITS, "rows");
    assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), expected);
    let last = table.snapshot().await.unwrap().version();
    let listed = table.storage().list("_delta_log").await.unwrap();
    let commits: Vec<u64> = listed
        .iter()
        .filter_map(|entry| entry.path.strip_prefix("_delta_log/")?.strip_suffix(".json"))
        .filter(|name| name.len() == 20)
        .map(|name| name.parse().unwrap())
        .collect();
    assert_eq!(commits, (0..=last).collect::<Vec<_>>(), "versions without a gap");
    assert_eq!(last, COMMITS as u64, "one version for each append, after the one that made the table");
    let early = table.snapshot_at(TableVersion::Number(COMMITS as u64 / 2)).await.unwrap();
    assert_eq!(early.row_count().await.unwrap(), Some(COMMITS as u64 / 2));
}

/// One of the two processes: appends its half of the ids, one a commit.
async fn append_as(writer: &str) {
    let writer: i64 = writer.parse().unwrap();
    let options: Vec<(String, String)> = serde_json::from_str(&std::env::var("BOATHOUSE_S3_OPTIONS").unwrap()).unwrap();
    let options: Vec<(&str, String)> = options.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let table = DeltaTable::at(storage(&options, &std::env::var("BOATHOUSE_S3_URL").unwrap()), system_env());
    let mut attempts = 0;
    for id in (writer..COMMITS).step_by(2) {
        attempts += table.append(rows(&[id])).run().await.unwrap().attempts;
    }
    println!("writer {writer}: {attempts} attempts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lakehouse_opens_in_a_bucket() {
    let server = S3Server::start("lake");
    let databases = tempfile::tempdir().unwrap();
    let open = async || {
        let stores = Stores::new().with_options(server.options().iter().map(|(name, value)| (*name, value.as_str())));
        let database = databases.path().join("ml.db").display().to_string();
        Lakehouse::at(server.url("house")).database(database).stores(stores).open().await.unwrap()
    };
    let lake = open().await;
    lake.table("events").append(rows(&[1, 2, 3])).create_if_absent().run().await.unwrap();
    lake.close().await;
    let lake = open().await;
    let session = lake.session(["events"]).await.unwrap();
    let counted = session.sql("SELECT count(*), sum(id) FROM events").await.unwrap().collect().await.unwrap();
    let number = |column: usize| counted[0].column(column).as_primitive::<Int64Type>().value(0);
    assert_eq!((number(0), number(1)), (3, 6));
    assert_eq!(lake.session(["nothing"]).await.err().unwrap().kind(), ErrorKind::NotFound);
}
