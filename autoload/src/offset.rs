//! Offsets: how many files of the order of discovery have been read.

use boathouse_base::Offset;
use serde::{Deserialize, Serialize};

use crate::error::AutoLoadError;

/// `{"v":1,"source":"…","files":N}`: the first `N` discovered files have been read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    v: u32,
    source: String,
    files: u64,
}

pub(crate) fn to_offset(source: &str, files: u64) -> Offset {
    Offset::new(format!("{{\"v\":1,\"source\":\"{source}\",\"files\":{files}}}"))
}

/// **Errors**: the text is no offset of this version, or one of another source.
pub(crate) fn from_offset(source: &str, offset: Option<&Offset>) -> Result<u64, AutoLoadError> {
    let Some(offset) = offset else { return Ok(0) };
    let invalid = |reason: String| AutoLoadError::ForeignOffset { offset: offset.to_string(), reason };
    let position: Position =
        serde_json::from_str(offset.as_str()).map_err(|error| invalid(format!("it is not one of Auto Loader's: {error}")))?;
    if position.v != 1 {
        return Err(invalid(format!("its format {} is unknown to this version, which knows 1", position.v)));
    }
    if position.source != source {
        return Err(invalid(format!("it belongs to source {}, and this is {source}", position.source)));
    }
    Ok(position.files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_comes_back_and_a_foreign_one_is_refused() {
        assert_eq!(from_offset("s", Some(&to_offset("s", 7))).unwrap(), 7);
        assert_eq!(from_offset("s", None).unwrap(), 0);
        for text in ["", "7", "{\"files\":1}", "{\"v\":2,\"source\":\"s\",\"files\":1}", "{\"v\":1,\"source\":\"t\",\"files\":1}"]
        {
            assert!(from_offset("s", Some(&Offset::new(text))).is_err(), "{text}");
        }
    }
}
