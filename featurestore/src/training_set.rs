//! Training sets: labels, and the features that were known at their time.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use boathouse_base::{BatchStream, Comparison, Predicate, Progress, ProgressUnit, ScanRequest, TableSnapshot};

use crate::as_of::{Buckets, Event, Place, Probe, Rule, gather, has_ties, latest, settle};
use crate::definition::{FeatureTableDefinition, field};
use crate::error::{Attempt, FeatureError, Result, names};
use crate::instant::{Rounding, TimeLine};
use crate::key_index::{KeyEncoder, KeyIndex};
use crate::lookup_spec::{AsOf, FeatureLookupSpec, FeatureSpec};
use crate::store::FeatureStore;

/// The rows that features are joined to.
#[derive(Debug)]
pub enum Labels {
    /// Batches over time.
    Stream(BatchStream),
    /// A query that is still to run.
    #[cfg(feature = "offline")]
    Frame(Box<datafusion::prelude::DataFrame>),
}

impl Labels {
    async fn open(self) -> Result<BatchStream> {
        match self {
            Self::Stream(rows) => Ok(rows),
            #[cfg(feature = "offline")]
            Self::Frame(frame) => boathouse_frames::batch_stream(*frame).await.attempt(|| "read the labels".to_owned()),
        }
    }
}

impl From<BatchStream> for Labels {
    fn from(rows: BatchStream) -> Self {
        Self::Stream(rows)
    }
}

impl From<RecordBatch> for Labels {
    fn from(rows: RecordBatch) -> Self {
        Self::Stream(rows.into())
    }
}

/// Whether the times of the features found are part of the training set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum FeatureTimes {
    #[default]
    Leave,
    Include,
}

/// Joins features to labels; ends with [`run`](Self::run).
#[derive(Debug)]
#[must_use = "nothing is joined before `run`"]
pub struct BuildTrainingSet<'a> {
    store: &'a FeatureStore,
    labels: Labels,
    timestamp: Option<String>,
    lookups: Vec<FeatureLookupSpec>,
    times: FeatureTimes,
    exclude: Vec<String>,
    progress: Progress,
}

/// Labels with their features, and where these came from.
#[derive(Debug, Clone)]
pub struct TrainingSet {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    lookups: Vec<LookupReport>,
    spec: FeatureSpec,
}

/// What one lookup read and found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupReport {
    /// The feature table.
    pub table: String,
    /// Where it lies.
    pub location: String,
    /// The version that was read: keep it with the model.
    pub version: u64,
    /// The columns that it gave to the training set, by their names there.
    pub columns: Vec<String>,
    /// The column with the times of the rows found, where it was asked for.
    pub timestamp_column: Option<String>,
    /// Labels that found a row.
    pub matched_rows: u64,
    /// Labels without a row: none was early enough, or none young enough.
    pub unmatched_rows: u64,
    /// Labels with a null in their key. They are part of the unmatched ones, as are those without time.
    pub null_key_rows: u64,
    /// Labels without time.
    pub null_timestamp_rows: u64,
    /// Feature rows that were read.
    pub feature_rows: u64,
    /// Feature rows that stood back because another one has their key and time.
    pub tied_rows: u64,
}

impl TrainingSet {
    /// The label columns, then the features of each lookup.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The rows: those of the labels, as many and in their order.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Which tables and versions were read, and what was found; one for each lookup.
    pub fn lookups(&self) -> &[LookupReport] {
        &self.lookups
    }

    /// The lookups, to be kept beside the model and asked online.
    pub fn spec(&self) -> &FeatureSpec {
        &self.spec
    }

    /// The rows as a stream, to be written or fed to a trainer.
    pub fn into_stream(self) -> BatchStream {
        BatchStream::from_batches(self.schema, self.batches)
    }
}

impl<'a> BuildTrainingSet<'a> {
    pub(crate) fn new(store: &'a FeatureStore, labels: Labels) -> Self {
        Self {
            store,
            labels,
            timestamp: None,
            lookups: Vec::new(),
            times: FeatureTimes::default(),
            exclude: Vec::new(),
            progress: Progress::none(),
        }
    }

