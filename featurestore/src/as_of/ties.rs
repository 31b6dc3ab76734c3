//! Rows of one key and one time: which of them answers.

use arrow_array::{ArrayRef, RecordBatch};
use arrow_row::{RowConverter, SortField};

use super::buckets::{Buckets, Event, Place};
use super::gather::gather;
use crate::error::{Attempt, Result};

/// Whether two rows have one key and one time.
pub(crate) fn has_ties(events: &Buckets<Event>) -> bool {
    events.items().windows(2).any(|pair| same(&pair[0], &pair[1]))
}

fn same(a: &Event, b: &Event) -> bool {
    a.key == b.key && a.at == b.at
}

/// Leaves one row for each key and time: the greatest by the feature columns, whose numbers are given in table order.
/// Gives how many rows stood back. Columns whose values have no order (maps) do not count.
pub(crate) fn settle(
    events: Buckets<Event>,
    batches: &[RecordBatch],
    features: &[usize],
    attempt: impl Fn() -> String,
) -> Result<(Buckets<Event>, u64)> {
    if !has_ties(&events) {
        return Ok((events, 0));
    }
    let keys = events.keys();
    let groups: Vec<&[Event]> = events.items().chunk_by(same).collect();
    let tied: Vec<Option<Place>> =
        groups.iter().filter(|group| group.len() > 1).flat_map(|group| group.iter().map(|event| Some(event.place))).collect();
    let mut columns: Vec<ArrayRef> = Vec::new();
    let mut order = Vec::new();
    for feature in features {
        let column = gather(batches, *feature, &tied, &attempt)?;
        let field = SortField::new(column.data_type().clone());
        if RowConverter::supports_fields(std::slice::from_ref(&field)) {
            columns.push(column);
            order.push(field);
        }
    }
    let rows = if columns.is_empty() {
        None
    } else {
        Some(RowConverter::new(order).and_then(|converter| converter.convert_columns(&columns)).attempt(&attempt)?)
    };
    let mut settled = Vec::with_capacity(groups.len());
    let (mut before, mut stood_back) = (0, 0);
    for group in groups {
        if let [only] = group {
            settled.push(*only);
            continue;
        }
        let greatest = rows.as_ref().and_then(|rows| (0..group.len()).max_by_key(|at| rows.row(before + at)));
        settled.push(group[greatest.unwrap_or(group.len() - 1)]);
        before += group.len();
        stood_back += group.len() as u64 - 1;
    }
    Ok((Buckets::new(settled, keys), stood_back))
}
