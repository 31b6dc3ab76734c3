//! XML: the elements of one name are rows.
//!
//! A row becomes a JSON object, and goes the way of those:
//!
//! | in the element | in the object |
//! | --- | --- |
//! | attribute `a="1"` | field `_a` |
//! | child element `<b>2</b>` | field `b`; an array when it comes more than once |
//! | text beside attributes or children | field `_VALUE` |
//! | text that reads as a JSON number, `true` or `false` | that value; a text column keeps it letter by letter |
//! | empty element | null |
//!
//! Prefixes of names are left out. **Source**: Apache Spark, "XML Files".

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields};
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

use super::json::{JsonObject, ObjectRows, quote_into};
use super::rows::Rows;
use super::{SourceFile, Stop};
use crate::settings::XmlOptions;

/// Deeper elements are refused with their row.
const MAX_DEPTH: usize = 64;

/// An element and what is in it.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
    text: String,
}

/// A row in its text form, and where it begins.
pub(super) struct XmlRow {
    element: Element,
    offset: u64,
    bytes: usize,
    too_deep: bool,
}

/// Gives every row; the inner error says where and why the file breaks off, after the rows before that place.
pub(super) fn rows<E>(
    options: &XmlOptions,
    content: &[u8],
    mut each: impl FnMut(XmlRow) -> Result<(), E>,
) -> Result<Result<(), (u64, String)>, E> {
    let mut reader = Reader::from_reader(content);
    let mut open: Vec<Element> = Vec::new();
    let mut begin = 0;
    let mut depth = 0_usize;
    let mut too_deep = false;
    loop {
        let at = reader.buffer_position();
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(error) => return Ok(Err((reader.error_position(), error.to_string()))),
        };
        let broken = |reason: String| Ok(Err((at, reason)));
        match event {
            Event::Eof if open.is_empty() => return Ok(Ok(())),
            Event::Eof => return broken(format!("the file ends within <{}>", options.row_tag)),
            Event::Start(start) if open.is_empty() && !is_row(options, &start) => {}
            Event::Start(start) => {
                if open.is_empty() {
                    (begin, depth, too_deep) = (at, 0, false);
                }
                depth += 1;
                if depth > MAX_DEPTH {
                    too_deep = true;
                    continue;
                }
                match element(&start) {
                    Ok(element) => open.push(element),
                    Err(reason) => return broken(reason),
                }
            }
            Event::Empty(start) => {
                let found = match element(&start) {
                    Ok(element) => element,
                    Err(reason) => return broken(reason),
                };
                match open.last_mut() {
                    Some(parent) => parent.children.push(found),
                    None if is_row(options, &start) => {
                        let bytes = length(at, reader.buffer_position());
                        each(XmlRow { element: found, offset: at, bytes, too_deep: false })?;
                    }
                    None => {}
                }
            }
            Event::End(_) if open.is_empty() => {}
            Event::End(_) => {
                depth -= 1;
                if depth >= MAX_DEPTH {
                    continue;
                }
                let Some(done) = open.pop() else { continue };
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => {
                        let bytes = length(begin, reader.buffer_position());
                        each(XmlRow { element: done, offset: begin, bytes, too_deep })?;
                    }
                }
            }
            Event::Text(text) => {
                if let Some(parent) = open.last_mut() {
                    match text.xml10_content() {
                        Ok(text) => parent.text.push_str(&text),
                        Err(error) => return broken(error.to_string()),
                    }
                }
            }
            Event::CData(text) => {
                if let Some(parent) = open.last_mut() {
                    match text.decode() {
                        Ok(text) => parent.text.push_str(&text),
                        Err(error) => return broken(error.to_string()),
                    }
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(parent) = open.last_mut() {
                    let resolved = match reference.resolve_char_ref() {
                        Ok(Some(letter)) => Some(letter.to_string()),
                        Ok(None) => {
                            let name = reference.decode().unwrap_or_default();
                            resolve_predefined_entity(&name).map(str::to_owned)
                        }
                        Err(_) => None,
                    };
                    match resolved {
                        Some(text) => parent.text.push_str(&text),
                        // Entities that a document defines itself are not followed: they can blow up.
                        None => return broken(format!("the reference &{}; is unknown", String::from_utf8_lossy(&reference))),
                    }
                }
            }
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) => {}
        }
    }
}

