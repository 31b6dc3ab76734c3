//! What stands in files, and what they are called.

use std::path::Path;

use boathouse_tidy::{files, packages, root};

fn is_text(file: &Path) -> bool {
    let endings = ["rs", "toml", "md", "py", "sh", "sql", "yml", "yaml", "txt"];
    file.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known)) || file.ends_with(".ci/run")
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("read {}: {error}", file.display()))
}

/// The lines of a file that hold a pattern; this file, which must name the patterns, aside.
fn find(pattern: &[&str], endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files().iter().filter(|file| is_text(file) && !file.ends_with("tests/it/files.rs")) {
        if !endings.is_empty() && !file.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known)) {
            continue;
        }
        for (nth, line) in text(file).lines().enumerate() {
            if pattern.iter().any(|pattern| line.contains(pattern)) {
                found.push(format!("{}:{}: {}", file.display(), nth + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn files_are_named_by_what_they_hold() {
    for file in files() {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_rust = file.extension().is_some_and(|ending| ending == "rs");
        let vague = ["utils", "util", "common", "misc", "types", "helpers"].contains(&name.as_str());
        assert!(!(is_rust && vague), "{}: give the thing its name", file.display());
    }
}

#[test]
fn nothing_is_left_to_do_in_the_code() {
    let left = find(&["todo!(", "unimplemented!(", "#[ignore"], &["rs"]);
    assert!(left.is_empty(), "{}", left.join("\n"));
}

#[test]
fn nothing_names_a_machine_or_a_registry() {
    let named = find(&["/work/", "/root/", "crates.io", "pypi.org", "files.pythonhosted", "registry.npmjs", "deb.debian"], &[]);
    assert!(named.is_empty(), "{}", named.join("\n"));
}

#[test]
fn every_package_inherits_the_lints_and_the_licence() {
    for package in packages() {
        let manifest = std::fs::read_to_string(&package.manifest).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{} does not inherit the lints", package.name);
        assert!(manifest.contains("license.workspace = true"), "{} does not inherit the licence", package.name);
        assert!(manifest.contains("rust-version.workspace = true"), "{} does not inherit the rust-version", package.name);
    }
}

#[test]
fn every_crate_page_says_what_it_is() {
    for package in packages().iter().filter(|package| package.name.starts_with("boathouse")) {
        let folder = package.manifest.parent().unwrap();
        let page = ["src/lib.rs", "src/main.rs"].iter().find_map(|file| std::fs::read_to_string(folder.join(file)).ok());
        let page = page.unwrap_or_else(|| panic!("{} has neither a library nor a program", package.name));
        assert!(page.starts_with("//!"), "{} has no crate page", package.name);
    }
}

#[test]
fn architecture_names_every_package() {
    let architecture = text(Path::new("ARCHITECTURE.md"));
    for package in packages() {
        let folder = package.manifest.parent().unwrap().strip_prefix(root()).unwrap().display().to_string();
        let named = architecture.contains(&package.name) || architecture.contains(&format!("`{folder}`"));
        assert!(named, "ARCHITECTURE.md does not name {} ({folder})", package.name);
    }
}
