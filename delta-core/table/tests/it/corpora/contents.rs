//! Rows of tables that come without expected ones, or with wrong ones.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use boathouse_base::{Comparison, Predicate, ScanRequest, Value};
use boathouse_delta_table::DeltaTable;

use super::archive::Archive;
use super::rows::{bag_of_batches, bag_of_files};

async fn rows(table: &DeltaTable, predicate: Option<Predicate>) -> Vec<String> {
    let snapshot = table.snapshot().await.unwrap();
    let batches = snapshot.scan(ScanRequest { predicate, ..ScanRequest::default() }).unwrap().collect().await.unwrap();
    bag_of_batches(&snapshot.schema(), &batches).unwrap()
}

/// `as_timestamp` is a partition column with the text `2021-09-08 11:11:11`. Without a zone in it, the writer's is
/// meant; it ran in the Pacific zone, and the expectation was written in UTC from what a reader there saw, seven hours
/// later. A reader that knows no such zone takes the text as UTC, as the kernels do, which skip this table in their
/// own tests for that reason.
#[tokio::test]
async fn the_instant_of_data_reader_partition_values_is_what_its_log_says_and_not_what_its_expectation_says() {
    let name = "golden/data-reader-partition-values";
    let archive = Archive::unpack("golden");
    let table = archive.open(name);
    let snapshot = table.snapshot().await.unwrap();
    let expected = bag_of_files(&snapshot.schema(), &archive.expected(name).unwrap()).unwrap();
    let (right, shifted) = ("|1631099471000000us|", "|1631124671000000us|");
    let corrected: Vec<String> = expected.iter().map(|row| row.replace(shifted, right)).collect();
    assert_ne!(corrected, expected, "the expectation is still wrong");
    assert_eq!(rows(&table, None).await, corrected);
}

#[tokio::test]
async fn files_of_before_a_widening_are_read_as_the_wider_types() {
    let archive = Archive::unpack("kernel-data");
    let table = archive.open("kernel-data/type-widening");
    let narrow = format!(
        "1|2|d{:x}|d{:x}|d{:x}|d{:x}|12345e-2|6789000e-5|10e-1|20e-1|30e-1|40e-1|1725840000000000us|",
        f64::from(3.4_f32).to_bits(),
        5_f64.to_bits(),
        6_f64.to_bits(),
        7_f64.to_bits()
    );
    let bits = 1.234_567_890_123_f64.to_bits();
    let wide = format!(
        "{max}|{max}|d{bits:x}|d{bits:x}|d{bits:x}|d{bits:x}|1234567890123456e-2|1234567890123456e-5|1234e-1|123456e-1|\
         12345678901e-1|1234567890123456789e-1|1725885296123456us|",
        max = i64::MAX
    );
    assert_eq!(rows(&table, None).await, [narrow.clone(), wide.clone()]);
    let after = Predicate::compare("date_timestamp_ntz", Comparison::Gt, Value::TimestampNtz(1_725_840_000_000_000));
    assert_eq!(rows(&table, Some(after)).await, [wide], "the file of before has a day as its maximum");
    let decimal = Predicate::eq("decimal_decimal_greater_scale", Value::Decimal { unscaled: 6_789_000, scale: 5 });
    assert!(rows(&table, Some(decimal)).await.contains(&narrow));

    let archive = Archive::unpack("golden-spark");
    let nested = rows(&archive.open("golden-spark/type-widening-nested"), None).await;
    let (max, min) = (i64::MAX, i64::MIN);
    assert_eq!(nested, ["{a:1,}|<2=3>|[4,5,]|".to_owned(), format!("{{a:{max},}}|<{max}={max}>|[{max},{min},]|")]);
}

/// The value of a variant as text: objects of integers and short strings.
fn variant_text(metadata: &[u8], value: &[u8]) -> String {
    let name = |id: usize| {
        let start = 3 + usize::from(metadata[1]);
        let offset = |nth: usize| start + usize::from(metadata[2 + nth]);
        String::from_utf8(metadata[offset(id)..offset(id + 1)].to_vec()).unwrap()
    };
    match (value[0] & 3, value[0] >> 2) {
        (0, 0) => "null".to_owned(),
        (0, 3) => i8::from_le_bytes([value[1]]).to_string(),
        (0, 4) => i16::from_le_bytes(value[1..3].try_into().unwrap()).to_string(),
        (0, 6) => i64::from_le_bytes(value[1..9].try_into().unwrap()).to_string(),
        (1, length) => format!("{:?}", std::str::from_utf8(&value[1..=usize::from(length)]).unwrap()),
        (2, 0) => {
            let count = usize::from(value[1]);
            let values = 2 + count + count + 1;
            let fields = (0..count).map(|nth| {
                let at = values + usize::from(value[2 + count + nth]);
                format!("{}:{}", name(usize::from(value[2 + nth])), variant_text(metadata, &value[at..]))
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        other => panic!("no text for a variant of {other:?}"),
    }
}

#[tokio::test]
async fn variants_that_spark_shredded_are_whole_again() {
    let archive = Archive::unpack("spark");
    let snapshot = archive.open("spark/variant-stats-nested-no-checkpoint").snapshot().await.unwrap();
    let mut found = Vec::new();
    for batch in snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap() {
        let numbers = batch.column(0).as_primitive::<arrow_array::types::Int32Type>().clone();
        let variants = batch.column(1).as_struct().column(0).as_struct().clone();
        let (metadata, value) = (variants.column(0).as_binary::<i32>(), variants.column(1).as_binary::<i32>());
        for row in 0..batch.num_rows() {
            assert!(variants.is_valid(row));
            found.push(format!("{} {}", numbers.value(row), variant_text(metadata.value(row), value.value(row))));
        }
    }
    found.sort();
    let expected: Vec<String> = (100..110).map(|n| format!("{n} {{name:\"item_{n}\",value:{n}}}")).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn variants_in_every_kind_of_column_are_as_upstream_shows_them() {
    let archive = Archive::unpack("kernel-data");
    let shown = archive.text("kernel-data/unshredded-variant/expected.in");
    // Lines of a table in a list of strings: `"| 0  | {metadata: 01, value: 02} | ... |",`.
    let expected: Vec<String> = shown
        .lines()
        .filter_map(|line| line.trim().strip_prefix("\"| ")?.strip_suffix(" |\","))
        .filter(|line| !line.starts_with("id "))
        .map(|line| line.split('|').map(|cell| format!("{}|", cell.trim())).collect())
        .collect();
    assert_eq!(expected.len(), 102);
    let found = rows(&archive.open("kernel-data/unshredded-variant"), None).await;
    // The same spelling as upstream's: `{metadata: 01, value: 02}`, nothing for a null, `{key: value}` for a map.
    let mut spelled: Vec<String> = found.iter().map(|row| upstream_spelling(row)).collect();
    let mut expected: Vec<String> = expected.iter().map(|row| row.replace(' ', "")).collect();
    spelled.sort();
    expected.sort();
    assert_eq!(spelled, expected);
}

fn upstream_spelling(row: &str) -> String {
    row.replace(",}", "}").replace(",]", "]").replace(['"', '-'], "").replace('<', "{").replace('>', "}").replace('=', ":")
}
