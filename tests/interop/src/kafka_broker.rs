//! A Kafka broker for the tests.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use crate::Peers;

/// The broker of the peers, with one topic, on the loopback interface. It lives as long as this value, and ends with this process whatever ends
/// it.
///
/// It lists the offset of the last batch as the end of a partition, and not that of its last row.
#[derive(Debug)]
pub struct KafkaBroker {
    script: Child,
    said: BufReader<ChildStdout>,
    servers: String,
}

impl KafkaBroker {
    /// Starts it, and waits until its topic is there.
    ///
    /// # Panics
    /// When it does not start; the script says why.
    #[expect(clippy::panic, reason = "test support: a broker that does not start must fail the test")]
    pub fn start(topic: &str, partitions: u32) -> Self {
        let mut command = Peers::from_env().script("kafka.py");
        command.arg(topic).arg(partitions.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = match command.spawn() {
            Ok(script) => script,
            Err(error) => panic!("start the Kafka broker: {error}"),
        };
        let Some(said) = script.stdout.take() else { panic!("the output of the Kafka broker is not there") };
        let mut broker = Self { script, said: BufReader::new(said), servers: String::new() };
        let told: Value = match serde_json::from_str(&broker.line()) {
            Ok(told) => told,
            Err(error) => panic!("the Kafka broker did not start, its words are above: {error}"),
        };
        broker.servers = told["servers"].as_str().unwrap_or_default().to_owned();
        broker
    }

    /// Where clients find it.
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// Sends numbers, in batches of so many messages, to the partitions by turns.
    ///
    /// # Panics
    /// When the broker does not take them.
    #[expect(clippy::panic, reason = "test support: messages that were not sent must fail the test")]
    pub fn send(&mut self, first: u64, count: u64, batch: u64) {
        let Some(input) = self.script.stdin.as_mut() else { panic!("the input of the Kafka broker is closed") };
        let asked = writeln!(input, "{first} {count} {batch}").and_then(|()| input.flush());
        let answer = self.line();
        assert!(asked.is_ok() && answer.trim() == "ok", "send to the Kafka broker: {asked:?}, {answer}");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        // An end shows as an empty line.
        let _ = self.said.read_line(&mut line);
        line
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        // The script ends the broker when its standard input closes.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
