//! Types and columns as Spark writes them.

use std::collections::HashMap;
use std::sync::Arc;

use boathouse_base::{DECIMAL_PRECISION, is_sql_decimal, sql_decimal, sql_type};
use boathouse_delta_protocol::schema::VARIANT_EXTENSION;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use crate::engine::error::{EngineError, Result};

/// Words that end the default of a column.
const AFTER_DEFAULT: [&str; 4] = ["NOT", "COMMENT", "GENERATED", "DEFAULT"];

/// A type.
pub(crate) fn data_type(cursor: &mut Cursor<'_>) -> Result<DataType> {
    let here = cursor.clone();
    let word = cursor.name("a type")?;
    if let Some(simple) = sql_type(&word) {
        return Ok(simple);
    }
    if is_sql_decimal(&word) {
        return decimal(cursor);
    }
    Ok(match word.as_str() {
        "varchar" | "char" => {
            return Err(EngineError::Unsupported {
                statement: cursor.text().to_owned(),
                what: "the types VARCHAR and CHAR",
                instead: "use STRING, and a constraint on its length",
            });
        }
        "array" => {
            cursor.expect_token(&Token::Lt)?;
            let element = field(cursor, "element".to_owned(), true)?;
            closing(cursor)?;
            DataType::List(Arc::new(element))
        }
        "map" => {
            cursor.expect_token(&Token::Lt)?;
            let key = Field::new("key", data_type(cursor)?, false);
            cursor.expect_token(&Token::Comma)?;
            let value = field(cursor, "value".to_owned(), true)?;
            closing(cursor)?;
            let entries = Field::new("key_value", DataType::Struct(vec![key, value].into()), false);
            DataType::Map(Arc::new(entries), false)
        }
        "struct" => {
            cursor.expect_token(&Token::Lt)?;
            let mut fields = Vec::new();
            loop {
                let name = cursor.spelled("a field")?;
                cursor.takes_token(&Token::Colon);
                let field = field(cursor, name, true)?;
                let nullable = !cursor.takes(&["NOT", "NULL"]);
                let mut field = field.with_nullable(nullable);
                if cursor.takes(&["COMMENT"]) {
                    field.metadata_mut().insert("comment".to_owned(), cursor.string("a comment")?);
                }
                fields.push(field);
                if !cursor.takes_token(&Token::Comma) {
                    break;
                }
            }
            closing(cursor)?;
            DataType::Struct(fields.into())
        }
        _ => return Err(here.wanted("a type, such as INT, BIGINT, STRING, DECIMAL(10, 2) or ARRAY<INT>")),
    })
}

/// A field of the type that stands here. That it holds variants is said by the field, and not by its type.
fn field(cursor: &mut Cursor<'_>, name: String, nullable: bool) -> Result<Field> {
    if cursor.takes(&["VARIANT"]) {
        let parts = ["metadata", "value"].map(|name| Field::new(name, DataType::Binary, false));
        let says = HashMap::from([("ARROW:extension:name".to_owned(), VARIANT_EXTENSION.to_owned())]);
        return Ok(Field::new(name, DataType::Struct(parts.to_vec().into()), nullable).with_metadata(says));
    }
    Ok(Field::new(name, data_type(cursor)?, nullable))
}

fn closing(cursor: &mut Cursor<'_>) -> Result<()> {
    if cursor.takes_closing() { Ok(()) } else { Err(cursor.wanted("`>`")) }
}

fn decimal(cursor: &mut Cursor<'_>) -> Result<DataType> {
    let (mut precision, mut scale) = (DECIMAL_PRECISION, 0);
    let here = cursor.clone();
    if cursor.takes_token(&Token::LParen) {
        precision = small(cursor.integer("a precision")?, &here)?;
        if cursor.takes_token(&Token::Comma) {
            scale = small(cursor.integer("a scale")?, &here)?;
        }
        cursor.expect_token(&Token::RParen)?;
    }
    sql_decimal(precision, scale).ok_or_else(|| no_decimal(&here))
}

fn no_decimal(here: &Cursor<'_>) -> EngineError {
    here.wanted("a precision from 1 to 38, and a scale from 0 to the precision")
}

fn small(number: i64, here: &Cursor<'_>) -> Result<u8> {
    u8::try_from(number).map_err(|_| no_decimal(here))
}

