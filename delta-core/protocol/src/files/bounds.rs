//! Typed minima, maxima and null counts of a column, for all files of a segment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use boathouse_base::{Predicate, Value};

use super::bits::Bits;
use super::index::FileIndex;
use super::segment::{FileRef, Segment};
use super::texts::Texts;
use crate::stats::{BoundsReader, Chosen, ColumnStats, read_chosen};

/// What was read of a segment's statistics so far, column by column.
#[derive(Debug, Default)]
pub(super) struct ReadBounds {
    rows: Option<Arc<RowCounts>>,
    /// By path and type of the column.
    columns: BTreeMap<String, Arc<BoundsColumn>>,
}

/// How many rows each file has, and whether its bounds are those of rows that are there.
#[derive(Debug, Default)]
struct RowCounts {
    num_records: Longs,
    tight: Bits,
}

/// A column's bounds in each file.
#[derive(Debug, Default)]
struct BoundsColumn {
    min: Values,
    max: Values,
    null_count: Longs,
}

/// Values of one kind, some of which are not known.
#[derive(Debug, Default)]
struct Values {
    present: Bits,
    typed: Typed,
}

#[derive(Debug, Default)]
enum Typed {
    /// No value is known.
    #[default]
    Nothing,
    Long(LongKind, Vec<i64>),
    Float(Vec<f64>),
    Decimal(i8, Vec<i128>),
    Text(Texts),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LongKind {
    Int,
    Boolean,
    Date,
    Timestamp,
    TimestampNtz,
}

#[derive(Debug, Default)]
struct Longs {
    present: Bits,
    values: Vec<u64>,
}

impl Longs {
    fn push(&mut self, value: Option<u64>) {
        self.present.push(value.is_some());
        self.values.push(value.unwrap_or_default());
    }

    fn get(&self, row: usize) -> Option<u64> {
        self.present.get(row).then(|| self.values[row])
    }
}

impl Values {
    /// A value of another kind than those before it is unknown: bounds may always be missing.
    fn push(&mut self, row: usize, value: Option<Value>) {
        let known = value.is_some_and(|value| self.typed.set(row, value));
        self.present.push(known);
    }

    fn get(&self, row: usize) -> Option<Value> {
        self.present.get(row).then(|| self.typed.get(row)).flatten()
    }
}

impl Typed {
    fn set(&mut self, row: usize, value: Value) -> bool {
        if matches!(self, Self::Nothing) {
            *self = match &value {
                Value::Int(_) => Self::Long(LongKind::Int, Vec::new()),
                Value::Boolean(_) => Self::Long(LongKind::Boolean, Vec::new()),
                Value::Date(_) => Self::Long(LongKind::Date, Vec::new()),
                Value::Timestamp(_) => Self::Long(LongKind::Timestamp, Vec::new()),
                Value::TimestampNtz(_) => Self::Long(LongKind::TimestampNtz, Vec::new()),
                Value::Float(_) => Self::Float(Vec::new()),
                Value::Decimal { scale, .. } => Self::Decimal(*scale, Vec::new()),
                Value::String(_) => Self::Text(Texts::default()),
                _ => return false,
            };
        }
        match (self, value) {
            (Self::Long(LongKind::Int, values), Value::Int(v)) => put(values, row, v),
            (Self::Long(LongKind::Boolean, values), Value::Boolean(v)) => put(values, row, i64::from(v)),
            (Self::Long(LongKind::Date, values), Value::Date(v)) => put(values, row, i64::from(v)),
            (Self::Long(LongKind::Timestamp, values), Value::Timestamp(v))
            | (Self::Long(LongKind::TimestampNtz, values), Value::TimestampNtz(v)) => put(values, row, v),
            (Self::Float(values), Value::Float(v)) => put(values, row, v),
            (Self::Decimal(known, values), Value::Decimal { unscaled, scale }) if *known == scale => put(values, row, unscaled),
            (Self::Text(texts), Value::String(text)) if texts.has_room_for(&text) => {
                while texts.len() < row {
                    texts.push("");
                }
                texts.push(&text);
            }
            _ => return false,
        }
        true
    }

