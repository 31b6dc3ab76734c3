//! From a statement over streams to segments that stay resident, and operators that remember.
//!
//! See [`cut`] for how a plan is taken apart.

mod bounds;
pub(crate) mod cut;
mod deduplicate;
mod follow;
mod frame;
mod mark;
mod named;
pub(crate) mod refuse;
mod slide;
mod transform_with_state;
pub(crate) mod watermark;
mod watermark_clause;
mod window_fn;

pub(crate) use bounds::{Bound, bounds};
pub(crate) use deduplicate::DeduplicateNode;
pub(crate) use follow::follow_calls;
pub use frame::StreamFrame;
pub(crate) use mark::{delay_of, description_of};
pub(crate) use named::NamedNode;
pub(crate) use slide::unfold_windows;
pub(crate) use transform_with_state::TransformWithStateNode;
pub(crate) use watermark_clause::{Mistake, without_clauses};
pub(crate) use window_fn::{register, session_window_of, window_of};
pub use window_fn::{session_window, window, window_time};
