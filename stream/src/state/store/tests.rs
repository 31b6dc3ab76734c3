//! A store against a plain map, with restarts from what it says must be written.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::state::Budget;
use crate::state::changelog::{decode, encode, open};
use datafusion::arrow::array::types::Int64Type;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::prelude::SessionContext;
use proptest::prelude::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8, true), Field::new("v", DataType::Int64, true)]))
}

fn store() -> Store {
    // Three bits: most keys collide.
    let mut store = Store::new(schema(), vec![0]).unwrap().with_mask(7);
    // A few rows: segments are not merged into one.
    store.set_most_bytes(600);
    store
}

/// Takes all rows out of memory.
fn put_away(store: &mut Store) {
    let budget = Budget { bytes: 0, disk: Arc::clone(&SessionContext::new().runtime_env().disk_manager) };
    while let Some((number, _)) = store.largest_held() {
        let filed = budget.put_away(store.held(number).unwrap()).unwrap();
        store.file(number, filed);
    }
}

fn batch(rows: &[(Option<u8>, i64)]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|row| row.0.map(|k| format!("key {k}")))));
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    RecordBatch::try_new(schema(), vec![keys, values]).unwrap()
}

fn read(rows: &RecordBatch) -> Vec<(Option<String>, i64)> {
    let keys = rows.column(0).as_string::<i32>();
    let values = rows.column(1).as_primitive::<Int64Type>();
    (0..rows.num_rows()).map(|row| (keys.is_valid(row).then(|| keys.value(row).to_owned()), values.value(row))).collect()
}

/// One epoch: rows to put in with the time of their end, keys to take out, the watermark.
type Epoch = (Vec<(Option<u8>, i64, Option<i64>)>, Vec<Option<u8>>, i64);

fn epochs() -> impl Strategy<Value = Vec<Epoch>> {
    let key = || proptest::option::weighted(0.9, 0..20_u8);
    let row = (key(), any::<i8>().prop_map(i64::from), proptest::option::weighted(0.7, 0..60_i64));
    let epoch = (proptest::collection::vec(row, 0..12), proptest::collection::vec(key(), 0..3), 0..4_i64);
    proptest::collection::vec(epoch, 1..25)
}

/// Files as they lie in a checkpoint.
#[derive(Default)]
struct Files(BTreeMap<u32, Vec<u8>>, Vec<u32>);

impl Files {
    fn write(&mut self, store: &mut Store) {
        for changes in store.changes().unwrap() {
            assert!(self.0.insert(changes.number, encode(&changes).unwrap()).is_none(), "numbers are used once");
        }
        let needed = store.needed();
        self.0.retain(|number, _| needed.contains(number));
        assert_eq!(self.0.keys().copied().collect::<BTreeSet<_>>(), needed);
        self.1 = self.0.keys().copied().collect();
        self.1.sort_by_key(|number| store.age(*number));
    }

    fn restore(&self, watermark: i64, seed: u64) -> Store {
        let mut store = store();
        store.set_seed(seed);
        let files = self.1.iter().map(|number| decode(*number, &self.0[number]).unwrap()).collect();
        store.restore(files, |end| end <= watermark).unwrap();
        store
    }
}

/// Now and then another one, as after another version.
fn seed(restarts: u32, epoch: usize) -> u64 {
    u64::from(restarts >> (epoch * 7 % 32) & 3 == 3)
}

