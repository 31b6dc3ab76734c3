//! Readers of values: bytes in, values out.

use boathouse_base::{Comparison, Predicate, Value};
use boathouse_delta_protocol::Result;
use boathouse_delta_protocol::action::{Action, Add, DeletionVectorDescriptor};
use boathouse_delta_protocol::checksum::VersionChecksum;
use boathouse_delta_protocol::deletion_vector::{DeletionVector, file};
use boathouse_delta_protocol::files::FileIndex;
use boathouse_delta_protocol::log_path::{LastCheckpoint, LogFile, plan_segment};
use boathouse_delta_protocol::replay::Replay;
use boathouse_delta_protocol::scan::{CommitScan, CommitScanner, Wanted};
use boathouse_delta_protocol::schema::{ColumnMappingMode, PrimitiveType, StructField, StructType};
use boathouse_delta_protocol::stats::{BoundsReader, FileStats};
use boathouse_delta_protocol::{commit as commit_file, partition};

/// A commit: what is read is written and read again as the same, the quick scanner agrees with the parser, and it folds
/// into a table or is refused.
pub(crate) fn commit(bytes: &[u8]) {
    let quick = scan(bytes, Wanted::Everything);
    let Ok(actions) = commit_file::parse(7, bytes) else {
        if let Ok(quick) = quick {
            let _ = FileIndex::default().apply(quick).map(|files| files.size_bytes());
        }
        return;
    };
    let Ok(quick) = quick else { finding("the scanner refuses what the parser reads", &actions) };
    let adds: Vec<&Add> =
        actions.iter().filter_map(|action| if let Action::Add(add) = action { Some(add) } else { None }).collect();
    for wanted in [Wanted::Everything, Wanted::EverythingButStats, Wanted::Head, Wanted::Removes] {
        let Ok(scanned) = scan(bytes, wanted) else { finding("the scanner depends on what is wanted", &actions) };
        let kept = |action: &&Action| is_head(action) || wanted == Wanted::Removes && matches!(action, Action::Remove(_));
        let expected: Vec<&Action> = actions.iter().filter(kept).collect();
        assert_eq!(scanned.head.iter().collect::<Vec<_>>(), expected, "{wanted:?}");
        let read: Vec<Add> = scanned.segments.iter().flat_map(|s| (0..s.len()).map(|row| s.file(row).to_add())).collect();
        match wanted {
            Wanted::Everything => assert_eq!(read.iter().collect::<Vec<_>>(), adds),
            Wanted::EverythingButStats => {
                let without = |add: &&Add| Add { stats: None, ..(*add).clone() };
                assert_eq!(read, adds.iter().map(without).collect::<Vec<_>>());
            }
            Wanted::Head | Wanted::Removes => assert!(read.is_empty()),
        }
    }
    let removes = actions.iter().filter(|action| matches!(action, Action::Remove(_))).count();
    assert_eq!(quick.removes.len(), removes);
    if let Ok(files) = FileIndex::default().apply(quick) {
        assert_eq!(files.iter().count(), files.len());
        let _ = files.size_bytes();
    }
    let written = commit_file::to_json(&actions);
    let again = written.as_ref().ok().and_then(|written| commit_file::parse(7, written).ok());
    let first = |actions: &[Action]| -> Vec<Action> {
        let (info, rest): (Vec<_>, Vec<_>) = actions.iter().cloned().partition(|a| matches!(a, Action::CommitInfo(_)));
        info.into_iter().chain(rest).collect()
    };
    // A commit of unknown actions alone is written as no line at all, which is no commit.
    assert!(actions.is_empty() || again.as_deref() == Some(&first(&actions)), "written and read again: {again:?}");
    let mut replay = Replay::new();
    if replay.apply_commit(7, actions).is_ok() {
        let _ = replay.finish();
    }
}

/// The quick way, in two pieces.
fn scan(bytes: &[u8], wanted: Wanted) -> Result<CommitScan> {
    let middle = bytes.iter().skip(bytes.len() / 2).position(|b| *b == b'\n').map_or(0, |at| bytes.len() / 2 + at + 1);
    let (first, second) = bytes.split_at(middle);
    let lines = first.iter().filter(|b| **b == b'\n').count() as u64;
    let mut pieces = Vec::new();
    for (piece, after) in [(first, 0), (second, lines)] {
        let mut scanner = CommitScanner::new(7, wanted).after_lines(after);
        scanner.scan(piece)?;
        pieces.push(scanner.finish()?);
    }
    CommitScan::whole(7, pieces)
}

