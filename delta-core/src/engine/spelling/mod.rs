//! Letter case: names are found without regard to it, and are spelled as they were declared.
//!
//! The engine reads a name without quotes as lower case, and finds it exactly. So the identifiers of a statement are written anew before
//! it is planned: each that names a column gets the spelling of the table, in quotes where it needs them. Nothing else of the statement changes.
//!
//! ```text
//!   statement ─ parsed ─ known ─▶ one spelling for each name ─▶ statement ─▶ planned ─▶ names of the result, as they are written
//!                          └─ tables, their columns and fields; aliases                                          statement.rs, known.rs
//!   expression ─ parsed ─▶ the columns that it is over ─▶ planned                                                expression.rs
//! ```

mod expression;
mod known;
mod paths;
mod statement;

pub(crate) use expression::expression;
pub(crate) use statement::plan;
