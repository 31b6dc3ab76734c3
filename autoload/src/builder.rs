//! Describing a source, and opening it.

use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{DataType, SchemaRef};
use boathouse_base::{DomainError, Env, ErrorKind, Result};
use boathouse_storage::{Glob, Location, Storage, system_env};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clean::CleanSource;
use crate::discovery::{Discovery, Finder, FolderWatch, Listing, Selection};
use crate::error::AutoLoadError;
use crate::fingerprint::Fingerprints;
use crate::landing::{Landing, Reading};
use crate::ledger::{Addition, Appended, Ledger};
use crate::loader::{AutoLoader, Inner};
use crate::plan::demanded;
use crate::settings::{
    ColumnTypes, CorruptFiles, DiscoveryMode, ExistingFiles, Format, MetadataColumn, MissingFiles, Overwrites, PartitionColumns,
    SchemaEvolution, Settings,
};

/// Describes an [`AutoLoader`]; [`open`](Self::open) makes it.
#[derive(Debug)]
#[must_use = "a builder does nothing until `open`"]
pub struct AutoLoaderBuilder {
    landing: Storage,
    state: Option<Storage>,
    settings: Settings,
    events: Option<Arc<dyn Discovery>>,
    clean: Option<CleanSource>,
    env: Option<Env>,
}

impl AutoLoaderBuilder {
    pub(crate) fn new(landing: Storage) -> Self {
        Self { landing, state: None, settings: Settings::default(), events: None, clean: None, env: None }
    }

    /// Replaces all settings.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// How the files are written; JSON lines unless said otherwise.
    pub fn format(mut self, format: Format) -> Self {
        self.settings.format = format;
        self
    }

    /// Where the source remembers what it discovered. Required, and for this source alone. It may lie below
    /// the landing folder: it is never read as data.
    pub fn state(mut self, state: Storage) -> Self {
        self.state = Some(state);
        self
    }

    /// Gives top-level columns a type that wins over inference.
    pub fn schema_hints<S: Into<String>>(mut self, hints: impl IntoIterator<Item = (S, DataType)>) -> Self {
        self.settings.schema_hints.extend(hints.into_iter().map(|(name, data_type)| (name.into(), data_type)));
        self
    }

    /// Gives the schema, so that nothing is inferred. Its columns become nullable.
    pub fn schema(mut self, schema: SchemaRef) -> Self {
        self.settings.schema = Some(schema);
        self
    }

    /// Whether types of JSON and CSV columns are inferred.
    pub fn infer_column_types(mut self, types: ColumnTypes) -> Self {
        self.settings.column_types = types;
        self
    }

    /// What happens when a file has new columns.
    pub fn schema_evolution(mut self, evolution: SchemaEvolution) -> Self {
        self.settings.schema_evolution = Some(evolution);
        self
    }

    /// Which columns stand in the names of folders.
    pub fn partition_columns(mut self, columns: PartitionColumns) -> Self {
        self.settings.partition_columns = columns;
        self
    }

    pub(crate) fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// The name of the column for what does not fit; `None` gives it up.
    pub fn rescued_data_column(mut self, name: Option<&str>) -> Self {
        self.settings.rescued_data_column = name.map(str::to_owned);
        self
    }

    /// Reads files only that match: `*` and `?` within a name, `**` over folders, `[a-z]`, `{a,b}`. Without a
    /// `/` the pattern is about the file's name, with one about its path below the landing folder.
    pub fn path_glob(mut self, pattern: impl Into<String>) -> Self {
        self.settings.path_glob = Some(pattern.into());
        self
    }

    /// Whether files are read that lie there at the very first start.
    pub fn include_existing(mut self, existing: ExistingFiles) -> Self {
        self.settings.existing_files = existing;
        self
    }

    /// Whether rows carry where they come from.
    pub fn metadata_column(mut self, metadata: MetadataColumn) -> Self {
        self.settings.metadata_column = metadata;
        self
    }

    /// Reads only files that were modified after this instant, in microseconds since the Unix epoch (UTC).
    pub fn modified_after_us(mut self, after_us: i64) -> Self {
        self.settings.modified_after_us = Some(after_us);
        self
    }

    /// Reads only files that were modified before this instant.
    pub fn modified_before_us(mut self, before_us: i64) -> Self {
        self.settings.modified_before_us = Some(before_us);
        self
    }

