//! Two transactions that change rows of the same files at once.

use std::collections::BTreeSet;

use boathouse_delta_protocol::action::{Action, Add, CommitInfo, Metadata, Remove};
use boathouse_delta_protocol::conflict::{
    Attempt, Concatenation, Concatenations, Conflict, Mark, ReadScope, Reads, RowTouch, Source, Stake, Stretch, TouchedVectors,
    Winner,
};
use boathouse_delta_protocol::deletion_vector::{DeletionVector, DeletionVectorDescriptor};
use boathouse_delta_protocol::properties::IsolationLevel;
use boathouse_delta_protocol::schema::{ColumnMappingMode, PrimitiveType, StructField, StructType};
use proptest::prelude::*;

fn rows(rows: &[u64]) -> DeletionVector {
    rows.iter().copied().collect()
}

/// A file of ten rows, some of which are deleted.
fn file(path: &str, deleted: &[u64]) -> Add {
    let vector = (!deleted.is_empty()).then(|| Box::new(DeletionVectorDescriptor::inline(&rows(deleted)).unwrap()));
    let stats = Some("{\"numRecords\":10}".to_owned());
    Add { path: path.to_owned(), stats, data_change: true, deletion_vector: vector, ..Add::default() }
}

/// A commit that takes rows of a file away.
fn marks(path: &str, before: &[u64], after: &[u64]) -> Vec<Action> {
    let remove = Remove { data_change: true, ..file(path, before).to_remove(1, true) };
    vec![info("DELETE"), remove.into(), file(path, after).into()]
}

fn info(operation: &str) -> Action {
    CommitInfo { operation: Some(operation.to_owned()), ..CommitInfo::default() }.into()
}

/// A commit that puts files one after the other; `told` or not.
fn optimize(sources: &[(&str, &[u64])], target: &str, told: bool) -> Vec<Action> {
    let mut concatenations = Concatenations::default();
    let stretches = sources.iter().map(|(path, gone)| Stretch {
        path: (*path).to_owned(),
        rows: 10 - gone.len() as u64,
        vector: file(path, gone).deletion_vector.map(|vector| *vector),
    });
    concatenations.insert(target, stretches.collect());
    let mut commit = CommitInfo { operation: Some("OPTIMIZE".to_owned()), ..CommitInfo::default() };
    if told {
        concatenations.keep(&mut commit);
    }
    let add = Add { data_change: false, ..file(target, &[]) };
    let removes = sources.iter().map(|(path, gone)| file(path, gone).to_remove(1, false).into());
    [commit.into()].into_iter().chain(removes).chain([add.into()]).collect()
}

fn deleting(path: &str, base: &[u64], own: &[u64]) -> Stake {
    let mark = Mark { file: file(path, base), rows: rows(own) };
    Stake { marks: [(path.to_owned(), mark)].into(), ..Stake::default() }
}

fn source(path: &str, gone: &[u64]) -> Source {
    let file = file(path, gone);
    let vector = file.deletion_vector.as_deref().cloned();
    Source { file, rows: 10 - gone.len() as u64, vector, gone: rows(gone) }
}

