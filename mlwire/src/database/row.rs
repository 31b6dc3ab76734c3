//! A row, the same from every database.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Column as _, Postgres, Row as _, Sqlite, TypeInfo as _, ValueRef as _};

use crate::error::{Error, Result};

/// A row: cells by column name.
#[derive(Debug, Clone)]
pub struct Row {
    cells: Vec<(String, Cell)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
}

impl Row {
    /// Text.
    ///
    /// **Errors** (this and its siblings): `Corrupt` when the column is missing, null, or of another type.
    pub fn text(&self, column: &str) -> Result<String> {
        self.optional_text(column)?.ok_or_else(|| wrong(column, "text", &Cell::Null))
    }

    /// Text or null.
    pub fn optional_text(&self, column: &str) -> Result<Option<String>> {
        match self.cell(column)? {
            Cell::Text(text) => Ok(Some(text.clone())),
            Cell::Null => Ok(None),
            other => Err(wrong(column, "text", other)),
        }
    }

    /// A whole number.
    pub fn int(&self, column: &str) -> Result<i64> {
        self.optional_int(column)?.ok_or_else(|| wrong(column, "a whole number", &Cell::Null))
    }

    /// A whole number or null.
    pub fn optional_int(&self, column: &str) -> Result<Option<i64>> {
        match self.cell(column)? {
            Cell::Int(int) => Ok(Some(*int)),
            Cell::Null => Ok(None),
            other => Err(wrong(column, "a whole number", other)),
        }
    }

    /// A whole number that is not negative.
    pub fn count(&self, column: &str) -> Result<u64> {
        let int = self.int(column)?;
        u64::try_from(int).map_err(|_| wrong(column, "a number of at least 0", &Cell::Int(int)))
    }

    /// True for any number but 0.
    pub fn flag(&self, column: &str) -> Result<bool> {
        Ok(self.int(column)? != 0)
    }

    /// A floating-point number.
    pub fn real(&self, column: &str) -> Result<f64> {
        match self.cell(column)? {
            Cell::Real(real) => Ok(*real),
            #[expect(clippy::cast_precision_loss, reason = "SQLite may store a whole float as an integer of the same value")]
            Cell::Int(int) => Ok(*int as f64),
            other => Err(wrong(column, "a number", other)),
        }
    }

    fn cell(&self, column: &str) -> Result<&Cell> {
        self.cells.iter().find(|(name, _)| name == column).map(|(_, cell)| cell).ok_or_else(|| Error::Column {
            column: column.to_owned(),
            expected: "a column of this name",
            found: self.cells.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    pub(super) fn from_sqlite(row: &SqliteRow) -> Result<Self> {
        let mut cells = Vec::with_capacity(row.columns().len());
        for (i, column) in row.columns().iter().enumerate() {
            let failed = |e: &dyn std::fmt::Display| unreadable(column.name(), e);
            let value = row.try_get_raw(i).map_err(|e| failed(&e))?;
            let cell = if value.is_null() {
                Cell::Null
            } else {
                // SQLite types values, not columns.
                match value.type_info().name() {
                    "REAL" => Cell::Real(<f64 as sqlx::Decode<Sqlite>>::decode(value).map_err(|e| failed(&e))?),
                    "TEXT" => Cell::Text(<String as sqlx::Decode<Sqlite>>::decode(value).map_err(|e| failed(&e))?),
                    _ => Cell::Int(<i64 as sqlx::Decode<Sqlite>>::decode(value).map_err(|e| failed(&e))?),
                }
            };
            cells.push((column.name().to_owned(), cell));
        }
        Ok(Self { cells })
    }

    pub(super) fn from_postgres(row: &PgRow) -> Result<Self> {
        let mut cells = Vec::with_capacity(row.columns().len());
        for (i, column) in row.columns().iter().enumerate() {
            let failed = |e: &dyn std::fmt::Display| unreadable(column.name(), e);
            let value = row.try_get_raw(i).map_err(|e| failed(&e))?;
            let cell = if value.is_null() {
                Cell::Null
            } else {
                match value.type_info().name() {
                    "FLOAT8" => Cell::Real(<f64 as sqlx::Decode<Postgres>>::decode(value).map_err(|e| failed(&e))?),
                    "INT8" => Cell::Int(<i64 as sqlx::Decode<Postgres>>::decode(value).map_err(|e| failed(&e))?),
                    "INT4" => Cell::Int(<i32 as sqlx::Decode<Postgres>>::decode(value).map_err(|e| failed(&e))?.into()),
                    "BOOL" => Cell::Int(<bool as sqlx::Decode<Postgres>>::decode(value).map_err(|e| failed(&e))?.into()),
                    _ => Cell::Text(<String as sqlx::Decode<Postgres>>::decode(value).map_err(|e| failed(&e))?),
                }
            };
            cells.push((column.name().to_owned(), cell));
        }
        Ok(Self { cells })
    }
}

fn wrong(column: &str, expected: &'static str, found: &Cell) -> Error {
    let found = match found {
        Cell::Null => "null".to_owned(),
        Cell::Int(int) => int.to_string(),
        Cell::Real(real) => real.to_string(),
        Cell::Text(text) => format!("'{text}'"),
    };
    Error::Column { column: column.to_owned(), expected, found }
}

fn unreadable(column: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Column { column: column.to_owned(), expected: "a whole number, a float or text", found: error.to_string() }
}
