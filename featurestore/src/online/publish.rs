//! Bringing the newest rows of a feature table online.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use boathouse_base::{Progress, ProgressUnit, ScanRequest, TableSnapshot, TableVersion};

use super::OnlineStore;
use super::manifest::{Manifest, Manifests, SegmentEntry};
use super::segment;
use super::table::OnlineTable;
use crate::as_of::{Buckets, Event, Place, gather_batch, settle};
use crate::definition::FeatureTableDefinition;
use crate::error::{Attempt, FeatureError, Result};
use crate::instant::TimeLine;
use crate::key_index::{KeyEncoder, KeyIndex};
use crate::store::FeatureTable;

/// A segment has at most so many rows.
const SEGMENT_ROWS: usize = 1 << 20;

/// Rows of older times are dropped when there are so many of them.
const SPARE_ROWS: usize = 1 << 20;

/// Publishes a feature table; ends with [`run`](Self::run).
#[derive(Debug)]
#[must_use = "nothing is published before `run`"]
pub struct PublishFeatures<'a> {
    store: &'a OnlineStore,
    table: &'a FeatureTable,
    max_age_us: Option<u64>,
    features: Option<Vec<String>>,
    progress: Progress,
}

/// What a publication did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishReport {
    /// The version of the feature table that is online now.
    pub version: u64,
    /// Keys that can be looked up.
    pub keys: u64,
    /// Rows that were read.
    pub rows_read: u64,
    /// Rows without a whole key or without time, which nobody can find.
    pub ignored_rows: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Nothing was written: this version, or a later one, is online already.
    pub skipped: bool,
}

impl<'a> PublishFeatures<'a> {
    pub(super) fn new(store: &'a OnlineStore, table: &'a FeatureTable) -> Self {
        Self { store, table, max_age_us: None, features: None, progress: Progress::none() }
    }

