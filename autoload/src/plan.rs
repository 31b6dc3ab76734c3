//! Which columns hold from which file on. Bytes are fetched here; the decisions are in `schema`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::decode::{Column, inspect, needs_whole_file, observe_parquet_footer};
use crate::error::AutoLoadError;
use crate::landing::{Fetched, Landing};
use crate::ledger::{Landed, SchemaVersion};
use crate::schema::{Observed, evolve, first, normalize, partitions, position};
use crate::settings::{Format, SchemaEvolution, Settings};

/// Fetched together; a larger file goes alone.
const GROUP_BYTES: u64 = 8 << 20;

/// Not more small files than this.
const GROUP_FILES: usize = 1024;

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
        if settings.format.is_text() && Column::new(data_type).is_none() {
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

/// What a plan makes of the schema.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    pub(crate) versions: Vec<SchemaVersion>,
    /// The plan ends with this error when the versions are durable.
    pub(crate) stop: Option<AutoLoadError>,
}

/// New schema versions for new files, the first of which is number `base`. The first inference may look at `more` files
/// beyond them.
pub(crate) async fn schemas(
    landing: &Landing,
    settings: &Settings,
    latest: Option<&Fields>,
    base: u64,
    files: &[Landed],
    more: &[Landed],
) -> Result<Schemas, AutoLoadError> {
    let mut schemas = Schemas::default();
    let mut looked = 0;
    let mut fields = demanded(latest, settings)?;
    let mut evidence = Vec::new();
    let inference = settings.schema.is_none() && latest.is_none_or(|fields| fields.is_empty());
    if inference {
        let all: Vec<Landed> = files.iter().chain(more).cloned().collect();
        let some = beginning(settings, &all);
        looked = some.len().min(files.len());
        let mut observed: Option<Observed> = None;
        for found in observe(landing, settings, &Fields::empty(), some).await? {
            match &mut observed {
                None => observed = Some(found),
                Some(observed) => observed.merge(found),
            }
        }
        if let Some(observed) = observed {
            let inferred = first(&observed, settings);
            evidence = observed.evidence(&inferred, settings);
            let inferred = with_partitions(&inferred, settings, all.iter().map(|file| &*file.path));
            let missing = fields.iter().filter(|field| position(&inferred, field.name()).is_none());
            fields = inferred.iter().chain(missing).map(Arc::clone).collect();
        }
    }
    if !inference && latest.is_none() {
        fields = with_partitions(&fields, settings, files.iter().map(|file| &*file.path));
    }
    if latest.is_none_or(|latest| latest != &fields) {
        schemas.versions.push(SchemaVersion { from: base, fields: fields.clone(), evidence });
    }
    let evolution = settings.evolution();
    if !evolution.looks() {
        return Ok(schemas);
    }
    let widening = evolution == SchemaEvolution::AddNewColumnsWithTypeWidening;
    let observed = observe(landing, settings, &fields, &files[looked..]).await?;
    for ((sequence, file), found) in (base + looked as u64..).zip(&files[looked..]).zip(observed) {
        let Some(evolved) = evolve(&fields, &found, settings, widening) else { continue };
        match evolution {
            SchemaEvolution::FailOnNewColumns => {
                return Err(AutoLoadError::NewColumns { url: landing.url_of(&file.path), columns: evolved.columns });
            }
            SchemaEvolution::AddNewColumns | SchemaEvolution::AddNewColumnsWithTypeWidening => {
                // The first file names the reason; the columns of all are added, so that one restart is enough.
                let stop = schemas.stop.take();
                schemas.stop = Some(match stop {
                    Some(AutoLoadError::SchemaChanged { url, mut columns }) => {
                        columns.extend(evolved.columns);
                        AutoLoadError::SchemaChanged { url, columns }
                    }
                    _ => AutoLoadError::SchemaChanged { url: landing.url_of(&file.path), columns: evolved.columns },
                });
            }
            _ => {}
        }
        fields = evolved.fields;
        schemas.versions.push(SchemaVersion { from: sequence, fields: fields.clone(), evidence: Vec::new() });
    }
    Ok(schemas)
}

/// The columns with those whose values stand in paths. Where a file has a column of that name too, the path wins, and the
/// file's values are rescued.
fn with_partitions<'a>(fields: &Fields, settings: &Settings, paths: impl Iterator<Item = &'a str> + Clone) -> Fields {
    let partitions = partitions(settings, paths);
    let is_one = |field: &FieldRef| position(&partitions, field.name()).is_some();
    fields.iter().filter(|field| !is_one(field)).chain(&partitions).cloned().collect()
}

/// The files that the first inference looks at.
fn beginning<'a>(settings: &Settings, files: &'a [Landed]) -> &'a [Landed] {
    let mut bytes: u64 = 0;
    let mut end = 0;
    for file in files.iter().take(settings.inference_files.max(1)) {
        if end > 0 && bytes >= settings.inference_bytes {
            break;
        }
        bytes += file.size_bytes;
        end += 1;
    }
    &files[..end]
}

/// What each file holds beside the known columns, in order. A file that is gone holds nothing.
async fn observe(
    landing: &Landing,
    settings: &Settings,
    known: &Fields,
    files: &[Landed],
) -> Result<Vec<Observed>, AutoLoadError> {
    let mut all = Vec::with_capacity(files.len());
    for group in groups(files) {
        let members = &files[group];
        if needs_whole_file(&settings.format) {
            let fetched = landing.fetch_and_keep(members).await?;
            let paths: Vec<Arc<str>> = members.iter().map(|file| Arc::clone(&file.path)).collect();
            let (settings, known) = (settings.clone(), known.clone());
            let look = move || {
                let bytes = |fetched| match fetched {
                    Fetched::Bytes(bytes) => bytes,
                    Fetched::Missing | Fetched::Replaced => Bytes::new(),
                };
                let each = |(path, fetched): (Arc<str>, Fetched)| inspect(&settings, &known, &path, &bytes(fetched));
                paths.into_iter().zip(fetched).map(each).collect::<Vec<_>>()
            };
            all.extend(blocking(look).await?);
        } else {
            let found: Vec<_> = futures::stream::iter(members.to_vec())
                .map(|file| async move {
                    match settings.format {
                        Format::Parquet => footer(landing, &file).await,
                        // The others say without a look what they hold.
                        _ => Ok(inspect(settings, &Fields::empty(), &file.path, &Bytes::new())),
                    }
                })
                .buffered(settings.concurrent_fetches.max(1))
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
    let nothing = || Observed::Typed(Fields::empty());
    let Some(tail) = landing.fetch_tail(file, FOOTER_BYTES).await? else { return Ok(nothing()) };
    match observe_parquet_footer(&tail, file.size_bytes) {
        Ok(observed) => Ok(observed),
        Err(needed) => {
            let Some(tail) = landing.fetch_tail(file, needed as u64).await? else { return Ok(nothing()) };
            Ok(observe_parquet_footer(&tail, file.size_bytes).unwrap_or_else(|_| nothing()))
        }
    }
}

/// Files that are fetched and decoded together: many small ones, or one large one.
pub(crate) fn groups(files: &[Landed]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut bytes: u64 = 0;
    for (at, file) in files.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if bytes + file.size_bytes <= GROUP_BYTES && group.len() < GROUP_FILES => {
                group.end = at + 1;
                bytes += file.size_bytes;
            }
            _ => {
                groups.push(at..at + 1);
                bytes = file.size_bytes;
            }
        }
    }
    groups
}

/// Runs work for the processor beside the tasks that wait for stores.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AutoLoadError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| AutoLoadError::TaskEnded { reason: error.to_string() })
}
