//! `COPY INTO t FROM 'path' FILEFORMAT = CSV …`.
//!
//! ```text
//! COPY INTO table [BY POSITION | (column, …)]
//!   FROM 'path' | (SELECT expressions FROM 'path')
//!   FILEFORMAT = PARQUET | CSV | JSON
//!   [VALIDATE [ALL | n ROWS]]
//!   [FILES = ('file', …) | PATTERN = 'glob']
//!   [FORMAT_OPTIONS ('key' = 'value', …)]
//!   [COPY_OPTIONS ('force' = 'true', 'mergeSchema' = 'true')]
//! ```

use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, TableName};
use super::dml::StatementReport;
use super::run::{Run, name_again};
use super::statements::properties;
use super::travel;
use crate::engine::copy::{CopyFormat, CopySettings, CopyValidation, CorruptFiles, CsvFiles, JsonFiles, MissingFiles};
use crate::engine::error::{EngineError, Result};
use crate::engine::ext::DeltaTableExt;
use crate::engine::nearest::nearest;

/// Files that become rows.
#[derive(Debug)]
pub(crate) struct Copy {
    table: TableName,
    path: String,
    select: Option<String>,
    format: CopyFormat,
    settings: CopySettings,
    validate: Option<CopyValidation>,
    /// Times are understood when the statement runs.
    modified: [Option<String>; 2],
}

/// Options of every format, and of each.
const COMMON: [&str; 6] =
    ["ignoreCorruptFiles", "ignoreMissingFiles", "modifiedAfter", "modifiedBefore", "pathGlobFilter", "recursiveFileLookup"];
const CSV: [&str; 11] = [
    "header",
    "sep",
    "delimiter",
    "quote",
    "escape",
    "comment",
    "nullValue",
    "inferSchema",
    "multiLine",
    "mergeSchema",
    "encoding",
];
const JSON: [&str; 3] = ["multiLine", "mergeSchema", "encoding"];
const PARQUET: [&str; 1] = ["mergeSchema"];
const COPY: [&str; 2] = ["force", "mergeSchema"];

/// Reads what stands behind `COPY INTO`.
pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Copy> {
    let table = cursor.table()?;
    let mut settings = CopySettings::default();
    if cursor.takes(&["BY", "POSITION"]) {
        settings.by_position = true;
    } else if cursor.takes_token(&Token::LParen) {
        settings.by_position = true;
        settings.columns = list(cursor, |cursor| cursor.spelled("a column"))?;
    }
    cursor.expect(&["FROM"])?;
    let (path, select) = source(cursor)?;
    if cursor.sees(&["WITH"]) {
        let (what, instead) = ("WITH (CREDENTIAL …)", "give the session stores with their options");
        return Err(EngineError::Unsupported { statement: cursor.text().to_owned(), what, instead });
    }
    cursor.expect(&["FILEFORMAT"])?;
    cursor.takes_token(&Token::Eq);
    let at_format = cursor.clone();
    let named = cursor.name("PARQUET, CSV or JSON")?.to_uppercase();
    let (mut options, mut copy_options) = (Vec::new(), Vec::new());
    let mut validate = None;
    while !cursor.is_at_end() {
        if cursor.takes(&["VALIDATE"]) {
            validate = Some(validation(cursor)?);
        } else if cursor.takes(&["FILES"]) {
            cursor.takes_token(&Token::Eq);
            cursor.expect_token(&Token::LParen)?;
            settings.files = list(cursor, |cursor| cursor.string("a file in quotes"))?;
        } else if cursor.takes(&["PATTERN"]) {
            cursor.takes_token(&Token::Eq);
            settings.pattern = Some(cursor.string("a pattern in quotes")?);
        } else if cursor.sees(&["FORMAT_OPTIONS"]) || cursor.sees(&["COPY_OPTIONS"]) {
            let of_format = cursor.sees(&["FORMAT_OPTIONS"]);
            cursor.skip();
            let into = if of_format { &mut options } else { &mut copy_options };
            let here = cursor.clone();
            into.extend(properties(cursor)?.into_iter().map(|(key, value)| Setting { key, value, here: here.clone() }));
        } else {
            return Err(cursor.wanted("VALIDATE, FILES, PATTERN, FORMAT_OPTIONS, COPY_OPTIONS or the end"));
        }
    }
    let (format, modified) = match named.as_str() {
        "PARQUET" => (CopyFormat::Parquet, of_format(&options, &PARQUET, &mut settings, |_, _| Ok(()))?),
        "CSV" => {
            let mut csv = CsvFiles::default();
            let modified = of_format(&options, &CSV, &mut settings, |key, option| csv_option(&mut csv, key, option))?;
            (CopyFormat::Csv(csv), modified)
        }
        "JSON" => {
            let mut json = JsonFiles::default();
            let set = |key: &str, option: &Setting<'_>| {
                match key {
                    "multiLine" => json.multi_line = option.boolean()?,
                    _ => option.utf8()?,
                }
                Ok(())
            };
            let modified = of_format(&options, &JSON, &mut settings, set)?;
            (CopyFormat::Json(json), modified)
        }
        "AVRO" | "ORC" | "TEXT" | "BINARYFILE" | "XML" => {
            let (what, instead) = ("COPY INTO from files of this format", "write PARQUET, CSV or JSON");
            return Err(EngineError::Unsupported { statement: cursor.text().to_owned(), what, instead });
        }
        _ => return Err(at_format.wanted("PARQUET, CSV or JSON")),
    };
    for option in &copy_options {
        match option.known(&COPY)? {
            "force" => settings.force = option.boolean()?,
            _ => settings.merge_schema = option.boolean()?,
        }
    }
    let (path, below) = split_wildcards(path);
    settings.below = below;
    Ok(Copy { table, path, select, format, settings, validate, modified })
}

