//! What a table must demand of its clients: no more than it needs.
//!
//! Features that are older than names are demanded by version as long as all of them are; the first feature
//! that only has a name turns the versions into a list.

use std::collections::{BTreeMap, BTreeSet};

use super::active::{has, is_implied, used_by};
use super::check::unsupported;
use super::table::{Enabled, FEATURES, Feature, FeatureKind, feature};
use crate::action::Protocol;
use crate::error::{Access, ProtocolError, Result};
use crate::properties::TableProperties;
use crate::schema::StructType;

/// `delta.feature.NAME = supported` asks for a feature. Such properties are not kept.
pub const FEATURE_PREFIX: &str = "delta.feature.";

/// What a schema and properties ask for.
struct Needed {
    features: BTreeSet<&'static str>,
    /// Whether one was asked for by its name: then the table gets lists.
    by_name: bool,
}

/// The protocol for a new table: no more than its schema and properties need.
///
/// Versions where they suffice, lists otherwise. Properties named `delta.feature.NAME = supported` add that
/// feature; features that another one needs come along.
///
/// **Errors**: `Unsupported` names a feature that is asked for but cannot be written; `Invalid` for bad properties.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::features::protocol_for;
/// use boathouse_delta_protocol::schema::StructType;
///
/// let properties = [("delta.enableChangeDataFeed".to_owned(), "true".to_owned())].into();
/// let protocol = protocol_for(&StructType::default(), &properties)?;
/// assert_eq!((protocol.min_reader_version, protocol.min_writer_version), (1, 4));
///
/// let properties = [("delta.enableDeletionVectors".to_owned(), "true".to_owned())].into();
/// let protocol = protocol_for(&StructType::default(), &properties)?;
/// assert_eq!(protocol.reader_features.unwrap(), ["deletionVectors"]);
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
pub fn protocol_for(schema: &StructType, configuration: &BTreeMap<String, String>) -> Result<Protocol> {
    let needed = needed(schema, configuration)?;
    let base = Protocol::default();
    Ok(extend(&base, &needed.features, needed.by_name).unwrap_or(base))
}

/// The protocol that a table needs after its schema or properties changed: what it has, and what is new.
///
/// Returns `None` when the table's protocol suffices.
///
/// **Errors**: as [`protocol_for`].
pub fn protocol_upgrade(
    protocol: &Protocol,
    schema: &StructType,
    configuration: &BTreeMap<String, String>,
) -> Result<Option<Protocol>> {
    let needed = needed(schema, configuration)?;
    Ok(extend(protocol, &needed.features, needed.by_name))
}

/// The protocol with these features more; nothing when it has them all.
fn extend(protocol: &Protocol, needed: &BTreeSet<&'static str>, by_name: bool) -> Option<Protocol> {
    let missing: Vec<&Feature> = needed.iter().filter(|name| !has(protocol, name)).filter_map(|name| feature(name)).collect();
    if missing.is_empty() {
        return None;
    }
    let versions = |f: &&Feature| match (f.kind, f.reader_version, f.writer_version) {
        (FeatureKind::Writer, _, Some(writer)) => Some((1, writer)),
        (FeatureKind::ReaderWriter, Some(reader), Some(writer)) => Some((reader, writer)),
        _ => None,
    };
    if !by_name
        && protocol.min_reader_version < 3
        && protocol.min_writer_version < 7
        && let Some(versions) = missing.iter().map(versions).collect::<Option<Vec<_>>>()
    {
        let (reader, writer) =
            versions.into_iter().fold((protocol.min_reader_version, protocol.min_writer_version), |(r, w), (reader, writer)| {
                (r.max(reader), w.max(writer))
            });
        return Some(Protocol {
            min_reader_version: reader,
            min_writer_version: writer,
            reader_features: None,
            writer_features: None,
        });
    }
    let kept = FEATURES.iter().filter(|f| f.preview_of.is_none() && is_implied(protocol, f));
    let mut readers = protocol.reader_features.clone().unwrap_or_default();
    let mut writers = protocol.writer_features.clone().unwrap_or_default();
    for feature in kept.chain(missing) {
        let add = |list: &mut Vec<String>| {
            if !list.iter().any(|n| n == feature.name) {
                list.push(feature.name.to_owned());
            }
        };
        if feature.kind == FeatureKind::ReaderWriter {
            add(&mut readers);
        }
        add(&mut writers);
    }
    readers.sort_unstable();
    writers.sort_unstable();
    let min_reader_version = if readers.is_empty() { protocol.min_reader_version } else { 3 };
    let reader_features = (min_reader_version >= 3).then_some(readers);
    Some(Protocol { min_reader_version, min_writer_version: 7, reader_features, writer_features: Some(writers) })
}

/// The features that a schema and properties ask for, with all that these need.
fn needed(schema: &StructType, configuration: &BTreeMap<String, String>) -> Result<Needed> {
    TableProperties::parse(configuration)?;
    let mut causes: BTreeMap<&'static str, String> = BTreeMap::new();
    let mut by_name = false;
    for feature in FEATURES.iter().filter(|f| f.preview_of.is_none() && f.enabled != Enabled::ByName) {
        if let Some(user) = used_by(feature.enabled, configuration, schema) {
            check(feature, &user)?;
            causes.insert(feature.name, user);
        }
    }
    for (key, value) in configuration {
        let Some(name) = key.strip_prefix(FEATURE_PREFIX) else { continue };
        if !value.eq_ignore_ascii_case("supported") && !value.eq_ignore_ascii_case("enabled") {
            return Err(ProtocolError::InvalidProperty { key: key.clone(), value: value.clone(), expected: "supported" });
        }
        let user = format!("property `{key}`");
        let Some(feature) = feature(name) else { return Err(unsupported(name, Access::Write, format!(": {user} asks for it"))) };
        check(feature, &user)?;
        by_name = true;
        causes.entry(feature.name).or_insert(user);
    }
    let mut open: Vec<&'static str> = causes.keys().copied().collect();
    while let Some(name) = open.pop() {
        for need in feature(name).map(|f| f.needs).unwrap_or_default() {
            if causes.contains_key(need) {
                continue;
            }
            let user = format!("feature `{name}`");
            if let Some(feature) = feature(need) {
                check(feature, &user)?;
                causes.insert(feature.name, user);
                open.push(feature.name);
            }
        }
    }
    Ok(Needed { features: causes.into_keys().collect(), by_name })
}

/// Nobody may make a table that we could not go on with.
fn check(feature: &Feature, user: &str) -> Result<()> {
    let possible = feature.read && feature.write;
    if possible { Ok(()) } else { Err(unsupported(feature.name, Access::Write, format!(": {user} asks for it"))) }
}
