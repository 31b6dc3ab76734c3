//! The contract of [`StreamSink`].

use std::sync::Arc;

use arrow_array::RecordBatch;

use super::rows::{assert_kind, batch, failing_stream, ids, schema, stream};
use super::together::{both, polled_at_most};
use crate::BoxFuture;
use crate::batch_stream::BatchStream;
use crate::error::ErrorKind;
use crate::sink::{EpochCommit, OutputMode, StreamSink};

/// A target that a sink writes to, and how its rows are read back.
pub trait SinkFixture {
    /// A new handle on the sink, as after a restart.
    fn open(&self) -> BoxFuture<'_, Arc<dyn StreamSink>>;

    /// The rows that a reader of the target sees now; none when it does not exist yet.
    fn read(&self) -> BoxFuture<'_, Vec<RecordBatch>>;

    /// Whether it takes complete results. One that does not must say so, and write nothing.
    fn replaces(&self) -> bool {
        true
    }
}

/// Checks an implementation of [`StreamSink`]. `make` gives a target that no query wrote to yet, another at each
/// call. It is given the columns `id: Int64 not null, name: Utf8, delay: Float64`.
pub async fn sink<F: SinkFixture>(make: impl AsyncFn() -> F) {
    epochs(&make().await).await;
    failed_epochs(&make().await).await;
    complete_output(&make().await).await;
    two_queries(&make().await).await;
    one_epoch_by_two_handles(&make().await).await;
    for polls in 0..24 {
        dropped_commit(&make().await, polls).await;
    }
}

fn commit(query_id: &str, epoch: u64) -> EpochCommit {
    let payload = format!("{{\"offset\":{epoch},\"of\":\"{query_id}\"}}");
    EpochCommit { query_id: query_id.to_owned(), epoch, payload, mode: OutputMode::Append }
}

async fn found(fixture: &impl SinkFixture) -> Vec<i64> {
    ids(&fixture.read().await)
}

async fn epochs(fixture: &impl SinkFixture) {
    let sink = fixture.open().await;
    assert!(!sink.describe().is_empty(), "a sink says where it writes");
    assert_eq!(sink.last_epoch("q").await.expect("a new sink can be asked"), None, "nothing was committed yet");
    let report = sink.commit(commit("q", 0), stream(&[1, 2])).await.expect("the first epoch");
    assert_eq!((report.rows, report.skipped), (2, false));
    assert_eq!(found(fixture).await, [1, 2]);
    let two = BatchStream::from_batches(schema(), vec![batch(&[3]), batch(&[4, 5])]);
    assert_eq!(sink.commit(commit("q", 1), two).await.expect("an epoch of two batches").rows, 3);
    let report = sink.commit(commit("q", 2), BatchStream::empty(schema())).await.expect("an epoch without rows");
    assert_eq!((report.rows, report.skipped), (0, false));

    for handle in [&sink, &fixture.open().await] {
        let last = handle.last_epoch("q").await.unwrap().expect("the last epoch is known, also after a restart");
        assert_eq!(last.epoch, 2, "an epoch without rows is an epoch");
        assert_eq!(last.payload, Some(commit("q", 2).payload), "the payload comes back as it was");
        for epoch in [2, 1, 0] {
            let report = handle.commit(commit("q", epoch), stream(&[99])).await.expect("a repeated epoch");
            assert!(report.skipped, "epoch {epoch} after 2 changes nothing");
            assert_eq!(report.rows, 0, "a skipped epoch writes no rows");
        }
        assert_eq!(handle.last_epoch("q").await.unwrap().map(|last| last.epoch), Some(2));
    }
    assert_eq!(found(fixture).await, [1, 2, 3, 4, 5]);
}

