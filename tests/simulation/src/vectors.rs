//! Deletion vectors, read without the engine.

use roaring::RoaringTreemap;
use serde_json::{Value, json};

use crate::disk::Disk;
use crate::log_reader::TABLE;

/// The digits of base 85, as ZeroMQ RFC 32 has them.
const DIGITS: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
/// What a vector begins with.
const MAGIC: [u8; 4] = 1_681_511_377_u32.to_le_bytes();

/// The object that holds a vector; nothing for one that stands in the log.
///
/// **Source**: Delta protocol, "Deletion Vector Descriptor Schema".
pub(crate) fn object(vector: &Value) -> Option<String> {
    if vector["storageType"].as_str()? != "u" {
        return None;
    }
    let (prefix, id) = split_id(vector["pathOrInlineDv"].as_str()?)?;
    let hex: String = undo_base85(id)?.iter().map(|byte| format!("{byte:02x}")).collect();
    let uuid = [hex.get(..8)?, hex.get(8..12)?, hex.get(12..16)?, hex.get(16..20)?, hex.get(20..)?].join("-");
    let folder = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    Some(format!("{TABLE}/{folder}deletion_vector_{uuid}.bin"))
}

/// The rows that a vector marks; nothing when it cannot be read.
///
/// **Source**: Delta protocol, "Deletion Vector Format".
pub(crate) fn read(disk: &Disk, vector: &Value) -> Option<RoaringTreemap> {
    let size = usize::try_from(vector["sizeInBytes"].as_u64()?).ok()?;
    let bytes = match vector["storageType"].as_str()? {
        "i" => return inline(vector),
        "u" => {
            let file = disk.last_bytes(&object(vector)?)?;
            let rest = file.get(usize::try_from(vector["offset"].as_u64().unwrap_or(1)).ok()?..)?;
            let (head, rest) = rest.split_first_chunk::<4>()?;
            if usize::try_from(u32::from_be_bytes(*head)).ok()? != size {
                return None;
            }
            rest.get(..size)?.to_vec()
        }
        _ => return None,
    };
    decode(&bytes, vector)
}

fn decode(bytes: &[u8], vector: &Value) -> Option<RoaringTreemap> {
    let rows = RoaringTreemap::deserialize_from(bytes.strip_prefix(&MAGIC)?).ok()?;
    (Some(rows.len()) == vector["cardinality"].as_u64()).then_some(rows)
}

/// The rows that a vector marks which stands in the log; nothing for another one.
pub(crate) fn inline(vector: &Value) -> Option<RoaringTreemap> {
    if vector["storageType"].as_str()? != "i" {
        return None;
    }
    let size = usize::try_from(vector["sizeInBytes"].as_u64()?).ok()?;
    decode(undo_base85(vector["pathOrInlineDv"].as_str()?)?.get(..size)?, vector)
}

/// A vector that stands in the log.
pub(crate) fn to_inline(rows: &RoaringTreemap) -> Option<Value> {
    let mut bytes = MAGIC.to_vec();
    rows.serialize_into(&mut bytes).ok()?;
    let (size, text) = (bytes.len(), base85(&bytes));
    Some(json!({ "storageType": "i", "pathOrInlineDv": text, "sizeInBytes": size, "cardinality": rows.len() }))
}

fn base85(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(4) {
        let mut group = [0; 4];
        group.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        let value = u32::from_be_bytes(group);
        let digits = [85_u32.pow(4), 85_u32.pow(3), 85_u32.pow(2), 85, 1].map(|power| (value / power % 85) as usize);
        text.extend(digits.iter().filter_map(|digit| DIGITS.chars().nth(*digit)));
    }
    text
}

fn split_id(text: &str) -> Option<(&str, &str)> {
    text.split_at_checked(text.len().checked_sub(20)?)
}

fn undo_base85(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(5) {
        let mut value: u32 = 0;
        for letter in group {
            let digit = DIGITS.bytes().position(|digit| digit == *letter)?;
            value = value.checked_mul(85)?.checked_add(u32::try_from(digit).ok()?)?;
        }
        bytes.extend(value.to_be_bytes());
    }
    Some(bytes)
}
