//! How an endpoint is put together.

use std::sync::Arc;
use std::time::Duration;

use boathouse_base::{Env, FeatureLookup, ModelCatalog, SharedModel};

use super::handle::{Endpoint, Followed, Source};
use super::lookup::LookupSpec;
use crate::error::{Result, ServingError};
use crate::model::{ModelLoader, StorageLoader};

/// How an endpoint learns that its reference names another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polling {
    /// Asks the catalog this often, in the background.
    Every(Duration),
    /// Only when [`Endpoint::refresh`] or [`Endpoint::notify`] is called.
    ByHand,
}

impl Default for Polling {
    /// Every five seconds.
    fn default() -> Self {
        Self::Every(Duration::from_secs(5))
    }
}

/// Whether an endpoint may open without a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirstModel {
    /// Opening fails when there is none that can be loaded.
    #[default]
    Required,
    /// The endpoint opens, answers 503, and takes the first version that loads.
    Awaited,
}

/// Puts an [`Endpoint`] together. `open` does the work.
#[derive(Debug)]
#[must_use = "a builder does nothing until `open`"]
pub struct EndpointBuilder {
    name: String,
    source: Option<Unopened>,
    loader: Option<Arc<dyn ModelLoader>>,
    lookups: Vec<LookupSpec>,
    polling: Polling,
    first: FirstModel,
    env: Option<Env>,
}

#[derive(Debug)]
enum Unopened {
    Follow(String, Arc<dyn ModelCatalog>),
    Fixed(String, u64, SharedModel),
}

impl EndpointBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            source: None,
            loader: None,
            lookups: Vec::new(),
            polling: Polling::default(),
            first: FirstModel::default(),
            env: None,
        }
    }

    /// Serves the version that `reference` names now and later: `models:/late/Production`, `models:/late@champion`.
    pub fn follow(mut self, reference: impl Into<String>, catalog: Arc<dyn ModelCatalog>) -> Self {
        self.source = Some(Unopened::Follow(reference.into(), catalog));
        self
    }

    /// Serves this model, always.
    pub fn model(mut self, name: impl Into<String>, version: u64, model: SharedModel) -> Self {
        self.source = Some(Unopened::Fixed(name.into(), version, model));
        self
    }

    /// How model folders are loaded; by URL through storage unless this is called.
    pub fn with_loader(mut self, loader: Arc<dyn ModelLoader>) -> Self {
        self.loader = Some(loader);
        self
    }

    /// Finds features by key: a request gives the keys, and the features that the model takes come from
    /// `table`. `keys` names the request columns that feed the table's keys, in the table's order; empty
    /// means columns of the same names.
    ///
    /// A feature that a lookup gives is not taken from the request.
    pub fn feature_lookup(mut self, source: Arc<dyn FeatureLookup>, table: impl Into<String>, keys: &[&str]) -> Self {
        self.lookups.push(LookupSpec { source, table: table.into(), keys: keys.iter().map(|k| (*k).to_owned()).collect() });
        self
    }

    /// How the endpoint learns of another version.
    pub fn polling(mut self, polling: Polling) -> Self {
        self.polling = polling;
        self
    }

    /// Whether it may open without a model.
    pub fn first_model(mut self, first: FirstModel) -> Self {
        self.first = first;
        self
    }

    /// Where time comes from; the system's clock unless this is called.
    pub fn env(mut self, env: Env) -> Self {
        self.env = Some(env);
        self
    }

    /// Loads the model and starts to follow it. Needs a tokio runtime.
    ///
    /// **Errors**: [`ServingError::EndpointSetting`] without a model to serve; [`ServingError::Follow`], of
    /// the kind of its cause, when the reference is not one, names no version, or names one that cannot
    /// be loaded; with [`FirstModel::Awaited`] only the first of these.
    pub async fn open(self) -> Result<Endpoint> {
        let Self { name, source, loader, lookups, polling, first, env } = self;
        let env = env.unwrap_or_else(boathouse_storage::system_env);
        let source = match source {
            None => {
                return Err(ServingError::EndpointSetting { endpoint: name, missing: "the model (call `follow` or `model`)" });
            }
            Some(Unopened::Fixed(model_name, version, model)) => Source::Fixed { name: model_name, version, model },
            Some(Unopened::Follow(text, catalog)) => {
                let reference = text.parse().map_err(|error: boathouse_base::InvalidModelReference| ServingError::Follow {
                    endpoint: name.clone(),
                    reference: text.clone(),
                    source: error.into(),
                })?;
                let loader = loader.unwrap_or_else(|| Arc::new(StorageLoader::default()));
                Source::Followed(Followed { reference, catalog, loader })
            }
        };
        let polling = match source {
            Source::Fixed { .. } => Polling::ByHand,
            Source::Followed(_) => polling,
        };
        let endpoint = Endpoint::new(name, source, lookups, env);
        match endpoint.refresh().await {
            Ok(_) => {}
            Err(error) if first == FirstModel::Required => return Err(error),
            Err(error) => tracing::warn!(endpoint = endpoint.name(), %error, "serving.open: no model yet"),
        }
        endpoint.start_following(polling);
        Ok(endpoint)
    }
}
