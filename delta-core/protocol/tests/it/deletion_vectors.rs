//! Deletion vectors: bytes of the protocol's examples, and damage.

use std::collections::BTreeSet;

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::deletion_vector::{
    DeletionVector, DeletionVectorDescriptor, StorageType, VectorLocation, crc32, file, z85,
};
use boathouse_delta_protocol::{DeletionVectorProblem, ProtocolError};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

fn descriptor(storage_type: StorageType, path: &str, size_in_bytes: u32, cardinality: u64) -> DeletionVectorDescriptor {
    DeletionVectorDescriptor { storage_type, path_or_inline_dv: path.to_owned(), offset: None, size_in_bytes, cardinality }
}

/// The rows of the protocol's inline example, in the bytes that Spark writes. (The protocol's own text has the magic
/// number in the wrong byte order, and no reader takes it.)
const INLINE: &str = "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L";

fn rows() -> impl Strategy<Value = BTreeSet<u64>> {
    prop_oneof![
        btree_set(0..300_u64, 0..60),
        btree_set(0..200_000_u64, 0..60),
        btree_set(prop_oneof![0..50_u64, (1_u64 << 32)..(1_u64 << 32) + 50, Just(i64::MAX as u64)], 0..30),
    ]
}

proptest! {
    #[test]
    fn vectors_written_and_read_are_equal(rows in rows()) {
        let vector: DeletionVector = rows.iter().copied().collect();
        let again = DeletionVector::decode(&vector.encode()).unwrap();
        prop_assert!(again.iter().eq(rows.iter().copied()));
        prop_assert_eq!(again.len(), rows.len() as u64);

        let bytes = vector.encode();
        let inline = descriptor(StorageType::Inline, &z85::encode(&bytes), bytes.len() as u32, rows.len() as u64);
        prop_assert_eq!(inline.inline_bitmap().unwrap(), vector);
    }

    #[test]
    fn kept_stretches_are_the_rows_that_are_not_deleted(rows in btree_set(0..80_u64, 0..60), start in 0..80_u64, len in 0..80_u64) {
        let vector: DeletionVector = rows.iter().copied().collect();
        let range = start..start + len;
        let stretches: Vec<_> = vector.kept(range.clone()).collect();
        let kept: Vec<u64> = stretches.iter().cloned().flatten().collect();
        let expected: Vec<u64> = range.clone().filter(|r| !rows.contains(r)).collect();
        prop_assert_eq!(kept, expected.clone());
        prop_assert!(stretches.iter().all(|s| !s.is_empty()));
        prop_assert!(stretches.windows(2).all(|w| w[0].end < w[1].start));
        prop_assert_eq!(vector.count_in(range.clone()), len - expected.len() as u64);
        // Runs are the rest of the range.
        let runs: Vec<_> = vector.runs(range.clone()).collect();
        prop_assert!(runs.iter().all(|run| !run.is_empty()));
        prop_assert!(runs.windows(2).all(|w| w[0].end < w[1].start));
        prop_assert!(runs.into_iter().flatten().eq(range.filter(|row| rows.contains(row))));
    }

    #[test]
    fn base85_written_and_read_is_equal_up_to_filling(bytes in vec(any::<u8>(), 0..50)) {
        let decoded = z85::decode(&z85::encode(&bytes)).unwrap();
        prop_assert_eq!(&decoded[..bytes.len()], &bytes[..]);
        prop_assert!(decoded[bytes.len()..].iter().all(|b| *b == 0) && decoded.len() < bytes.len() + 4);
    }

    #[test]
    fn damaged_bytes_never_panic(rows in rows(), at in any::<prop::sample::Index>(), bits in 1..=255_u8) {
        let vector: DeletionVector = rows.into_iter().collect();
        let mut bytes = vector.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        let _ = DeletionVector::decode(&bytes);
        let _ = DeletionVector::decode(&bytes[..at]);

        // In a file the checksum finds it.
        let mut stored = Vec::new();
        file::append(&mut stored, &vector.encode());
        stored[5 + at] ^= bits;
        let size = vector.encode().len();
        prop_assert!(
            matches!(file::payload(&stored[1..], size), Err(DeletionVectorProblem::Checksum { .. })),
            "one changed byte changes the checksum"
        );
    }
}

#[test]
fn an_inline_vector_of_the_reference_writer_is_read_and_written() {
    let vector = descriptor(StorageType::Inline, INLINE, 44, 6).inline_bitmap().unwrap();
    assert_eq!(vector.iter().collect::<Vec<_>>(), [3, 4, 7, 11, 18, 29]);
    assert_eq!(z85::encode(&vector.encode()), INLINE, "we write the same bytes");
}

