//! How long and how many: the limits of MLflow, so that what is logged here can be logged there.
//!
//! **Source**: MLflow, limits of the REST API ("Log Batch", "Request limits").

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::run::{DatasetInput, Metric, RunBatch};

pub(crate) const MAX_METRICS: usize = 1000;
pub(crate) const MAX_PARAMS: usize = 100;
pub(crate) const MAX_TAGS: usize = 100;
pub(crate) const MAX_ENTITIES: usize = 1000;
pub(crate) const MAX_KEY: usize = 250;
pub(crate) const MAX_PARAM_VALUE: usize = 6000;
pub(crate) const MAX_TAG_VALUE: usize = 8000;
const MAX_EXPERIMENT_NAME: usize = 500;
const MAX_EXPERIMENT_TAG_VALUE: usize = 20_000;
const MAX_RUN_NAME: usize = 250;
const MAX_DATASET_NAME: usize = 500;
const MAX_DATASET_DIGEST: usize = 36;
const MAX_DATASET_SCHEMA: usize = (1 << 20) - 1;
const MAX_DATASET_SOURCE: usize = (1 << 16) - 1;
const MAX_DATASET_PROFILE: usize = (1 << 24) - 1;

/// Texts are measured in characters, as MLflow does.
fn length(what: impl Into<String>, text: &str, limit: usize) -> Result<()> {
    // Characters are never more than bytes: most texts need no counting.
    if text.len() <= limit {
        return Ok(());
    }
    count(what, text.chars().count(), limit)
}

fn count(what: impl Into<String>, found: usize, limit: usize) -> Result<()> {
    if found <= limit { Ok(()) } else { Err(Error::Limit { what: what.into(), found, limit }) }
}

pub(crate) fn key(what: &'static str, key: &str) -> Result<()> {
    let expected =
        "letters, digits, underscores, dashes, periods, spaces, colons and slashes, and no `.` or `..` between slashes";
    let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | ':' | '/');
    let plain = !key.is_empty()
        && key.chars().all(good)
        && !key.starts_with('/')
        && !key.ends_with('/')
        && key.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !plain {
        return Err(Error::Name { what, value: key.chars().take(300).collect(), expected });
    }
    length(format!("the length of {what} `{key}`"), key, MAX_KEY)
}

pub(crate) fn experiment_name(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::Name { what: "experiment name", value: name.to_owned(), expected: "a name that is not empty" });
    }
    length("the length of the experiment name", name, MAX_EXPERIMENT_NAME)
}

pub(crate) fn experiment_tag(tag: &str, value: &str) -> Result<()> {
    key("experiment tag key", tag)?;
    length(format!("the length of experiment tag `{tag}`"), value, MAX_EXPERIMENT_TAG_VALUE)
}

pub(crate) fn run_name(name: &str) -> Result<()> {
    length("the length of the run name", name, MAX_RUN_NAME)
}

pub(crate) fn tag(tag: &str, value: &str) -> Result<()> {
    key("tag key", tag)?;
    length(format!("the length of tag `{tag}`"), value, MAX_TAG_VALUE)
}

pub(crate) fn param(param: &str, value: &str) -> Result<()> {
    key("param key", param)?;
    length(format!("the length of param `{param}`"), value, MAX_PARAM_VALUE)
}

pub(crate) fn metric(metric: &Metric) -> Result<()> {
    key("metric key", &metric.key)
}

pub(crate) fn batch(batch: &RunBatch) -> Result<()> {
    count("the number of metrics in a batch", batch.metrics.len(), MAX_METRICS)?;
    count("the number of params in a batch", batch.params.len(), MAX_PARAMS)?;
    count("the number of tags in a batch", batch.tags.len(), MAX_TAGS)?;
    count(
        "the number of metrics, params and tags in a batch",
        batch.metrics.len() + batch.params.len() + batch.tags.len(),
        MAX_ENTITIES,
    )?;
    batch.metrics.iter().try_for_each(metric)?;
    let mut seen = BTreeSet::new();
    for (name, value) in &batch.params {
        param(name, value)?;
        if !seen.insert(name) {
            return Err(Error::DuplicateParam { key: name.clone() });
        }
    }
    batch.tags.iter().try_for_each(|(name, value)| tag(name, value))
}

pub(crate) fn dataset(input: &DatasetInput) -> Result<()> {
    for (what, value) in [("dataset name", &input.name), ("dataset digest", &input.digest)] {
        if value.is_empty() {
            return Err(Error::Name { what, value: String::new(), expected: "text that is not empty" });
        }
    }
    length("the length of the dataset name", &input.name, MAX_DATASET_NAME)?;
    length("the length of the dataset digest", &input.digest, MAX_DATASET_DIGEST)?;
    length("the length of the dataset source", &input.source, MAX_DATASET_SOURCE)?;
    length("the length of the dataset schema", input.schema.as_deref().unwrap_or_default(), MAX_DATASET_SCHEMA)?;
    length("the length of the dataset profile", input.profile.as_deref().unwrap_or_default(), MAX_DATASET_PROFILE)?;
    input.tags.iter().try_for_each(|(name, value)| tag(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_odd_characters_or_paths_are_refused() {
        for good in ["a", "lr/0 x:y-z_1.b", "é", &"k".repeat(250)] {
            assert!(key("metric key", good).is_ok(), "{good}");
        }
        for bad in ["", "a*b", "a\nb", "../x", "a/../b", "/a", "a/", "a//b", &"k".repeat(251)] {
            assert!(key("metric key", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_count_characters_not_bytes() {
        assert!(param("p", &"é".repeat(MAX_PARAM_VALUE)).is_ok());
        assert!(matches!(param("p", &"é".repeat(MAX_PARAM_VALUE + 1)), Err(Error::Limit { found: 6001, limit: 6000, .. })));
    }

    #[test]
    fn a_batch_over_a_limit_is_refused_with_the_count() {
        let metrics = |n: usize| (0..n).map(|i| Metric::new(format!("m{i}"), 0.0, 0, 0)).collect::<Vec<_>>();
        let params = |n: usize| (0..n).map(|i| (format!("p{i}"), String::new())).collect::<Vec<_>>();
        let check = |m, p| batch(&RunBatch { metrics: metrics(m), params: params(p), tags: Vec::new() });
        assert!(check(900, 100).is_ok());
        assert!(matches!(check(901, 100), Err(Error::Limit { found: 1001, limit: 1000, .. })));
        assert!(matches!(check(0, 101), Err(Error::Limit { found: 101, limit: 100, .. })));
        let twice = RunBatch { params: vec![("a".into(), "1".into()), ("a".into(), "1".into())], ..RunBatch::default() };
        assert!(matches!(batch(&twice), Err(Error::DuplicateParam { .. })));
    }
}
