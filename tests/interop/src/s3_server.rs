//! An S3 server for the tests.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::Peers;

/// The S3 server of the peers, with one empty bucket, on the loopback interface. It lives as long as this value, and ends
/// with this process whatever ends it.
#[derive(Debug)]
pub struct S3Server {
    script: Child,
    options: Vec<(&'static str, String)>,
    bucket: String,
}

impl S3Server {
    /// Starts it, and waits until its bucket can be written to.
    ///
    /// # Panics
    /// When it does not start; the script says why.
    #[expect(clippy::panic, reason = "test support: a server that does not start must fail the test")]
    pub fn start(bucket: &str) -> Self {
        let mut command = Peers::from_env().script("s3.py");
        let mut script = match command.arg(bucket).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(script) => script,
            Err(error) => panic!("start the S3 server: {error}"),
        };
        let mut line = String::new();
        let read = script.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        let told: Value = match serde_json::from_str(&line) {
            Ok(told) => told,
            Err(error) => panic!("the S3 server did not start, its words are above: {error}, {read:?}"),
        };
        let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
        let options = vec![
            ("aws_endpoint", text("endpoint")),
            ("aws_access_key_id", text("access_key")),
            ("aws_secret_access_key", text("secret_key")),
            ("aws_region", "us-east-1".to_owned()),
            ("aws_allow_http", "true".to_owned()),
            ("aws_virtual_hosted_style_request", "false".to_owned()),
        ];
        Self { script, options, bucket: bucket.to_owned() }
    }

    /// What a client has to know, as options of a store.
    pub fn options(&self) -> &[(&'static str, String)] {
        &self.options
    }

    /// The URL of a folder in the bucket.
    pub fn url(&self, folder: &str) -> String {
        format!("s3://{}/{folder}", self.bucket)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // The script ends the server when its standard input closes.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
