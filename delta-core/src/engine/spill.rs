//! Batches in a temporary file.

use std::fs::File;
use std::io::BufReader;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::FileReader;
use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::{SpillFile, SpillWriter};

/// A temporary file that is being written. It is deleted when nobody holds it any more.
pub(crate) struct Spill {
    file: Arc<dyn SpillFile>,
    /// One writes at a time: behind a mutex that is never locked, so that what holds it goes from thread to thread.
    writer: Mutex<FileWriter<Box<dyn SpillWriter>>>,
}

impl Spill {
    /// An empty file for `what`, where the session has its temporary files.
    pub(crate) fn new(disk: &Arc<DiskManager>, what: &str, schema: &SchemaRef) -> Result<Self> {
        let file = disk.create_tmp_file(what)?;
        let writer = Mutex::new(FileWriter::try_new(file.open_writer()?, schema)?);
        Ok(Self { file, writer })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.writer().write(batch)?)
    }

    pub(crate) fn finish(mut self) -> Result<Arc<dyn SpillFile>> {
        let writer = self.writer();
        writer.finish()?;
        writer.get_mut().finish()?;
        Ok(self.file)
    }

    fn writer(&mut self) -> &mut FileWriter<Box<dyn SpillWriter>> {
        self.writer.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The batches of a finished file: these columns of them, or all.
pub(crate) fn open(file: &dyn SpillFile, columns: Option<&[usize]>) -> Result<FileReader<BufReader<File>>> {
    let Some(path) = file.path() else { return Err(internal_datafusion_err!("a temporary file has no path")) };
    Ok(FileReader::try_new_buffered(File::open(path)?, columns.map(<[usize]>::to_vec))?)
}
