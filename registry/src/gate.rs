//! What a version must show before it is promoted. Decided purely: metrics in, reasons out.

use std::collections::BTreeMap;
use std::fmt;

/// Requirements on the metrics of a version. All of them must hold.
///
/// Metrics are handed in by the caller: the registry knows no tracker.
///
/// # Example
/// ```
/// use boathouse_registry::Gate;
///
/// let gate = Gate::new([("auc", 0.71)]).at_least("auc", 0.6).better_than([("auc", 0.70)]).by("auc", 0.02);
/// let failures = gate.check();
/// assert_eq!(failures.len(), 1);
/// assert_eq!(failures[0].to_string(), "metric `auc`: found 0.71, needed at least 0.72 (the 0.7 of the version now in the stage plus 0.02)");
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use]
pub struct Gate {
    metrics: BTreeMap<String, f64>,
    rival: Option<BTreeMap<String, f64>>,
    requirements: Vec<Requirement>,
}

/// One requirement on one metric.
#[derive(Debug, Clone, PartialEq)]
struct Requirement {
    metric: String,
    needed: Needed,
}

/// What a metric must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Needed {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Above that of the version now in the stage, by this much or more; 0 asks for strictly above.
    AboveRival(f64),
    /// Below that of the version now in the stage, by this much or more; 0 asks for strictly below.
    BelowRival(f64),
}

impl Gate {
    /// A gate over the metrics of the version to promote. Without requirements it lets everything through.
    pub fn new<K: Into<String>>(metrics: impl IntoIterator<Item = (K, f64)>) -> Self {
        Self { metrics: metrics.into_iter().map(|(k, v)| (k.into(), v)).collect(), ..Self::default() }
    }

    /// The metric must be this or more.
    pub fn at_least(self, metric: impl Into<String>, value: f64) -> Self {
        self.need(metric, Needed::AtLeast(value))
    }

    /// The metric must be this or less.
    pub fn at_most(self, metric: impl Into<String>, value: f64) -> Self {
        self.need(metric, Needed::AtMost(value))
    }

    /// Hands in the metrics of the version that is in the stage now. Without this call there is no version to beat, and
    /// [`by`](Self::by) and [`below_by`](Self::below_by) hold.
    pub fn better_than<K: Into<String>>(mut self, rival: impl IntoIterator<Item = (K, f64)>) -> Self {
        self.rival = Some(rival.into_iter().map(|(k, v)| (k.into(), v)).collect());
        self
    }

    /// The metric must be above the rival's by this much or more; with 0, strictly above.
    pub fn by(self, metric: impl Into<String>, margin: f64) -> Self {
        self.need(metric, Needed::AboveRival(margin))
    }

    /// The metric must be below the rival's by this much or more; with 0, strictly below. For losses.
    pub fn below_by(self, metric: impl Into<String>, margin: f64) -> Self {
        self.need(metric, Needed::BelowRival(margin))
    }

    /// Every requirement that does not hold. A metric that is missing or not a number holds none.
    pub fn check(&self) -> Vec<GateFailure> {
        self.requirements.iter().filter_map(|r| self.failure(r)).collect()
    }

    fn need(mut self, metric: impl Into<String>, needed: Needed) -> Self {
        self.requirements.push(Requirement { metric: metric.into(), needed });
        self
    }

    fn failure(&self, Requirement { metric, needed }: &Requirement) -> Option<GateFailure> {
        let found = self.metrics.get(metric).copied();
        let rival = self.rival.as_ref().map(|metrics| metrics.get(metric).copied().filter(|v| !v.is_nan()));
        // Comparisons with NaN are false: what is not a number never passes.
        let holds = match (found, *needed, rival) {
            (None, _, _) => false,
            (Some(found), Needed::AtLeast(value), _) => found >= value,
            (Some(found), Needed::AtMost(value), _) => found <= value,
            (Some(found), Needed::AboveRival(_) | Needed::BelowRival(_), None) => !found.is_nan(),
            // A rival without the metric cannot be compared with.
            (Some(_), Needed::AboveRival(_) | Needed::BelowRival(_), Some(None)) => false,
            (Some(found), Needed::AboveRival(margin), Some(Some(rival))) => found > rival && found >= rival + margin,
            (Some(found), Needed::BelowRival(margin), Some(Some(rival))) => found < rival && found <= rival - margin,
        };
        (!holds).then(|| GateFailure { metric: metric.clone(), found, needed: *needed, rival: rival.flatten() })
    }
}

