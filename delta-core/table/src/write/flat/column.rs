//! One column of one row group, from arrays to a column chunk.

use std::io::Write;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ByteArrayType, ByteViewType, Date32Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, GenericByteArray, GenericByteViewArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use parquet::basic::{Compression, Encoding, Type as PhysicalType, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::ColumnDescPtr;

use super::bounds::ByteBounds;
use super::dictionary::Dictionary;
use super::index::{ChunkIndex, PageFacts, Value};
use super::page::{Codec, Page, PageKind, Rope, Scratch};
use super::{delta, hybrid};

/// Rows of a page: what a reader with a page index skips or reads as a whole.
const PAGE_ROWS: usize = 20_000;
/// A page ends with so many bytes of text.
const PAGE_BYTES: usize = 1 << 20;
/// A chunk whose first page keeps more than this part of its bytes is not compressed.
const POOR_COMPRESSION: f64 = 0.92;
/// For that, the dictionary counts as much as one of so many pages.
const PAGES_OF_A_DICTIONARY: usize = 16;

/// How the values of a column are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::write) enum Form {
    /// Whole numbers, and what is stored as such: the differences of neighbours.
    Deltas,
    /// Text or bytes: each distinct value once, and keys.
    Dictionary,
    /// Text or bytes: all lengths, and then all bytes.
    Lengths,
}

/// Encodes one column of one row group.
pub(in crate::write) struct FlatColumn {
    nullable: bool,
    narrow: bool,
    is_bytes: bool,
    form: Form,
    codec: Codec,
    page: OpenPage,
    dictionary: Dictionary,
    pages: Vec<Page>,
    /// Pages that the dictionary is needed for.
    keyed: usize,
    index: ChunkIndex,
}

/// The values of the page that fills.
#[derive(Debug, Default)]
struct OpenPage {
    rows: usize,
    nulls: usize,
    /// One for a value and zero for a null; empty while there is no null.
    levels: Vec<u32>,
    numbers: Vec<i64>,
    keys: Vec<u32>,
    lengths: Vec<i64>,
    data: Vec<u8>,
    bounds: ByteBounds,
    value_bytes: usize,
}

impl OpenPage {
    fn clear(&mut self) {
        (self.rows, self.nulls, self.value_bytes) = (0, 0, 0);
        self.levels.clear();
        self.numbers.clear();
        self.keys.clear();
        self.lengths.clear();
        self.data.clear();
        self.bounds.clear();
    }
}

impl FlatColumn {
    /// A column of the file, whose values have this type in the table.
    pub(in crate::write) fn new(descr: ColumnDescPtr, data_type: &DataType, form: Form, codec: Codec) -> Self {
        Self {
            nullable: descr.max_def_level() > 0,
            narrow: descr.physical_type() == PhysicalType::INT32,
            is_bytes: form != Form::Deltas,
            form,
            codec,
            page: OpenPage::default(),
            dictionary: Dictionary::default(),
            pages: Vec::new(),
            keyed: 0,
            index: ChunkIndex::new(descr, *data_type == DataType::Utf8),
        }
    }

    /// About how many bytes the chunk has by now.
    pub(in crate::write) fn bytes(&self) -> usize {
        // Two bytes for a number or a key are a guess: they are encoded when the page is full.
        let open = (self.page.numbers.len() + self.page.keys.len() + self.page.lengths.len()) * 2 + self.page.data.len();
        self.index.stored_bytes() + self.dictionary.page().len() + open
    }

    /// Appends the values of an array: of the table's type, text and bytes in any layout.
    pub(in crate::write) fn write(&mut self, array: &dyn Array, scratch: &mut Scratch) -> Result<()> {
        let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        let mut at = 0;
        while at < array.len() {
            let rows = at..array.len().min(at + PAGE_ROWS - self.page.rows);
            let taken = match self.form {
                Form::Deltas => self.take_numbers(array, rows.clone(), nulls.as_ref())?,
                Form::Dictionary | Form::Lengths => self.take_texts(array, rows.clone(), nulls.as_ref())?,
            };
            self.take_levels(at..at + taken, nulls.as_ref());
            at += taken;
            if taken < rows.len() || self.page.rows >= PAGE_ROWS || self.page.data.len() >= PAGE_BYTES {
                self.end_page(scratch)?;
            }
        }
        Ok(())
    }