    /// Does not read files that are older than this when they are found.
    pub fn max_file_age(mut self, age: Duration) -> Self {
        self.settings.max_file_age = Some(age);
        self
    }

    /// Whether a file that was overwritten is read again.
    pub fn overwrites(mut self, overwrites: Overwrites) -> Self {
        self.settings.overwrites = overwrites;
        self
    }

    /// How new files are found.
    pub fn discovery(mut self, discovery: DiscoveryMode) -> Self {
        self.settings.discovery = discovery;
        self
    }

    /// What tells of new files, in place of listing the folder: a queue of events ([`QueuedFiles`](crate::QueuedFiles)),
    /// or anything else. The folder is listed at the first start, every
    /// [`backfill_interval`](Self::backfill_interval), and when events got lost.
    pub fn events(mut self, events: Arc<dyn Discovery>) -> Self {
        self.events = Some(events);
        self
    }

    /// How often the whole folder is listed, whatever else tells of files.
    pub fn backfill_interval(mut self, interval: Duration) -> Self {
        self.settings.backfill_interval = Some(interval);
        self
    }

    /// Files in a batch, and about how many bytes, where the stream names no limits.
    pub fn batch_limits(mut self, max_files: u64, max_bytes: Option<u64>) -> Self {
        self.settings.max_files = max_files;
        self.settings.max_bytes = max_bytes;
        self
    }

    /// What happens with a planned file that is gone.
    pub fn missing_files(mut self, missing: MissingFiles) -> Self {
        self.settings.missing_files = missing;
        self
    }

    /// What happens with a file that cannot be opened.
    pub fn corrupt_files(mut self, corrupt: CorruptFiles) -> Self {
        self.settings.corrupt_files = corrupt;
        self
    }

    /// What happens to files when their rows are safe; they stay unless something is said.
    pub fn clean_source(mut self, clean: CleanSource) -> Self {
        self.clean = Some(clean);
        self
    }

    /// The clock and the ids; the real ones unless said otherwise.
    pub fn env(mut self, env: Env) -> Self {
        self.env = Some(env);
        self
    }

    /// Opens the source, and makes its state at the first start.
    ///
    /// **Cost**: one GET, one LIST and one GET for each log record (at most 64, and one that holds the rest).
    ///
    /// **Errors**: `NotFound` when the landing folder is a local one that is not there; `Invalid` without a
    /// state, when the state belongs to another folder or format, or when a type contradicts what the state
    /// remembers; `Unsupported` for a column type that the format cannot be read into.
    pub async fn open(self) -> Result<AutoLoader> {
        Ok(self.try_open().await?)
    }

    async fn try_open(self) -> Result<AutoLoader, AutoLoadError> {
        let Self { landing, state, settings, events, clean, env } = self;
        let env = env.unwrap_or_else(system_env);
        let state = state.ok_or_else(|| AutoLoadError::NoState { landing: landing.url().to_owned() })?;
        // In the landing folder itself, state lies where no file is looked for.
        let state = if is_same_folder(&landing, &state) { state.at("_autoload") } else { state };
        let parse = |pattern: &String| {
            Glob::parse(pattern).map_err(|error| AutoLoadError::InvalidGlob { pattern: error.pattern, reason: error.problem })
        };
        let glob = settings.path_glob.as_ref().map(parse).transpose()?;
        let local = Location::parse(landing.url()).ok().and_then(|location| location.local_path());
        if let Some(path) = local
            && tokio::fs::metadata(&path).await.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        {
            return Err(AutoLoadError::NoLandingFolder { url: landing.url().to_owned() });
        }
        demanded(None, &settings)?;
        let identity = Identity::claim(&landing, &state, &settings, &env).await?;
        let fingerprints = Fingerprints::new(&identity.source, settings.overwrites == Overwrites::Read);
        let events = match (events, settings.discovery) {
            (None, DiscoveryMode::Watch) => Some(Arc::new(
                FolderWatch::over(&landing)
                    .map_err(|source| AutoLoadError::Discovery { what: format!("watch of {}", landing.url()), source })?,
            ) as Arc<dyn Discovery>),
            (events, _) => events,
        };
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let age_us = settings.max_file_age.map(micros);
        let selection =
            Selection::new(&landing, &state, glob).modified(settings.modified_after_us, settings.modified_before_us, age_us);
        let listing = Listing::open(
            landing.clone(),
            state.clone(),
            settings.discovery == DiscoveryMode::HighestNames,
            fingerprints.need_facts(),
            selecting(&settings),
            env.clone(),
        )
        .await?;
        let backfill_us = settings.backfill_interval.map(micros);
        let mut finder = Finder::new(listing, events, selection, fingerprints.clone(), backfill_us, env.clone());
        let reading = Reading {
            ignore_missing: settings.missing_files == MissingFiles::Ignore,
            versions: settings.overwrites == Overwrites::Read,
            concurrent: settings.concurrent_fetches,
            cache_bytes: settings.cache_bytes,
        };
        let landing = Landing::new(landing, reading);
        let mut ledger = Ledger::load(state.clone(), fingerprints).await?;
        if settings.existing_files == ExistingFiles::Skip && ledger.is_new() {
            let skipped = finder.everything(&landing).await?;
            let addition = Addition { skipped, ..Addition::default() };
            match ledger.append(addition, env.now_us()).await? {
                Appended::Yes => finder.settle_if_done().await,
                Appended::Raced => {
                    finder.reset();
                    tracing::debug!("autoload.open: another process made the first record");
                }
            }
        }
        demanded(ledger.latest(), &settings)?;
        Ok(AutoLoader::new(landing, settings, state, identity.source, Inner { ledger, finder }, clean, env))
    }
}

