//! Every target on mutations of its seeds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, Once, PoisonError};

use boathouse_fuzzing::{Mutator, TARGETS};
use peak_alloc::PeakAlloc;

use crate::targets::fuzz_folder;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The peak of memory is one for the process: targets run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

/// Where code panicked in a case, and how often: also where a reader caught it.
static PANICS: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

/// Panics are counted, not printed: a backtrace costs more memory than any case may.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or_else(String::new, ToString::to_string);
            // The assertions of this file are the test itself.
            if place.contains("short_run.rs") {
                return before(info);
            }
            let said = info.payload_as_str().unwrap_or_default();
            let said: String = said.chars().take(300).collect();
            *PANICS.lock().unwrap_or_else(PoisonError::into_inner).entry(format!("{place}: {said}")).or_default() += 1;
        }));
    });
}

/// No case is longer: seeds are small, and mutations grow them.
const LONGEST: usize = 1 << 16;
/// What reading may cost whatever the input is: buffers, a runtime, an open table.
const FIXED_BYTES: usize = 24 << 20;
/// What a byte of input may cost. A Roaring bitmap keeps up to 8 KB for a container of 10 bytes.
const BYTES_PER_BYTE: usize = 1 << 10;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => default,
    }
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = fuzz_folder().join("seeds").join(name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no seeds", folder.display());
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Runs a target on its seeds as they are, and on mutations of them.
fn run(name: &str) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    count_panics();
    PANICS.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seed = number("BOATHOUSE_SEED", 20_240_817);
    let cases = u64::from(target.cases) * number("BOATHOUSE_FUZZ_CASES", 1);
    println!("{name}: {cases} cases from BOATHOUSE_SEED={seed}");
    // A case that ends the process (no memory, no stack) is still there afterwards.
    let last = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}.last"));
    let mut last_file = File::create(&last).unwrap();
    let seeds = seeds(name);
    let mut mutator = Mutator::new(seeds.clone(), seed, LONGEST);
    let mutated = std::iter::repeat_with(|| mutator.case()).take(usize::try_from(cases).unwrap());
    for (nth, case) in seeds.into_iter().chain(mutated).enumerate() {
        // Over what was there: a file that is cut to nothing and written again is flushed by some file systems.
        last_file.rewind().unwrap();
        last_file.write_all(&case).unwrap();
        last_file.set_len(case.len() as u64).unwrap();
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&case)));
        let peak = MEMORY.peak_usage().saturating_sub(before);
        let kept = || {
            let kept = last.with_extension(format!("{nth}.case"));
            std::fs::write(&kept, &case).unwrap();
            kept.display().to_string()
        };
        if outcome.is_err() {
            panic!("{name}: case {nth} of BOATHOUSE_SEED={seed} panicked; it is kept in {}: {:#?}", kept(), PANICS.lock());
        }
        let allowed = FIXED_BYTES + BYTES_PER_BYTE * case.len();
        assert!(
            peak <= allowed,
            "{name}: case {nth} of BOATHOUSE_SEED={seed}, {} bytes, took {peak} bytes of memory; it is kept in {}",
            case.len(),
            kept()
        );
    }
    std::fs::remove_file(&last).unwrap();
    for (panic, times) in std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner)) {
        println!("{name}: caught {times} times: {panic}");
        assert!(!panic.contains("delta-core/"), "{name}: BOATHOUSE_SEED={seed}: our own code panicked: {panic}");
    }
}

macro_rules! short_runs {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                run($name);
            }
        )*

        #[test]
        fn no_target_is_left_out() {
            assert_eq!([$($name),*].as_slice(), TARGETS.iter().map(|target| target.name).collect::<Vec<_>>());
        }
    };
}

short_runs! {
    arbitrary_commits_are_read_or_refused: "commit",
    arbitrary_checksums_are_read_or_refused: "checksum",
    arbitrary_checkpoint_hints_are_read_or_refused: "last_checkpoint",
    arbitrary_names_in_a_log_are_planned_or_refused: "log_names",
    arbitrary_schemas_are_read_or_refused: "schema",
    arbitrary_statistics_are_read_or_refused: "stats",
    arbitrary_partition_values_are_read_or_refused: "partition_value",
    arbitrary_deletion_vectors_are_read_or_refused: "vector",
    arbitrary_vector_descriptors_are_read_or_refused: "vector_descriptor",
    tables_with_arbitrary_logs_are_read_or_refused: "table_log",
    tables_with_arbitrary_checkpoints_are_read_or_refused: "table_checkpoint",
    tables_with_arbitrary_vector_files_are_read_or_refused: "table_vector",
    tables_with_arbitrary_data_files_are_read_or_refused: "table_data",
}
