//! Steps through a line of JSON without building anything.

use std::borrow::Cow;

use crate::files::unescape;

/// A place in a text. Every step gives `None` where the text is not as expected; then the slow parser has its say.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// A text as it stands between its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawText<'a>(pub(crate) &'a str);

impl<'a> RawText<'a> {
    /// What it means.
    pub(crate) fn decode(self) -> Option<Cow<'a, str>> {
        unescape(self.0)
    }
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn skip_space(&mut self) {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The next byte that is no space, which stays.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over this byte.
    pub(crate) fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Nothing but space is left.
    pub(crate) fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// A text, quotes and all.
    pub(crate) fn text(&mut self) -> Option<RawText<'a>> {
        self.eat(b'"')?;
        let start = self.at;
        let end = end_of_text(self.text.as_bytes(), start)?;
        self.at = end + 1;
        Some(RawText(&self.text[start..end]))
    }

    /// The key of the next entry of an object, past its colon.
    pub(crate) fn key(&mut self) -> Option<&'a str> {
        let RawText(key) = self.text()?;
        self.eat(b':')?;
        // Keys with escapes are for the slow parser.
        (!key.contains('\\')).then_some(key)
    }

    /// After an entry: true when another one follows, false after the last.
    pub(crate) fn more(&mut self, close: u8) -> Option<bool> {
        if self.eat(b',').is_some() {
            return Some(true);
        }
        self.eat(close).map(|()| false)
    }

    /// Any value, as it stands. What is in it is not looked at more than needed to find its end.
    pub(crate) fn value(&mut self) -> Option<&'a str> {
        let first = self.peek()?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        match first {
            b'"' => {
                self.text()?;
            }
            b'{' | b'[' => {
                let mut depth = 0_usize;
                loop {
                    match self.peek()? {
                        b'"' => {
                            self.text()?;
                            continue;
                        }
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth -= 1,
                        _ => {}
                    }
                    self.at += 1;
                    if depth == 0 {
                        break;
                    }
                }
            }
            _ => {
                while bytes.get(self.at).is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')) {
                    self.at += 1;
                }
            }
        }
        (self.at > start).then(|| &self.text[start..self.at])
    }

    /// A whole number.
    pub(crate) fn long(&mut self) -> Option<i64> {
        self.value()?.parse().ok()
    }

    /// True or false.
    pub(crate) fn bool(&mut self) -> Option<bool> {
        match self.value()? {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// Whether null comes next; steps over it.
    pub(crate) fn null(&mut self) -> bool {
        let is_null = self.peek() == Some(b'n') && self.text[self.at..].starts_with("null");
        if is_null {
            self.at += 4;
        }
        is_null
    }
}

/// Bytes that are looked at together.
const BLOCK: usize = 32;

/// The place of the quote that ends the text which starts here.
///
/// Statistics are long texts with an escaped quote every few bytes. In a block of bytes a text can only end, or become
/// difficult, at a quote without a backslash before it, or at two backslashes in a row; blocks without them are passed
/// over as a whole.
fn end_of_text(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    // The byte before `start` is a quote: it is no escape.
    while let Some(block) = bytes.get(at..at + BLOCK) {
        let before = &bytes[at - 1..at + BLOCK - 1];
        let odd = block.iter().zip(before).fold(false, |odd, (byte, before)| {
            odd | ((*byte == b'"') & (*before != b'\\')) | ((*byte == b'\\') & (*before == b'\\'))
        });
        if odd {
            break;
        }
        at += BLOCK;
    }
    // So far a backslash was always an escape.
    if at > start && bytes[at - 1] == b'\\' {
        at += 1;
    }
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_ends_where_the_json_parser_ends_it(text in "([a-c]|\\\\|\"|é){0,120}", after in "[a\"\\\\]{0,40}") {
            let json = format!("{}{after}", serde_json::to_string(&text).unwrap_or_default());
            let end = end_of_text(json.as_bytes(), 1);
            let parsed = end.and_then(|end| serde_json::from_str::<String>(&json[..=end]).ok());
            prop_assert_eq!(parsed.as_deref(), Some(text.as_str()));
        }

        #[test]
        fn a_text_that_does_not_end_is_found_out(text in "([a-c]|\\\\[\"\\\\n]){0,120}") {
            prop_assert_eq!(end_of_text(format!("\"{text}").as_bytes(), 1), None);
        }
    }
}
