//! Statistics of many files, as text, packed.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::bits::Bits;
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
    Packed { bytes: Vec<u8>, ends: Vec<u32>, length: usize, open: Mutex<Weak<Texts>> },
}

/// Puts a [`StatsBlock`] together.
#[derive(Debug, Default)]
pub struct StatsBlockBuilder {
    present: Bits,
    texts: Texts,
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

    /// The statistics of the next file.
    pub fn push(&mut self, text: Option<&str>) {
        let text = text.filter(|text| self.texts.has_room_for(text));
        self.present.push(text.is_some());
        self.texts.push(text.unwrap_or_default());
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn has_room_for(&self, text: &str) -> bool {
        self.texts.has_room_for(text)
    }

    /// The block, as it came: for whoever reads it once and lets go.
    pub fn finish_unpacked(self) -> StatsBlock {
        let rows = self.texts.len();
        StatsBlock { present: self.present, text: Text::Plain(Arc::new(self.texts)), escaped: self.escaped, rows }
    }

    /// The block, packed when it is large.
    pub fn finish(mut self) -> StatsBlock {
        let rows = self.texts.len();
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
    pub(super) fn open(&self) -> Arc<Texts> {
        match &self.text {
            Text::Plain(texts) => Arc::clone(texts),
            Text::Packed { bytes, ends, length, open } => {
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(texts) = open.upgrade() {
                    return texts;
                }
                // What was packed here unpacks; if memory broke, every row has no statistics, which excludes nothing.
                let text = zstd::bulk::decompress(bytes, *length).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let texts = match text {
                    Some(text) => Texts::from_parts(text, ends.clone()),
                    None => Texts::from_parts(String::new(), vec![0; ends.len()]),
                };
                let texts = Arc::new(texts);
                *open = Arc::downgrade(&texts);
                texts
            }
        }
    }

    /// Appends the text of a row, with `texts` from [`open`](Self::open). `None`, and nothing appended, without any.
    pub(super) fn append(&self, row: usize, texts: &Texts, to: &mut String) -> Option<()> {
        let text = self.present.get(row).then(|| texts.get(row))?;
        if !self.escaped {
            to.push_str(text);
            return Some(());
        }
        let start = to.len();
        let unescaped = unescape_into(text, to);
        if unescaped.is_none() {
            to.truncate(start);
        }
        unescaped
    }

    /// The text of a row, with `texts` from [`open`](Self::open).
    pub(super) fn of<'t>(&self, row: usize, texts: &'t Texts) -> Option<Cow<'t, str>> {
        let text = self.present.get(row).then(|| texts.get(row))?;
        if self.escaped { unescape(text) } else { Some(Cow::Borrowed(text)) }
    }
}

/// What a text within a JSON string means. `None`: its escapes are no JSON.
pub(crate) fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    unescape_into(text, &mut plain)?;
    Some(Cow::Owned(plain))
}

/// Appends it to a text, as far as it is JSON.
fn unescape_into(text: &str, plain: &mut String) -> Option<()> {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        plain.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1)?;
        let (meaning, length) = match escape {
            b'"' => ('"', 2),
            b'\\' => ('\\', 2),
            b'/' => ('/', 2),
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            b'u' => {
                let unit = unit(rest, at)?;
                match unit {
                    0xd800..=0xdbff => {
                        let low = (rest.as_bytes().get(at + 6) == Some(&b'\\')).then(|| unit_at(rest, at + 6)).flatten()?;
                        let low = (0xdc00..=0xdfff).contains(&low).then_some(low)?;
                        (char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))?, 12)
                    }
                    _ => (char::from_u32(unit)?, 6),
                }
            }
            _ => return None,
        };
        plain.push(meaning);
        rest = rest.get(at + length..)?;
    }
    plain.push_str(rest);
    Some(())
}

/// The number in `\uXXXX` at this place.
fn unit(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at + 2..at + 6)?;
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

fn unit_at(text: &str, at: usize) -> Option<u32> {
    (text.as_bytes().get(at + 1) == Some(&b'u')).then(|| unit(text, at)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_within_json_means_what_the_json_parser_says(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap_or_default();
            let unescaped = unescape(&json[1..json.len() - 1]);
            prop_assert_eq!(unescaped.as_deref(), Some(text.as_str()));
        }

        #[test]
        fn odd_escapes_are_read_as_the_json_parser_reads_them(text in "(\\\\[\"\\\\/bfnrtuxd8c0-9]|[a-f0-9]|\\\\ud83d\\\\ude00){0,12}") {
            let parsed: Option<String> = serde_json::from_str(&format!("\"{text}\"")).ok();
            prop_assert_eq!(unescape(&text).map(Cow::into_owned), parsed);
        }
    }

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
