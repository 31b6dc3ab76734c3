//! `CREATE [OR REPLACE] TABLE t [SHALLOW | DEEP] CLONE s [VERSION AS OF …] [TBLPROPERTIES …] [LOCATION …]`.

use boathouse_base::TableVersion;
use boathouse_delta_table::{CloneDepth, CloneReport};
use datafusion::prelude::SessionContext;

use super::cursor::{Cursor, TableName};
use super::run::Run;
use super::statements::table_properties;
use super::travel::travelled_table;
use crate::engine::error::Result;

/// What is to be cloned, and where to.
#[derive(Debug)]
pub(crate) struct Clone {
    pub(crate) table: TableName,
    source: TableName,
    version: TableVersion,
    depth: CloneDepth,
    if_exists: IfExists,
    properties: Vec<(String, String)>,
    location: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfExists {
    Fail,
    Leave,
    Replace,
}

/// The head of the statement, if it is one that clones: goes behind `CLONE`.
fn head(cursor: &mut Cursor<'_>) -> Option<(TableName, IfExists, CloneDepth)> {
    let replaces = cursor.takes(&["CREATE", "OR", "REPLACE", "TABLE"]) || cursor.takes(&["REPLACE", "TABLE"]);
    if !replaces && !cursor.takes(&["CREATE", "TABLE"]) {
        return None;
    }
    let leaves = cursor.takes(&["IF", "NOT", "EXISTS"]);
    let if_exists = match (replaces, leaves) {
        (true, _) => IfExists::Replace,
        (false, true) => IfExists::Leave,
        (false, false) => IfExists::Fail,
    };
    let table = cursor.table().ok()?;
    let depth = if cursor.takes(&["SHALLOW"]) {
        CloneDepth::Shallow
    } else {
        cursor.takes(&["DEEP"]);
        CloneDepth::Deep
    };
    cursor.takes(&["CLONE"]).then_some((table, if_exists, depth))
}

/// Reads the statement; nothing, with the cursor where it was, when it is another one.
pub(crate) async fn parse(session: &SessionContext, cursor: &mut Cursor<'_>) -> Result<Option<Clone>> {
    let start = cursor.place();
    let Some((table, if_exists, depth)) = head(cursor) else {
        cursor.go_to(start);
        return Ok(None);
    };
    let place = cursor.place();
    let (source, version) = match travelled_table(session, cursor).await? {
        Some(found) => found,
        None => {
            cursor.go_to(place);
            (cursor.table()?, TableVersion::Latest)
        }
    };
    let mut clone = Clone { table, source, version, depth, if_exists, properties: Vec::new(), location: None };
    while !cursor.is_at_end() {
        if cursor.takes(&["TBLPROPERTIES"]) {
            clone.properties.extend(table_properties(cursor)?);
        } else if cursor.takes(&["LOCATION"]) {
            clone.location = Some(cursor.string("a path or URL")?);
        } else {
            return Err(cursor.wanted("VERSION AS OF, TIMESTAMP AS OF, TBLPROPERTIES, LOCATION or the end"));
        }
    }
    Ok(Some(clone))
}

impl Run<'_> {
    pub(super) async fn clone_table(&self, clone: Clone) -> Result<CloneReport> {
        let source = self.table(&clone.source).await?;
        let known = match clone.if_exists {
            // The table that has the name is replaced, wherever it is.
            IfExists::Replace if clone.location.is_none() => self.table(&clone.table).await.ok(),
            _ => None,
        };
        let target = match known {
            Some(known) => known,
            None => self.lake.open(&self.place_of(&clone.table, clone.location.as_deref())?)?,
        };
        let mut builder = source.clone_to(&target).depth(clone.depth).at(clone.version);
        builder = match clone.if_exists {
            IfExists::Fail => builder,
            IfExists::Leave => builder.if_not_exists(),
            IfExists::Replace => builder.or_replace(),
        };
        if clone.table.path().is_none() {
            builder = builder.name(clone.table.last());
        }
        for (key, value) in clone.properties {
            builder = builder.property(key, value);
        }
        let report = builder.run().await?;
        self.give_name(&clone.table, &target).await?;
        Ok(report)
    }
}
