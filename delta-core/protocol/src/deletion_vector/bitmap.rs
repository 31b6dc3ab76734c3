//! The set of deleted rows, and its bytes.

use std::ops::Range;

use roaring::RoaringTreemap;

use crate::error::DeletionVectorProblem;

/// The number before the bitmap: "this is a 64-bit Roaring bitmap in the portable form".
const MAGIC: u32 = 1_681_511_377;

/// Row numbers of one data file, from 0, that are deleted.
///
/// **Source**: Delta protocol, "Deletion Vector Format".
///
/// # Example
/// ```
/// use boathouse_delta_protocol::deletion_vector::DeletionVector;
///
/// let vector: DeletionVector = [1, 2, 5].into_iter().collect();
/// assert!(vector.contains(5));
/// // What a reader of 7 rows selects.
/// assert_eq!(vector.kept(0..7).collect::<Vec<_>>(), [0..1, 3..5, 6..7]);
/// assert_eq!(DeletionVector::decode(&vector.encode())?, vector);
/// # Ok::<_, boathouse_delta_protocol::DeletionVectorProblem>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeletionVector(RoaringTreemap);

impl DeletionVector {
    /// Deletes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the magic number and the bitmap.
    ///
    /// **Errors**: says what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DeletionVectorProblem> {
        let (magic, mut bitmap) =
            bytes.split_first_chunk::<4>().ok_or(DeletionVectorProblem::Truncated { found: bytes.len() })?;
        let found = u32::from_le_bytes(*magic);
        if found != MAGIC {
            return Err(DeletionVectorProblem::Magic { found });
        }
        let rows = RoaringTreemap::deserialize_from(&mut bitmap)
            .map_err(|error| DeletionVectorProblem::Bitmap { found: error.to_string() })?;
        if let Some(row) = rows.max().filter(|row| *row > i64::MAX as u64) {
            return Err(DeletionVectorProblem::RowNumber { row });
        }
        Ok(Self(rows))
    }

    /// Writes the magic number and the bitmap.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 + self.0.serialized_size());
        bytes.extend_from_slice(&MAGIC.to_le_bytes());
        #[expect(clippy::expect_used, reason = "a vector of bytes takes every write")]
        self.0.serialize_into(&mut bytes).expect("a vector of bytes takes every write");
        bytes
    }

    /// How many bytes [`encode`](Self::encode) writes.
    pub fn encoded_len(&self) -> usize {
        4 + self.0.serialized_size()
    }

    /// How many rows are deleted.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether no row is deleted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this row is deleted.
    pub fn contains(&self, row: u64) -> bool {
        self.0.contains(row)
    }

    /// Deletes one more row; false when it was deleted before.
    pub fn insert(&mut self, row: u64) -> bool {
        self.0.insert(row)
    }

    /// Deletes what the other one deletes as well.
    pub fn union_with(&mut self, other: &Self) {
        self.0 |= &other.0;
    }

    /// Those of these rows that the other one does not delete.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }

    /// The rows that both of them delete.
    #[must_use]
    pub fn common_with(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }

    /// The first deleted row.
    pub fn first(&self) -> Option<u64> {
        self.0.min()
    }

    /// The last deleted row.
    pub fn last(&self) -> Option<u64> {
        self.0.max()
    }

    /// The deleted rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter()
    }

    /// How many of these rows are deleted.
    pub fn count_in(&self, rows: Range<u64>) -> u64 {
        match rows.end.checked_sub(1) {
            Some(last) if rows.start < rows.end => {
                self.0.rank(last) - rows.start.checked_sub(1).map_or(0, |before| self.0.rank(before))
            }
            _ => 0,
        }
    }

    /// The stretches of these rows that are not deleted, ascending, none empty, none touching the next.
    ///
    /// **Cost**: one step for every deleted row before the end of `rows`.
    pub fn kept(&self, rows: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut deleted = self.0.iter();
        deleted.advance_to(rows.start);
        let mut deleted = deleted.take_while(move |row| *row < rows.end);
        let mut next = rows.start;
        let mut done = false;
        std::iter::from_fn(move || {
            while !done {
                let start = next;
                let end = deleted.next().unwrap_or_else(|| {
                    done = true;
                    rows.end
                });
                next = end.saturating_add(1);
                if start < end {
                    return Some(start..end);
                }
            }
            None
        })
    }
}

impl DeletionVector {
    /// The stretches of these rows that are deleted, ascending, none empty, none touching the next.
    ///
    /// **Cost**: one step for every deleted row in `rows`.
    pub fn runs(&self, rows: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut deleted = self.0.iter();
        deleted.advance_to(rows.start);
        let mut deleted = deleted.take_while(move |row| *row < rows.end).peekable();
        std::iter::from_fn(move || {
            let start = deleted.next()?;
            let mut end = start.saturating_add(1);
            while deleted.next_if_eq(&end).is_some() {
                end = end.saturating_add(1);
            }
            Some(start..end)
        })
    }
}

impl FromIterator<u64> for DeletionVector {
    fn from_iter<I: IntoIterator<Item = u64>>(rows: I) -> Self {
        Self(rows.into_iter().collect())
    }
}