/// What stands in parentheses that are open, with commas between.
fn list<T>(cursor: &mut Cursor<'_>, mut one: impl FnMut(&mut Cursor<'_>) -> Result<T>) -> Result<Vec<T>> {
    let mut all = vec![one(cursor)?];
    while cursor.takes_token(&Token::Comma) {
        all.push(one(cursor)?);
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(all)
}

/// `'path'`, or `(SELECT expressions FROM 'path')`.
fn source(cursor: &mut Cursor<'_>) -> Result<(String, Option<String>)> {
    if !cursor.takes_token(&Token::LParen) {
        return Ok((path(cursor)?, None));
    }
    cursor.expect(&["SELECT"])?;
    let start = cursor.byte();
    while !cursor.sees(&["FROM"]) {
        match cursor.token() {
            Some(Token::LParen) => {
                cursor.skip();
                cursor.pass_to_closing()?;
            }
            None | Some(Token::RParen) => return Err(cursor.wanted("FROM")),
            Some(_) => cursor.skip(),
        }
    }
    let select = cursor.text().get(start..cursor.byte_before().max(start)).unwrap_or_default().to_owned();
    if select.is_empty() {
        return Err(cursor.wanted("expressions"));
    }
    cursor.expect(&["FROM"])?;
    let path = path(cursor)?;
    cursor.expect_token(&Token::RParen)?;
    Ok((path, Some(select)))
}

fn path(cursor: &mut Cursor<'_>) -> Result<String> {
    match cursor.token() {
        Some(Token::Word(word)) if word.quote_style == Some('`') => {
            let path = word.value.clone();
            cursor.skip();
            Ok(path)
        }
        _ => cursor.string("a path or URL in quotes"),
    }
}

fn validation(cursor: &mut Cursor<'_>) -> Result<CopyValidation> {
    if let Some(Token::Number(..)) = cursor.token() {
        let rows = cursor.integer("a number of rows")?;
        let rows = usize::try_from(rows).map_err(|_| cursor.wanted("a number of rows"))?;
        cursor.expect(&["ROWS"])?;
        return Ok(CopyValidation::Rows(rows));
    }
    cursor.takes(&["ALL"]);
    Ok(CopyValidation::All)
}

/// A path with `*` and the like: the folder above, and the pattern below it.
fn split_wildcards(path: String) -> (String, Option<String>) {
    let Some(first) = path.find(['*', '?', '[', '{']) else { return (path, None) };
    match path[..first].rfind('/') {
        Some(slash) => (path[..=slash].to_owned(), Some(path[slash + 1..].to_owned())),
        None => (".".to_owned(), Some(path)),
    }
}

/// An option, and where it stands.
struct Setting<'a> {
    key: String,
    value: String,
    here: Cursor<'a>,
}