    /// Rows older than this at the time of a lookup are not found.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age_us = Some(u64::try_from(max_age.as_micros()).unwrap_or(u64::MAX));
        self
    }

    /// Publishes these features only.
    pub fn features<S: Into<String>>(mut self, features: impl IntoIterator<Item = S>) -> Self {
        self.features = Some(features.into_iter().map(Into::into).collect());
        self
    }

    /// Who is told how far it is.
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Publishes the newest version.
    ///
    /// Lookups see the old rows until all new ones are durable, then the new ones. Dropping the future leaves the
    /// old rows.
    ///
    /// **Errors**: `NotFound` without the table; `Invalid` for a feature that it does not have.
    ///
    /// **Cost**: one scan of the table; the newest row of each key in memory, twice while it is replaced. Nothing, when
    /// this version is online already.
    pub async fn run(self) -> Result<PublishReport> {
        let definition = &self.table.definition;
        let attempt = || format!("publish the feature table `{}`", definition.name);
        let manifests = self.store.manifests(&definition.name);
        let snapshot = self.table.snapshot(TableVersion::Latest).await?;
        let features = self.feature_names(&snapshot, attempt)?;
        let mut newest = None;
        // Each round means that another publication of this table succeeded.
        for _ in 0..20 {
            let current = manifests.read().await?;
            if let Some((_, manifest)) = &current
                && self.is_online(manifest, &snapshot)
            {
                self.store.refresh(&definition.name).await?;
                if let Some(loaded) = self.store.loaded(&definition.name).filter(|loaded| self.has(loaded, &features)) {
                    let (version, keys) = (loaded.manifest().source_version, loaded.status().keys);
                    return Ok(PublishReport { version, keys, skipped: true, ..PublishReport::default() });
                }
            }
            if newest.is_none() {
                newest = Some(Newest::read(definition, &snapshot, &features, &self.progress).await?);
            }
            let Some(found) = &newest else { continue };
            if let Some(report) = self.replace(&manifests, current, &snapshot, found).await? {
                return Ok(report);
            }
        }
        Err(FeatureError::Contention { attempt: attempt(), attempts: 20 })
    }

    fn feature_names(&self, snapshot: &Arc<dyn TableSnapshot>, attempt: impl Fn() -> String) -> Result<Vec<String>> {
        let every = self.table.definition.feature_names(&snapshot.schema());
        let Some(wanted) = &self.features else { return Ok(every) };
        if let Some(unknown) = wanted.iter().find(|feature| !every.contains(feature)) {
            return Err(FeatureError::NoColumn { attempt: attempt(), column: unknown.clone(), found: every });
        }
        Ok(every.into_iter().filter(|feature| wanted.contains(feature)).collect())
    }

    /// Whether a manifest is of this version, or of a later one, with the same settings.
    fn is_online(&self, manifest: &Manifest, snapshot: &Arc<dyn TableSnapshot>) -> bool {
        manifest.source_location == self.table.table.location()
            && manifest.source_version >= snapshot.version()
            && manifest.max_age_us == self.max_age_us
            && manifest.primary_keys == self.table.definition.primary_keys
            && manifest.timestamp_key == self.table.definition.timestamp_key
    }

    fn has(&self, loaded: &OnlineTable, features: &[String]) -> bool {
        let fields = &loaded.schema().features;
        fields.fields().len() == features.len() && features.iter().all(|feature| fields.field_with_name(feature).is_ok())
    }

    /// Writes the segments and makes them the table. `None`: another publication was faster.
    async fn replace(
        &self,
        manifests: &Manifests,
        current: Option<(u64, Manifest)>,
        snapshot: &Arc<dyn TableSnapshot>,
        newest: &Newest,
    ) -> Result<Option<PublishReport>> {
        let definition = &self.table.definition;
        let attempt = || format!("publish the feature table `{}`", definition.name);
        let folder = self.store.storage.at(&definition.name);
        let (expected, previous) = match &current {
            Some((version, manifest)) => (Some(*version), manifest.segments.iter().map(|s| s.path.clone()).collect()),
            None => (None, Vec::new()),
        };
        let next = expected.map_or(0, |version| version + 1);
        let mut segments: Vec<SegmentEntry> = Vec::new();
        let mut batches = Vec::new();
        let rows = newest.rows.num_rows();
        for start in (0..rows.max(1)).step_by(SEGMENT_ROWS) {
            let part = newest.rows.slice(start, SEGMENT_ROWS.min(rows - start));
            let bytes = segment::encode(&part, attempt)?;
            let path = format!("segments/{next:020}-{}.arrow", self.store.env.uuid());
            folder.put(&path, bytes.clone()).await.attempt(attempt)?;
            segments.push(segment::entry(path, &part, &bytes));
            batches.push(part);
        }
        let bytes = segments.iter().map(|segment| segment.bytes).sum();
        let manifest = Manifest {
            format: 1,
            table: definition.name.clone(),
            primary_keys: definition.primary_keys.clone(),
            timestamp_key: definition.timestamp_key.clone(),
            max_age_us: self.max_age_us,
            source_location: self.table.table.location().to_owned(),
            source_version: snapshot.version(),
            published_us: self.store.env.now_us(),
            segments,
            previous,
        };
        // Built before the manifest is: what cannot be served is not published.
        let table = OnlineTable::from_rows(batches, next, manifest.clone())?;
        if manifests.replace(expected, &manifest).await?.is_none() {
            for segment in &manifest.segments {
                // Tidiness: what stays is cleaned by the next publication.
                let _ = folder.delete(&segment.path).await;
            }
            return Ok(None);
        }
        self.store.swap(&definition.name, table);
        self.clean(&manifest, next).await;
        Ok(Some(PublishReport {
            version: snapshot.version(),
            keys: rows as u64,
            rows_read: newest.rows_read,
            ignored_rows: newest.ignored_rows,
            bytes,
            skipped: false,
        }))
    }

    /// Deletes segments that no reader needs: not those of this manifest and the one before, and not those of a
    /// publication that builds on this one. A failure leaves them for the next time.
    async fn clean(&self, manifest: &Manifest, version: u64) {
        let folder = self.store.storage.at(&manifest.table);
        let Ok(objects) = folder.list("segments").await else { return };
        for object in objects {
            let number =
                object.path.strip_prefix("segments/").and_then(|name| name.get(..20)).and_then(|n| n.parse::<u64>().ok());
            let is_needed =
                manifest.segments.iter().any(|segment| segment.path == object.path) || manifest.previous.contains(&object.path);
            if number.is_some_and(|number| number <= version) && !is_needed {
                let _ = folder.delete(&object.path).await;
            }
        }
    }
}

