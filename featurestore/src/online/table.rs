//! One online table in memory: never changed, only replaced.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{Field, Schema};
use arrow_select::interleave::interleave;
use boathouse_base::FeatureSchema;
use boathouse_storage::Storage;

use super::OnlineTableStatus;
use super::manifest::Manifest;
use super::segment;
use crate::error::{Attempt, FeatureError, Result, names};
use crate::instant::TimeLine;
use crate::key_index::{KeyEncoder, KeyIndex};

#[derive(Debug)]
pub(super) struct OnlineTable {
    manifest_version: u64,
    manifest: Manifest,
    schema: FeatureSchema,
    encoder: KeyEncoder,
    index: KeyIndex,
    /// Where the row of each key lies: `(batch, row)`.
    places: Vec<(usize, usize)>,
    /// Since when it holds, in microseconds since the epoch; `None` without a timestamp key.
    times_us: Option<Vec<i64>>,
    /// For each feature the arrays of all batches, and one null at the end for keys without row.
    features: Vec<Vec<ArrayRef>>,
    data_bytes: usize,
}

impl OnlineTable {
    /// Reads the segments of a manifest.
    pub(super) async fn load(folder: &Storage, manifest_version: u64, manifest: Manifest) -> Result<Self> {
        let mut batches = Vec::new();
        for entry in &manifest.segments {
            batches.extend(segment::read(folder, entry, &manifest.table).await?);
        }
        Self::from_rows(batches, manifest_version, manifest)
    }

    pub(super) fn from_rows(batches: Vec<RecordBatch>, manifest_version: u64, manifest: Manifest) -> Result<Self> {
        let attempt = || format!("load the online table `{}`", manifest.table);
        let columns = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        let mut keys: Vec<Field> = Vec::new();
        for key in &manifest.primary_keys {
            keys.push(crate::definition::field(&columns, key, attempt)?.clone().with_nullable(false));
        }
        let is_feature = |name: &String| !manifest.primary_keys.contains(name) && manifest.timestamp_key.as_ref() != Some(name);
        let (at, fields): (Vec<usize>, Vec<Field>) = columns
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| is_feature(field.name()))
            .map(|(at, field)| (at, field.as_ref().clone().with_nullable(true)))
            .unzip();
        let schema = FeatureSchema { keys: Arc::new(Schema::new(keys)), features: Arc::new(Schema::new(fields)) };
        let encoder = KeyEncoder::new(&schema.keys, attempt)?;
        let (mut index, mut places) = (KeyIndex::default(), Vec::new());
        let mut times_us = manifest.timestamp_key.as_ref().map(|_| Vec::new());
        for (number, batch) in batches.iter().enumerate() {
            let keys = encoder.encode(batch, &manifest.primary_keys, attempt)?;
            if let (Some(times_us), Some(key)) = (&mut times_us, &manifest.timestamp_key) {
                let column = batch.column(columns.index_of(key).attempt(attempt)?);
                let line = TimeLine::of(column.data_type(), key, attempt)?;
                let times = line.read(column, key, attempt)?;
                times_us.extend((0..batch.num_rows()).map(|row| line.to_us(times.at(row).unwrap_or(i64::MIN))));
            }
            for row in 0..batch.num_rows() {
                index.insert(keys.key(row).unwrap_or_default());
                places.push((number, row));
            }
        }
        if index.len() != places.len() {
            let reason = format!("{} rows have {} keys", places.len(), index.len());
            return Err(FeatureError::Corrupt { attempt: attempt(), url: manifest.table.clone(), reason });
        }
        let arrays = |column: &usize| {
            let nothing = new_null_array(columns.field(*column).data_type(), 1);
            batches.iter().map(|batch| Arc::clone(batch.column(*column))).chain([nothing]).collect()
        };
        let features = at.iter().map(arrays).collect();
        // Arrays read from a file share its buffer: their own parts of it count.
        let bytes = |array: &ArrayRef| array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size());
        let data_bytes = batches.iter().flat_map(RecordBatch::columns).map(bytes).sum();
        Ok(Self { manifest_version, manifest, schema, encoder, index, places, times_us, features, data_bytes })
    }

    pub(super) fn manifest_version(&self) -> u64 {
        self.manifest_version
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(super) fn schema(&self) -> &FeatureSchema {
        &self.schema
    }

    pub(super) fn status(&self) -> OnlineTableStatus {
        OnlineTableStatus {
            table: self.manifest.table.clone(),
            source_location: self.manifest.source_location.clone(),
            source_version: self.manifest.source_version,
            published_us: self.manifest.published_us,
            keys: self.index.len() as u64,
            memory_bytes: (self.data_bytes + self.index.memory_bytes() + self.places.capacity() * size_of::<(usize, usize)>())
                as u64,
            max_age_us: self.manifest.max_age_us,
        }
    }

    /// All features of each key of a batch.
    pub(super) fn get(&self, keys: &RecordBatch, now_us: i64) -> Result<RecordBatch> {
        let features: Vec<usize> = (0..self.features.len()).collect();
        self.get_features(keys, &self.manifest.primary_keys, &features, None, |_| now_us)
    }

    /// Some features, by number, of the keys in these columns of a batch. A row that is older than `max_age_us`, or
    /// than the table's own greatest age, as of the time of the asking row is not found.
    pub(super) fn get_features(
        &self,
        keys: &RecordBatch,
        columns: &[String],
        features: &[usize],
        max_age_us: Option<u64>,
        as_of_us: impl Fn(usize) -> i64,
    ) -> Result<RecordBatch> {
        let max_age_us = self.manifest.max_age_us.into_iter().chain(max_age_us).min();
        let attempt = || format!("look features up in `{}`", self.manifest.table);
        let encoded = self.encoder.encode(keys, columns, attempt)?;
        let absent = (self.features.first().map_or(0, |arrays| arrays.len() - 1), 0);
        let place = |row: usize| {
            let number = encoded.key(row).and_then(|key| self.index.get(key))? as usize;
            let young = match (&self.times_us, max_age_us) {
                (Some(times), Some(most)) => i128::from(as_of_us(row)) - i128::from(times[number]) <= i128::from(most),
                _ => true,
            };
            young.then(|| self.places[number])
        };
        let places: Vec<(usize, usize)> = (0..encoded.len()).map(|row| place(row).unwrap_or(absent)).collect();
        let gather = |feature: &usize| {
            let arrays: Vec<&dyn Array> = self.features[*feature].iter().map(AsRef::as_ref).collect();
            interleave(&arrays, &places).attempt(attempt)
        };
        let columns = features.iter().map(gather).collect::<Result<Vec<_>>>()?;
        let schema = self.schema.features.project(features).attempt(attempt)?;
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        RecordBatch::try_new_with_options(Arc::new(schema), columns, &options).attempt(attempt)
    }

    /// The number of a feature.
    pub(super) fn feature(&self, name: &str) -> Result<usize> {
        self.schema.features.index_of(name).map_err(|_| FeatureError::NoColumn {
            attempt: format!("look features up in `{}`", self.manifest.table),
            column: name.to_owned(),
            found: names(&self.schema.features),
        })
    }
}
