//! Chunks against the `parquet` crate: its reader gets the same rows, and its writer says the same of them.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, Date32Array, Decimal128Array, DictionaryArray, Int8Array, Int16Array,
    Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{BoundaryOrder, Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use proptest::prelude::*;

use super::*;

const ZSTD: Codec = Codec::Zstd { level: 1 };

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(64))
        .set_column_index_truncate_length(Some(64))
        .build()
}

/// A file with one column of one row group. The arrays have the type of the column, in any layout.
fn file(data_type: &DataType, nullable: bool, form: Form, codec: Codec, arrays: &[ArrayRef]) -> Bytes {
    let schema = Schema::new(vec![Field::new("c", data_type.clone(), nullable)]);
    let parquet = ArrowSchemaConverter::new().convert(&schema).unwrap();
    let mut writer = SerializedFileWriter::new(Vec::new(), parquet.root_schema_ptr(), Arc::new(properties())).unwrap();
    let mut scratch = Scratch::default();
    let mut column = FlatColumn::new(parquet.column(0), data_type, form, codec);
    for array in arrays {
        column.write(array.as_ref(), &mut scratch).unwrap();
    }
    let chunk = column.close(&mut scratch).unwrap();
    let mut group = writer.next_row_group().unwrap();
    chunk.append(&mut group).unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap().into()
}

/// The same by the `parquet` crate.
fn model(data_type: &DataType, nullable: bool, arrays: &[ArrayRef]) -> Bytes {
    let schema = Arc::new(Schema::new(vec![Field::new("c", data_type.clone(), nullable)]));
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties())).unwrap();
    for array in arrays {
        let array = arrow_cast::cast(array, data_type).unwrap();
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), vec![array]).unwrap()).unwrap();
    }
    writer.into_inner().unwrap().into()
}

fn read(file: &Bytes, data_type: &DataType) -> (ArrayRef, Arc<ParquetMetaData>) {
    let options = ArrowReaderOptions::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .with_skip_arrow_metadata(true)
        .with_encoding_stats_as_mask(false);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options).unwrap();
    let metadata = Arc::clone(reader.metadata());
    let batches: Vec<RecordBatch> = reader.with_batch_size(7_000).build().unwrap().map(Result::unwrap).collect();
    let arrays: Vec<ArrayRef> = batches.iter().map(|b| arrow_cast::cast(b.column(0), data_type).unwrap()).collect();
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    (arrow_select::concat::concat(&arrays).unwrap(), metadata)
}

/// The rows come back, and the footer says what that of the `parquet` crate says.
fn check(data_type: &DataType, form: Form, arrays: &[ArrayRef]) -> Arc<ParquetMetaData> {
    let nullable = arrays.iter().any(|array| array.logical_null_count() > 0);
    let flat: Vec<ArrayRef> = arrays.iter().map(|array| arrow_cast::cast(array, data_type).unwrap()).collect();
    let flat: Vec<&dyn Array> = flat.iter().map(AsRef::as_ref).collect();
    let expected = arrow_select::concat::concat(&flat).unwrap();
    let (rows, model) = read(&model(data_type, nullable, arrays), data_type);
    assert_eq!(&rows, &expected, "the model");
    let model = model.row_group(0).column(0);
    let mut last = None;
    for (nullable, codec) in [(nullable, ZSTD), (true, Codec::Nothing)] {
        let file = file(data_type, nullable, form, codec, arrays);
        let (rows, metadata) = read(&file, data_type);
        assert_eq!(&rows, &expected, "{codec:?}");
        let column = metadata.row_group(0).column(0);
        assert_eq!(column.statistics(), model.statistics());
        assert_eq!(column.num_values(), model.num_values());
        assert_eq!(column.unencoded_byte_array_data_bytes(), model.unencoded_byte_array_data_bytes());
        check_pages(&metadata, &file, expected.len());
        last = last.or(Some(metadata));
    }
    last.unwrap()
}

/// The page index follows from the rows of each page.
fn check_pages(metadata: &ParquetMetaData, file: &Bytes, rows: usize) {
    let column = metadata.row_group(0).column(0);
    let offsets = metadata.offset_index().unwrap()[0][0].page_locations();
    let firsts: Vec<usize> = offsets.iter().map(|page| page.first_row_index as usize).collect();
    assert_eq!(firsts[0], 0);
    assert!(firsts.is_sorted_by(|a, b| a < b) && *firsts.last().unwrap() < rows);
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let sizes: i64 = offsets.iter().map(|page| i64::from(page.compressed_page_size)).sum();
    assert_eq!(column.data_page_offset() + sizes, start + column.compressed_size());
    assert_eq!(offsets[0].offset, column.data_page_offset());
    assert!(start + column.compressed_size() <= file.len() as i64);
    let stats = column.page_encoding_stats().unwrap();
    let data = |encoding: Encoding| !matches!(encoding, Encoding::PLAIN);
    assert_eq!(stats.iter().filter(|s| data(s.encoding)).map(|s| s.count as usize).sum::<usize>(), offsets.len());
}

