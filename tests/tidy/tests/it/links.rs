//! What is not linked.

use boathouse_tidy::linked;

fn assert_absent(package: &str, features: &[&str], absent: &[&str]) {
    let linked = linked(package, features);
    for name in &linked {
        let found = absent.iter().any(|prefix| name == prefix || name.starts_with(&format!("{prefix}-")));
        assert!(!found, "{package} links {name}");
    }
}

#[test]
fn base_links_at_most_40_packages_and_no_runtime() {
    let linked = linked("boathouse-base", &[]);
    assert!(linked.len() <= 40, "boathouse-base links {} packages: {linked:?}", linked.len());
    assert_absent("boathouse-base", &["contract", "memory"], &["tokio", "object_store", "serde_json", "async-trait"]);
}

#[test]
fn crates_below_the_engine_do_not_link_it() {
    for package in [
        "boathouse-storage",
        "boathouse-delta-protocol",
        "boathouse-delta-table",
        "boathouse-autoload",
        "boathouse-mlwire",
        "boathouse-mltrack",
        "boathouse-registry",
        "boathouse-serving",
        "boathouse-simulation",
    ] {
        assert_absent(package, &[], &["datafusion", "sqlparser"]);
    }
}

#[test]
fn the_delta_protocol_is_pure() {
    assert_absent("boathouse-delta-protocol", &[], &["tokio", "object_store", "parquet", "futures-util"]);
}

#[test]
fn serving_knows_neither_parquet_nor_a_database() {
    assert_absent("boathouse-serving", &[], &["parquet", "datafusion", "sqlx", "tract"]);
}

#[test]
fn the_online_part_of_the_feature_store_links_no_engine() {
    // `cargo tree` shows default features: the offline part is one, so it is taken off here.
    let text = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "--edges", "normal", "--prefix", "none", "--package", "boathouse-featurestore"])
        .args(["--no-default-features", "--offline"])
        .current_dir(boathouse_tidy::root())
        .output()
        .unwrap();
    assert!(text.status.success(), "{}", String::from_utf8_lossy(&text.stderr));
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("boathouse-base"));
    assert!(!text.contains("datafusion"), "the online part links DataFusion");
}
