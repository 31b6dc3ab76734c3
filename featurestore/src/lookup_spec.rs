//! Which features are looked up, by which keys, as of when.

use std::collections::BTreeMap;
use std::time::Duration;

use boathouse_base::TableVersion;
use serde::{Deserialize, Serialize};

/// Which feature rows a label may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AsOf {
    /// Rows whose time is the label's or earlier.
    #[default]
    AtOrBefore,
    /// Rows whose time is earlier than the label's: for features of an event that the label is about.
    Before,
}

/// Features of one table, for the rows of a training set or a request.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use boathouse_featurestore::FeatureLookupSpec;
///
/// let weather = FeatureLookupSpec::new("weather")
///     .features(["wind_speed", "visib"])
///     .key("airport", "origin") // the table's key is the label's column `origin`
///     .max_age(Duration::from_secs(3 * 3600))
///     .prefix("origin_");
/// assert_eq!(weather.column_name("visib"), "origin_visib");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureLookupSpec {
    /// The feature table.
    pub table: String,
    /// Its columns that are wanted, in this order; `None` for all.
    #[serde(default)]
    pub features: Option<Vec<String>>,
    /// Key columns of the table that have another name among the labels: the table's name, the label's name.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    /// The label's time, when it is another column than that of the training set.
    #[serde(default)]
    pub timestamp: Option<String>,
    /// Rows older than this do not count, in microseconds.
    #[serde(default)]
    pub max_age_us: Option<u64>,
    /// Which rows a label may see.
    #[serde(default)]
    pub as_of: AsOf,
    /// Goes before the name of each feature.
    #[serde(default)]
    pub prefix: String,
    /// The version of the table to read. Not part of a stored spec: online there is the newest only.
    #[serde(skip)]
    pub version: TableVersion,
}

impl FeatureLookupSpec {
    /// All features of a table, by its own key names, of any age.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            features: None,
            keys: BTreeMap::new(),
            timestamp: None,
            max_age_us: None,
            as_of: AsOf::default(),
            prefix: String::new(),
            version: TableVersion::Latest,
        }
    }

    /// These features only, in this order.
    #[must_use]
    pub fn features<S: Into<String>>(mut self, features: impl IntoIterator<Item = S>) -> Self {
        self.features = Some(features.into_iter().map(Into::into).collect());
        self
    }

    /// The table's key column `key` is the label's column `label_column`.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>, label_column: impl Into<String>) -> Self {
        self.keys.insert(key.into(), label_column.into());
        self
    }

    /// The time of a label is in this column of the labels.
    #[must_use]
    pub fn timestamp(mut self, label_column: impl Into<String>) -> Self {
        self.timestamp = Some(label_column.into());
        self
    }

    /// Rows older than this do not count. A row of exactly this age does; zero leaves rows of the label's own time.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age_us = Some(u64::try_from(max_age.as_micros()).unwrap_or(u64::MAX));
        self
    }

    /// Rows of the label's own time do not count.
    #[must_use]
    pub fn strictly_before(mut self) -> Self {
        self.as_of = AsOf::Before;
        self
    }

    /// Puts this before the name of each feature.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Reads this version of the table.
    #[must_use]
    pub fn at_version(mut self, version: TableVersion) -> Self {
        self.version = version;
        self
    }

    /// The label's column that holds a key column of the table.
    pub fn label_column<'a>(&'a self, key: &'a str) -> &'a str {
        self.keys.get(key).map_or(key, String::as_str)
    }

    /// What a feature is called among the labels.
    pub fn column_name(&self, feature: &str) -> String {
        format!("{}{feature}", self.prefix)
    }
}

/// All lookups of a training set: what a model must be given online to see what it was trained on.
///
/// It is plain data: keep it as JSON beside the model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FeatureSpec {
    /// The column with the time of a label, or of a request. A request without it is as of now.
    #[serde(default)]
    pub timestamp: Option<String>,
    /// The lookups, in the order of their columns.
    pub lookups: Vec<FeatureLookupSpec>,
}
