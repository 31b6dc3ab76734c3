//! Delta SQL.
//!
//! ```text
//!   statement ─ Cursor ─▶ its head ─┬─ Delta's own: CREATE, ALTER, OPTIMIZE, VACUUM, RESTORE …     statements.rs, optimize.rs, run.rs
//!                                   ├─ what there is: SHOW, DESCRIBE, USE, DROP TABLE               catalog.rs, describe.rs
//!                                   ├─ DELETE, UPDATE, MERGE ─ the builders                        dml.rs
//!                                   └─ anything else ─ DataFusion
//!        └─ VERSION AS OF, table@v3, table_changes(), UPDATE SET * ─ rewritten first              travel.rs, changes.rs, stars.rs
//!           WITH … INSERT, SET s.x = …, DEFAULT                      ─ likewise                    with_clause.rs, assignments.rs, defaults.rs
//! ```
//! What goes wrong on the way is told of the statement as it was written: `mistakes.rs`.
//!
//! Words and their order are Spark's. Names of tables without quotes are lower case; names of columns regard no letter case, and are spelled as
//! they were declared (`spelling`). Quotes of names are `` ` `` or `"`.

mod alter_columns;
mod assignments;
mod catalog;
mod changes;
mod clone;
mod convert;
mod copy;
mod correlated;
mod create_text;
mod cursor;
mod data_types;
mod defaults;
mod describe;
mod dml;
mod file_metadata;
mod insert;
mod lake;
mod mistakes;
mod names;
mod optimize;
mod property_names;
mod run;
mod session;
mod show;
mod stars;
mod statements;
mod subqueries;
mod travel;
mod type_names;
mod upkeep;
mod with_clause;

pub(crate) use lake::Lake;

pub use dml::{StatementReport, delta_sql};
pub use session::{DeltaSession, session};
