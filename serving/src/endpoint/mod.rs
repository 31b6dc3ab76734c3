//! Endpoints: a model that is followed, swapped without a pause, and asked.

mod builder;
mod follow;
mod handle;
mod lookup;
mod scorer;

pub use builder::{EndpointBuilder, FirstModel, Polling};
pub use handle::{Endpoint, EndpointStatus, Refreshed};
pub use scorer::Scorer;
