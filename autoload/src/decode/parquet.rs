//! Parquet files.

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

/// The batches of a file.
pub(super) fn open(
    bytes: &Bytes,
    batch_rows: usize,
) -> Result<impl Iterator<Item = Result<RecordBatch, arrow_schema::ArrowError>> + use<>, ParquetError> {
    ParquetRecordBatchReaderBuilder::try_new(bytes.clone())?.with_batch_size(batch_rows).build()
}
