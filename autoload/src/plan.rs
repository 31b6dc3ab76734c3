//! Which columns hold from which file on. Bytes are fetched here; the decisions are in `schema`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::decode::{Column, inspect, needs_whole_file, observe_parquet_footer};
use crate::error::AutoLoadError;
use crate::landing::Landing;
use crate::ledger::{Landed, SchemaVersion};
use crate::schema::{Observed, evolve, first, normalize, position};
use crate::settings::{Format, SchemaEvolution, Settings};

/// Fetched together; a larger file goes alone.
pub(crate) const GROUP_BYTES: u64 = 8 << 20;

/// The columns that settings demand over what is remembered: a given schema and hints.
///
/// **Errors**: a remembered column has another type; a type cannot be read from this format; a name is taken.
pub(crate) fn demanded(remembered: Option<&Fields>, settings: &Settings) -> Result<Fields, AutoLoadError> {
    let mut fields: Vec<FieldRef> = remembered.map(|fields| fields.iter().map(Arc::clone).collect()).unwrap_or_default();
    let given: Vec<(String, DataType)> = settings
        .schema
        .iter()
        .flat_map(|schema| schema.fields().iter().map(|field| (field.name().clone(), normalize(field.data_type()))))
        .collect();
    let mut wanted: BTreeMap<&str, &DataType> = BTreeMap::new();
    for (name, data_type) in &given {
        if wanted.insert(name, data_type).is_some() {
            return Err(AutoLoadError::NameTaken { column: name.clone() });
        }
    }
    let hints: Vec<(String, DataType)> =
        settings.schema_hints.iter().map(|(name, data_type)| (name.clone(), normalize(data_type))).collect();
    for (name, data_type) in given.iter().chain(&hints) {
        if settings.is_reserved(name) {
            return Err(AutoLoadError::NameTaken { column: name.clone() });
        }
        if !matches!(settings.format, Format::Parquet) && Column::new(data_type).is_none() {
            return Err(AutoLoadError::UnsupportedType {
                format: settings.format.name(),
                column: name.clone(),
                data_type: data_type.clone(),
            });
        }
        match position(&fields, name) {
            Some(at) if fields[at].name() != name => return Err(AutoLoadError::NameTaken { column: name.clone() }),
            Some(at) if fields[at].data_type() == data_type => {}
            // A given schema, corrected by a hint in the same call.
            Some(at) if remembered.is_none_or(|fields| fields.iter().all(|field| field.name() != name)) => {
                fields[at] = Arc::new(Field::new(name, data_type.clone(), true));
            }
            Some(at)
                if settings.schema_hints.contains_key(name) && wanted.contains_key(name.as_str()) && {
                    settings.schema_hints.get(name).map(normalize).as_ref() == Some(fields[at].data_type())
                } => {}
            Some(at) => {
                return Err(AutoLoadError::ColumnTypeChanged {
                    column: name.clone(),
                    given: data_type.clone(),
                    remembered: fields[at].data_type().clone(),
                });
            }
            None => fields.push(Arc::new(Field::new(name, data_type.clone(), true))),
        }
    }
    Ok(fields.into())
}

/// New schema versions for files `range`, which have not been inspected. `files` are all that are known:
/// the first inference may look beyond the range.
pub(crate) async fn schemas(
    landing: &Landing,
    settings: &Settings,
    latest: Option<&Fields>,
    files: &[Landed],
    range: Range<u64>,
) -> Result<Vec<SchemaVersion>, AutoLoadError> {
    let mut versions = Vec::new();
    let mut look_from = range.start;
    let mut fields = demanded(latest, settings)?;
    let inference = settings.schema.is_none() && latest.is_none_or(|fields| fields.is_empty());
    if inference {
        let some = beginning(settings, files, range.start);
        look_from = look_from.max(some.end);
        let mut observed: Option<Observed> = None;
        for (_, found) in observe(landing, settings, &Fields::empty(), files, some).await? {
            match &mut observed {
                None => observed = Some(found),
                Some(observed) => observed.merge(found),
            }
        }
        if let Some(observed) = observed {
            let inferred = first(&observed, settings);
            let missing = fields.iter().filter(|field| position(&inferred, field.name()).is_none());
            fields = inferred.iter().chain(missing).map(Arc::clone).collect();
        }
    }
    if latest.is_none_or(|latest| latest != &fields) {
        versions.push(SchemaVersion { from: range.start, fields: fields.clone() });
    }
    let evolution = settings.evolution();
    let looks = matches!(evolution, SchemaEvolution::AddNewColumns | SchemaEvolution::FailOnNewColumns);
    if looks && look_from < range.end {
        for (sequence, found) in observe(landing, settings, &fields.clone(), files, look_from..range.end).await? {
            let Some(evolved) = evolve(&fields, &found, settings) else { continue };
            if evolution == SchemaEvolution::FailOnNewColumns {
                let url = usize::try_from(sequence).ok().and_then(|at| files.get(at)).map(|file| landing.url_of(&file.path));
                return Err(AutoLoadError::NewColumns { url: url.unwrap_or_default(), columns: evolved.columns });
            }
            fields = evolved.fields;
            versions.push(SchemaVersion { from: sequence, fields: fields.clone() });
        }
    }
    Ok(versions)
}