fn length(start: u64, end: u64) -> usize {
    usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX)
}

fn is_row(options: &XmlOptions, start: &BytesStart<'_>) -> bool {
    start.local_name().as_ref() == options.row_tag.as_bytes()
}

fn element(start: &BytesStart<'_>) -> Result<Element, String> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| format!("not UTF-8: {error}"));
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let raw = text(&attribute.value)?;
        let value = quick_xml::escape::unescape(&raw).map_err(|error| error.to_string())?.into_owned();
        let whole = attribute.key.as_ref();
        if whole == b"xmlns" || whole.starts_with(b"xmlns:") {
            continue;
        }
        attributes.push((text(attribute.key.local_name().as_ref())?, value));
    }
    Ok(Element { name: text(start.local_name().as_ref())?, attributes, ..Element::default() })
}

impl XmlRow {
    /// The row as a JSON object; an error is the reason for quarantine.
    pub(super) fn to_json(&self, fields: &Fields) -> Result<String, String> {
        if self.too_deep {
            return Err(format!("elements are nested deeper than {MAX_DEPTH}"));
        }
        let mut out = String::new();
        object_into(&mut out, &self.element, Some(fields));
        Ok(out)
    }
}

/// The element as an object. Where a list is wanted, an element that came once is a list of one.
fn object_into(out: &mut String, element: &Element, wanted: Option<&Fields>) {
    let wants =
        |name: &str| wanted.and_then(|fields| fields.iter().find(|field| field.name() == name)).map(|field| field.data_type());
    let mut members = 0;
    let mut member = |out: &mut String, name: &str| {
        out.push(if members == 0 { '{' } else { ',' });
        members += 1;
        quote_into(out, name);
        out.push(':');
    };
    for (name, value) in &element.attributes {
        member(out, &format!("_{name}"));
        scalar_into(out, value);
    }
    let mut groups: Vec<(&str, Vec<&Element>)> = Vec::new();
    let mut index: HashMap<&str, usize> = HashMap::new();
    for child in &element.children {
        match index.get(child.name.as_str()) {
            Some(&at) => groups[at].1.push(child),
            None => {
                index.insert(&child.name, groups.len());
                groups.push((&child.name, vec![child]));
            }
        }
    }
    for (name, children) in groups {
        member(out, name);
        let wanted = wants(name);
        match (children.as_slice(), wanted) {
            ([one], wanted) if !matches!(wanted, Some(DataType::List(_))) => value_into(out, one, wanted),
            (many, wanted) => {
                let item = wanted.and_then(|wanted| match wanted {
                    DataType::List(item) => Some(item.data_type()),
                    _ => None,
                });
                out.push('[');
                for (at, one) in many.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    value_into(out, one, item);
                }
                out.push(']');
            }
        }
    }
    let text = element.text.trim();
    if !text.is_empty() {
        member(out, "_VALUE");
        scalar_into(out, text);
    }
    out.push_str(if members == 0 { "{}" } else { "}" });
}

fn value_into(out: &mut String, element: &Element, wanted: Option<&DataType>) {
    if element.children.is_empty() && element.attributes.is_empty() && !matches!(wanted, Some(DataType::Struct(_))) {
        match element.text.trim() {
            "" => out.push_str("null"),
            text => scalar_into(out, text),
        }
        return;
    }
    let fields = match wanted {
        Some(DataType::Struct(fields)) => Some(fields),
        _ => None,
    };
    object_into(out, element, fields);
}

fn scalar_into(out: &mut String, text: &str) {
    let literal = match text.as_bytes().first() {
        Some(b't' | b'f') => text == "true" || text == "false",
        Some(b'-' | b'0'..=b'9') => {
            serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok_and(|value| value.get().len() == text.len())
        }
        _ => false,
    };
    if literal {
        out.push_str(text);
    } else {
        quote_into(out, text);
    }
}

/// The line that holds a byte, from 1.
fn line_of(content: &[u8], offset: u64) -> u64 {
    let before = &content[..usize::try_from(offset).unwrap_or(usize::MAX).min(content.len())];
    memchr::memchr_iter(b'\n', before).count() as u64 + 1
}

