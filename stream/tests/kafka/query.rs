//! A query over a topic.

use std::sync::Arc;

use boathouse_base::memory::MemorySink;
use boathouse_storage::Storage;
use boathouse_stream::StreamQuery;

use crate::cluster::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_query_reads_each_message_once_over_restarts() {
    let cluster = Cluster::with_partitions(2);
    let (sink, checkpoint) = (MemorySink::new(), Storage::memory());
    let query = || {
        StreamQuery::named("clicks")
            .source(Arc::new(cluster.source(&[("maxOffsetsPerTrigger", "2")])))
            .sql("SELECT CAST(value AS STRING) AS value FROM source")
            .sink(Arc::new(sink.clone()))
            .checkpoint(checkpoint.clone())
    };
    cluster.send("clicks", 0, &["a", "b", "c"]);
    cluster.send("clicks", 1, &["d"]);
    let report = query().run_available_now().await.unwrap();
    assert_eq!(report.output_rows, 4);
    assert!(report.epochs > 1, "the source has a limit");
    assert_eq!(query().run_available_now().await.unwrap().epochs, 0, "nothing is new");
    cluster.send("clicks", 1, &["e"]);
    assert_eq!(query().run_available_now().await.unwrap().output_rows, 1);
    assert_eq!(sink.rows(), 5);
}
