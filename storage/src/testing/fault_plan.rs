//! Which request fails, and how: pure decisions of a [`FaultStore`](super::FaultStore).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use boathouse_base::{Env, ManualClock};
use object_store::path::Path;

use crate::Operation;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing was done.
    FailBefore,
    /// It is done, and fails: the caller cannot know.
    FailAfter,
    /// It is done, the reply is lost, and the client asks again by itself: the caller gets the second reply, such as
    /// `AlreadyExists` for an object that it created.
    LostReply,
    /// The disk is full: nothing was done.
    DiskFull,
    /// Permissions: nothing was done.
    Denied,
    /// It takes that long on the clock of [`FaultStore::with_env`](super::FaultStore::with_env), then goes on.
    Delay(Duration),
    /// The process ends just before the request: it and every later one fails until
    /// [`revive`](super::FaultStore::revive).
    CrashBefore,
    /// The process ends just after the request was done.
    CrashAfter,
}

type PathTest = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// One planned fault: what happens, to which requests, and how often.
///
/// Without further words: to the next request of any kind, once.
#[derive(Clone)]
#[must_use]
pub struct FaultRule {
    fault: Fault,
    operations: Vec<Operation>,
    path: Option<PathTest>,
    skip: u64,
    times: u64,
}

impl FaultRule {
    /// The next request.
    pub fn new(fault: Fault) -> Self {
        Self { fault, operations: Vec::new(), path: None, skip: 0, times: 1 }
    }

    /// Only requests of this kind; call it again for more kinds.
    pub fn on(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }

    /// Only requests that change the store.
    pub fn on_writes(mut self) -> Self {
        self.operations.extend(Operation::ALL.into_iter().filter(|operation| operation.is_write()));
        self
    }

    /// Only requests for paths (from the root of the store) for which this holds.
    pub fn on_path(mut self, matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.path = Some(Arc::new(matches));
        self
    }

    /// Only requests for paths that contain this text.
    pub fn on_path_containing(self, text: &str) -> Self {
        let text = text.to_owned();
        self.on_path(move |path| path.contains(&text))
    }

    /// The first `requests` of those pass.
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// So many of the following ones fail.
    pub fn times(mut self, requests: u64) -> Self {
        self.times = requests;
        self
    }

    /// All of the following ones fail.
    pub fn always(self) -> Self {
        self.times(u64::MAX)
    }

    fn matches(&self, operation: Operation, path: &str) -> bool {
        (self.operations.is_empty() || self.operations.contains(&operation))
            && self.path.as_ref().is_none_or(|matches| matches(path))
    }
}

impl fmt::Debug for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultRule")
            .field("fault", &self.fault)
            .field("operations", &self.operations)
            .field("skip", &self.skip)
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}

/// Faults by chance: for each one, in how many of 1,000 requests it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomFaults {
    /// [`Fault::FailBefore`].
    pub fail_before_per_mille: u64,
    /// [`Fault::FailAfter`].
    pub fail_after_per_mille: u64,
    /// [`Fault::LostReply`].
    pub lost_reply_per_mille: u64,
    /// [`Fault::Delay`], uniform up to `max_delay`.
    pub delay_per_mille: u64,
    /// The longest delay.
    pub max_delay: Duration,
}

impl Default for RandomFaults {
    /// Every tenth request fails in one of three ways.
    fn default() -> Self {
        Self {
            fail_before_per_mille: 40,
            fail_after_per_mille: 30,
            lost_reply_per_mille: 30,
            delay_per_mille: 0,
            max_delay: Duration::ZERO,
        }
    }
}

/// A fault that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InjectedFault {
    /// The number of the request, from 0.
    pub request: u64,
    /// Its kind.
    pub operation: Operation,
    /// Its path, from the root of the store.
    pub path: String,
    /// What happened to it.
    pub fault: Fault,
}

/// What to do with one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) delay: Duration,
    pub(super) fault: Option<Fault>,
}

