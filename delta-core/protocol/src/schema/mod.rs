//! Schemas: the JSON of the log, and Arrow.
//!
//! # Types
//! | Delta | Arrow read | Arrow accepted on write |
//! | --- | --- | --- |
//! | `string` | `Utf8` | `Utf8`, `LargeUtf8`, `Utf8View` |
//! | `long` | `Int64` | `Int64`, `UInt32` |
//! | `integer` | `Int32` | `Int32`, `UInt16` |
//! | `short` | `Int16` | `Int16`, `UInt8` |
//! | `byte` | `Int8` | `Int8` |
//! | `float` | `Float32` | `Float32`, `Float16` |
//! | `double` | `Float64` | `Float64` |
//! | `decimal(p,s)` | `Decimal128` | `Decimal32` to `Decimal256` with p <= 38 and 0 <= s <= p; `UInt64` as `decimal(20,0)` |
//! | `boolean` | `Boolean` | `Boolean` |
//! | `binary` | `Binary` | `Binary`, `LargeBinary`, `BinaryView`, `FixedSizeBinary` |
//! | `date` | `Date32` | `Date32`, `Date64` |
//! | `timestamp` | `Timestamp(µs, "UTC")` | `Timestamp` of any unit with any time zone |
//! | `timestamp_ntz` | `Timestamp(µs)` | `Timestamp` of any unit without time zone |
//! | `void` | `Null` | `Null` |
//! | `struct` | `Struct` | `Struct` |
//! | `array` | `List` | `List`, `LargeList`, `FixedSizeList` and the list views |
//! | `map` | `Map` | `Map` |
//! | `variant` | `Struct<metadata: Binary, value: Binary>` with the extension type `arrow.parquet.variant` | the same |
//!
//! `Dictionary` and `RunEndEncoded` are what their values are. Nanoseconds lose what is below a
//! microsecond. Times of day, durations, intervals and unions have no Delta type and are refused.

mod arrow;
mod assign;
mod check;
mod data_type;
mod edit;
mod json;
pub(crate) mod keys;
mod mapping;
mod merge;
mod replace;
mod type_changes;
mod validate;
mod walk;
mod widen;

pub use arrow::{VARIANT_EXTENSION, is_variant};
pub use assign::{NestedIds, PhysicalName};
pub use check::SchemaMismatch;
pub use data_type::{ArrayType, DataType, FieldMetadata, MapType, PrimitiveType, StructField, StructType};
pub use mapping::ColumnMappingMode;
pub use replace::{ReplaceProblem, ReplaceRules, ReplacedColumns};
pub use widen::Widening;
