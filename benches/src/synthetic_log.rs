//! Logs of large tables whose data files do not exist: opening and checkpointing read the log alone.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use boathouse_delta_table::protocol::log_path::commit_name;

/// Days of the partition column.
const DAYS: u64 = 365;

/// A table of `files` data files in one commit, partitioned by day, with minima, maxima and null counts of
/// `stats_columns` columns of mixed types: about 700 bytes a file with 11 of them.
///
/// The first column grows from file to file, as ids do; the others are drawn at random from `seed`. Made once.
pub(crate) fn synthetic_log(folder: &Path, files: u64, stats_columns: usize, seed: u64) -> Result<PathBuf> {
    let table = folder.join(format!("log-{files}-{stats_columns}-{seed}"));
    if table.exists() {
        return Ok(table);
    }
    made_once(&table, |log| {
        let mut commit = create(&log.join(commit_name(0)))?;
        write_head(&mut commit, stats_columns)?;
        let (mut random, mut stats) = (Random(seed), String::new());
        for file in 0..files {
            write_add(&mut commit, &mut stats, &mut random, file, stats_columns)?;
        }
        commit.into_inner()?.sync_all()?;
        Ok(())
    })?;
    Ok(table)
}

/// The same with one file in each of `commits` commits after the first.
pub(crate) fn synthetic_commits(folder: &Path, commits: u64, stats_columns: usize, seed: u64) -> Result<PathBuf> {
    let table = folder.join(format!("commits-{commits}-{stats_columns}-{seed}"));
    if table.exists() {
        return Ok(table);
    }
    made_once(&table, |log| {
        let mut commit = create(&log.join(commit_name(0)))?;
        write_head(&mut commit, stats_columns)?;
        commit.flush()?;
        let (mut random, mut stats) = (Random(seed), String::new());
        for file in 0..commits {
            let mut commit = create(&log.join(commit_name(file + 1)))?;
            let at = 1_700_000_000_000 + file;
            writeln!(
                commit,
                r#"{{"commitInfo":{{"timestamp":{at},"operation":"WRITE","operationParameters":{{}},"isBlindAppend":true}}}}"#
            )?;
            write_add(&mut commit, &mut stats, &mut random, file, stats_columns)?;
            commit.flush()?;
        }
        Ok(())
    })?;
    Ok(table)
}

/// Under another name until it is whole: an interrupted run leaves no half input.
fn made_once(table: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    eprintln!("making {} (once)", table.display());
    let part = table.with_extension("part");
    let log = part.join("_delta_log");
    std::fs::create_dir_all(&log).with_context(|| format!("create {}", log.display()))?;
    make(&log)?;
    std::fs::rename(&part, table).with_context(|| format!("rename {} to {}", part.display(), table.display()))
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    Ok(BufWriter::new(File::create(path).with_context(|| format!("create {}", path.display()))?))
}

