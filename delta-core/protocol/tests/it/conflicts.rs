//! Who loses against whom.

use std::collections::BTreeMap;

use boathouse_base::{DomainError, ErrorKind, Predicate};
use boathouse_delta_protocol::action::{Action, Add, CommitInfo, DomainMetadata, Metadata, Protocol, Remove, Txn};
use boathouse_delta_protocol::commit;
use boathouse_delta_protocol::conflict::{Attempt, Conflict, ReadScope, Reads, Stake, Winner};
use boathouse_delta_protocol::files::FileIndex;
use boathouse_delta_protocol::properties::IsolationLevel::{self, Serializable, WriteSerializable};
use boathouse_delta_protocol::replay::Replay;
use boathouse_delta_protocol::scan::{CommitScanner, Wanted};
use boathouse_delta_protocol::schema::{ColumnMappingMode, PrimitiveType, StructField, StructType};

fn add(path: &str, month: &str, data_change: bool) -> Action {
    Action::Add(Add {
        path: path.to_owned(),
        partition_values: [("month", Some(month))].into_iter().collect(),
        data_change,
        ..Add::default()
    })
}

fn remove(path: &str, data_change: bool) -> Action {
    Action::Remove(Remove { path: path.to_owned(), data_change, ..Remove::default() })
}

fn info(operation: &str, blind: bool) -> Action {
    CommitInfo { operation: Some(operation.to_owned()), is_blind_append: Some(blind), ..CommitInfo::default() }.into()
}

fn schema() -> StructType {
    StructType::new([StructField::nullable("month", PrimitiveType::Integer), StructField::nullable("delay", PrimitiveType::Long)])
}

fn metadata() -> Metadata {
    Metadata {
        id: "t".into(),
        schema_string: schema().to_json(),
        partition_columns: vec!["month".into()],
        configuration: BTreeMap::from([("delta.appendOnly".to_owned(), "false".to_owned())]),
        ..Metadata::default()
    }
}

/// Reads a table of files `old-7` (month 7) and `old-8` (month 8), stages, and meets the winner.
fn meet(reads: &Reads, staged: &[Action], isolation: IsolationLevel, won: &[Action]) -> Result<(), Conflict> {
    let mut replay = Replay::new();
    let base = [Protocol::default().into(), metadata().into(), add("old-7", "7", true), add("old-8", "8", true)];
    let mut scanner = CommitScanner::new(0, Wanted::Everything);
    scanner.scan(&commit::to_json(&base).unwrap()).unwrap();
    let scan = scanner.finish().unwrap();
    replay.apply_commit(0, scan.head.clone()).unwrap();
    let state = replay.finish().unwrap();
    let files = FileIndex::default().apply(scan).unwrap();
    let stake = Stake { reads: reads.clone(), ..Stake::default() };
    Attempt::new(&stake, staged, isolation, &state.metadata, &schema(), ColumnMappingMode::None)
        .with_files(&files)
        .check(&Winner { version: 9, actions: won })
        .map(|touches| assert_eq!(touches, [], "nothing is at stake row by row"))
}

/// The name of the outcome.
fn outcome(result: &Result<(), Conflict>) -> &'static str {
    match result {
        Ok(()) => "fine",
        Err(Conflict::ProtocolChanged { .. }) => "protocol",
        Err(Conflict::MetadataChanged { .. }) => "metadata",
        Err(Conflict::ConcurrentAppend { .. }) => "append",
        Err(Conflict::ConcurrentDeleteRead { .. }) => "delete/read",
        Err(Conflict::ConcurrentDeleteDelete { .. }) => "delete/delete",
        Err(Conflict::ConcurrentRow { .. }) => "row",
        Err(Conflict::RowsMoved { .. }) => "moved",
        Err(Conflict::ConcurrentTransaction { .. }) => "txn",
        Err(Conflict::ConcurrentDomain { .. }) => "domain",
        Err(other) => panic!("{other}"),
    }
}

fn note() -> StructField {
    StructField::nullable("note", PrimitiveType::String)
}

fn with_default(mut field: StructField) -> StructField {
    field.metadata.insert("CURRENT_DEFAULT".to_owned(), "'x'".into());
    field
}

fn wider(field: StructField) -> String {
    let mut schema = schema();
    schema.fields.push(field);
    schema.to_json()
}

fn retyped() -> String {
    let mut schema = schema();
    schema.fields[1].data_type = PrimitiveType::Double.into();
    schema.to_json()
}

fn july() -> Predicate {
    Predicate::eq("month", 7)
}

