//! The bytes of one variant value, and of the names that it refers to.

use std::collections::HashMap;

/// What can be wrong with a variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VariantProblem {
    /// The names end too early, or are not text.
    #[error("the metadata of a variant in row {row} is damaged")]
    Metadata {
        /// The row of the batch.
        row: usize,
    },
    /// A value ends too early, or is of a type that is not known.
    #[error("the value of a variant in row {row} is damaged")]
    Value {
        /// The row of the batch.
        row: usize,
    },
    /// A field whose name is not among the names.
    #[error("a variant in row {row} has a field `{name}` that its metadata does not name")]
    UnknownField {
        /// The row of the batch.
        row: usize,
        /// The field.
        name: String,
    },
    /// A field that stands both in its own column and in the rest of the object.
    #[error("a variant in row {row} has the field `{name}` twice")]
    DuplicateField {
        /// The row of the batch.
        row: usize,
        /// The field.
        name: String,
    },
    /// Typed and untyped at once, where only an object can be.
    #[error("a variant in row {row} has two values")]
    TwoValues {
        /// The row of the batch.
        row: usize,
    },
    /// A column of a type that no variant has.
    #[error("a variant is shredded into a column of type {data_type}, which no variant has")]
    ColumnType {
        /// The Arrow type.
        data_type: arrow_schema::DataType,
    },
}

/// The null of variants.
pub(super) const NULL: u8 = 0;
const OBJECT: u8 = 2;
const ARRAY: u8 = 3;

/// A number of `size` bytes, the lowest first.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let found = bytes.get(at..at.checked_add(size)?)?;
    found.iter().rev().try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))
}

/// How many bytes hold a number.
fn width(number: usize) -> usize {
    match number {
        0..=0xFF => 1,
        0x100..=0xFFFF => 2,
        0x1_0000..=0xFF_FFFF => 3,
        _ => 4,
    }
}

fn push(into: &mut Vec<u8>, number: usize, size: usize) {
    into.extend(number.to_le_bytes().iter().take(size));
}

/// The names of a row: number to name, and back.
pub(super) struct Names<'a> {
    names: Vec<&'a str>,
    numbers: HashMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    /// Reads the metadata of a row. `None`: it is damaged.
    pub(super) fn parse(metadata: &'a [u8]) -> Option<Self> {
        let header = *metadata.first()?;
        if header & 0b1111 != 1 {
            return None;
        }
        let size = usize::from(header >> 6) + 1;
        let count = number(metadata, 1, size)?;
        let offsets = 1 + size;
        // As many offsets as are said to be there must be there, before anything is allocated for them.
        let text = metadata.get(offsets.checked_add(count.checked_add(1)?.checked_mul(size)?)?..)?;
        let mut names = Vec::with_capacity(count);
        let mut start = number(metadata, offsets, size)?;
        for nth in 1..=count {
            let end = number(metadata, offsets + nth * size, size)?;
            names.push(std::str::from_utf8(text.get(start..end)?).ok()?);
            start = end;
        }
        let numbers = names.iter().enumerate().map(|(number, name)| (*name, number)).collect();
        Some(Self { names, numbers })
    }

    pub(super) fn number_of(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    fn name(&self, number: usize) -> Option<&'a str> {
        self.names.get(number).copied()
    }
}

/// The bytes of the value that starts here. `None`: they are damaged.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let header = *bytes.first()?;
    let above = header >> 2;
    let length = match header & 0b11 {
        0 => match above {
            0..=2 => 1,
            3 => 2,
            4 => 3,
            5 | 11 | 14 => 5,
            6 | 7 | 12 | 13 | 17..=19 => 9,
            8 => 6,
            9 => 10,
            10 => 18,
            15 | 16 => number(bytes, 1, 4)?.checked_add(5)?,
            20 => 17,
            _ => return None,
        },
        1 => usize::from(above) + 1,
        OBJECT => Object::parse(bytes)?.end(),
        _ => {
            let (offset_size, count_size) = (usize::from(above & 0b11) + 1, if above & 0b100 == 0 { 1 } else { 4 });
            let count = number(bytes, 1, count_size)?;
            let last = count.checked_mul(offset_size)?.checked_add(1 + count_size)?;
            last.checked_add(offset_size)?.checked_add(number(bytes, last, offset_size)?)?
        }
    };
    (length <= bytes.len()).then_some(length)
}

