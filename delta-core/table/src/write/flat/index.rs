//! What the file says about a column chunk: statistics, the index of its pages, where they are.

use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, Type as PhysicalType};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, LevelHistogram, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::ColumnDescPtr;

use super::bounds::{cut_greatest, cut_least};
use super::page::Page;

/// The least and the greatest value of a page or a chunk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Number(i64),
    Bytes(Vec<u8>),
}

/// What a data page holds.
#[derive(Debug)]
pub(super) struct PageFacts {
    pub(super) encoding: Encoding,
    pub(super) rows: usize,
    pub(super) nulls: usize,
    /// Nothing when all rows are null.
    pub(super) bounds: Option<(Value, Value)>,
    /// Of text and bytes: their bytes before encoding.
    pub(super) value_bytes: Option<i64>,
}

/// Grows with each page.
pub(super) struct ChunkIndex {
    descr: ColumnDescPtr,
    is_text: bool,
    pages: ColumnIndexBuilder,
    offsets: OffsetIndexBuilder,
    encodings: Vec<PageEncodingStats>,
    bounds: Option<(Value, Value)>,
    last: Option<(Value, Value)>,
    ascending: bool,
    descending: bool,
    rows: usize,
    nulls: usize,
    value_bytes: Option<i64>,
    stored_bytes: usize,
    uncompressed_bytes: usize,
}

impl ChunkIndex {
    pub(super) fn new(descr: ColumnDescPtr, is_text: bool) -> Self {
        Self {
            pages: ColumnIndexBuilder::new(descr.physical_type()),
            offsets: OffsetIndexBuilder::new(),
            descr,
            is_text,
            encodings: Vec::new(),
            bounds: None,
            last: None,
            ascending: true,
            descending: true,
            rows: 0,
            nulls: 0,
            value_bytes: None,
            stored_bytes: 0,
            uncompressed_bytes: 0,
        }
    }

    /// Bytes of the data pages in the file.
    pub(super) fn stored_bytes(&self) -> usize {
        self.stored_bytes
    }

    /// Adds a data page, which comes after those before.
    pub(super) fn add(&mut self, page: &Page, facts: PageFacts) {
        let PageFacts { encoding, rows, nulls, bounds, value_bytes } = facts;
        let (least, greatest) = match &bounds {
            None => (Vec::new(), Vec::new()),
            Some((least, greatest)) => (self.least_bytes(least).0, self.greatest_bytes(greatest).0),
        };
        self.pages.append(bounds.is_none(), least, greatest, nulls as i64);
        self.pages.append_histograms(&None, &self.levels(rows, nulls));
        self.offsets.append_row_count(rows as i64);
        // Pages have headers with sizes of 32 bits.
        self.offsets.append_offset_and_size(self.stored_bytes as i64, i32::try_from(page.bytes()).unwrap_or(i32::MAX));
        self.offsets.append_unencoded_byte_array_data_bytes(value_bytes);
        self.count(page, PageType::DATA_PAGE, encoding);
        self.rows += rows;
        self.nulls += nulls;
        if let Some(bytes) = value_bytes {
            *self.value_bytes.get_or_insert(0) += bytes;
        }
        let Some(bounds) = bounds else { return };
        if let Some(last) = &self.last {
            self.ascending &= last.0 <= bounds.0 && last.1 <= bounds.1;
            self.descending &= last.0 >= bounds.0 && last.1 >= bounds.1;
        }
        match &mut self.bounds {
            None => self.bounds = Some(bounds.clone()),
            Some((least, greatest)) => {
                if bounds.0 < *least {
                    least.clone_from(&bounds.0);
                }
                if bounds.1 > *greatest {
                    greatest.clone_from(&bounds.1);
                }
            }
        }
        self.last = Some(bounds);
    }

