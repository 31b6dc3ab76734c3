//! The checksum of a JSON object, by which `_last_checkpoint` protects itself.
//!
//! **Source**: Delta protocol, "JSON checksum".

use std::fmt::Write as _;

use md5::{Digest, Md5};
use serde_json::{Map, Value};

/// The key that is left out, since it holds the checksum.
pub(super) const CHECKSUM: &str = "checksum";

/// MD5 of the canonical form, in hexadecimal.
pub(super) fn checksum(object: &Map<String, Value>) -> String {
    let digest = Md5::digest(canonical(object).as_bytes());
    digest.iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Pairs of path and value, sorted by the bytes of the path.
fn canonical(object: &Map<String, Value>) -> String {
    let mut pairs = Vec::new();
    for (key, value) in object.iter().filter(|(key, _)| *key != CHECKSUM) {
        collect(quoted(key), value, &mut pairs);
    }
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(path, value)| format!("{path}={value}")).collect();
    pairs.join(",")
}

fn collect(path: String, value: &Value, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Object(inner) => inner.iter().for_each(|(key, value)| collect(format!("{path}+{}", quoted(key)), value, pairs)),
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(at, value)| collect(format!("{path}+{at}"), value, pairs));
        }
        Value::String(text) => pairs.push((path, quoted(text))),
        Value::Null | Value::Bool(_) | Value::Number(_) => pairs.push((path, value.to_string())),
    }
}

/// In quotes; all but letters, digits and `-._~` percent-encoded.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            quoted.push(char::from(byte));
        } else {
            let _ = write!(quoted, "%{byte:02X}");
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_sample_of_the_protocol_has_its_canonical_form_and_checksum() {
        let text = r#"{"k0":"'v 0'", "checksum": "adsaskfljadfkjadfkj", "k1":{"k2": 2, "k3": ["v3", [1, 2], {"k4": "v4", "k5": ["v5", "v6", "v7"]}]}}"#;
        let object: Map<String, Value> = serde_json::from_str(text).unwrap();
        assert_eq!(
            canonical(&object),
            concat!(
                r#""k0"="%27v%200%27","k1"+"k2"=2,"k1"+"k3"+0="v3","k1"+"k3"+1+0=1,"k1"+"k3"+1+1=2,"k1"+"k3"+2+"k4"="v4","#,
                r#""k1"+"k3"+2+"k5"+0="v5","k1"+"k3"+2+"k5"+1="v6","k1"+"k3"+2+"k5"+2="v7""#
            )
        );
        assert_eq!(checksum(&object), "6a92d155a59bf2eecbd4b4ec7fd1f875");
    }
}
