//! The pass over labels and rows of one key.

use super::buckets::{Buckets, Event, Place, Probe};

/// Which rows are not too late and not too old.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    /// Whether a row of the label's own time counts.
    pub(crate) at_same_time: bool,
    /// The greatest age, in the unit of the times.
    pub(crate) max_age: Option<i64>,
}

/// The match of each of `rows` labels.
pub(crate) fn latest(probes: &Buckets<Probe>, events: &Buckets<Event>, rows: usize, rule: Rule) -> Vec<Option<Place>> {
    let mut matches = vec![None; rows];
    for key in 0..probes.keys() {
        let of_key = events.of(key);
        let mut passed = 0;
        for probe in probes.of(key) {
            let holds = |event: &Event| if rule.at_same_time { event.at <= probe.at } else { event.at < probe.at };
            while of_key.get(passed).is_some_and(holds) {
                passed += 1;
            }
            let Some(event) = passed.checked_sub(1).map(|last| &of_key[last]) else { continue };
            // An age that does not fit is older than any that is allowed.
            let young = |most: i64| probe.at.checked_sub(event.at).is_some_and(|age| age <= most);
            if rule.max_age.is_none_or(young) {
                matches[probe.row as usize] = Some(event.place);
            }
        }
    }
    matches
}
