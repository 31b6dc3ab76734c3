//! Which offsets the next epoch reads: a function of what was read, what is there, and the options.

use std::time::Duration;

use super::error::{DataLossReason, KafkaError};
use super::offsets::KafkaOffsets;
use super::options::OnDataLoss;

/// What the brokers hold of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// The first offset that is kept.
    pub(crate) earliest: i64,
    /// One behind the last.
    pub(crate) latest: i64,
}

/// Offsets of a partition: from `start` up to and not including `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OffsetRange {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

impl OffsetRange {
    pub(crate) fn len(&self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.start)).unwrap_or(0)
    }
}

/// From where the stream is to the end of every partition. A partition that the position does not know is new and begins at its earliest
/// offset. Partitions come in the order of their topics and numbers.
pub(crate) fn ranges(position: &KafkaOffsets, held: &[Held], on_loss: OnDataLoss) -> Result<Vec<OffsetRange>, KafkaError> {
    let is_held = |topic: &str, partition: i32| held.iter().any(|held| held.topic == topic && held.partition == partition);
    if let Some((topic, partition, offset)) = position.iter().find(|(topic, partition, _)| !is_held(topic, *partition)) {
        on_loss.refuse(topic, partition, offset, DataLossReason::PartitionGone)?;
    }
    let mut ranges = held.iter().map(|held| range(position, held, on_loss)).collect::<Result<Vec<_>, _>>()?;
    ranges.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(ranges)
}

fn range(position: &KafkaOffsets, held: &Held, on_loss: OnDataLoss) -> Result<OffsetRange, KafkaError> {
    let mut start = position.get(&held.topic, held.partition).unwrap_or(held.earliest);
    if start < held.earliest {
        on_loss.refuse(&held.topic, held.partition, start, DataLossReason::AgedOut { earliest: held.earliest })?;
        start = held.earliest;
    }
    if start > held.latest {
        on_loss.refuse(&held.topic, held.partition, start, DataLossReason::BeyondEnd { latest: held.latest })?;
        start = held.latest;
    }
    Ok(OffsetRange { topic: held.topic.clone(), partition: held.partition, start, end: held.latest })
}

/// Cuts ranges where the run ends. What was read behind an end stays read.
pub(crate) fn until(mut ranges: Vec<OffsetRange>, ending: &KafkaOffsets) -> Vec<OffsetRange> {
    for range in &mut ranges {
        if let Some(end) = ending.get(&range.topic, range.partition).filter(|end| *end >= 0) {
            range.end = range.end.min(end).max(range.start);
        }
    }
    ranges
}

/// Whether an epoch is made of what waits, or whether it waits for more.
///
/// **Source**: Spark's `minOffsetsPerTrigger` and `maxTriggerDelay`.
pub(crate) fn is_due(waiting: u64, least: Option<u64>, waited: Duration, delay: Duration) -> bool {
    least.is_none_or(|least| waiting >= least) || waited >= delay
}

/// At most about `most` offsets: each partition gives its share by what waits in it, and at least one if it has one. Tells also whether
/// something is left.
///
/// **Source**: Spark's `maxOffsetsPerTrigger`.
pub(crate) fn limited(mut ranges: Vec<OffsetRange>, most: Option<u64>) -> (Vec<OffsetRange>, bool) {
    let all: u128 = ranges.iter().map(|range| u128::from(range.len())).sum();
    let Some(most) = most.map(u128::from).filter(|most| *most < all) else { return (ranges, false) };
    let mut is_cut = false;
    for range in ranges.iter_mut().filter(|range| range.len() > 0) {
        let share = (most * u128::from(range.len()) / all).max(1);
        let end = range.start.saturating_add(i64::try_from(share).unwrap_or(i64::MAX)).min(range.end);
        is_cut |= end < range.end;
        range.end = end;
    }
    (ranges, is_cut)
}

