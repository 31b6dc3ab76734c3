//! Which rows of the state are in memory.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::error::ArrowError;
use datafusion::execution::disk_manager::DiskManager;

use super::changelog::{Recorded, encode_rows, rows_bytes};
use super::rows::{Filed, Rows};
use super::store::Store;

/// A segment is put together up to this share of the budget.
const SEGMENTS: usize = 8;
/// Segments of fewer bytes are not worth a file.
const LEAST_BYTES: usize = 64 << 10;

/// Bytes of memory for the state of a query. What goes beyond is left in files.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    pub(crate) bytes: usize,
    /// Where rows go that no local file holds.
    pub(crate) disk: Arc<DiskManager>,
}

impl Budget {
    /// Of what a merge makes, in bytes.
    pub(crate) fn most_segment_bytes(&self) -> usize {
        (self.bytes / SEGMENTS).clamp(1 << 20, 128 << 20)
    }

    /// Whether a file of so many bytes is read as a whole when a query begins.
    pub(crate) fn is_small(bytes: u64) -> bool {
        bytes < 4 << 20
    }

    /// Takes rows out of memory, the largest segments first, until the rest fits; or reads one segment, where there is room for it.
    /// `local` says which file of the local disk holds a segment of a store, and how many bytes that has.
    ///
    /// **Cost**: what no file of the local disk holds is written.
    pub(crate) fn keep(
        &self,
        stores: &mut [&mut Store],
        local: impl Fn(usize, u32) -> Option<(PathBuf, u64)>,
    ) -> Result<(), ArrowError> {
        let mut used: usize = stores.iter().map(|store| usize::try_from(store.bytes()).unwrap_or(usize::MAX)).sum();
        if used <= self.bytes {
            return self.read_one(stores, used);
        }
        while used > self.bytes {
            let largest = stores.iter().enumerate().filter_map(|(at, store)| Some((at, store.largest_held()?)));
            let Some((at, (number, bytes))) = largest.max_by_key(|(_, (_, bytes))| *bytes) else { break };
            if bytes < LEAST_BYTES {
                break;
            }
            let store = &mut *stores[at];
            let Some(rows) = store.held(number) else { break };
            let known = local(at, number).and_then(|(path, bytes)| {
                let rows_bytes = rows_bytes(&path, bytes).ok()?;
                let filed = Filed::open(&path, rows_bytes, rows.num_rows(), None).ok()?;
                // A file may have other names for its columns.
                (filed.schema().fields() == rows.schema().fields()).then_some(filed)
            });
            let filed = match known {
                Some(filed) => filed,
                None => self.put_away(rows)?,
            };
            store.file(number, filed);
            used = used.saturating_sub(bytes);
        }
        Ok(())
    }

    /// For reading what was remembered.
    pub(crate) fn loading(self) -> Loading {
        Loading { budget: self, used: 0 }
    }

    fn read_one(&self, stores: &mut [&mut Store], used: usize) -> Result<(), ArrowError> {
        let smallest = stores.iter().enumerate().filter_map(|(at, store)| Some((at, store.smallest_filed()?)));
        let Some((at, (number, bytes))) = smallest.min_by_key(|(_, (_, bytes))| *bytes) else { return Ok(()) };
        // What was just taken out must not come back at once.
        let room = self.bytes - self.bytes / 4;
        match usize::try_from(bytes).is_ok_and(|bytes| used.saturating_add(bytes) <= room) {
            true => stores[at].hold(number),
            false => Ok(()),
        }
    }

    /// Writes rows to a temporary file that is deleted with the last of its readers.
    pub(crate) fn put_away(&self, rows: &RecordBatch) -> Result<Filed, ArrowError> {
        let failed = |error: datafusion::error::DataFusionError| ArrowError::ExternalError(error.into());
        let bytes = encode_rows(rows)?;
        let file = self.disk.create_tmp_file("state of a stream").map_err(failed)?;
        let mut writer = file.open_writer().map_err(failed)?;
        writer.write_all(&bytes)?;
        writer.finish().map_err(failed)?;
        let path = file.path().map(PathBuf::from);
        let path = path.ok_or_else(|| ArrowError::InvalidArgumentError("a temporary file has no path".to_owned()))?;
        Filed::open(&path, bytes.len() as u64, rows.num_rows(), Some(Arc::new(file)))
    }
}

/// What was read so far.
pub(crate) struct Loading {
    budget: Budget,
    used: usize,
}

impl Loading {
    /// Takes the rows of a file out of memory, if there are too many by now.
    pub(crate) fn take_in(&mut self, recorded: &mut Recorded) -> Result<(), ArrowError> {
        let ends = recorded.expires.as_ref().map_or(0, Array::get_array_memory_size);
        self.used += recorded.hashes.len() * 9 + ends;
        if let Rows::Held(rows) = &recorded.rows {
            let bytes = rows.get_array_memory_size();
            if self.used + bytes > self.budget.bytes && bytes >= LEAST_BYTES {
                recorded.rows = Rows::Filed(Box::new(self.budget.put_away(rows)?));
            } else {
                self.used += bytes;
            }
        }
        Ok(())
    }
}
