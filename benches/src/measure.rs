//! What a process has used, by the counters of Linux.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use boathouse_base::Env;
use boathouse_storage::system_env;
use serde::{Deserialize, Serialize};

use crate::answers::Answer;

/// What one run used: the JSON that each side prints.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Seconds of all cores, in user and kernel mode, for the work.
    pub(crate) cpu_s: f64,
    /// Seconds that passed, for the work.
    pub(crate) wall_s: f64,
    /// The most memory that the process held until now.
    pub(crate) rss_mb: f64,
    /// Rows that the work was about: both sides must agree.
    pub(crate) rows: u64,
    /// Bytes that it wrote, to compare like with like.
    pub(crate) written_bytes: u64,
    /// Wall seconds of each part of the work, where it has parts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) parts: BTreeMap<String, f64>,
    /// What came out, by part, where sides are compared by it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) answers: BTreeMap<String, Answer>,
}

impl Measured {
    /// Work in several processes as that of one.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.cpu_s += other.cpu_s;
        self.wall_s += other.wall_s;
        self.rss_mb = self.rss_mb.max(other.rss_mb);
        self.rows += other.rows;
        self.written_bytes += other.written_bytes;
        self.parts.extend(other.parts);
        self.answers.extend(other.answers);
        self
    }
}

/// Measures from `start` to `stop`.
pub(crate) struct Stopwatch {
    env: Env,
    began_us: u64,
    cpu_s: f64,
}

impl Stopwatch {
    pub(crate) fn start() -> Result<Self> {
        let env = system_env();
        Ok(Self { cpu_s: cpu_seconds()?, began_us: env.monotonic_us(), env })
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of a run have few digits")]
    pub(crate) fn stop(self, rows: u64, written_bytes: u64) -> Result<Measured> {
        let wall_s = (self.env.monotonic_us() - self.began_us) as f64 / 1e6;
        Ok(Measured {
            cpu_s: cpu_seconds()? - self.cpu_s,
            wall_s,
            rss_mb: peak_rss_mb()?,
            rows,
            written_bytes,
            ..Measured::default()
        })
    }
}

/// User and kernel time of this process with all of its threads, those that ended included.
fn cpu_seconds() -> Result<f64> {
    let text = read("/proc/self/stat")?;
    cpu_seconds_in(&text).ok_or_else(|| anyhow!("/proc/self/stat is not what it should be: {text}"))
}

/// **Source**: proc(5), `/proc/pid/stat`: utime and stime are fields 14 and 15, in ticks of which Linux has 100 a second.
fn cpu_seconds_in(stat: &str) -> Option<f64> {
    // The second field is the name in parentheses and may hold blanks: count from behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, kernel): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + kernel) / 100.0)
}

fn peak_rss_mb() -> Result<f64> {
    let text = read("/proc/self/status")?;
    peak_rss_mb_in(&text).ok_or_else(|| anyhow!("/proc/self/status has no VmHWM"))
}

/// **Units**: megabytes of 1,000,000 bytes.
fn peak_rss_mb_in(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {path}: claims are measured on Linux only"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_blanks_and_parentheses() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 1000 10";
        assert_eq!(cpu_seconds_in(stat), Some(3.0));
        assert_eq!(cpu_seconds_in("7 (a) S 1"), None);
    }

    #[test]
    fn peak_memory_is_read_in_megabytes() {
        assert_eq!(peak_rss_mb_in("VmPeak:\t9 kB\nVmHWM:\t  1000000 kB\nVmRSS:\t 5 kB\n"), Some(1024.0));
        assert_eq!(peak_rss_mb_in("VmRSS:\t 5 kB\n"), None);
    }

    #[test]
    fn work_takes_cpu_time_and_memory() {
        let watch = Stopwatch::start().unwrap();
        let mut sum = 0_u64;
        let mut numbers = Vec::new();
        while watch.env.monotonic_us() - watch.began_us < 100_000 {
            sum = sum.wrapping_mul(31).wrapping_add(1);
            numbers.push(sum);
            numbers.truncate(1_000_000);
        }
        let measured = watch.stop(numbers.len() as u64, 0).unwrap();
        assert!(measured.wall_s >= 0.1);
        assert!(measured.cpu_s > 0.0 && measured.cpu_s < 10.0, "{measured:?}");
        assert!(measured.rss_mb > 1.0);
    }
}
