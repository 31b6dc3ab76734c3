//! Which files are put together.

use std::collections::BTreeMap;

use boathouse_delta_table::DataFile;

use super::bin::Bin;

/// What decides about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) bytes: u64,
    /// Its rows, deleted ones too; `None` when nobody knows.
    pub(super) rows: Option<u64>,
    pub(super) deleted: u64,
}

impl Weight {
    pub(super) fn of(file: &DataFile) -> Self {
        let deleted = file.deletion_vector().map_or(0, |vector| vector.cardinality);
        let rows = file.row_count().map(|live| live.saturating_add(deleted));
        Self { bytes: file.size_bytes(), rows, deleted }
    }

    /// About the bytes of the rows that are not deleted.
    fn live_bytes(self) -> u64 {
        match self.rows {
            Some(rows) if rows > 0 => {
                let live = u128::from(self.bytes) * u128::from(rows.saturating_sub(self.deleted)) / u128::from(rows);
                u64::try_from(live).unwrap_or(self.bytes)
            }
            _ => self.bytes,
        }
    }

    /// Whether too many of its rows are deleted, or nobody knows how many.
    fn is_holed(self, max_deleted_percent: u8) -> bool {
        match self.rows {
            _ if self.deleted == 0 => false,
            None => true,
            Some(rows) => u128::from(self.deleted) * 100 > u128::from(rows) * u128::from(max_deleted_percent),
        }
    }
}

/// What a compaction is after.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aim {
    pub(super) target_bytes: u64,
    pub(super) min_bytes: u64,
    pub(super) max_deleted_percent: u8,
}

/// Files by partition, in the order of the log within each.
pub(super) fn by_partition(files: Vec<DataFile>) -> Vec<Vec<DataFile>> {
    let mut partitions: BTreeMap<Vec<Option<String>>, Vec<DataFile>> = BTreeMap::new();
    for file in files {
        let key = file.partition_texts().into_iter().map(|(_, text)| text).collect();
        partitions.entry(key).or_default().push(file);
    }
    partitions.into_values().collect()
}

/// The bins of a partition: small files next to each other, and files with too many holes, each bin for one new file.
pub(super) fn bins(files: &[DataFile], aim: Aim) -> Vec<Bin> {
    let weights: Vec<Weight> = files.iter().map(Weight::of).collect();
    let bin = |bin: Vec<usize>| Bin { files: bin.into_iter().map(|at| files[at].clone()).collect() };
    pack(&weights, aim).into_iter().map(bin).collect()
}

/// Which of these files go together, in their order. A file alone is written again only for its holes.
fn pack(weights: &[Weight], aim: Aim) -> Vec<Vec<usize>> {
    let holed = |at: &usize| weights[*at].is_holed(aim.max_deleted_percent);
    let chosen = (0..weights.len()).filter(|at| weights[*at].bytes < aim.min_bytes || holed(at));
    let (mut bins, mut bin, mut bytes): (Vec<Vec<usize>>, Vec<usize>, u64) = (Vec::new(), Vec::new(), 0);
    for at in chosen {
        let more = weights[at].live_bytes();
        if !bin.is_empty() && bytes.saturating_add(more) > aim.target_bytes {
            bins.push(std::mem::take(&mut bin));
            bytes = 0;
        }
        bin.push(at);
        bytes = bytes.saturating_add(more);
    }
    bins.push(bin);
    bins.retain(|bin| bin.len() > 1 || bin.iter().any(holed));
    bins
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AIM: Aim = Aim { target_bytes: 100, min_bytes: 75, max_deleted_percent: 5 };

    fn whole(bytes: u64) -> Weight {
        Weight { bytes, rows: Some(100), deleted: 0 }
    }

    #[test]
    fn small_neighbours_go_together_and_large_files_stay() {
        let files = [whole(40), whole(90), whole(30), whole(40), whole(20)];
        assert_eq!(pack(&files, AIM), [vec![0, 2], vec![3, 4]]);
        assert_eq!(pack(&[whole(10)], AIM), Vec::<Vec<usize>>::new());
        assert_eq!(pack(&[], AIM), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn a_file_with_many_holes_is_written_again_even_if_it_is_large_and_alone() {
        let holed = |deleted| Weight { bytes: 500, rows: Some(100), deleted };
        assert_eq!(pack(&[holed(5)], AIM), Vec::<Vec<usize>>::new());
        assert_eq!(pack(&[holed(6)], AIM), [vec![0]]);
        assert_eq!(pack(&[Weight { bytes: 500, rows: None, deleted: 1 }], AIM), [vec![0]]);
    }

    #[test]
    fn deleted_rows_take_no_room_in_the_new_file() {
        let mostly_holes = Weight { bytes: 90, rows: Some(100), deleted: 90 };
        assert_eq!(pack(&[mostly_holes, mostly_holes, whole(70)], AIM), [vec![0, 1, 2]]);
    }

    proptest! {
        #[test]
        fn bins_are_in_order_hold_each_file_once_and_fit(sizes in prop::collection::vec((1..150_u64, 0..100_u64), 0..40)) {
            let files: Vec<Weight> = sizes.iter().map(|(bytes, deleted)| Weight { bytes: *bytes, rows: Some(100), deleted: *deleted }).collect();
            let bins = pack(&files, AIM);
            let all: Vec<usize> = bins.iter().flatten().copied().collect();
            prop_assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
            for bin in &bins {
                let live: u64 = bin.iter().map(|at| files[*at].live_bytes()).sum();
                prop_assert!(bin.len() == 1 || live <= AIM.target_bytes);
                prop_assert!(bin.iter().all(|at| files[*at].bytes < 75 || files[*at].deleted > 5));
            }
        }
    }
}
