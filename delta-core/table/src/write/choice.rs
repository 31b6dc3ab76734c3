//! How each column is encoded: chosen from a sample of the first rows, corrected after each row group.
//!
//! A dictionary pays when values repeat; hashing every value of a column that does not repeat costs a third of the
//! time of writing, and ends in plain pages all the same. So:
//!
//! | column | sample says | encoding |
//! | --- | --- | --- |
//! | whole numbers, dates, timestamps, decimals up to 18 digits | differences of neighbours need hardly more bits than a dictionary | `DELTA_BINARY_PACKED` |
//! | text, bytes | hardly a value repeats | `DELTA_LENGTH_BYTE_ARRAY` |
//! | other text and bytes | | dictionary, then `DELTA_LENGTH_BYTE_ARRAY` when it grows too large |
//! | all others | | dictionary, then plain when it grows too large |
//!
//! After a row group: a dictionary that grew too large is not tried again, and a column of the `parquet` crate that
//! compression did not make smaller is not compressed again. (Columns that are encoded [here](super::flat) decide about
//! compression by the first page of each row group.)
//!
//! **Source**: Parquet format, "Encodings".

use std::collections::HashSet;
use std::hash::Hash;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use parquet::basic::{Compression, Encoding, PageType};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::SchemaDescriptor;

use super::columns::leaf_count;
use super::flat::Form;

/// Rows of a window of the sample: neighbours, whose differences count.
const WINDOW_ROWS: usize = 128;
/// Windows of the sample, spread over the first rows.
const WINDOWS: usize = 32;
/// Fewer rows are not worth a choice.
const MIN_ROWS: usize = 1024;
/// A column that keeps more than this part of its bytes is not compressed again.
const POOR_COMPRESSION: f64 = 0.92;

/// The choice for one leaf column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// Instead of a dictionary.
    encoding: Option<Encoding>,
    dictionary: bool,
    compressed: bool,
}

impl Default for Choice {
    fn default() -> Self {
        Self { encoding: None, dictionary: true, compressed: true }
    }
}

impl Choice {
    fn without_dictionary(encoding: Encoding) -> Self {
        Self { encoding: Some(encoding), dictionary: false, compressed: true }
    }

    /// How a column of this type is encoded without the `parquet` crate; nothing when that crate has to do it.
    pub(super) fn form(self, data_type: &DataType) -> Option<Form> {
        match data_type {
            DataType::Utf8 | DataType::Binary if self.dictionary => Some(Form::Dictionary),
            DataType::Utf8 | DataType::Binary => Some(Form::Lengths),
            // Only chosen for what is stored as whole numbers.
            _ if self.encoding == Some(Encoding::DELTA_BINARY_PACKED) => Some(Form::Deltas),
            _ => None,
        }
    }
}

/// Chooses for every leaf column from the first rows.
pub(super) fn from_sample(schema: &SchemaRef, chunk: &[RecordBatch]) -> Vec<Choice> {
    let rows: usize = chunk.iter().map(RecordBatch::num_rows).sum();
    let mut choices = Vec::new();
    for (at, field) in schema.fields().iter().enumerate() {
        let choice = match leaf_count(field.data_type()) {
            1 if rows >= MIN_ROWS => {
                let columns: Vec<&ArrayRef> = chunk.iter().map(|batch| batch.column(at)).collect();
                choose(field.data_type(), &columns, rows)
            }
            _ => Choice::default(),
        };
        choices.extend(std::iter::repeat_n(choice, leaf_count(field.data_type())));
    }
    choices
}

/// Learns from a row group that was written.
pub(super) fn learn<'a>(choices: &mut [Choice], chunks: impl IntoIterator<Item = &'a ColumnCloseResult>) {
    for (choice, chunk) in choices.iter_mut().zip(chunks) {
        let column = &chunk.metadata;
        let pages_without_dictionary = column.page_encoding_stats().is_some_and(|stats| {
            let data = |page| matches!(page, PageType::DATA_PAGE | PageType::DATA_PAGE_V2);
            stats.iter().any(|s| data(s.page_type) && s.encoding != Encoding::RLE_DICTIONARY)
        });
        if choice.dictionary && pages_without_dictionary {
            choice.dictionary = false;
        }
        let (before, after) = (column.uncompressed_size(), column.compressed_size());
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        if choice.compressed && before > 0 && after as f64 > POOR_COMPRESSION * before as f64 {
            choice.compressed = false;
        }
    }
}