/// Values within values that are followed at most.
const DEEPEST: usize = 256;

/// Whether the bytes are one value and nothing else, all parts of it lie in it, and its fields have names. Nothing deeper than 256 levels
/// is, and nothing whose parts share so many bytes that there are more parts than bytes.
pub(super) fn is_whole(bytes: &[u8], names: &Names<'_>) -> bool {
    // Every part has a byte of its own, unless offsets lie: then two parts could be each other's doubles at every level.
    let mut parts_left = bytes.len();
    is_whole_at(bytes, names, 0, &mut parts_left)
}

fn is_whole_at(bytes: &[u8], names: &Names<'_>, depth: usize, parts_left: &mut usize) -> bool {
    if depth > DEEPEST || *parts_left == 0 || length(bytes) != Some(bytes.len()) {
        return false;
    }
    *parts_left -= 1;
    match bytes.first().map(|header| header & 0b11) {
        Some(OBJECT) => Object::parse(bytes).is_some_and(|object| {
            object.fields().all(|field| {
                field.is_some_and(|(number, value)| {
                    names.name(number).is_some() && is_whole_at(value, names, depth + 1, parts_left)
                })
            })
        }),
        Some(ARRAY) => elements(bytes).is_some_and(|mut all| {
            all.all(|element| element.is_some_and(|element| is_whole_at(element, names, depth + 1, parts_left)))
        }),
        // Text is text.
        Some(1) => std::str::from_utf8(&bytes[1..]).is_ok(),
        Some(0) if bytes[0] >> 2 == 16 => bytes.get(5..).is_some_and(|text| std::str::from_utf8(text).is_ok()),
        _ => true,
    }
}

/// The elements of an array, each with its bytes.
fn elements(bytes: &[u8]) -> Option<impl Iterator<Item = Option<&[u8]>>> {
    let above = *bytes.first()? >> 2;
    let (offset_size, count_size) = (usize::from(above & 0b11) + 1, if above & 0b100 == 0 { 1 } else { 4 });
    let count = number(bytes, 1, count_size)?;
    let offsets = 1 + count_size;
    let values = offsets.checked_add(count.checked_add(1)?.checked_mul(offset_size)?)?;
    let all = bytes.get(values..)?;
    Some((0..count).map(move |nth| {
        let start = number(bytes, offsets + nth * offset_size, offset_size)?;
        let end = number(bytes, offsets + (nth + 1) * offset_size, offset_size)?;
        all.get(start..end)
    }))
}

/// Where the parts of an object are.
struct Object<'a> {
    bytes: &'a [u8],
    count: usize,
    ids: usize,
    id_size: usize,
    offsets: usize,
    offset_size: usize,
    values: usize,
}

impl<'a> Object<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first().filter(|b| **b & 0b11 == OBJECT)? >> 2;
        let (offset_size, id_size) = (usize::from(header & 0b11) + 1, usize::from(header >> 2 & 0b11) + 1);
        let count_size = if header & 0b1_0000 == 0 { 1 } else { 4 };
        let count = number(bytes, 1, count_size)?;
        let ids = 1 + count_size;
        let offsets = ids.checked_add(count.checked_mul(id_size)?)?;
        let values = offsets.checked_add(count.checked_add(1)?.checked_mul(offset_size)?)?;
        (values <= bytes.len()).then_some(Self { bytes, count, ids, id_size, offsets, offset_size, values })
    }

    fn offset(&self, nth: usize) -> usize {
        number(self.bytes, self.offsets + nth * self.offset_size, self.offset_size).unwrap_or(usize::MAX)
    }

    fn end(&self) -> usize {
        self.values.saturating_add(self.offset(self.count))
    }

    /// The fields by number, each with the bytes of its value.
    fn fields(&self) -> impl Iterator<Item = Option<(usize, &'a [u8])>> + '_ {
        (0..self.count).map(|nth| {
            let id = number(self.bytes, self.ids + nth * self.id_size, self.id_size)?;
            let value = self.bytes.get(self.values.checked_add(self.offset(nth))?..)?;
            Some((id, value.get(..length(value)?)?))
        })
    }
}