/// Everything that decides which files are meant: a listing under other settings has to look again.
fn selecting(settings: &Settings) -> String {
    let Settings { path_glob, modified_after_us, modified_before_us, max_file_age, overwrites, .. } = settings;
    format!("1 {path_glob:?} {modified_after_us:?} {modified_before_us:?} {max_file_age:?} {overwrites:?}")
}

fn is_same_folder(a: &Storage, b: &Storage) -> bool {
    let same_store = std::sync::Arc::ptr_eq(a.object_store(), b.object_store());
    a.url() == b.url() && a.prefix() == b.prefix() && (same_store || !a.url().starts_with("memory:"))
}

/// Who a state belongs to.
#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    v: u32,
    /// Stands in every offset.
    source: String,
    landing: String,
    format: String,
    /// Whether versions of a path are told apart.
    #[serde(default)]
    versions: bool,
}

impl Identity {
    const PATH: &str = "source.json";

    /// Makes the state ours, or finds out that it is.
    async fn claim(landing: &Storage, state: &Storage, settings: &Settings, env: &Env) -> Result<Self, AutoLoadError> {
        let (format, versions) = (settings.format.name(), settings.overwrites == Overwrites::Read);
        if let Some(bytes) = state.get_optional(Self::PATH).await? {
            return Self::check(&bytes, landing, state, format, versions);
        }
        let identity =
            Self { v: 1, source: env.hex_id(), landing: landing.url().to_owned(), format: format.to_owned(), versions };
        let bytes = serde_json::to_vec(&identity).map_err(|source| AutoLoadError::Encode { what: "source.json", source })?;
        match state.put_if_absent(Self::PATH, Bytes::from(bytes)).await {
            Ok(()) => Ok(identity),
            // Another process, or a lost answer to this very call.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let bytes = state.get(Self::PATH).await?;
                Self::check(&bytes, landing, state, format, versions)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn check(
        bytes: &[u8],
        landing: &Storage,
        state: &Storage,
        format: &'static str,
        versions: bool,
    ) -> Result<Self, AutoLoadError> {
        let corrupt = |reason: String| AutoLoadError::CorruptState { path: state.url_of(Self::PATH), reason };
        let found: Self = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
        if found.v != 1 {
            return Err(corrupt(format!("its format {} is unknown to this version, which knows 1", found.v)));
        }
        if found.landing != landing.url() || found.format != format {
            return Err(AutoLoadError::ForeignState {
                landing: landing.url().to_owned(),
                format,
                state: state.url().to_owned(),
                found_landing: found.landing,
                found_format: found.format,
            });
        }
        if found.versions != versions {
            let name = |versions| if versions { "by version" } else { "by path" };
            let (given, found) = (name(versions), name(found.versions));
            return Err(AutoLoadError::OverwritesChanged { state: state.url().to_owned(), given, found });
        }
        Ok(found)
    }
}
