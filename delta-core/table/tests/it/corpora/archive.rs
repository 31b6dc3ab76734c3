//! Archives of tables, unpacked into a folder that goes away.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use boathouse_delta_table::DeltaTable;
use boathouse_storage::{Location, Storage, seeded_env};

/// An archive, unpacked.
pub(crate) struct Archive {
    folder: tempfile::TempDir,
    group: String,
}

fn packed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora")
}

impl Archive {
    /// The names of all archives.
    pub(crate) fn names() -> Vec<String> {
        let entries = std::fs::read_dir(packed()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        entries.filter_map(|name| name.strip_suffix(".tar.zst").map(str::to_owned)).collect()
    }

    /// Unpacks one.
    pub(crate) fn unpack(group: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let packed = std::fs::File::open(packed().join(format!("{group}.tar.zst"))).unwrap();
        let bytes = zstd::stream::read::Decoder::new(BufReader::new(packed)).unwrap();
        tar::Archive::new(bytes).unpack(folder.path()).unwrap();
        Self { folder, group: group.to_owned() }
    }

    /// The tables in it, as `tables.jsonl` names them, sorted.
    pub(crate) fn tables(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join(&self.group)).unwrap();
        let mut tables: Vec<String> =
            entries.map(|entry| format!("{}/{}", self.group, entry.unwrap().file_name().into_string().unwrap())).collect();
        tables.sort();
        tables
    }

    /// A handle on a table.
    pub(crate) fn open(&self, table: &str) -> DeltaTable {
        let folder = self.folder.path().join(table).join("delta");
        let storage = Storage::open(&Location::from_path(&folder).unwrap()).unwrap();
        DeltaTable::at(storage, seeded_env(3))
    }

    /// A file that is text.
    pub(crate) fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).unwrap()
    }

    /// The Parquet files that hold the rows of the newest version; nothing when there are none.
    pub(crate) fn expected(&self, table: &str) -> Option<Vec<PathBuf>> {
        let folder = self.folder.path().join(table).join("expected");
        let entries = std::fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path());
        let is_parquet = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.ends_with(".parquet") && !name.starts_with('.')
        };
        Some(entries.filter(is_parquet).collect())
    }
}