    /// The label column that says as of when features are wanted: a timestamp or a date.
    pub fn timestamp(mut self, column: impl Into<String>) -> Self {
        self.timestamp = Some(column.into());
        self
    }

    /// Looks features up; once for each table, or for each way to use a table.
    pub fn lookup(mut self, lookup: FeatureLookupSpec) -> Self {
        self.lookups.push(lookup);
        self
    }

    /// Adds for each lookup with a time the column `PREFIX TABLE __ KEY` with the times of the rows found, so that
    /// anyone can check that none lies after its label.
    pub fn include_feature_timestamps(mut self) -> Self {
        self.times = FeatureTimes::Include;
        self
    }

    /// Leaves these columns out of the result: keys, say, that are no features of a model.
    pub fn exclude_columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.exclude = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Who is told how far it is: a step for each lookup.
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Joins.
    ///
    /// **Shape**: one row for each label, in their order; the label columns, then the features of each lookup, null
    /// where there is no row.
    ///
    /// **Errors**: `NotFound` for a table or version that is not there; `Invalid` for a column that is not there, has
    /// another type than its key, or would be there twice.
    ///
    /// **Cost**: one scan of the keys, the time and the wanted columns of each feature table, of the files that can hold
    /// rows of the labels' time (two, if rows share a key and a time); the labels and the rows of their keys
    /// in memory.
    pub async fn run(self) -> Result<TrainingSet> {
        if self.lookups.is_empty() {
            return Err(FeatureError::NoLookups);
        }
        let labels = self.labels.open().await?;
        let label_schema = labels.schema();
        let mut plans = Vec::new();
        for spec in &self.lookups {
            plans.push(Lookup::plan(self.store, spec, self.timestamp.as_ref(), &label_schema, self.times).await?);
        }
        let output = output_schema(&label_schema, &plans)?;
        for column in &self.exclude {
            field(&output, column, || "leave a column out of a training set".to_owned())?;
        }

        let batches = labels.collect().await.attempt(|| "read the labels".to_owned())?;
        let mut columns: Vec<Vec<ArrayRef>> = batches.iter().map(|batch| batch.columns().to_vec()).collect();
        let mut reports = Vec::new();
        let total = plans.len() as u64;
        for (done, plan) in plans.into_iter().enumerate() {
            let (found, report) = plan.join(&batches).await?;
            columns.iter_mut().zip(found).for_each(|(columns, found)| columns.extend(found));
            reports.push(report);
            self.progress.report("join features", done as u64 + 1, Some(total), ProgressUnit::Steps);
        }
        let keep: Vec<usize> = (0..output.fields().len()).filter(|at| !self.exclude.contains(output.field(*at).name())).collect();
        let joined = columns.into_iter().zip(&batches).map(|(columns, batch)| {
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(Arc::clone(&output), columns, &options).and_then(|batch| batch.project(&keep))
        });
        let attempt = || "put a training set together".to_owned();
        let batches = joined.collect::<Result<Vec<_>, _>>().attempt(attempt)?;
        let schema = Arc::new(output.project(&keep).attempt(attempt)?);
        Ok(TrainingSet {
            schema,
            batches,
            lookups: reports,
            spec: FeatureSpec { timestamp: self.timestamp, lookups: self.lookups },
        })
    }
}

