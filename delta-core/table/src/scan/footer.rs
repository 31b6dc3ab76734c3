//! What the footer of a Parquet file says, looked at before it is believed.

use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

/// Checks that what a footer counts and points at can be true of a file of `size_bytes`.
///
/// The decoder takes these numbers as they are: it panics at negative ones, and some stores allocate what is asked for
/// before they look at the file.
pub(crate) fn check(metadata: &ParquetMetaData, size_bytes: u64) -> Result<(), ParquetError> {
    let mut rows: i64 = 0;
    for (nth, group) in metadata.row_groups().iter().enumerate() {
        let odd = |what: &str| Err(ParquetError::General(format!("row group {nth} of the footer: {what}")));
        if group.num_rows() < 0 {
            return odd(&format!("{} rows", group.num_rows()));
        }
        let Some(sum) = rows.checked_add(group.num_rows()) else { return odd("more rows than can be counted") };
        rows = sum;
        for column in group.columns() {
            if !lies_within(column, size_bytes) {
                return odd(&format!("column `{}` does not lie within the {size_bytes} bytes of the file", column.column_path()));
            }
        }
    }
    Ok(())
}

/// Whether the pages of a column, and their indexes, lie between the first and the last byte.
fn lies_within(column: &ColumnChunkMetaData, size_bytes: u64) -> bool {
    let size_bytes = i64::try_from(size_bytes).unwrap_or(i64::MAX);
    let inside =
        |offset: i64, length: i64| offset >= 0 && length >= 0 && offset.checked_add(length).is_some_and(|end| end <= size_bytes);
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let index = |offset: Option<i64>, length: Option<i32>| match (offset, length) {
        (Some(offset), Some(length)) => inside(offset, i64::from(length)),
        _ => true,
    };
    column.num_values() >= 0
        && column.uncompressed_size() >= 0
        && inside(column.data_page_offset(), 0)
        && inside(start, column.compressed_size())
        && index(column.column_index_offset(), column.column_index_length())
        && index(column.offset_index_offset(), column.offset_index_length())
        && index(column.bloom_filter_offset(), column.bloom_filter_length())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;
    use parquet::file::metadata::{ColumnChunkMetaDataBuilder, ParquetMetaDataReader};

    use super::*;

    fn file() -> Bytes {
        let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        Bytes::from(writer.into_inner().unwrap())
    }

    /// The footer of the file with something else said of its column.
    fn footer(file: &Bytes, lie: impl Fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder) -> ParquetMetaData {
        let metadata = ParquetMetaDataReader::new().parse_and_finish(file).unwrap();
        let group = metadata.row_group(0);
        let column = lie(group.column(0).clone().into_builder()).build().unwrap();
        let group = group.clone().into_builder().set_column_metadata(vec![column]).build().unwrap();
        ParquetMetaData::new(metadata.file_metadata().clone(), vec![group])
    }

    #[test]
    fn a_footer_that_tells_the_truth_passes() {
        let file = file();
        check(&footer(&file, |column| column), file.len() as u64).unwrap();
    }

    #[test]
    fn negative_and_foreign_places_are_refused_with_the_column() {
        let file = file();
        let lies: [fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder; 6] = [
            |column| column.set_total_compressed_size(-1),
            |column| column.set_total_compressed_size(i64::MAX),
            |column| column.set_data_page_offset(-4).set_dictionary_page_offset(None),
            |column| column.set_dictionary_page_offset(Some(1 << 40)),
            |column| column.set_num_values(-3),
            |column| column.set_offset_index_offset(Some(i64::MAX)).set_offset_index_length(Some(8)),
        ];
        for lie in lies {
            let error = check(&footer(&file, lie), file.len() as u64).unwrap_err();
            assert!(error.to_string().contains("row group 0 of the footer: column `\"id\"`"), "{error}");
        }
        assert!(check(&footer(&file, |column| column), 20).is_err());
    }
}
