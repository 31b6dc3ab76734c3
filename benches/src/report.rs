//! The report: a table for people, and one line of JSON.

use std::fmt;

use serde::Serialize;

use crate::claims::{Bar, Claim};
use crate::measure::Measured;

/// What a claim came to.
pub(crate) struct Report {
    ours: Side,
    peer: Option<Side>,
    verdict: Verdict,
}

struct Side {
    title: String,
    cpu_s: Spread,
    wall_s: Spread,
    rss_mb: Spread,
    written_mb: Spread,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

/// The last line.
#[derive(Debug, Serialize)]
struct Verdict {
    claim: &'static str,
    ours: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<PeerFigures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_ratio: Option<f64>,
    bar: Bar,
    holds: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Figures {
    cpu_s: f64,
    wall_s: f64,
    rss_mb: f64,
}

#[derive(Debug, Serialize)]
struct PeerFigures {
    name: &'static str,
    version: String,
    #[serde(flatten)]
    figures: Figures,
}

impl Report {
    pub(crate) fn new(claim: &dyn Claim, ours: &[Measured], peer: Option<(&'static str, String, Vec<Measured>)>) -> Self {
        let ours = Side::new("ours".to_owned(), ours);
        let bar = claim.bar();
        let mut verdict = Verdict {
            claim: claim.name(),
            ours: ours.medians(),
            peer: None,
            cpu_ratio: None,
            wall_ratio: None,
            rss_ratio: None,
            written_ratio: None,
            bar,
            holds: false,
        };
        let peer = peer.map(|(name, version, runs)| {
            let side = Side::new(format!("{name} {version}"), &runs);
            let (a, b) = (ours.medians(), side.medians());
            verdict.cpu_ratio = Some(rounded(a.cpu_s / b.cpu_s));
            verdict.wall_ratio = Some(rounded(a.wall_s / b.wall_s));
            verdict.rss_ratio = Some(rounded(a.rss_mb / b.rss_mb));
            // Most claims are not about what was written.
            verdict.written_ratio = bar.written_ratio.map(|_| rounded(ours.written_mb.median / side.written_mb.median));
            verdict.peer = Some(PeerFigures { name, version, figures: b });
            side
        });
        verdict.holds = holds(&verdict);
        Self { ours, peer, verdict }
    }
}

/// Every limit that the bar names was measured and is kept.
fn holds(verdict: &Verdict) -> bool {
    let bar = verdict.bar;
    let pairs = [
        (bar.cpu_ratio, verdict.cpu_ratio),
        (bar.wall_ratio, verdict.wall_ratio),
        (bar.rss_ratio, verdict.rss_ratio),
        (bar.written_ratio, verdict.written_ratio),
        (bar.cpu_s, Some(verdict.ours.cpu_s)),
        (bar.wall_s, Some(verdict.ours.wall_s)),
    ];
    pairs.into_iter().all(|(limit, ratio)| limit.is_none_or(|limit| ratio.is_some_and(|ratio| ratio <= limit)))
}

impl Side {
    fn new(title: String, runs: &[Measured]) -> Self {
        let spread = |value: fn(&Measured) -> f64| Spread::of(runs.iter().map(value).collect());
        Self {
            title,
            cpu_s: spread(|run| run.cpu_s),
            wall_s: spread(|run| run.wall_s),
            rss_mb: spread(|run| run.rss_mb),
            #[expect(clippy::cast_precision_loss, reason = "megabytes are shown with one digit")]
            written_mb: spread(|run| run.written_bytes as f64 / 1e6),
        }
    }

    fn medians(&self) -> Figures {
        Figures { cpu_s: rounded(self.cpu_s.median), wall_s: rounded(self.wall_s.median), rss_mb: rounded(self.rss_mb.median) }
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |nth: usize| values.get(nth).copied().unwrap_or(f64::NAN);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.wrapping_sub(1)), at(middle)) };
        Self { min: at(0), median, max: at(values.len().wrapping_sub(1)) }
    }
}

/// Three digits after the point.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20} {:<16} {:>10} {:>10} {:>10}", "", "", "min", "median", "max")?;
        for side in [Some(&self.ours), self.peer.as_ref()].into_iter().flatten() {
            let rows = [
                ("CPU seconds", side.cpu_s, 2),
                ("wall seconds", side.wall_s, 3),
                ("peak memory, MB", side.rss_mb, 0),
                ("written, MB", side.written_mb, 1),
            ];
            for (nth, (what, spread, digits)) in rows.into_iter().enumerate() {
                let title = if nth == 0 { side.title.as_str() } else { "" };
                let Spread { min, median, max } = spread;
                writeln!(f, "{title:<20} {what:<16} {min:>10.digits$} {median:>10.digits$} {max:>10.digits$}")?;
            }
        }
        let json = serde_json::to_string(&self.verdict).map_err(|_| fmt::Error)?;
        writeln!(f, "{json}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims;

    fn runs(cpu: [f64; 5], rss: f64) -> Vec<Measured> {
        let run = |cpu_s| Measured { cpu_s, wall_s: cpu_s / 2.0, rss_mb: rss, rows: 1, written_bytes: 1_000_000 };
        cpu.into_iter().map(run).collect()
    }

    fn report(ours: &[Measured], theirs: Vec<Measured>) -> String {
        let claim = claims::find("append").unwrap();
        Report::new(claim.as_ref(), ours, Some(("deltalake", "1.2.3".to_owned(), theirs))).to_string()
    }

    #[test]
    fn the_last_line_is_the_verdict_on_the_medians() {
        let text = report(&runs([9.0, 1.0, 3.0, 2.0, 4.0], 500.0), runs([6.0, 6.0, 6.0, 6.0, 6.0], 1000.0));
        let verdict: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let expected = serde_json::json!({
            "claim": "append",
            "ours": {"cpu_s": 3.0, "wall_s": 1.5, "rss_mb": 500.0},
            "peer": {"name": "deltalake", "version": "1.2.3", "cpu_s": 6.0, "wall_s": 3.0, "rss_mb": 1000.0},
            "cpu_ratio": 0.5, "wall_ratio": 0.5, "rss_ratio": 0.5,
            "bar": {"cpu_ratio": 0.8, "rss_ratio": 0.5},
            "holds": true,
        });
        assert_eq!(verdict, expected);
        assert!(text.contains("deltalake 1.2.3"));
    }

    #[test]
    fn a_claim_above_one_of_its_limits_does_not_hold() {
        let theirs = || runs([6.0; 5], 1000.0);
        assert!(report(&runs([5.0; 5], 500.0), theirs()).contains(r#""holds":false"#), "too much CPU time");
        assert!(report(&runs([3.0; 5], 501.0), theirs()).contains(r#""holds":false"#), "too much memory");
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Spread::of(vec![4.0, 1.0, 3.0, 2.0]), Spread { min: 1.0, median: 2.5, max: 4.0 });
    }
}