#[test]
fn the_path_example_of_the_protocol_is_read() {
    let relative = descriptor(StorageType::UuidRelativePath, "ab^-aqEH.-t@S}K{vb[*k^", 40, 6);
    let expected = "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin";
    assert_eq!(relative.location().unwrap(), VectorLocation::InTable(expected.to_owned()));
    let mut with_offset = relative;
    with_offset.offset = Some(4);
    assert_eq!(with_offset.unique_id(), "uab^-aqEH.-t@S}K{vb[*k^@4");
    let absolute = descriptor(StorageType::AbsolutePath, "s3://t/dv.bin", 1, 1);
    assert_eq!(absolute.location().unwrap(), VectorLocation::Absolute("s3://t/dv.bin".to_owned()));
    let bad = descriptor(StorageType::UuidRelativePath, "short", 1, 1).location().unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::Corrupt);
    assert!(descriptor(StorageType::UuidRelativePath, "äÄäÄäÄäÄäÄäÄäÄäÄäÄäx", 1, 1).location().is_err());
}

#[test]
fn a_file_of_several_vectors_gives_each_by_its_offset() {
    let vectors: Vec<DeletionVector> = vec![[1, 5].into_iter().collect(), (0..100_000).collect(), DeletionVector::new()];
    let mut bytes = Vec::new();
    let stored: Vec<_> = vectors
        .iter()
        .map(|vector| {
            let data = vector.encode();
            let offset = file::append(&mut bytes, &data);
            let mut d = descriptor(StorageType::AbsolutePath, "dv.bin", data.len() as u32, vector.len());
            d.offset = Some(offset as u32);
            d
        })
        .collect();
    file::check_version(&bytes).unwrap();
    assert_eq!(stored[0].offset, Some(1));
    for (descriptor, vector) in stored.iter().zip(&vectors) {
        let start = descriptor.offset.unwrap() as usize;
        let slice = &bytes[start..start + descriptor.file_bytes() as usize];
        assert_eq!(&descriptor.file_bitmap(slice).unwrap(), vector);
    }
}

#[test]
fn a_vector_that_is_not_as_described_is_corrupt() {
    let problem = |result: Result<DeletionVector, ProtocolError>| match result.unwrap_err() {
        ProtocolError::CorruptDeletionVector { problem, .. } => problem,
        other => panic!("{other}"),
    };
    assert_eq!(
        problem(descriptor(StorageType::Inline, INLINE, 44, 7).inline_bitmap()),
        DeletionVectorProblem::Cardinality { expected: 7, found: 6 }
    );
    assert_eq!(
        problem(descriptor(StorageType::Inline, INLINE, 48, 6).inline_bitmap()),
        DeletionVectorProblem::Size { expected: 48, found: 44 }
    );
    assert!(matches!(
        problem(descriptor(StorageType::Inline, INLINE, 43, 6).inline_bitmap()),
        DeletionVectorProblem::Bitmap { .. }
    ));
    assert_eq!(problem(descriptor(StorageType::Inline, "~~~~~", 4, 6).inline_bitmap()), DeletionVectorProblem::NotBase85);
    assert_eq!(
        problem(descriptor(StorageType::Inline, "00000", 4, 6).inline_bitmap()),
        DeletionVectorProblem::Magic { found: 0 }
    );
    assert!(matches!(
        problem(descriptor(StorageType::AbsolutePath, "x", 4, 6).inline_bitmap()),
        DeletionVectorProblem::Storage { .. }
    ));
    assert!(matches!(
        problem(descriptor(StorageType::AbsolutePath, "x", 4, 6).file_bitmap(&[0, 0])),
        DeletionVectorProblem::Truncated { found: 2 }
    ));
    assert_eq!(file::check_version(&[2]), Err(DeletionVectorProblem::FileVersion { found: 2 }));
}

#[test]
fn checksums_are_those_of_zip() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    assert_eq!(crc32(b""), 0);
}

#[test]
fn the_last_row_that_a_number_can_name_is_kept_or_deleted_like_others() {
    let vector: DeletionVector = [3, u64::MAX - 1].into_iter().collect();
    let kept =
        |vector: &DeletionVector, from| vector.kept(from..u64::MAX).map(|range| (range.start, range.end)).collect::<Vec<_>>();
    assert_eq!(kept(&vector, u64::MAX - 3), [(u64::MAX - 3, u64::MAX - 1)]);
    assert_eq!(kept(&DeletionVector::new(), u64::MAX - 1), [(u64::MAX - 1, u64::MAX)]);
}