    /// Ends the chunk.
    pub(in crate::write) fn close(mut self, scratch: &mut Scratch) -> Result<FlatChunk> {
        self.end_page(scratch)?;
        let dictionary = match self.keyed {
            0 => None,
            _ => {
                let plain = self.dictionary.page();
                let body = match self.codec {
                    Codec::Nothing => plain,
                    Codec::Zstd { level } => scratch.zstd.compress(plain, level)?,
                };
                Some(Page::new(PageKind::Dictionary, self.dictionary.len(), plain.len(), body)?)
            }
        };
        let compression = match self.codec {
            Codec::Nothing => Compression::UNCOMPRESSED,
            Codec::Zstd { level } => Compression::ZSTD(ZstdLevel::try_new(level)?),
        };
        let close = self.index.close(dictionary.as_ref(), compression)?;
        Ok(FlatChunk { pages: Rope::new(dictionary.into_iter().chain(self.pages)), close })
    }

    /// Which of the rows are null.
    fn take_levels(&mut self, rows: Range<usize>, nulls: Option<&NullBuffer>) {
        let page = &mut self.page;
        let taken = rows.len();
        let found = nulls.map(|nulls| nulls.slice(rows.start, taken)).filter(|nulls| nulls.null_count() > 0);
        if let Some(found) = found {
            page.levels.resize(page.rows, 1);
            page.levels.extend(found.iter().map(u32::from));
            page.nulls += found.null_count();
        } else if !page.levels.is_empty() {
            page.levels.resize(page.rows + taken, 1);
        }
        page.rows += taken;
    }

    fn take_numbers(&mut self, array: &dyn Array, rows: Range<usize>, nulls: Option<&NullBuffer>) -> Result<usize> {
        macro_rules! take {
            ($arrow:ty, $number:expr) => {
                take(&mut self.page.numbers, &array.as_primitive::<$arrow>().values()[rows.clone()], $number)
            };
        }
        let before = self.page.numbers.len();
        match array.data_type() {
            DataType::Int8 => take!(Int8Type, i64::from),
            DataType::Int16 => take!(Int16Type, i64::from),
            DataType::Int32 => take!(Int32Type, i64::from),
            DataType::Int64 => take!(Int64Type, |v| v),
            DataType::Date32 => take!(Date32Type, i64::from),
            DataType::Timestamp(TimeUnit::Microsecond, _) => take!(TimestampMicrosecondType, |v| v),
            // Up to 18 digits: no more than 64 bits.
            DataType::Decimal128(_, _) => take!(Decimal128Type, |v| v as i64),
            other => return Err(not_flat(other)),
        }
        if let Some(nulls) = nulls {
            let (mut row, mut kept) = (rows.start, before);
            let numbers = &mut self.page.numbers;
            for at in before..numbers.len() {
                numbers[kept] = numbers[at];
                kept += usize::from(nulls.is_valid(row));
                row += 1;
            }
            numbers.truncate(kept);
        }
        Ok(rows.len())
    }

