//! Files that land become committed rows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use boathouse_autoload::{AutoLoader, ColumnTypes, DiscoveryMode, Format};
use boathouse_base::{Env, ReadLimit, StreamSource};
use boathouse_delta_table::{DeltaSink, DeltaTable};
use boathouse_storage::{Location, Storage, system_env};
use boathouse_stream::StreamQuery;

use super::{Bar, Claim, Manner, Peer, Run, Span};
use crate::harness::Settings;
use crate::measure::{Measured, Stopwatch};

/// Rows of a file.
const ROWS: usize = 10;
/// Files that land when all others were read.
const LATE_FILES: usize = 100;
/// How their names begin: no other file has such a name.
const LATE: &str = "late-";

/// From files to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ingest {
    /// 10,000 files of JSON lines to a table, late ones, and nothing.
    TenThousand,
    /// The same with 100,000.
    HundredThousand,
    /// A million files in one folder, and new ones.
    ListMillion,
    /// One file, from the start of the process.
    ColdStart,
}

impl Ingest {
    pub(crate) const ALL: [Self; 4] = [Self::TenThousand, Self::HundredThousand, Self::ListMillion, Self::ColdStart];

    fn files(self) -> usize {
        match self {
            Self::TenThousand => 10_000,
            Self::HundredThousand => 100_000,
            Self::ListMillion => 1_000_000,
            Self::ColdStart => 1,
        }
    }
}

impl Claim for Ingest {
    fn name(&self) -> &'static str {
        match self {
            Self::TenThousand => "ingest-10k",
            Self::HundredThousand => "ingest-100k",
            Self::ListMillion => "list-1m",
            Self::ColdStart => "cold-start",
        }
    }

    fn sentence(&self) -> &'static str {
        match self {
            Self::TenThousand => {
                "10,000 JSON files of 10 rows to a table: 3,000 files a second; 100 late ones; a run that finds nothing: 20 ms"
            }
            Self::HundredThousand => {
                "100,000 JSON files of 10 rows to a table: 3,000 files a second; 100 late ones; a run that finds nothing: 20 ms"
            }
            Self::ListMillion => "a folder of a million files: found within 5 s and 300 MB, 100 new ones within 50 ms",
            Self::ColdStart => "from the start of the process to the first committed batch, and its end: 100 ms",
        }
    }

    fn peers(&self) -> Vec<Peer> {
        Vec::new()
    }

    fn bar(&self) -> Bar {
        match self {
            Self::TenThousand => Bar { parts: &[(FIRST, 10.0 / 3.0), (NOTHING, 0.02)], ..Bar::default() },
            Self::HundredThousand => Bar { parts: &[(FIRST, 100.0 / 3.0), (NOTHING, 0.02)], ..Bar::default() },
            Self::ListMillion => {
                Bar { rss_mb: Some(300.0), parts: &[(FIRST, 5.0), (LATE_ONES, 0.05), (NOTHING, 0.05)], ..Bar::default() }
            }
            Self::ColdStart => Bar { wall_s: Some(0.1), ..Bar::default() },
        }
    }

    fn manner(&self) -> Manner {
        match self {
            Self::ColdStart => Manner { span: Span::Process, ..Manner::default() },
            _ => Manner::default(),
        }
    }

    /// The files, as they land: of a million, there is nothing in them.
    fn prepare(&self, _: &Settings, folder: &Path) -> Result<PathBuf> {
        let done = folder.join(format!("landing-{}", self.files()));
        if done.exists() {
            return Ok(done);
        }
        eprintln!("making {} (once)", done.display());
        let part = done.with_extension("part");
        if part.exists() {
            fs::remove_dir_all(&part)?;
        }
        fs::create_dir_all(&part)?;
        for file in 0..self.files() {
            let content = if *self == Self::ListMillion { String::new() } else { lines(file) };
            fs::write(part.join(format!("part-{file:07}.json")), content)?;
        }
        fs::rename(&part, &done).with_context(|| format!("rename {}", part.display()))?;
        Ok(done)
    }

    fn ours(&self, Run { data, output, .. }: Run<'_>) -> Result<Measured> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        fs::create_dir_all(output)?;
        runtime.block_on(async {
            match self {
                Self::TenThousand | Self::HundredThousand => self.to_a_table(data, output).await,
                Self::ListMillion => list(data, output).await,
                Self::ColdStart => cold(data, output).await,
            }
        })
    }
}

/// Names of parts.
const FIRST: &str = "all of them";
const LATE_ONES: &str = "100 late ones";
const NOTHING: &str = "nothing new";

/// Ten rows of JSON.
fn lines(file: usize) -> String {
    let row = |row: usize| {
        let n = file * ROWS + row;
        format!(
            "{{\"id\":{n},\"device\":\"device-{}\",\"at\":\"2026-01-{:02}T00:00:00Z\",\"value\":{}.5}}\n",
            n % 97,
            n % 28 + 1,
            n % 1000
        )
    };
    (0..ROWS).map(row).collect()
}

/// A folder of one run.
fn folder(output: &Path, name: &str) -> Result<Storage> {
    let path = output.join(name);
    fs::create_dir_all(&path)?;
    Ok(Storage::open(&Location::from_path(path)?)?)
}

