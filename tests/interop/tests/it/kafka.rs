//! A real broker: what a Python client sends becomes rows of a Delta table, each once.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use boathouse::Lakehouse;
use boathouse::stream::StreamQuery;
use boathouse::stream::kafka::{KafkaSource, KafkaSourceOptions};
use boathouse_interop::KafkaBroker;

/// A new query over the topic, as after a restart, takes what is there.
async fn run(broker: &KafkaBroker, folder: &Path) -> u64 {
    let lake = Lakehouse::at(folder.to_str().unwrap()).open().await.unwrap();
    let options = [
        ("kafka.bootstrap.servers", broker.servers()),
        ("subscribe", "numbers"),
        ("startingOffsets", "earliest"),
        ("maxOffsetsPerTrigger", "300"),
    ];
    let source = KafkaSource::open(KafkaSourceOptions::from_pairs(options).unwrap()).unwrap();
    let query = StreamQuery::named("numbers")
        .source(Arc::new(source))
        .sql("SELECT CAST(CAST(value AS STRING) AS BIGINT) AS n FROM source")
        .sink(Arc::new(lake.delta_sink("numbers")))
        .checkpoint(lake.folder("streams/numbers"));
    let report = query.run_available_now().await.unwrap();
    lake.close().await;
    report.output_rows
}

async fn numbers(folder: &Path) -> Vec<i64> {
    let lake = Lakehouse::at(folder.to_str().unwrap()).open().await.unwrap();
    let session = lake.session(["numbers"]).await.unwrap();
    let rows = session.sql("SELECT n FROM numbers ORDER BY n").await.unwrap().collect().await.unwrap();
    lake.close().await;
    rows.iter().flat_map(|batch| batch["n"].as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_python_client_sends_is_in_the_table_once_over_restarts() {
    let mut broker = KafkaBroker::start("numbers", 2);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    broker.send(0, 1000, 1);
    assert_eq!(run(&broker, folder).await, 1000);
    assert_eq!(run(&broker, folder).await, 0, "nothing is new");
    // Batches of many messages: the broker lists their first offset as its end, and a run is behind it until it has looked.
    broker.send(1000, 1000, 100);
    let mut came = 0;
    for restarts in 0..20 {
        came += run(&broker, folder).await;
        if came == 1000 {
            println!("all rows after {} runs", restarts + 1);
            break;
        }
    }
    assert_eq!(numbers(folder).await, (0..2000).collect::<Vec<i64>>());
    assert_eq!(run(&broker, folder).await, 0);
}
