//! Names of types in SQL, for everyone who reads them.

use arrow_schema::{DataType, TimeUnit};

/// The precision of a `DECIMAL` that names none.
pub const DECIMAL_PRECISION: u8 = 10;

/// The type that a word means, in any letter case: `BIGINT`, `timestamp_ntz`. Nothing for words that need more (`DECIMAL`, `ARRAY`, `STRUCT`), or
/// mean no type.
///
/// **Source**: Spark SQL reference, "Data types".
///
/// # Example
/// ```
/// use arrow_schema::DataType;
/// use boathouse_base::sql_type;
///
/// assert_eq!(sql_type("BigInt"), Some(DataType::Int64));
/// assert_eq!(sql_type("array"), None);
/// ```
pub fn sql_type(word: &str) -> Option<DataType> {
    Some(match word.to_ascii_lowercase().as_str() {
        "boolean" => DataType::Boolean,
        "tinyint" | "byte" => DataType::Int8,
        "smallint" | "short" => DataType::Int16,
        "int" | "integer" => DataType::Int32,
        "bigint" | "long" => DataType::Int64,
        "float" | "real" => DataType::Float32,
        "double" => DataType::Float64,
        "date" => DataType::Date32,
        "timestamp" | "timestamp_ltz" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "timestamp_ntz" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "binary" => DataType::Binary,
        "string" => DataType::Utf8,
        _ => return None,
    })
}

/// Whether a word begins a decimal type: `DECIMAL`, `DEC`, `NUMERIC`.
pub fn is_sql_decimal(word: &str) -> bool {
    ["decimal", "dec", "numeric"].iter().any(|name| word.eq_ignore_ascii_case(name))
}

/// `DECIMAL(precision, scale)`; nothing when there is no such type: the precision goes from 1 to 38, the scale from 0 to the precision.
pub fn sql_decimal(precision: u8, scale: u8) -> Option<DataType> {
    let exists = (1..=38).contains(&precision) && scale <= precision;
    let scale = i8::try_from(scale).ok().filter(|_| exists)?;
    Some(DataType::Decimal128(precision, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_that_do_not_exist_are_none() {
        assert!(is_sql_decimal("Numeric") && !is_sql_decimal("decimals"));
        assert_eq!(sql_decimal(38, 38), Some(DataType::Decimal128(38, 38)));
        for (precision, scale) in [(0, 0), (39, 0), (5, 6), (255, 255)] {
            assert_eq!(sql_decimal(precision, scale), None, "({precision}, {scale})");
        }
    }
}
