//! Lines of a text file, with their numbers and places.

/// A line without its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: u64,
    /// Of its first byte, in the unpacked file.
    pub(super) offset: u64,
    pub(super) bytes: &'a [u8],
}

/// The lines that are not blank. A byte order mark is no part of the first line, `\r` none of any.
pub(super) fn lines(content: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut at = if content.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut number = 0;
    std::iter::from_fn(move || {
        while at < content.len() {
            let rest = &content[at..];
            let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let bytes = rest[..length].strip_suffix(b"\r").unwrap_or(&rest[..length]);
            let offset = at as u64;
            at += length + 1;
            number += 1;
            if !bytes.iter().all(u8::is_ascii_whitespace) {
                return Some(Line { number, offset, bytes });
            }
        }
        None
    })
}

/// Like [`lines`], and a line's end between quotes belongs to the line. Numbers are those of its first line.
pub(super) fn quoted_lines(content: &[u8], quote: u8) -> impl Iterator<Item = Line<'_>> {
    let mut at = if content.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut number = 0;
    std::iter::from_fn(move || {
        while at < content.len() {
            let rest = &content[at..];
            let mut quoted = false;
            let mut ends = 0;
            let length = memchr::memchr2_iter(b'\n', quote, rest).find(|place| {
                let end = rest[*place] == b'\n';
                quoted ^= !end;
                ends += u64::from(end && quoted);
                end && !quoted
            });
            let length = length.unwrap_or(rest.len());
            let bytes = rest[..length].strip_suffix(b"\r").unwrap_or(&rest[..length]);
            let (offset, first) = (at as u64, number + 1);
            at += length + 1;
            number += 1 + ends;
            if !bytes.iter().all(u8::is_ascii_whitespace) {
                return Some(Line { number: first, offset, bytes });
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_between_quotes_is_no_end() {
        let found: Vec<_> = quoted_lines(b"a,\"x\ny\"\"\n\"\r\n\nb\n\"open\nc", b'"')
            .map(|line| (line.number, line.offset, String::from_utf8_lossy(line.bytes).into_owned()))
            .collect();
        assert_eq!(found, [(1, 0, "a,\"x\ny\"\"\n\"".to_owned()), (5, 13, "b".to_owned()), (6, 15, "\"open\nc".to_owned())]);
    }

    #[test]
    fn blank_lines_count_but_do_not_come() {
        let found: Vec<_> =
            lines(b"\xef\xbb\xbfa\r\n\n  \nb").map(|line| (line.number, line.offset, line.bytes.to_vec())).collect();
        assert_eq!(found, [(1, 3, b"a".to_vec()), (4, 10, b"b".to_vec())]);
        assert_eq!(lines(b"").count(), 0);
        assert_eq!(lines(b"\n\n").count(), 0);
    }
}