async fn failed_epochs(fixture: &impl SinkFixture) {
    let sink = fixture.open().await;
    let failed = sink.commit(commit("q", 0), failing_stream(&[1])).await;
    assert_kind(&failed, ErrorKind::Unavailable, &[], "an epoch whose rows fail half-way");
    assert_eq!(sink.last_epoch("q").await.unwrap(), None, "a failed epoch is not committed");
    assert_eq!(found(fixture).await, Vec::<i64>::new(), "a failed epoch shows no rows");
    sink.commit(commit("q", 0), stream(&[1])).await.expect("a failed epoch is tried again");
    assert!(sink.commit(commit("q", 1), failing_stream(&[2])).await.is_err());
    assert_eq!(sink.last_epoch("q").await.unwrap().map(|last| last.epoch), Some(0));
    assert_eq!(found(fixture).await, [1]);
}

async fn complete_output(fixture: &impl SinkFixture) {
    let sink = fixture.open().await;
    let complete = |epoch| EpochCommit { mode: OutputMode::Complete, ..commit("q", epoch) };
    if !fixture.replaces() {
        let refused = sink.commit(complete(0), stream(&[1, 2])).await;
        assert_kind(&refused, ErrorKind::Invalid, &[], "a complete result that the sink cannot take");
        assert_eq!(sink.last_epoch("q").await.unwrap(), None, "a refused epoch is not committed");
        assert_eq!(found(fixture).await, Vec::<i64>::new(), "a refused epoch shows no rows");
        return;
    }
    sink.commit(complete(0), stream(&[1, 2])).await.expect("a complete result");
    sink.commit(complete(1), stream(&[2, 3])).await.expect("a later complete result");
    assert_eq!(found(fixture).await, [2, 3], "a complete result replaces what is there");
    assert!(sink.commit(complete(1), stream(&[9])).await.expect("a repeated epoch").skipped);
    assert_eq!(found(fixture).await, [2, 3]);
}

async fn two_queries(fixture: &impl SinkFixture) {
    let sink = fixture.open().await;
    sink.commit(commit("a", 0), stream(&[1])).await.unwrap();
    sink.commit(commit("a", 1), stream(&[2])).await.unwrap();
    assert_eq!(sink.last_epoch("b").await.unwrap(), None, "another query wrote nothing");
    assert!(!sink.commit(commit("b", 0), stream(&[3])).await.expect("the first epoch of another query").skipped);
    assert_eq!(sink.last_epoch("a").await.unwrap().map(|last| last.epoch), Some(1));
    assert_eq!(sink.last_epoch("b").await.unwrap().and_then(|last| last.payload), Some(commit("b", 0).payload));
    assert_eq!(found(fixture).await, [1, 2, 3]);
}

async fn one_epoch_by_two_handles(fixture: &impl SinkFixture) {
    let (a, b) = (fixture.open().await, fixture.open().await);
    a.commit(commit("q", 0), stream(&[1])).await.unwrap();
    let both = both(a.commit(commit("q", 1), stream(&[2])), b.commit(commit("q", 1), stream(&[2]))).await;
    let mut written = 0;
    for report in [both.0, both.1] {
        match report {
            Ok(report) => written += u32::from(!report.skipped),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "one epoch by two handles: {error}"),
        }
    }
    assert!(written <= 1, "an epoch is written once");
    assert_eq!(found(fixture).await, [1, 2], "an epoch is seen once");
}

async fn dropped_commit(fixture: &impl SinkFixture, polls: u32) {
    let sink = fixture.open().await;
    sink.commit(commit("q", 0), stream(&[1])).await.unwrap();
    let _ = polled_at_most(polls, sink.commit(commit("q", 1), stream(&[2, 3]))).await;
    let sink = fixture.open().await;
    let last = sink.last_epoch("q").await.unwrap().expect("epoch 0 is committed").epoch;
    let expected: &[i64] = if last == 0 { &[1] } else { &[1, 2, 3] };
    assert_eq!(found(fixture).await, expected, "rows and epoch {last} go together, after {polls} polls");
    sink.commit(commit("q", 1), stream(&[2, 3])).await.expect("a dropped epoch is tried again");
    assert_eq!(found(fixture).await, [1, 2, 3], "an epoch is written once");
}
