//! Delta Lake values and decisions, pure: actions, schemas, features, statistics, replay and conflict checks.

pub mod action;
pub mod commit;
pub mod deletion_vector;
mod error;
pub mod properties;
pub mod schema;

pub use error::{Access, DeletionVectorProblem, ProtocolError, Result};
