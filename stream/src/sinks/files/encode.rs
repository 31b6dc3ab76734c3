//! One file that is being written.

use std::sync::Arc;

use boathouse_storage::Storage;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::json::LineDelimitedWriter;
use datafusion::object_store::buffered::BufWriter;
use datafusion::parquet::arrow::AsyncArrowWriter;
use datafusion::parquet::arrow::async_writer::AsyncFileWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;

use super::super::error::{FileError, SinkError};
use super::FileFormat;

/// A file in the making; it is not there until it is [closed](Self::close).
pub(super) struct Encoder {
    path: String,
    url: String,
    kind: Kind,
}

enum Kind {
    Parquet(Box<AsyncArrowWriter<BufWriter>>),
    Json { to: Box<BufWriter>, bytes: u64 },
}

impl Encoder {
    pub(super) fn open(storage: &Storage, path: &str, format: FileFormat, schema: &SchemaRef) -> Result<Self, SinkError> {
        let url = storage.url_of(path);
        let open = || -> Result<Kind, FileError> {
            let to = BufWriter::new(Arc::clone(storage.object_store()), storage.path_of(path)?);
            Ok(match format {
                FileFormat::Json => Kind::Json { to: Box::new(to), bytes: 0 },
                FileFormat::Parquet => {
                    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
                    Kind::Parquet(Box::new(AsyncArrowWriter::try_new(to, SchemaRef::clone(schema), Some(properties))?))
                }
            })
        };
        match open() {
            Ok(kind) => Ok(Self { path: path.to_owned(), url, kind }),
            Err(source) => Err(SinkError::Encode { file: url, source: Box::new(source) }),
        }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) async fn write(&mut self, rows: &RecordBatch) -> Result<(), SinkError> {
        let written = match &mut self.kind {
            Kind::Parquet(writer) => writer.write(rows).await.map_err(FileError::from),
            Kind::Json { to, bytes } => write_json(to, bytes, rows).await,
        };
        written.map_err(|source| SinkError::Encode { file: self.url.clone(), source: Box::new(source) })
    }

    /// Its size in bytes.
    pub(super) async fn close(self) -> Result<u64, SinkError> {
        let closed = match self.kind {
            Kind::Parquet(writer) => close_parquet(*writer).await,
            Kind::Json { mut to, bytes } => to.complete().await.map(|()| bytes).map_err(FileError::from),
        };
        closed.map_err(|source| SinkError::Encode { file: self.url, source: Box::new(source) })
    }
}

async fn close_parquet(mut writer: AsyncArrowWriter<BufWriter>) -> Result<u64, FileError> {
    writer.finish().await?;
    Ok(writer.bytes_written() as u64)
}

async fn write_json(to: &mut BufWriter, bytes: &mut u64, rows: &RecordBatch) -> Result<(), FileError> {
    let mut text = LineDelimitedWriter::new(Vec::new());
    text.write(rows)?;
    text.finish()?;
    let text = text.into_inner();
    *bytes += text.len() as u64;
    Ok(to.write(text.into()).await?)
}