impl Setting<'_> {
    /// The option that it is, as it is spelled.
    fn known<'k>(&self, known: &[&'k str]) -> Result<&'k str> {
        known.iter().find(|option| option.eq_ignore_ascii_case(&self.key)).copied().ok_or_else(|| {
            let nearest = nearest(&self.key, known).unwrap_or_default();
            self.here.problem(format!("there is no option `{}` here; {nearest}", self.key))
        })
    }

    fn wanted(&self, what: &str) -> EngineError {
        self.here.problem(format!("the option `{}` is {what}, and not `{}`", self.key, self.value))
    }

    fn boolean(&self) -> Result<bool> {
        match self.value.to_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.wanted("true or false")),
        }
    }

    fn byte(&self) -> Result<u8> {
        match self.value.as_bytes() {
            [byte] if byte.is_ascii() => Ok(*byte),
            b"\\t" => Ok(b'\t'),
            _ => Err(self.wanted("one ASCII character")),
        }
    }

    fn utf8(&self) -> Result<()> {
        match self.value.to_lowercase().replace('-', "").as_str() {
            "utf8" => Ok(()),
            _ => Err(self.wanted("UTF-8")),
        }
    }
}

/// Takes the options that every format has, and hands on the others. Returns the times.
fn of_format(
    options: &[Setting<'_>],
    own: &[&'static str],
    settings: &mut CopySettings,
    mut set: impl FnMut(&str, &Setting<'_>) -> Result<()>,
) -> Result<[Option<String>; 2]> {
    let all: Vec<&str> = own.iter().chain(&COMMON).copied().collect();
    let mut modified = [None, None];
    for option in options {
        match option.known(&all)? {
            "ignoreCorruptFiles" if option.boolean()? => settings.corrupt_files = CorruptFiles::Skip,
            "ignoreMissingFiles" if option.boolean()? => settings.missing_files = MissingFiles::Skip,
            "ignoreCorruptFiles" | "ignoreMissingFiles" => {}
            "modifiedAfter" => modified[0] = Some(option.value.clone()),
            "modifiedBefore" => modified[1] = Some(option.value.clone()),
            "pathGlobFilter" => settings.pattern = Some(option.value.clone()),
            // Files are looked for at every depth, with it and without.
            "recursiveFileLookup" if option.boolean()? => {}
            "recursiveFileLookup" => return Err(option.wanted("true, as always")),
            // All files are looked at for their columns, with it and without.
            "mergeSchema" => drop(option.boolean()?),
            key => set(key, option)?,
        }
    }
    Ok(modified)
}

fn csv_option(csv: &mut CsvFiles, key: &str, option: &Setting<'_>) -> Result<()> {
    match key {
        "header" => csv.header = option.boolean()?,
        "sep" | "delimiter" => csv.delimiter = option.byte()?,
        "quote" => csv.quote = option.byte()?,
        // A quote within quotes is written twice, or behind a backslash.
        "escape" => csv.escape = Some(option.byte()?).filter(|escape| *escape != csv.quote),
        "comment" => csv.comment = Some(option.byte()?),
        "nullValue" => csv.null_value.clone_from(&option.value),
        "inferSchema" => csv.infer_schema = option.boolean()?,
        "multiLine" => csv.multi_line = option.boolean()?,
        _ => option.utf8()?,
    }
    Ok(())
}

impl Run<'_> {
    pub(super) async fn copy(&self, copy: Copy) -> Result<StatementReport> {
        let table = self.table(&copy.table).await?;
        let folder = self.lake.folder(&copy.path)?;
        let mut settings = copy.settings;
        let [after, before] = copy.modified;
        // `modifiedAfter` does not hold for that very time.
        settings.modified_since_us = self.time(after).await?.map(|at| at.saturating_add(1));
        settings.modified_before_us = self.time(before).await?;
        let evolves = settings.merge_schema;
        let mut builder = table.copy_from(folder, copy.format).with_settings(settings).with_session(self.session);
        if let Some(select) = copy.select {
            builder = builder.select(select);
        }
        if let Some(how) = copy.validate {
            let preview = builder.validate(how).await?;
            let frame =
                if preview.batches.is_empty() { self.session.read_empty() } else { self.session.read_batches(preview.batches) };
            let frame = frame.map_err(|error| self.failed("show the rows", error))?;
            return Ok(StatementReport::Rows(Box::new(frame)));
        }
        let report = builder.run().await?;
        if evolves && report.committed {
            name_again(self.session, &table, &copy.table, self.text).await?;
        }
        Ok(StatementReport::Copy(report))
    }

    async fn time(&self, text: Option<String>) -> Result<Option<i64>> {
        match text {
            Some(text) => Ok(Some(time(self.session, &text, self.text).await?)),
            None => Ok(None),
        }
    }
}

async fn time(session: &SessionContext, text: &str, statement: &str) -> Result<i64> {
    travel::evaluate(session, &format!("'{}'", text.replace('\'', "''")), statement).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parsed(text: &str) -> Result<Copy> {
        let mut cursor = Cursor::new(text)?;
        cursor.expect(&["COPY", "INTO"])?;
        parse(&mut cursor)
    }

    #[test]
    fn all_clauses_are_read_in_any_order() {
        let copy = parsed(
            "COPY INTO a.t FROM (SELECT id::INT AS id, upper(substr(x, 1)) y FROM '/in/2026-*/b') FILEFORMAT = csv \
             COPY_OPTIONS ('force' = 'true', mergeSchema = true) PATTERN = '*.csv' \
             FORMAT_OPTIONS ('header' = 'true', 'sep' = '\\t', 'nullValue' = 'NA') VALIDATE 7 ROWS",
        )
        .unwrap();
        assert_eq!(copy.select.as_deref(), Some("id::INT AS id, upper(substr(x, 1)) y"));
        assert_eq!((copy.path.as_str(), copy.settings.below.as_deref()), ("/in/", Some("2026-*/b")));
        assert_eq!(copy.settings.pattern.as_deref(), Some("*.csv"));
        assert!(copy.settings.force && copy.settings.merge_schema && copy.validate == Some(CopyValidation::Rows(7)));
        let csv = CsvFiles { header: true, delimiter: b'\t', null_value: "NA".into(), ..CsvFiles::default() };
        assert_eq!(copy.format, CopyFormat::Csv(csv));
    }

    #[test]
    fn files_and_columns_are_lists() {
        let copy = parsed("COPY INTO t (b, A) FROM `s3://bucket/in` FILEFORMAT = JSON FILES = ('a.json', 'b.json')").unwrap();
        assert_eq!(copy.settings.columns, ["b", "A"]);
        assert_eq!(copy.settings.files, ["a.json", "b.json"]);
        assert_eq!(copy.path, "s3://bucket/in");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_the_nearest_word() {
        let says = |text: &str, what: &str| {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        says("COPY INTO t FROM '/in' FILEFORMAT = CSV FORMAT_OPTIONS ('headr' = 'true')", "did you mean `header`?");
        says(
            "COPY INTO t FROM '/in' FILEFORMAT = CSV FORMAT_OPTIONS ('header' = 'yes')",
            "`header` is true or false, and not `yes`",
        );
        says("COPY INTO t FROM '/in' FILEFORMAT = JSON COPY_OPTIONS ('forced' = 'true')", "did you mean `force`?");
        says("COPY INTO t FROM '/in' FILEFORMAT = SCV", "expected PARQUET, CSV or JSON, found `SCV`");
        says("COPY INTO t FROM '/in' FILEFORMAT = AVRO", "is not supported");
        says("COPY INTO t FROM '/in' WITH (CREDENTIAL x) FILEFORMAT = CSV", "give the session stores");
        says("COPY INTO t\nFROM in FILEFORMAT = CSV", "line 2, column 6");
    }
}
