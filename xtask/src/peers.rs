//! The peers that tests compare with: a Python environment below target/, and a Postgres server from a wheel.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::step::{Failed, Run, root, target};

/// Installs what tests/interop/requirements*.txt pin, once for each content of these files.
pub(crate) fn install() -> Result<PathBuf, Failed> {
    let folder = target().join("interop");
    let venv = folder.join("venv");
    let python = venv.join("bin").join("python");
    let pinned = root().join("tests").join("interop");
    let (with_deps, without_deps) = (pinned.join("requirements.txt"), pinned.join("requirements-no-deps.txt"));
    let wanted = format!("{}\n{}", read(&with_deps)?, read(&without_deps)?);
    let stamp = folder.join("installed.txt");
    if python.exists() && std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    if Run::new("python3").args(["--version"]).run().is_err() {
        return Err(Failed {
            command: "python3".into(),
            why: "the interop tests need python3 with venv and pip on the PATH".into(),
        });
    }
    std::fs::create_dir_all(&folder)
        .map_err(|error| Failed { command: format!("create {}", folder.display()), why: error.to_string() })?;
    Run::new("python3").args(["-m", "venv", "--clear"]).args([&venv]).run()?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    Run::new(&python).args(pip).arg_file(&with_deps).run()?;
    Run::new(&python).args(pip).args(["--no-deps"]).arg_file(&without_deps).run()?;
    std::fs::write(&stamp, wanted)
        .map_err(|error| Failed { command: format!("write {}", stamp.display()), why: error.to_string() })?;
    Ok(python)
}

impl Run {
    fn arg_file(&mut self, file: &Path) -> &mut Self {
        self.args(["-r"]).args([file])
    }
}

fn read(path: &Path) -> Result<String, Failed> {
    std::fs::read_to_string(path).map_err(|error| Failed { command: format!("read {}", path.display()), why: error.to_string() })
}

/// A Postgres server that lives as long as this value.
pub(crate) struct Postgres {
    server: Child,
    url: String,
}

impl Postgres {
    /// Starts the server of the pinned wheel on a free port, with its data below target/.
    pub(crate) fn start(python: &Path) -> Result<Self, Failed> {
        let script = root().join("tests").join("interop").join("peers").join("postgres.py");
        let failed = |why: String| Failed { command: script.display().to_string(), why };
        let mut server = Command::new(python)
            .arg(&script)
            .arg(target().join("interop").join("postgres"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let mut url = String::new();
        if let Some(out) = server.stdout.take() {
            BufReader::new(out).read_line(&mut url).map_err(|error| failed(error.to_string()))?;
        }
        let url = url.trim().to_owned();
        if url.starts_with("postgres") {
            Ok(Self { server, url })
        } else {
            let _ = server.wait();
            Err(failed("the server did not start; its words are above".into()))
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The script stops the server when its standard input closes.
        drop(self.server.stdin.take());
        let _ = self.server.wait();
    }
}
