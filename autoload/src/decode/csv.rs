//! Delimited text: one record a line, or over several where a quoted value holds line ends.
//!
//! **Source**: RFC 4180; without `multi_line`, a quoted value ends with its line at the latest.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::column::add_member;
use super::json::quote_into;
use super::lines::{Line, lines, quoted_lines};
use super::rows::Rows;
use super::{SourceFile, Stop, UnknownFields};
use crate::settings::{CsvHeader, CsvOptions};

/// A value, and whether it stood in quotes.
pub(super) type Value<'a> = (Cow<'a, str>, bool);

/// Whether a value is null.
pub(super) fn is_null(options: &CsvOptions, value: &Value<'_>) -> bool {
    !value.1 && value.0 == options.null_text
}

/// Splits a line into values; the error is the reason for quarantine.
pub(super) fn split<'a>(options: &CsvOptions, line: &Line<'a>, values: &mut Vec<Value<'a>>) -> Result<(), String> {
    values.clear();
    if line.bytes.len() > options.max_line_bytes {
        return Err(format!("the line has {} bytes, more than the {} allowed", line.bytes.len(), options.max_line_bytes));
    }
    let text = std::str::from_utf8(line.bytes).map_err(|error| format!("not UTF-8: {error}"))?;
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        if bytes.get(at) == Some(&options.quote) {
            let start = at + 1;
            let mut owned = String::new();
            let mut from = start;
            let end = loop {
                let length = memchr::memchr(options.quote, &bytes[from..])
                    .ok_or_else(|| format!("a quote opened at column {} is never closed", start))?;
                let close = from + length;
                if bytes.get(close + 1) == Some(&options.quote) {
                    owned.push_str(&text[from..=close]);
                    from = close + 2;
                } else {
                    break close;
                }
            };
            let value = if owned.is_empty() {
                Cow::Borrowed(&text[start..end])
            } else {
                owned.push_str(&text[from..end]);
                Cow::Owned(owned)
            };
            values.push((value, true));
            at = end + 1;
            match bytes.get(at) {
                None => return Ok(()),
                Some(b) if *b == options.delimiter => at += 1,
                Some(_) => return Err(format!("text follows a closing quote at column {}", at + 1)),
            }
        } else {
            let end = memchr::memchr(options.delimiter, &bytes[at..]).map_or(bytes.len(), |length| at + length);
            values.push((Cow::Borrowed(&text[at..end]), false));
            if end == bytes.len() {
                return Ok(());
            }
            at = end + 1;
        }
    }
}

/// The column names of a file; the error is why the file cannot be read.
pub(super) fn header(options: &CsvOptions, first: &Line<'_>) -> Result<Vec<String>, String> {
    let mut values = Vec::new();
    split(options, first, &mut values).map_err(|reason| format!("read the header: {reason}"))?;
    let name = |(at, value): (usize, &Value<'_>)| match options.header {
        CsvHeader::FirstLine if !value.0.is_empty() => value.0.clone().into_owned(),
        _ => format!("_c{at}"),
    };
    let names: Vec<String> = values.iter().enumerate().map(name).collect();
    let mut seen = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        if let Some(before) = seen.insert(name, at) {
            return Err(format!("read the header: columns {} and {} are both named `{name}`", before + 1, at + 1));
        }
    }
    Ok(names)
}

/// Calls `each` for every record; the outer error is why the file cannot be read.
pub(super) fn records<'a, E>(
    options: &CsvOptions,
    content: &'a [u8],
    mut begin: impl FnMut(&[String]),
    mut each: impl FnMut(&Line<'a>, Result<&[Value<'a>], String>) -> Result<(), E>,
) -> Result<Result<(), String>, E> {
    let found: Box<dyn Iterator<Item = Line<'a>> + 'a> =
        if options.multi_line { Box::new(quoted_lines(content, options.quote)) } else { Box::new(lines(content)) };
    let mut found = found.peekable();
    let Some(first) = found.peek().copied() else { return Ok(Ok(())) };
    let names = match header(options, &first) {
        Ok(names) => names,
        Err(reason) => return Ok(Err(reason)),
    };
    if options.header == CsvHeader::FirstLine {
        found.next();
    }
    begin(&names);
    let mut values = Vec::new();
    for line in found {
        let result = split(options, &line, &mut values).and_then(|()| {
            if values.len() == names.len() { Ok(()) } else { Err(format!("{} values for {} columns", values.len(), names.len())) }
        });
        each(&line, result.map(|()| values.as_slice()))?;
    }
    Ok(Ok(()))
}

