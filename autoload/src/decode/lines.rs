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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_count_but_do_not_come() {
        let found: Vec<_> =
            lines(b"\xef\xbb\xbfa\r\n\n  \nb").map(|line| (line.number, line.offset, line.bytes.to_vec())).collect();
        assert_eq!(found, [(1, 3, b"a".to_vec()), (4, 10, b"b".to_vec())]);
        assert_eq!(lines(b"").count(), 0);
        assert_eq!(lines(b"\n\n").count(), 0);
    }
}
