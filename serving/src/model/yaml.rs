//! The part of YAML that `MLmodel` files are written in.
//!
//! Block mappings, block sequences, plain and quoted scalars (folded over several lines, as long strings
//! are written), literal and folded blocks, `{}`, `[]` and one-line flow collections that are JSON.
//! No anchors, tags, or several documents. A whole crate for YAML would be more than `MLmodel` needs, and
//! the well-known one is no longer kept up.
//!
//! **Source**: YAML 1.2.2, chapters 7 and 8.

use serde_json::{Map, Value};

use crate::error::{Result, ServingError};

/// Reads a document. Scalars that are not quoted become null, booleans and numbers as JSON would have them.
pub(super) fn parse(text: &str) -> Result<Value> {
    // JSON is YAML.
    if text.trim_start().starts_with(['{', '[']) {
        return serde_json::from_str(text)
            .map_err(|e| ServingError::MlmodelSyntax { line: e.line(), problem: "it starts as JSON, but is none" });
    }
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| *line != "---")
        .map(|(number, raw)| Line { number: number + 1, indent: raw.len() - raw.trim_start_matches(' ').len(), raw })
        .collect();
    let mut reader = Reader { lines, at: 0, depth: 0 };
    let value = reader.block(0)?;
    match reader.peek() {
        None => Ok(value),
        Some(line) => Err(line.error("indented less than its block")),
    }
}

/// A scalar as a single-quoted string.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Mappings and sequences within each other: a model has a handful, and a hostile file must not exhaust the stack.
const MAX_DEPTH: usize = 64;

struct Line<'a> {
    number: usize,
    indent: usize,
    raw: &'a str,
}

impl<'a> Line<'a> {
    fn text(&self) -> &'a str {
        self.raw.trim()
    }

    fn error(&self, problem: &'static str) -> ServingError {
        ServingError::MlmodelSyntax { line: self.number, problem }
    }
}

