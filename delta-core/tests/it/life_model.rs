//! A table as a list in memory: columns that come and go, rows, the ids of rows, and what earlier versions were.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::rows::Row;

/// The values of a row as text, in the order of its columns.
pub(crate) type Text = Vec<Option<String>>;

/// A row of the model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModelRow {
    /// The three columns that every table has.
    pub(crate) base: Row,
    /// Values of the columns that were added, by number; a column that is not here is null.
    pub(crate) added: BTreeMap<usize, i32>,
    /// Its id and the version that added or last changed it, when the table tracks its rows. Nobody knows the id of a new row before it
    /// is read.
    pub(crate) origin: Option<(Option<i64>, u64)>,
}

/// A version of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Model {
    /// Name and number of each column; the first three numbers are those of the base columns.
    pub(crate) columns: Vec<(String, usize)>,
    pub(crate) rows: Vec<ModelRow>,
    pub(crate) vectors: bool,
    pub(crate) feed: bool,
    pub(crate) mapped: bool,
}

impl Model {
    pub(crate) fn name(&self, number: usize) -> &str {
        &self.columns.iter().find(|(_, of)| *of == number).unwrap().0
    }

    /// The columns that were added.
    pub(crate) fn added(&self) -> Vec<usize> {
        self.columns.iter().map(|(_, number)| *number).filter(|number| *number > 2).collect()
    }

    pub(crate) fn text(&self, row: &ModelRow) -> Text {
        let value = |number: usize| match number {
            0 => row.base.0.map(|id| id.to_string()),
            1 => row.base.1.map(str::to_owned),
            2 => row.base.2.map(|v| v.to_string()),
            added => row.added.get(&added).map(ToString::to_string),
        };
        self.columns.iter().map(|(_, number)| value(*number)).collect()
    }

    /// All rows, sorted.
    pub(crate) fn texts(&self) -> Vec<Text> {
        let mut texts: Vec<Text> = self.rows.iter().map(|row| self.text(row)).collect();
        texts.sort();
        texts
    }

    /// Rows that are new, with something in each column that was added.
    pub(crate) fn new_rows(&self, rows: &[Row], version: Option<u64>) -> Vec<ModelRow> {
        let value =
            |row: &Row, number: usize| row.0.filter(|id| id % 3 != 0).map(|id| i32::try_from(id).unwrap() * 10 + number as i32);
        let added = |row: &Row| self.added().into_iter().filter_map(|number| Some((number, value(row, number)?))).collect();
        rows.iter().map(|row| ModelRow { base: *row, added: added(row), origin: version.map(|v| (None, v)) }).collect()
    }

    /// Rows as the table takes them.
    pub(crate) fn batch(&self, rows: &[ModelRow]) -> RecordBatch {
        let column = |number: usize| -> ArrayRef {
            match number {
                0 => Arc::new(rows.iter().map(|row| row.base.0).collect::<Int64Array>()),
                1 => Arc::new(rows.iter().map(|row| row.base.1).collect::<StringArray>()),
                2 => Arc::new(rows.iter().map(|row| row.base.2).collect::<Int32Array>()),
                added => Arc::new(rows.iter().map(|row| row.added.get(&added).copied()).collect::<Int32Array>()),
            }
        };
        let columns: Vec<ArrayRef> = self.columns.iter().map(|(_, number)| column(*number)).collect();
        let field = |((name, _), column): (&(String, usize), &ArrayRef)| Field::new(name, column.data_type().clone(), true);
        let schema = Schema::new(self.columns.iter().zip(&columns).map(field).collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    /// An expression over the base columns, with the names that they have now.
    pub(crate) fn sql(&self, expression: &str) -> String {
        let mut out = String::new();
        let mut in_quotes = false;
        for word in split_words(expression) {
            in_quotes ^= word == "'";
            let number = ["id", "part", "v"].iter().position(|name| *name == word).filter(|_| !in_quotes);
            match number {
                Some(number) => out.push_str(&format!("\"{}\"", self.name(number))),
                None => out.push_str(word),
            }
        }
        out
    }

    /// Takes the ids of new rows from what was read: rows of the model that have one must have it, and nobody had those of new rows.
    pub(crate) fn learn(&mut self, tracked: Vec<(Text, i64, i64)>, seen: &mut BTreeSet<i64>, place: &str) {
        let mut left = tracked;
        let texts: Vec<Text> = self.rows.iter().map(|row| self.text(row)).collect();
        let mut unknown = Vec::new();
        for (at, (row, text)) in self.rows.iter().zip(&texts).enumerate() {
            let (id, version) = row.origin.unwrap();
            let version = i64::try_from(version).unwrap();
            let Some(id) = id else {
                unknown.push((at, version));
                continue;
            };
            let found = left.iter().position(|(of, known, changed)| (of, *known, *changed) == (text, id, version));
            let found = found.unwrap_or_else(|| panic!("{place}: row {id} of version {version}, {text:?}, is not in {left:?}"));
            left.swap_remove(found);
        }
        for (at, version) in unknown {
            let found = left.iter().position(|(of, _, changed)| (of, *changed) == (&texts[at], version));
            let found = found.unwrap_or_else(|| panic!("{place}: {:?}, new in version {version}, is not in {left:?}", texts[at]));
            let (_, id, _) = left.swap_remove(found);
            assert!(seen.insert(id), "{place}: the id {id} was given before");
            self.rows[at].origin.as_mut().unwrap().0 = Some(id);
        }
        assert!(left.is_empty(), "{place}: {left:?}");
    }

    /// The rows of this version with the columns of another one.
    pub(crate) fn texts_as(&self, other: &Self) -> Vec<Text> {
        let shown = Self { columns: other.columns.clone(), ..self.clone() };
        shown.texts()
    }
}

/// Words, and what stands between them.
fn split_words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match first.is_alphanumeric() {
            true => rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (word, after) = rest.split_at(end);
        words.push(word);
        rest = after;
    }
    words
}

/// Rows as they are read, each as text.
pub(crate) fn texts_of(batches: &[RecordBatch], columns: usize) -> Vec<Text> {
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        let shown: Vec<_> = batch.columns()[..columns]
            .iter()
            .map(|column| (column, ArrayFormatter::try_new(column, &options).unwrap()))
            .collect();
        let cell =
            |at: usize, (column, text): &(&ArrayRef, ArrayFormatter<'_>)| column.is_valid(at).then(|| text.value(at).to_string());
        rows.extend((0..batch.num_rows()).map(|at| shown.iter().map(|column| cell(at, column)).collect::<Text>()));
    }
    rows
}

/// A column of whole numbers.
pub(crate) fn longs(batches: &[RecordBatch], name: &str) -> Vec<i64> {
    let of = |batch: &RecordBatch| {
        let column = batch.column_by_name(name).unwrap();
        assert_eq!((column.data_type(), column.null_count()), (&DataType::Int64, 0));
        column.as_primitive::<Int64Type>().values().to_vec()
    };
    batches.iter().flat_map(of).collect()
}
