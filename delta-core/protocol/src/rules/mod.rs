//! What the rows of a table must obey, and what writers fill in.
//!
//! Conditions and values are SQL text here: somebody who knows expressions evaluates them.
//!
//! **Source**: Delta protocol, "Column Invariants", "CHECK Constraints", "Generated Columns", "Default Columns",
//! "Identity Columns".

mod identity;

use serde_json::Value;

use crate::action::{Metadata, Protocol};
use crate::error::{ProtocolError, Result};
use crate::features::has;
use crate::schema::StructType;
use crate::schema::keys::{CURRENT_DEFAULT, GENERATION_EXPRESSION, INVARIANTS};

pub use identity::{IdentityColumn, IdentityValues};

/// The prefix of the properties that hold CHECK constraints.
pub const CONSTRAINT_PREFIX: &str = "delta.constraints.";

/// The rules of a table.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::action::{Metadata, Protocol};
/// use boathouse_delta_protocol::rules::Rules;
///
/// let metadata = Metadata {
///     schema_string: r#"{"type":"struct","fields":[{"name":"fare","type":"double","nullable":true,"metadata":{}}]}"#.to_owned(),
///     configuration: [("delta.constraints.paid".to_owned(), "fare >= 0".to_owned())].into(),
///     ..Metadata::default()
/// };
/// let protocol = Protocol { min_writer_version: 3, ..Protocol::default() };
/// let rules = Rules::of(&protocol, &metadata, &metadata.schema()?)?;
/// assert_eq!((rules.checks[0].name.as_str(), rules.checks[0].expression.as_str()), ("paid", "fare >= 0"));
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    /// Conditions that are true for every row: CHECK constraints by name, then invariants of columns.
    pub checks: Vec<Check>,
    /// Columns whose value is computed from others, in the order of the schema.
    pub generated: Vec<ValueOf>,
    /// Columns with a value for rows that give none, in the order of the schema.
    pub defaults: Vec<ValueOf>,
    /// Columns that writers number, in the order of the schema.
    pub identities: Vec<IdentityColumn>,
}

/// A condition that must be true, neither false nor null, for every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The constraint's name, or the column whose invariant it is.
    pub name: String,
    /// SQL text.
    pub expression: String,
    /// The feature that it comes from.
    pub feature: &'static str,
}

/// The value of a column, as SQL text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueOf {
    /// The column, at the top of the schema.
    pub column: String,
    /// SQL text.
    pub expression: String,
}

impl Rules {
    /// The rules of a table with this schema, as far as its protocol has the features.
    ///
    /// **Errors**: `Corrupt` names the column whose metadata cannot be understood; `Unsupported` for a generated,
    /// default or identity column within another column.
    pub fn of(protocol: &Protocol, metadata: &Metadata, schema: &StructType) -> Result<Self> {
        let mut rules = Self::default();
        if has(protocol, "checkConstraints") {
            for (key, expression) in &metadata.configuration {
                let Some((prefix, name)) = key.split_at_checked(CONSTRAINT_PREFIX.len()) else { continue };
                if prefix.eq_ignore_ascii_case(CONSTRAINT_PREFIX) {
                    let (name, expression) = (name.to_owned(), expression.clone());
                    rules.checks.push(Check { name, expression, feature: "checkConstraints" });
                }
            }
        }
        if has(protocol, "invariants") {
            rules.checks.extend(invariants(schema)?);
        }
        if has(protocol, "generatedColumns") {
            rules.generated = values(schema, GENERATION_EXPRESSION, "generatedColumns")?;
        }
        if has(protocol, "allowColumnDefaults") {
            rules.defaults = values(schema, CURRENT_DEFAULT, "allowColumnDefaults")?;
        }
        if has(protocol, "identityColumns") {
            rules.identities = IdentityColumn::all(schema)?;
        }
        Ok(rules)
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The first rule that needs somebody who evaluates expressions: its feature, and what uses it.
    pub fn needs_expressions(&self) -> Option<(&'static str, String)> {
        let check = |check: &Check| {
            let user = match check.feature {
                "invariants" => format!("column `{}`", check.name),
                _ => format!("property `{CONSTRAINT_PREFIX}{}`", check.name),
            };
            (check.feature, user)
        };
        let value = |feature: &'static str| move |value: &ValueOf| (feature, format!("column `{}`", value.column));
        self.checks
            .first()
            .map(check)
            .or_else(|| self.generated.first().map(value("generatedColumns")))
            .or_else(|| self.defaults.iter().find(|d| !d.is_null()).map(value("allowColumnDefaults")))
    }

    /// All expressions, with what each is, for messages.
    pub fn expressions(&self) -> impl Iterator<Item = (String, &str)> {
        let checks = self.checks.iter().map(|c| (format!("CHECK constraint `{}`", c.name), c.expression.as_str()));
        let generated = self.generated.iter().map(|g| (format!("generated column `{}`", g.column), g.expression.as_str()));
        let defaults = self.defaults.iter().map(|d| (format!("default of column `{}`", d.column), d.expression.as_str()));
        checks.chain(generated).chain(defaults)
    }
}

impl ValueOf {
    /// Whether the value is NULL, which needs nobody to evaluate it.
    pub fn is_null(&self) -> bool {
        self.expression.trim().eq_ignore_ascii_case("null")
    }
}

fn invariants(schema: &StructType) -> Result<Vec<Check>> {
    let (mut found, mut failed) = (Vec::new(), None);
    let mut texts = Vec::new();
    schema.each_column(&mut |field| {
        if let Some(value) = field.metadata.get(INVARIANTS) {
            texts.push((field.name.clone(), value.clone()));
        }
    });
    for (column, value) in texts {
        let parsed = match &value {
            Value::String(text) => serde_json::from_str::<Value>(text).ok(),
            other => Some(other.clone()),
        };
        match parsed.as_ref().and_then(|v| v.get("expression")?.get("expression")?.as_str()) {
            Some(expression) => {
                found.push(Check { name: column, expression: expression.to_owned(), feature: "invariants" });
            }
            None => {
                failed.get_or_insert(ProtocolError::InvalidColumnMetadata {
                    column,
                    key: INVARIANTS.to_owned(),
                    found: value.to_string(),
                    expected: r#"JSON text like {"expression":{"expression":"x > 3"}}"#,
                });
            }
        }
    }
    failed.map_or(Ok(found), Err)
}

fn values(schema: &StructType, key: &str, feature: &'static str) -> Result<Vec<ValueOf>> {
    at_the_top(schema, key, feature)?;
    let with_key = schema.fields.iter().filter_map(|field| field.metadata.get(key).map(|value| (field, value)));
    let value = with_key.map(|(field, value)| match value.as_str() {
        Some(expression) => Ok(ValueOf { column: field.name.clone(), expression: expression.to_owned() }),
        None => Err(ProtocolError::InvalidColumnMetadata {
            column: field.name.clone(),
            key: key.to_owned(),
            found: value.to_string(),
            expected: "an SQL expression as text",
        }),
    });
    value.collect()
}

/// Within structs, lists and maps nobody fills in values.
fn at_the_top(schema: &StructType, key: &str, feature: &'static str) -> Result<()> {
    let nested = schema.find_column(&mut |field| {
        // Columns at the top are the schema's own.
        field.metadata.contains_key(key) && !schema.fields.iter().any(|top| std::ptr::eq(top, field))
    });
    match nested {
        Some(column) => Err(ProtocolError::UnsupportedFeature {
            feature: feature.to_owned(),
            access: crate::error::Access::Write,
            reason: format!(": column `{column}` uses it, which lies within another column"),
        }),
        None => Ok(()),
    }
}
