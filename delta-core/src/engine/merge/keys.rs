//! Which rows of the table can have a key of the source: a filter that is asked before rows are joined.
//!
//! For `t.a = s.x AND t.b = s.y` the keys are the pairs (x, y). Their hashes set bits of a table with sixteen bits a key; a row of the
//! table whose bits are not all set has no partner. About one row in seventy passes without one, and the join finds that out.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::error::Result;

/// Bits for each key.
const BITS_PER_KEY: usize = 16;
/// The most bits: two mebibytes that a processor's cache still holds.
const MOST_BITS: usize = 1 << 24;

/// Two columns that must be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Equality {
    /// The place of the table's column.
    pub(crate) target: usize,
    /// The place of the source's column.
    pub(crate) source: usize,
}

/// The keys of the source, as bits.
#[derive(Debug)]
pub(crate) struct KeyFilter {
    /// Where the columns of the key are in a batch of the table.
    columns: Vec<usize>,
    bits: Vec<u64>,
    /// One less than the number of bits, which is a power of two.
    mask: u64,
    state: RandomState,
}

impl KeyFilter {
    /// An empty filter for about so many keys; `columns` are the places of the key in batches of the table.
    pub(crate) fn new(columns: Vec<usize>, keys: usize) -> Self {
        let bits = keys.saturating_mul(BITS_PER_KEY).clamp(64, MOST_BITS).next_power_of_two();
        Self { columns, bits: vec![0; bits / 64], mask: bits as u64 - 1, state: RandomState::default() }
    }

    /// Adds the keys of some rows, whose columns have the types of the table.
    pub(crate) fn add(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        let mut hashes = vec![0; rows];
        create_hashes(keys, &self.state, &mut hashes)?;
        for hash in hashes {
            for bit in bits(hash, self.mask) {
                self.bits[word(bit)] |= 1 << (bit % 64);
            }
        }
        Ok(())
    }

    /// The rows of the table that can have one of the keys.
    pub(crate) fn keep(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let keys: Vec<ArrayRef> = self.columns.iter().map(|at| Arc::clone(batch.column(*at))).collect();
        let mut hashes = vec![0; batch.num_rows()];
        create_hashes(&keys, &self.state, &mut hashes)?;
        let may = |hash: &u64| bits(*hash, self.mask).into_iter().all(|bit| self.bits[word(bit)] >> (bit % 64) & 1 == 1);
        let kept: BooleanArray = hashes.iter().map(|hash| Some(may(hash))).collect();
        if kept.true_count() == kept.len() {
            return Ok(batch.clone());
        }
        Ok(filter_record_batch(batch, &kept)?)
    }
}

/// The bits of a key.
fn bits(hash: u64, mask: u64) -> [u64; 2] {
    [hash & mask, (hash.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24) & mask]
}

fn word(bit: u64) -> usize {
    usize::try_from(bit / 64).unwrap_or(0)
}

/// The equalities that a filter can use: of types whose equal values are the same bits once the source's are cast.
pub(crate) fn usable(equalities: &[Equality], table: &SchemaRef, source: &SchemaRef) -> Vec<Equality> {
    let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let fits = |equality: &&Equality| {
        let (target, source) = (table.field(equality.target).data_type(), source.field(equality.source).data_type());
        let exact = !target.is_nested() && !target.is_floating();
        exact && (target == source || (target.is_integer() && source.is_integer()) || (text(target) && text(source)))
    };
    equalities.iter().filter(fits).copied().collect()
}

/// A column of the source as the table would have it. A value that does not fit there equals none, and becomes null.
pub(crate) fn as_target(column: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    if column.data_type() == target {
        return Ok(Arc::clone(column));
    }
    Ok(cast_with_options(column, target, &CastOptions { safe: true, ..CastOptions::default() })?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use datafusion::arrow::array::{AsArray, Int64Array, StringArray};
    use datafusion::arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn every_key_passes_and_few_others_do() {
        let columns = |from: i64, to: i64| -> [ArrayRef; 2] {
            let ids = Arc::new(Int64Array::from_iter((from..to).map(|id| (id % 97 != 0).then_some(id))));
            [ids, Arc::new(StringArray::from_iter_values((from..to).map(|id| format!("k{}", id % 5))))]
        };
        let mut filter = KeyFilter::new(vec![0, 1], 2000);
        filter.add(&columns(0, 1000), 1000).unwrap();
        filter.add(&columns(5000, 6000), 1000).unwrap();
        let [ids, names] = columns(0, 100_000);
        let batch = RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("name", names, true)]).unwrap();
        let kept = filter.keep(&batch).unwrap();
        let kept: Vec<i64> = kept.column(0).as_primitive::<Int64Type>().iter().flatten().collect();
        let wanted = |id: &i64| (*id < 1000 || (5000..6000).contains(id)) && id % 97 != 0;
        assert_eq!(kept.iter().filter(|id| wanted(id)).count(), (0..100_000).filter(wanted).count());
        assert!(kept.iter().filter(|id| !wanted(id)).count() < 5000, "{} rows pass", kept.len());
    }
}