fn mixed(nth: u64) -> u64 {
    let nth = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (nth ^ (nth >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// Every `every`th is null.
fn with_nulls<T>(values: impl IntoIterator<Item = T>, every: usize) -> Vec<Option<T>> {
    values.into_iter().enumerate().map(|(nth, value)| (nth % every != every - 1).then_some(value)).collect()
}

#[test]
fn numbers_of_every_type_come_back_with_their_statistics() {
    let numbers: Vec<i64> = (0..50_000).map(|nth| mixed(nth).cast_signed()).collect();
    for every in [3, usize::MAX] {
        let nullable = |bits: u32| with_nulls(numbers.iter().map(move |v| v >> (64 - bits)), every);
        let (small, wide) = (nullable(8), nullable(64));
        let decimals = |digits| {
            let values: Decimal128Array =
                nullable(if digits > 9 { 59 } else { 29 }).into_iter().map(|v| v.map(i128::from)).collect();
            Arc::new(values.with_precision_and_scale(digits, 2).unwrap())
        };
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(small.iter().map(|v| v.map(|v| v as i8)).collect::<Int8Array>()),
            Arc::new(small.iter().map(|v| v.map(|v| v as i16)).collect::<Int16Array>()),
            Arc::new(wide.iter().map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
            Arc::new(wide.iter().copied().collect::<Int64Array>()),
            Arc::new(small.iter().map(|v| v.map(|v| v as i32)).collect::<Date32Array>()),
            Arc::new(wide.iter().copied().collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            decimals(9),
            decimals(18),
        ];
        for array in arrays {
            let data_type = array.data_type().clone();
            // In pieces that do not end where pages end.
            let pieces = [array.slice(0, 1), array.slice(1, 30_000), array.slice(30_001, array.len() - 30_001)];
            let metadata = check(&data_type, Form::Deltas, &pieces);
            assert_eq!(metadata.offset_index().unwrap()[0][0].page_locations().len(), 3, "{data_type}");
        }
    }
}

#[test]
fn text_of_every_layout_comes_back_with_its_statistics() {
    for every in [4, usize::MAX] {
        for (form, distinct) in
            [(Form::Dictionary, 1), (Form::Dictionary, 2), (Form::Dictionary, 3_000), (Form::Lengths, 1 << 40)]
        {
            let text = |nth: u64| format!("{} is the number", mixed(mixed(nth) % distinct) % 1_000_000);
            let values = with_nulls((0..45_000).map(text), every);
            let bytes = || values.iter().map(|v| v.as_ref().map(String::as_bytes));
            let arrays: Vec<ArrayRef> = vec![
                Arc::new(values.iter().map(Option::as_deref).collect::<StringArray>()),
                Arc::new(values.iter().map(Option::as_deref).collect::<LargeStringArray>()),
                Arc::new(values.iter().map(Option::as_deref).collect::<StringViewArray>()),
                Arc::new(values.iter().map(Option::as_deref).collect::<DictionaryArray<Int32Type>>()),
                Arc::new(bytes().collect::<BinaryArray>()),
                Arc::new(bytes().collect::<BinaryViewArray>()),
            ];
            for array in arrays {
                let is_bytes = matches!(array.data_type(), DataType::Binary | DataType::BinaryView);
                let data_type = if is_bytes { DataType::Binary } else { DataType::Utf8 };
                let metadata = check(&data_type, form, &[array.slice(5, 20_500), array.slice(20_505, 24_000)]);
                let has_dictionary = metadata.row_group(0).column(0).dictionary_page_offset().is_some();
                assert_eq!(has_dictionary, form == Form::Dictionary);
            }
        }
    }
}

#[test]
fn a_column_whose_dictionary_is_full_goes_on_without_one() {
    let text = |nth: u64| format!("{:020} {nth}", mixed(nth % 60_000));
    let array: ArrayRef = Arc::new(with_nulls((0..90_000).map(text), 7).into_iter().collect::<StringArray>());
    let metadata = check(&DataType::Utf8, Form::Dictionary, &[array]);
    let stats = metadata.row_group(0).column(0).page_encoding_stats().unwrap();
    let encodings: Vec<Encoding> = stats.iter().map(|s| s.encoding).collect();
    assert_eq!(encodings, [Encoding::PLAIN, Encoding::RLE_DICTIONARY, Encoding::DELTA_LENGTH_BYTE_ARRAY]);
}

#[test]
fn values_larger_than_a_page_get_pages_of_their_own() {
    let values: Vec<String> = [3 << 20, 1, 2 << 20, 2 << 20, 5].iter().map(|n| "x".repeat(*n)).collect();
    for form in [Form::Dictionary, Form::Lengths] {
        for every in [2, usize::MAX] {
            let array: ArrayRef = Arc::new(with_nulls(values.iter(), every).into_iter().collect::<StringArray>());
            let metadata = check(&DataType::Utf8, form, &[array]);
            assert!(metadata.offset_index().unwrap()[0][0].page_locations().len() >= 3);
        }
    }
}

#[test]
fn columns_of_nulls_and_of_nothing_but_empty_text_come_back() {
    let nulls: ArrayRef = Arc::new(StringArray::new_null(25_000));
    for form in [Form::Dictionary, Form::Lengths] {
        check(&DataType::Utf8, form, &[Arc::clone(&nulls)]);
        check(&DataType::Utf8, form, &[Arc::new(StringArray::from(vec![""; 100]))]);
        // A whole page of nulls between others.
        let (a, b): (ArrayRef, ArrayRef) =
            (Arc::new(StringArray::from(vec!["b"; 20_000])), Arc::new(StringArray::from(vec!["a"; 3])));
        check(&DataType::Utf8, form, &[a, Arc::clone(&nulls), b]);
    }
    check(&DataType::Int32, Form::Deltas, &[Arc::new(Int32Array::new_null(25_000))]);
}

#[test]
fn a_chunk_that_compression_does_not_shrink_is_not_compressed() {
    let numbers = |f: fn(u64) -> u64| Arc::new((0..30_000).map(|nth| f(nth).cast_signed()).collect::<Int64Array>()) as ArrayRef;
    let codec = |form, array: ArrayRef| {
        let metadata = check(&array.data_type().clone(), form, &[array]);
        Compression::from(metadata.row_group(0).column(0).compression_codec())
    };
    assert_eq!(codec(Form::Deltas, numbers(mixed)), Compression::UNCOMPRESSED);
    assert_ne!(codec(Form::Deltas, numbers(|nth| nth / 7 * 1000)), Compression::UNCOMPRESSED);
    let texts = |f: fn(u64) -> String| {
        Arc::new((0..30_000).map(f).collect::<Vec<_>>().into_iter().map(Some).collect::<StringArray>()) as ArrayRef
    };
    assert_ne!(codec(Form::Lengths, texts(|nth| format!("the text number {nth}"))), Compression::UNCOMPRESSED);
    // Keys without pattern, of a small dictionary.
    assert_eq!(codec(Form::Dictionary, texts(|nth| format!("{}", mixed(nth) >> 60))), Compression::UNCOMPRESSED);
}

#[test]
fn the_page_index_says_how_pages_are_ordered() {
    let order = |values: Vec<i64>| {
        let array: ArrayRef = Arc::new(Int64Array::from(values));
        let metadata = check(&DataType::Int64, Form::Deltas, &[array]);
        metadata.column_index().unwrap()[0][0].get_boundary_order()
    };
    assert_eq!(order((0..60_000).collect()), Some(BoundaryOrder::ASCENDING));
    assert_eq!(order((0..60_000).rev().collect()), Some(BoundaryOrder::DESCENDING));
    assert_eq!(order((0..60_000).map(|v| (v - 30_000_i64).abs()).collect()), Some(BoundaryOrder::UNORDERED));
}

#[test]
fn an_array_of_another_type_is_refused() {
    let schema = Schema::new(vec![Field::new("c", DataType::Utf8, true)]);
    let parquet = ArrowSchemaConverter::new().convert(&schema).unwrap();
    let mut column = FlatColumn::new(parquet.column(0), &DataType::Utf8, Form::Dictionary, ZSTD);
    let error = column.write(&Int64Array::from(vec![1]), &mut Scratch::default()).unwrap_err();
    assert!(error.to_string().contains("Int64"), "{error}");
}

/// Where a text is cut, each of these has no next character of its length.
#[test]
fn texts_at_the_ends_of_their_widths_have_the_bounds_of_the_model() {
    for end in ["\u{7f}", "\u{7ff}", "\u{d7ff}", "\u{ffff}", "\u{10ffff}"] {
        for before in 0..70 {
            let text = format!("{}{}{}", "a".repeat(before), end.repeat(3), "b".repeat(70));
            let array: ArrayRef = Arc::new(StringArray::from(vec!["", &text]));
            check(&DataType::Utf8, Form::Lengths, &[array]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_text_comes_back_with_its_statistics(
        values in prop::collection::vec(prop::option::weighted(0.9, "(\u{10ffff}|.|[a-c]){0,70}"), 1..300),
        repeats in 1_usize..100,
        dictionary in any::<bool>(),
        cut in 0_usize..300,
    ) {
        let form = if dictionary { Form::Dictionary } else { Form::Lengths };
        let values: Vec<_> = (0..repeats).flat_map(|_| values.clone()).collect();
        let array: ArrayRef = Arc::new(StringArray::from(values));
        let cut = cut.min(array.len());
        check(&DataType::Utf8, form, &[array.slice(0, cut), array.slice(cut, array.len() - cut)]);
        prop_assert_eq!(array.as_string::<i32>().len(), array.len());
    }

    #[test]
    fn any_numbers_come_back_with_their_statistics(
        values in prop::collection::vec(prop::option::weighted(0.9, prop_oneof![any::<i32>(), 0..9, Just(i32::MIN), Just(i32::MAX)]), 1..300),
        repeats in 1_usize..100,
    ) {
        let values: Vec<_> = (0..repeats).flat_map(|_| values.clone()).collect();
        check(&DataType::Int64, Form::Deltas, &[Arc::new(values.iter().map(|v| v.map(|v| i64::from(v) << 31)).collect::<Int64Array>())]);
        check(&DataType::Int32, Form::Deltas, &[Arc::new(Int32Array::from(values))]);
    }
}