fn is_head(action: &Action) -> bool {
    !matches!(action, Action::Add(_) | Action::Remove(_) | Action::Cdc(_) | Action::CheckpointMetadata(_) | Action::Sidecar(_))
}

#[expect(clippy::panic, reason = "a finding ends the run, and says what was found")]
fn finding(what: &str, about: &dyn std::fmt::Debug) -> ! {
    panic!("{what}: {about:?}")
}

/// A `.crc` file.
pub(crate) fn checksum(bytes: &[u8]) {
    let Ok(checksum) = VersionChecksum::parse(3, bytes) else { return };
    let again = checksum.to_json().ok().and_then(|json| VersionChecksum::parse(3, &json).ok());
    assert!(again.is_some(), "a checksum that was read cannot be written: {checksum:?}");
    let differences = again.map(|again| checksum.differences(&again).len());
    assert_eq!(differences, Some(0), "written and read again it is another one: {checksum:?}");
}

/// `_last_checkpoint`.
pub(crate) fn last_checkpoint(bytes: &[u8]) {
    let Ok(hint) = LastCheckpoint::parse(bytes) else { return };
    let again = hint.to_json().ok().and_then(|json| LastCheckpoint::parse(&json).ok());
    // What is written always has its own checksum.
    let again = again.map(|again| LastCheckpoint { checksum: hint.checksum.clone(), ..again });
    assert_eq!(again.as_ref(), Some(&hint));
}

/// Names in `_delta_log`, one in a line, and the plan that is made of them.
pub(crate) fn log_names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let names: Vec<&str> = text.lines().collect();
    for name in &names {
        let file = LogFile::parse(name);
        assert!(file.as_ref().is_none_or(|file| file.version().is_some() || *file == LogFile::LastCheckpoint), "{file:?}");
    }
    for version in [None, Some(0), Some(10), Some(u64::MAX)] {
        let mut rejected = Vec::new();
        // As a reader does it: a checkpoint that turns out to be damaged is not offered again.
        while let Ok(segment) = plan_segment(&names, version, &rejected) {
            let Some(checkpoint) = segment.checkpoint else { break };
            assert!(!rejected.contains(&checkpoint), "{checkpoint:?} was rejected");
            rejected.push(checkpoint);
        }
    }
}

/// The schema of a table.
pub(crate) fn schema(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(schema) = StructType::from_json(text) else { return };
    let again = StructType::from_json(&schema.to_json()).ok();
    assert_eq!(again.as_ref(), Some(&schema), "written and read again");
    for mode in [ColumnMappingMode::None, ColumnMappingMode::Name, ColumnMappingMode::Id] {
        let _ = schema.validate(mode);
        let physical = schema.physical(mode);
        assert_eq!(physical.fields.len(), schema.fields.len());
    }
    let _ = schema.check_write(&schema);
    let _ = schema.merge(&schema);
    let _ = schema.field_at("a.b.c");
    let _ = StructType::from_arrow(&schema.to_arrow());
}

fn every_type() -> Vec<PrimitiveType> {
    let names = [
        "string",
        "long",
        "integer",
        "short",
        "byte",
        "float",
        "double",
        "decimal(38,20)",
        "decimal(5,0)",
        "boolean",
        "binary",
        "date",
        "timestamp",
        "timestamp_ntz",
        "void",
    ];
    names.iter().filter_map(|name| PrimitiveType::from_name(name)).collect()
}

