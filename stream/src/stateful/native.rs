//! Values of states as types of Rust.

use datafusion::common::ScalarValue;

/// A type that the values of a column can be read as.
pub trait FromScalar: Sized {
    /// The value, when it has this type and is not null.
    fn from_scalar(value: &ScalarValue) -> Option<Self>;
}

macro_rules! from_scalar {
    ($($native:ty: $($variant:ident)|+;)+) => {
        $(impl FromScalar for $native {
            fn from_scalar(value: &ScalarValue) -> Option<Self> {
                match value {
                    $(ScalarValue::$variant(inner))|+ => inner.clone(),
                    _ => None,
                }
            }
        })+
    };
}

from_scalar! {
    bool: Boolean;
    i8: Int8;
    i16: Int16;
    i32: Int32 | Date32;
    u8: UInt8;
    u16: UInt16;
    u32: UInt32;
    u64: UInt64;
    f32: Float32;
    f64: Float64;
    String: Utf8 | LargeUtf8 | Utf8View;
    Vec<u8>: Binary | LargeBinary | BinaryView;
}

/// Timestamps are the number of their units since the Unix epoch.
impl FromScalar for i64 {
    fn from_scalar(value: &ScalarValue) -> Option<Self> {
        match value {
            ScalarValue::Int64(inner)
            | ScalarValue::Date64(inner)
            | ScalarValue::TimestampSecond(inner, _)
            | ScalarValue::TimestampMillisecond(inner, _)
            | ScalarValue::TimestampMicrosecond(inner, _)
            | ScalarValue::TimestampNanosecond(inner, _) => *inner,
            _ => None,
        }
    }
}
