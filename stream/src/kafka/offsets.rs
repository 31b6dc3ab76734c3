//! Offsets by topic and partition, as Spark writes them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::KafkaError;

/// The next offset of each partition: `{"topic":{"0":23}}`.
///
/// Where a stream starts, -2 stands for the earliest offset and -1 for the latest.
///
/// **Source**: Spark's `startingOffsets`, and the offsets in its checkpoints.
///
/// # Example
/// ```
/// use boathouse_stream::kafka::KafkaOffsets;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let offsets = KafkaOffsets::parse(r#"{"clicks":{"0":23,"1":-2}}"#)?;
/// assert_eq!(offsets.get("clicks", 0), Some(23));
/// assert_eq!(offsets.to_string(), r#"{"clicks":{"0":23,"1":-2}}"#);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KafkaOffsets(BTreeMap<String, BTreeMap<i32, i64>>);

impl KafkaOffsets {
    /// Stands for the earliest offset where a stream starts.
    pub const EARLIEST: i64 = -2;
    /// Stands for the latest offset where a stream starts.
    pub const LATEST: i64 = -1;

    /// Offsets from their JSON.
    ///
    /// **Errors**: `Invalid` when it is no JSON of this shape.
    pub fn parse(text: &str) -> Result<Self, KafkaError> {
        serde_json::from_str(text).map_err(|error| KafkaError::Offset { offset: text.to_owned(), problem: error.to_string() })
    }

    /// A position: offsets that a stream has come to.
    pub(crate) fn position(text: &str) -> Result<Self, KafkaError> {
        let offsets = Self::parse(text)?;
        if let Some((topic, partition, offset)) = offsets.iter().find(|(_, _, offset)| *offset < 0) {
            let problem = format!("partition {partition} of `{topic}` stands at {offset}");
            return Err(KafkaError::Offset { offset: text.to_owned(), problem });
        }
        Ok(offsets)
    }

    /// The offset of a partition.
    pub fn get(&self, topic: &str, partition: i32) -> Option<i64> {
        self.0.get(topic)?.get(&partition).copied()
    }

    /// Sets the offset of a partition.
    pub fn set(&mut self, topic: &str, partition: i32, offset: i64) {
        match self.0.get_mut(topic) {
            Some(partitions) => partitions.insert(partition, offset),
            None => self.0.entry(topic.to_owned()).or_default().insert(partition, offset),
        };
    }

    /// Topic, partition and offset, in this order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32, i64)> {
        self.0.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, offset)| (topic.as_str(), *partition, *offset))
        })
    }
}

impl fmt::Display for KafkaOffsets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}