fn content(store: &Store) -> Vec<(Option<String>, i64)> {
    let mut rows = read(&store.gather(&store.all()).unwrap());
    rows.sort();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_store_of_unique_keys_is_a_map_also_after_restarts(epochs in epochs(), restarts in any::<u32>(), on_disk in any::<u32>()) {
        let mut store = store();
        let mut files = Files::default();
        let mut model: BTreeMap<Option<String>, (i64, Option<i64>)> = BTreeMap::new();
        let mut watermark = 0;
        for (n, (rows, removed, step)) in epochs.into_iter().enumerate() {
            let newest: BTreeMap<Option<u8>, (i64, Option<i64>)> = rows.iter().map(|(k, v, end)| (*k, (*v, *end))).collect();
            let rows: Vec<_> = newest.iter().map(|(k, (v, _))| (*k, *v)).collect();
            let ends: Int64Array = newest.values().map(|(_, end)| *end).collect();
            let rows = batch(&rows);
            let keys = store.keying().of_batch(&rows).unwrap();
            let replaced = store.find(&keys).unwrap();
            for (index, place) in replaced.iter().enumerate() {
                let known = model.get(&read(&rows)[index].0).map(|(v, _)| *v);
                let stored = place.map(|place| read(&store.gather(&[place]).unwrap())[0].1);
                prop_assert_eq!(stored, known);
            }
            store.remove(&replaced.into_iter().flatten().collect::<Vec<_>>());
            store.insert(&rows, &keys, Some(ends)).unwrap();
            model.extend(newest.into_iter().map(|(k, row)| (k.map(|k| format!("key {k}")), row)));
            let gone = batch(&removed.iter().map(|k| (*k, 0)).collect::<Vec<_>>());
            let places: Vec<Place> = store.find(&store.keying().of_batch(&gone).unwrap()).unwrap().into_iter().flatten().collect();
            store.remove(&places);
            for k in &removed {
                model.remove(&k.map(|k| format!("key {k}")));
            }
            watermark += step;
            let ended = store.ended(Some(watermark));
            store.forget(&ended);
            model.retain(|_, (_, end)| end.is_none_or(|end| end > watermark));
            files.write(&mut store);
            let before = store.seed();
            if restarts >> (n % 32) & 1 == 1 {
                store = files.restore(watermark, seed(restarts, n));
            }
            if on_disk >> (n % 32) & 1 == 1 {
                put_away(&mut store);
                prop_assert!(store.rows() > 0 || store.filed_bytes() == 0);
                // Rows that were hashed anew stay until they are written.
                prop_assert!(store.rows() == 0 || store.filed_bytes() > 0 || store.seed() != before);
            }
            let expected: Vec<_> = model.iter().map(|(k, (v, _))| (k.clone(), *v)).collect();
            prop_assert_eq!(content(&store), expected);
        }
    }

    #[test]
    fn a_store_of_many_rows_a_key_is_a_bag_also_after_restarts(epochs in epochs(), restarts in any::<u32>(), on_disk in any::<u32>()) {
        let mut store = store();
        let mut files = Files::default();
        let mut model: Vec<(Option<String>, i64, Option<i64>)> = Vec::new();
        let mut watermark = 0;
        for (n, (rows, removed, step)) in epochs.into_iter().enumerate() {
            let ends: Int64Array = rows.iter().map(|(_, _, end)| *end).collect();
            model.extend(rows.iter().map(|(k, v, end)| (k.map(|k| format!("key {k}")), *v, *end)));
            let rows = batch(&rows.iter().map(|(k, v, _)| (*k, *v)).collect::<Vec<_>>());
            let keys = store.keying().of_batch(&rows).unwrap();
            store.insert(&rows, &keys, Some(ends)).unwrap();
            let gone = batch(&removed.iter().map(|k| (*k, 0)).collect::<Vec<_>>());
            let found = store.find_all(&store.keying().of_batch(&gone).unwrap()).unwrap();
            for (index, k) in removed.iter().enumerate() {
                let mut expected: Vec<i64> =
                    model.iter().filter(|row| row.0 == k.map(|k| format!("key {k}"))).map(|row| row.1).collect();
                let places: Vec<Place> = found.iter().filter(|(i, _)| *i as usize == index).map(|(_, place)| *place).collect();
                let mut stored: Vec<i64> = read(&store.gather(&places).unwrap()).into_iter().map(|row| row.1).collect();
                expected.sort_unstable();
                stored.sort_unstable();
                prop_assert_eq!(stored, expected);
            }
            store.remove(&found.into_iter().map(|(_, place)| place).collect::<Vec<_>>());
            model.retain(|row| !removed.iter().any(|k| row.0 == k.map(|k| format!("key {k}"))));
            watermark += step;
            let ended = store.ended(Some(watermark));
            store.forget(&ended);
            model.retain(|row| row.2.is_none_or(|end| end > watermark));
            files.write(&mut store);
            let before = store.seed();
            if restarts >> (n % 32) & 1 == 1 {
                store = files.restore(watermark, seed(restarts, n));
            }
            if on_disk >> (n % 32) & 1 == 1 {
                put_away(&mut store);
                prop_assert!(store.rows() > 0 || store.filed_bytes() == 0);
                // Rows that were hashed anew stay until they are written.
                prop_assert!(store.rows() == 0 || store.filed_bytes() > 0 || store.seed() != before);
            }
            let mut expected: Vec<_> = model.iter().map(|row| (row.0.clone(), row.1)).collect();
            expected.sort();
            prop_assert_eq!(content(&store), expected);
        }
    }
}

