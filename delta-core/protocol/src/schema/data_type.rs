//! The types of the Delta schema.

use std::fmt;

use serde_json::{Map, Value};

/// The name of [`DataType::Variant`] in the log.
pub(super) const VARIANT: &str = "variant";

/// Metadata of a column, as it stands in the log.
pub type FieldMetadata = Map<String, Value>;

/// A struct: the schema of a table, or a nested column.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StructType {
    /// The columns, in order.
    pub fields: Vec<StructField>,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct StructField {
    /// The name that users see.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it may be null.
    pub nullable: bool,
    /// Column mapping, invariants, comments, and what else writers keep here.
    pub metadata: FieldMetadata,
}

/// The type of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum DataType {
    /// A single value.
    Primitive(PrimitiveType),
    /// Named columns.
    Struct(StructType),
    /// A list.
    Array(Box<ArrayType>),
    /// Keys and values.
    Map(Box<MapType>),
    /// A value that brings its own type. It has no order: it cannot be a partition column and has no bounds.
    Variant,
}

/// The type of a single value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrimitiveType {
    /// UTF-8 text.
    String,
    /// 64-bit integer.
    Long,
    /// 32-bit integer.
    Integer,
    /// 16-bit integer.
    Short,
    /// 8-bit integer.
    Byte,
    /// 32-bit float.
    Float,
    /// 64-bit float.
    Double,
    /// Exact number.
    Decimal {
        /// Digits, at most 38.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// True or false.
    Boolean,
    /// Bytes.
    Binary,
    /// A day.
    Date,
    /// An instant, in microseconds.
    Timestamp,
    /// Microseconds on a local clock.
    TimestampNtz,
    /// Always null; never stored in files.
    Void,
}

/// A list.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrayType {
    /// The type of its elements.
    pub element: DataType,
    /// Whether an element may be null.
    pub contains_null: bool,
}

/// Keys and values.
#[derive(Debug, Clone, PartialEq)]
pub struct MapType {
    /// The type of the keys, which are never null.
    pub key: DataType,
    /// The type of the values.
    pub value: DataType,
    /// Whether a value may be null.
    pub value_contains_null: bool,
}

impl StructType {
    /// A struct of these columns.
    pub fn new(fields: impl IntoIterator<Item = StructField>) -> Self {
        Self { fields: fields.into_iter().collect() }
    }

    /// The column of this name: exactly, or else without regard to letter case.
    pub fn field(&self, name: &str) -> Option<&StructField> {
        self.index_of(name).map(|at| &self.fields[at])
    }

    /// The place of the column of this name: exactly, or else without regard to letter case.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name).or_else(|| self.fields.iter().position(|f| same_name(&f.name, name)))
    }

    /// The column at a dotted path: a name that has dots itself is found as well.
    ///
    /// `None` when there is none, or when two columns can be meant.
    pub fn field_at(&self, path: &str) -> Option<&StructField> {
        let mut found = self.paths_to(path).into_iter();
        let first = found.next()?;
        if found.next().is_some() { None } else { first.last().copied() }
    }

    /// All ways to read a dotted path, each as the columns from the top.
    pub(crate) fn paths_to<'a>(&'a self, path: &str) -> Vec<Vec<&'a StructField>> {
        let mut ways = Vec::new();
        for field in &self.fields {
            if field.name == path {
                ways.push(vec![field]);
            } else if let DataType::Struct(inner) = &field.data_type
                && let Some(rest) = path.strip_prefix(field.name.as_str()).and_then(|r| r.strip_prefix('.'))
            {
                for mut way in inner.paths_to(rest) {
                    way.insert(0, field);
                    ways.push(way);
                }
            }
        }
        ways
    }

    /// Names of the columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|f| f.name.as_str())
    }
}

/// Delta's idea of "the same name".
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a == b || (a.is_ascii() && b.is_ascii() && a.eq_ignore_ascii_case(b)) || a.to_lowercase() == b.to_lowercase()
}

impl StructField {
    /// A column without metadata.
    pub fn new(name: impl Into<String>, data_type: impl Into<DataType>, nullable: bool) -> Self {
        Self { name: name.into(), data_type: data_type.into(), nullable, metadata: FieldMetadata::new() }
    }

    /// A column that may be null.
    pub fn nullable(name: impl Into<String>, data_type: impl Into<DataType>) -> Self {
        Self::new(name, data_type, true)
    }

    /// A column that is never null.
    pub fn required(name: impl Into<String>, data_type: impl Into<DataType>) -> Self {
        Self::new(name, data_type, false)
    }
}

impl DataType {
    /// The type as a primitive one.
    pub fn as_primitive(&self) -> Option<PrimitiveType> {
        match self {
            Self::Primitive(primitive) => Some(*primitive),
            _ => None,
        }
    }
}

impl From<PrimitiveType> for DataType {
    fn from(primitive: PrimitiveType) -> Self {
        Self::Primitive(primitive)
    }
}

impl From<StructType> for DataType {
    fn from(inner: StructType) -> Self {
        Self::Struct(inner)
    }
}

impl From<ArrayType> for DataType {
    fn from(array: ArrayType) -> Self {
        Self::Array(Box::new(array))
    }
}

impl From<MapType> for DataType {
    fn from(map: MapType) -> Self {
        Self::Map(Box::new(map))
    }
}

impl fmt::Display for PrimitiveType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Long => "long",
            Self::Integer => "integer",
            Self::Short => "short",
            Self::Byte => "byte",
            Self::Float => "float",
            Self::Double => "double",
            Self::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
            Self::Boolean => "boolean",
            Self::Binary => "binary",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::TimestampNtz => "timestamp_ntz",
            Self::Void => "void",
        })
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primitive(primitive) => primitive.fmt(f),
            Self::Struct(inner) => inner.fmt(f),
            Self::Array(array) => write!(f, "array<{}>", array.element),
            Self::Map(map) => write!(f, "map<{},{}>", map.key, map.value),
            Self::Variant => f.write_str(VARIANT),
        }
    }
}

impl fmt::Display for StructType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("struct<")?;
        for (i, field) in self.fields.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{}:{}", field.name, field.data_type)?;
        }
        f.write_str(">")
    }
}
