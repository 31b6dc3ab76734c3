//! The contract of [`StreamSource`].

use std::sync::Arc;

use arrow_array::RecordBatch;

use super::rows::{assert_kind, assert_same_rows, rows_of};
use crate::BoxFuture;
use crate::error::ErrorKind;
use crate::source::{Offset, ReadLimit, StreamSource};

/// The state behind a source, such as a folder, and how it grows.
pub trait SourceFixture {
    /// A new instance of the source over this state, as after a restart.
    fn open(&self) -> BoxFuture<'_, Arc<dyn StreamSource>>;

    /// Adds rows, two or more, as one file or push. Gives how many.
    fn grow(&self) -> BoxFuture<'_, usize>;
}

/// Checks an implementation of [`StreamSource`]. `make` gives a state without data, another at each call.
pub async fn source<F: SourceFixture>(make: impl AsyncFn() -> F) {
    without_data(&make().await).await;
    one_range(&make().await).await;
    for limit in [
        ReadLimit::default(),
        ReadLimit { files: Some(1), ..ReadLimit::default() },
        ReadLimit { files: Some(2), ..ReadLimit::default() },
        ReadLimit { bytes: Some(1), ..ReadLimit::default() },
        ReadLimit { rows: Some(1), ..ReadLimit::default() },
    ] {
        many_ranges(&make().await, limit).await;
    }
    grows_while_read(&make().await).await;
    wrong_offsets(&make().await).await;
}

async fn rows(source: &Arc<dyn StreamSource>, start: Option<&Offset>, end: &Offset) -> Vec<RecordBatch> {
    let stream = source.read(start, end).await.expect("a planned range can be read");
    super::batch_stream(stream).await.expect("a planned range is read to its end")
}

async fn without_data(fixture: &impl SourceFixture) {
    let source = fixture.open().await;
    assert!(!source.describe().is_empty(), "a source says what it reads");
    let planned = source.plan(None, ReadLimit::default()).await.expect("a source without data can be planned");
    assert_eq!(planned, None, "there is nothing new in a source without data");
}

async fn one_range(fixture: &impl SourceFixture) {
    let source = fixture.open().await;
    let grown = fixture.grow().await;
    let planned = source.plan(None, ReadLimit::default()).await.unwrap().expect("new rows are planned");
    assert!(!planned.more, "without a limit nothing is left");
    let first = rows(&source, None, &planned.end).await;
    assert_eq!(rows_of(&first), grown, "every row is read once");
    assert_same_rows(&first, &rows(&source, None, &planned.end).await, "a range read again");
    let restarted = fixture.open().await;
    assert_same_rows(&first, &rows(&restarted, None, &planned.end).await, "a range read after a restart");
    for source in [&source, &restarted] {
        let nothing = source.plan(Some(&planned.end), ReadLimit::default()).await.unwrap();
        assert_eq!(nothing, None, "nothing is planned twice");
        for _ in 0..2 {
            source.commit(&planned.end).await.expect("a commit may be repeated");
        }
        assert_eq!(source.plan(Some(&planned.end), ReadLimit::default()).await.unwrap(), None);
    }
}

async fn many_ranges(fixture: &impl SourceFixture, limit: ReadLimit) {
    let mut grown = 0;
    for _ in 0..4 {
        grown += fixture.grow().await;
    }
    let mut ends: Vec<Offset> = Vec::new();
    loop {
        // Each batch is planned by a new instance: what was planned before must be durable.
        let source = fixture.open().await;
        let Some(planned) = source.plan(ends.last(), limit).await.unwrap() else { break };
        assert!(!ends.contains(&planned.end), "a plan goes forward: {} after {ends:?}", planned.end);
        ends.push(planned.end);
        assert!(ends.len() <= 10_000, "a source without growth comes to an end");
        if !planned.more {
            break;
        }
    }
    let source = fixture.open().await;
    let last = ends.last().expect("new rows are planned");
    assert_eq!(source.plan(Some(last), limit).await.unwrap(), None, "`more` was false and there is more ({limit:?})");
    if limit == (ReadLimit { files: Some(1), ..ReadLimit::default() }) {
        assert_eq!(ends.len(), 4, "one file at a time");
    }
    let whole = rows(&source, None, last).await;
    assert_eq!(rows_of(&whole), grown, "every row is read once ({limit:?})");
    let mut parts = Vec::new();
    let mut start = None;
    for end in &ends {
        parts.extend(rows(&source, start, end).await);
        start = Some(end);
    }
    assert_same_rows(&whole, &parts, "the ranges and the whole");
    let restarted = fixture.open().await;
    let mut parts = rows(&restarted, None, &ends[0]).await;
    parts.extend(rows(&restarted, Some(&ends[0]), last).await);
    assert_same_rows(&whole, &parts, "two ranges and the whole, after a restart");
}

async fn grows_while_read(fixture: &impl SourceFixture) {
    let source = fixture.open().await;
    let first_rows = fixture.grow().await;
    let first = source.plan(None, ReadLimit::default()).await.unwrap().expect("new rows are planned").end;
    let before = rows(&source, None, &first).await;
    let second_rows = fixture.grow().await;
    assert_same_rows(&before, &rows(&source, None, &first).await, "a range after the source grew");
    let second = source.plan(Some(&first), ReadLimit::default()).await.unwrap().expect("growth is planned").end;
    assert_eq!(rows_of(&before), first_rows);
    assert_eq!(rows_of(&rows(&source, Some(&first), &second).await), second_rows, "only what is new");
    // Planned from the start again, as when the first commit downstream was lost.
    let again = fixture.open().await.plan(None, ReadLimit::default()).await.unwrap().expect("all rows are planned").end;
    let whole = rows(&source, None, &again).await;
    assert_eq!(rows_of(&whole), first_rows + second_rows);
    source.commit(&second).await.expect("a commit");
    let _third = fixture.grow().await;
    assert!(fixture.open().await.plan(Some(&second), ReadLimit::default()).await.unwrap().is_some(), "growth after a commit");
}

async fn wrong_offsets(fixture: &impl SourceFixture) {
    let source = fixture.open().await;
    fixture.grow().await;
    fixture.grow().await;
    let one = ReadLimit { files: Some(1), ..ReadLimit::default() };
    let first = source.plan(None, one).await.unwrap().expect("new rows are planned").end;
    let second = source.plan(Some(&first), one).await.unwrap().expect("more new rows are planned").end;
    let foreign = Offset::new("{\"no\": \"offset of this source\"}");
    let planned = source.plan(Some(&foreign), ReadLimit::default()).await;
    assert_kind(&planned, ErrorKind::Invalid, &[], "plan from an offset of another source");
    assert_kind(&source.read(None, &foreign).await, ErrorKind::Invalid, &[], "read to an offset of another source");
    assert_kind(&source.read(Some(&foreign), &first).await, ErrorKind::Invalid, &[], "read from a foreign offset");
    assert_kind(&source.read(Some(&second), &first).await, ErrorKind::Invalid, &[], "read a range backwards");
}
