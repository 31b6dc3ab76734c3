//! Statistics of a written file, from the Parquet metadata that writing it produced.

use boathouse_base::Value;
use boathouse_delta_protocol::schema::{DataType, PrimitiveType, StructField};
use boathouse_delta_protocol::stats::{ColumnPath, ColumnStats, FileStats};
use bytes::Bytes;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;

/// A leaf column of the files that may have statistics.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    /// Its place among the leaves of the Parquet schema.
    pub(crate) at: usize,
    pub(crate) path: ColumnPath,
    /// `None` for variants: their nulls are counted, and they have no bounds.
    pub(crate) data_type: Option<PrimitiveType>,
}

/// The leaves of these columns of the table, of which the file has all. Lists and maps have none; of the two of a variant, which are
/// null together with it, the first.
pub(crate) fn leaves<'a>(fields: impl IntoIterator<Item = &'a StructField>) -> Vec<Leaf> {
    fn walk(field: &StructField, parents: &[String], at: &mut usize, found: &mut Vec<Leaf>) {
        let names: Vec<String> = parents.iter().cloned().chain([field.name.clone()]).collect();
        match &field.data_type {
            DataType::Primitive(primitive) => {
                found.push(Leaf { at: *at, path: ColumnPath::new(names), data_type: Some(*primitive) });
                *at += 1;
            }
            DataType::Variant => {
                found.push(Leaf { at: *at, path: ColumnPath::new(names), data_type: None });
                *at += 2;
            }
            DataType::Struct(inner) => inner.fields.iter().for_each(|f| walk(f, &names, at, found)),
            other => *at += width(other),
        }
    }
    fn width(data_type: &DataType) -> usize {
        match data_type {
            DataType::Primitive(_) => 1,
            DataType::Struct(inner) => inner.fields.iter().map(|f| width(&f.data_type)).sum(),
            DataType::Array(array) => width(&array.element),
            DataType::Map(map) => width(&map.key) + width(&map.value),
            // `metadata` and `value`.
            DataType::Variant => 2,
        }
    }
    let (mut at, mut found) = (0, Vec::new());
    fields.into_iter().for_each(|field| walk(field, &[], &mut at, &mut found));
    found
}

/// The statistics of a file, of the leaves in `indexed`.
pub(crate) fn collect(metadata: &ParquetMetaData, leaves: &[Leaf], indexed: &[ColumnPath], has_nan: &[bool]) -> FileStats {
    let rows = metadata.row_groups().iter().map(|group| group.num_rows()).sum::<i64>();
    let mut stats = FileStats { num_records: u64::try_from(rows).ok(), ..FileStats::default() };
    for leaf in leaves.iter().filter(|l| indexed.contains(&l.path)) {
        let mut known = fold(metadata, leaf);
        if has_nan.get(leaf.at).copied().unwrap_or_default() {
            (known.min, known.max) = (None, None);
        }
        stats.columns.insert(leaf.path.clone(), known);
    }
    stats
}

/// What all row groups together say of a leaf. One that says nothing makes all of it unknown.
fn fold(metadata: &ParquetMetaData, leaf: &Leaf) -> ColumnStats {
    let mut known = ColumnStats { min: None, max: None, null_count: Some(0) };
    let (mut min_known, mut max_known) = (true, true);
    for group in metadata.row_groups() {
        let stats = group.columns().get(leaf.at).and_then(|c| c.statistics());
        let nulls = stats.and_then(Statistics::null_count_opt);
        known.null_count = known.null_count.zip(nulls).map(|(a, b)| a + b);
        // A row group of nulls alone has no bounds, and needs none.
        if nulls.is_some_and(|n| i64::try_from(n) == Ok(group.num_rows())) {
            continue;
        }
        match stats.zip(leaf.data_type).map(|(s, data_type)| bounds(s, data_type)) {
            Some((min, max)) => {
                narrow(&mut known.min, min, &mut min_known, std::cmp::Ordering::Less);
                narrow(&mut known.max, max, &mut max_known, std::cmp::Ordering::Greater);
            }
            None => (min_known, max_known) = (false, false),
        }
    }
    ColumnStats { min: known.min.filter(|_| min_known), max: known.max.filter(|_| max_known), ..known }
}

