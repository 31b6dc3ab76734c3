//! Auto Loader's options by their names.

use std::time::Duration;

use arrow_cast::parse::string_to_datetime;
use boathouse_base::Result;
use boathouse_storage::{Location, Storage};
use chrono::Utc;

use crate::builder::AutoLoaderBuilder;
use crate::clean::CleanSource;
use crate::ddl::parse_columns;
use crate::error::AutoLoadError;
use crate::settings::{
    ColumnTypes, CorruptFiles, CsvHeader, DiscoveryMode, ExistingFiles, Format, MissingFiles, Overwrites, PartitionColumns,
    SchemaEvolution, Settings,
};

/// Options that need each other.
#[derive(Debug, Default)]
struct Together {
    clean: Option<String>,
    retention: Option<Duration>,
    destination: Option<String>,
}

impl AutoLoaderBuilder {
    /// Sets options as Spark and Databricks name them, with or without `cloudFiles.` before the name, in any case.
    ///
    /// | option | here |
    /// | --- | --- |
    /// | `format` | `json`, `csv`, `parquet`, `avro`, `xml`, `text`, `binaryFile` |
    /// | `multiLine`, `header`, `sep` or `delimiter`, `quote`, `nullValue`, `rowTag`, `wholeText` | options of the format; give it first |
    /// | `schemaLocation` | [`state`](Self::state) |
    /// | `schemaHints` | columns and types in SQL |
    /// | `inferColumnTypes` | [`infer_column_types`](Self::infer_column_types) |
    /// | `schemaEvolutionMode` | the five modes, and `addNewColumnsInline` |
    /// | `rescuedDataColumn` | [`rescued_data_column`](Self::rescued_data_column) |
    /// | `partitionColumns` | [`partition_columns`](Self::partition_columns) |
    /// | `includeExistingFiles`, `allowOverwrites` | `true` or `false` |
    /// | `maxFilesPerTrigger`, `maxBytesPerTrigger` | numbers; bytes may end in `k`, `m`, `g` |
    /// | `maxFileAge`, `backfillInterval` | times, as in `2 hours` or `14 days` |
    /// | `cleanSource`, `cleanSource.retentionDuration`, `cleanSource.moveDestination` | [`clean_source`](Self::clean_source); 30 days where nothing is said |
    /// | `pathGlobFilter` or `fileNamePattern` | [`path_glob`](Self::path_glob) |
    /// | `modifiedAfter`, `modifiedBefore` | instants, in UTC where they name no zone |
    /// | `ignoreCorruptFiles`, `ignoreMissingFiles` | `true` or `false` |
    /// | `useIncrementalListing` | `true` and `auto` look after the highest names |
    ///
    /// **Errors**: `Invalid` for an unknown option, or a value that cannot be understood.
    pub fn options<K: AsRef<str>, V: AsRef<str>>(mut self, options: impl IntoIterator<Item = (K, V)>) -> Result<Self> {
        let mut together = Together::default();
        for (name, value) in options {
            self = self.option(name.as_ref(), value.as_ref().trim(), &mut together)?;
        }
        Ok(self.together(together)?)
    }

