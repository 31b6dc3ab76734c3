//! What is in force in a table.

use std::collections::BTreeMap;

use super::table::{Enabled, FEATURES, Feature, FeatureKind};
use crate::action::{Metadata, Protocol};
use crate::error::Result;
use crate::properties::TableProperties;
use crate::schema::{ColumnMappingMode, StructType};

/// Whether a table with this protocol has a feature: by its name, by an early name of it, or by version.
pub fn has(protocol: &Protocol, name: &str) -> bool {
    let listed = |list: &Option<Vec<String>>| list.as_deref().is_some_and(|l| l.iter().any(|f| f == name || is_preview(f, name)));
    if listed(&protocol.reader_features) || listed(&protocol.writer_features) {
        return true;
    }
    super::feature(name).is_some_and(|feature| is_implied(protocol, feature))
}

fn is_preview(name: &str, of: &str) -> bool {
    super::feature(name).is_some_and(|f| f.preview_of == Some(of))
}

/// Whether the versions alone demand it.
pub(super) fn is_implied(protocol: &Protocol, feature: &Feature) -> bool {
    let by_writer = protocol.min_writer_version < 7 && feature.writer_version.is_some_and(|v| protocol.min_writer_version >= v);
    match feature.kind {
        FeatureKind::Writer => by_writer,
        FeatureKind::ReaderWriter => {
            let by_reader =
                protocol.min_reader_version < 3 && feature.reader_version.is_some_and(|v| protocol.min_reader_version >= v);
            by_reader && (by_writer || protocol.min_writer_version >= 7)
        }
    }
}

/// Whether a table has a feature and uses it: its metadata shows what [`Enabled`] says.
///
/// **Errors**: `Corrupt` when the schema does not parse.
pub fn is_active(protocol: &Protocol, metadata: &Metadata, name: &str) -> Result<bool> {
    let Some(feature) = FEATURES.iter().find(|f| f.name == name).filter(|_| has(protocol, name)) else { return Ok(false) };
    Ok(match feature.enabled {
        Enabled::ByName => true,
        Enabled::ColumnKey(_) | Enabled::Type(_) | Enabled::Variant => {
            used_by(feature.enabled, &metadata.configuration, &metadata.schema()?).is_some()
        }
        by_property => used_by(by_property, &metadata.configuration, &StructType::default()).is_some(),
    })
}

/// Whether commits of such a table hold their time.
///
/// **Source**: Delta protocol, "In-Commit Timestamps".
pub fn has_in_commit_timestamps(protocol: &Protocol, configuration: &BTreeMap<String, String>) -> bool {
    ["", "-preview"].iter().any(|suffix| {
        let property = format!("delta.enableInCommitTimestamps{suffix}");
        let on = configuration.iter().any(|(k, v)| k.eq_ignore_ascii_case(&property) && v.trim().eq_ignore_ascii_case("true"));
        on && has(protocol, &format!("inCommitTimestamp{suffix}"))
    })
}

/// The name of the feature by which a catalog decides what the versions of a table are; nothing when its files do.
pub fn catalog_feature(protocol: &Protocol) -> Option<&'static str> {
    ["catalogManaged", "catalogOwned-preview"].into_iter().find(|name| has(protocol, name))
}

/// How columns are found in files: the property counts only when the protocol has the feature.
pub fn column_mapping(protocol: &Protocol, properties: &TableProperties) -> ColumnMappingMode {
    if has(protocol, "columnMapping") { properties.column_mapping_mode } else { ColumnMappingMode::None }
}

/// What in a table uses a feature, in words; nothing when nothing does, or when the name alone is its use.
pub(super) fn used_by(enabled: Enabled, configuration: &BTreeMap<String, String>, schema: &StructType) -> Option<String> {
    let find = |key: &str| configuration.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(k, v)| (k, v.trim()));
    match enabled {
        Enabled::ByName => None,
        Enabled::Property(key) => {
            find(key).filter(|(_, v)| v.eq_ignore_ascii_case("true")).map(|(k, _)| format!("property `{k}`"))
        }
        Enabled::Value(key, value) => {
            find(key).filter(|(_, v)| v.eq_ignore_ascii_case(value)).map(|(k, v)| format!("property `{k}` = `{v}`"))
        }
        Enabled::OtherThan(key, value) => {
            find(key).filter(|(_, v)| !v.eq_ignore_ascii_case(value)).map(|(k, v)| format!("property `{k}` = `{v}`"))
        }
        Enabled::Properties(prefix) => configuration
            .keys()
            .find(|k| k.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))
            .map(|k| format!("property `{k}`")),
        Enabled::ColumnKey(prefix) => {
            schema.find_column(&mut |field| field.metadata.keys().any(|k| k.starts_with(prefix))).map(|c| format!("column `{c}`"))
        }
        Enabled::Type(wanted) => schema.find_type(wanted).map(|c| format!("column `{c}`")),
        Enabled::Variant => schema.find_variant().map(|c| format!("column `{c}`")),
    }
}
