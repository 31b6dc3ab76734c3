//! Reading rows.
//!
//! ```text
//!   files ─ partition values, statistics ─▶ files that can match ─ footer ─▶ row groups and pages that can match
//!         ─ deletion vector ─▶ row selection ─▶ batches ─ conform, partition columns ─▶ the table's columns
//! ```

mod columns;
mod file;
mod file_columns;
mod footer;
mod object;
mod open;
mod pages;
mod selection;
mod stream;
mod vector;

pub(crate) use columns::{CHANGE_TYPE, Columns};
pub use file::DataFile;
pub use file_columns::FileColumns;
pub(crate) use footer::check as check_footer;
pub use object::ObjectReader;
pub(crate) use object::{below_table, locate};
pub use open::{DeletedRows, FileRead};
pub(crate) use open::{Rows, failed as read_error};
pub(crate) use stream::{Piece, read_each, read_file, read_pieces, scan, source};
pub use vector::FileVector;
pub(crate) use vector::load_vector;
