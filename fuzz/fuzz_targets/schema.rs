#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| boathouse_fuzzing::run("schema", bytes));