/// The properties of the next row group.
pub(super) fn apply(choices: &[Choice], base: &WriterProperties, parquet: &SchemaDescriptor) -> WriterProperties {
    let mut builder = base.clone().into_builder();
    for (choice, column) in choices.iter().zip(parquet.columns()) {
        let path = || column.path().clone();
        if !choice.dictionary {
            builder = builder.set_column_dictionary_enabled(path(), false);
        }
        if let Some(encoding) = choice.encoding {
            builder = builder.set_column_encoding(path(), encoding);
        }
        if !choice.compressed {
            builder = builder.set_column_compression(path(), Compression::UNCOMPRESSED);
        }
    }
    builder.build()
}

fn choose(data_type: &DataType, columns: &[&ArrayRef], rows: usize) -> Choice {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Date32 => choose_integer(columns, rows, 32),
        DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _) => choose_integer(columns, rows, 64),
        DataType::Decimal128(precision, _) if *precision <= 9 => choose_integer(columns, rows, 32),
        DataType::Decimal128(precision, _) if *precision <= 18 => choose_integer(columns, rows, 64),
        DataType::Utf8 | DataType::Binary => choose_text(columns, rows),
        _ => Choice::default(),
    }
}

fn choose_integer(columns: &[&ArrayRef], rows: usize, plain_bits: u32) -> Choice {
    let windows = sample(columns, rows, integer_at);
    let sampled: usize = windows.iter().map(Vec::len).sum();
    if sampled < MIN_ROWS / 2 {
        return Choice::default();
    }
    let distinct = count_distinct(windows.iter().flatten());
    let changes: usize = windows.iter().map(|w| w.windows(2).filter(|pair| pair[0] != pair[1]).count()).sum();
    // Runs of equal values cost a dictionary next to nothing.
    if changes * 8 < sampled {
        return Choice::default();
    }
    let delta_bits = delta_bits(&windows).unwrap_or(plain_bits);
    let dictionary_bits = usize::BITS - distinct.leading_zeros();
    // Where a sample hardly repeats, the dictionary of a row group would be as large as its values.
    let repeats = distinct * 2 < sampled;
    if delta_bits + plain_bits / 8 <= plain_bits && (!repeats || delta_bits <= dictionary_bits + 2) {
        Choice::without_dictionary(Encoding::DELTA_BINARY_PACKED)
    } else {
        Choice::default()
    }
}

/// Bits that a value takes as a difference. As the encoding does it: the differences of a block of 32, less the
/// smallest, in as many bits as the largest needs.
fn delta_bits(windows: &[Vec<i64>]) -> Option<u32> {
    let (mut bits, mut blocks) = (0, 0);
    for window in windows {
        let deltas: Vec<i64> = window.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        for block in deltas.chunks(32) {
            let (Some(min), Some(max)) = (block.iter().min(), block.iter().max()) else { continue };
            bits += 64 - max.wrapping_sub(*min).cast_unsigned().leading_zeros();
            blocks += 1;
        }
    }
    (blocks > 0).then(|| bits.div_ceil(blocks))
}

fn choose_text(columns: &[&ArrayRef], rows: usize) -> Choice {
    let windows = sample(columns, rows, |array, row| bytes_at(array, row).map(<[u8]>::to_vec));
    let sampled: usize = windows.iter().map(Vec::len).sum();
    let distinct = count_distinct(windows.iter().flatten());
    if sampled >= MIN_ROWS / 2 && distinct * 20 > sampled * 19 {
        Choice::without_dictionary(Encoding::DELTA_LENGTH_BYTE_ARRAY)
    } else {
        Choice::default()
    }
}

