//! Peers: Python packages in the environment that `cargo xtask peers` makes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

/// The interpreter of the environment with the peers; made first where it is not there.
///
/// The variable `BOATHOUSE_INTEROP_PYTHON` names another one.
pub(crate) fn python() -> Result<PathBuf> {
    if let Some(python) = std::env::var_os("BOATHOUSE_INTEROP_PYTHON") {
        return Ok(python.into());
    }
    eprintln!("looking for the peers: cargo xtask peers");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let said = Command::new(cargo).args(["xtask", "peers"]).current_dir(root()).stderr(Stdio::inherit()).output();
    let said = said.context("start `cargo xtask peers`")?;
    let text = String::from_utf8_lossy(&said.stdout);
    match text.lines().last() {
        Some(path) if said.status.success() => Ok(path.into()),
        _ => bail!("`cargo xtask peers` failed; it needs python3 with venv and pip"),
    }
}

/// The version of an installed package.
pub(crate) fn version(python: &Path, package: &str) -> Result<String> {
    let script = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))";
    let said = Command::new(python).args(["-c", script, package]).stderr(Stdio::inherit()).output();
    let said = said.with_context(|| format!("start {}", python.display()))?;
    if !said.status.success() {
        bail!("{} does not have the package `{package}`", python.display());
    }
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// A script of `peers/`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

/// Runs a process and reads the last line that it prints as JSON.
pub(crate) fn last_line<T: DeserializeOwned>(program: &Path, args: &[&OsStr]) -> Result<T> {
    last_line_as(program, args, "")
}

/// The same, for a script that speaks for several packages.
pub(crate) fn last_line_as<T: DeserializeOwned>(program: &Path, args: &[&OsStr], package: &str) -> Result<T> {
    let mut command = Command::new(program);
    command.args(args).env("BOATHOUSE_PEER", package).stdin(Stdio::null());
    let said = command.stderr(Stdio::inherit()).output();
    let said = said.with_context(|| format!("start {}", program.display()))?;
    let text = String::from_utf8_lossy(&said.stdout);
    if !said.status.success() {
        bail!("{} {args:?} ended with {}:\n{text}", program.display(), said.status);
    }
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("{} {args:?} printed `{line}`, not what was measured", program.display()))
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