/// The plan and what has come of it.
#[derive(Default)]
pub(super) struct Plan {
    rules: Vec<FaultRule>,
    random: Option<(Env, RandomFaults)>,
    pub(super) crashed: bool,
    pub(super) requests: u64,
    pub(super) writes: u64,
    pub(super) injected: Vec<InjectedFault>,
}

impl Plan {
    pub(super) fn add(&mut self, rule: FaultRule) {
        self.rules.push(rule);
    }

    pub(super) fn set_random(&mut self, seed: u64, faults: RandomFaults) {
        self.random = Some((Env::new(ManualClock::default(), seed), faults));
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
        self.random = None;
    }

    /// Decides about one request; `None` when the process has crashed.
    ///
    /// Delays add up; of the other rules the first one that is due wins.
    pub(super) fn decide(&mut self, operation: Operation, path: &Path) -> Option<Decision> {
        if self.crashed {
            return None;
        }
        let request = self.requests;
        self.requests += 1;
        self.writes += u64::from(operation.is_write());
        let mut decision = Decision::default();
        let mut happened = Vec::new();
        for rule in self.rules.iter_mut().filter(|rule| rule.matches(operation, path.as_ref())) {
            if decision.fault.is_some() && !matches!(rule.fault, Fault::Delay(_)) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 {
                rule.times -= 1;
                happened.push(rule.fault);
                match rule.fault {
                    Fault::Delay(delay) => decision.delay += delay,
                    fault => decision.fault = Some(fault),
                }
            }
        }
        if decision.fault.is_none()
            && let Some(fault) = self.random.as_ref().and_then(|(env, faults)| draw(env, faults))
        {
            happened.push(fault);
            match fault {
                Fault::Delay(delay) => decision.delay += delay,
                fault => decision.fault = Some(fault),
            }
        }
        self.crashed |= matches!(decision.fault, Some(Fault::CrashBefore | Fault::CrashAfter));
        let path = path.to_string();
        self.injected.extend(happened.into_iter().map(|fault| InjectedFault { request, operation, path: path.clone(), fault }));
        Some(decision)
    }
}

/// One draw a request, so that a seed gives the same faults for the same requests.
fn draw(env: &Env, faults: &RandomFaults) -> Option<Fault> {
    let (roll, share) = (env.random_below(1000), env.random_below(1001));
    let delay = faults.max_delay.mul_f64(share as f64 / 1000.0);
    let mut below = 0;
    let table = [
        (faults.fail_before_per_mille, Fault::FailBefore),
        (faults.fail_after_per_mille, Fault::FailAfter),
        (faults.lost_reply_per_mille, Fault::LostReply),
        (faults.delay_per_mille, Fault::Delay(delay)),
    ];
    table.into_iter().find_map(|(per_mille, fault)| {
        below += per_mille;
        (roll < below).then_some(fault)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let run = |seed| {
            let mut plan = Plan::default();
            plan.set_random(seed, RandomFaults::default());
            for i in 0..500 {
                plan.decide(Operation::Put, &Path::from(format!("{i}")));
            }
            plan.injected
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
        let hits = run(5).len();
        assert!((20..90).contains(&hits), "a tenth of 500 was expected, {hits} happened");
    }

    #[test]
    fn a_rule_waits_for_its_request_and_is_used_up() {
        let mut plan = Plan::default();
        plan.add(FaultRule::new(Fault::DiskFull).on(Operation::Put).on_path_containing("log").skip(1).times(2));
        let mut faults = |operation, path: &str| plan.decide(operation, &Path::from(path)).unwrap().fault;
        assert_eq!(faults(Operation::Put, "log/0"), None, "skipped");
        assert_eq!(faults(Operation::Get, "log/1"), None, "another operation");
        assert_eq!(faults(Operation::Put, "data/1"), None, "another path");
        assert_eq!(faults(Operation::Put, "log/1"), Some(Fault::DiskFull));
        assert_eq!(faults(Operation::Put, "log/1"), Some(Fault::DiskFull));
        assert_eq!(faults(Operation::Put, "log/1"), None, "used up");
    }
}