    /// What the file says, once all pages are there. A dictionary page lies before the others.
    pub(super) fn close(mut self, dictionary: Option<&Page>, compression: Compression) -> Result<ColumnCloseResult> {
        if let Some(page) = dictionary {
            self.count(page, PageType::DICTIONARY_PAGE, Encoding::PLAIN);
        }
        let mut encodings: Vec<Encoding> = self.encodings.iter().map(|stats| stats.encoding).collect();
        encodings.push(Encoding::RLE);
        let metadata = ColumnChunkMetaData::builder(self.descr.clone())
            .set_compression(compression)
            .set_encodings(encodings)
            .set_page_encoding_stats(std::mem::take(&mut self.encodings))
            .set_total_compressed_size(self.stored_bytes as i64)
            .set_total_uncompressed_size(self.uncompressed_bytes as i64)
            .set_num_values(self.rows as i64)
            .set_data_page_offset(0)
            .set_statistics(self.statistics())
            .set_unencoded_byte_array_data_bytes(self.value_bytes)
            .set_definition_level_histogram(self.levels(self.rows, self.nulls))
            .build()?;
        self.pages.set_boundary_order(match (self.ascending, self.descending) {
            (true, _) => BoundaryOrder::ASCENDING,
            (false, true) => BoundaryOrder::DESCENDING,
            (false, false) => BoundaryOrder::UNORDERED,
        });
        let close = ColumnCloseResult {
            bytes_written: self.stored_bytes as u64,
            rows_written: self.rows as u64,
            metadata,
            bloom_filter: None,
            column_index: Some(self.pages.build()?),
            offset_index: Some(self.offsets.build()),
        };
        close.update_dictionary_location(dictionary.map_or(0, Page::bytes))
    }

    fn count(&mut self, page: &Page, page_type: PageType, encoding: Encoding) {
        self.stored_bytes += page.bytes();
        self.uncompressed_bytes += page.uncompressed_bytes();
        match self.encodings.iter_mut().find(|stats| stats.page_type == page_type && stats.encoding == encoding) {
            Some(stats) => stats.count += 1,
            // In the order of the file: some readers look for the dictionary in the first place.
            None if page_type == PageType::DICTIONARY_PAGE => {
                self.encodings.insert(0, PageEncodingStats { page_type, encoding, count: 1 });
            }
            None => self.encodings.push(PageEncodingStats { page_type, encoding, count: 1 }),
        }
    }

    /// How many rows have which definition level, of a column that may be null.
    fn levels(&self, rows: usize, nulls: usize) -> Option<LevelHistogram> {
        (self.descr.max_def_level() > 0).then(|| LevelHistogram::from(vec![nulls as i64, (rows - nulls) as i64]))
    }

    fn statistics(&self) -> Statistics {
        let nulls = Some(self.nulls as u64);
        let number = |value: &Value| match value {
            Value::Number(number) => Some(*number),
            Value::Bytes(_) => None,
        };
        let (least, greatest) = match &self.bounds {
            Some((least, greatest)) => (Some(least), Some(greatest)),
            None => (None, None),
        };
        // Signed numbers have the same order for readers that know the old fields only.
        match self.descr.physical_type() {
            PhysicalType::INT32 => {
                // A column of 32 bits was widened from them.
                let narrow = |value: Option<&Value>| value.and_then(number).map(|number| number as i32);
                let statistics = ValueStatistics::new(narrow(least), narrow(greatest), None, nulls, false);
                Statistics::Int32(statistics.with_backwards_compatible_min_max(true))
            }
            PhysicalType::INT64 => {
                let (least, greatest) = (least.and_then(number), greatest.and_then(number));
                let statistics = ValueStatistics::new(least, greatest, None, nulls, false);
                Statistics::Int64(statistics.with_backwards_compatible_min_max(true))
            }
            _ => {
                let (least, least_is_exact) = least.map(|value| self.least_bytes(value)).unzip();
                let (greatest, greatest_is_exact) = greatest.map(|value| self.greatest_bytes(value)).unzip();
                let (least, greatest) = (least.map(ByteArray::from), greatest.map(ByteArray::from));
                let statistics = ValueStatistics::new(least, greatest, None, nulls, false);
                Statistics::ByteArray(
                    statistics
                        .with_min_is_exact(least_is_exact.unwrap_or(true))
                        .with_max_is_exact(greatest_is_exact.unwrap_or(true)),
                )
            }
        }
    }

    fn least_bytes(&self, value: &Value) -> (Vec<u8>, bool) {
        match value {
            Value::Number(number) => (self.number_bytes(*number), true),
            Value::Bytes(bytes) => cut_least(bytes, self.is_text),
        }
    }

    fn greatest_bytes(&self, value: &Value) -> (Vec<u8>, bool) {
        match value {
            Value::Number(number) => (self.number_bytes(*number), true),
            Value::Bytes(bytes) => cut_greatest(bytes, self.is_text),
        }
    }

    fn number_bytes(&self, number: i64) -> Vec<u8> {
        match self.descr.physical_type() {
            PhysicalType::INT32 => (number as i32).to_le_bytes().to_vec(),
            _ => number.to_le_bytes().to_vec(),
        }
    }
}
