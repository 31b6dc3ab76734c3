//! From the body of a request to a batch, and from a batch to the body of a reply.

mod column;
mod csv;
mod json;
mod reply;

pub use csv::rows_from_csv;
pub use json::rows_from_json;
pub use reply::predictions_to_json;
