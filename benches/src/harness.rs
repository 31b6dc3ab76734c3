//! Running a claim: both sides in turn, each run in a process of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::claims::Claim;
use crate::measure::Measured;
use crate::peer;
use crate::report::Report;

/// How a claim is run.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) scale: f64,
    pub(crate) seed: u64,
    pub(crate) runs: usize,
}

impl Settings {
    fn check(&self) -> Result<()> {
        ensure!(self.scale > 0.0 && self.scale.is_finite(), "--scale {}: it must be above 0", self.scale);
        ensure!(self.runs >= 5, "--runs {}: a median needs at least 5 runs of each side", self.runs);
        Ok(())
    }
}

/// Measures a claim and prints its report.
pub(crate) fn run(claim: &dyn Claim, settings: &Settings) -> Result<()> {
    settings.check()?;
    if cfg!(debug_assertions) {
        eprintln!("this is not a release build: its figures say nothing");
    }
    let folder = folder();
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let other = match claim.peer() {
        Some(other) => {
            let python = peer::python()?;
            let version = peer::version(&python, other.package)?;
            Some((other, python, version))
        }
        None => None,
    };
    let data = claim.prepare(settings, &folder)?;
    let us = std::env::current_exe().context("find this program")?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut outputs = Outputs::below(&folder)?;
    // The first round warms the caches of the machine and is not counted.
    for nth in 0..=settings.runs {
        ours.push(outputs.once(|output| {
            let seed = settings.seed.to_string();
            let args: [&OsStr; 8] = [
                "ours".as_ref(),
                claim.name().as_ref(),
                "--data".as_ref(),
                data.as_ref(),
                "--output".as_ref(),
                output.as_ref(),
                "--seed".as_ref(),
                seed.as_ref(),
            ];
            peer::last_line(&us, &args)
        })?);
        if let Some((other, python, _)) = &other {
            theirs.push(outputs.once(|output| {
                let (script, seed) = (peer::script(other.script), settings.seed.to_string());
                peer::last_line(python, &[script.as_ref(), claim.name().as_ref(), data.as_ref(), output.as_ref(), seed.as_ref()])
            })?);
        }
        eprintln!("run {nth} of {}: {}", settings.runs, said(&ours, &theirs));
        if nth == 0 {
            ours.clear();
            theirs.clear();
        }
    }
    agree(&ours, &theirs)?;
    let versions = other.map(|(other, _, version)| (other.package, version));
    print!("{}", Report::new(claim, &ours, versions.map(|(name, version)| (name, version, theirs))));
    Ok(())
}

/// Our side of one run: prints what was measured.
pub(crate) fn run_ours(claim: &dyn Claim, data: &Path, output: &Path, seed: u64) -> Result<()> {
    let measured = claim.ours(data, output, seed)?;
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// Waits until the disk has nothing left to write of the run before.
fn settle() {
    // Where there is no such program, the runs are noisier, and as right as before.
    let _ = std::process::Command::new("sync").status();
}

/// Output folders with more files than this stay until the last run is over.
const MANY_FILES: usize = 256;

/// The output folders of all runs, which are gone before and after.
///
/// For a minute and more after thousands of files were deleted, ext4 looks at each of their inodes whenever a new file
/// needs one (`recently_deleted`): small commits would be measured at a quarter of their speed, and the faster side most.
struct Outputs {
    folder: PathBuf,
    runs: usize,
}

impl Outputs {
    fn below(folder: &Path) -> Result<Self> {
        let outputs = Self { folder: folder.join("outputs"), runs: 0 };
        outputs.clean(&outputs.folder)?;
        Ok(outputs)
    }

    fn clean(&self, folder: &Path) -> Result<()> {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
        .with_context(|| format!("empty {}", folder.display()))
    }

    /// One run with a folder of its own.
    fn once(&mut self, run: impl FnOnce(&Path) -> Result<Measured>) -> Result<Measured> {
        std::fs::create_dir_all(&self.folder).with_context(|| format!("create {}", self.folder.display()))?;
        let output = self.folder.join(self.runs.to_string());
        self.runs += 1;
        settle();
        let measured = run(&output)?;
        if files(&output, MANY_FILES) < MANY_FILES {
            self.clean(&output)?;
        }
        Ok(measured)
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        if let Err(error) = self.clean(&self.folder) {
            eprintln!("{error:#}");
        }
    }
}

/// How many files are below a folder; counts no further than to `most`.
fn files(folder: &Path, most: usize) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let mut found = 0;
    for entry in entries.flatten() {
        found += match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), most - found),
            _ => 1,
        };
        if found >= most {
            return most;
        }
    }
    found
}

fn said(ours: &[Measured], theirs: &[Measured]) -> String {
    let side = |name: &str, runs: &[Measured]| {
        runs.last().map(|m| format!("{name} {:.2} CPU-s, {:.2} s, {:.0} MB", m.cpu_s, m.wall_s, m.rss_mb))
    };
    [side("ours", ours), side("peer", theirs)].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Sides that did different work are not compared.
fn agree(ours: &[Measured], theirs: &[Measured]) -> Result<()> {
    let mut rows: Vec<u64> = ours.iter().chain(theirs).map(|measured| measured.rows).collect();
    rows.dedup();
    match rows.as_slice() {
        [rows] if *rows > 0 => Ok(()),
        _ => bail!("the runs did different work; rows of each, ours first: {rows:?}"),
    }
}

/// Where inputs are kept: below the folder that cargo builds into.
fn folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| peer::root().join("target"), PathBuf::from).join("bench-data")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rows: u64) -> Measured {
        Measured { cpu_s: 1.0, wall_s: 1.0, rss_mb: 1.0, rows, written_bytes: 1 }
    }

    #[test]
    fn sides_that_did_different_work_are_not_compared() {
        assert!(agree(&[measured(5), measured(5)], &[measured(5)]).is_ok());
        assert!(agree(&[measured(5)], &[measured(6)]).is_err());
        assert!(agree(&[measured(0)], &[measured(0)]).is_err(), "no work at all");
    }

    #[test]
    fn settings_that_measure_nothing_are_refused() {
        assert!(Settings { scale: 1.0, seed: 1, runs: 5 }.check().is_ok());
        assert!(Settings { scale: 1.0, seed: 1, runs: 4 }.check().is_err());
        assert!(Settings { scale: 0.0, seed: 1, runs: 5 }.check().is_err());
        assert!(Settings { scale: f64::NAN, seed: 1, runs: 5 }.check().is_err());
    }
}
