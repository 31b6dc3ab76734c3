//! A small map from text to optional text: partition values and tags.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A map from text to optional text, sorted by key.
///
/// A table has one for every file, so it is one allocation (none when empty) and not a tree.
/// An entry may be null, which is not the same as no entry.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::action::StringMap;
///
/// let values: StringMap = [("month", Some("7")), ("carrier", None)].into_iter().collect();
/// assert_eq!(values.get("month"), Some(Some("7")));
/// assert_eq!(values.get("carrier"), Some(None));
/// assert_eq!(values.get("year"), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StringMap(Vec<(Box<str>, Option<Box<str>>)>);

impl StringMap {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entry of a key: `None` without one, `Some(None)` when it is null.
    pub fn get(&self, key: &str) -> Option<Option<&str>> {
        self.position(key).ok().map(|at| self.0[at].1.as_deref())
    }

    /// Sets an entry.
    pub fn insert<K: AsRef<str>, V: AsRef<str>>(&mut self, key: K, value: Option<V>) {
        let value = value.map(|v| v.as_ref().into());
        match self.position(key.as_ref()) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key.as_ref().into(), value)),
        }
    }

    /// Entries by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value.as_deref()))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(k, _)| k.as_ref().cmp(key))
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, Option<V>)> for StringMap {
    fn from_iter<I: IntoIterator<Item = (K, Option<V>)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

impl Serialize for StringMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, &value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for StringMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = StringMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<StringMap, E> {
                Ok(StringMap::default())
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<StringMap, M::Error> {
                let mut entries = StringMap(Vec::new());
                while let Some((key, value)) = map.next_entry::<Box<str>, Option<Box<str>>>()? {
                    match entries.position(&key) {
                        Ok(at) => entries.0[at].1 = value,
                        Err(at) => entries.0.insert(at, (key, value)),
                    }
                }
                entries.0.shrink_to_fit();
                Ok(entries)
            }
        }

        deserializer.deserialize_any(Entries)
    }
}