    fn option(mut self, name: &str, value: &str, together: &mut Together) -> Result<Self, AutoLoadError> {
        let short = name.strip_prefix("cloudFiles.").unwrap_or(name).to_ascii_lowercase();
        let wrong = |reason: &str| AutoLoadError::InvalidOption {
            option: name.to_owned(),
            value: value.to_owned(),
            reason: reason.to_owned(),
        };
        let flag = || match value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(wrong("give `true` or `false`")),
        };
        let instant = || {
            let parsed = string_to_datetime(&Utc, value).map(|time| time.timestamp_micros());
            parsed.map_err(|error| wrong(&error.to_string()))
        };
        let duration = || parse_duration(value).ok_or_else(|| wrong("give a number and a unit, as in `2 hours`"));
        let settings = self.settings_mut();
        match short.as_str() {
            "format" => {
                settings.format =
                    format_of(value).ok_or_else(|| wrong("give json, csv, parquet, avro, xml, text or binaryFile"))?
            }
            "schemahints" => settings.schema_hints.extend(parse_columns(value).map_err(|reason| wrong(&reason))?),
            "infercolumntypes" => {
                settings.column_types = if flag()? { ColumnTypes::Inferred } else { ColumnTypes::Text };
            }
            "schemaevolutionmode" => {
                settings.schema_evolution = Some(match value.to_ascii_lowercase().as_str() {
                    "addnewcolumns" => SchemaEvolution::AddNewColumns,
                    "addnewcolumnswithtypewidening" => SchemaEvolution::AddNewColumnsWithTypeWidening,
                    "addnewcolumnsinline" => SchemaEvolution::AddNewColumnsInline,
                    "rescue" => SchemaEvolution::Rescue,
                    "failonnewcolumns" => SchemaEvolution::FailOnNewColumns,
                    "none" => SchemaEvolution::None,
                    _ => return Err(wrong("give one of the modes that `SchemaEvolution` lists")),
                });
            }
            "rescueddatacolumn" => settings.rescued_data_column = Some(value.to_owned()),
            "partitioncolumns" => {
                let names: Vec<String> =
                    value.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
                settings.partition_columns =
                    if names.is_empty() { PartitionColumns::Absent } else { PartitionColumns::Named(names) };
            }
            "includeexistingfiles" => {
                settings.existing_files = if flag()? { ExistingFiles::Include } else { ExistingFiles::Skip };
            }
            "allowoverwrites" => settings.overwrites = if flag()? { Overwrites::Read } else { Overwrites::Ignore },
            "maxfilespertrigger" => {
                settings.max_files =
                    value.parse().ok().filter(|most| *most > 0).ok_or_else(|| wrong("give a number from 1 on"))?;
            }
            "maxbytespertrigger" => {
                settings.max_bytes = Some(parse_bytes(value).ok_or_else(|| wrong("give a number of bytes, as in `10g`"))?);
            }
            "maxfileage" => settings.max_file_age = Some(duration()?),
            "backfillinterval" => settings.backfill_interval = Some(duration()?),
            "pathglobfilter" | "filenamepattern" => settings.path_glob = Some(value.to_owned()),
            "modifiedafter" => settings.modified_after_us = Some(instant()?),
            "modifiedbefore" => settings.modified_before_us = Some(instant()?),
            "ignorecorruptfiles" => {
                settings.corrupt_files = if flag()? { CorruptFiles::Ignore } else { CorruptFiles::Fail };
            }
            "ignoremissingfiles" => {
                settings.missing_files = if flag()? { MissingFiles::Ignore } else { MissingFiles::Fail };
            }
            "useincrementallisting" => {
                settings.discovery = match value.to_ascii_lowercase().as_str() {
                    "true" | "auto" => DiscoveryMode::HighestNames,
                    "false" => DiscoveryMode::Listing,
                    _ => return Err(wrong("give `true`, `false` or `auto`")),
                };
            }
            "schemalocation" => self = self.state(open(value).map_err(|error| wrong(&error.to_string()))?),
            "cleansource" => together.clean = Some(value.to_ascii_uppercase()),
            "cleansource.retentionduration" => together.retention = Some(duration()?),
            "cleansource.movedestination" => together.destination = Some(value.to_owned()),
            _ if of_format(settings, &short, value, &flag).map_err(|reason| wrong(&reason))? => {}
            _ => return Err(AutoLoadError::UnknownOption { option: name.to_owned(), format: self.settings_mut().format.name() }),
        }
        Ok(self)
    }

    fn together(self, together: Together) -> Result<Self, AutoLoadError> {
        let Together { clean, retention, destination } = together;
        let wrong = |value: &str, reason: &str| AutoLoadError::InvalidOption {
            option: "cleanSource".to_owned(),
            value: value.to_owned(),
            reason: reason.to_owned(),
        };
        let retention = retention.unwrap_or(Duration::from_secs(30 * 24 * 60 * 60));
        match (clean.as_deref(), destination) {
            (None | Some("OFF"), _) => Ok(self),
            (Some("DELETE"), _) => Ok(self.clean_source(CleanSource::Delete { retention })),
            (Some("MOVE"), Some(destination)) => {
                let destination = open(&destination).map_err(|error| wrong(&destination, &error.to_string()))?;
                Ok(self.clean_source(CleanSource::Move { destination, retention }))
            }
            (Some("MOVE"), None) => Err(wrong("MOVE", "give `cleanSource.moveDestination` as well")),
            (Some(other), _) => Err(wrong(other, "give `OFF`, `DELETE` or `MOVE`")),
        }
    }
}

fn open(url: &str) -> Result<Storage, boathouse_storage::StorageError> {
    Storage::open(&Location::parse(url)?)
}

fn format_of(name: &str) -> Option<Format> {
    Some(match name.to_ascii_lowercase().as_str() {
        "json" => Format::json(),
        "csv" => Format::csv(),
        "parquet" => Format::Parquet,
        "avro" => Format::Avro,
        "xml" => Format::xml("ROW"),
        "text" => Format::text(),
        "binaryfile" => Format::Binary,
        _ => return None,
    })
}

/// Sets an option of the format; `false` when it has none of this name.
fn of_format(
    settings: &mut Settings,
    name: &str,
    value: &str,
    flag: &dyn Fn() -> Result<bool, AutoLoadError>,
) -> Result<bool, String> {
    let flag = || flag().map_err(|_| "give `true` or `false`".to_owned());
    let one = || match value.as_bytes() {
        [byte] => Ok(*byte),
        _ if value == "\\t" => Ok(b'\t'),
        _ => Err("give one ASCII character".to_owned()),
    };
    match (&mut settings.format, name) {
        (Format::Json(options), "multiline") => options.multi_line = flag()?,
        (Format::Csv(options), "multiline") => options.multi_line = flag()?,
        (Format::Csv(options), "header") => {
            options.header = if flag()? { CsvHeader::FirstLine } else { CsvHeader::Absent };
        }
        (Format::Csv(options), "sep" | "delimiter") => options.delimiter = one()?,
        (Format::Csv(options), "quote") => options.quote = one()?,
        (Format::Csv(options), "nullvalue") => value.clone_into(&mut options.null_text),
        (Format::Xml(options), "rowtag") => value.clone_into(&mut options.row_tag),
        (Format::Text(options), "wholetext") => options.whole_files = flag()?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// `512`, `10k`, `3 MB`, `1gb`: powers of 1,024.
fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match text[digits..].trim() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        "t" | "tb" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(unit).filter(|bytes| *bytes > 0)
}

/// `90 seconds`, `2 hours`, `1 week`, `interval 3 days`.
fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_prefix("interval").unwrap_or(&text).trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "s" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 60 * 60,
        "d" | "day" | "days" => 24 * 60 * 60,
        "w" | "week" | "weeks" => 7 * 24 * 60 * 60,
        _ => return None,
    };
    number.checked_mul(unit).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_units() {
        for (text, bytes) in [
            ("7", Some(7)),
            ("10k", Some(10 << 10)),
            (" 3 MB", Some(3 << 20)),
            ("1gb", Some(1 << 30)),
            ("0", None),
            ("1x", None),
            ("99999999999t", None),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text}");
        }
        for (text, seconds) in
            [("90 seconds", Some(90)), ("2h", Some(7200)), ("interval 1 WEEK", Some(604_800)), ("5", None), ("days", None)]
        {
            assert_eq!(parse_duration(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
