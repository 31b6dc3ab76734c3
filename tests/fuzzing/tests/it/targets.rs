//! The targets here and those of libFuzzer are the same ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use boathouse_fuzzing::TARGETS;

pub(crate) fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("read {}: {error}", folder.display()));
    let name = |entry: std::fs::DirEntry| entry.path().file_stem().unwrap().to_string_lossy().into_owned();
    entries.map(|entry| name(entry.unwrap())).filter(|name| name != "README").collect()
}

#[test]
fn every_target_has_a_program_and_seeds() {
    let expected: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(expected.len(), TARGETS.len());
    assert_eq!(names_in(&fuzz_folder().join("fuzz_targets")), expected);
    assert_eq!(names_in(&fuzz_folder().join("seeds")), expected);
    let manifest = std::fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    for target in TARGETS {
        let name = target.name;
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
            "fuzz/Cargo.toml lacks {name}"
        );
        let program = std::fs::read_to_string(fuzz_folder().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("\"{name}\"")), "fuzz_targets/{name}.rs runs another target");
    }
}
