//! Describing a source, and opening it.

use arrow_schema::{DataType, SchemaRef};
use boathouse_base::{DomainError, Env, ErrorKind, Result};
use boathouse_storage::{Glob, Location, Storage, system_env};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::AutoLoadError;
use crate::landing::Landing;
use crate::ledger::{Addition, Appended, Ledger};
use crate::loader::AutoLoader;
use crate::plan::demanded;
use crate::settings::{ColumnTypes, ExistingFiles, Format, MetadataColumn, SchemaEvolution, Settings};

/// Describes an [`AutoLoader`]; [`open`](Self::open) makes it.
#[derive(Debug)]
#[must_use = "a builder does nothing until `open`"]
pub struct AutoLoaderBuilder {
    landing: Storage,
    state: Option<Storage>,
    settings: Settings,
    env: Option<Env>,
}

impl AutoLoaderBuilder {
    pub(crate) fn new(landing: Storage) -> Self {
        Self { landing, state: None, settings: Settings::default(), env: None }
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
        let Self { landing, state, settings, env } = self;
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
        let source = Identity::claim(&landing, &state, settings.format.name(), &env).await?;
        let landing = Landing::new(landing, &state, glob, settings.cache_bytes);
        let mut ledger = Ledger::load(state.clone()).await?;
        if settings.existing_files == ExistingFiles::Skip && ledger.is_new() {
            let skipped = landing.list().await?.into_iter().map(|file| file.path.to_string()).collect();
            let addition = Addition { skipped, ..Addition::default() };
            if ledger.append(addition, env.now_us()).await? == Appended::Raced {
                tracing::debug!("autoload.open: another process made the first record");
            }
        }
        demanded(ledger.latest(), &settings)?;
        Ok(AutoLoader::new(landing, settings, state, source, ledger, env))
    }
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
}

impl Identity {
    const PATH: &str = "source.json";

    /// Makes the state ours, or finds out that it is.
    async fn claim(landing: &Storage, state: &Storage, format: &str, env: &Env) -> Result<String, AutoLoadError> {
        if let Some(bytes) = state.get_optional(Self::PATH).await? {
            return Self::check(&bytes, landing, state, format);
        }
        let identity = Self { v: 1, source: env.hex_id(), landing: landing.url().to_owned(), format: format.to_owned() };
        let bytes = serde_json::to_vec(&identity).map_err(|source| AutoLoadError::Encode { what: "source.json", source })?;
        match state.put_if_absent(Self::PATH, Bytes::from(bytes)).await {
            Ok(()) => Ok(identity.source),
            // Another process, or a lost answer to this very call.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let bytes = state.get(Self::PATH).await?;
                Self::check(&bytes, landing, state, format)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn check(bytes: &[u8], landing: &Storage, state: &Storage, format: &str) -> Result<String, AutoLoadError> {
        let corrupt = |reason: String| AutoLoadError::CorruptState { path: state.url_of(Self::PATH), reason };
        let found: Self = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
        if found.v != 1 {
            return Err(corrupt(format!("its format {} is unknown to this version, which knows 1", found.v)));
        }
        if found.landing != landing.url() || found.format != format {
            return Err(AutoLoadError::ForeignState {
                landing: landing.url().to_owned(),
                format: format.to_owned(),
                state: state.url().to_owned(),
                found_landing: found.landing,
                found_format: found.format,
            });
        }
        Ok(found.source)
    }
}
