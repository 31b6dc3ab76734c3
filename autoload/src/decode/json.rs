//! JSON lines: one object a line.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::column::add_member;
use super::lines::{Line, lines};
use super::rows::Rows;
use super::{SourceFile, Stop, UnknownFields};
use crate::settings::JsonOptions;

/// The fields of a JSON object in their order; values are valid JSON in its text form.
#[derive(Debug, Default)]
pub(crate) struct JsonObject<'a> {
    pub(crate) fields: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a> JsonObject<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        let mut object = Self::default();
        object.parse_into(text)?;
        Ok(object)
    }

    /// Like `parse`, and uses the memory again.
    pub(crate) fn parse_into(&mut self, text: &'a str) -> Result<(), serde_json::Error> {
        self.fields.clear();
        let mut parser = serde_json::Deserializer::from_str(text);
        parser.deserialize_map(Fields(&mut self.fields))?;
        parser.end()
    }
}

struct Fields<'v, 'a>(&'v mut Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Visitor<'a> for Fields<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            let value: &'a RawValue = map.next_value()?;
            self.0.push((name, value.get()));
        }
        Ok(())
    }
}

/// A field name that is borrowed where it holds no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'a> serde::Deserialize<'a> for Name<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'a> Visitor<'a> for Text {
            type Value = Name<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Name<'a>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'a>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The text of a JSON string; `None` when it is another value, or holds half a surrogate pair.
pub(crate) fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
        Some(Cow::Borrowed(inside))
    } else {
        serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
    }
}

/// Appends a text as a JSON string.
pub(crate) fn quote_into(out: &mut String, text: &str) {
    match serde_json::to_string(text) {
        Ok(quoted) => out.push_str(&quoted),
        // A str always has a JSON form.
        Err(_) => out.push_str("\"\""),
    }
}

/// Parses a line into `object`; the error is the reason for quarantine.
pub(super) fn parse_line<'a>(options: &JsonOptions, line: &Line<'a>, object: &mut JsonObject<'a>) -> Result<(), String> {
    if line.bytes.len() > options.max_line_bytes {
        return Err(format!("the line has {} bytes, more than the {} allowed", line.bytes.len(), options.max_line_bytes));
    }
    let text = std::str::from_utf8(line.bytes).map_err(|error| format!("not UTF-8: {error}"))?;
    // The line number in a message of the parser is always 1.
    object.parse_into(text).map_err(|error| {
        let message = error.to_string();
        let what = message.split(" at line ").next().unwrap_or(&message);
        format!("not a JSON object: {what} at column {}", error.column())
    })
}

/// Objects on their way into rows.
pub(super) struct ObjectRows {
    index: HashMap<String, usize>,
    names: Vec<String>,
}

impl ObjectRows {
    pub(super) fn new(fields: &arrow_schema::Fields) -> Self {
        let index = fields.iter().enumerate().map(|(at, field)| (field.name().clone(), at)).collect();
        Self { index, names: fields.iter().map(|field| field.name().clone()).collect() }
    }

    pub(super) fn push(
        &mut self,
        file: &Arc<SourceFile>,
        object: &JsonObject<'_>,
        bytes: usize,
        rows: &mut Rows<'_>,
    ) -> Result<(), Stop> {
        let mut slots: Vec<Option<&str>> = vec![None; self.names.len()];
        let mut rest = String::new();
        let mut guess = 0;
        for (name, value) in &object.fields {
            // Most lines have the fields in the order of the schema.
            let at = match self.names.get(guess) {
                Some(expected) if expected == name.as_ref() => Some(guess),
                _ => self.index.get(name.as_ref()).copied(),
            };
            match at {
                Some(at) => {
                    slots[at] = Some(value);
                    guess = at + 1;
                }
                None if rows.output.unknown == UnknownFields::Ignore || *value == "null" => {}
                None => add_member(&mut rest, name, value),
            }
        }
        for (at, slot) in slots.iter().enumerate() {
            let column = rows.column(at);
            match slot {
                None => column.push_null(),
                Some(value) => {
                    if let Some(left) = column.push_json(value) {
                        add_member(&mut rest, &self.names[at], &left);
                    }
                }
            }
        }
        rows.end_row(file, rest, bytes)
    }
}