#[test]
fn rows_are_rewritten_a_logarithmic_number_of_times() {
    let mut store = Store::new(schema(), vec![0]).unwrap();
    let mut written = 0;
    for n in 0..256 {
        let rows = batch(&[(Some(0), n), (Some(1), n)]);
        let keys = store.keying().of_batch(&rows).unwrap();
        store.insert(&rows, &keys, None).unwrap();
        written += store.changes().unwrap().iter().map(|changes| changes.rows.num_rows()).sum::<usize>();
        assert!(store.needed().len() <= 10, "{} files", store.needed().len());
    }
    assert_eq!(store.rows(), 512);
    assert!(written <= 512 * 10, "{written} rows were written");
}

#[test]
fn one_key_without_columns_holds_for_all_rows() {
    let mut store = Store::new(schema(), vec![]).unwrap();
    for n in 0..3 {
        let rows = batch(&[(None, n)]);
        let keys = store.keying().of_batch(&rows).unwrap();
        let replaced = store.find(&keys).unwrap();
        assert_eq!(replaced[0].is_some(), n > 0);
        store.remove(&replaced.into_iter().flatten().collect::<Vec<_>>());
        store.insert(&rows, &keys, None).unwrap();
    }
    assert_eq!(content(&store), [(None, 2)]);
}

#[test]
fn a_file_on_the_disk_is_opened_by_its_end_and_read_block_by_block() {
    let mut store = Store::new(schema(), vec![0]).unwrap();
    store.set_seed(7);
    let rows: Vec<(Option<u8>, i64)> = (0..10_000).map(|n| (None, n)).collect();
    let keys = store.keying().of_batch(&batch(&rows)).unwrap();
    store.insert(&batch(&rows), &keys, None).unwrap();
    let changes = store.changes().unwrap().remove(0);
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = (folder.path().join("state"), encode(&changes).unwrap());
    std::fs::write(&path, &bytes).unwrap();
    let all = bytes.len() as u64;
    let recorded = open(changes.number, &path, all).unwrap();
    let Rows::Filed(filed) = &recorded.rows else { panic!("its rows are in memory") };
    let picked = filed.pick(&[0, 4_095, 4_096, 4_096, 9_999], &[1]).unwrap();
    let expected = changes.rows.column(1).as_primitive::<Int64Type>();
    let found = picked.column(0).as_primitive::<Int64Type>();
    assert_eq!(found.values().to_vec(), [0, 4_095, 4_096, 4_096, 9_999].map(|row| expected.value(row)));
    let mut again = Store::new(schema(), vec![0]).unwrap();
    again.set_seed(7);
    again.restore(vec![recorded], |_| false).unwrap();
    assert_eq!((again.rows(), content(&again)), (10_000, content(&store)));

    let says = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        open(changes.number, &path, all).unwrap_err().to_string()
    };
    assert!(says(&bytes[..bytes.len() - 1]).contains("bytes that were written"));
    let mut torn = bytes.clone();
    let end = torn.len();
    torn[end - 20] ^= 1;
    assert!(says(&torn).contains("does not end as a file of state does"), "{}", says(&torn));
    let recorded = decode(changes.number, &bytes).unwrap();
    let mut other = Store::new(schema(), vec![0]).unwrap();
    other.set_seed(8);
    other.restore(vec![recorded], |_| false).unwrap();
    assert_eq!((other.rows(), content(&other)), (10_000, content(&store)));
    let again = other.changes().unwrap();
    assert_eq!(again.iter().map(|changes| changes.rows.num_rows()).sum::<usize>(), 10_000, "hashed anew, and written again");
    assert_eq!(other.needed().into_iter().collect::<Vec<_>>(), [again[0].number]);
}

/// Rows that were put into another order are in no file until the next epoch is written: what goes meanwhile must not be written.
#[test]
fn a_row_that_goes_after_a_restart_in_another_order_stays_gone() {
    let mut store = store();
    let mut files = Files::default();
    let put = |store: &mut Store, rows: &[(Option<u8>, i64)]| {
        let rows = batch(rows);
        let keys = store.keying().of_batch(&rows).unwrap();
        let replaced = store.find(&keys).unwrap();
        store.remove(&replaced.into_iter().flatten().collect::<Vec<_>>());
        store.insert(&rows, &keys, None).unwrap();
    };
    put(&mut store, &[(Some(16), 0), (None, 0)]);
    files.write(&mut store);
    put(&mut store, &[(Some(14), 0)]);
    files.write(&mut store);
    let mut store = files.restore(0, 1);
    put(&mut store, &[(None, 1)]);
    files.write(&mut store);
    let store = files.restore(0, 0);
    let expected = [(None, 1), (Some("key 14".to_owned()), 0), (Some("key 16".to_owned()), 0)];
    assert_eq!(content(&store), expected);
}
