//! What happened, in order.

use std::fmt;

use boathouse_storage::Operation;

/// When the simulated world begins, in microseconds since the Unix epoch: 2024-01-01.
pub(crate) const EPOCH_US: i64 = 1_704_067_200_000_000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// An actor began an operation.
    Began { op: usize, what: String },
    /// An operation ended.
    Ended { op: usize, how: String },
    /// A request left its actor.
    Asked { request: u64, operation: Operation, path: String },
    /// The store did what was asked.
    Done { request: u64, outcome: &'static str },
    /// The network lost a request for its sender, and delivers it later.
    Delayed { request: u64 },
    /// The actor got its answer.
    Answered { request: u64 },
    /// The actor's process ended.
    Crashed,
    /// The actor's process began anew.
    Restarted,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began { op, what } => write!(f, "begins op {op}: {what}"),
            Self::Ended { op, how } => write!(f, "ends op {op}: {how}"),
            Self::Asked { request, operation, path } => write!(f, "  #{request} asks: {operation} {path}"),
            Self::Done { request, outcome } => write!(f, "  #{request} is done in the store: {outcome}"),
            Self::Delayed { request } => write!(f, "  #{request} fails for its sender, and will arrive later"),
            Self::Answered { request } => write!(f, "  #{request} is answered"),
            Self::Crashed => f.write_str("CRASHES"),
            Self::Restarted => f.write_str("starts again"),
        }
    }
}

/// Everything that happened in a schedule.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    events: Vec<(u64, usize, Event)>,
}

impl Trace {
    pub(crate) fn push(&mut self, elapsed_us: u64, actor: usize, event: Event) {
        self.events.push((elapsed_us, actor, event));
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|(_, _, event)| event)
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// A fingerprint: two runs with the same one did the same things at the same times.
    ///
    /// **Source**: FNV-1a, 64 bits.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        for event in &self.events {
            // Writing to a hash never fails.
            let _ = fmt::Write::write_fmt(&mut hash, format_args!("{event:?}"));
        }
        hash.0
    }
}

struct Fnv(u64);

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        Ok(())
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at_us, actor, event) in &self.events {
            writeln!(f, "{:>12.3} ms  actor {actor}  {event}", *at_us as f64 / 1000.0)?;
        }
        Ok(())
    }
}
