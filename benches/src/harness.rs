//! Running a claim: both sides in turn, each run in a process of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use boathouse_storage::system_env;

use crate::answers;
use crate::claims::{Claim, Manner, Peer, Run, Span};
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
    let us = std::env::current_exe().context("find this program")?;
    let mut sides = vec![Side::ours(claim.name(), "ours", &us)];
    for peer in claim.peers() {
        sides.push(match peer {
            Peer::Claim(name) => Side::ours(name, name, &us),
            Peer::Python { package, script } => Side::python(claim.name(), package, script)?,
        });
    }
    let data = claim.prepare(settings, &folder)?;
    let mut outputs = Outputs::below(&folder)?;
    // The first round warms the caches of the machine and is not counted.
    for nth in 0..=settings.runs {
        for side in &mut sides {
            let measured = side.run(&claim.manner(), &data, settings.seed, &mut outputs)?;
            side.runs.push(measured);
        }
        let said = sides.iter().filter_map(Side::said).collect::<Vec<_>>();
        eprintln!("run {nth} of {}: {}", settings.runs, said.join("; "));
        agree(&sides)?;
        if nth == 0 {
            sides.iter_mut().for_each(|side| side.runs.clear());
        }
    }
    print!("{}", Report::new(claim, sides.into_iter().map(|side| (side.name, side.version, side.runs))));
    Ok(())
}

/// We, or a peer.
struct Side {
    name: &'static str,
    version: Option<String>,
    program: PathBuf,
    args: Vec<OsString>,
    /// Arguments have names.
    is_ours: bool,
    runs: Vec<Measured>,
}

impl Side {
    fn ours(claim: &'static str, name: &'static str, program: &Path) -> Self {
        let args = vec!["ours".into(), claim.into()];
        Self { name, version: None, program: program.to_path_buf(), args, is_ours: true, runs: Vec::new() }
    }

    fn python(claim: &str, package: &'static str, script: &str) -> Result<Self> {
        let program = peer::python()?;
        let version = Some(peer::version(&program, package)?);
        let args = vec![peer::script(script).into(), claim.into()];
        Ok(Self { name: package, version, program, args, is_ours: false, runs: Vec::new() })
    }

    /// One run: a process, or one for each part.
    fn run(&self, manner: &Manner, data: &Path, seed: u64, outputs: &mut Outputs) -> Result<Measured> {
        if manner.parts.is_empty() {
            return self.process(manner.span, data, seed, None, outputs);
        }
        let mut whole = Measured::default();
        for part in &manner.parts {
            whole = whole.and(self.process(manner.span, data, seed, Some(part), outputs)?);
        }
        Ok(whole)
    }

    fn process(&self, span: Span, data: &Path, seed: u64, part: Option<&str>, outputs: &mut Outputs) -> Result<Measured> {
        let seed = seed.to_string();
        let mut measured: Measured = outputs.once(|output| {
            let given = [("--data", Some(data.as_os_str())), ("--output", Some(output.as_os_str()))];
            let chosen = [("--seed", Some(seed.as_ref())), ("--part", part.map(OsStr::new))];
            let mut args: Vec<&OsStr> = self.args.iter().map(OsString::as_os_str).collect();
            for (name, value) in given.into_iter().chain(chosen) {
                let Some(value) = value else { continue };
                if self.is_ours {
                    args.push(name.as_ref());
                }
                args.push(value);
            }
            let env = system_env();
            let began_us = env.monotonic_us();
            let mut measured: Measured = peer::last_line_as(&self.program, &args, self.name)?;
            if span == Span::Process {
                #[expect(clippy::cast_precision_loss, reason = "microseconds of a process have few digits")]
                let wall_s = (env.monotonic_us() - began_us) as f64 / 1e6;
                measured.wall_s = wall_s;
            }
            Ok(measured)
        })?;
        if let (Some(part), true) = (part, measured.parts.is_empty()) {
            eprintln!("{} has no {part}", self.name);
            measured.rows = 0;
        }
        Ok(measured)
    }

