//! Statistics of many files, as text, packed.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use super::bits::Bits;
use super::escapes::{append_unescaped, unescape};
use super::shared_texts::SharedTexts;
use super::texts::Texts;

/// From how much text on a block is compressed.
const PACKED_FROM_BYTES: usize = 256 * 1024;
/// Speed counts here: the text repeats itself, and every level finds that.
const LEVEL: i32 = 1;

/// The statistics of the files of a segment, row by row.
///
/// **Cost**: a large block is compressed, to about a tenth. Reading one row of it unpacks the block, which stays
/// unpacked as long as somebody reads it.
#[derive(Debug)]
pub struct StatsBlock {
    present: Bits,
    text: Text,
    escaped: bool,
    rows: usize,
}

#[derive(Debug)]
enum Text {
    Plain(Arc<Texts>),
    /// Where they were read.
    Shared(Arc<SharedTexts>),
    Packed {
        bytes: Vec<u8>,
        ends: Vec<u32>,
        length: usize,
        open: Mutex<Weak<Texts>>,
    },
}

/// The texts of a block, unpacked as long as the value lives.
#[derive(Debug, Clone)]
pub(super) enum OpenTexts {
    Own(Arc<Texts>),
    Shared(Arc<SharedTexts>),
}

impl OpenTexts {
    fn get(&self, row: usize) -> &str {
        match self {
            Self::Own(texts) => texts.get(row),
            Self::Shared(texts) => texts.get(row),
        }
    }

    fn bytes(&self, row: usize) -> &[u8] {
        match self {
            Self::Own(texts) => texts.get(row).as_bytes(),
            Self::Shared(texts) => texts.bytes(row),
        }
    }
}

/// Puts a [`StatsBlock`] together.
#[derive(Debug, Default)]
pub struct StatsBlockBuilder {
    present: Bits,
    texts: Texts,
    shared: Option<SharedTexts>,
    escaped: bool,
}

impl StatsBlockBuilder {
    /// For texts as they stand.
    pub fn new() -> Self {
        Self::default()
    }

    /// For texts as they stand within a JSON string, escapes and all.
    pub(crate) fn escaped() -> Self {
        Self { escaped: true, ..Self::default() }
    }

    /// For texts as they stand within a JSON string of this piece of a commit, which is kept in their place.
    pub(super) fn shared(piece: &Bytes) -> Self {
        Self { shared: Some(SharedTexts::within(piece.clone())), ..Self::escaped() }
    }

    /// The statistics of the next file.
    pub fn push(&mut self, text: Option<&str>) {
        let text = text.filter(|text| self.has_room_for(text));
        self.present.push(text.is_some());
        match &mut self.shared {
            Some(shared) => shared.push(text.unwrap_or_default()),
            None => self.texts.push(text.unwrap_or_default()),
        }
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.shared.as_ref().map_or(self.texts.len(), SharedTexts::len)
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn has_room_for(&self, text: &str) -> bool {
        match &self.shared {
            Some(shared) => shared.has_room_for(text),
            None => self.texts.has_room_for(text),
        }
    }

    /// The block, packed when it is large and not where it was read.
    pub fn finish(mut self) -> StatsBlock {
        let rows = self.len();
        if let Some(shared) = self.shared {
            return StatsBlock { present: self.present, text: Text::Shared(Arc::new(shared)), escaped: self.escaped, rows };
        }
        let packed = (self.texts.bytes() >= PACKED_FROM_BYTES)
            .then(|| zstd::bulk::compress(self.texts.as_str().as_bytes(), LEVEL).ok())
            .flatten();
        let text = match packed {
            Some(mut bytes) => {
                bytes.shrink_to_fit();
                let (buffer, ends) = self.texts.into_parts();
                Text::Packed { bytes, ends, length: buffer.len(), open: Mutex::default() }
            }
            None => {
                self.texts.shrink_to_fit();
                Text::Plain(Arc::new(self.texts))
            }
        };
        StatsBlock { present: self.present, text, escaped: self.escaped, rows }
    }
}

impl StatsBlock {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Keeps the block unpacked for as long as the value lives.
    pub(super) fn open(&self) -> OpenTexts {
        match &self.text {
            Text::Plain(texts) => OpenTexts::Own(Arc::clone(texts)),
            Text::Shared(texts) => OpenTexts::Shared(Arc::clone(texts)),
            Text::Packed { bytes, ends, length, open } => {
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(texts) = open.upgrade() {
                    return OpenTexts::Own(texts);
                }
                // What was packed here unpacks; if memory broke, every row has no statistics, which excludes nothing.
                let text = zstd::bulk::decompress(bytes, *length).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let texts = match text {
                    Some(text) => Texts::from_parts(text, ends.clone()),
                    None => Texts::from_parts(String::new(), vec![0; ends.len()]),
                };
                let texts = Arc::new(texts);
                *open = Arc::downgrade(&texts);
                OpenTexts::Own(texts)
            }
        }
    }

    /// Appends the text of a row, with `texts` from [`open`](Self::open). `None`, and nothing appended, without any.
    pub(super) fn append(&self, row: usize, texts: &OpenTexts, to: &mut Vec<u8>) -> Option<()> {
        let text = self.present.get(row).then(|| texts.bytes(row))?;
        if self.escaped {
            return append_unescaped(text, to);
        }
        to.extend_from_slice(text);
        Some(())
    }

    /// The text of a row, with `texts` from [`open`](Self::open).
    pub(super) fn of<'t>(&self, row: usize, texts: &'t OpenTexts) -> Option<Cow<'t, str>> {
        let text = self.present.get(row).then(|| texts.get(row))?;
        if self.escaped { unescape(text) } else { Some(Cow::Borrowed(text)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_block_gives_back_its_rows() {
        let text =
            |row: usize| (!row.is_multiple_of(7)).then(|| format!("{{\"numRecords\":{row},\"pad\":\"{}\"}}", "x".repeat(100)));
        let mut builder = StatsBlockBuilder::new();
        for row in 0..5000 {
            builder.push(text(row).as_deref());
        }
        let block = builder.finish();
        assert!(matches!(&block.text, Text::Packed { bytes, .. } if bytes.len() < 100_000));
        let open = block.open();
        for row in 0..5000 {
            assert_eq!(block.of(row, &open).as_deref(), text(row).as_deref());
        }
    }
}