/// The ends of ranges as a position.
pub(crate) fn ends(ranges: &[OffsetRange]) -> KafkaOffsets {
    let mut offsets = KafkaOffsets::default();
    for range in ranges {
        offsets.set(&range.topic, range.partition, range.end);
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(partition: i32, earliest: i64, latest: i64) -> Held {
        Held { topic: "t".to_owned(), partition, earliest, latest }
    }

    fn at(text: &str) -> KafkaOffsets {
        KafkaOffsets::position(text).unwrap()
    }

    fn reason(result: Result<Vec<OffsetRange>, KafkaError>) -> DataLossReason {
        match result {
            Err(KafkaError::DataLoss { reason, .. }) => reason,
            other => panic!("rows are lost, and the plan is {other:?}"),
        }
    }

    #[test]
    fn a_new_partition_begins_at_its_earliest_offset() {
        let ranges = ranges(&at(r#"{"t":{"0":5}}"#), &[held(1, 3, 9), held(0, 0, 7)], OnDataLoss::Fail).unwrap();
        assert_eq!(ranges.iter().map(|r| (r.partition, r.start, r.end)).collect::<Vec<_>>(), [(0, 5, 7), (1, 3, 9)]);
        assert_eq!(ends(&ranges).to_string(), r#"{"t":{"0":7,"1":9}}"#);
    }

    #[test]
    fn lost_rows_are_named_and_passed_over_when_that_is_allowed() {
        let position = at(r#"{"t":{"0":5}}"#);
        assert_eq!(reason(ranges(&position, &[], OnDataLoss::Fail)), DataLossReason::PartitionGone);
        assert_eq!(reason(ranges(&position, &[held(0, 6, 9)], OnDataLoss::Fail)), DataLossReason::AgedOut { earliest: 6 });
        assert_eq!(reason(ranges(&position, &[held(0, 0, 4)], OnDataLoss::Fail)), DataLossReason::BeyondEnd { latest: 4 });
        let spans =
            |held| ranges(&position, &[held], OnDataLoss::Continue).unwrap().iter().map(|r| (r.start, r.end)).collect::<Vec<_>>();
        assert_eq!(spans(held(0, 6, 9)), [(6, 9)]);
        assert_eq!(spans(held(0, 0, 4)), [(4, 4)]);
        assert!(ranges(&position, &[], OnDataLoss::Continue).unwrap().is_empty());
    }

    #[test]
    fn a_run_ends_before_the_offsets_that_are_named() {
        let waiting =
            ranges(&at(r#"{"t":{"0":5,"1":5,"2":5}}"#), &[held(0, 0, 9), held(1, 0, 9), held(2, 0, 9)], OnDataLoss::Fail);
        let ending = KafkaOffsets::parse(r#"{"t":{"0":7,"1":3,"2":-1,"9":1}}"#).unwrap();
        let cut = until(waiting.unwrap(), &ending);
        assert_eq!(cut.iter().map(|range| (range.start, range.end)).collect::<Vec<_>>(), [(5, 7), (5, 5), (5, 9)]);
    }

    #[test]
    fn an_epoch_waits_for_rows_but_not_for_ever() {
        let (short, delay) = (Duration::from_secs(1), Duration::from_secs(60));
        assert!(is_due(1, None, Duration::ZERO, delay));
        assert!(!is_due(9, Some(10), short, delay));
        assert!(is_due(10, Some(10), Duration::ZERO, delay));
        assert!(is_due(1, Some(10), delay, delay));
    }

    #[test]
    fn a_limit_is_shared_by_what_waits() {
        let waiting =
            || ranges(&KafkaOffsets::default(), &[held(0, 0, 90), held(1, 0, 10), held(2, 4, 4)], OnDataLoss::Fail).unwrap();
        let lengths = |most| {
            let (ranges, is_cut) = limited(waiting(), most);
            (ranges.iter().map(OffsetRange::len).collect::<Vec<_>>(), is_cut)
        };
        assert_eq!(lengths(None), (vec![90, 10, 0], false));
        assert_eq!(lengths(Some(100)), (vec![90, 10, 0], false));
        assert_eq!(lengths(Some(50)), (vec![45, 5, 0], true));
        assert_eq!(lengths(Some(1)), (vec![1, 1, 0], true), "every partition that has rows goes on");
        assert_eq!(lengths(Some(0)), (vec![1, 1, 0], true));
    }
}
