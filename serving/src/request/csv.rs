//! CSV bodies: a header, then rows.

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use std::borrow::Cow;

use super::column::Columns;
use super::json::places;
use crate::error::{Result, ServingError};
use crate::exact_json::Cell;

/// The rows of a CSV text with a header, as columns of `schema`.
///
/// An empty field is null, unless it is quoted. Booleans are `true` and `false` in any case.
///
/// **Errors**: of kind `Invalid`, naming the column and row, or the line where the text breaks.
///
/// **Source**: RFC 4180.
pub fn rows_from_csv(body: &[u8], schema: &SchemaRef) -> Result<RecordBatch> {
    let text = std::str::from_utf8(body).map_err(|_| ServingError::RequestCsv { line: 1, problem: "the text is not UTF-8" })?;
    let mut records = Records { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    let header = records.next().ok_or(ServingError::RequestCsv { line: 1, problem: "expected a header, found nothing" })??;
    let names: Vec<&str> = header.iter().map(|(name, _)| name.trim()).collect();
    let mut columns = Columns::new(schema, text.lines().count())?;
    let places = places(&columns, &names)?;
    columns.require(&places, || names.iter().map(|n| (*n).to_owned()).collect())?;
    let mut row = 0;
    for record in records {
        let record = record?;
        if record.len() != names.len() {
            let columns = names.iter().map(|n| (*n).to_owned()).collect();
            return Err(ServingError::RowWidth { row, expected: names.len(), found: record.len(), columns });
        }
        for ((value, quoted), place) in record.iter().zip(&places) {
            let Some(at) = *place else { continue };
            let cell = cell(value, *quoted, schema.field(at).data_type());
            columns.push(at, row, cell)?;
        }
        columns.complete(row, Vec::new)?;
        row += 1;
    }
    columns.finish(row)
}

/// Text has no types: the column says how to read it.
fn cell<'a>(value: &'a str, quoted: bool, data_type: &DataType) -> Cell<'a> {
    let text = || Cell::String(Cow::Borrowed(value));
    if value.is_empty() && !quoted {
        return Cell::Null;
    }
    let trimmed = value.trim();
    match data_type {
        DataType::Boolean if trimmed.eq_ignore_ascii_case("true") => Cell::Boolean(true),
        DataType::Boolean if trimmed.eq_ignore_ascii_case("false") => Cell::Boolean(false),
        found if found.is_integer() => trimmed.parse().map_or_else(|_| text(), Cell::Int),
        found if found.is_floating() => match trimmed.parse() {
            Ok(int) => Cell::Int(int),
            Err(_) => trimmed.parse().ok().filter(|v: &f64| v.is_finite()).map_or_else(text, Cell::Float),
        },
        _ => text(),
    }
}

struct Records<'a> {
    rest: &'a str,
    line: usize,
}

/// A field, and whether it was quoted.
type Field<'a> = (Cow<'a, str>, bool);

impl<'a> Iterator for Records<'a> {
    type Item = Result<Vec<Field<'a>>>;

    fn next(&mut self) -> Option<Self::Item> {
        // Empty lines separate nothing.
        while let Some(rest) = self.rest.strip_prefix('\n').or_else(|| self.rest.strip_prefix("\r\n")) {
            self.rest = rest;
            self.line += 1;
        }
        if self.rest.is_empty() {
            return None;
        }
        let mut record = Vec::new();
        loop {
            match self.field() {
                Ok(field) => record.push(field),
                Err(error) => {
                    self.rest = "";
                    return Some(Err(error));
                }
            }
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
                continue;
            }
            if let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n')) {
                self.rest = rest;
                self.line += 1;
            }
            return Some(Ok(record));
        }
    }
}

impl<'a> Records<'a> {
    fn field(&mut self) -> Result<Field<'a>> {
        let Some(mut rest) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
            let (field, rest) = self.rest.split_at(end);
            // A carriage return belongs to the end of the line.
            let field = if rest.starts_with(',') { field } else { field.strip_suffix('\r').unwrap_or(field) };
            self.rest = rest;
            return Ok((Cow::Borrowed(field), false));
        };
        let start = self.line;
        let mut value = Cow::Borrowed("");
        loop {
            let Some(end) = rest.find('"') else {
                return Err(ServingError::RequestCsv { line: start, problem: "a quoted field is never closed" });
            };
            let (part, after) = (&rest[..end], &rest[end + 1..]);
            self.line += part.matches('\n').count();
            if value.is_empty() {
                value = Cow::Borrowed(part);
            } else {
                value.to_mut().push_str(part);
            }
            if let Some(more) = after.strip_prefix('"') {
                value.to_mut().push('"');
                rest = more;
                continue;
            }
            if !(after.is_empty() || after.starts_with([',', '\n', '\r'])) {
                return Err(ServingError::RequestCsv { line: self.line, problem: "text behind the closing quote of a field" });
            }
            self.rest = if after == "\r" { "" } else { after };
            return Ok((value, true));
        }
    }
}
