//! The files of a model folder, in memory: what is uploaded to a run, and what is downloaded to serve.

use std::collections::BTreeMap;
use std::sync::Arc;

use boathouse_base::{Env, SharedModel, Signature};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{LinfaModel, Mlmodel};
use crate::error::{Result, ServingError};
use boathouse_base::Model as _;

/// The name of the file that describes a model folder.
pub const MLMODEL_FILE: &str = "MLmodel";

const LINFA: &str = "linfa";
const ONNX: &str = "onnx";

/// The flavors that this build loads, the first choice first.
const KNOWN: &[&str] = if cfg!(feature = "onnx") { &[LINFA, ONNX] } else { &[LINFA] };

/// Facts that go into the `MLmodel` of a new folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelInfo {
    /// The run that made the model.
    pub run_id: Option<String>,
    /// The id of the model.
    pub model_uuid: Option<String>,
    /// When it was made, in microseconds since the Unix epoch (UTC).
    pub created_us: Option<i64>,
}

impl ModelInfo {
    /// A new id and the time of `env`.
    pub fn new(env: &Env) -> Self {
        Self { run_id: None, model_uuid: Some(env.hex_id()), created_us: Some(env.now_us()) }
    }

    /// Names the run that made the model.
    #[must_use]
    pub fn with_run(mut self, run_id: impl Into<String>) -> Self {
        self.run_id = Some(run_id.into());
        self
    }
}

/// A model folder as MLflow lays it out: `MLmodel`, and the files that it names.
///
/// ```text
///   MLmodel        flavors, signature, run, time
///   model.json     flavor linfa: encoder and classifier
///   model.onnx     flavor onnx: the graph
/// ```
///
/// A folder has no effect on anything outside of itself: it can be copied, and logged as artifacts of a run
/// file by file.
///
/// **Source**: MLflow, "MLflow Model storage format".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelFiles {
    files: BTreeMap<String, Bytes>,
}

impl ModelFiles {
    /// The folder of a linfa model.
    ///
    /// **Errors**: [`ServingError::ModelPayload`] when a weight is not finite.
    pub fn linfa(model: &LinfaModel, info: &ModelInfo) -> Result<Self> {
        let facts = Map::from_iter([
            ("data".to_owned(), Value::from("model.json")),
            ("kind".to_owned(), Value::from(model.kind().as_str())),
        ]);
        Self::new(LINFA, facts, "model.json", Bytes::from(model.to_json()?), Some(model.signature().clone()), info)
    }

    /// The folder of an ONNX graph. Without a signature the columns are those of the graph.
    ///
    /// **Errors**: [`ServingError::SignatureType`] for a column type that MLflow has no word for.
    pub fn onnx(graph: Bytes, signature: Option<Signature>, info: &ModelInfo) -> Result<Self> {
        let facts = Map::from_iter([("data".to_owned(), Value::from("model.onnx"))]);
        Self::new(ONNX, facts, "model.onnx", graph, signature, info)
    }

    fn new(
        flavor: &str,
        facts: Map<String, Value>,
        file: &str,
        payload: Bytes,
        signature: Option<Signature>,
        info: &ModelInfo,
    ) -> Result<Self> {
        let mlmodel = Mlmodel {
            flavors: BTreeMap::from([(flavor.to_owned(), facts)]),
            signature,
            model_uuid: info.model_uuid.clone(),
            run_id: info.run_id.clone(),
            created_us: info.created_us,
        };
        let mlmodel = Bytes::from(mlmodel.to_text()?);
        Ok(Self { files: BTreeMap::from([(MLMODEL_FILE.to_owned(), mlmodel), (file.to_owned(), payload)]) })
    }

    /// A folder with these files, by their path within it.
    pub fn from_files(files: impl IntoIterator<Item = (String, Bytes)>) -> Self {
        Self { files: files.into_iter().collect() }
    }

    /// The files, by their path within the folder.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.files.iter().map(|(path, bytes)| (path.as_str(), bytes))
    }

    /// One file.
    ///
    /// **Errors**: [`ServingError::ModelFileMissing`].
    pub fn file(&self, path: &str) -> Result<&Bytes> {
        self.files
            .get(path)
            .ok_or_else(|| ServingError::ModelFileMissing { file: path.to_owned(), found: self.files.keys().cloned().collect() })
    }

    /// What `MLmodel` says.
    ///
    /// **Errors**: those of [`Mlmodel::parse`].
    pub fn mlmodel(&self) -> Result<Mlmodel> {
        let bytes = self.file(MLMODEL_FILE)?;
        let text =
            std::str::from_utf8(bytes).map_err(|_| ServingError::MlmodelSyntax { line: 1, problem: "it is not UTF-8 text" })?;
        Mlmodel::parse(text)
    }

    /// The model.
    ///
    /// **Errors**: [`ServingError::Flavor`] when this build loads none of its flavors; of kind `Corrupt`
    /// when a file is not what it should be.
    pub fn load(&self) -> Result<SharedModel> {
        let mlmodel = self.mlmodel()?;
        let (flavor, data) = payload(&mlmodel)?;
        let bytes = self.file(&data)?;
        match flavor {
            #[cfg(feature = "onnx")]
            ONNX => Ok(Arc::new(super::OnnxModel::load(bytes, mlmodel.signature)?)),
            _ => {
                let text = std::str::from_utf8(bytes)
                    .map_err(|_| ServingError::ModelContradiction { problem: format!("{data} is not UTF-8 text") })?;
                Ok(Arc::new(LinfaModel::from_json(text)?))
            }
        }
    }
}

/// The flavor to load, and the file that holds it.
pub(super) fn payload(mlmodel: &Mlmodel) -> Result<(&'static str, String)> {
    let flavor = KNOWN.iter().find(|known| mlmodel.flavors.contains_key(**known)).ok_or_else(|| ServingError::Flavor {
        found: mlmodel.flavors.keys().cloned().collect(),
        known: KNOWN.to_vec(),
        hint: if mlmodel.flavors.contains_key(ONNX) {
            "; build with the feature `onnx`"
        } else {
            "; export the model to ONNX beside its other flavors"
        },
    })?;
    let data = mlmodel.flavors.get(*flavor).and_then(|facts| facts.get("data")).and_then(Value::as_str);
    let data = data
        // A model folder names files within itself, never elsewhere.
        .filter(|path| !path.is_empty() && !path.starts_with('/') && path.split('/').all(|part| part != ".."))
        .ok_or_else(|| ServingError::MlmodelKey {
            key: format!("flavors.{flavor}.data"),
            expected: "the path of a file in the folder",
        })?;
    Ok((flavor, data.to_owned()))
}