struct Reader<'a> {
    lines: Vec<Line<'a>>,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// The next line that is neither empty nor a comment.
    fn peek(&mut self) -> Option<&Line<'a>> {
        while self.lines.get(self.at).is_some_and(|l| l.text().is_empty() || l.text().starts_with('#')) {
            self.at += 1;
        }
        self.lines.get(self.at)
    }

    /// A mapping or sequence whose entries stand at `indent` or deeper.
    fn block(&mut self, indent: usize) -> Result<Value> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ServingError::MlmodelSyntax { line: self.at, problem: "nested too deeply" });
        }
        let value = self.entries(indent);
        self.depth -= 1;
        value
    }

    fn entries(&mut self, indent: usize) -> Result<Value> {
        let Some(first) = self.peek() else { return Ok(Value::Null) };
        if first.indent < indent {
            return Ok(Value::Null);
        }
        let indent = first.indent;
        if is_item(first.text()) {
            return self.sequence(indent);
        }
        let mut fields = Map::new();
        while let Some(line) = self.peek() {
            if line.indent < indent || is_item(line.text()) {
                break;
            }
            if line.indent > indent {
                return Err(line.error("indented more than its block"));
            }
            let (key, rest) = key_of(line.text()).ok_or_else(|| line.error("expected `key: value`"))?;
            let duplicate = line.error("the key stands twice");
            self.at += 1;
            let value = self.value(rest, indent)?;
            if fields.insert(key, value).is_some() {
                return Err(duplicate);
            }
        }
        Ok(Value::Object(fields))
    }

    fn sequence(&mut self, indent: usize) -> Result<Value> {
        let mut items = Vec::new();
        while let Some(line) = self.peek() {
            if line.indent != indent || !is_item(line.text()) {
                break;
            }
            let rest = line.text()[1..].trim_start();
            let inner = indent + line.text().len() - rest.len();
            if !rest.is_empty() && !rest.starts_with(['\'', '"', '{', '[']) && key_of(rest).is_some() {
                // A mapping that starts behind the dash: read it as if the dash were a space.
                if let Some(line) = self.lines.get_mut(self.at) {
                    line.indent = inner;
                    line.raw = rest;
                }
                items.push(self.block(inner)?);
            } else {
                self.at += 1;
                items.push(self.value(rest, indent)?);
            }
        }
        Ok(Value::Array(items))
    }

    /// What stands behind `key:`. The line itself is consumed already.
    fn value(&mut self, rest: &str, indent: usize) -> Result<Value> {
        let number = self.at;
        let error = |problem| ServingError::MlmodelSyntax { line: number, problem };
        match rest.as_bytes().first() {
            None => match self.peek() {
                // A sequence may stand at the indent of its key.
                Some(line) if line.indent == indent && is_item(line.text()) => self.sequence(indent),
                Some(line) if line.indent > indent => {
                    let deeper = line.indent;
                    if is_item(line.text()) || key_of(line.text()).is_some() {
                        self.block(deeper)
                    } else {
                        let text = line.text();
                        self.at += 1;
                        self.value(text, indent)
                    }
                }
                _ => Ok(Value::Null),
            },
            Some(b'#') => self.value("", indent),
            Some(b'\'') => {
                let text = self.quoted(rest, '\'', indent)?;
                Ok(Value::String(text.replace("''", "'")))
            }
            Some(b'"') => {
                let text = self.quoted(rest, '"', indent)?;
                unescape(&text).map(Value::String).ok_or_else(|| error("an escape that is not read"))
            }
            Some(b'{' | b'[') => serde_json::from_str(rest).map_err(|_| error("a flow collection that is not JSON")),
            Some(b'|' | b'>') => Ok(Value::String(self.literal(rest, indent))),
            Some(b'&' | b'*' | b'!') => Err(error("anchors, aliases and tags are not read")),
            Some(_) => {
                let mut text = rest.split(" #").next().unwrap_or(rest).trim_end().to_owned();
                let mut folded = false;
                while let Some(line) = self.peek() {
                    if line.indent <= indent {
                        break;
                    }
                    text.push(' ');
                    text.push_str(line.text());
                    folded = true;
                    self.at += 1;
                }
                Ok(if folded { Value::String(text) } else { plain(&text) })
            }
        }
    }

    /// The inside of a quoted scalar, its line breaks folded to spaces, its escapes untouched.
    fn quoted(&mut self, first: &str, quote: char, indent: usize) -> Result<String> {
        let number = self.at;
        let mut inside = String::new();
        let mut rest = &first[1..];
        let mut empty_lines = 0;
        loop {
            if let Some(end) = closing(rest, quote) {
                let after = rest[end + 1..].trim_start();
                if !after.is_empty() && !after.starts_with('#') {
                    return Err(ServingError::MlmodelSyntax { line: self.at, problem: "text behind the closing quote" });
                }
                inside.push_str(&rest[..end]);
                return Ok(inside);
            }
            let escaped_break = quote == '"' && rest.ends_with('\\') && !rest.ends_with("\\\\");
            inside.push_str(if escaped_break { &rest[..rest.len() - 1] } else { rest.trim_end() });
            let next = loop {
                let Some(line) = self.lines.get(self.at) else {
                    return Err(ServingError::MlmodelSyntax { line: number, problem: "the quote is never closed" });
                };
                self.at += 1;
                if line.text().is_empty() {
                    empty_lines += 1;
                    continue;
                }
                if line.indent <= indent && indent > 0 {
                    return Err(line.error("the quote above is never closed"));
                }
                break line;
            };
            if empty_lines > 0 {
                inside.extend(std::iter::repeat_n('\n', std::mem::take(&mut empty_lines)));
            } else if !escaped_break {
                inside.push(' ');
            }
            rest = next.raw.trim_start();
        }
    }

    fn literal(&mut self, header: &str, indent: usize) -> String {
        let mut lines = Vec::new();
        let mut block_indent = None;
        while let Some(line) = self.lines.get(self.at) {
            if !line.text().is_empty() && line.indent <= indent {
                break;
            }
            let cut = if line.text().is_empty() { line.raw.len() } else { *block_indent.get_or_insert(line.indent) };
            lines.push(line.raw.get(cut..).unwrap_or(""));
            self.at += 1;
        }
        while lines.last().is_some_and(|l| l.is_empty()) {
            lines.pop();
        }
        let mut text = lines.join(if header.starts_with('>') { " " } else { "\n" });
        if !header.ends_with('-') && !text.is_empty() {
            text.push('\n');
        }
        text
    }
}

fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

/// `key: rest`, the key quoted or plain.
fn key_of(text: &str) -> Option<(String, &str)> {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let end = 1 + closing(&text[1..], quote)?;
        let rest = text[end + 1..].strip_prefix(':')?;
        let key = if quote == '\'' { text[1..end].replace("''", "'") } else { unescape(&text[1..end])? };
        return (rest.is_empty() || rest.starts_with(' ')).then(|| (key, rest.trim()));
    }
    if let Some((key, rest)) = text.split_once(": ") {
        return Some((key.trim_end().to_owned(), rest.trim()));
    }
    Some((text.strip_suffix(':')?.to_owned(), ""))
}