pub(super) fn decode(options: &JsonOptions, file: &Arc<SourceFile>, content: &[u8], rows: &mut Rows<'_>) -> Result<(), Stop> {
    let mut objects = ObjectRows::new(&rows.output.fields);
    if options.multi_line {
        let end = documents(content, |document| match document {
            Document::Object(object, bytes) => objects.push(file, object, bytes, rows),
            Document::Broken { line, offset, raw, reason } => {
                rows.output.refuse_line(file, line, offset, reason, raw.as_bytes());
                Ok(())
            }
        })?;
        if let Err(reason) = end {
            rows.output.refuse_file(file, reason);
        }
        return Ok(());
    }
    let mut object = JsonObject::default();
    for line in lines(content) {
        match parse_line(options, &line, &mut object) {
            Ok(()) => objects.push(file, &object, line.bytes.len(), rows)?,
            Err(reason) => rows.output.refuse_line(file, line.number, line.offset, reason, line.bytes),
        }
    }
    Ok(())
}

/// A record of a file that is documents.
pub(super) enum Document<'d, 'a> {
    Object(&'d JsonObject<'a>, usize),
    /// A value that is no object.
    Broken {
        line: u64,
        offset: u64,
        raw: &'a str,
        reason: String,
    },
}

/// Gives the records of a file that is one document or several, over any number of lines: an object is a record, and so
/// is each item of an array. The inner error says why the file breaks off, after the records of the documents before.
pub(super) fn documents<E>(
    content: &[u8],
    mut each: impl FnMut(Document<'_, '_>) -> Result<(), E>,
) -> Result<Result<(), String>, E> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let text = match std::str::from_utf8(content) {
        Ok(text) => text,
        Err(error) => return Ok(Err(format!("not UTF-8: {error}"))),
    };
    let mut object = JsonObject::default();
    let values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    for value in values {
        let value = match value {
            Ok(value) => value.get(),
            Err(error) => return Ok(Err(format!("read the JSON document: {error}"))),
        };
        let items: Vec<&RawValue> = if value.starts_with('[') {
            match serde_json::from_str(value) {
                Ok(items) => items,
                Err(error) => return Ok(Err(format!("read the JSON array: {error}"))),
            }
        } else {
            Vec::new()
        };
        let single = (!value.starts_with('[')).then_some(value);
        for raw in single.into_iter().chain(items.into_iter().map(RawValue::get)) {
            match object.parse_into(raw) {
                Ok(()) => each(Document::Object(&object, raw.len()))?,
                Err(error) => {
                    // The value is a part of the text.
                    let offset = raw.as_ptr() as usize - text.as_ptr() as usize;
                    let line = memchr::memchr_iter(b'\n', &content[..offset]).count() as u64 + 1;
                    let message = error.to_string();
                    let what = message.split(" at line ").next().unwrap_or(&message);
                    each(Document::Broken { line, offset: offset as u64, raw, reason: format!("not a JSON object: {what}") })?;
                }
            }
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_keeps_order_and_exact_values() {
        let object = JsonObject::parse(r#" {"a": 1.50, "b\n": {"x": [1]}, "a": 92233720368547758080} "#).unwrap();
        let fields: Vec<_> = object.fields.iter().map(|(name, value)| (name.as_ref(), *value)).collect();
        assert_eq!(fields, [("a", "1.50"), ("b\n", r#"{"x": [1]}"#), ("a", "92233720368547758080")]);
    }

    #[test]
    fn documents_over_lines_give_objects_and_the_items_of_arrays() {
        let text = "{\n \"a\": 1\n}\n[{\"a\":2},\n 7, {\"a\":[\n]}] {\"a\":";
        let mut found = Vec::new();
        let end = documents::<std::convert::Infallible>(text.as_bytes(), |document| {
            found.push(match document {
                Document::Object(object, _) => object.fields[0].1.to_owned(),
                Document::Broken { line, offset, raw, .. } => format!("{line}:{offset}:{raw}"),
            });
            Ok(())
        });
        assert_eq!(found, ["1", "2", "5:23:7", "[\n]"]);
        let Ok(end) = end;
        assert!(end.unwrap_err().contains("line 6"), "{found:?}");
    }

    #[test]
    fn what_is_no_object_is_refused_with_the_place() {
        let options = JsonOptions { max_line_bytes: 30, ..JsonOptions::default() };
        let long = vec![b' '; 31];
        for (bytes, reason) in [
            (&b"{\"a\":1,\"b\":\"tru"[..], "not a JSON object: EOF while parsing a string at column 15"),
            (b"[1]", "not a JSON object: invalid type: sequence, expected a JSON object at column 0"),
            (b"{} {}", "not a JSON object: trailing characters at column 4"),
            (b"{\"a\":\"\xff\"}", "not UTF-8: invalid utf-8 sequence of 1 bytes from index 6"),
            (&long, "the line has 31 bytes, more than the 30 allowed"),
        ] {
            let line = Line { number: 1, offset: 0, bytes };
            let found = parse_line(&options, &line, &mut JsonObject::default()).unwrap_err();
            assert_eq!(found, reason);
        }
    }
}
