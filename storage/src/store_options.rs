//! Options of cloud stores.

use std::collections::BTreeMap;
use std::fmt;

/// Options by name. Shows the names only: some values are secrets.
#[derive(Clone, Default)]
pub(crate) struct StoreOptions(BTreeMap<String, String>);

impl StoreOptions {
    pub(crate) fn insert(&mut self, name: String, value: String) {
        self.0.insert(name, value);
    }

    /// Those of one cloud, by what their names begin with.
    #[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
    pub(crate) fn of<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).filter(move |(name, _)| name.starts_with(prefix))
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let mut options = StoreOptions::default();
        options.insert("aws_secret_access_key".to_owned(), "hunter2".to_owned());
        assert_eq!(format!("{options:?}"), r#"{"aws_secret_access_key"}"#);
    }
}
