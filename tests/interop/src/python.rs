//! A Python process that answers, one line of JSON for each.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::Value;

use crate::Peers;

/// A script of the peers that reads requests from its standard input and answers them. Starting Python with its packages
/// takes a second; a question takes a millisecond. It ends when this value goes.
#[derive(Debug)]
pub struct PythonPeer {
    name: String,
    script: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl PythonPeer {
    /// Starts a script.
    ///
    /// # Panics
    /// When it cannot be started.
    #[expect(clippy::panic, reason = "test support: a peer that does not start must fail the test")]
    pub fn start(name: &str) -> Self {
        let mut command = Peers::from_env().script(name);
        let mut script = match command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(script) => script,
            Err(error) => panic!("start {name}: {error}"),
        };
        let requests = script.stdin.take();
        let Some(answers) = script.stdout.take().map(BufReader::new) else { panic!("{name} has no output") };
        Self { name: name.to_owned(), script, requests, answers }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Panics
    /// When the script ends, or answers with `{"error": …}`.
    #[expect(clippy::panic, reason = "test support: a peer that fails must fail the test")]
    pub fn ask(&mut self, request: &Value) -> Value {
        let Some(requests) = &mut self.requests else { panic!("{} has ended", self.name) };
        if let Err(error) = writeln!(requests, "{request}").and_then(|()| requests.flush()) {
            panic!("ask {} for {request}: {error}", self.name);
        }
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        match serde_json::from_str::<Value>(&line) {
            Ok(answer) => match answer.get("error") {
                None => answer,
                Some(error) => panic!("{} fails at {request}: {}", self.name, error.as_str().unwrap_or_default()),
            },
            Err(error) => panic!("{} does not answer {request}: {error}, {read:?}, `{line}`", self.name),
        }
    }
}

impl Drop for PythonPeer {
    fn drop(&mut self) {
        drop(self.requests.take());
        let _ = self.script.wait();
    }
}
