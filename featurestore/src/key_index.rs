//! Composite keys as bytes, and a hash table over them.

use std::hash::{BuildHasher, RandomState};

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{DataType, Schema};

use crate::conform::comparable_key;
use crate::error::{Attempt, FeatureError, Result, names};

/// Turns key columns into bytes that are equal exactly when the keys are.
#[derive(Debug)]
pub(crate) struct KeyEncoder {
    types: Vec<DataType>,
    converter: RowConverter,
}

/// The keys of a batch.
pub(crate) struct EncodedKeys {
    rows: Rows,
    columns: Vec<ArrayRef>,
    nullable: bool,
}

impl KeyEncoder {
    /// An encoder of keys with the types of `schema`.
    pub(crate) fn new(schema: &Schema, attempt: impl FnOnce() -> String) -> Result<Self> {
        let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect()).attempt(attempt)?;
        Ok(Self { types, converter })
    }

    /// The keys in the columns `from` of a batch, in that order.
    ///
    /// **Errors**: `NoColumn`; `ColumnType` when a column can have no value in common with its key.
    pub(crate) fn encode(
        &self,
        batch: &RecordBatch,
        from: impl IntoIterator<Item = impl AsRef<str>>,
        attempt: impl Fn() -> String,
    ) -> Result<EncodedKeys> {
        let mut columns = Vec::with_capacity(self.types.len());
        for (column, wanted) in from.into_iter().zip(&self.types) {
            let column = column.as_ref();
            let found = batch.column_by_name(column).ok_or_else(|| FeatureError::NoColumn {
                attempt: attempt(),
                column: column.to_owned(),
                found: names(batch.schema_ref()),
            })?;
            let key = comparable_key(found, wanted).attempt(&attempt)?.ok_or_else(|| FeatureError::ColumnType {
                attempt: attempt(),
                column: column.to_owned(),
                expected: wanted.clone(),
                found: found.data_type().clone(),
            })?;
            columns.push(key);
        }
        let rows = self.converter.convert_columns(&columns).attempt(&attempt)?;
        let nullable = columns.iter().any(|column| column.null_count() > 0);
        Ok(EncodedKeys { rows, columns, nullable })
    }
}

impl EncodedKeys {
    /// The key of a row; `None` when a part of it is null: it is nobody's.
    pub(crate) fn key(&self, row: usize) -> Option<&[u8]> {
        if self.nullable && self.columns.iter().any(|column| column.is_null(row)) {
            return None;
        }
        Some(self.rows.row(row).data())
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.num_rows()
    }
}

/// Distinct keys, numbered in the order they came.
///
/// Open addressing over `(hash, number)`; the bytes of all keys lie in one arena, so that a million keys are three
/// allocations. Numbers do not depend on the hash function, so neither does any result.
#[derive(Debug, Default)]
pub(crate) struct KeyIndex {
    arena: Vec<u8>,
    ends: Vec<usize>,
    /// `(upper half of the hash, number)`; a power of two of them, `EMPTY` where there is none.
    slots: Vec<(u32, u32)>,
    hash: RandomState,
}

const EMPTY: u32 = u32::MAX;

impl KeyIndex {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.arena.capacity() + self.ends.capacity() * size_of::<usize>() + self.slots.capacity() * size_of::<(u32, u32)>()
    }

    fn bytes(&self, number: u32) -> &[u8] {
        let at = number as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.arena[start..self.ends[at]]
    }

    fn hash_of(&self, key: &[u8]) -> u32 {
        // The upper half: the lower bits of some hash functions are weaker.
        u32::try_from(self.hash.hash_one(key) >> 32).unwrap_or(0)
    }

    /// The slot of a key, or the empty one where it belongs. There is always an empty one.
    fn slot(&self, hash: u32, key: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let (found, number) = self.slots[at];
            if number == EMPTY || (found == hash && self.bytes(number) == key) {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let (_, number) = self.slots[self.slot(self.hash_of(key), key)];
        (number != EMPTY).then_some(number)
    }

    /// The number of a key, which is new if it was not there.
    pub(crate) fn insert(&mut self, key: &[u8]) -> u32 {
        if (self.ends.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let hash = self.hash_of(key);
        let slot = self.slot(hash, key);
        let (_, number) = self.slots[slot];
        if number != EMPTY {
            return number;
        }
        // Callers count their rows in u32 as well, and there is a row for each key.
        let number = u32::try_from(self.ends.len()).unwrap_or(EMPTY - 1);
        self.arena.extend_from_slice(key);
        self.ends.push(self.arena.len());
        self.slots[slot] = (hash, number);
        number
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(16);
        let old = std::mem::replace(&mut self.slots, vec![(0, EMPTY); size]);
        for (hash, number) in old.into_iter().filter(|(_, number)| *number != EMPTY) {
            let mut at = hash as usize & (size - 1);
            while self.slots[at].1 != EMPTY {
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = (hash, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn an_index_agrees_with_a_hash_map(keys in prop::collection::vec(prop::collection::vec(0_u8..4, 0..4), 0..400)) {
            let (mut index, mut model) = (KeyIndex::default(), HashMap::new());
            for key in &keys {
                prop_assert_eq!(index.get(key), model.get(key).copied());
                let next = u32::try_from(model.len()).unwrap();
                let expected = *model.entry(key.clone()).or_insert(next);
                prop_assert_eq!(index.insert(key), expected);
            }
            prop_assert_eq!(index.len(), model.len());
            for (key, number) in &model {
                prop_assert_eq!(index.get(key), Some(*number));
            }
        }
    }
}