/// The files that the first inference looks at.
fn beginning(settings: &Settings, files: &[Landed], start: u64) -> Range<u64> {
    let mut bytes: u64 = 0;
    let mut end = start;
    let at = usize::try_from(start).unwrap_or(usize::MAX);
    for file in files.iter().skip(at).take(settings.inference_files.max(1)) {
        if end > start && bytes >= settings.inference_bytes {
            break;
        }
        bytes += file.size_bytes;
        end += 1;
    }
    start..end
}

/// What each file holds beside the known columns, in order.
async fn observe(
    landing: &Landing,
    settings: &Settings,
    known: &Fields,
    files: &[Landed],
    range: Range<u64>,
) -> Result<Vec<(u64, Observed)>, AutoLoadError> {
    let mut all = Vec::new();
    for group in groups(files, range) {
        let concurrent = settings.concurrent_fetches.max(1);
        let members: Vec<(u64, Landed)> = group.clone().zip(slice(files, &group).iter().cloned()).collect();
        if needs_whole_file(&settings.format) {
            let fetched: Vec<(u64, Arc<str>, Bytes)> = futures::stream::iter(members)
                .map(|(sequence, file)| async move {
                    let bytes = landing.fetch_and_keep(&file.path).await?;
                    Ok::<_, AutoLoadError>((sequence, file.path, bytes))
                })
                .buffered(concurrent)
                .try_collect()
                .await?;
            let (format, types, known) = (settings.format.clone(), settings.column_types, known.clone());
            let look = move || {
                fetched
                    .iter()
                    .map(|(sequence, path, bytes)| (*sequence, inspect(&format, types, &known, path, bytes)))
                    .collect::<Vec<_>>()
            };
            all.extend(blocking(look).await?);
        } else {
            let found: Vec<_> = futures::stream::iter(members)
                .map(|(sequence, file)| async move { Ok::<_, AutoLoadError>((sequence, footer(landing, &file).await?)) })
                .buffered(concurrent)
                .try_collect()
                .await?;
            all.extend(found);
        }
    }
    Ok(all)
}

/// Most footers are shorter than this.
const FOOTER_BYTES: u64 = 64 << 10;

async fn footer(landing: &Landing, file: &Landed) -> Result<Observed, AutoLoadError> {
    let tail = landing.fetch_tail(file, FOOTER_BYTES).await?;
    match observe_parquet_footer(&tail, file.size_bytes) {
        Ok(observed) => Ok(observed),
        Err(needed) => {
            let tail = landing.fetch_tail(file, needed as u64).await?;
            Ok(observe_parquet_footer(&tail, file.size_bytes).unwrap_or_else(|_| Observed::Typed(Fields::empty())))
        }
    }
}

/// Consecutive files that are worth one task.
pub(crate) fn groups(files: &[Landed], range: Range<u64>) -> Vec<Range<u64>> {
    let mut groups: Vec<Range<u64>> = Vec::new();
    let mut bytes = 0;
    for (sequence, file) in range.clone().zip(slice(files, &range)) {
        match groups.last_mut() {
            Some(group) if bytes + file.size_bytes <= GROUP_BYTES && group.end - group.start < 1024 => {
                group.end = sequence + 1;
                bytes += file.size_bytes;
            }
            _ => {
                groups.push(sequence..sequence + 1);
                bytes = file.size_bytes;
            }
        }
    }
    groups
}

/// The files of a range; empty where it lies beyond the end.
pub(crate) fn slice<'a>(files: &'a [Landed], range: &Range<u64>) -> &'a [Landed] {
    let place = |sequence: u64| usize::try_from(sequence).unwrap_or(usize::MAX).min(files.len());
    &files[place(range.start)..place(range.end).max(place(range.start))]
}

/// Runs work for the processor beside the tasks that wait for stores.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AutoLoadError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| AutoLoadError::TaskEnded { reason: error.to_string() })
}