#[test]
fn the_matrix_of_operations() {
    let blind = vec![info("WRITE", true), add("new-7", "7", true)];
    let insert = vec![info("MERGE", false), add("new-7", "7", true)];
    let insert_august = vec![info("MERGE", false), add("new-8", "8", true)];
    let delete = vec![info("DELETE", false), remove("old-7", true), add("rest-7", "7", true)];
    let drop_whole = vec![info("DELETE", false), remove("old-7", true)];
    let optimize = vec![info("OPTIMIZE", false), remove("old-7", false), add("packed-7", "7", false)];
    let winners = [&blind, &insert, &insert_august, &drop_whole, &delete, &optimize];

    let nothing = Reads::default();
    let all = Reads { whole_table: true, files: ["old-7".to_owned(), "old-8".to_owned()].into(), ..Reads::default() };
    let all_without_files = Reads { whole_table: true, ..Reads::default() };
    let in_july = Reads { predicates: vec![july()], files: ["old-7".to_owned()].into(), ..Reads::default() };
    let in_august = Reads { predicates: vec![Predicate::eq("month", 8)], files: ["old-8".to_owned()].into(), ..Reads::default() };

    let append = vec![info("WRITE", true), add("mine", "7", true)];
    let delete_july = vec![info("DELETE", false), remove("old-7", true), add("mine", "7", true)];
    let update_august = vec![info("UPDATE", false), remove("old-8", true), add("mine", "8", true)];
    let overwrite = vec![info("WRITE", false), remove("old-7", true), remove("old-8", true), add("mine", "7", true)];
    let compact_july = vec![info("OPTIMIZE", false), remove("old-7", false), add("mine", "7", false)];

    // Columns: blind append to July, insert into July, insert into August, July dropped, July rewritten, July compacted.
    type Row<'a> = (&'a str, &'a Reads, &'a [Action], IsolationLevel, [&'a str; 6]);
    let table: [Row<'_>; 9] = [
        ("append", &nothing, &append, Serializable, ["fine", "fine", "fine", "fine", "fine", "fine"]),
        ("append", &nothing, &append, WriteSerializable, ["fine", "fine", "fine", "fine", "fine", "fine"]),
        (
            "delete july",
            &in_july,
            &delete_july,
            Serializable,
            ["append", "append", "fine", "delete/read", "append", "delete/delete"],
        ),
        (
            "delete july",
            &in_july,
            &delete_july,
            WriteSerializable,
            ["fine", "append", "fine", "delete/read", "append", "delete/delete"],
        ),
        ("update august", &in_august, &update_august, Serializable, ["fine", "fine", "append", "fine", "fine", "fine"]),
        ("overwrite", &all, &overwrite, Serializable, ["append", "append", "append", "delete/read", "append", "delete/delete"]),
        (
            "overwrite",
            &all,
            &overwrite,
            WriteSerializable,
            ["fine", "append", "append", "delete/read", "append", "delete/delete"],
        ),
        (
            "insert select",
            &all_without_files,
            &append,
            Serializable,
            ["append", "append", "append", "delete/read", "append", "fine"],
        ),
        (
            "compact july",
            &in_july,
            &compact_july,
            Serializable,
            ["fine", "fine", "fine", "delete/delete", "delete/delete", "delete/delete"],
        ),
    ];
    for (name, reads, staged, isolation, expected) in table {
        let found = winners.map(|won| outcome(&meet(reads, staged, isolation, won)));
        assert_eq!(found, expected, "{name} under {isolation:?}");
    }
}

#[test]
fn a_conflict_names_winner_and_file_and_asks_for_a_retry() {
    let reads = Reads { predicates: vec![july()], ..Reads::default() };
    let conflict = meet(&reads, &[], Serializable, &[info("WRITE", true), add("new", "7", true)]).unwrap_err();
    assert_eq!(
        conflict,
        Conflict::ConcurrentAppend { version: 9, operation: "WRITE".into(), path: "new".into(), read: ReadScope::Predicate }
    );
    assert_eq!((conflict.version(), conflict.kind()), (9, ErrorKind::Conflict));
    assert_eq!(
        conflict.to_string(),
        "commit: version 9 (WRITE) added file `new`, which may hold rows that this transaction looked for; read the table again and retry"
    );
}

#[test]
fn a_removed_file_is_judged_by_what_was_known_when_it_was_read() {
    // The winner's remove says nothing about the file; the version that was read does.
    let august = Reads { predicates: vec![Predicate::eq("month", 8)], ..Reads::default() };
    assert_eq!(outcome(&meet(&august, &[], Serializable, &[remove("old-7", true)])), "fine");
    assert_eq!(outcome(&meet(&august, &[], Serializable, &[remove("old-8", true)])), "delete/read");
    assert_eq!(outcome(&meet(&august, &[], Serializable, &[remove("never seen", true)])), "delete/read");
}

#[test]
fn a_file_that_is_added_again_must_still_be_there() {
    let facts = [add("old-7", "7", false)];
    assert_eq!(outcome(&meet(&Reads::default(), &facts, Serializable, &[remove("old-7", true)])), "delete/delete");
    assert_eq!(outcome(&meet(&Reads::default(), &facts, Serializable, &[remove("old-8", true)])), "fine");
}

#[test]
fn protocol_changes_always_conflict_and_metadata_changes_when_they_matter() {
    let nothing = Reads::default();
    let append = [add("mine", "7", true)];
    let won = |change: &dyn Fn(&mut Metadata)| {
        let mut metadata = metadata();
        change(&mut metadata);
        vec![info("ALTER", false), Action::from(metadata)]
    };
    assert_eq!(outcome(&meet(&nothing, &append, Serializable, &[Protocol::default().into()])), "protocol");
    let set = |key: &str| {
        let key = key.to_owned();
        won(&move |m| {
            m.configuration.insert(key.clone(), "1".to_owned());
        })
    };
    for (name, winner, expected) in [
        ("nothing", won(&|_| {}), "fine"),
        ("description", won(&|m| m.description = Some("new".into())), "fine"),
        ("maintenance", set("delta.logRetentionDuration"), "fine"),
        ("own property", set("team"), "fine"),
        ("columns gone", won(&|m| m.schema_string = StructType::default().to_json()), "metadata"),
        ("a new column", won(&|m| m.schema_string = wider(StructField::nullable("note", PrimitiveType::String))), "fine"),
        (
            "a new column that must be there",
            won(&|m| m.schema_string = wider(StructField { nullable: false, ..note() })),
            "metadata",
        ),
        ("a new column with a default", won(&|m| m.schema_string = wider(with_default(note()))), "metadata"),
        ("another type", won(&|m| m.schema_string = retyped()), "metadata"),
        ("partitioning", won(&|m| m.partition_columns.clear()), "metadata"),
        ("constraint", set("delta.constraints.positive"), "metadata"),
        ("append only", set("delta.appendOnly"), "fine"),
        ("append only away", won(&|m| m.configuration.clear()), "fine"),
        ("change feed", set("delta.enableChangeDataFeed"), "fine"),
        ("another table", won(&|m| m.id = "other".into()), "metadata"),
    ] {
        assert_eq!(outcome(&meet(&nothing, &append, Serializable, &winner)), expected, "{name}");
    }
    // Who removes rows must know whether that is allowed.
    let delete = [remove("old-7", true)];
    assert_eq!(outcome(&meet(&nothing, &delete, Serializable, &set("delta.appendOnly"))), "metadata");
    assert_eq!(outcome(&meet(&nothing, &delete, Serializable, &set("delta.enableChangeDataFeed"))), "metadata");
    let harmless = won(&|m| m.description = Some("new".into()));
    assert_eq!(outcome(&meet(&nothing, &[metadata().into()], Serializable, &harmless)), "metadata", "both write metadata");
    let careful = Reads { metadata: true, ..Reads::default() };
    assert_eq!(outcome(&meet(&careful, &append, Serializable, &harmless)), "metadata");
    // Under the weaker level, a schema change may not overlook rows.
    let blind = [info("WRITE", true), add("new", "7", true)];
    let all = Reads { whole_table: true, ..Reads::default() };
    assert_eq!(outcome(&meet(&all, &[metadata().into()], WriteSerializable, &blind)), "append");
}

#[test]
fn the_same_application_or_domain_conflicts() {
    let txn = |app: &str| Action::Txn(Txn { app_id: app.into(), version: 4, last_updated: None });
    let domain =
        |name: &str| Action::DomainMetadata(DomainMetadata { domain: name.into(), configuration: String::new(), removed: false });
    let none = Reads::default();
    let reads = Reads { app_ids: ["a".to_owned()].into(), domains: ["d".to_owned()].into(), ..Reads::default() };
    assert_eq!(outcome(&meet(&none, &[txn("a")], Serializable, &[txn("a")])), "txn");
    assert_eq!(outcome(&meet(&none, &[txn("a")], Serializable, &[txn("b")])), "fine");
    assert_eq!(outcome(&meet(&reads, &[], Serializable, &[txn("a")])), "txn");
    assert_eq!(outcome(&meet(&none, &[domain("d")], Serializable, &[domain("d")])), "domain");
    assert_eq!(outcome(&meet(&reads, &[], Serializable, &[domain("d")])), "domain");
    assert_eq!(outcome(&meet(&reads, &[], Serializable, &[domain("e")])), "fine");
}

#[test]
fn two_creators_of_a_table_conflict() {
    let create = [Protocol::default().into(), metadata().into()];
    assert_eq!(outcome(&meet(&Reads::default(), &create, Serializable, &create)), "protocol");
}