fn narrow(held: &mut Option<Value>, next: Option<Value>, known: &mut bool, keep: std::cmp::Ordering) {
    match (held.as_ref(), next) {
        (_, None) => *known = false,
        (None, Some(next)) => *held = Some(next),
        (Some(value), Some(next)) => match next.compare(value) {
            Some(order) if order == keep => *held = Some(next),
            Some(_) => {}
            None => *known = false,
        },
    }
}

/// Minimum and maximum of a column chunk, as values of the table's type. What is odd is unknown.
///
/// A minimum or maximum of text may be cut: down and up, so that it is a bound all the same.
pub(crate) fn bounds(stats: &Statistics, data_type: PrimitiveType) -> (Option<Value>, Option<Value>) {
    if stats.is_min_max_deprecated() {
        return (None, None);
    }
    macro_rules! each {
        ($stats:expr, $value:expr) => {
            ($stats.min_opt().and_then($value), $stats.max_opt().and_then($value))
        };
    }
    match stats {
        Statistics::Boolean(s) if data_type == PrimitiveType::Boolean => each!(s, |v| Some(Value::Boolean(*v))),
        Statistics::Int32(s) => each!(s, |v: &i32| integer(i64::from(*v), data_type)),
        Statistics::Int64(s) => each!(s, |v: &i64| integer(*v, data_type)),
        Statistics::Float(s) => each!(s, |v: &f32| float(f64::from(*v), data_type)),
        Statistics::Double(s) => each!(s, |v: &f64| float(*v, data_type)),
        Statistics::ByteArray(s) => each!(s, |v: &parquet::data_type::ByteArray| bytes(v.data(), data_type)),
        Statistics::FixedLenByteArray(s) => {
            each!(s, |v: &parquet::data_type::FixedLenByteArray| bytes(v.data(), data_type))
        }
        _ => (None, None),
    }
}

fn integer(value: i64, data_type: PrimitiveType) -> Option<Value> {
    Some(match data_type {
        PrimitiveType::Long | PrimitiveType::Integer | PrimitiveType::Short | PrimitiveType::Byte => Value::Int(value),
        PrimitiveType::Date => Value::Date(i32::try_from(value).ok()?),
        PrimitiveType::Timestamp => Value::Timestamp(value),
        PrimitiveType::TimestampNtz => Value::TimestampNtz(value),
        PrimitiveType::Decimal { scale, .. } => Value::Decimal { unscaled: value.into(), scale: i8::try_from(scale).ok()? },
        _ => return None,
    })
}

fn float(value: f64, data_type: PrimitiveType) -> Option<Value> {
    (matches!(data_type, PrimitiveType::Float | PrimitiveType::Double) && !value.is_nan()).then_some(Value::Float(value))
}

fn bytes(value: &[u8], data_type: PrimitiveType) -> Option<Value> {
    match data_type {
        PrimitiveType::String => std::str::from_utf8(value).ok().map(|text| Value::String(text.to_owned())),
        PrimitiveType::Binary => Some(Value::Binary(Bytes::copy_from_slice(value))),
        PrimitiveType::Decimal { scale, .. } if !value.is_empty() && value.len() <= 16 => {
            // Big-endian two's complement, of any length.
            let sign = if value[0] & 0x80 == 0 { 0 } else { 0xff };
            let mut wide = [sign; 16];
            wide[16 - value.len()..].copy_from_slice(value);
            Some(Value::Decimal { unscaled: i128::from_be_bytes(wide), scale: i8::try_from(scale).ok()? })
        }
        _ => None,
    }
}
