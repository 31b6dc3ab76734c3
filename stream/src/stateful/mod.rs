//! State of one's own: a processor that is called once for each key of an epoch, and keeps what it likes.
//!
//! ```text
//!   rows of the epoch ─▶ grouped by key ─▶ handle_input_rows(key, rows) ─┐
//!                  timers that are due ─▶ handle_expired_timer(key, time) ┴▶ emitted rows
//!                                                   │ ▲
//!                            value, list, map states, timers: a store each
//! ```
//! A variable is a store of the operator, as those of every other operator: rows of Arrow columns that begin with the key. Those of
//! the keys at hand are gathered by one look-up when the first key asks for them; what the calls change is written back in one batch. So
//! the cost of a key is its call, not a request.
//!
//! **Source**: Spark, `transformWithState`.

mod emitted;
mod error;
mod groups;
mod handle;
mod native;
mod processor;
mod row_log;
mod variable;
mod variables;

pub(crate) use emitted::Emitted;
pub use error::StateError;
pub use groups::StateKey;
pub(crate) use groups::{group, number};
pub(crate) use handle::Times;
pub use handle::{ListState, MapState, StatefulProcessorHandle, ValueState};
pub use native::FromScalar;
pub use processor::{StatefulProcessor, TimeMode};
pub(crate) use variable::Variable;
pub use variables::{StateVariable, StateVariables};
