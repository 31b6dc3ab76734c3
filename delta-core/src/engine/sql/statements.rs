//! The statements of Delta that are no queries, as values.

use std::time::Duration;

use boathouse_base::TableVersion;
use boathouse_delta_protocol::rules::CONSTRAINT_PREFIX;
use boathouse_delta_table::{ColumnPlace, Retention, VacuumScope};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::alter_columns::{added_column, replaced_columns};
use super::catalog::CatalogStatement;
use super::cursor::{Cursor, TableName};
use super::data_types::{column, column_named, data_type};
use super::describe::Describe;
use super::optimize::Optimize;
use super::{catalog, clone, convert, copy, describe, insert, optimize, property_names, travel, upkeep};
use crate::engine::error::{EngineError, Result};

/// A statement of Delta.
#[derive(Debug)]
pub(crate) enum Statement {
    /// `SHOW TABLES`, `USE`, `DROP TABLE`, `CREATE TABLE … LIKE` and their like.
    Catalog(CatalogStatement),
    /// `DESCRIBE [TABLE] t`, `SHOW COLUMNS`, `SHOW PARTITIONS`, `SHOW CREATE TABLE`.
    Describe(Describe),
    /// `CREATE [OR REPLACE] TABLE … USING DELTA`.
    Create(Box<Create>),
    /// `ALTER TABLE …`.
    Alter(TableName, Vec<Change>),
    /// `INSERT INTO t REPLACE WHERE condition query`.
    ReplaceWhere { table: TableName, condition: String, query: String },
    /// `INSERT INTO t REPLACE USING (columns) query`.
    ReplaceUsing { table: TableName, columns: Vec<String>, query: String },
    /// `INSERT INTO` and `INSERT OVERWRITE` in the forms that the engine does not know.
    Insert(Box<insert::Insert>),
    /// `OPTIMIZE t …`, or `REORG TABLE t … APPLY (PURGE)`.
    Optimize(Optimize),
    /// `ALTER TABLE t CLUSTER BY (columns) | NONE`.
    ClusterBy(TableName, Vec<String>),
    /// `ALTER TABLE t DROP FEATURE f [TRUNCATE HISTORY]`.
    DropFeature { table: TableName, feature: String, truncate_history: bool },
    /// `VACUUM t [LITE | FULL] [RETAIN n HOURS] [DRY RUN]`.
    Vacuum { table: TableName, scope: VacuumScope, retention: Retention, dry_run: bool },
    /// `RESTORE TABLE t TO …`.
    Restore(TableName, TableVersion),
    /// `DESCRIBE HISTORY t [LIMIT n]`.
    History(TableName, usize),
    /// `DESCRIBE DETAIL t`.
    Detail(TableName),
    /// `CREATE TABLE t CLONE s`.
    Clone(Box<clone::Clone>),
    /// `COPY INTO t FROM 'path' FILEFORMAT = …`.
    Copy(Box<copy::Copy>),
    /// `CONVERT TO DELTA`.
    Convert(Box<convert::Convert>),
    /// `FSCK REPAIR TABLE t [DRY RUN]`.
    Fsck { table: TableName, dry_run: bool },
    /// `GENERATE symlink_format_manifest FOR TABLE t`.
    Manifest(TableName),
    /// `SHOW TBLPROPERTIES t [(key)]`.
    Properties(TableName, Option<String>),
}

/// What a new table is to be.
#[derive(Debug)]
pub(crate) struct Create {
    pub(crate) table: TableName,
    pub(crate) if_not_exists: bool,
    pub(crate) or_replace: bool,
    pub(crate) columns: Vec<Field>,
    pub(crate) partition_columns: Vec<String>,
    pub(crate) clustering: Vec<String>,
    pub(crate) properties: Vec<(String, String)>,
    pub(crate) comment: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) query: Option<String>,
}

