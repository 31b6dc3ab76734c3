//! Models: trained here, written to a folder as MLflow does, and loaded from one.

mod encoder;
mod files;
mod forest;
mod linfa_model;
mod loader;
mod logistic;
mod mlmodel;
#[cfg(feature = "onnx")]
mod onnx;
mod training;
mod yaml;

pub use encoder::{EncoderSettings, FeatureEncoder, OptionalColumns};
pub use files::{MLMODEL_FILE, ModelFiles, ModelInfo};
pub use forest::ForestSettings;
pub use linfa_model::{LinfaModel, ModelKind};
pub use loader::{ModelLoader, StorageLoader};
pub use logistic::LogisticSettings;
pub use mlmodel::Mlmodel;
#[cfg(feature = "onnx")]
pub use onnx::OnnxModel;