/// The newest row of each key: keys, time, features.
struct Newest {
    rows: RecordBatch,
    rows_read: u64,
    ignored_rows: u64,
}

impl Newest {
    async fn read(
        definition: &FeatureTableDefinition,
        snapshot: &Arc<dyn TableSnapshot>,
        features: &[String],
        progress: &Progress,
    ) -> Result<Self> {
        let attempt = || format!("publish the feature table `{}`", definition.name);
        let every = definition.feature_names(&snapshot.schema());
        let identity: Vec<String> = definition.identity().cloned().collect();
        // All features decide between rows of one key and time; only those that are wanted are kept.
        let projection: Vec<String> = identity.iter().chain(&every).cloned().collect();
        let mut rows = snapshot.scan(ScanRequest::default().project(projection)).await.attempt(attempt)?;
        let schema = rows.schema();
        let order: Vec<usize> = (identity.len()..schema.fields().len()).collect();
        let encoder = {
            let keys = definition.key_schema(&schema)?;
            KeyEncoder::new(&keys, attempt)?
        };
        let (mut index, mut batches, mut events) = (KeyIndex::default(), Vec::new(), Vec::new());
        let (mut rows_read, mut ignored_rows) = (0, 0);
        while let Some(batch) = rows.next().await {
            let batch = batch.attempt(attempt)?;
            rows_read += batch.num_rows() as u64;
            let keys = encoder.encode(&batch, &definition.primary_keys, attempt)?;
            let times = match &definition.timestamp_key {
                Some(key) => {
                    let column = batch.column(definition.primary_keys.len());
                    Some(TimeLine::of(column.data_type(), key, attempt)?.read(column, key, attempt)?)
                }
                None => None,
            };
            for row in 0..batch.num_rows() {
                match (keys.key(row), times.as_ref().map_or(Some(0), |times| times.at(row))) {
                    (Some(key), Some(at)) => {
                        events.push(Event { key: index.insert(key), at, place: Place::new(batches.len(), row, attempt)? });
                    }
                    _ => ignored_rows += 1,
                }
            }
            batches.push(batch);
            progress.report("publish", rows_read, None, ProgressUnit::Rows);
            if events.len() > 2 * index.len() + SPARE_ROWS {
                let (one, latest) = newest_rows(&schema, &batches, events, index.len(), &order, attempt)?;
                (batches, events) = (vec![one], latest);
            }
        }
        let (rows, _) = newest_rows(&schema, &batches, events, index.len(), &order, attempt)?;
        let keep: Vec<usize> =
            (0..schema.fields().len()).filter(|at| *at < identity.len() || features.contains(schema.field(*at).name())).collect();
        Ok(Self { rows: rows.project(&keep).attempt(attempt)?, rows_read, ignored_rows })
    }
}

/// One batch with the newest row of each key, and where these rows lie in it.
fn newest_rows(
    schema: &arrow_schema::SchemaRef,
    batches: &[RecordBatch],
    events: Vec<Event>,
    keys: usize,
    order: &[usize],
    attempt: impl Fn() -> String,
) -> Result<(RecordBatch, Vec<Event>)> {
    let (settled, _) = settle(Buckets::new(events, keys), batches, order, &attempt)?;
    let mut newest: Vec<Event> = settled.newest().collect();
    let places: Vec<Place> = newest.iter().map(|event| event.place).collect();
    let rows = gather_batch(schema, batches, &places, &attempt)?;
    for (row, event) in newest.iter_mut().enumerate() {
        event.place = Place::new(0, row, &attempt)?;
    }
    Ok((rows, newest))
}
