//! Names that vacuum leaves alone.

use boathouse_delta_protocol::log_path::LOG_FOLDER;

/// Folders that are hidden by their name, and belong to the table all the same.
const OURS: [&str; 2] = ["_change_data", "_delta_index"];

/// Whether a path is none of the table's: its log, and what other programs hide.
///
/// A name that starts with `_` or `.` hides a file or folder and all below it, but for change data, indexes, and folders
/// of partitions by such a column.
///
/// **Source**: the reference implementation, `VACUUM`.
pub(super) fn is_hidden(path: &str, partition_columns: &[String]) -> bool {
    path.split('/').any(|part| {
        let partition = partition_columns.iter().any(|c| part.strip_prefix(c.as_str()).is_some_and(|rest| rest.starts_with('=')));
        let ours = OURS.iter().any(|name| part.starts_with(name));
        part == LOG_FOLDER || (part.starts_with(['_', '.']) && !partition && !ours)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_and_hidden_names_are_left_alone_other_names_are_ours() {
        let columns = ["_part".to_owned(), "day".to_owned()];
        for path in [
            "_delta_log/0.json",
            "_spark_metadata/0",
            ".hidden",
            "a/.tmp/b.parquet",
            "_part2=1/f",
            "day=1/_SUCCESS",
            "_delta_log",
        ] {
            assert!(is_hidden(path, &columns), "{path}");
        }
        for path in [
            "f.parquet",
            "_part=1/f",
            "_change_data/cdc-1",
            "_change_data/day=1/f",
            "_delta_index/x",
            "day=.x/f",
            "deletion_vector_1.bin",
        ] {
            assert!(!is_hidden(path, &columns), "{path}");
        }
    }
}
