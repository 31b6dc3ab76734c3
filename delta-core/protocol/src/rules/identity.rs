//! Columns that writers number.

use serde_json::Value;

use super::at_the_top;
use crate::error::{ProtocolError, Result};
use crate::schema::keys::{IDENTITY_EXPLICIT, IDENTITY_HIGH_WATER_MARK, IDENTITY_START, IDENTITY_STEP};
use crate::schema::{PrimitiveType, StructType};

/// A column whose values are `start + k * step`, each given out once.
///
/// **Source**: Delta protocol, "Identity Columns".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityColumn {
    /// The column, at the top of the schema; of type `long`.
    pub column: String,
    /// The first value.
    pub start: i64,
    /// The distance of two values; never 0. Below 0 the column counts down.
    pub step: i64,
    /// The last value that was given out.
    pub high_water_mark: Option<i64>,
    /// Whether writers may give values of their own.
    pub allow_explicit: bool,
}

impl IdentityColumn {
    /// The identity columns of a schema.
    pub(super) fn all(schema: &StructType) -> Result<Vec<Self>> {
        at_the_top(schema, IDENTITY_STEP, "identityColumns")?;
        let mut found = Vec::new();
        for field in &schema.fields {
            let number = |key: &str| match field.metadata.get(key) {
                None => Ok(None),
                // Some writers keep numbers as text.
                Some(value) => match value.as_i64().or_else(|| value.as_str()?.parse().ok()) {
                    Some(number) => Ok(Some(number)),
                    None => Err(ProtocolError::InvalidColumnMetadata {
                        column: field.name.clone(),
                        key: key.to_owned(),
                        found: value.to_string(),
                        expected: "a whole number of 64 bits",
                    }),
                },
            };
            let (Some(start), Some(step)) = (number(IDENTITY_START)?, number(IDENTITY_STEP)?) else { continue };
            let invalid = |key: &str, found: String, expected: &'static str| ProtocolError::InvalidColumnMetadata {
                column: field.name.clone(),
                key: key.to_owned(),
                found,
                expected,
            };
            if step == 0 {
                return Err(invalid(IDENTITY_STEP, step.to_string(), "a step other than 0"));
            }
            if field.data_type != PrimitiveType::Long.into() {
                return Err(invalid(IDENTITY_STEP, format!("a column of type {}", field.data_type), "a column of type long"));
            }
            let explicit = field.metadata.get(IDENTITY_EXPLICIT);
            let allow_explicit = explicit.is_some_and(|v| v.as_bool() == Some(true) || v.as_str() == Some("true"));
            let high_water_mark = number(IDENTITY_HIGH_WATER_MARK)?;
            found.push(Self { column: field.name.clone(), start, step, high_water_mark, allow_explicit });
        }
        Ok(found)
    }

    /// Numbers for new rows.
    pub fn values(&self) -> IdentityValues {
        let (start, step) = (i128::from(self.start), i128::from(self.step));
        // The first value beyond the mark that has the right distance from the start.
        let next = match self.high_water_mark.map(i128::from) {
            Some(mark) if (mark - start) * step.signum() >= 0 => start + ((mark - start) / step + 1) * step,
            _ => start,
        };
        IdentityValues { column: self.clone(), next, used: false }
    }
}

/// Numbers for the new rows of one write.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::rules::IdentityColumn;
///
/// let column = "id".to_owned();
/// let column = IdentityColumn { column, start: 1, step: 10, high_water_mark: Some(21), allow_explicit: false };
/// let mut values = column.values();
/// assert_eq!(values.take()?, 31);
/// assert_eq!(values.high_water_mark(), Some(31));
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityValues {
    column: IdentityColumn,
    next: i128,
    used: bool,
}

impl IdentityValues {
    /// The next number.
    ///
    /// **Errors**: `Exhausted` when it would not fit into 64 bits.
    pub fn take(&mut self) -> Result<i64> {
        let value = i64::try_from(self.next)
            .map_err(|_| ProtocolError::IdentityExhausted { column: self.column.column.clone(), step: self.column.step })?;
        self.next += i128::from(self.column.step);
        self.used = true;
        Ok(value)
    }

    /// Takes note of a value that the writer's user gave: numbers go on behind it.
    pub fn see(&mut self, value: i64) {
        let seen = IdentityColumn { high_water_mark: Some(value), ..self.column.clone() };
        let behind = seen.values().next;
        if (behind - self.next) * i128::from(self.column.step).signum() > 0 {
            self.next = behind;
            self.used = true;
        }
    }

    /// The new mark of the column; nothing when it stays.
    pub fn high_water_mark(&self) -> Option<i64> {
        let last = self.next - i128::from(self.column.step);
        self.used.then(|| i64::try_from(last).ok()).flatten()
    }
}

impl StructType {
    /// The schema with new marks of identity columns.
    #[must_use]
    pub fn with_high_water_marks(&self, marks: &[(String, i64)]) -> Self {
        let mut schema = self.clone();
        for (column, mark) in marks {
            if let Some(at) = schema.index_of(column) {
                schema.fields[at].metadata.insert(IDENTITY_HIGH_WATER_MARK.to_owned(), Value::from(*mark));
            }
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn column(start: i64, step: i64, high_water_mark: Option<i64>) -> IdentityColumn {
        IdentityColumn { column: "id".to_owned(), start, step, high_water_mark, allow_explicit: true }
    }

    /// Counts up from the start until it is beyond the mark.
    fn slow_next(column: &IdentityColumn) -> i64 {
        let mut value = column.start;
        while column.high_water_mark.is_some_and(|mark| (value - mark) * column.step.signum() <= 0) {
            value += column.step;
        }
        value
    }

    #[test]
    fn the_next_value_is_the_first_one_behind_the_mark_as_counting_finds_it() {
        for start in -4..=4 {
            for step in [-3, -2, -1, 1, 2, 3] {
                for mark in std::iter::once(None).chain((-12..=12).map(Some)) {
                    let column = column(start, step, mark);
                    assert_eq!(column.values().take().unwrap(), slow_next(&column), "{column:?}");
                    for seen in -12..=12 {
                        let mut values = column.values();
                        values.see(seen);
                        let behind = IdentityColumn {
                            high_water_mark: Some(match mark {
                                Some(mark) if (mark - seen) * step.signum() > 0 => mark,
                                _ => seen,
                            }),
                            ..column.clone()
                        };
                        assert_eq!(values.take().unwrap(), slow_next(&behind), "{column:?} saw {seen}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_value_beyond_64_bits_is_an_error() {
        let mut values = column(i64::MAX - 1, 1, None).values();
        values.take().unwrap();
        assert_eq!(values.take().unwrap(), i64::MAX);
        assert!(matches!(values.take(), Err(ProtocolError::IdentityExhausted { .. })));
        assert_eq!(values.high_water_mark(), Some(i64::MAX));
        let mut down = column(i64::MIN, -1, Some(i64::MIN)).values();
        assert!(down.take().is_err());
        assert_eq!(down.high_water_mark(), None);
    }
}