/// Where the closing quote stands.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote == '"' => {
                chars.next();
            }
            c if c == quote => {
                if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') {
                    chars.next();
                } else {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let digits = match chars.next()? {
            'n' => {
                out.push('\n');
                continue;
            }
            't' => {
                out.push('\t');
                continue;
            }
            'r' => {
                out.push('\r');
                continue;
            }
            '0' => {
                out.push('\0');
                continue;
            }
            c @ ('"' | '\\' | '/' | ' ') => {
                out.push(c);
                continue;
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return None,
        };
        let code: String = chars.by_ref().take(digits).collect();
        let code = u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == digits)?;
        out.push(char::from_u32(code)?);
    }
    Some(out)
}

/// Reads a plain scalar as YAML's core schema does.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => match text.parse::<i64>() {
            Ok(int) => Value::from(int),
            Err(_) if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) => text
                .parse::<f64>()
                .ok()
                .filter(|_| text.contains(|c: char| c.is_ascii_digit()))
                .map_or_else(|| Value::String(text.to_owned()), Value::from),
            Err(_) => Value::String(text.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_file_as_mlflow_writes_it_is_read() {
        let text = r#"artifact_path: model
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    python_version: 3.12.3
  onnx:
    data: model.onnx
    onnx_version: '1.23'
    providers:
    - CUDAExecutionProvider
    - CPUExecutionProvider
    save_as_external_data: true
is_signature_from_type_hint: false
model_size_bytes: 1273
prompts: null
signature:
  inputs: '[{"type": "double", "name": "distance", "required": true}, {"type": "string",
    "name": "carrier''s", "required": false}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1]}}]'
  params: null
utc_time_created: '2026-11-22 15:40:11.123456'
"#;
        assert_eq!(
            parse(text).unwrap(),
            json!({
                "artifact_path": "model",
                "flavors": {
                    "python_function": {
                        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                        "loader_module": "mlflow.sklearn",
                        "python_version": "3.12.3",
                    },
                    "onnx": {
                        "data": "model.onnx",
                        "onnx_version": "1.23",
                        "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"],
                        "save_as_external_data": true,
                    },
                },
                "is_signature_from_type_hint": false,
                "model_size_bytes": 1273,
                "prompts": null,
                "signature": {
                    "inputs": "[{\"type\": \"double\", \"name\": \"distance\", \"required\": true}, {\"type\": \"string\", \"name\": \"carrier's\", \"required\": false}]",
                    "outputs": "[{\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"float32\", \"shape\": [-1]}}]",
                    "params": null,
                },
                "utc_time_created": "2026-11-22 15:40:11.123456",
            })
        );
    }

    #[test]
    fn sequences_of_mappings_literals_and_double_quotes_are_read() {
        let text = "a:\n- x: 1\n  y: 2.5\n- x: -3\nb: |\n  one\n    two\nc: \"tab\\t \\u00e9 and\n  more\"\nd: {}\ne: [1, 2]\nf: plain\n  folded\n# note\n";
        assert_eq!(
            parse(text).unwrap(),
            json!({"a": [{"x": 1, "y": 2.5}, {"x": -3}], "b": "one\n  two\n", "c": "tab\t é and more", "d": {}, "e": [1, 2], "f": "plain folded"})
        );
    }

    #[test]
    fn what_is_not_read_is_an_error_with_its_line() {
        for (text, line) in [
            ("a: 1\nb\n", 2),
            ("a: 'x\n", 1),
            ("a: 1\n   b: 2\nc\n", 3),
            ("a: &x 1\n", 1),
            ("a: 1\na: 2\n", 2),
            ("{\n\"a\"\n", 3),
        ] {
            match parse(text) {
                Err(ServingError::MlmodelSyntax { line: found, .. }) => assert_eq!(found, line, "{text:?}"),
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn nesting_without_end_is_an_error() {
        let deep: String = (0..2_000).map(|depth| format!("{}k:\n", " ".repeat(depth))).collect();
        assert!(matches!(parse(&deep), Err(ServingError::MlmodelSyntax { .. })));
        let dashes: String = (0..2_000).map(|depth| format!("{}-\n", " ".repeat(depth))).collect();
        assert!(matches!(parse(&dashes), Err(ServingError::MlmodelSyntax { .. })));
        let inline = format!("{}k: 1\n", "- ".repeat(20_000));
        assert!(matches!(parse(&inline), Err(ServingError::MlmodelSyntax { .. })));
    }

    #[test]
    fn a_quoted_string_comes_back() {
        for text in ["", "it's", "{\"a\": 1}", "#x: y"] {
            assert_eq!(parse(&format!("k: {}\n", quote(text))).unwrap(), json!({"k": text}));
        }
    }
}
