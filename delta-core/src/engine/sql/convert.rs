//! ``CONVERT TO DELTA parquet.`path` [NO STATISTICS] [PARTITIONED BY (column type, …)]``.

use boathouse_delta_table::{ConvertReport, ConvertStatistics};
use datafusion::arrow::datatypes::Field;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::data_types::column;
use super::run::Run;
use crate::engine::error::{EngineError, Result};

/// A folder that is to become a table.
#[derive(Debug)]
pub(crate) struct Convert {
    path: String,
    statistics: ConvertStatistics,
    partitioned_by: Option<Vec<Field>>,
}

/// Reads what stands behind `CONVERT TO DELTA`.
pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Convert> {
    let here = cursor.clone();
    let table = format_and_path(cursor)?;
    let path = match table.as_slice() {
        [format, path] if format == "parquet" => path.clone(),
        [format, _] if ["csv", "json", "orc", "avro", "iceberg"].contains(&format.as_str()) => {
            return Err(EngineError::Unsupported {
                statement: cursor.text().to_owned(),
                what: "CONVERT TO DELTA of files that are not Parquet",
                instead: "load them into a table with COPY INTO",
            });
        }
        _ => return Err(here.wanted("a folder of Parquet files, parquet.`path`")),
    };
    let mut convert = Convert { path, statistics: ConvertStatistics::FromFooters, partitioned_by: None };
    while !cursor.is_at_end() {
        if cursor.takes(&["NO", "STATISTICS"]) {
            convert.statistics = ConvertStatistics::None;
        } else if cursor.takes(&["PARTITIONED", "BY"]) {
            cursor.expect_token(&Token::LParen)?;
            let mut columns = Vec::new();
            loop {
                columns.push(column(cursor)?);
                if !cursor.takes_token(&Token::Comma) {
                    break;
                }
            }
            cursor.expect_token(&Token::RParen)?;
            convert.partitioned_by = Some(columns);
        } else {
            return Err(cursor.wanted("NO STATISTICS, PARTITIONED BY or the end"));
        }
    }
    Ok(convert)
}

/// ``parquet.`path` ``, or with the path in quotes: `parquet.'path'`.
fn format_and_path(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let start = cursor.place();
    if let Ok(format) = cursor.name("a format")
        && cursor.takes_token(&Token::Period)
        && matches!(cursor.token(), Some(Token::SingleQuotedString(_)))
    {
        return Ok(vec![format, cursor.string("a path")?]);
    }
    cursor.go_to(start);
    Ok(cursor.table_or_path()?.parts)
}

impl Run<'_> {
    pub(super) async fn convert(&self, convert: Convert) -> Result<ConvertReport> {
        let mut builder = self.lake.open(&convert.path)?.convert_parquet().statistics(convert.statistics);
        if let Some(columns) = convert.partitioned_by {
            builder = builder.partitioned_by(columns);
        }
        Ok(builder.run().await?)
    }
}