    /// Returns how many rows were taken: fewer than all when the page has to end.
    fn take_texts(&mut self, array: &dyn Array, rows: Range<usize>, nulls: Option<&NullBuffer>) -> Result<usize> {
        Ok(match array.data_type() {
            DataType::Utf8 => self.take_offsets(array.as_string::<i32>(), rows, nulls),
            DataType::LargeUtf8 => self.take_offsets(array.as_string::<i64>(), rows, nulls),
            DataType::Binary => self.take_offsets(array.as_binary::<i32>(), rows, nulls),
            DataType::LargeBinary => self.take_offsets(array.as_binary::<i64>(), rows, nulls),
            DataType::Utf8View => self.take_views(array.as_string_view(), rows, nulls),
            DataType::BinaryView => self.take_views(array.as_binary_view(), rows, nulls),
            DataType::Dictionary(_, _) => {
                let dictionary = array.as_any_dictionary();
                let (keys, values) = (dictionary.normalized_keys(), dictionary.values());
                macro_rules! take {
                    ($values:expr) => {{
                        let values = $values;
                        self.take_values(rows, nulls, |row| values.value(keys[row]).as_ref())
                    }};
                }
                match values.data_type() {
                    DataType::Utf8 => take!(values.as_string::<i32>()),
                    DataType::LargeUtf8 => take!(values.as_string::<i64>()),
                    DataType::Binary => take!(values.as_binary::<i32>()),
                    DataType::LargeBinary => take!(values.as_binary::<i64>()),
                    DataType::Utf8View => take!(values.as_string_view()),
                    DataType::BinaryView => take!(values.as_binary_view()),
                    other => return Err(not_flat(other)),
                }
            }
            other => return Err(not_flat(other)),
        })
    }

    fn take_views<T: ByteViewType>(
        &mut self,
        array: &GenericByteViewArray<T>,
        rows: Range<usize>,
        nulls: Option<&NullBuffer>,
    ) -> usize {
        self.take_values(rows, nulls, |row| array.value(row).as_ref())
    }

    fn take_offsets<T: ByteArrayType>(
        &mut self,
        array: &GenericByteArray<T>,
        rows: Range<usize>,
        nulls: Option<&NullBuffer>,
    ) -> usize {
        use arrow_buffer::ArrowNativeType;
        let (offsets, data) = (array.value_offsets(), array.value_data());
        if self.form == Form::Dictionary || nulls.is_some() {
            return self.take_values(rows, nulls, |row| &data[offsets[row].as_usize()..offsets[row + 1].as_usize()]);
        }
        // All values lie in a row: they are copied at once, as many as the page has room for.
        let offsets = &offsets[rows.start..=rows.end];
        let start = offsets[0].as_usize();
        let room = PAGE_BYTES.saturating_sub(self.page.data.len());
        let fitting = offsets[1..].partition_point(|end| end.as_usize() - start < room);
        let offsets = &offsets[..=(fitting + 1).min(rows.len())];
        let page = &mut self.page;
        let before = page.data.len();
        page.data.extend_from_slice(&data[start..offsets[offsets.len() - 1].as_usize()]);
        page.value_bytes += page.data.len() - before;
        page.lengths.reserve(offsets.len());
        for pair in offsets.windows(2) {
            let (from, to) = (pair[0].as_usize(), pair[1].as_usize());
            page.lengths.push((to - from) as i64);
            page.bounds.see(&data[from..to]);
        }
        offsets.len() - 1
    }

