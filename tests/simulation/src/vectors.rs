//! Deletion vectors, read without the engine.

use roaring::RoaringTreemap;
use serde_json::Value;

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
        "i" => undo_base85(vector["pathOrInlineDv"].as_str()?)?.get(..size)?.to_vec(),
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
    let rows = RoaringTreemap::deserialize_from(bytes.strip_prefix(&MAGIC)?).ok()?;
    (Some(rows.len()) == vector["cardinality"].as_u64()).then_some(rows)
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
