//! Declaring the state of a processor.

use std::collections::BTreeSet;
use std::time::Duration;

use datafusion::arrow::datatypes::{Field, Fields};

use super::error::StateError;
use super::processor::TimeMode;
use super::row_log::listed;

/// What a variable holds for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One row.
    Value,
    /// Rows in the order in which they were added.
    List,
    /// Rows by their first column.
    Map,
    /// Times at which the processor is to be called.
    Timers,
}

impl Kind {
    /// In names of columns and in errors.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Map => "map",
            Self::Timers => "timer",
        }
    }
}

/// The variables of a processor, while it declares them.
///
/// A value, an element and an entry are rows of Arrow columns: a state is stored as a table is.
#[derive(Debug, Default)]
pub struct StateVariables {
    declared: Vec<StateVariable>,
}

/// A variable that was declared.
#[derive(Debug, Clone)]
pub struct StateVariable {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) fields: Fields,
    ttl: Option<Duration>,
}

impl StateVariables {
    /// One row for each key.
    ///
    /// **Source**: Spark, `ValueState`.
    pub fn value(&mut self, name: impl Into<String>, columns: impl IntoIterator<Item = Field>) -> &mut StateVariable {
        self.declare(name.into(), Kind::Value, columns.into_iter().collect())
    }

    /// Rows for each key, in the order in which they were added.
    ///
    /// **Source**: Spark, `ListState`.
    pub fn list(&mut self, name: impl Into<String>, columns: impl IntoIterator<Item = Field>) -> &mut StateVariable {
        self.declare(name.into(), Kind::List, columns.into_iter().collect())
    }

    /// Rows for each key, found by a key of their own. Without columns it is a set.
    ///
    /// **Source**: Spark, `MapState`.
    pub fn map(&mut self, name: impl Into<String>, key: Field, columns: impl IntoIterator<Item = Field>) -> &mut StateVariable {
        self.declare(name.into(), Kind::Map, [key].into_iter().chain(columns).collect())
    }

    fn declare(&mut self, name: String, kind: Kind, fields: Fields) -> &mut StateVariable {
        let at = self.declared.len();
        self.declared.push(StateVariable { name, kind, fields, ttl: None });
        &mut self.declared[at]
    }

    /// The variables, when they make sense together.
    pub(crate) fn checked(self, mode: TimeMode) -> Result<Vec<StateVariable>, StateError> {
        let mut names = BTreeSet::new();
        for variable in &self.declared {
            if !names.insert(variable.name.as_str()) {
                return Err(StateError::Duplicate { name: variable.name.clone() });
            }
            variable.check(mode)?;
        }
        Ok(self.declared)
    }
}

impl StateVariable {
    /// Each row is forgotten so long after it was written, by the query's clock. A row that is written again lives on.
    ///
    /// **Source**: Spark, `TTLConfig`.
    pub fn ttl(&mut self, ttl: Duration) -> &mut Self {
        self.ttl = Some(ttl);
        self
    }

    pub(crate) fn ttl_us(&self) -> Option<i64> {
        self.ttl.and_then(|ttl| i64::try_from(ttl.as_micros()).ok())
    }

    fn check(&self, mode: TimeMode) -> Result<(), StateError> {
        if self.name.is_empty() || self.name.starts_with(['_', '$']) {
            return Err(StateError::ReservedName { name: self.name.clone() });
        }
        let names: BTreeSet<&String> = self.fields.iter().map(|field| field.name()).collect();
        if self.fields.is_empty() || names.len() < self.fields.len() {
            return Err(StateError::DeclaredColumns { name: self.name.clone(), columns: listed(&self.fields) });
        }
        let Some(ttl) = self.ttl else { return Ok(()) };
        if mode != TimeMode::ProcessingTime {
            return Err(StateError::TtlTimeMode { name: self.name.clone(), mode });
        }
        match self.ttl_us() {
            Some(us) if us > 0 => Ok(()),
            _ => Err(StateError::Ttl { name: self.name.clone(), ttl }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::DataType;

    fn says(declare: impl Fn(&mut StateVariables), mode: TimeMode) -> String {
        let mut variables = StateVariables::default();
        declare(&mut variables);
        variables.checked(mode).map_or_else(|error| error.to_string(), |variables| variables.len().to_string())
    }

    #[test]
    fn variables_that_make_no_sense_are_refused_by_the_class_of_spark() {
        let n = || Field::new("n", DataType::Int64, false);
        let twice =
            says(|states| drop((states.value("a", [n()]).name.clone(), states.list("a", [n()]).name.clone())), TimeMode::None);
        assert!(twice.contains("STATEFUL_PROCESSOR_DUPLICATE_STATE_VARIABLE_DEFINED"), "{twice}");
        let reserved = says(|states| drop(states.value("$timers", [n()]).name.clone()), TimeMode::None);
        assert!(reserved.contains("STATE_STORE_CANNOT_CREATE_COLUMN_FAMILY_WITH_RESERVED_CHARS"), "{reserved}");
        let hour = Duration::from_secs(3_600);
        let event_time = says(|states| drop(states.value("a", [n()]).ttl(hour).name.clone()), TimeMode::EventTime);
        assert!(event_time.contains("STATEFUL_PROCESSOR_INCORRECT_TIME_MODE_TO_ASSIGN_TTL"), "{event_time}");
        for ttl in [Duration::ZERO, Duration::MAX] {
            let never = says(|states| drop(states.value("a", [n()]).ttl(ttl).name.clone()), TimeMode::ProcessingTime);
            assert!(never.contains("STATEFUL_PROCESSOR_TTL_DURATION_MUST_BE_POSITIVE"), "{never}");
        }
        for columns in [vec![], vec![n(), n()]] {
            let columns = says(|states| drop(states.value("a", columns.clone()).name.clone()), TimeMode::None);
            assert!(columns.contains("at least one column, each with its own name"), "{columns}");
        }
        assert_eq!(says(|states| drop(states.map("set", n(), []).ttl(hour).name.clone()), TimeMode::ProcessingTime), "1");
    }
}