/// Goes behind a winner as the table does.
fn follow(stake: &mut Stake, version: u64, actions: &[Action]) -> Result<(), Conflict> {
    let schema = StructType::new([StructField::nullable("id", PrimitiveType::Long)]);
    let metadata = Metadata { schema_string: schema.to_json(), ..Metadata::default() };
    let winner = Winner { version, actions };
    let before = stake.clone();
    let attempt = Attempt::new(&before, &[], IsolationLevel::Serializable, &metadata, &schema, ColumnMappingMode::None);
    let touches = attempt.check(&winner)?;
    let load = |vector: Option<&DeletionVectorDescriptor>| vector.map(|v| v.inline_bitmap().unwrap()).unwrap_or_default();
    let looked_at: Vec<(RowTouch<'_>, TouchedVectors)> = touches
        .into_iter()
        .map(|touch| {
            let (before, after) = touch.vectors();
            let vectors = TouchedVectors { before: load(before), after: load(after) };
            (touch, vectors)
        })
        .collect();
    stake.follow(&winner, &looked_at)
}

#[test]
fn different_rows_of_one_file_are_both_deleted() {
    let mut stake = deleting("f", &[1], &[4]);
    follow(&mut stake, 7, &marks("f", &[1], &[1, 7])).unwrap();
    let mark = &stake.marks["f"];
    assert_eq!(mark.rows, rows(&[4]));
    assert_eq!(
        mark.file.deletion_vector.as_ref().unwrap().inline_bitmap().unwrap(),
        rows(&[1, 7]),
        "the mark stands on the winner"
    );
    // And behind the next one as well.
    follow(&mut stake, 8, &marks("f", &[1, 7], &[1, 2, 7])).unwrap();
    let error = follow(&mut stake, 9, &marks("f", &[1, 2, 7], &[1, 2, 4, 7])).unwrap_err();
    assert_eq!(error, Conflict::ConcurrentRow { version: 9, operation: "DELETE".into(), path: "f".into(), row: 4 });
}

#[test]
fn a_row_that_was_read_must_stay_and_a_searched_file_may_lose_all_others() {
    let read = |some: &[u64]| Stake {
        reads: Reads { whole_table: true, rows: [("f".to_owned(), rows(some))].into(), ..Reads::default() },
        ..Stake::default()
    };
    follow(&mut read(&[]), 3, &marks("f", &[], &[5])).unwrap();
    follow(&mut read(&[4]), 3, &marks("f", &[], &[5])).unwrap();
    assert!(matches!(follow(&mut read(&[5]), 3, &marks("f", &[], &[5])), Err(Conflict::ConcurrentRow { row: 5, .. })));
    // The file as a whole.
    let gone = [info("DELETE"), file("f", &[]).to_remove(1, true).into()];
    follow(&mut read(&[]), 3, &gone).unwrap();
    let read_file =
        Err(Conflict::ConcurrentDeleteRead { version: 3, operation: "DELETE".into(), path: "f".into(), read: ReadScope::File });
    assert_eq!(follow(&mut read(&[4]), 3, &gone), read_file);
    // Another file, of which nothing is known row by row, was read with the table.
    assert!(matches!(
        follow(&mut read(&[]), 3, &marks("g", &[], &[5])),
        Err(Conflict::ConcurrentDeleteRead { read: ReadScope::WholeTable, .. })
    ));
}

#[test]
fn rows_that_come_back_are_a_conflict_for_whoever_looked_into_the_file() {
    let error = follow(&mut deleting("f", &[1, 2], &[4]), 3, &marks("f", &[1, 2], &[1])).unwrap_err();
    assert!(matches!(error, Conflict::ConcurrentAppend { read: ReadScope::File, .. }), "{error}");
}

#[test]
fn a_file_that_leaves_while_rows_of_it_are_deleted_is_a_conflict() {
    let gone = [info("DELETE"), file("f", &[]).to_remove(1, true).into()];
    let error = follow(&mut deleting("f", &[], &[4]), 3, &gone).unwrap_err();
    assert!(matches!(error, Conflict::ConcurrentDeleteDelete { .. }), "{error}");
}

#[test]
fn marks_move_with_the_rows_that_another_writer_put_together() {
    let mut stake = deleting("b", &[0, 3], &[1, 9]);
    stake.marks.extend(deleting("a", &[], &[2]).marks);
    follow(&mut stake, 5, &optimize(&[("a", &[]), ("b", &[0, 3])], "new", true)).unwrap();
    assert_eq!(stake.marks.keys().collect::<Vec<_>>(), ["new"]);
    // Row 2 of a; behind its ten rows, row 1 of b is the first that was copied, row 9 the last.
    assert_eq!(stake.marks["new"].rows, rows(&[2, 10, 17]));
    // The moved marks are at stake like others.
    let taken = marks("new", &[], &[17]);
    assert!(matches!(follow(&mut stake, 6, &taken), Err(Conflict::ConcurrentRow { row: 17, .. })));
}

#[test]
fn marks_in_files_whose_rows_went_somewhere_are_a_conflict() {
    let error = follow(&mut deleting("a", &[], &[2]), 5, &optimize(&[("a", &[])], "new", false)).unwrap_err();
    assert_eq!(error, Conflict::RowsMoved { version: 5, operation: "OPTIMIZE".into(), path: "a".into() });
}

#[test]
fn what_was_read_moves_along_and_stays_exact_when_all_of_the_file_is_known() {
    let reads = |some: &[(&str, &[u64])]| {
        let known = some.iter().map(|(path, some)| ((*path).to_owned(), rows(some))).collect();
        Stake { reads: Reads { rows: known, ..Reads::default() }, ..Stake::default() }
    };
    let compaction = optimize(&[("a", &[]), ("b", &[])], "new", true);
    let mut exact = reads(&[("a", &[3]), ("b", &[])]);
    follow(&mut exact, 5, &compaction).unwrap();
    follow(&mut exact, 6, &marks("new", &[], &[4])).unwrap();
    assert!(matches!(follow(&mut exact, 7, &marks("new", &[4], &[3, 4])), Err(Conflict::ConcurrentRow { row: 3, .. })));
    // Nothing is known of b: the new file counts as read.
    for told in [true, false] {
        let mut vague = reads(&[("a", &[3])]);
        follow(&mut vague, 5, &optimize(&[("a", &[]), ("b", &[])], "new", told)).unwrap();
        let error = follow(&mut vague, 6, &marks("new", &[], &[4])).unwrap_err();
        assert!(matches!(error, Conflict::ConcurrentDeleteRead { read: ReadScope::File, .. }), "{error}");
    }
    // Files that were read as a whole stay read.
    let files: BTreeSet<String> = ["a".to_owned()].into();
    let mut whole = Stake { reads: Reads { files, ..Reads::default() }, ..Stake::default() };
    follow(&mut whole, 5, &compaction).unwrap();
    assert!(matches!(follow(&mut whole, 6, &marks("new", &[], &[4])), Err(Conflict::ConcurrentDeleteRead { .. })));
}

#[test]
fn a_compaction_takes_the_marks_of_winners_into_its_new_file() {
    let sources = vec![source("a", &[]), source("b", &[0, 3])];
    let concatenation = Concatenation { add: file("new", &[]), sources, deleted: DeletionVector::new() };
    let mut stake = Stake { concatenations: vec![concatenation], ..Stake::default() };
    follow(&mut stake, 5, &marks("b", &[0, 3], &[0, 1, 3, 9])).unwrap();
    follow(&mut stake, 6, &marks("a", &[], &[2])).unwrap();
    // A second time the same file: what the first one took away was copied.
    follow(&mut stake, 7, &marks("b", &[0, 1, 3, 9], &[0, 1, 3, 5, 9])).unwrap();
    follow(&mut stake, 8, &[info("WRITE"), file("more", &[]).into()]).unwrap();
    let moved = &stake.concatenations[0];
    assert_eq!(moved.deleted, rows(&[2, 10, 13, 17]));
    let removed: Vec<u64> = moved.sources.iter().map(|s| s.file.deletion_vector.as_ref().unwrap().cardinality).collect();
    assert_eq!(removed, [1, 5], "the files that leave are those that are there now");
    // What it tells others is how the rows were copied.
    let told = moved.stretches();
    assert_eq!((told[0].vector.is_none(), told[1].vector.as_ref().unwrap().cardinality, told[1].rows), (true, 2, 8));
    let gone = [info("DELETE"), file("a", &[2]).to_remove(1, true).into()];
    assert!(matches!(follow(&mut stake, 9, &gone), Err(Conflict::ConcurrentDeleteDelete { .. })));
}

#[test]
fn marks_are_moved_by_what_was_copied_and_not_by_what_left() {
    // The compaction had copied `b` without row 0, then another writer took row 1: the file leaves without 0 and 1.
    let mut winner = optimize(&[("b", &[0])], "new", true);
    let Some(Action::Remove(left)) = winner.iter_mut().find(|a| matches!(a, Action::Remove(_))) else { panic!() };
    left.deletion_vector = file("b", &[0, 1]).deletion_vector;
    let mut stake = deleting("b", &[0, 1], &[4]);
    follow(&mut stake, 5, &winner).unwrap();
    assert_eq!(stake.marks["new"].rows, rows(&[3]), "rows 1 to 4 are the first four of the new file");
}

proptest! {
    /// The slow model: each row of a file is its own variable.
    #[test]
    fn two_deletions_agree_exactly_when_no_row_is_in_both(
        base in prop::collection::btree_set(0..10_u64, 0..4),
        theirs in prop::collection::btree_set(0..10_u64, 0..5),
        ours in prop::collection::btree_set(0..10_u64, 0..5),
    ) {
        let list = |set: &BTreeSet<u64>| set.iter().copied().collect::<Vec<_>>();
        let after: BTreeSet<u64> = base.union(&theirs).copied().collect();
        let own: BTreeSet<u64> = ours.difference(&base).copied().collect();
        let mut stake = deleting("f", &list(&base), &list(&own));
        let result = follow(&mut stake, 3, &marks("f", &list(&base), &list(&after)));
        let both: Vec<u64> = own.iter().copied().filter(|row| theirs.contains(row)).collect();
        match (result, both.first()) {
            (Ok(()), None) => {}
            (Err(Conflict::ConcurrentRow { row, .. }), Some(first)) => prop_assert_eq!(row, *first),
            (found, expected) => prop_assert!(false, "{:?} in place of {:?}", found, expected),
        }
    }
}
