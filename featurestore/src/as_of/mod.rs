//! The point-in-time join: for each label the newest feature row that is not from its future.
//!
//! # Definitions
//! A feature row *e* has a key, a time *t(e)* and values; it holds from *t(e)* on, until the next row of its key. A
//! label *l* has a key and a time. The match of *l* is the row *e* of its key with the greatest *t(e) ≤ t(l)*; none,
//! when there is no such row or when *t(l) − t(e)* is more than the greatest age allowed.
//!
//! | case | match |
//! | --- | --- |
//! | *t(e) = t(l)* | yes ([`AsOf::AtOrBefore`](crate::AsOf)), no (`Before`) |
//! | age exactly the greatest allowed | yes; a greatest age of zero leaves equal times only |
//! | only later rows | none: the label stays, its features are null |
//! | two rows of one key and time | the one whose feature values are greater, compared column by column in table order, null lowest |
//! | a null in the newest row | null: values of older rows do not shine through |
//! | null in the key, of a label or of a row | none |
//! | null time | the label stays without match; the row is ignored |
//!
//! The rule for two rows of one time depends on what the table holds, never on how its files are ordered, so that
//! training and online lookup agree.
//!
//! # Algorithm
//! 1. Keys of all labels become bytes (`arrow-row`) and then dense numbers. Feature rows of other keys are dropped
//!    as they stream by, and so are rows after the last label or before the first one's greatest age.
//! 2. Labels and rows are put into one bucket per key (a counting sort) and sorted by time within it, unless they are
//!    sorted already, as tables that grow with time are.
//! 3. One pass over each pair of buckets finds the matches, and the columns are gathered in label order.
//!
//! Two worked examples, times in hours, rows of one key at 1, 4, 4 and 9:
//! - label at 4: both rows at 4 qualify, the greater one answers. With `Before` the row at 1 does.
//! - label at 8 with a greatest age of 3: the row at 4 is 4 hours old: none.
//!
//! **Cost**: time O((n + m) + k log k) over sorted input, O((n + m) log(n + m)) otherwise, for n labels and m rows.
//! Memory: 16 bytes a label, 24 bytes a row and its feature columns, for rows whose key occurs in the labels.
//!
//! Related: the as-of joins of kdb+ (`aj`), DuckDB and Polars, which sort the whole feature side.

mod buckets;
mod gather;
mod merge;
mod ties;

pub(crate) use buckets::{Buckets, Event, Place, Probe};
pub(crate) use gather::{gather, gather_batch};
pub(crate) use merge::{Rule, latest};
pub(crate) use ties::{has_ties, settle};
