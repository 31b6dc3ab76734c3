//! Keeping the rules of a table when rows are written.
//!
//! ```text
//!   new rows ─▶ defaults ─▶ identity ─▶ generated columns ─▶ conditions ─▶ the writer
//!                 where a column   where there is   compared where    each true,
//!                 is missing       no value         there is a value  or no row is written
//! ```

mod required;
mod rows;

pub(crate) use required::first_null;
pub(crate) use rows::{Enforcer, cast_error, shown_row};
