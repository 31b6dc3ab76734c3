//! What names, aliases and tags may be: the limits of MLflow.

use crate::error::{Error, Result};

const MAX_NAME: usize = 256;
const MAX_KEY: usize = 250;
const MAX_TAG_VALUE: usize = 100_000;
const MAX_ALIAS: usize = 255;
const MAX_DESCRIPTION: usize = 5000;
const MAX_SOURCE: usize = 1000;

fn length(what: &'static str, text: &str, limit: usize) -> Result<()> {
    let found = text.chars().count();
    if found <= limit { Ok(()) } else { Err(Error::Limit { what, found, limit }) }
}

pub(crate) fn name(name: &str) -> Result<()> {
    if name.trim().is_empty() || name.contains(['/', ':']) || name.contains('@') {
        let expected = "a name that is not empty and holds no `/`, `:` or `@`";
        return Err(Error::Name { what: "registered model name", value: name.to_owned(), expected });
    }
    length("registered model name", name, MAX_NAME)
}

pub(crate) fn alias(alias: &str) -> Result<()> {
    let word = !alias.is_empty() && alias.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    if !word {
        return Err(Error::Name { what: "alias", value: alias.to_owned(), expected: "letters, digits, underscores and dashes" });
    }
    let number = alias.strip_prefix(['v', 'V']).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if number || alias.eq_ignore_ascii_case("latest") {
        let expected = "not `latest` and not `v` with a number: these already name versions";
        return Err(Error::Name { what: "alias", value: alias.to_owned(), expected });
    }
    length("alias", alias, MAX_ALIAS)
}

pub(crate) fn tag(key: &str, value: &str) -> Result<()> {
    let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | ':' | '/');
    if key.is_empty() || !key.chars().all(good) {
        let expected = "letters, digits, underscores, dashes, periods, spaces, colons and slashes";
        return Err(Error::Name { what: "tag key", value: key.to_owned(), expected });
    }
    length("tag key", key, MAX_KEY)?;
    length("tag value", value, MAX_TAG_VALUE)
}

pub(crate) fn description(text: Option<&str>) -> Result<()> {
    length("description", text.unwrap_or_default(), MAX_DESCRIPTION)
}

pub(crate) fn source(text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::Name { what: "source", value: String::new(), expected: "the folder of the model's files, as a URL" });
    }
    // A version must not read what lies above the folder it names.
    if text.split(['/', '\\']).any(|part| part == "..") {
        return Err(Error::Name { what: "source", value: text.to_owned(), expected: "a folder without `..` in its path" });
    }
    length("source", text, MAX_SOURCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_that_would_name_a_version_are_refused() {
        for bad in ["", "latest", "Latest", "v1", "V27", "a b", "a@b", "a/b", &"a".repeat(256)] {
            assert!(alias(bad).is_err(), "{bad}");
        }
        for good in ["champion", "v1-candidate", "version", "v", "a_b-c"] {
            assert!(alias(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn names_that_would_break_a_reference_are_refused() {
        for bad in ["", " ", "a/b", "a:b", "a@b", &"a".repeat(257)] {
            assert!(name(bad).is_err(), "{bad}");
        }
        assert!(name("late flights (2013)").is_ok());
    }
}