    fn get(&self, row: usize) -> Option<Value> {
        Some(match self {
            Self::Nothing => return None,
            Self::Long(kind, values) => {
                let value = values[row];
                match kind {
                    LongKind::Int => Value::Int(value),
                    LongKind::Boolean => Value::Boolean(value != 0),
                    LongKind::Date => Value::Date(i32::try_from(value).ok()?),
                    LongKind::Timestamp => Value::Timestamp(value),
                    LongKind::TimestampNtz => Value::TimestampNtz(value),
                }
            }
            Self::Float(values) => Value::Float(values[row]),
            Self::Decimal(scale, values) => Value::Decimal { unscaled: values[row], scale: *scale },
            Self::Text(texts) => Value::String(texts.get(row).to_owned()),
        })
    }
}

/// Sets the value of a row; rows before it that are not known have any value.
fn put<T: Copy + Default>(values: &mut Vec<T>, row: usize, value: T) {
    values.resize(row, T::default());
    values.push(value);
}

impl FileIndex {
    /// The files that can hold a matching row, in the order of the log. `reader` must be that of the predicate.
    ///
    /// **Cost**: the first time that a column is asked for, the statistics of all files are read for it; its typed
    /// bounds (about 20 bytes a file) are kept, and shared with later versions. Then a walk over these.
    ///
    /// # Example
    /// ```
    /// use boathouse_base::{Comparison, Predicate};
    /// use boathouse_delta_protocol::files::FileIndex;
    /// use boathouse_delta_protocol::scan::{CommitScanner, Wanted};
    /// use boathouse_delta_protocol::schema::{ColumnMappingMode, PrimitiveType, StructField, StructType};
    /// use boathouse_delta_protocol::stats::BoundsReader;
    ///
    /// let mut scanner = CommitScanner::new(0, Wanted::Everything);
    /// scanner.scan(br#"
    /// {"add":{"path":"early","size":9,"modificationTime":1,"dataChange":true,"stats":"{\"maxValues\":{\"delay\":5}}"}}
    /// {"add":{"path":"late","size":9,"modificationTime":1,"dataChange":true,"stats":"{\"maxValues\":{\"delay\":95}}"}}
    /// "#)?;
    /// let files = FileIndex::default().apply(scanner.finish()?)?;
    /// let schema = StructType::new([StructField::nullable("delay", PrimitiveType::Integer)]);
    /// let late = Predicate::compare("delay", Comparison::Gt, 30);
    /// let reader = BoundsReader::for_predicates(&schema, &[], ColumnMappingMode::None, [&late]);
    /// let paths: Vec<_> = files.matching(&late, &reader).map(|file| file.path()).collect();
    /// assert_eq!(paths, ["late"]);
    /// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
    /// ```
    pub fn matching<'a>(&'a self, predicate: &'a Predicate, reader: &'a BoundsReader) -> impl Iterator<Item = FileRef<'a>> {
        let chosen: Vec<Chosen<'_>> = reader.chosen().collect();
        self.runs().flat_map(move |(segment, rows)| {
            // Partition values decide without statistics, but for how many rows are null.
            let known = if chosen.is_empty() && !segment.has_null_partitions() { None } else { segment.bounds(&chosen) };
            let bounds = |row: usize| match &known {
                Some((counts, columns)) => reader.of_typed(
                    &segment.file(row),
                    counts.num_records.get(row),
                    counts.tight.get(row),
                    columns.iter().map(|column| ColumnStats {
                        min: column.min.get(row),
                        max: column.max.get(row),
                        null_count: column.null_count.get(row),
                    }),
                ),
                None => reader.of_file(&segment.file(row)),
            };
            let found: Vec<usize> = rows.filter(|row| predicate.may_match(&bounds(*row))).collect();
            // Whoever walks over the files may ask each for its statistics.
            let open = (!found.is_empty()).then(|| segment.open());
            found.into_iter().map(move |row| {
                let _keep = &open;
                segment.file(row)
            })
        })
    }
}

type Known = (Arc<RowCounts>, Vec<Arc<BoundsColumn>>);

impl Segment {
    /// The bounds of these columns; nothing without statistics.
    fn bounds(&self, chosen: &[Chosen<'_>]) -> Option<Known> {
        if !self.has_stats() {
            return None;
        }
        let keys: Vec<String> = chosen.iter().map(key).collect();
        let mut read = self.read_bounds().lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<usize> = (0..chosen.len()).filter(|at| !read.columns.contains_key(&keys[*at])).collect();
        if !missing.is_empty() || read.rows.is_none() {
            let wanted: Vec<Chosen<'_>> = missing.iter().map(|at| chosen[*at]).collect();
            let (counts, columns) = self.parse_bounds(&wanted);
            read.rows = Some(Arc::new(counts));
            read.columns.extend(missing.iter().map(|at| keys[*at].clone()).zip(columns.into_iter().map(Arc::new)));
        }
        let columns = keys.iter().map(|key| read.columns.get(key).cloned()).collect::<Option<Vec<_>>>()?;
        Some((Arc::clone(read.rows.as_ref()?), columns))
    }

    fn parse_bounds(&self, wanted: &[Chosen<'_>]) -> (RowCounts, Vec<BoundsColumn>) {
        let mut counts = RowCounts::default();
        let mut columns: Vec<BoundsColumn> = wanted.iter().map(|_| BoundsColumn::default()).collect();
        self.each_stats(0..self.len(), |row, text| {
            let stats = text.map_or_else(|| read_chosen("{}", wanted), |text| read_chosen(text, wanted));
            counts.num_records.push(stats.num_records);
            counts.tight.push(stats.tight_bounds);
            for (column, known) in columns.iter_mut().zip(stats.columns) {
                column.min.push(row, known.min);
                column.max.push(row, known.max);
                column.null_count.push(known.null_count);
            }
        });
        (counts, columns)
    }
}

fn key((parents, name, field): &Chosen<'_>) -> String {
    let mut key = parents.join("\0");
    key.push('\0');
    key.push_str(name);
    key.push('\0');
    key.push_str(&field.data_type.to_string());
    // A widened column is read with more care.
    if field.metadata.contains_key("delta.typeChanges") {
        key.push('*');
    }
    key
}

/// Typed bounds of a segment, for as many columns as were asked for.
pub(super) type BoundsCache = Mutex<ReadBounds>;
