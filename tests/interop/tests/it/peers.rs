//! The peers are there, at the versions that are pinned.

use boathouse_interop::Peers;

#[test]
fn peers_have_the_pinned_versions_and_duckdb_loads_delta() {
    let versions: serde_json::Value = serde_json::from_str(&Peers::from_env().run("versions.py", [""; 0])).unwrap();
    let pinned = include_str!("../../requirements.txt");
    for (name, version) in versions.as_object().unwrap() {
        assert!(pinned.contains(&format!("{name}=={}\n", version.as_str().unwrap())), "{name} {version} is not pinned");
    }
}
