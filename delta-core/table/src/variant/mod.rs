//! Variants of files: whole, or shredded into typed columns. They are written whole, after a look at every byte that says where others
//! are.
//!
//! ```text
//!   whole:     {metadata, value}                          as it is read
//!   shredded:  {metadata, value?, typed_value?}  ─ row by row ─▶ {metadata, value}
//!
//!   metadata   the names of all fields: a field of an object is a number in here
//!   value      one value, with its type in its first byte
//!   typed_value: a list    each element again {value?, typed_value?}
//!                a struct  each field again {value?, typed_value?}; fields that are not here stand in `value`
//!                else      the value itself
//! ```
//! Neither `value` nor `typed_value`: a field that the object does not have; anywhere else it is the null of variants.
//!
//! **Source**: Parquet, "Variant Binary Encoding" and "Variant Shredding"; Delta protocol, "Variant Data Type".

mod check;
mod shredded;
mod value;

pub(crate) use check::check;
pub(crate) use shredded::{is_shredded, whole};
