//! Plain text: a row for each line, or for each file.

use std::sync::Arc;

use super::csv::push_texts;
use super::rows::Rows;
use super::{SourceFile, Stop};
use crate::settings::TextOptions;

/// The one column.
pub(crate) const VALUE: &str = "value";

pub(super) fn decode(options: &TextOptions, file: &Arc<SourceFile>, content: &[u8], rows: &mut Rows<'_>) -> Result<(), Stop> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut row = |line: u64, offset: u64, bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => {
            let rest = push_texts(rows, std::iter::once((VALUE, text)));
            rows.end_row(file, rest, bytes.len())
        }
        Err(error) => {
            rows.output.refuse_line(file, line, offset, format!("not UTF-8: {error}"), bytes);
            Ok(())
        }
    };
    if options.whole_files {
        return row(1, 0, content);
    }
    let mut at = 0;
    let mut line = 0;
    // A blank line is a line here; the end of the last one is no further line.
    while at < content.len() {
        let rest = &content[at..];
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        line += 1;
        row(line, at as u64, rest[..length].strip_suffix(b"\r").unwrap_or(&rest[..length]))?;
        at += length + 1;
    }
    Ok(())
}