pub(super) fn decode(options: &XmlOptions, file: &Arc<SourceFile>, content: &[u8], out: &mut Rows<'_>) -> Result<(), Stop> {
    let fields = out.output.fields.clone();
    let mut objects = ObjectRows::new(&fields);
    let end = rows(options, content, |row| {
        let start = usize::try_from(row.offset).unwrap_or(0).min(content.len());
        let raw = &content[start..start.saturating_add(row.bytes).min(content.len())];
        let parsed = row.to_json(&fields);
        let object =
            parsed.as_ref().map_err(Clone::clone).and_then(|json| JsonObject::parse(json).map_err(|error| error.to_string()));
        match object {
            Ok(object) => objects.push(file, &object, row.bytes, out),
            Err(reason) => {
                out.output.refuse_line(file, line_of(content, row.offset), row.offset, reason, raw);
                Ok(())
            }
        }
    })?;
    if let Err((offset, reason)) = end {
        let line = line_of(content, offset);
        out.output.refuse_file(file, format!("read the XML file beyond line {line}, byte {offset}: {reason}"));
    }
    Ok(())
}

/// The fields that come more than once in a row of this file are lists in all its rows.
pub(super) fn lists_of(options: &XmlOptions, content: &[u8], known: &Fields) -> Fields {
    let mut fields: Vec<Arc<Field>> = known.iter().map(Arc::clone).collect();
    let _end: Result<_, std::convert::Infallible> = rows(options, content, |row| {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for child in &row.element.children {
            *counts.entry(&child.name).or_default() += 1;
        }
        for (name, count) in counts {
            if count > 1 && !fields.iter().any(|field| field.name() == name) {
                let item = Arc::new(Field::new("item", DataType::Utf8, true));
                fields.push(Arc::new(Field::new(name, DataType::List(item), true)));
            }
        }
        Ok(())
    });
    fields.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(content: &str) -> (Vec<String>, Option<(u64, String)>) {
        let options = XmlOptions { row_tag: "row".to_owned() };
        let mut found = Vec::new();
        let end = rows::<std::convert::Infallible>(&options, content.as_bytes(), |row| {
            found.push(row.to_json(&Fields::empty()).unwrap_or_else(|reason| reason));
            Ok(())
        });
        let Ok(end) = end;
        (found, end.err())
    }

    #[test]
    fn attributes_children_lists_and_text_become_an_object() {
        let (found, end) = json(concat!(
            "<?xml version=\"1.0\"?><!-- c --><rows xmlns:x=\"u\">\n<row id=\"7\"><x:a>1</x:a><b>007</b><c/><l>1</l><l>x &amp; y</l></row>\n",
            "<row>just &#65; <![CDATA[<text>]]></row><row><s t=\"1\">v</s></row><row/></rows>"
        ));
        assert_eq!(
            found,
            [
                r#"{"_id":7,"a":1,"b":"007","c":null,"l":[1,"x & y"]}"#,
                r#"{"_VALUE":"just A <text>"}"#,
                r#"{"s":{"_t":1,"_VALUE":"v"}}"#,
                "{}",
            ]
        );
        assert_eq!(end, None);
    }

    #[test]
    fn a_file_that_breaks_off_keeps_the_rows_before() {
        let (found, end) = json("<rows><row><a>1</a></row><row><a>2</b></row></rows>");
        assert_eq!(found, ["{\"a\":1}"]);
        assert!(end.is_some());
        let (found, end) = json("<rows><row><a>1</a></row><row><a>2");
        assert_eq!((found.len(), end.is_some()), (1, true));
        let (found, end) = json("<rows><row>&boom;</row></rows>");
        assert_eq!((found.len(), end.is_some()), (0, true));
    }

    #[test]
    fn a_row_that_is_nested_too_deep_is_refused_and_the_next_one_is_not() {
        let deep = format!("<rows><row>{}{}</row><row><a>1</a></row></rows>", "<d>".repeat(1000), "</d>".repeat(1000));
        let (found, end) = json(&deep);
        assert_eq!(found, ["elements are nested deeper than 64", "{\"a\":1}"]);
        assert_eq!(end, None);
    }
}
