//! Deletion vectors as selections of rows, loaded when their file is opened.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use boathouse_delta_table::FileVector;
use boathouse_delta_table::protocol::deletion_vector::DeletionVector;
use boathouse_frames::into_datafusion;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion::error::DataFusionError;
use datafusion::parquet::arrow::arrow_reader::RowSelection;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion_datasource::morsel::{MorselPlan, MorselPlanner, Morselizer};

use super::footers::Footers;

/// The deletion vector of a file of a plan. Parts of the same file share what was loaded.
#[derive(Clone)]
pub(crate) struct Deleted {
    pub(crate) vector: Arc<FileVector>,
    loaded: Arc<Mutex<Option<Arc<DeletionVector>>>>,
}

impl Deleted {
    pub(crate) fn new(vector: FileVector) -> Self {
        Self { vector: Arc::new(vector), loaded: Arc::default() }
    }

    async fn load(&self, footers: &Footers) -> Result<Arc<DeletionVector>> {
        let known = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let vector = self.vector.load(footers.store()).await.map_err(|error| into_datafusion(error.into()))?;
        let vector = Arc::new(vector);
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&vector));
        Ok(vector)
    }

    /// The file with the rows that are there.
    async fn select(&self, footers: &Footers, file: PartitionedFile) -> Result<PartitionedFile> {
        let vector = self.load(footers).await?;
        let footer = footers.footer(&file.object_meta.location, file.object_meta.size).await;
        let footer = footer.map_err(DataFusionError::from)?;
        let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or_default();
        self.vector.check_rows(&vector, rows).map_err(|error| into_datafusion(error.into()))?;
        Ok(file.with_extension(kept(&footer, &vector)))
    }
}

/// The rows of each row group that are not deleted.
fn kept(footer: &ParquetMetaData, vector: &DeletionVector) -> ParquetAccessPlan {
    let mut start = 0_u64;
    let groups = footer.row_groups().iter().map(|group| {
        let rows = u64::try_from(group.num_rows()).unwrap_or_default();
        let here = start..start + rows;
        start = here.end;
        match vector.count_in(here.clone()) {
            0 => RowGroupAccess::Scan,
            deleted if deleted == rows => RowGroupAccess::Skip,
            _ => {
                let place = |row: u64| usize::try_from(row - here.start).unwrap_or(usize::MAX);
                let kept = vector.kept(here.clone()).map(|range| place(range.start)..place(range.end));
                RowGroupAccess::Selection(RowSelection::from_consecutive_ranges(kept, place(here.end)))
            }
        }
    });
    ParquetAccessPlan::new(groups.collect())
}

/// Opens files without the rows that their deletion vectors delete.
pub(crate) struct VectorMorselizer {
    parquet: Arc<dyn Morselizer>,
    footers: Footers,
}

impl VectorMorselizer {
    pub(crate) fn new(parquet: Box<dyn Morselizer>, footers: Footers) -> Self {
        Self { parquet: parquet.into(), footers }
    }
}

impl fmt::Debug for VectorMorselizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VectorMorselizer({:?})", self.parquet)
    }
}

impl Morselizer for VectorMorselizer {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        match file.extension::<Deleted>().cloned() {
            None => self.parquet.plan_file(file),
            Some(deleted) => {
                let (parquet, footers) = (Arc::clone(&self.parquet), self.footers.clone());
                Ok(Box::new(VectorPlanner { parquet, footers, deleted, file: Box::new(file) }))
            }
        }
    }
}

/// A file whose deletion vector is not loaded yet.
struct VectorPlanner {
    parquet: Arc<dyn Morselizer>,
    footers: Footers,
    deleted: Deleted,
    file: Box<PartitionedFile>,
}

impl fmt::Debug for VectorPlanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VectorPlanner({})", self.file.object_meta.location)
    }
}

impl MorselPlanner for VectorPlanner {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        Ok(Some(MorselPlan::new().with_pending_planner(async move {
            let Self { parquet, footers, deleted, file } = *self;
            parquet.plan_file(deleted.select(&footers, *file).await?)
        })))
    }
}