/// One change of a table.
#[derive(Debug)]
pub(crate) enum Change {
    /// `parent`: the path of the struct; empty for the table.
    Add {
        parent: String,
        field: Field,
        place: Option<ColumnPlace>,
        if_not_exists: bool,
    },
    Replace(Vec<Field>),
    Move {
        column: String,
        place: ColumnPlace,
    },
    Comment {
        column: String,
        text: String,
    },
    Describe(Option<String>),
    Require(String),
    Rename {
        column: String,
        to: String,
    },
    Drop {
        column: String,
        if_exists: bool,
    },
    SyncIdentity(String),
    Widen {
        column: String,
        to: DataType,
    },
    AllowNulls(String),
    SetDefault {
        column: String,
        expression: String,
    },
    DropDefault(String),
    AddConstraint {
        name: String,
        expression: String,
    },
    DropConstraint {
        name: String,
        if_exists: bool,
    },
    Set {
        key: String,
        value: String,
    },
    Unset {
        key: String,
        if_exists: bool,
    },
}

/// Statements that are in Delta's SQL and not here, with what would help.
const UNSUPPORTED: [(&[&str], &str, &str); 5] = [
    (&["ANALYZE"], "ANALYZE TABLE", "leave it out: statistics are written with every file"),
    (&["CACHE"], "CACHE", "leave it out"),
    (&["REFRESH"], "REFRESH", "leave it out: each query looks for the newest version"),
    (&["MSCK"], "MSCK", "leave it out: the log knows the partitions"),
    (&["CREATE", "BLOOMFILTER"], "CREATE BLOOMFILTER INDEX", "write files with bloom filters"),
];

/// Words after `EXPLAIN` that say how, and statements that it is not there for: the engine would not know what they do.
const EXPLAIN_HOW: [&str; 5] = ["ANALYZE", "VERBOSE", "EXTENDED", "FORMATTED", "COST"];
const NOT_EXPLAINED: [&str; 14] = [
    "DELETE", "UPDATE", "MERGE", "COPY", "OPTIMIZE", "REORG", "VACUUM", "RESTORE", "CONVERT", "ALTER", "FSCK", "GENERATE",
    "DESCRIBE", "SHOW",
];

/// Changes of a table that are in Spark's SQL and not here, with what would help.
const NOT_ALTERED: [(&[&str], &str, &str); 6] = [
    (&["RENAME", "TO"], "ALTER TABLE … RENAME TO", "register the table under the other name"),
    (&["SET", "LOCATION"], "ALTER TABLE … SET LOCATION", "register the table of the other place under this name"),
    (&["SET", "SERDEPROPERTIES"], "ALTER TABLE … SET SERDEPROPERTIES", "write SET TBLPROPERTIES"),
    (&["ADD", "PARTITION"], "ALTER TABLE … ADD PARTITION", "leave it out: the log knows the partitions"),
    (&["DROP", "PARTITION"], "ALTER TABLE … DROP PARTITION", "write DELETE FROM with a condition on the partition columns"),
    (&["ADD", "CONSTRAINT", "IF", "NOT", "EXISTS"], "IF NOT EXISTS of a constraint", "look at SHOW TBLPROPERTIES first"),
];

