//! Endpoints over HTTP, as MLflow's scoring server and Databricks model serving speak it.

mod answer;
mod router;
mod server;

pub use router::{HttpSettings, MODEL_NAME_HEADER, MODEL_VERSION_HEADER, router, router_of};
pub use server::{Listening, bind, serve};
