//! A column of long texts that hardly ever repeat, within structs that are never null here.

use parquet::basic::{Compression, Encoding, PageType, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, LevelHistogram, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::ColumnDescPtr;

use super::column::FlatChunk;
use super::hybrid;
use super::packing::width_of;
use super::page::{Page, PageKind, Rope, Scratch};

/// A page ends with so many bytes of text.
const PAGE_BYTES: usize = 1 << 20;

/// Encodes one column of one row group, text by text, with no array in between: `PLAIN` pages, which every reader
/// knows, and no bounds, which would tell nothing.
///
/// **Shape**: an optional column; all structs around it are there in every row.
pub(crate) struct TextColumn {
    descr: ColumnDescPtr,
    level: ZstdLevel,
    /// What is said of each row of the open page: whether it has a text. Empty while all have one.
    present: Vec<u32>,
    page_rows: usize,
    /// Texts of the open page, each after its length.
    values: Vec<u8>,
    value_bytes: usize,
    pages: Vec<Page>,
    offsets: OffsetIndexBuilder,
    totals: Totals,
}

/// Of the pages that are done.
#[derive(Debug, Default)]
struct Totals {
    rows: usize,
    nulls: usize,
    value_bytes: usize,
    stored_bytes: usize,
    uncompressed_bytes: usize,
}

impl TextColumn {
    pub(crate) fn new(descr: ColumnDescPtr, level: ZstdLevel) -> Self {
        Self {
            descr,
            level,
            present: Vec::new(),
            page_rows: 0,
            values: Vec::new(),
            value_bytes: 0,
            pages: Vec::new(),
            offsets: OffsetIndexBuilder::new(),
            totals: Totals::default(),
        }
    }

    /// Appends a row: a text as bytes of UTF-8, or null.
    pub(crate) fn push(&mut self, text: Option<&[u8]>, scratch: &mut Scratch) -> Result<()> {
        let Some(text) = text else {
            self.present.resize(self.page_rows, 1);
            self.present.push(0);
            self.page_rows += 1;
            return Ok(());
        };
        if !self.present.is_empty() {
            self.present.push(1);
        }
        self.page_rows += 1;
        self.value_bytes += text.len();
        // A text of more than four gigabytes makes a page that is refused when it ends.
        self.values.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.values.extend_from_slice(text);
        if self.values.len() >= PAGE_BYTES { self.end_page(scratch) } else { Ok(()) }
    }

    /// Ends the chunk.
    pub(crate) fn close(mut self, scratch: &mut Scratch) -> Result<FlatChunk> {
        self.end_page(scratch)?;
        let Totals { rows, nulls, value_bytes, stored_bytes, uncompressed_bytes } = self.totals;
        let pages = i32::try_from(self.pages.len()).unwrap_or(i32::MAX);
        let statistics = ValueStatistics::new(None, None, None, Some(nulls as u64), false);
        let metadata = ColumnChunkMetaData::builder(self.descr.clone())
            .set_compression(Compression::ZSTD(self.level))
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE])
            .set_page_encoding_stats(vec![PageEncodingStats {
                page_type: PageType::DATA_PAGE,
                encoding: Encoding::PLAIN,
                count: pages,
            }])
            .set_total_compressed_size(stored_bytes as i64)
            .set_total_uncompressed_size(uncompressed_bytes as i64)
            .set_num_values(rows as i64)
            .set_data_page_offset(0)
            .set_statistics(Statistics::ByteArray(statistics))
            .set_unencoded_byte_array_data_bytes(Some(value_bytes as i64))
            .set_definition_level_histogram(Some(self.levels(rows, nulls)))
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: stored_bytes as u64,
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(self.offsets.build()),
        };
        Ok(FlatChunk::new(Rope::new(self.pages), close))
    }

    /// How many rows have which definition level.
    fn levels(&self, rows: usize, nulls: usize) -> LevelHistogram {
        let mut levels = vec![0; usize::try_from(self.descr.max_def_level()).unwrap_or_default()];
        if let Some(null) = levels.last_mut() {
            *null = nulls as i64;
        }
        levels.push((rows - nulls) as i64);
        LevelHistogram::from(levels)
    }

    fn end_page(&mut self, scratch: &mut Scratch) -> Result<()> {
        if self.page_rows == 0 {
            return Ok(());
        }
        let nulls = self.present.iter().filter(|present| **present == 0).count();
        let most = u32::try_from(self.descr.max_def_level()).unwrap_or_default();
        let out = &mut scratch.page;
        out.clear();
        out.extend_from_slice(&[0; 4]);
        let width = width_of(most.into());
        if nulls == 0 {
            hybrid::run(most, self.page_rows, width, out);
        } else {
            // A row without a text ends one level above it.
            self.present.iter_mut().for_each(|present| *present += most - 1);
            hybrid::encode(&self.present, width, out);
        }
        // Levels of a page are a few thousand bytes.
        let length = out.len() as u32 - 4;
        out[..4].copy_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.values);
        let plain_bytes = out.len();
        let body = scratch.zstd.compress(&scratch.page, self.level.compression_level())?;
        let page = Page::new(PageKind::Data(Encoding::PLAIN), self.page_rows, plain_bytes, body)?;
        let totals = &mut self.totals;
        self.offsets.append_row_count(self.page_rows as i64);
        // Pages have headers with sizes of 32 bits.
        self.offsets.append_offset_and_size(totals.stored_bytes as i64, i32::try_from(page.bytes()).unwrap_or(i32::MAX));
        self.offsets.append_unencoded_byte_array_data_bytes(Some(self.value_bytes as i64));
        totals.rows += self.page_rows;
        totals.nulls += nulls;
        totals.value_bytes += self.value_bytes;
        totals.stored_bytes += page.bytes();
        totals.uncompressed_bytes += page.uncompressed_bytes();
        self.pages.push(page);
        (self.page_rows, self.value_bytes) = (0, 0);
        self.present.clear();
        self.values.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::{Array, RecordBatch};
    use arrow_schema::{DataType, Field, Schema};
    use parquet::arrow::ArrowSchemaConverter;
    use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use proptest::prelude::*;

    use super::*;

    /// A file of one row group with these texts as `add.stats`.
    fn file(texts: &[Option<String>]) -> Vec<u8> {
        let stats = Field::new("stats", DataType::Utf8, true);
        let schema = Schema::new(vec![Field::new("add", DataType::Struct(vec![stats].into()), true)]);
        let parquet = ArrowSchemaConverter::new().convert(&schema).unwrap();
        let mut scratch = Scratch::default();
        let mut column = TextColumn::new(parquet.column(0), ZstdLevel::try_new(1).unwrap());
        texts.iter().for_each(|text| column.push(text.as_deref().map(str::as_bytes), &mut scratch).unwrap());
        let mut bytes = Vec::new();
        let mut writer =
            SerializedFileWriter::new(&mut bytes, parquet.root_schema_ptr(), Arc::new(WriterProperties::default())).unwrap();
        let mut group = writer.next_row_group().unwrap();
        column.close(&mut scratch).unwrap().append(&mut group).unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        bytes
    }

    fn read(bytes: &[u8], selection: Option<RowSelection>) -> Vec<Option<String>> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::copy_from_slice(bytes)).unwrap();
        let reader = match selection {
            Some(selection) => builder.with_row_selection(selection).build().unwrap(),
            None => builder.build().unwrap(),
        };
        let texts = |batch: RecordBatch| {
            let add = batch.column(0).as_struct();
            assert_eq!(add.null_count(), 0);
            add.column(0).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
        };
        reader.flat_map(|batch| texts(batch.unwrap())).collect()
    }

    proptest! {
        #[test]
        fn texts_read_as_they_were_pushed(texts in prop::collection::vec(prop::option::weighted(0.8, ".{0,20}"), 1..200)) {
            prop_assert_eq!(read(&file(&texts), None), texts);
        }
    }

    #[test]
    fn texts_of_many_pages_are_found_by_the_offset_index() {
        let texts: Vec<_> = (0..4000_usize).map(|at| (at % 97 != 0).then(|| format!("{at}").repeat(500))).collect();
        let bytes = file(&texts);
        assert_eq!(read(&bytes, None), texts);
        let chosen = 3210..3220;
        let selection = RowSelection::from(vec![RowSelector::skip(chosen.start), RowSelector::select(chosen.len())]);
        assert_eq!(read(&bytes, Some(selection)), texts[chosen]);
    }
}