fn write_head(commit: &mut impl Write, stats_columns: usize) -> Result<()> {
    writeln!(commit, r#"{{"commitInfo":{{"timestamp":1700000000000,"operation":"WRITE","operationParameters":{{}}}}}}"#)?;
    writeln!(commit, r#"{{"protocol":{{"minReaderVersion":1,"minWriterVersion":2}}}}"#)?;
    writeln!(commit, "{}", metadata(stats_columns))?;
    Ok(())
}

fn write_add(commit: &mut impl Write, stats: &mut String, random: &mut Random, file: u64, columns: usize) -> Result<()> {
    let day = date(19_723 + random.below(DAYS));
    stats.clear();
    write_stats(stats, random, file, columns)?;
    let (high, low) = (random.next(), random.next());
    writeln!(
        commit,
        r#"{{"add":{{"path":"day={day}/part-{:05}-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}-c000.zstd.parquet","partitionValues":{{"day":"{day}"}},"size":{},"modificationTime":{},"dataChange":true,"stats":"{stats}"}}}}"#,
        file % 200,
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff,
        60_000_000 + random.below(80_000_000),
        1_700_000_000_000 + file,
    )?;
    Ok(())
}

/// The type of a column.
fn data_type(column: usize) -> &'static str {
    match column % 6 {
        0 => "long",
        1 => "string",
        2 => "double",
        3 => "date",
        4 => "timestamp",
        _ => "integer",
    }
}

fn metadata(stats_columns: usize) -> String {
    let field =
        |name: &str, of: &str| format!(r#"{{\"name\":\"{name}\",\"type\":\"{of}\",\"nullable\":true,\"metadata\":{{}}}}"#);
    let fields = (0..stats_columns).map(|c| field(&format!("c{c}"), data_type(c))).chain([field("day", "date")]);
    let schema = format!(r#"{{\"type\":\"struct\",\"fields\":[{}]}}"#, fields.collect::<Vec<_>>().join(","));
    format!(
        r#"{{"metaData":{{"id":"6d1a1f0e-0000-4000-8000-000000000001","format":{{"provider":"parquet","options":{{}}}},"schemaString":"{schema}","partitionColumns":["day"],"configuration":{{}},"createdTime":1700000000000}}}}"#
    )
}

/// The statistics of a file, with the escapes that they have inside of the commit's text.
fn write_stats(stats: &mut String, random: &mut Random, file: u64, columns: usize) -> std::fmt::Result {
    let rows = 90_000 + random.below(20_000);
    let bounds: Vec<(String, String)> = (0..columns).map(|column| bounds(column, random, file, rows)).collect();
    write!(stats, r#"{{\"numRecords\":{rows},\"minValues\":{{"#)?;
    for (column, (min, _)) in bounds.iter().enumerate() {
        write!(stats, r#"{}\"c{column}\":{min}"#, comma(column))?;
    }
    stats.push_str(r#"},\"maxValues\":{"#);
    for (column, (_, max)) in bounds.iter().enumerate() {
        write!(stats, r#"{}\"c{column}\":{max}"#, comma(column))?;
    }
    stats.push_str(r#"},\"nullCount\":{"#);
    for column in 0..columns {
        let nulls = if column == 0 { 0 } else { random.below(50) };
        write!(stats, r#"{}\"c{column}\":{nulls}"#, comma(column))?;
    }
    stats.push_str("}}");
    Ok(())
}

fn comma(column: usize) -> &'static str {
    if column > 0 { "," } else { "" }
}

fn bounds(column: usize, random: &mut Random, file: u64, rows: u64) -> (String, String) {
    let quoted = |text: String| format!(r#"\"{text}\""#);
    match data_type(column) {
        "long" => {
            let first = if column == 0 { file * 110_000 } else { random.below(1 << 40) };
            (first.to_string(), (first + rows).to_string())
        }
        "string" => {
            let mut word = |first: u64| {
                let letters = random.next();
                let rest: String = (0..7).map(|at| char::from(b'a' + (letters >> (at * 8)) as u8 % 26)).collect();
                quoted(format!("{}{rest}", char::from(b'a' + first as u8)))
            };
            (word(0), word(25))
        }
        "double" => {
            let (low, high) = (random.below(100_000), random.below(100_000));
            let text = |hundredths: u64| format!("{}.{:02}", hundredths / 100, hundredths % 100);
            (text(low), text(900_000 + high))
        }
        "date" => {
            let first = 18_000 + random.below(1_500);
            (quoted(date(first)), quoted(date(first + random.below(60))))
        }
        "timestamp" => {
            let mut at = |day: u64| {
                let ms = random.below(86_400_000);
                let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
                quoted(format!("{}T{h:02}:{m:02}:{s:02}.{:03}Z", date(day), ms % 1_000))
            };
            let day = 19_700 + file % 300;
            (at(day), at(day + 1))
        }
        _ => {
            let low = random.below(1_000);
            (low.to_string(), (low + random.below(100_000)).to_string())
        }
    }
}

/// A day since 1970 as text, in the proleptic Gregorian calendar.
fn date(days: u64) -> String {
    // Years that start in March end with the leap day.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (of_month, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{of_month:02}", era * 400 + year + u64::from(month <= 2))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[cfg(test)]
mod tests {
    use boathouse_delta_table::DeltaTable;
    use boathouse_storage::{Location, Storage, system_env};

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, text) in
            [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (19_723, "2024-01-01"), (20_088, "2024-12-31")]
        {
            assert_eq!(date(days), text);
        }
    }

    #[test]
    fn a_synthetic_log_is_a_table_with_statistics_and_made_once() {
        let folder = std::env::temp_dir().join(format!("boathouse-synthetic-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = synthetic_log(&folder, 500, 11, 3).unwrap();
        let commit = path.join("_delta_log/00000000000000000000.json");
        let modified = std::fs::metadata(&commit).unwrap().modified().unwrap();
        assert_eq!(synthetic_log(&folder, 500, 11, 3).unwrap(), path);
        assert_eq!(std::fs::metadata(&commit).unwrap().modified().unwrap(), modified);
        let bytes = std::fs::metadata(&commit).unwrap().len();
        assert!((250_000..450_000).contains(&bytes), "{bytes} bytes of 500 files");
        let text = std::fs::read_to_string(&commit).unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with("{\"add\"")).count(), 500);
        let table = DeltaTable::at(Storage::open(&Location::from_path(&path).unwrap()).unwrap(), system_env());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let snapshot = runtime.block_on(table.snapshot()).unwrap();
        assert_eq!(snapshot.schema().fields().len(), 12);
        assert_eq!(snapshot.partition_columns(), ["day"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
