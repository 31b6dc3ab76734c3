//! Imports go down only.

use boathouse_tidy::packages;

/// Packages by floor. Two packages on one floor do not import each other, but for the pairs in [`SAME_FLOOR`].
const FLOORS: [&[&str]; 7] = [
    &["boathouse-base"],
    &["boathouse-storage", "boathouse-delta-protocol"],
    &["boathouse-delta-table", "boathouse-delta-core", "boathouse-frames", "boathouse-mlwire"],
    &[
        "boathouse-autoload",
        "boathouse-stream",
        "boathouse-featurestore",
        "boathouse-mltrack",
        "boathouse-registry",
        "boathouse-serving",
    ],
    &["boathouse-pipelines"],
    &["boathouse"],
    &["boathouse-benches", "boathouse-fuzzing", "boathouse-interop", "boathouse-simulation", "boathouse-tidy", "xtask"],
];

/// Delta is three crates on one floor's worth of ideas: the engine stands on the tables, and crosses into DataFusion
/// where everyone does.
const SAME_FLOOR: [(&str, &str); 2] =
    [("boathouse-delta-core", "boathouse-delta-table"), ("boathouse-delta-core", "boathouse-frames")];

/// These are handed traits of `base`: they do not know which table format there is.
const BLIND_TO_DELTA: [&str; 6] = [
    "boathouse-autoload",
    "boathouse-stream",
    "boathouse-featurestore",
    "boathouse-mltrack",
    "boathouse-registry",
    "boathouse-serving",
];

fn floor(package: &str) -> usize {
    FLOORS
        .iter()
        .position(|floor| floor.contains(&package))
        .unwrap_or_else(|| panic!("{package} has no floor: give it one in ARCHITECTURE.md and in this file"))
}

#[test]
fn every_package_stands_on_a_floor_and_imports_from_below_it() {
    for package in packages() {
        let own = floor(&package.name);
        for link in &package.links {
            let below = floor(link) < own || SAME_FLOOR.contains(&(package.name.as_str(), link.as_str()));
            assert!(below, "{} (floor {own}) must not import {link} (floor {})", package.name, floor(link));
        }
    }
}

#[test]
fn crates_of_floor_three_do_not_import_delta() {
    for package in packages().iter().filter(|package| BLIND_TO_DELTA.contains(&package.name.as_str())) {
        for link in &package.links {
            assert!(!link.contains("delta"), "{} must not import {link}: it is handed traits of base", package.name);
        }
    }
}

#[test]
fn the_peers_are_never_dependencies() {
    for package in packages() {
        for dependency in &package.dependencies {
            let is_peer = ["deltalake", "delta_kernel", "buoyant_kernel"].iter().any(|peer| dependency.starts_with(peer));
            assert!(!is_peer, "{} depends on {dependency}, which is a peer to test against", package.name);
        }
    }
}