    fn said(&self) -> Option<String> {
        let said = |m: &Measured| format!("{} {:.2} CPU-s, {:.3} s, {:.0} MB", self.name, m.cpu_s, m.wall_s, m.rss_mb);
        self.runs.last().map(said)
    }
}

/// Our side of one run: prints what was measured.
pub(crate) fn run_ours(claim: &dyn Claim, run: Run<'_>) -> Result<()> {
    let measured = claim.ours(run)?;
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

/// Sides that did different work, or say different things, are not compared.
fn agree(sides: &[Side]) -> Result<()> {
    let Some((ours, peers)) = sides.split_first() else { return Ok(()) };
    for (ours, side) in ours.runs.last().into_iter().flat_map(|ours| sides.iter().map(move |side| (ours, side))) {
        for theirs in &side.runs {
            ensure!(
                theirs.rows > 0 && (theirs.rows == ours.rows || !theirs.parts.is_empty()),
                "the runs did different work: we say {} rows, {} says {}",
                ours.rows,
                side.name,
                theirs.rows
            );
        }
    }
    for (ours, side) in ours.runs.last().into_iter().flat_map(|ours| peers.iter().map(move |side| (ours, side))) {
        for (part, theirs) in side.runs.last().into_iter().flat_map(|run| &run.answers) {
            let Some(ours) = ours.answers.get(part) else { bail!("{} answers {part}, and we do not", side.name) };
            if let Some(difference) = answers::difference(ours, theirs) {
                bail!("{part} of {}: {difference}", side.name);
            }
        }
    }
    Ok(())
}

/// Where inputs are kept: below the folder that cargo builds into.
fn folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| peer::root().join("target"), PathBuf::from).join("bench-data")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(runs: &[Measured]) -> Side {
        Side { runs: runs.to_vec(), ..Side::ours("append", "ours", Path::new("x")) }
    }

    fn rows(rows: u64) -> Measured {
        Measured { rows, ..Measured::default() }
    }

    fn answered(part: &str, cell: &str) -> Measured {
        let (parts, answers) = ([(part.to_owned(), 1.0)].into(), [(part.to_owned(), vec![vec![cell.to_owned()]])].into());
        Measured { parts, answers, ..rows(1) }
    }

    #[test]
    fn sides_that_did_different_work_are_not_compared() {
        assert!(agree(&[side(&[rows(5), rows(5)]), side(&[rows(5)])]).is_ok());
        assert!(agree(&[side(&[rows(5)]), side(&[rows(6)])]).is_err());
        assert!(agree(&[side(&[rows(4), rows(5)]), side(&[rows(5)])]).is_err());
        assert!(agree(&[side(&[rows(0)]), side(&[rows(0)])]).is_err(), "no work at all");
    }

    #[test]
    fn sides_that_say_different_things_are_not_compared() {
        let ours = answered("q1", "7").and(answered("q2", "8"));
        assert!(
            agree(&[side(std::slice::from_ref(&ours)), side(&[answered("q2", "8.0")])]).is_ok(),
            "what it cannot do is left out"
        );
        assert!(agree(&[side(std::slice::from_ref(&ours)), side(&[answered("q2", "9")])]).is_err());
        assert!(agree(&[side(&[ours]), side(&[answered("q3", "9")])]).is_err());
    }

    #[test]
    fn settings_that_measure_nothing_are_refused() {
        assert!(Settings { scale: 1.0, seed: 1, runs: 5 }.check().is_ok());
        assert!(Settings { scale: 1.0, seed: 1, runs: 4 }.check().is_err());
        assert!(Settings { scale: 0.0, seed: 1, runs: 5 }.check().is_err());
        assert!(Settings { scale: f64::NAN, seed: 1, runs: 5 }.check().is_err());
    }
}