/// The label columns and those of every lookup, each name once.
fn output_schema(labels: &Schema, plans: &[Lookup]) -> Result<SchemaRef> {
    let mut fields: Vec<Arc<Field>> = labels.fields().iter().cloned().collect();
    let mut seen: HashSet<&str> = HashSet::new();
    for name in labels.fields().iter().map(|field| field.name()) {
        if !seen.insert(name) {
            let (attempt, hint) = ("read the labels".to_owned(), "rename one of them");
            return Err(FeatureError::DuplicateColumn { attempt, column: name.clone(), hint });
        }
    }
    for plan in plans {
        for field in &plan.output {
            if !seen.insert(field.name()) {
                let attempt = format!("join the features of `{}`", plan.definition.name);
                let hint = "give the lookup a `prefix`, or leave the feature out";
                return Err(FeatureError::DuplicateColumn { attempt, column: field.name().clone(), hint });
            }
            fields.push(Arc::clone(field));
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The times of both sides.
struct Timing {
    line: TimeLine,
    /// The label's column.
    label: String,
    /// The feature table's column, and its type.
    feature: String,
    feature_type: DataType,
}

/// A lookup whose columns and types have been checked.
struct Lookup {
    definition: FeatureTableDefinition,
    location: String,
    snapshot: Arc<dyn TableSnapshot>,
    key_schema: SchemaRef,
    label_keys: Vec<String>,
    features: Vec<String>,
    timing: Option<Timing>,
    rule: Rule,
    output: Vec<Arc<Field>>,
    times: FeatureTimes,
}

/// The labels of one lookup.
struct Asked {
    index: KeyIndex,
    probes: Vec<Probe>,
    rows: usize,
    null_keys: u64,
    null_times: u64,
    range: Option<(i64, i64)>,
}

/// The feature rows of one lookup.
struct Read {
    batches: Vec<RecordBatch>,
    events: Buckets<Event>,
    rows: u64,
}

impl Lookup {
    async fn plan(
        store: &FeatureStore,
        spec: &FeatureLookupSpec,
        timestamp: Option<&String>,
        labels: &Schema,
        times: FeatureTimes,
    ) -> Result<Self> {
        let attempt = || format!("join the features of `{}`", spec.table);
        let table = store.table(&spec.table).await?;
        let snapshot = table.snapshot(spec.version).await?;
        let definition = table.definition;
        let schema = snapshot.schema();
        let key_schema = definition.key_schema(&schema)?;
        if let Some(unknown) = spec.keys.keys().find(|key| !definition.primary_keys.contains(key)) {
            let found = definition.primary_keys.clone();
            return Err(FeatureError::NoColumn { attempt: attempt(), column: unknown.clone(), found });
        }
        let label_keys: Vec<String> = definition.primary_keys.iter().map(|key| spec.label_column(key).to_owned()).collect();
        // An empty batch of labels shows whether the types can be compared.
        let probe = RecordBatch::new_empty(Arc::new(labels.clone()));
        KeyEncoder::new(&key_schema, attempt)?.encode(&probe, &label_keys, attempt)?;

        let features = match &spec.features {
            Some(features) => features.clone(),
            None => definition.feature_names(&schema),
        };
        let mut output = Vec::new();
        for feature in &features {
            let known = field(&schema, feature, attempt)?;
            if !definition.is_feature(feature) {
                let found = definition.feature_names(&schema);
                return Err(FeatureError::NoColumn { attempt: attempt(), column: feature.clone(), found });
            }
            output.push(Arc::new(Field::new(spec.column_name(feature), known.data_type().clone(), true)));
        }
        let timing = match &definition.timestamp_key {
            None => None,
            Some(key) => {
                let label = spec.timestamp.as_ref().or(timestamp).cloned();
                let label = label.ok_or_else(|| FeatureError::NoLabelTimestamp { table: spec.table.clone() })?;
                let label_type = field(labels, &label, attempt)?.data_type();
                let feature_type = field(&schema, key, attempt)?.data_type().clone();
                let (of_label, of_feature) =
                    (TimeLine::of(label_type, &label, attempt)?, TimeLine::of(&feature_type, key, attempt)?);
                let line = of_label.common(of_feature).ok_or_else(|| FeatureError::TimestampZones {
                    attempt: attempt(),
                    label: label.clone(),
                    label_type: label_type.clone(),
                    feature: key.clone(),
                    feature_type: feature_type.clone(),
                })?;
                if times == FeatureTimes::Include {
                    let name = format!("{}{}__{key}", spec.prefix, spec.table);
                    output.push(Arc::new(Field::new(name, feature_type.clone(), true)));
                }
                Some(Timing { line, label, feature: key.clone(), feature_type })
            }
        };
        let rule = Rule {
            at_same_time: spec.as_of == AsOf::AtOrBefore || timing.is_none(),
            max_age: timing.as_ref().zip(spec.max_age_us).map(|(timing, us)| timing.line.units_of_us(us)),
        };
        let location = table.table.location().to_owned();
        Ok(Self { definition, location, snapshot, key_schema, label_keys, features, timing, rule, output, times })
    }

    fn attempt(&self) -> String {
        format!("join the features of `{}`", self.definition.name)
    }

    async fn join(self, labels: &[RecordBatch]) -> Result<(Vec<Vec<ArrayRef>>, LookupReport)> {
        let encoder = KeyEncoder::new(&self.key_schema, || self.attempt())?;
        let asked = self.ask(&encoder, labels)?;
        let mut read = self.read(&encoder, &asked, &self.features).await?;
        let every_feature = self.definition.feature_names(&self.snapshot.schema());
        // Which of two rows answers is a matter of all their features, also of those that are not wanted.
        let mut tied_rows = 0;
        if has_ties(&read.events) {
            if every_feature.iter().any(|feature| !self.features.contains(feature)) {
                let mut wanted = self.features.clone();
                wanted.extend(every_feature.iter().filter(|feature| !self.features.contains(feature)).cloned());
                read = self.read(&encoder, &asked, &wanted).await?;
            }
            let schema = read.batches[0].schema();
            let order: Vec<usize> = every_feature.iter().filter_map(|feature| schema.index_of(feature).ok()).collect();
            (read.events, tied_rows) = settle(read.events, &read.batches, &order, || self.attempt())?;
        }
        let probes = Buckets::new(asked.probes, asked.index.len());
        let matches = latest(&probes, &read.events, asked.rows, self.rule);

        let mut columns = Vec::with_capacity(labels.len());
        let mut start = 0;
        for batch in labels {
            let places = &matches[start..start + batch.num_rows()];
            start += batch.num_rows();
            columns.push(self.columns(&read.batches, places)?);
        }
        let matched_rows = matches.iter().flatten().count() as u64;
        let mut names: Vec<String> = self.output.iter().map(|field| field.name().clone()).collect();
        let timestamp_column = names.split_off(self.features.len()).pop();
        let report = LookupReport {
            table: self.definition.name.clone(),
            location: self.location.clone(),
            version: self.snapshot.version(),
            columns: names,
            timestamp_column,
            matched_rows,
            unmatched_rows: asked.rows as u64 - matched_rows,
            null_key_rows: asked.null_keys,
            null_timestamp_rows: asked.null_times,
            feature_rows: read.rows,
            tied_rows,
        };
        Ok((columns, report))
    }

    /// Numbers the keys of the labels.
    fn ask(&self, encoder: &KeyEncoder, labels: &[RecordBatch]) -> Result<Asked> {
        let rows: usize = labels.iter().map(RecordBatch::num_rows).sum();
        if u32::try_from(rows).is_err() {
            return Err(FeatureError::TooManyRows { attempt: self.attempt() });
        }
        let probes = Vec::with_capacity(rows);
        let mut asked = Asked { index: KeyIndex::default(), probes, rows, null_keys: 0, null_times: 0, range: None };
        let mut row: u32 = 0;
        for batch in labels {
            let keys = encoder.encode(batch, &self.label_keys, || self.attempt())?;
            let times = match &self.timing {
                Some(timing) => {
                    let column = batch.column_by_name(&timing.label);
                    let missing = || FeatureError::NoColumn {
                        attempt: self.attempt(),
                        column: timing.label.clone(),
                        found: names(&batch.schema()),
                    };
                    Some(timing.line.read(column.ok_or_else(missing)?, &timing.label, || self.attempt())?)
                }
                None => None,
            };
            if let Some((low, high)) = times.as_ref().and_then(|times| times.range()) {
                let (least, most) = asked.range.unwrap_or((low, high));
                asked.range = Some((least.min(low), most.max(high)));
            }
            for at in 0..batch.num_rows() {
                let time = times.as_ref().map_or(Some(0), |times| times.at(at));
                match (keys.key(at), time) {
                    (None, _) => asked.null_keys += 1,
                    (Some(_), None) => asked.null_times += 1,
                    (Some(key), Some(at)) => asked.probes.push(Probe { key: asked.index.insert(key), row, at }),
                }
                row += 1;
            }
        }
        Ok(asked)
    }

    /// Reads the rows that a label could match: of its key, and not after the last of them.
    async fn read(&self, encoder: &KeyEncoder, asked: &Asked, features: &[String]) -> Result<Read> {
        let mut projection = self.definition.primary_keys.clone();
        projection.extend(self.timing.iter().map(|timing| timing.feature.clone()));
        let payload = self.definition.primary_keys.len();
        projection.extend(features.iter().cloned());
        let request = ScanRequest { predicate: self.predicate(asked.range), ..ScanRequest::default() }.project(projection);
        let mut rows = self.snapshot.scan(request).await.attempt(|| self.attempt())?;
        let schema = rows.schema();
        // What is kept: the time and the features.
        let kept: Vec<usize> = (payload..schema.fields().len()).collect();
        let last = asked.range.map_or(i64::MAX, |(_, last)| last);
        let mut read = Vec::new();
        let (mut events, mut count) = (Vec::new(), 0);
        while let Some(batch) = rows.next().await {
            let batch = batch.attempt(|| self.attempt())?;
            count += batch.num_rows() as u64;
            if asked.probes.is_empty() {
                continue;
            }
            let keys = encoder.encode(&batch, &self.definition.primary_keys, || self.attempt())?;
            let times = match &self.timing {
                Some(timing) => Some(timing.line.read(batch.column(payload), &timing.feature, || self.attempt())?),
                None => None,
            };
            let mut keep = vec![false; batch.num_rows()];
            let mut admitted = 0;
            for (row, keep) in keep.iter_mut().enumerate() {
                let at = times.as_ref().map_or(Some(0), |times| times.at(row));
                let number = keys.key(row).and_then(|key| asked.index.get(key));
                if let (Some(key), Some(at)) = (number, at.filter(|at| *at <= last)) {
                    *keep = true;
                    events.push(Event { key, at, place: Place::new(read.len(), admitted, || self.attempt())? });
                    admitted += 1;
                }
            }
            if admitted == 0 {
                continue;
            }
            let payload = batch.project(&kept).attempt(|| self.attempt())?;
            read.push(if admitted == batch.num_rows() {
                payload
            } else {
                filter_record_batch(&payload, &BooleanArray::from(keep)).attempt(|| self.attempt())?
            });
        }
        Ok(Read { batches: read, events: Buckets::new(events, asked.index.len()), rows: count })
    }

    /// What a table may skip: rows after the last label, and rows too old for the first.
    fn predicate(&self, range: Option<(i64, i64)>) -> Option<Predicate> {
        let (timing, (first, last)) = (self.timing.as_ref()?, range?);
        let bound = |at, rounding| timing.line.bound(at, &timing.feature_type, rounding);
        let not_after = bound(last, Rounding::Up).map(|last| Predicate::compare(&timing.feature, Comparison::LtEq, last));
        let oldest = self.rule.max_age.and_then(|age| first.checked_sub(age));
        let not_before = oldest.and_then(|oldest| bound(oldest, Rounding::Down));
        let not_before = not_before.map(|oldest| Predicate::compare(&timing.feature, Comparison::GtEq, oldest));
        match (not_before, not_after) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (a, b) => a.or(b),
        }
    }

    /// The columns of the output, for these matches.
    fn columns(&self, batches: &[RecordBatch], places: &[Option<Place>]) -> Result<Vec<ArrayRef>> {
        let Some(first) = batches.first() else {
            return Ok(self.output.iter().map(|field| new_null_array(field.data_type(), places.len())).collect());
        };
        let mut wanted: Vec<&String> = self.features.iter().collect();
        wanted.extend(self.timing.iter().filter(|_| self.times == FeatureTimes::Include).map(|timing| &timing.feature));
        let column = |name: &String| {
            let at = first.schema_ref().index_of(name).attempt(|| self.attempt())?;
            gather(batches, at, places, || self.attempt())
        };
        wanted.into_iter().map(column).collect()
    }
}
