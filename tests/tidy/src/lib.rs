//! Reads the workspace and fails where it is not built as ARCHITECTURE.md says.
//!
//! The checks are tests; this library only finds things.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The root of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// One of our packages, as cargo knows it.
#[derive(Debug, Clone)]
pub struct Package {
    /// `boathouse-storage`
    pub name: String,
    /// Its Cargo.toml.
    pub manifest: PathBuf,
    /// Our packages that it links, development dependencies aside.
    pub links: Vec<String>,
    /// Every package that it names, development dependencies aside.
    pub dependencies: Vec<String>,
}

/// Our packages, by name.
///
/// # Panics
/// When cargo does not answer: a check that cannot look must not pass.
#[expect(clippy::panic, reason = "test support: a check that cannot look must fail")]
pub fn packages() -> Vec<Package> {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = match serde_json::from_str(&text) {
        Ok(metadata) => metadata,
        Err(error) => panic!("read the answer of cargo metadata: {error}"),
    };
    let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = metadata["packages"].as_array().cloned().unwrap_or_default();
    let ours: Vec<String> = all.iter().map(|package| text_of(&package["name"])).collect();
    let mut packages: Vec<Package> = all
        .iter()
        .map(|package| {
            let dependencies: Vec<String> = package["dependencies"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
                .map(|dependency| text_of(&dependency["name"]))
                .collect();
            Package {
                name: text_of(&package["name"]),
                manifest: PathBuf::from(text_of(&package["manifest_path"])),
                links: dependencies.iter().filter(|name| ours.contains(name)).cloned().collect(),
                dependencies,
            }
        })
        .collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(packages.len() > 10, "cargo metadata names only {} packages", packages.len());
    packages
}

/// The names of all packages that `package` links with its default features and `features`, itself included.
pub fn linked(package: &str, features: &[&str]) -> Vec<String> {
    let features = features.join(",");
    let mut args = vec!["tree", "--edges", "normal", "--prefix", "none", "--package", package];
    if !features.is_empty() {
        args.extend(["--features", &features]);
    }
    let mut names: Vec<String> =
        cargo(&args).lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    assert!(names.iter().any(|name| name == package), "cargo tree does not show {package}");
    names
}

/// Files that git tracks or would track, below the root.
pub fn files() -> Vec<PathBuf> {
    let text = run(Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]));
    text.lines().map(PathBuf::from).filter(|file| root().join(file).is_file()).collect()
}

fn cargo(args: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo).args(args).arg("--offline"))
}

#[expect(clippy::panic, reason = "test support: a check that cannot look must fail")]
fn run(command: &mut Command) -> String {
    match command.current_dir(root()).output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => panic!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("{command:?}: {error}"),
    }
}
