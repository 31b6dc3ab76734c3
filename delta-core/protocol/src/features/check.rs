//! Whether a table may be read, written to, or changed in some way.

use super::active::has;
use super::exclusion::check_combination;
use super::table::{FEATURES, Feature, READER_VERSION, WRITER_VERSION, feature};
use crate::action::{Metadata, Protocol};
use crate::error::{Access, ProtocolError, Result};
use crate::properties::TableProperties;

/// What a commit does to rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowChange {
    /// Nothing: rows are only added, or nothing but metadata changes.
    None,
    /// Nothing: rows move between files (`dataChange` is false).
    Rearrange,
    /// Whole files leave.
    RemoveFiles,
    /// Rows are marked as deleted; all others stay where they are.
    MarkRows,
    /// Rows are changed, or written again because others in their file changed.
    Rewrite,
}

/// Checks that a table with this protocol can be read.
///
/// **Errors**: `Unsupported` names the feature or the version.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::{action::Protocol, features};
///
/// let protocol = Protocol {
///     min_reader_version: 3,
///     min_writer_version: 7,
///     reader_features: Some(vec!["teleportation".to_owned()]),
///     writer_features: Some(vec!["teleportation".to_owned()]),
/// };
/// let error = features::check_read(&protocol).unwrap_err();
/// assert!(error.to_string().contains("`teleportation`"));
/// ```
pub fn check_read(protocol: &Protocol) -> Result<()> {
    if protocol.min_reader_version > READER_VERSION {
        return Err(ProtocolError::UnsupportedVersion {
            access: Access::Read,
            required: protocol.min_reader_version,
            known: READER_VERSION,
        });
    }
    if protocol.min_reader_version < 3 {
        return Ok(());
    }
    let Some(names) = &protocol.reader_features else {
        return Err(ProtocolError::InvalidProtocol { found: "reader version 3 without a list of reader features".to_owned() });
    };
    match names.iter().find(|name| !feature(name).is_some_and(|f| f.read)) {
        Some(name) => Err(unsupported(name, Access::Read, String::new())),
        None => Ok(()),
    }
}

/// Checks that a table can be written to.
///
/// **Errors**: `Unsupported` names the feature; `Invalid` when two features exclude each other; `Corrupt` when the schema does not parse.
pub fn check_write(protocol: &Protocol, metadata: &Metadata) -> Result<()> {
    check_read(protocol)?;
    if protocol.min_writer_version > WRITER_VERSION {
        return Err(ProtocolError::UnsupportedVersion {
            access: Access::Write,
            required: protocol.min_writer_version,
            known: WRITER_VERSION,
        });
    }
    let check = |feature: &Feature| match feature.write {
        true => Ok(()),
        false => Err(unsupported(feature.name, Access::Write, String::new())),
    };
    if protocol.min_writer_version < 7 {
        FEATURES.iter().filter(|f| f.writer_version.is_some_and(|v| protocol.min_writer_version >= v)).try_for_each(check)?;
        return check_combination(protocol, metadata);
    }
    let Some(names) = &protocol.writer_features else {
        return Err(ProtocolError::InvalidProtocol { found: "writer version 7 without a list of writer features".to_owned() });
    };
    for name in names {
        match feature(name) {
            Some(feature) => check(feature)?,
            None => return Err(unsupported(name, Access::Write, String::new())),
        }
    }
    check_combination(protocol, metadata)
}

/// Checks that rows of the table may be changed in this way.
///
/// A change feed asks for files of changes as well, when rows are [rewritten](RowChange::Rewrite): the commit looks whether they are there.
///
/// **Errors**: `Invalid` on append-only tables.
pub fn check_change(protocol: &Protocol, properties: &TableProperties, change: RowChange) -> Result<()> {
    let removes = matches!(change, RowChange::RemoveFiles | RowChange::MarkRows | RowChange::Rewrite);
    if removes && properties.append_only && has(protocol, "appendOnly") {
        return Err(ProtocolError::AppendOnly);
    }
    Ok(())
}

/// Whether commits that rewrite rows must say in files of their own what changed.
///
/// **Source**: Delta protocol, "Add CDC File".
pub fn records_changes(protocol: &Protocol, properties: &TableProperties) -> bool {
    properties.enable_change_data_feed && has(protocol, "changeDataFeed")
}

pub(super) fn unsupported(feature: &str, access: Access, reason: String) -> ProtocolError {
    ProtocolError::UnsupportedFeature { feature: feature.to_owned(), access, reason }
}