/// A requirement that does not hold.
#[derive(Debug, Clone, PartialEq)]
pub struct GateFailure {
    /// The metric.
    pub metric: String,
    /// Its value; `None` when the version has no such metric.
    pub found: Option<f64>,
    /// What it must be.
    pub needed: Needed,
    /// The value of the version now in the stage, where the requirement compares with it and there is one.
    pub rival: Option<f64>,
}

impl fmt::Display for GateFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metric `{}`: found ", self.metric)?;
        match self.found {
            Some(found) => write!(f, "{found}")?,
            None => f.write_str("nothing")?,
        }
        match (self.needed, self.rival) {
            (Needed::AtLeast(value), _) => write!(f, ", needed at least {value}"),
            (Needed::AtMost(value), _) => write!(f, ", needed at most {value}"),
            (Needed::AboveRival(0.0), Some(rival)) => write!(f, ", needed more than {rival} (the version now in the stage)"),
            (Needed::BelowRival(0.0), Some(rival)) => write!(f, ", needed less than {rival} (the version now in the stage)"),
            (Needed::AboveRival(margin), Some(rival)) => {
                write!(f, ", needed at least {} (the {rival} of the version now in the stage plus {margin})", rival + margin)
            }
            (Needed::BelowRival(margin), Some(rival)) => {
                write!(f, ", needed at most {} (the {rival} of the version now in the stage minus {margin})", rival - margin)
            }
            (_, None) => f.write_str(", needed a number that can be compared with the version now in the stage"),
        }
    }
}

pub(crate) fn list(failures: &[GateFailure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_missing_metric_or_nan_holds_nothing() {
        let gate =
            Gate::new([("nan", f64::NAN)]).at_least("nan", 0.0).at_most("nan", 0.0).by("nan", 0.0).at_least("missing", 0.0);
        assert_eq!(gate.check().len(), 4);
        assert_eq!(gate.check()[3].to_string(), "metric `missing`: found nothing, needed at least 0");
    }

    #[test]
    fn without_a_rival_there_is_nobody_to_beat() {
        assert!(Gate::new([("auc", 0.1)]).by("auc", 0.5).below_by("auc", 0.5).check().is_empty());
    }

    #[test]
    fn a_tie_is_not_better() {
        let gate = Gate::new([("auc", 0.7)]).better_than([("auc", 0.7)]).by("auc", 0.0);
        assert_eq!(gate.check()[0].to_string(), "metric `auc`: found 0.7, needed more than 0.7 (the version now in the stage)");
        assert_eq!(Gate::new([("loss", 0.7)]).better_than([("loss", 0.7)]).below_by("loss", 0.0).check().len(), 1);
    }

    #[test]
    fn a_rival_without_the_metric_cannot_be_beaten() {
        assert_eq!(Gate::new([("auc", 0.7)]).better_than([("f1", 0.1)]).by("auc", 0.0).check().len(), 1);
    }

    proptest! {
        #[test]
        fn above_and_below_mirror_each_other(found in -1e6..1e6_f64, rival in -1e6..1e6_f64, margin in 0.0..10.0_f64) {
            let above = Gate::new([("m", found)]).better_than([("m", rival)]).by("m", margin).check().is_empty();
            let below = Gate::new([("m", -found)]).better_than([("m", -rival)]).below_by("m", margin).check().is_empty();
            prop_assert_eq!(above, below);
            prop_assert!(!above || found > rival);
        }
    }
}