/// A column: `name type [NOT NULL] [DEFAULT …] [GENERATED …] [COMMENT '…']`.
pub(crate) fn column(cursor: &mut Cursor<'_>) -> Result<Field> {
    let name = cursor.spelled("a column")?;
    column_named(cursor, name)
}

/// What stands behind the name of a column.
pub(crate) fn column_named(cursor: &mut Cursor<'_>, name: String) -> Result<Field> {
    let column = field(cursor, name, true)?;
    let mut nullable = true;
    let mut metadata = column.metadata().clone();
    loop {
        if cursor.takes(&["NOT", "NULL"]) {
            nullable = false;
        } else if cursor.takes(&["NULL"]) {
            nullable = true;
        } else if cursor.takes(&["COMMENT"]) {
            metadata.insert("comment".to_owned(), cursor.string("a comment")?);
        } else if cursor.takes(&["DEFAULT"]) {
            metadata.insert("CURRENT_DEFAULT".to_owned(), cursor.text_until(&AFTER_DEFAULT)?.to_owned());
        } else if cursor.takes(&["GENERATED", "ALWAYS", "AS", "IDENTITY"]) {
            identity(cursor, false, &mut metadata)?;
        } else if cursor.takes(&["GENERATED", "BY", "DEFAULT", "AS", "IDENTITY"]) {
            identity(cursor, true, &mut metadata)?;
        } else if cursor.takes(&["GENERATED", "ALWAYS", "AS"]) {
            metadata.insert("delta.generationExpression".to_owned(), cursor.parenthesised()?.to_owned());
        } else {
            return Ok(column.with_nullable(nullable).with_metadata(metadata));
        }
    }
}

fn identity(cursor: &mut Cursor<'_>, explicit: bool, metadata: &mut HashMap<String, String>) -> Result<()> {
    let (mut start, mut step) = (1, 1);
    if cursor.takes_token(&Token::LParen) {
        loop {
            if cursor.takes(&["START", "WITH"]) {
                start = cursor.integer("the first number")?;
            } else if cursor.takes(&["INCREMENT", "BY"]) {
                step = cursor.integer("the distance of two numbers")?;
            } else if cursor.takes_token(&Token::RParen) {
                break;
            } else {
                return Err(cursor.wanted("START WITH, INCREMENT BY or `)`"));
            }
        }
    }
    metadata.insert("delta.identity.start".to_owned(), start.to_string());
    metadata.insert("delta.identity.step".to_owned(), step.to_string());
    metadata.insert("delta.identity.allowExplicitInsert".to_owned(), explicit.to_string());
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn nested_types_close_with_two_brackets_together() {
        let text = "tags MAP<STRING, ARRAY<STRUCT<a: INT NOT NULL, b DECIMAL(5, 2)>>> NOT NULL COMMENT 'all of them'";
        let field = column(&mut Cursor::new(text).unwrap()).unwrap();
        assert!(!field.is_nullable() && field.metadata()["comment"] == "all of them");
        let DataType::Map(entries, _) = field.data_type() else { unreachable!() };
        let DataType::Struct(pair) = entries.data_type() else { unreachable!() };
        let DataType::List(element) = pair[1].data_type() else { unreachable!() };
        let DataType::Struct(inner) = element.data_type() else { unreachable!() };
        assert_eq!((inner[0].is_nullable(), inner[1].data_type()), (false, &DataType::Decimal128(5, 2)));
    }

    #[test]
    fn defaults_generation_and_identity_become_metadata_of_the_protocol() {
        let of = |text: &str| column(&mut Cursor::new(text).unwrap()).unwrap().metadata().clone();
        assert_eq!(of("at TIMESTAMP DEFAULT current_timestamp() COMMENT 'x'")["CURRENT_DEFAULT"], "current_timestamp()");
        assert_eq!(of("y INT GENERATED ALWAYS AS (year(at) + 1)")["delta.generationExpression"], "year(at) + 1");
        let id = of("id BIGINT GENERATED BY DEFAULT AS IDENTITY (START WITH -5 INCREMENT BY 2)");
        assert_eq!((id["delta.identity.start"].as_str(), id["delta.identity.step"].as_str()), ("-5", "2"));
        assert_eq!(id["delta.identity.allowExplicitInsert"], "true");
    }
}