/// Windows of values that are not null, spread over the rows.
fn sample<T>(columns: &[&ArrayRef], rows: usize, value: impl Fn(&ArrayRef, usize) -> Option<T>) -> Vec<Vec<T>> {
    let step = (rows / WINDOWS).max(WINDOW_ROWS);
    let starts = (0..WINDOWS).map(|window| window * step).take_while(|start| *start < rows);
    starts
        .map(|start| {
            let (mut values, mut first) = (Vec::with_capacity(WINDOW_ROWS), 0);
            for column in columns {
                let range = start.max(first)..(start + WINDOW_ROWS).min(first + column.len());
                values.extend(range.filter_map(|row| value(column, row - first)));
                first += column.len();
            }
            values
        })
        .collect()
}

fn count_distinct<'a, T: Hash + Eq + 'a>(values: impl Iterator<Item = &'a T>) -> usize {
    values.collect::<HashSet<_>>().len()
}

fn integer_at(array: &ArrayRef, row: usize) -> Option<i64> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).into(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => array.as_primitive::<TimestampMicrosecondType>().value(row),
        DataType::Decimal128(_, _) => i64::try_from(array.as_primitive::<Decimal128Type>().value(row)).ok()?,
        _ => return None,
    })
}

/// Dictionary arrays say that values repeat: they have no bytes here, and keep their dictionary.
fn bytes_at(array: &ArrayRef, row: usize) -> Option<&[u8]> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).as_bytes(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).as_bytes(),
        DataType::Utf8View => array.as_string_view().value(row).as_bytes(),
        DataType::Binary => array.as_binary::<i32>().value(row),
        DataType::LargeBinary => array.as_binary::<i64>().value(row),
        DataType::BinaryView => array.as_binary_view().value(row),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use arrow_array::{Int64Array, StringArray};

    use super::*;

    fn choice(column: impl Array + 'static) -> Choice {
        let column: ArrayRef = Arc::new(column);
        let batch = RecordBatch::try_from_iter([("c", column)]).unwrap();
        // The rows come in two batches, as they do in life.
        let middle = batch.num_rows() / 3;
        let chunk = [batch.slice(0, middle), batch.slice(middle, batch.num_rows() - middle)];
        from_sample(&batch.schema(), &chunk)[0]
    }

    #[test]
    fn columns_get_the_encoding_that_suits_their_values() {
        let delta = Choice::without_dictionary(Encoding::DELTA_BINARY_PACKED);
        let text = Choice::without_dictionary(Encoding::DELTA_LENGTH_BYTE_ARRAY);
        let mixed = |i: i64| {
            let i = i.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed());
            (i ^ (i >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb_u64.cast_signed())
        };
        assert_eq!(choice(Int64Array::from_iter_values(0..20_000)), delta, "a counter");
        assert_eq!(
            choice(Int64Array::from_iter_values((0..20_000).map(|i| mixed(i).rem_euclid(11)))),
            delta,
            "few small numbers"
        );
        assert_eq!(choice(Int64Array::from_iter_values((0..20_000).map(mixed))), Choice::default(), "numbers without pattern");
        let few_large = (0..20_000).map(|i| mixed(mixed(i).rem_euclid(5)));
        assert_eq!(choice(Int64Array::from_iter_values(few_large)), Choice::default(), "few large numbers");
        assert_eq!(choice(Int64Array::from_iter_values((0..20_000).map(|i| i / 1000))), Choice::default(), "long runs");
        assert_eq!(choice(Int64Array::from_iter_values(0..100)), Choice::default(), "too few rows");
        assert_eq!(choice(Int64Array::from(vec![None; 20_000])), Choice::default(), "nulls");
        assert_eq!(choice(StringArray::from_iter_values((0..20_000).map(|i| format!("comment {i}")))), text, "every text once");
        assert_eq!(
            choice(StringArray::from_iter_values((0..20_000).map(|i| format!("{}", i % 3)))),
            Choice::default(),
            "few texts"
        );
        let cycle = (0..20_000).map(|i| format!("user {}", i % 3_000));
        assert_eq!(choice(StringArray::from_iter_values(cycle)), Choice::default(), "texts that come again later");
    }
}