    fn take_values<'a>(&mut self, rows: Range<usize>, nulls: Option<&NullBuffer>, value: impl Fn(usize) -> &'a [u8]) -> usize {
        let (page, first) = (&mut self.page, rows.start);
        let all = rows.len();
        let nth = self.pages.len() as u32 + 1;
        for row in rows {
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let value = value(row);
            if self.form == Form::Dictionary {
                let Some(found) = self.dictionary.key_of(value, nth) else {
                    self.form = Form::Lengths;
                    return row - first;
                };
                if found.first {
                    page.bounds.see(value);
                }
                page.keys.push(found.key);
            } else {
                if page.data.len() >= PAGE_BYTES {
                    return row - first;
                }
                page.bounds.see(value);
                page.lengths.push(value.len() as i64);
                page.data.extend_from_slice(value);
            }
            page.value_bytes += value.len();
        }
        all
    }

    fn end_page(&mut self, scratch: &mut Scratch) -> Result<()> {
        let page = &self.page;
        if page.rows == 0 {
            return Ok(());
        }
        let out = &mut scratch.page;
        out.clear();
        if self.nullable {
            out.extend_from_slice(&[0; 4]);
            match page.levels.as_slice() {
                [] => hybrid::run(1, page.rows, 1, out),
                levels => hybrid::encode(levels, 1, out),
            }
            // Levels of a page are a few thousand bytes.
            let length = out.len() as u32 - 4;
            out[..4].copy_from_slice(&length.to_le_bytes());
        }
        // The form may have changed since the page began.
        let encoding = if !self.is_bytes {
            delta::encode(&page.numbers, self.narrow, out);
            Encoding::DELTA_BINARY_PACKED
        } else if self.form == Form::Dictionary || !page.keys.is_empty() {
            let width = self.dictionary.width();
            out.push(width as u8);
            hybrid::encode(&page.keys, width, out);
            self.keyed += 1;
            Encoding::RLE_DICTIONARY
        } else {
            delta::encode(&page.lengths, true, out);
            out.extend_from_slice(&page.data);
            Encoding::DELTA_LENGTH_BYTE_ARRAY
        };
        if self.pages.is_empty() && !self.is_worth_compressing(scratch)? {
            self.codec = Codec::Nothing;
        }
        let body = match self.codec {
            Codec::Nothing => &scratch.page,
            Codec::Zstd { level } => scratch.zstd.compress(&scratch.page, level)?,
        };
        let page = &mut self.page;
        let done = Page::new(PageKind::Data(encoding), page.rows, scratch.page.len(), body)?;
        let bounds = if self.is_bytes {
            page.bounds.get().map(|(least, greatest)| (Value::Bytes(least.to_vec()), Value::Bytes(greatest.to_vec())))
        } else {
            let (least, greatest) = (page.numbers.iter().min(), page.numbers.iter().max());
            least.zip(greatest).map(|(least, greatest)| (Value::Number(*least), Value::Number(*greatest)))
        };
        let value_bytes = self.is_bytes.then(|| i64::try_from(page.value_bytes).unwrap_or(i64::MAX));
        self.index.add(&done, PageFacts { encoding, rows: page.rows, nulls: page.nulls, bounds, value_bytes });
        self.pages.push(done);
        page.clear();
        Ok(())
    }

    /// Whether compression makes the first page, and what there is of the dictionary, clearly smaller.
    fn is_worth_compressing(&self, scratch: &mut Scratch) -> Result<bool> {
        let Codec::Zstd { level } = self.codec else { return Ok(false) };
        let (mut before, mut after) = (scratch.page.len(), scratch.zstd.compress(&scratch.page, level)?.len());
        if self.keyed > 0 {
            before = before * PAGES_OF_A_DICTIONARY + self.dictionary.page().len();
            after = after * PAGES_OF_A_DICTIONARY + scratch.zstd.compress(self.dictionary.page(), level)?.len();
        }
        Ok(after as f64 <= POOR_COMPRESSION * before as f64)
    }
}

fn take<T: Copy>(numbers: &mut Vec<i64>, values: &[T], number: impl Fn(T) -> i64) {
    numbers.extend(values.iter().map(|value| number(*value)));
}

fn not_flat(data_type: &DataType) -> ParquetError {
    ParquetError::External(Box::new(ArrowError::NotYetImplemented(format!(
        "column chunks of {data_type} without the parquet crate"
    ))))
}

/// A column chunk that is done, in memory.
pub(crate) struct FlatChunk {
    pages: Rope,
    close: ColumnCloseResult,
}

impl FlatChunk {
    pub(super) fn new(pages: Rope, close: ColumnCloseResult) -> Self {
        Self { pages, close }
    }

    pub(in crate::write) fn close(&self) -> &ColumnCloseResult {
        &self.close
    }

    /// Writes the chunk as the next one of the row group.
    pub(crate) fn append<W: Write + Send>(self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        group.append_column(&self.pages, self.close)
    }
}