/// Reads a statement; nothing when it is one for the engine.
///
/// **Errors**: `Invalid` names the place of what does not belong there; `Unsupported` names the statement.
pub(crate) async fn parse(session: &SessionContext, text: &str) -> Result<Option<Statement>> {
    let mut cursor = Cursor::new(text)?;
    for (words, what, instead) in UNSUPPORTED {
        if cursor.sees(words) {
            return Err(EngineError::Unsupported { statement: text.to_owned(), what, instead });
        }
    }
    if explains_what_it_cannot(cursor.clone()) {
        return Err(EngineError::Unsupported {
            statement: text.to_owned(),
            what: "EXPLAIN of a statement that is no query",
            instead: "explain a query with the same conditions",
        });
    }
    if let Some(clone) = clone::parse(session, &mut cursor).await? {
        return Ok(Some(Statement::Clone(Box::new(clone))));
    }
    if let Some(statement) = catalog::parse(&mut cursor)? {
        return Ok(Some(Statement::Catalog(statement)));
    }
    if let Some(statement) = upkeep::parse(&mut cursor)? {
        cursor.expect_end()?;
        return Ok(Some(statement));
    }
    let statement = match () {
        () if cursor.takes(&["COPY", "INTO"]) => Some(Statement::Copy(Box::new(copy::parse(&mut cursor)?))),
        () if cursor.takes(&["CONVERT", "TO", "DELTA"]) => Some(Statement::Convert(Box::new(convert::parse(&mut cursor)?))),
        () if cursor.takes(&["CREATE", "OR", "REPLACE", "TABLE"]) => create(&mut cursor, true)?,
        () if cursor.takes(&["CREATE", "TABLE"]) => create(&mut cursor, false)?,
        () if cursor.takes(&["REPLACE", "TABLE"]) => create(&mut cursor, true)?,
        () if cursor.takes(&["ALTER", "TABLE"]) => Some(alter(&mut cursor)?),
        () if cursor.takes(&["OPTIMIZE"]) => Some(Statement::Optimize(optimize::optimize(&mut cursor)?)),
        () if cursor.takes(&["REORG"]) => Some(Statement::Optimize(optimize::reorg(&mut cursor)?)),
        () if cursor.takes(&["VACUUM"]) => Some(vacuum(&mut cursor)?),
        () if cursor.takes(&["RESTORE"]) => {
            cursor.takes(&["TABLE"]);
            let table = cursor.table_or_path()?;
            cursor.takes(&["TO"]);
            match travel::version(session, &mut cursor).await? {
                Some(version) => Some(Statement::Restore(table, version)),
                None => return Err(cursor.wanted("VERSION AS OF or TIMESTAMP AS OF")),
            }
        }
        () if cursor.takes(&["DESCRIBE", "HISTORY"]) || cursor.takes(&["DESC", "HISTORY"]) => {
            let table = cursor.table_or_path()?;
            let limit = if cursor.takes(&["LIMIT"]) { Some(cursor.integer("a number of commits")?) } else { None };
            let limit = limit.map_or(Ok(usize::MAX), |limit| usize::try_from(limit).map_err(|_| cursor.wanted("a number")))?;
            Some(Statement::History(table, limit))
        }
        () if cursor.takes(&["DESCRIBE", "DETAIL"]) || cursor.takes(&["DESC", "DETAIL"]) => {
            Some(Statement::Detail(cursor.table_or_path()?))
        }
        () if cursor.takes(&["SHOW", "TBLPROPERTIES"]) => {
            let table = cursor.table()?;
            let mut key = None;
            if cursor.takes_token(&Token::LParen) {
                key = Some(property_key(&mut cursor)?);
                cursor.expect_token(&Token::RParen)?;
            }
            Some(Statement::Properties(table, key))
        }
        () if cursor.takes(&["INSERT"]) => insert::parse(session, &mut cursor).await?,
        () => describe::parse(&mut cursor)?.map(Statement::Describe),
    };
    if statement.is_some() {
        cursor.expect_end()?;
    }
    Ok(statement)
}

fn explains_what_it_cannot(mut cursor: Cursor<'_>) -> bool {
    if !cursor.takes(&["EXPLAIN"]) {
        return false;
    }
    while EXPLAIN_HOW.iter().any(|word| cursor.takes(&[word])) {}
    NOT_EXPLAINED.iter().any(|word| cursor.sees(&[word]))
}