/// A query from a landing folder to a table.
async fn ingest(landing: &Path, output: &Path, env: &Env) -> Result<StreamQuery> {
    let files = AutoLoader::over(Storage::open(&Location::from_path(landing)?)?)
        .infer_column_types(ColumnTypes::Inferred)
        .state(folder(output, "state")?)
        .env(env.clone())
        .open()
        .await?;
    let table = DeltaTable::at(folder(output, "table")?, env.clone());
    let query = StreamQuery::named("ingest").source(Arc::new(files)).sink(Arc::new(DeltaSink::new(table)));
    Ok(query.checkpoint(folder(output, "checkpoint")?).env(env.clone()))
}

impl Ingest {
    async fn to_a_table(self, data: &Path, output: &Path) -> Result<Measured> {
        let env = system_env();
        let landing = output.join("landing");
        fs::create_dir_all(&landing)?;
        for file in fs::read_dir(data)? {
            let file = file?;
            fs::hard_link(file.path(), landing.join(file.file_name()))?;
        }
        let watch = Stopwatch::start()?;
        let mut parts = Vec::new();
        // Each run opens everything anew, as a job that is started now and then.
        for (part, rows) in [(FIRST, self.files() * ROWS), (LATE_ONES, LATE_FILES * ROWS), (NOTHING, 0)] {
            if part == LATE_ONES {
                for file in self.files()..self.files() + LATE_FILES {
                    fs::write(landing.join(format!("{LATE}{file}.json")), lines(file))?;
                }
            }
            let began_us = env.monotonic_us();
            let report = ingest(&landing, output, &env).await?.run_available_now().await?;
            parts.push((part.to_owned(), seconds(env.monotonic_us() - began_us)));
            ensure!(report.input_rows == rows as u64, "{part}: {} rows, and not {rows}", report.input_rows);
        }
        let mut measured = watch.stop(((self.files() + LATE_FILES) * ROWS) as u64, 0)?;
        measured.parts = parts.into_iter().collect();
        Ok(measured)
    }
}

/// Plans alone: nothing is read. The first scan ends when its first batch is planned; the other batches follow, and then the late files.
async fn list(data: &Path, output: &Path) -> Result<Measured> {
    let env = system_env();
    let landing = Storage::open(&Location::from_path(data)?)?;
    let _cleaned = Late::in_folder(data)?;
    let began_us = env.monotonic_us();
    let watch = Stopwatch::start()?;
    let source = AutoLoader::over(landing)
        .format(Format::Binary)
        .discovery(DiscoveryMode::Watch)
        .state(folder(output, "state")?)
        .env(env.clone())
        .open()
        .await?;
    let limit = ReadLimit { files: Some(50_000), ..ReadLimit::default() };
    let planned = source.plan(None, limit).await?.context("a million files have landed")?;
    let first = seconds(env.monotonic_us() - began_us);
    let (mut all, mut end) = (planned.files, planned.end);
    source.commit(&end).await?;
    while all < Ingest::ListMillion.files() as u64 {
        let planned = source.plan(Some(&end), limit).await?.with_context(|| format!("{all} files were found"))?;
        (all, end) = (all + planned.files, planned.end);
        source.commit(&end).await?;
    }
    for file in 0..LATE_FILES {
        fs::write(data.join(format!("{LATE}{file}.json")), "")?;
    }
    let began_us = env.monotonic_us();
    let mut found = 0;
    // The operating system tells of them one after the other.
    while found < LATE_FILES as u64 {
        if let Some(planned) = source.plan(Some(&end), limit).await? {
            (found, end) = (found + planned.files, planned.end);
        }
    }
    let late = seconds(env.monotonic_us() - began_us);
    let began_us = env.monotonic_us();
    ensure!(source.plan(Some(&end), limit).await?.is_none(), "each file was found once");
    let nothing = seconds(env.monotonic_us() - began_us);
    let mut measured = watch.stop(all + found, 0)?;
    measured.parts = [(FIRST, first), (LATE_ONES, late), (NOTHING, nothing)].map(|(part, s)| (part.to_owned(), s)).into();
    Ok(measured)
}

/// Late files in a folder that stays: gone before and after a run.
struct Late<'a>(&'a Path);

impl<'a> Late<'a> {
    fn in_folder(folder: &'a Path) -> Result<Self> {
        let late = Self(folder);
        late.remove()?;
        Ok(late)
    }

    fn remove(&self) -> Result<()> {
        for file in 0..LATE_FILES {
            match fs::remove_file(self.0.join(format!("{LATE}{file}.json"))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => (),
            }
        }
        Ok(())
    }
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("{error:#}");
        }
    }
}

/// One file, with everything that has to be made the first time.
async fn cold(data: &Path, output: &Path) -> Result<Measured> {
    let env = system_env();
    let watch = Stopwatch::start()?;
    let report =
        ingest(data, output, &env).await?.sql("SELECT id, device, value * 2 AS twice FROM source").run_available_now().await?;
    ensure!(report.input_rows == ROWS as u64, "{} rows", report.input_rows);
    watch.stop(report.input_rows, 0)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a run have few digits")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
