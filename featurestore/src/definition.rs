//! What makes a table a feature table, and where that is written down.

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use boathouse_storage::{Storage, VersionedObject};
use serde::{Deserialize, Serialize};

use crate::conform::is_text;
use crate::error::{Attempt, FeatureError, Result, names};
use crate::instant::TimeLine;

/// What a feature store knows of a table beside its rows.
///
/// It is stored as JSON beside the store's other state; the columns are the table's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureTableDefinition {
    /// The name in the feature store, which is the name that the tables are resolved by.
    pub name: String,
    /// The columns that say whose features a row holds.
    pub primary_keys: Vec<String>,
    /// The column that says since when the features of a row hold. `None`: there is one row for each key.
    #[serde(default)]
    pub timestamp_key: Option<String>,
    /// What the features are, for people.
    #[serde(default)]
    pub description: String,
    /// When it was created, in microseconds since the Unix epoch (UTC).
    pub created_us: i64,
}

impl FeatureTableDefinition {
    /// The keys and the time: what finds a row.
    pub(crate) fn identity(&self) -> impl Iterator<Item = &String> {
        self.primary_keys.iter().chain(&self.timestamp_key)
    }

    pub(crate) fn is_feature(&self, column: &str) -> bool {
        !self.identity().any(|key| key == column)
    }

    /// The fields of the primary key, in its order, never null.
    pub(crate) fn key_schema(&self, schema: &Schema) -> Result<SchemaRef> {
        let attempt = || format!("open the feature table `{}`", self.name);
        let field = |key: &String| Ok(field(schema, key, attempt)?.clone().with_nullable(false));
        Ok(std::sync::Arc::new(Schema::new(self.primary_keys.iter().map(field).collect::<Result<Vec<Field>>>()?)))
    }

    /// Every column that is not part of the key, in table order.
    pub(crate) fn feature_names(&self, schema: &Schema) -> Vec<String> {
        schema.fields().iter().map(|field| field.name()).filter(|name| self.is_feature(name)).cloned().collect()
    }

    /// Checks the keys against the columns.
    pub(crate) fn check(&self, schema: &Schema) -> Result<()> {
        let attempt = || format!("create the feature table `{}`", self.name);
        if self.primary_keys.is_empty() {
            return Err(FeatureError::NoPrimaryKey { table: self.name.clone() });
        }
        let identity: Vec<&String> = self.identity().collect();
        if let Some(at) = (1..identity.len()).find(|at| identity[..*at].contains(&identity[*at])) {
            let (column, hint) = (identity[at].clone(), "name each key once");
            return Err(FeatureError::DuplicateColumn { attempt: attempt(), column, hint });
        }
        for key in &self.primary_keys {
            let data_type = field(schema, key, attempt)?.data_type();
            if let Some(hint) = no_key(data_type) {
                let (table, column) = (self.name.clone(), key.clone());
                return Err(FeatureError::KeyType { table, column, data_type: data_type.clone(), hint });
            }
        }
        if let Some(key) = &self.timestamp_key {
            TimeLine::of(field(schema, key, attempt)?.data_type(), key, attempt)?;
        }
        Ok(())
    }
}

pub(crate) fn field<'a>(schema: &'a Schema, column: &str, attempt: impl Fn() -> String) -> Result<&'a Field> {
    let missing = |_| FeatureError::NoColumn { attempt: attempt(), column: column.to_owned(), found: names(schema) };
    schema.field_with_name(column).map_err(missing)
}

/// Why values of a type are no keys; `None` when they are.
fn no_key(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            Some("floats that print alike may differ; use integers, decimals or text")
        }
        DataType::Boolean | DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => None,
        DataType::Decimal128(_, _) | DataType::Decimal256(_, _) => None,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => None,
        other if other.is_integer() || is_text(other) => None,
        _ => Some("use integers, text, dates or bytes"),
    }
}

/// Letters, digits, `_`, `-` and `.`: a name is also a folder.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let inner = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let first = |c: char| c.is_alphanumeric() || c == '_';
    if name.chars().next().is_some_and(first) && name.chars().all(inner) {
        return Ok(());
    }
    Err(FeatureError::InvalidName { name: name.to_owned() })
}

/// Definitions as durable objects, one for each table.
#[derive(Debug, Clone)]
pub(crate) struct Definitions {
    folder: Storage,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    #[serde(flatten)]
    definition: FeatureTableDefinition,
}

impl Definitions {
    pub(crate) fn new(storage: &Storage) -> Self {
        Self { folder: storage.at("definitions") }
    }

    fn object(&self, name: &str) -> VersionedObject {
        VersionedObject::new(&self.folder, name)
    }

    pub(crate) async fn read(&self, name: &str) -> Result<Option<FeatureTableDefinition>> {
        check_name(name)?;
        let attempt = || format!("open the feature table `{name}`");
        let Some((_, bytes)) = self.object(name).read().await.attempt(attempt)? else { return Ok(None) };
        let damaged = |reason: String| FeatureError::Corrupt { attempt: attempt(), url: self.folder.url_of(name), reason };
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|source| damaged(source.to_string()))?;
        if stored.format != 1 {
            return Err(damaged(format!("it has format {}, and 1 is known", stored.format)));
        }
        Ok(Some(stored.definition))
    }

    /// Writes the definition of a table that has none. `false`: another writer was faster.
    pub(crate) async fn create(&self, definition: &FeatureTableDefinition) -> Result<bool> {
        let attempt = || format!("create the feature table `{}`", definition.name);
        let stored = Stored { format: 1, definition: definition.clone() };
        let bytes = serde_json::to_vec_pretty(&stored).map_err(|source| FeatureError::Json { attempt: attempt(), source })?;
        match self.object(&definition.name).compare_and_set(None, bytes).await {
            Ok(_) => Ok(true),
            Err(error) if boathouse_base::DomainError::kind(&error) == boathouse_base::ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error).attempt(attempt),
        }
    }

    /// The names of all feature tables, sorted.
    pub(crate) async fn names(&self) -> Result<Vec<String>> {
        let objects = self.folder.list("").await.attempt(|| "list the feature tables".to_owned())?;
        let mut names: Vec<String> =
            objects.iter().filter_map(|object| object.path.split_once('/')).map(|(name, _)| name.to_owned()).collect();
        names.dedup();
        Ok(names)
    }
}
