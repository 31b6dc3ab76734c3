//! The contract of a batch stream.

use std::sync::Arc;

use arrow_array::RecordBatch;

use super::rows::columns;
use crate::batch_stream::BatchStream;
use crate::error::Result;

/// Reads a stream to its end and checks on the way what [`BatchStream`] promises: every batch has the schema that
/// was known before, and after the end or an error nothing comes. Gives what was read, for further checks.
pub async fn batch_stream(mut stream: BatchStream) -> Result<Vec<RecordBatch>> {
    let schema = stream.schema();
    let mut batches = Vec::new();
    let end = loop {
        match stream.next().await {
            Some(Ok(batch)) => {
                assert_eq!(columns(&schema), columns(&batch.schema()), "a batch has another schema than its stream");
                batches.push(batch);
            }
            Some(Err(error)) => break Err(error),
            None => break Ok(batches),
        }
    };
    for _ in 0..3 {
        assert!(stream.next().await.is_none(), "a batch came after the end of its stream");
    }
    assert!(Arc::ptr_eq(&schema, &stream.schema()) || schema == stream.schema(), "the schema of a stream changed");
    end
}
