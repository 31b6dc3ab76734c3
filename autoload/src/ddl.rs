//! Schema hints as SQL writes them: `id BIGINT, at TIMESTAMP, tags ARRAY<STRING>`.
//!
//! **Source**: Databricks SQL language reference, "Data types"; Auto Loader's `cloudFiles.schemaHints`.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use boathouse_base::{DECIMAL_PRECISION, is_sql_decimal, sql_decimal, sql_type};

/// Columns and their types. The error says what is wrong and where, in characters from 1.
pub(crate) fn parse_columns(text: &str) -> Result<Vec<(String, DataType)>, String> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let mut columns = Vec::new();
    parser.space();
    while parser.at < text.len() {
        let name = parser.name()?;
        parser.space();
        if parser.eat(".") {
            return Err(parser.wrong("a nested field has no hint of its own: give the type of the whole column"));
        }
        columns.push((name, parser.data_type()?));
        parser.space();
        if parser.at < text.len() && !parser.eat(",") {
            return Err(parser.wrong("expected `,` or the end"));
        }
        parser.space();
    }
    Ok(columns)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: u8,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn wrong(&self, what: &str) -> String {
        format!("{what}, at character {}", self.text[..self.at].chars().count() + 1)
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        let hit = self.rest().starts_with(token);
        if hit {
            self.at += token.len();
        }
        hit
    }

    /// A name, in backticks where it holds other letters.
    fn name(&mut self) -> Result<String, String> {
        self.space();
        if !self.eat("`") {
            return self.word();
        }
        let mut name = String::new();
        loop {
            let Some(end) = self.rest().find('`') else { return Err(self.wrong("a backtick is never closed")) };
            name.push_str(&self.rest()[..end]);
            self.at += end + 1;
            if !self.rest().starts_with('`') {
                return Ok(name);
            }
            name.push('`');
            self.at += 1;
        }
    }

    fn word(&mut self) -> Result<String, String> {
        self.space();
        let length = self.rest().find(|letter: char| !(letter.is_alphanumeric() || letter == '_')).unwrap_or(self.rest().len());
        if length == 0 {
            return Err(self.wrong("expected a name"));
        }
        let word = self.rest()[..length].to_owned();
        self.at += length;
        Ok(word)
    }

    fn number(&mut self) -> Result<u8, String> {
        let word = self.word()?;
        word.parse().map_err(|_| self.wrong(&format!("`{word}` is no small number")))
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.eat(token) { Ok(()) } else { Err(self.wrong(&format!("expected `{token}`"))) }
    }

    fn data_type(&mut self) -> Result<DataType, String> {
        let word = self.word()?;
        if let Some(data_type) = sql_type(&word) {
            return Ok(data_type);
        }
        if is_sql_decimal(&word) {
            return self.decimal();
        }
        let data_type = match word.to_ascii_uppercase().as_str() {
            "VARCHAR" | "CHAR" => {
                if self.eat("(") {
                    self.word()?;
                    self.expect(")")?;
                }
                DataType::Utf8
            }
            "ARRAY" => {
                self.deeper()?;
                self.expect("<")?;
                let item = self.data_type()?;
                self.expect(">")?;
                self.depth -= 1;
                DataType::List(Arc::new(Field::new("item", item, true)))
            }
            "STRUCT" => {
                self.deeper()?;
                self.expect("<")?;
                let mut fields = Vec::new();
                while !self.eat(">") {
                    let name = self.name()?;
                    self.eat(":");
                    fields.push(Field::new(name, self.data_type()?, true));
                    if !self.eat(",") {
                        self.expect(">")?;
                        break;
                    }
                }
                self.depth -= 1;
                DataType::Struct(fields.into())
            }
            _ => return Err(self.wrong(&format!("`{word}` is no type that a hint can have"))),
        };
        Ok(data_type)
    }

    fn decimal(&mut self) -> Result<DataType, String> {
        let (mut precision, mut scale) = (DECIMAL_PRECISION, 0);
        if self.eat("(") {
            precision = self.number()?;
            if self.eat(",") {
                scale = self.number()?;
            }
            self.expect(")")?;
        }
        sql_decimal(precision, scale).ok_or_else(|| self.wrong(&format!("DECIMAL({precision},{scale}) does not exist")))
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > 32 { Err(self.wrong("types are nested deeper than 32")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_every_type_are_understood() {
        let columns =
            parse_columns(" id bigint, `odd ``name` DECIMAL(12, 2) ,s STRUCT<a: INT, b ARRAY<STRING>>, at TIMESTAMP, d DEC")
                .unwrap();
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["id", "odd `name", "s", "at", "d"]);
        assert_eq!(columns[0].1, DataType::Int64);
        assert_eq!(columns[1].1, DataType::Decimal128(12, 2));
        assert_eq!(columns[4].1, DataType::Decimal128(10, 0));
        let DataType::Struct(fields) = &columns[2].1 else { panic!("{columns:?}") };
        assert_eq!((fields.len(), fields[1].name().as_str()), (2, "b"));
        assert!(parse_columns("  ").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_type_is_named_with_its_place() {
        for (text, reason) in [
            ("a BLOB", "`BLOB` is no type that a hint can have, at character 7"),
            ("a.b INT", "a nested field has no hint of its own: give the type of the whole column, at character 3"),
            ("a INT b INT", "expected `,` or the end, at character 7"),
            ("`a INT", "a backtick is never closed, at character 2"),
            ("a DECIMAL(39)", "DECIMAL(39,0) does not exist, at character 14"),
            ("a ARRAY<INT", "expected `>`, at character 12"),
            ("a", "expected a name, at character 2"),
        ] {
            assert_eq!(parse_columns(text).unwrap_err(), reason, "{text}");
        }
        assert!(parse_columns(&format!("a {}INT", "ARRAY<".repeat(1000))).is_err());
    }
}