/// Fields of an object that is being put together.
#[derive(Default)]
pub(super) struct Fields<'a> {
    /// Name, number, and where the value is in `values`.
    fields: Vec<(&'a str, usize, std::ops::Range<usize>)>,
    pub(super) values: Vec<u8>,
}

impl<'a> Fields<'a> {
    /// Takes all that was appended to `values` since `start` as the value of a field.
    pub(super) fn close(&mut self, name: &'a str, number: usize, start: usize) {
        let end = self.values.len();
        self.fields.push((name, number, start..end));
    }

    /// Adds the fields of an object.
    pub(super) fn add_all(&mut self, row: usize, object: &[u8], names: &Names<'a>) -> Result<(), VariantProblem> {
        let damaged = || VariantProblem::Value { row };
        let object = Object::parse(object).ok_or_else(damaged)?;
        for field in object.fields() {
            let (number, value) = field.ok_or_else(damaged)?;
            let name = names.name(number).ok_or(VariantProblem::Metadata { row })?;
            let start = self.values.len();
            self.values.extend_from_slice(value);
            self.close(name, number, start);
        }
        Ok(())
    }

    /// Writes the object: its fields in the order of their names.
    pub(super) fn write(mut self, row: usize, into: &mut Vec<u8>) -> Result<(), VariantProblem> {
        self.fields.sort_by(|a, b| a.0.cmp(b.0));
        if let Some(twice) = self.fields.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(VariantProblem::DuplicateField { row, name: twice[0].0.to_owned() });
        }
        let count = self.fields.len();
        let id_size = width(self.fields.iter().map(|field| field.1).max().unwrap_or_default());
        let offset_size = width(self.values.len());
        let large = count > 0xFF;
        into.push(header(OBJECT, (large as u8) << 4 | size_bits(id_size) << 2 | size_bits(offset_size)));
        push(into, count, if large { 4 } else { 1 });
        self.fields.iter().for_each(|field| push(into, field.1, id_size));
        let mut end = 0;
        for (_, _, range) in &self.fields {
            push(into, end, offset_size);
            end += range.len();
        }
        push(into, end, offset_size);
        self.fields.iter().for_each(|field| into.extend_from_slice(&self.values[field.2.clone()]));
        Ok(())
    }
}

/// Writes an array of these values, which end at `ends`.
pub(super) fn write_array(into: &mut Vec<u8>, values: &[u8], ends: &[usize]) {
    let offset_size = width(values.len());
    let large = ends.len() > 0xFF;
    into.push(header(ARRAY, (large as u8) << 2 | size_bits(offset_size)));
    push(into, ends.len(), if large { 4 } else { 1 });
    push(into, 0, offset_size);
    ends.iter().for_each(|end| push(into, *end, offset_size));
    into.extend_from_slice(values);
}

/// Writes a primitive value of this type.
pub(super) fn write_primitive(into: &mut Vec<u8>, type_id: u8, value: &[u8]) {
    into.push(header(0, type_id));
    into.extend_from_slice(value);
}

/// Writes text or bytes.
pub(super) fn write_bytes(into: &mut Vec<u8>, type_id: u8, value: &[u8]) {
    const STRING: u8 = 16;
    match u8::try_from(value.len()) {
        Ok(short @ 0..64) if type_id == STRING => into.push(header(1, short)),
        _ => {
            into.push(header(0, type_id));
            push(into, value.len(), 4);
        }
    }
    into.extend_from_slice(value);
}

fn header(basic: u8, above: u8) -> u8 {
    above << 2 | basic
}

