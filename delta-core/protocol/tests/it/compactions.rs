//! Compacted commits: reconciled as the protocol's own example, and equal to the commits they stand for.

use boathouse_delta_protocol::action::Action;
use boathouse_delta_protocol::commit;
use boathouse_delta_protocol::compaction::Compaction;

fn add(path: &str) -> String {
    format!(r#"{{"add":{{"path":"{path}","partitionValues":{{}},"size":1,"modificationTime":1,"dataChange":true}}}}"#)
}

fn remove(path: &str) -> String {
    format!(r#"{{"remove":{{"path":"{path}","dataChange":true}}}}"#)
}

fn compact(commits: &[&[String]]) -> Vec<Action> {
    let mut compaction = Compaction::default();
    for (version, lines) in (4..).zip(commits) {
        compaction.add(commit::parse(version, lines.join("\n").as_bytes()).unwrap());
    }
    compaction.finish()
}

#[test]
fn the_example_of_the_protocol_comes_out() {
    let txn = |version: u64| format!(r#"{{"txn":{{"appId":"3ae4","version":{version}}}}}"#);
    let info = r#"{"commitInfo":{"operation":"WRITE"}}"#.to_owned();
    let found = compact(&[
        &[info.clone(), add("f2"), remove("f1")],
        &[info.clone(), add("f3"), add("f4"), txn(4389)],
        &[info, remove("f3"), txn(4390)],
    ]);
    let expected = [txn(4390), remove("f1"), add("f2"), remove("f3"), add("f4")].join("\n");
    assert_eq!(found, commit::parse(6, expected.as_bytes()).unwrap());
}

#[test]
fn removals_of_domains_and_files_stay_and_the_order_within_a_commit_does_not_matter() {
    let domain = |removed: bool| format!(r#"{{"domainMetadata":{{"domain":"d","configuration":"1","removed":{removed}}}}}"#);
    let found = compact(&[&[domain(false), add("a")], &[domain(true), add("b"), remove("b")]]);
    let names: Vec<&str> = found.iter().map(Action::name).collect();
    assert_eq!(names, ["domainMetadata", "add", "add"], "a file that is removed and added in one commit is there");
    assert!(matches!(&found[0], Action::DomainMetadata(d) if d.removed));
}
