//! The report: a table for people, and one line of JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::claims::{Bar, Claim};
use crate::measure::Measured;

/// What a claim came to.
pub(crate) struct Report {
    sides: Vec<Side>,
    verdict: Verdict,
}

struct Side {
    title: String,
    cpu_s: Spread,
    wall_s: Spread,
    rss_mb: Spread,
    written_mb: Spread,
    /// Wall seconds by part.
    parts: BTreeMap<String, Spread>,
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peers: Vec<Against>,
    bar: Bar,
    holds: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Figures {
    cpu_s: f64,
    wall_s: f64,
    rss_mb: f64,
}

/// A peer, and us beside it.
#[derive(Debug, Serialize)]
struct Against {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(flatten)]
    figures: Figures,
    cpu_ratio: f64,
    /// The geometric mean over the parts that both did, where there are parts.
    wall_ratio: f64,
    rss_ratio: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_ratio: Option<f64>,
    /// Parts that the peer did not do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

impl Report {
    /// We come first, then the peers: name, version, runs.
    pub(crate) fn new(claim: &dyn Claim, sides: impl IntoIterator<Item = (&'static str, Option<String>, Vec<Measured>)>) -> Self {
        let (bar, mut peers) = (claim.bar(), Vec::new());
        let mut shown: Vec<Side> = Vec::new();
        for (name, version, runs) in sides {
            let title = version.as_ref().map_or_else(|| name.to_owned(), |version| format!("{name} {version}"));
            let side = Side::new(title, &runs);
            if let Some(ours) = shown.first() {
                peers.push(ours.against(&side, name, version, bar));
            }
            shown.push(side);
        }
        let ours = shown.first().map_or(Figures { cpu_s: f64::NAN, wall_s: f64::NAN, rss_mb: f64::NAN }, Side::medians);
        let part = |name: &str| shown.first().and_then(|ours| Some(ours.parts.get(name)?.median));
        let holds = holds(bar, &ours, &peers) && bar.parts.iter().all(|(name, limit)| part(name).is_some_and(|s| s <= *limit));
        Self { sides: shown, verdict: Verdict { claim: claim.name(), ours, peers, bar, holds } }
    }
}

/// Every limit that the bar names was measured and is kept, against each peer.
fn holds(bar: Bar, ours: &Figures, peers: &[Against]) -> bool {
    let kept = |limit: Option<f64>, ratio: Option<f64>| limit.is_none_or(|limit| ratio.is_some_and(|ratio| ratio <= limit));
    let against = |limit: Option<f64>, ratio: fn(&Against) -> Option<f64>| {
        limit.is_none() || (!peers.is_empty() && peers.iter().all(|peer| kept(limit, ratio(peer))))
    };
    against(bar.cpu_ratio, |peer| Some(peer.cpu_ratio))
        && against(bar.wall_ratio, |peer| Some(peer.wall_ratio))
        && against(bar.rss_ratio, |peer| Some(peer.rss_ratio))
        && against(bar.written_ratio, |peer| peer.written_ratio)
        && kept(bar.cpu_s, Some(ours.cpu_s))
        && kept(bar.wall_s, Some(ours.wall_s))
        && kept(bar.rss_mb, Some(ours.rss_mb))
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
            parts: parts(runs),
        }
    }

    /// We beside a peer.
    fn against(&self, peer: &Self, name: &'static str, version: Option<String>, bar: Bar) -> Against {
        let ratio = |value: fn(&Self) -> Spread| rounded(value(self).median / value(peer).median);
        let pairs = self.parts.iter().filter_map(|(part, ours)| Some(ours.median / peer.parts.get(part)?.median));
        let wall_ratio = geometric_mean(pairs).map_or_else(|| ratio(|side| side.wall_s), rounded);
        let left_out = self.parts.keys().filter(|part| !peer.parts.contains_key(*part)).cloned().collect();
        Against {
            name,
            version,
            figures: peer.medians(),
            cpu_ratio: ratio(|side| side.cpu_s),
            wall_ratio,
            rss_ratio: ratio(|side| side.rss_mb),
            // Most claims are not about what was written.
            written_ratio: bar.written_ratio.map(|_| ratio(|side| side.written_mb)),
            left_out,
        }
    }

    fn medians(&self) -> Figures {
        Figures { cpu_s: rounded(self.cpu_s.median), wall_s: rounded(self.wall_s.median), rss_mb: rounded(self.rss_mb.median) }
    }
}

/// Each part that every run did.
fn parts(runs: &[Measured]) -> BTreeMap<String, Spread> {
    let names = runs.first().into_iter().flat_map(|run| run.parts.keys());
    let all = names.filter_map(|name| {
        let seconds = runs.iter().map(|run| run.parts.get(name).copied()).collect::<Option<Vec<_>>>()?;
        Some((name.clone(), Spread::of(seconds)))
    });
    all.collect()
}

