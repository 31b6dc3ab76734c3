//! Clustered tables: which files are clustered anew, and how it is written down.
//!
//! A *cube* is what one run of clustering wrote. Its files have its id in their tags, and the columns that it is ordered by:
//!
//! ```text
//!   files without a cube ──┐
//!   files of small cubes ──┴─▶ a new cube          files of large cubes, and those of other columns: as they are
//! ```
//! The tags are those of Spark, so that both go on with each other's cubes.

use std::collections::BTreeMap;

use boathouse_delta_protocol::action::{Add, StringMap};
use boathouse_delta_protocol::features;
use boathouse_delta_table::{DataFile, Snapshot};

use super::bin::Bin;
use super::column::{OrderColumn, column_at};
use crate::engine::error::Result;

/// Whose clustering it is, as files say: Spark's, which this one continues.
const PROVIDER: &str = "liquid";
/// The tag with the id of the cube.
const CUBE_ID: &str = "ZCUBE_ID";
/// The tag with the columns, a JSON list.
const CUBE_COLUMNS: &str = "ZCUBE_ZORDER_BY";

/// Whether the table may be clustered at all; then neither partitions nor Z-order go along.
pub(super) fn is_clustered(snapshot: &Snapshot) -> bool {
    features::has(snapshot.protocol(), "clustering")
}

/// The columns that a table is clustered by; none when it is not, or not any more.
///
/// **Errors**: `Corrupt` when the log's list of them is none.
pub(super) fn columns_of(snapshot: &Snapshot) -> Result<Vec<OrderColumn>> {
    Ok(snapshot.clustering_columns()?.iter().filter_map(|path| column_at(snapshot, path)).collect())
}

/// The names of columns, as tags and the history have them.
pub(super) fn names(columns: &[OrderColumn]) -> Vec<String> {
    columns.iter().map(OrderColumn::text).collect()
}

/// Says of new files that they are a cube.
pub(super) fn tag(adds: &mut [Add], cube: &str, columns: &[OrderColumn]) {
    let columns = serde_json::Value::from(names(columns)).to_string();
    for add in adds {
        let tags = add.tags.get_or_insert_with(StringMap::new);
        tags.insert(CUBE_ID, Some(cube));
        tags.insert(CUBE_COLUMNS, Some(&columns));
        add.clustering_provider = Some(PROVIDER.to_owned());
    }
}

/// Which files a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Files without a cube, and small cubes.
    New,
    /// Files that are ordered by other columns, or clustered by others, as well.
    Full,
}

/// The bins of a run, each of which becomes a cube.
pub(super) fn bins(files: &[DataFile], columns: &[OrderColumn], extent: Extent, min_bytes: u64, most_bytes: u64) -> Vec<Bin> {
    let wanted = names(columns);
    let facts: Vec<Fact> = files.iter().map(|file| Fact::of(file.add(), &wanted)).collect();
    let chosen = choose(&facts, extent, min_bytes);
    let (mut bins, mut bin, mut bytes) = (Vec::new(), Vec::new(), 0_u64);
    for at in chosen {
        let more = facts[at].bytes;
        if !bin.is_empty() && bytes.saturating_add(more) > most_bytes.max(min_bytes) {
            bins.push(Bin { files: std::mem::take(&mut bin) });
            bytes = 0;
        }
        bin.push(files[at].clone());
        bytes = bytes.saturating_add(more);
    }
    if !bin.is_empty() {
        bins.push(Bin { files: bin });
    }
    bins
}

/// What decides about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fact {
    bytes: u64,
    /// The cube, when it is one of these columns.
    cube: Option<String>,
    /// It belongs to another clustering.
    foreign: bool,
}

impl Fact {
    fn of(add: &Add, wanted: &[String]) -> Self {
        let tag = |key: &str| add.tags.as_ref().and_then(|tags| tags.get(key)).flatten();
        let columns: Option<Vec<String>> = tag(CUBE_COLUMNS).and_then(|text| serde_json::from_str(text).ok());
        let cube = tag(CUBE_ID).zip(columns);
        let others = add.clustering_provider.as_deref().is_some_and(|provider| provider != PROVIDER);
        let foreign = others || cube.as_ref().is_some_and(|(_, columns)| columns != wanted);
        Self { bytes: add.size, cube: cube.filter(|_| !foreign).map(|(id, _)| id.to_owned()), foreign }
    }
}

/// The files that become new cubes: those without one first, then cube by cube.
fn choose(files: &[Fact], extent: Extent, min_bytes: u64) -> Vec<usize> {
    let (mut loose, mut foreign) = (Vec::new(), Vec::new());
    let mut cubes: BTreeMap<&str, (u64, Vec<usize>)> = BTreeMap::new();
    for (at, file) in files.iter().enumerate() {
        match &file.cube {
            _ if file.foreign => foreign.push(at),
            None => loose.push(at),
            Some(cube) => {
                let (bytes, members) = cubes.entry(cube).or_default();
                *bytes = bytes.saturating_add(file.bytes);
                members.push(at);
            }
        }
    }
    if extent == Extent::New {
        foreign.clear();
    }
    let small: Vec<Vec<usize>> =
        cubes.into_values().filter(|(bytes, _)| *bytes < min_bytes).map(|(_, members)| members).collect();
    // A cube alone is as good as it can be.
    if loose.is_empty() && foreign.is_empty() && small.len() < 2 {
        return Vec::new();
    }
    loose.into_iter().chain(small.into_iter().flatten()).chain(foreign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: u64, cube: Option<&str>) -> Fact {
        Fact { bytes, cube: cube.map(str::to_owned), foreign: false }
    }

    fn foreign(bytes: u64) -> Fact {
        Fact { bytes, cube: None, foreign: true }
    }

    #[test]
    fn new_files_and_small_cubes_are_clustered_and_large_cubes_stay() {
        let files = [file(60, Some("large")), file(10, None), file(5, Some("small")), file(60, Some("large")), foreign(7)];
        assert_eq!(choose(&files, Extent::New, 100), [1, 2]);
        assert_eq!(choose(&files, Extent::Full, 100), [1, 2, 4]);
    }

    #[test]
    fn one_small_cube_alone_stays_and_two_become_one() {
        let one = [file(5, Some("a")), file(5, Some("a"))];
        assert_eq!(choose(&one, Extent::New, 100), Vec::<usize>::new());
        assert_eq!(choose(&one, Extent::Full, 100), Vec::<usize>::new());
        let two = [file(5, Some("b")), file(5, Some("a"))];
        assert_eq!(choose(&two, Extent::New, 100), [1, 0]);
    }

    #[test]
    fn what_another_clustering_made_or_other_columns_is_foreign() {
        let wanted = ["a".to_owned()];
        let mut adds = [Add { size: 3, ..Add::default() }];
        assert_eq!(Fact::of(&adds[0], &wanted), file(3, None));
        let column = OrderColumn { path: wanted.to_vec(), data_type: datafusion::arrow::datatypes::DataType::Int64 };
        tag(&mut adds, "one", &[column]);
        assert_eq!(Fact::of(&adds[0], &wanted), file(3, Some("one")));
        assert!(Fact::of(&adds[0], &["b".to_owned()]).foreign);
        adds[0].clustering_provider = Some("mine".to_owned());
        assert!(Fact::of(&adds[0], &wanted).foreign);
    }
}
