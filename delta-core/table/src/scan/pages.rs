//! Pages that can match.
//!
//! The page index of a file has least and greatest values of each page of a column. Pages of different columns end at different rows, so
//! a row group is cut where a page of any column of the predicate begins, and each piece is asked whether it can match:
//!
//! ```text
//!   a   |  1..40   |   41..90    |       a > 50 AND b < 3
//!   b   |     0..2      |  7..9  |
//!       |  no      | yes| no     |
//! ```

use std::collections::BTreeSet;
use std::ops::Range;

use boathouse_base::{Bounds, ColumnBounds, Predicate, Value};
use parquet::arrow::arrow_reader::RowSelection;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::statistics::Statistics;

use super::selection::{GroupColumns, Source};
use crate::layout::Layout;
use crate::write::statistics::bounds;

/// The rows of these row groups that can match; nothing when that is all of them, or not known.
pub(crate) fn matching(
    metadata: &ParquetMetaData,
    groups: &[usize],
    predicate: &Predicate,
    layout: &Layout,
    values: &[Value],
) -> Option<RowSelection> {
    let (columns, offsets) = (metadata.column_index()?, metadata.offset_index()?);
    let known = GroupColumns::new(metadata, predicate, layout, values);
    let leaves: Vec<usize> = known.leaves().collect();
    if leaves.is_empty() {
        return None;
    }
    let (mut kept, mut before, mut skipped): (Vec<Range<usize>>, usize, bool) = (Vec::new(), 0, false);
    for at in groups {
        let rows = usize::try_from(metadata.row_group(*at).num_rows()).ok()?;
        let (columns, offsets) = (columns.get(*at)?, offsets.get(*at)?);
        let mut cuts = BTreeSet::from([0, rows]);
        for leaf in &leaves {
            let starts = offsets.get(*leaf)?.page_locations().iter().map(first_row);
            cuts.extend(starts.filter(|start| *start < rows));
        }
        let cuts: Vec<usize> = cuts.into_iter().collect();
        for piece in cuts.windows(2) {
            let &[start, end] = piece else { continue };
            let page = |leaf: usize| {
                let pages = offsets.get(leaf)?.page_locations();
                Some((columns.get(leaf)?, pages.partition_point(|page| first_row(page) <= start).checked_sub(1)?))
            };
            if predicate.may_match(&Piece { known: &known, rows: end - start, page: &page }) {
                kept.push(before + start..before + end);
            } else {
                skipped = true;
            }
        }
        before += rows;
    }
    skipped.then(|| RowSelection::from_consecutive_ranges(kept.into_iter(), before))
}

fn first_row(page: &PageLocation) -> usize {
    usize::try_from(page.first_row_index).unwrap_or(usize::MAX)
}

/// Rows that lie in one page of each column.
struct Piece<'a, F> {
    known: &'a GroupColumns,
    rows: usize,
    /// The page of a column, by the place of its leaf.
    page: &'a F,
}

impl<'a, F: Fn(usize) -> Option<(&'a ColumnIndexMetaData, usize)>> Bounds for Piece<'a, F> {
    fn row_count(&self) -> Option<u64> {
        Some(self.rows as u64)
    }

    fn column(&self, column: &str) -> ColumnBounds {
        let all_null = || ColumnBounds { null_count: Some(self.rows as u64), ..ColumnBounds::default() };
        match self.known.source(column) {
            None => ColumnBounds::default(),
            Some(Source::Missing) | Some(Source::Partition(Value::Null)) => all_null(),
            Some(Source::Partition(value)) => {
                ColumnBounds { min: Some(value.clone()), max: Some(value.clone()), null_count: Some(0) }
            }
            Some(Source::Leaf(leaf, primitive)) => {
                let Some((index, page)) = (self.page)(*leaf) else { return ColumnBounds::default() };
                let Some(statistics) = statistics(index, page) else { return ColumnBounds::default() };
                if index.is_null_page(page) {
                    return all_null();
                }
                let (min, max) = bounds(&statistics, *primitive);
                // The page may be longer than this piece: how many nulls are here is known when there are none.
                let null_count = index.null_count(page).filter(|nulls| *nulls == 0).map(|_| 0);
                ColumnBounds { min, max, null_count }
            }
        }
    }
}

/// The statistics of a page in the shape of those of a column chunk.
fn statistics(index: &ColumnIndexMetaData, page: usize) -> Option<Statistics> {
    if usize::try_from(index_pages(index)).is_ok_and(|pages| page >= pages) {
        return None;
    }
    Some(match index {
        ColumnIndexMetaData::NONE | ColumnIndexMetaData::INT96(_) => return None,
        ColumnIndexMetaData::BOOLEAN(i) => {
            Statistics::boolean(i.min_value(page).copied(), i.max_value(page).copied(), None, None, false)
        }
        ColumnIndexMetaData::INT32(i) => {
            Statistics::int32(i.min_value(page).copied(), i.max_value(page).copied(), None, None, false)
        }
        ColumnIndexMetaData::INT64(i) => {
            Statistics::int64(i.min_value(page).copied(), i.max_value(page).copied(), None, None, false)
        }
        ColumnIndexMetaData::FLOAT(i) => {
            Statistics::float(i.min_value(page).copied(), i.max_value(page).copied(), None, None, false)
        }
        ColumnIndexMetaData::DOUBLE(i) => {
            Statistics::double(i.min_value(page).copied(), i.max_value(page).copied(), None, None, false)
        }
        ColumnIndexMetaData::BYTE_ARRAY(i) => {
            let value = |bytes: Option<&[u8]>| bytes.map(|bytes| ByteArray::from(bytes.to_vec()));
            Statistics::byte_array(value(i.min_value(page)), value(i.max_value(page)), None, None, false)
        }
        ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(i) => {
            let value = |bytes: Option<&[u8]>| bytes.map(|bytes| FixedLenByteArray::from(bytes.to_vec()));
            Statistics::fixed_len_byte_array(value(i.min_value(page)), value(i.max_value(page)), None, None, false)
        }
    })
}

fn index_pages(index: &ColumnIndexMetaData) -> u64 {
    match index {
        ColumnIndexMetaData::NONE => 0,
        index => index.num_pages(),
    }
}
