//! Running the peers: other engines, in the Python environment that `cargo xtask peers` makes.
//!
//! The tests stand behind the feature `peers`, which `cargo xtask test` switches on, so that plain `cargo test` needs
//! Rust alone. Switched on, they fail when there is no environment: they never pass by not running.

mod kafka_broker;
mod python;
mod s3_server;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use kafka_broker::KafkaBroker;
pub use python::PythonPeer;
pub use s3_server::S3Server;

/// The Python of the peers.
#[derive(Debug, Clone)]
pub struct Peers {
    python: PathBuf,
}

impl Peers {
    /// The environment that the variable `BOATHOUSE_INTEROP_PYTHON` names.
    ///
    /// # Panics
    /// When the variable is not set: a test that was asked for must not be skipped.
    #[expect(clippy::panic, reason = "test support: a missing environment must fail the test")]
    pub fn from_env() -> Self {
        match std::env::var_os("BOATHOUSE_INTEROP_PYTHON") {
            Some(python) => Self { python: python.into() },
            None => {
                panic!("BOATHOUSE_INTEROP_PYTHON is not set: run `cargo xtask test --only tests`, which makes the environment")
            }
        }
    }

    /// The interpreter.
    pub fn python(&self) -> &Path {
        &self.python
    }

    /// A script of `tests/interop/peers`, ready for arguments.
    pub fn script(&self, name: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)).stdin(Stdio::null());
        command
    }

    /// Runs a script and gives what it printed.
    ///
    /// # Panics
    /// When the script fails; with everything that it said.
    #[expect(clippy::panic, reason = "test support: a peer that fails must fail the test")]
    pub fn run(&self, name: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
        let output = match self.script(name).args(args).output() {
            Ok(output) => output,
            Err(error) => panic!("start {}: {error}", self.python.display()),
        };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{name} failed:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}
