//! Steps through a line of JSON without building anything.

use std::borrow::Cow;

use crate::files::unescape;

/// A place in a text. Every step gives `None` where the text is not as expected; then the slow parser has its say.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// A text as it stands between its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawText<'a>(pub(super) &'a str);

impl<'a> RawText<'a> {
    /// What it means.
    pub(super) fn decode(self) -> Option<Cow<'a, str>> {
        unescape(self.0)
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn skip_space(&mut self) {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The next byte that is no space, which stays.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over this byte.
    pub(super) fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Nothing but space is left.
    pub(super) fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// A text, quotes and all.
    pub(super) fn text(&mut self) -> Option<RawText<'a>> {
        self.eat(b'"')?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        loop {
            self.at += memchr::memchr2(b'"', b'\\', bytes.get(self.at..)?)?;
            if bytes[self.at] == b'"' {
                self.at += 1;
                return Some(RawText(&self.text[start..self.at - 1]));
            }
            self.at += 2;
        }
    }

    /// The key of the next entry of an object, past its colon.
    pub(super) fn key(&mut self) -> Option<&'a str> {
        let RawText(key) = self.text()?;
        self.eat(b':')?;
        // Keys with escapes are for the slow parser.
        (!key.contains('\\')).then_some(key)
    }

    /// After an entry: true when another one follows, false after the last.
    pub(super) fn more(&mut self, close: u8) -> Option<bool> {
        if self.eat(b',').is_some() {
            return Some(true);
        }
        self.eat(close).map(|()| false)
    }

    /// Any value, as it stands. What is in it is not looked at more than needed to find its end.
    pub(super) fn value(&mut self) -> Option<&'a str> {
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
    pub(super) fn long(&mut self) -> Option<i64> {
        self.value()?.parse().ok()
    }

    /// True or false.
    pub(super) fn bool(&mut self) -> Option<bool> {
        match self.value()? {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// Whether null comes next; steps over it.
    pub(super) fn null(&mut self) -> bool {
        let is_null = self.peek() == Some(b'n') && self.text[self.at..].starts_with("null");
        if is_null {
            self.at += 4;
        }
        is_null
    }
}