/// `None` of nothing.
fn geometric_mean(ratios: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = ratios.fold((0.0, 0.0), |(sum, count), ratio| (sum + ratio.ln(), count + 1.0));
    (count > 0.0).then(|| f64::exp(sum / count))
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
        for side in &self.sides {
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
        self.show_parts(f)?;
        let json = serde_json::to_string(&self.verdict).map_err(|_| fmt::Error)?;
        writeln!(f, "{json}")
    }
}

impl Report {
    /// The medians of each part, a column for each side.
    fn show_parts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(ours) = self.sides.first().filter(|ours| !ours.parts.is_empty()) else { return Ok(()) };
        write!(f, "{:<20}", "wall seconds")?;
        self.sides.iter().try_for_each(|side| write!(f, " {:>16}", side.title))?;
        writeln!(f)?;
        for part in ours.parts.keys() {
            write!(f, "{part:<20}")?;
            for side in &self.sides {
                match side.parts.get(part) {
                    Some(spread) => write!(f, " {:>16.4}", spread.median)?,
                    None => write!(f, " {:>16}", "-")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims;

    fn runs(cpu: [f64; 5], rss: f64) -> Vec<Measured> {
        let run = |cpu_s| Measured {
            cpu_s,
            wall_s: cpu_s / 2.0,
            rss_mb: rss,
            rows: 1,
            written_bytes: 1_000_000,
            ..Measured::default()
        };
        cpu.into_iter().map(run).collect()
    }

    fn report(ours: &[Measured], theirs: Vec<Measured>) -> String {
        let claim = claims::find("append").unwrap();
        let peer = ("deltalake", Some("1.2.3".to_owned()), theirs);
        Report::new(claim.as_ref(), [("ours", None, ours.to_vec()), peer]).to_string()
    }

    #[test]
    fn the_last_line_is_the_verdict_on_the_medians() {
        let text = report(&runs([9.0, 1.0, 3.0, 2.0, 4.0], 500.0), runs([6.0, 6.0, 6.0, 6.0, 6.0], 1000.0));
        let verdict: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let expected = serde_json::json!({
            "claim": "append",
            "ours": {"cpu_s": 3.0, "wall_s": 1.5, "rss_mb": 500.0},
            "peers": [{
                "name": "deltalake", "version": "1.2.3", "cpu_s": 6.0, "wall_s": 3.0, "rss_mb": 1000.0,
                "cpu_ratio": 0.5, "wall_ratio": 0.5, "rss_ratio": 0.5,
            }],
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
    fn a_claim_holds_against_each_of_its_peers() {
        let claim = claims::find("append").unwrap();
        let (ours, good, bad) = (runs([3.0; 5], 500.0), runs([6.0; 5], 1000.0), runs([3.0; 5], 1000.0));
        let against = |peers: &[&Vec<Measured>]| {
            let peers = peers.iter().map(|runs| ("peer", None, runs.to_vec()));
            Report::new(claim.as_ref(), std::iter::once(("ours", None, ours.clone())).chain(peers)).verdict.holds
        };
        assert!(against(&[&good, &good]));
        assert!(!against(&[&good, &bad]));
        assert!(!against(&[]), "nothing to compare with");
    }

    #[test]
    fn parts_are_compared_by_their_geometric_mean_and_what_a_peer_lacks_is_named() {
        let of = |parts: &[(&str, f64)]| {
            let parts = parts.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect();
            vec![Measured { parts, cpu_s: 1.0, wall_s: 100.0, rss_mb: 1.0, rows: 1, ..Measured::default() }; 5]
        };
        let claim = claims::find("append").unwrap();
        let (ours, theirs) = (of(&[("a", 1.0), ("b", 8.0), ("c", 50.0)]), of(&[("a", 2.0), ("b", 1.0)]));
        let report = Report::new(claim.as_ref(), [("ours", None, ours), ("peer", None, theirs)]);
        assert_eq!(report.verdict.peers[0].wall_ratio, 2.0);
        assert_eq!(report.verdict.peers[0].left_out, ["c"]);
        assert!(report.to_string().lines().any(|line| line.starts_with("c ") && line.ends_with(" -")));
    }

    #[cfg(feature = "engine")]
    #[test]
    fn a_claim_names_limits_of_parts_and_of_memory() {
        let claim = claims::find("list-1m").unwrap();
        let holds = |parts: &[(&str, f64)], rss_mb| {
            let parts = parts.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect();
            let runs = vec![Measured { parts, rss_mb, rows: 1, ..Measured::default() }; 5];
            Report::new(claim.as_ref(), [("ours", None, runs)]).verdict.holds
        };
        let kept = [("all of them", 4.0), ("100 late ones", 0.01), ("nothing new", 0.01)];
        assert!(holds(&kept, 200.0));
        assert!(!holds(&kept, 301.0));
        assert!(!holds(&kept[..2], 200.0), "a part was not measured");
        assert!(!holds(&[("all of them", 6.0), kept[1], kept[2]], 200.0));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Spread::of(vec![4.0, 1.0, 3.0, 2.0]), Spread { min: 1.0, median: 2.5, max: 4.0 });
    }
}