fn size_bits(size: usize) -> u8 {
    u8::try_from(size - 1).unwrap_or(3)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// `{"a": 1}` as Spark writes it, and its metadata.
    const OBJECT_BYTES: &[u8] = b"\x02\x01\x00\x00\x02\x0c\x01";
    const METADATA: &[u8] = b"\x01\x01\x00\x01a";

    #[test]
    fn an_object_that_is_taken_apart_and_put_together_is_the_same() {
        let names = Names::parse(METADATA).unwrap();
        let mut fields = Fields::default();
        fields.add_all(0, OBJECT_BYTES, &names).unwrap();
        let mut out = Vec::new();
        fields.write(0, &mut out).unwrap();
        assert_eq!(out, OBJECT_BYTES);
        assert_eq!(length(&out), Some(out.len()));
    }

    #[test]
    fn every_cut_of_an_object_or_of_metadata_is_damage_and_no_panic() {
        for end in 0..OBJECT_BYTES.len() {
            assert_eq!(length(&OBJECT_BYTES[..end]), None, "{end}");
        }
        for end in 0..METADATA.len() {
            assert!(Names::parse(&METADATA[..end]).is_none(), "{end}");
        }
        assert!(Names::parse(b"\xc1\xff\xff\xff\xff").is_none(), "a count that is a lie");
        assert_eq!(length(b"\x4e\xff\xff\xff\xff"), None);
        assert_eq!(length(b"\x0f\xff\xff\xff\xff"), None);
    }

    #[test]
    fn an_array_has_the_length_that_its_offsets_say() {
        let mut out = Vec::new();
        write_array(&mut out, &[0x0c, 1, 0x0c, 2], &[2, 4]);
        assert_eq!(out, [0x03, 2, 0, 2, 4, 0x0c, 1, 0x0c, 2]);
        assert_eq!(length(&out), Some(out.len()));
        let many: Vec<usize> = (1..=300).collect();
        let mut out = Vec::new();
        write_array(&mut out, &[NULL; 300], &many);
        assert_eq!(length(&out), Some(out.len()));
        assert_eq!(out[0], 0b0001_0111, "four bytes for the count, two for each offset");
    }

    #[test]
    fn a_value_is_whole_when_all_of_it_and_nothing_else_is_there() {
        let names = Names::parse(METADATA).unwrap();
        assert!(is_whole(OBJECT_BYTES, &names));
        for end in 0..OBJECT_BYTES.len() {
            assert!(!is_whole(&OBJECT_BYTES[..end], &names), "{end}");
        }
        assert!(!is_whole(&[OBJECT_BYTES, &[0]].concat(), &names), "a byte too many");
        assert!(!is_whole(OBJECT_BYTES, &Names::parse(b"\x01\x00\x00").unwrap()), "a field without a name");
        assert!(is_whole(&[0x03, 2, 0, 2, 4, 0x0c, 1, 0x0c, 2], &names));
        assert!(!is_whole(&[0x03, 2, 0, 3, 4, 0x0c, 1, 0x0c, 2], &names), "an element that ends in the next one");
        assert!(!is_whole(&[0x05, 0xff], &names), "text that is none");
        let mut deep = vec![NULL];
        for _ in 0..2000 {
            let ends = [deep.len()];
            let mut outer = Vec::new();
            write_array(&mut outer, &deep, &ends);
            deep = outer;
        }
        assert!(!is_whole(&deep, &names), "too deep, and no overflow of the stack");
    }

    #[test]
    fn a_value_whose_parts_are_shared_at_every_level_is_given_up_soon() {
        let names = Names::parse(b"\x01\x02\x00\x01\x02ab").unwrap();
        let mut value = vec![NULL];
        for _ in 0..200 {
            // Both fields are the same bytes.
            let end = u16::try_from(value.len()).unwrap().to_le_bytes();
            let head = [header(OBJECT, 1), 2, 0, 1, 0, 0, 0, 0, end[0], end[1]];
            value = [&head[..], &value].concat();
        }
        assert_eq!(length(&value), Some(value.len()));
        assert!(!is_whole(&value, &names));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_are_whole_or_not_and_never_a_panic(
            value in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
            metadata in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..32),
            at in 0..7_usize,
            byte: u8,
        ) {
            let mut changed = OBJECT_BYTES.to_vec();
            changed[at] = byte;
            for names in [Names::parse(&metadata), Names::parse(METADATA)].into_iter().flatten() {
                for value in [&value, &changed] {
                    if is_whole(value, &names) {
                        proptest::prop_assert_eq!(length(value), Some(value.len()));
                    }
                }
            }
        }
    }

    #[test]
    fn short_text_has_its_length_in_the_first_byte() {
        for (text, head) in [("", 1_usize), ("ab", 1), (&"x".repeat(63), 1), (&"x".repeat(64), 5), (&"x".repeat(70_000), 5)] {
            let mut out = Vec::new();
            write_bytes(&mut out, 16, text.as_bytes());
            assert_eq!(out.len(), head + text.len());
            assert_eq!(length(&out), Some(out.len()));
        }
    }
}