/// Appends a row of named texts to columns of the same names; gives back the members that did not fit.
pub(super) fn push_texts<'a>(rows: &mut Rows<'_>, values: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut rest = String::new();
    let mut left: Vec<bool> = vec![true; rows.output.fields.len()];
    let mut rescue = |name: &str, text: &str| {
        let mut quoted = String::new();
        quote_into(&mut quoted, text);
        add_member(&mut rest, name, &quoted);
    };
    for (name, text) in values {
        match rows.output.fields.iter().position(|field| field.name() == name) {
            Some(at) => {
                left[at] = false;
                if !rows.column(at).push_text(text) {
                    rescue(name, text);
                }
            }
            None if rows.output.unknown == UnknownFields::Rescue => rescue(name, text),
            None => {}
        }
    }
    for (at, _) in left.iter().enumerate().filter(|(_, left)| **left) {
        rows.column(at).push_null();
    }
    rest
}

pub(super) fn decode(options: &CsvOptions, file: &Arc<SourceFile>, content: &[u8], rows: &mut Rows<'_>) -> Result<(), Stop> {
    let columns: Vec<String> = rows.output.fields.iter().map(|field| field.name().clone()).collect();
    // For each schema column its place in the file, and the places of the others.
    let places = std::cell::RefCell::new((Vec::new(), Vec::new()));
    let begin = |names: &[String]| {
        let places = &mut *places.borrow_mut();
        places.0 = columns.iter().map(|column| names.iter().position(|name| name == column)).collect::<Vec<_>>();
        places.1 = names
            .iter()
            .enumerate()
            .filter(|(_, name)| !columns.contains(name))
            .map(|(at, name)| (at, name.clone()))
            .collect::<Vec<_>>();
    };
    let each = |line: &Line<'_>, values: Result<&[Value<'_>], String>| {
        let values = match values {
            Ok(values) => values,
            Err(reason) => {
                rows.output.refuse_line(file, line.number, line.offset, reason, line.bytes);
                return Ok(());
            }
        };
        let places = places.borrow();
        let mut rest = String::new();
        let rescue = |rest: &mut String, name: &str, text: &str| {
            let mut quoted = String::new();
            quote_into(&mut quoted, text);
            add_member(rest, name, &quoted);
        };
        if rows.output.unknown == UnknownFields::Rescue {
            for (at, name) in &places.1 {
                if !is_null(options, &values[*at]) {
                    rescue(&mut rest, name, &values[*at].0);
                }
            }
        }
        for (at, place) in places.0.iter().enumerate() {
            let column = rows.column(at);
            match place.map(|place| &values[place]) {
                None => column.push_null(),
                Some(value) if is_null(options, value) => column.push_null(),
                Some((text, _)) => {
                    if !column.push_text(text) {
                        rescue(&mut rest, &columns[at], text);
                    }
                }
            }
        }
        rows.end_row(file, rest, line.bytes.len())
    };
    if let Err(reason) = records(options, content, begin, each)? {
        rows.output.refuse_file(file, reason);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_text(text: &str) -> Result<Vec<(String, bool)>, String> {
        let line = Line { number: 1, offset: 0, bytes: text.as_bytes() };
        let mut values = Vec::new();
        split(&CsvOptions::default(), &line, &mut values)?;
        Ok(values.into_iter().map(|(value, quoted)| (value.into_owned(), quoted)).collect())
    }

    #[test]
    fn quotes_hold_delimiters_and_doubled_quotes() {
        let found = split_text(r#"a,"b,c","d""e","",,"#).unwrap();
        let texts: Vec<_> = found.iter().map(|(text, quoted)| (text.as_str(), *quoted)).collect();
        assert_eq!(texts, [("a", false), ("b,c", true), ("d\"e", true), ("", true), ("", false), ("", false)]);
        assert_eq!(split_text("\"\"\"\"").unwrap(), [("\"".to_owned(), true)]);
    }

    #[test]
    fn broken_quotes_are_named_with_their_column() {
        assert_eq!(split_text("a,\"b").unwrap_err(), "a quote opened at column 3 is never closed");
        assert_eq!(split_text("\"a\"b").unwrap_err(), "text follows a closing quote at column 4");
    }

    #[test]
    fn a_header_that_names_a_column_twice_is_refused() {
        let line = Line { number: 1, offset: 0, bytes: b"a,,a" };
        let reason = header(&CsvOptions::default(), &line).unwrap_err();
        assert_eq!(reason, "read the header: columns 1 and 3 are both named `a`");
    }
}