fn create(cursor: &mut Cursor<'_>, or_replace: bool) -> Result<Option<Statement>> {
    let if_not_exists = cursor.takes(&["IF", "NOT", "EXISTS"]);
    let table = cursor.table()?;
    let mut new = Create {
        table,
        if_not_exists,
        or_replace,
        columns: Vec::new(),
        partition_columns: Vec::new(),
        clustering: Vec::new(),
        properties: Vec::new(),
        comment: None,
        location: None,
        query: None,
    };
    let definition = cursor.clone();
    // Without USING DELTA it is a table of the engine, in memory: its columns are in the engine's dialect.
    if cursor.takes_token(&Token::LParen) {
        cursor.pass_to_closing()?;
    }
    if !cursor.sees(&["USING"]) {
        if new.table.path().is_none() {
            return Ok(None);
        }
    } else if !cursor.sees(&["USING", "DELTA"]) {
        cursor.skip();
        return Err(cursor.wanted("DELTA"));
    }
    *cursor = definition;
    if cursor.takes_token(&Token::LParen) {
        loop {
            if cursor.takes(&["CONSTRAINT"]) {
                let name = cursor.spelled("a name")?;
                cursor.expect(&["CHECK"])?;
                let check = cursor.parenthesised()?.to_owned();
                new.properties.push((format!("{CONSTRAINT_PREFIX}{name}"), check));
            } else {
                new.columns.push(column(cursor)?);
            }
            if !cursor.takes_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    }
    while !cursor.is_at_end() {
        if cursor.takes(&["USING"]) {
            cursor.expect(&["DELTA"])?;
        } else if cursor.takes(&["PARTITIONED", "BY"]) {
            cursor.expect_token(&Token::LParen)?;
            loop {
                let name = cursor.spelled("a column")?;
                // With a type it is a column of its own, behind the others.
                if !matches!(cursor.token(), Some(Token::Comma | Token::RParen)) {
                    new.columns.push(column_named(cursor, name.clone())?);
                }
                new.partition_columns.push(name);
                if !cursor.takes_token(&Token::Comma) {
                    break;
                }
            }
            cursor.expect_token(&Token::RParen)?;
        } else if cursor.takes(&["CLUSTER", "BY"]) {
            new.clustering = optimize::cluster_by(cursor)?;
        } else if cursor.takes(&["TBLPROPERTIES"]) {
            new.properties.extend(table_properties(cursor)?);
        } else if cursor.takes(&["COMMENT"]) {
            new.comment = Some(cursor.string("a comment")?);
        } else if cursor.takes(&["LOCATION"]) {
            new.location = Some(cursor.string("a path or URL")?);
        } else if cursor.sees(&["OPTIONS"]) {
            return Err(EngineError::Unsupported {
                statement: cursor.text().to_owned(),
                what: "OPTIONS of CREATE TABLE",
                instead: "write TBLPROPERTIES for what the table keeps",
            });
        } else if cursor.takes(&["AS"]) {
            new.query = Some(query(cursor)?);
        } else {
            return Err(cursor.wanted("USING, PARTITIONED BY, CLUSTER BY, TBLPROPERTIES, COMMENT, LOCATION, AS or the end"));
        }
    }
    Ok(Some(Statement::Create(Box::new(new))))
}

/// Properties of a table, whose names are nobody's slip of the pen.
pub(crate) fn table_properties(cursor: &mut Cursor<'_>) -> Result<Vec<(String, String)>> {
    let here = cursor.clone();
    let properties = properties(cursor)?;
    match properties.iter().find_map(|(key, _)| property_names::meant(key).map(|meant| (key, meant))) {
        Some((key, meant)) => Err(here.problem(format!("there is no property `{key}`; did you mean `{meant}`?"))),
        None => Ok(properties),
    }
}

/// `(key = value, …)`; keys with dots, in quotes or not.
pub(crate) fn properties(cursor: &mut Cursor<'_>) -> Result<Vec<(String, String)>> {
    cursor.expect_token(&Token::LParen)?;
    let mut properties = Vec::new();
    loop {
        let key = property_key(cursor)?;
        cursor.takes_token(&Token::Eq);
        let value = match cursor.token() {
            Some(Token::Word(word)) if word.quote_style.is_none() => {
                let value = word.value.clone();
                cursor.skip();
                value
            }
            Some(Token::Number(..) | Token::Minus) => cursor.integer("a value")?.to_string(),
            _ => cursor.string("a value in quotes")?,
        };
        properties.push((key, value));
        if !cursor.takes_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(properties)
}

fn property_key(cursor: &mut Cursor<'_>) -> Result<String> {
    match cursor.token() {
        Some(Token::SingleQuotedString(_)) => cursor.string("a property"),
        _ => cursor.column(),
    }
}

fn alter(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let table = cursor.table()?;
    let unsupported =
        |cursor: &Cursor<'_>, what, instead| Err(EngineError::Unsupported { statement: cursor.text().to_owned(), what, instead });
    for (words, what, instead) in NOT_ALTERED {
        if cursor.sees(words) {
            return unsupported(cursor, what, instead);
        }
    }
    let mut changes = Vec::new();
    if cursor.takes(&["ADD", "CONSTRAINT"]) {
        let name = cursor.spelled("a name")?;
        cursor.expect(&["CHECK"])?;
        changes.push(Change::AddConstraint { name, expression: cursor.parenthesised()?.to_owned() });
    } else if cursor.takes(&["DROP", "CONSTRAINT"]) {
        let if_exists = cursor.takes(&["IF", "EXISTS"]);
        changes.push(Change::DropConstraint { name: cursor.spelled("a name")?, if_exists });
    } else if cursor.takes(&["ADD", "COLUMNS"]) || cursor.takes(&["ADD", "COLUMN"]) {
        let all_if_not_exists = cursor.takes(&["IF", "NOT", "EXISTS"]);
        let many = cursor.takes_token(&Token::LParen);
        loop {
            let if_not_exists = cursor.takes(&["IF", "NOT", "EXISTS"]) || all_if_not_exists;
            let (parent, field) = added_column(cursor)?;
            if field.metadata().contains_key("CURRENT_DEFAULT") {
                // Rows that are there would have no value, and the table would seem to say that they have this one.
                return unsupported(
                    cursor,
                    "ADD COLUMN with a DEFAULT",
                    "add the column, and then ALTER COLUMN … SET DEFAULT, which is for rows that come later",
                );
            }
            changes.push(Change::Add { parent, field, place: place(cursor)?, if_not_exists });
            if !many || !cursor.takes_token(&Token::Comma) {
                break;
            }
        }
        if many {
            cursor.expect_token(&Token::RParen)?;
        }
    } else if cursor.takes(&["REPLACE", "COLUMNS"]) {
        changes.push(Change::Replace(replaced_columns(cursor)?));
    } else if cursor.takes(&["RENAME", "COLUMN"]) {
        let column = cursor.column()?;
        cursor.expect(&["TO"])?;
        changes.push(Change::Rename { column, to: cursor.spelled("a name")? });
    } else if cursor.takes(&["DROP", "COLUMNS"]) || cursor.takes(&["DROP", "COLUMN"]) {
        let if_exists = cursor.takes(&["IF", "EXISTS"]);
        let many = cursor.takes_token(&Token::LParen);
        loop {
            changes.push(Change::Drop { column: cursor.column()?, if_exists });
            if !cursor.takes_token(&Token::Comma) {
                break;
            }
        }
        if many {
            cursor.expect_token(&Token::RParen)?;
        }
    } else if cursor.sees(&["CHANGE"]) && is_column_anew(cursor) {
        column_anew(cursor, &mut changes)?;
    } else if cursor.takes(&["ALTER", "COLUMN"]) || cursor.takes(&["CHANGE", "COLUMN"]) {
        let column = cursor.column()?;
        changes.push(if cursor.takes(&["TYPE"]) {
            Change::Widen { column, to: data_type(cursor)? }
        } else if cursor.takes(&["DROP", "NOT", "NULL"]) {
            Change::AllowNulls(column)
        } else if cursor.takes(&["SET", "DEFAULT"]) {
            Change::SetDefault { column, expression: cursor.text_until(&[])?.to_owned() }
        } else if cursor.takes(&["SYNC", "IDENTITY"]) {
            Change::SyncIdentity(column)
        } else if cursor.takes(&["DROP", "DEFAULT"]) {
            Change::DropDefault(column)
        } else if cursor.takes(&["SET", "NOT", "NULL"]) {
            Change::Require(column)
        } else if cursor.takes(&["COMMENT"]) {
            Change::Comment { column, text: cursor.string("a comment in quotes")? }
        } else if let Some(place) = place(cursor)? {
            Change::Move { column, place }
        } else {
            return Err(cursor.wanted("TYPE, COMMENT, FIRST, AFTER, SET or DROP NOT NULL, SET or DROP DEFAULT, SYNC IDENTITY"));
        });
    } else if cursor.takes(&["SET", "TBLPROPERTIES"]) {
        changes.extend(table_properties(cursor)?.into_iter().map(|(key, value)| match key.as_str() {
            // To Spark the comment of a table is one of its properties.
            "comment" => Change::Describe(Some(value)),
            _ => Change::Set { key, value },
        }));
    } else if cursor.takes(&["UNSET", "TBLPROPERTIES"]) {
        let if_exists = cursor.takes(&["IF", "EXISTS"]);
        cursor.expect_token(&Token::LParen)?;
        loop {
            let key = property_key(cursor)?;
            changes.push(if key == "comment" { Change::Describe(None) } else { Change::Unset { key, if_exists } });
            if !cursor.takes_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    } else if cursor.takes(&["CLUSTER", "BY"]) {
        return Ok(Statement::ClusterBy(table, optimize::cluster_by(cursor)?));
    } else if cursor.takes(&["DROP", "FEATURE"]) {
        let feature = cursor.spelled("a feature")?;
        return Ok(Statement::DropFeature { table, feature, truncate_history: cursor.takes(&["TRUNCATE", "HISTORY"]) });
    } else {
        return Err(cursor.wanted("ADD, DROP, RENAME COLUMN, ALTER COLUMN, SET TBLPROPERTIES or UNSET TBLPROPERTIES"));
    }
    Ok(Statement::Alter(table, changes))
}

/// Whether `CHANGE COLUMN name name type …` stands here: an old way to say several changes at once.
fn is_column_anew(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.takes(&["CHANGE"]);
    ahead.takes(&["COLUMN"]);
    let verbs = ["TYPE", "COMMENT", "FIRST", "AFTER", "SET", "DROP", "SYNC"];
    ahead.column().is_ok() && !ahead.is_at_end() && !verbs.iter().any(|verb| ahead.sees(&[verb]))
}

/// Reads `CHANGE [COLUMN] name new_name type [COMMENT '…'] [FIRST | AFTER column]`.
fn column_anew(cursor: &mut Cursor<'_>, changes: &mut Vec<Change>) -> Result<()> {
    cursor.expect(&["CHANGE"])?;
    cursor.takes(&["COLUMN"]);
    let column = cursor.column()?;
    let name = cursor.spelled("a name")?;
    changes.push(Change::Widen { column: column.clone(), to: data_type(cursor)? });
    if cursor.takes(&["COMMENT"]) {
        changes.push(Change::Comment { column: column.clone(), text: cursor.string("a comment in quotes")? });
    }
    if let Some(place) = place(cursor)? {
        changes.push(Change::Move { column: column.clone(), place });
    }
    if column.rsplit('.').next() != Some(name.as_str()) {
        changes.push(Change::Rename { column, to: name });
    }
    Ok(())
}

/// `FIRST` or `AFTER column`, if it stands here.
fn place(cursor: &mut Cursor<'_>) -> Result<Option<ColumnPlace>> {
    if cursor.takes(&["FIRST"]) {
        return Ok(Some(ColumnPlace::First));
    }
    if cursor.takes(&["AFTER"]) {
        return Ok(Some(ColumnPlace::After(cursor.spelled("a column")?)));
    }
    Ok(None)
}

fn vacuum(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let table = cursor.table_or_path()?;
    let (mut scope, mut retention, mut dry_run) = (VacuumScope::Full, Retention::Table, false);
    while !cursor.is_at_end() {
        if cursor.takes(&["LITE"]) {
            scope = VacuumScope::Lite;
        } else if cursor.takes(&["FULL"]) {
            scope = VacuumScope::Full;
        } else if cursor.takes(&["RETAIN"]) {
            let here = cursor.clone();
            let hours = cursor.fraction("a number of hours")?;
            let length = Duration::try_from_secs_f64(hours * 3600.0).map_err(|_| here.wanted("a number of hours"))?;
            let _ = cursor.takes(&["HOURS"]) || cursor.takes(&["HOUR"]);
            retention = Retention::AtLeastTable(length);
        } else if cursor.sees(&["USING", "INVENTORY"]) {
            return Err(EngineError::Unsupported {
                statement: cursor.text().to_owned(),
                what: "VACUUM … USING INVENTORY",
                instead: "leave it out, or give the inventory to the builder that `DeltaTable::vacuum` makes",
            });
        } else if cursor.takes(&["DRY", "RUN"]) {
            dry_run = true;
        } else {
            return Err(cursor.wanted("LITE, FULL, RETAIN, DRY RUN or the end"));
        }
    }
    Ok(Statement::Vacuum { table, scope, retention, dry_run })
}

/// The query that is the rest of a statement.
pub(crate) fn query(cursor: &mut Cursor<'_>) -> Result<String> {
    // The engine knows no `TABLE t`.
    let query = if cursor.takes(&["TABLE"]) { format!("SELECT * FROM {}", cursor.rest()) } else { cursor.rest().to_owned() };
    if query.is_empty() {
        return Err(cursor.wanted("a query"));
    }
    while !cursor.is_at_end() {
        cursor.skip();
    }
    Ok(query)
}
