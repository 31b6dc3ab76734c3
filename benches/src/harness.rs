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
    // The first round warms the caches of the machine and is not counted.
    for nth in 0..=settings.runs {
        ours.push(once(&folder, |output| {
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
            theirs.push(once(&folder, |output| {
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

/// Waits until the disk has nothing left to write. Thousands of files that the run before made and that were deleted
/// keep the file system busy for seconds: the next run would be measured at half its speed, and the faster side most.
#[expect(clippy::disallowed_methods, reason = "nothing is simulated here, and nothing else runs")]
fn settle() {
    // Where there is no such program, the runs are noisier, and as right as before.
    let _ = std::process::Command::new("sync").status();
    std::thread::sleep(std::time::Duration::from_secs(3));
}

/// One run with an output folder that is gone before and after it.
fn once(folder: &Path, run: impl FnOnce(&Path) -> Result<Measured>) -> Result<Measured> {
    let output = folder.join("output");
    let clean = || match std::fs::remove_dir_all(&output) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    clean().with_context(|| format!("empty {}", output.display()))?;
    settle();
    let measured = run(&output)?;
    clean().with_context(|| format!("empty {}", output.display()))?;
    Ok(measured)
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