/// Statistics of a file, as its text and as bounds that a predicate asks.
pub(crate) fn stats(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let fields = every_type().into_iter().enumerate().map(|(at, primitive)| StructField::nullable(format!("c{at}"), primitive));
    let mut schema = StructType::new(fields);
    let inner =
        StructType::new([StructField::nullable("c0", PrimitiveType::Long), StructField::nullable("x.y", PrimitiveType::Date)]);
    schema.fields.push(StructField::nullable("s", boathouse_delta_protocol::schema::DataType::Struct(inner)));
    if let Ok(stats) = FileStats::from_json(text, &schema, ColumnMappingMode::None) {
        let written = stats.to_json(&schema, ColumnMappingMode::None);
        let again = FileStats::from_json(&written, &schema, ColumnMappingMode::None);
        let Ok(again) = again else { finding("statistics that were written cannot be read", &written) };
        assert_eq!(again.num_records, stats.num_records);
        // Bounds may become wider each time that they are written, and may be left out: never narrower.
        for (path, wide) in &again.columns {
            let first = stats.columns.get(path);
            assert!(first.is_some_and(|first| wide.null_count.is_none() || wide.null_count == first.null_count), "{path:?}");
            let keeps = |low: &Option<Value>, high: &Option<Value>| match (low, high) {
                (Some(low), Some(high)) => low.compare(high).is_none_or(std::cmp::Ordering::is_le),
                _ => true,
            };
            assert!(first.is_some_and(|first| keeps(&wide.min, &first.min) && keeps(&first.max, &wide.max)), "{path:?}: {text}");
        }
    }
    let add = Add { stats: Some(text.to_owned()), ..Add::default() };
    for column in ["c0", "c1", "c5", "c7", "c11", "c12", "s.c0", "none"] {
        for value in [Value::Int(5), Value::from("m"), Value::Date(3), Value::Timestamp(1), Value::Float(0.5)] {
            let below = Predicate::compare(column, Comparison::Lt, value.clone());
            let predicate = below.or(Predicate::compare(column, Comparison::Eq, value)).or(Predicate::IsNull(column.to_owned()));
            let reader = BoundsReader::for_predicates(&schema, &[], ColumnMappingMode::None, [&predicate]);
            let _ = predicate.may_match(&reader.of_add(&add));
        }
    }
}

/// A partition value: the first byte says of which type, the others are the text.
pub(crate) fn partition_value(bytes: &[u8]) {
    let types = every_type();
    let Some((first, rest)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let data_type = types[usize::from(*first) % types.len()];
    let Ok(value) = partition::parse("p", data_type, Some(text)) else { return };
    // Years beyond 9999 can be read and not be written; everything else comes back.
    let Ok(written) = partition::format("p", data_type, &value) else {
        let is_time = matches!(value, Value::Date(_) | Value::Timestamp(_) | Value::TimestampNtz(_));
        assert!(is_time, "{data_type} {text:?} was read as {value}, which cannot be written");
        return;
    };
    let again = partition::parse("p", data_type, written.as_deref());
    let same = again.as_ref().is_ok_and(|again| *again == value || (is_nan(again) && is_nan(&value)));
    assert!(same, "{data_type} {text:?}: read as {value}, written as {written:?}, read again as {again:?}");
}

fn is_nan(value: &Value) -> bool {
    matches!(value, Value::Float(v) if v.is_nan())
}

/// The bytes of a deletion vector, alone and in its file.
pub(crate) fn vector(bytes: &[u8]) {
    let _ = file::check_version(bytes);
    for size in [0, bytes.len().saturating_sub(8), bytes.len(), u32::MAX as usize] {
        let _ = file::payload(bytes, size);
    }
    // With the checksum made right, so that the bitmap itself is reached.
    let mut whole = Vec::new();
    let offset = file::append(&mut whole, bytes);
    let stored = whole.get(usize::try_from(offset).unwrap_or(0)..).and_then(|from| file::payload(from, bytes.len()).ok());
    assert_eq!(stored, Some(bytes));
    let Ok(vector) = DeletionVector::decode(bytes) else { return };
    assert_eq!(DeletionVector::decode(&vector.encode()).as_ref(), Ok(&vector));
    assert_eq!(vector.count_in(0..u64::MAX), vector.len());
    let kept: u64 = vector.kept(0..1000).map(|range| range.end - range.start).sum();
    assert_eq!(kept + vector.count_in(0..1000), 1000);
    let _ = vector.kept(u64::MAX - 5..u64::MAX).count();
}

/// The descriptor of a deletion vector, as it stands in the log.
pub(crate) fn vector_descriptor(bytes: &[u8]) {
    let Ok(descriptor) = serde_json::from_slice::<DeletionVectorDescriptor>(bytes) else { return };
    let _ = (descriptor.unique_id(), descriptor.location());
    if let Ok(vector) = descriptor.inline_bitmap() {
        assert_eq!(vector.len(), descriptor.cardinality);
    }
    let _ = descriptor.file_bitmap(bytes);
    assert!(descriptor.file_bytes() >= 8);
}
