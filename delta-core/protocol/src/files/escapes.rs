//! What a text within a JSON string means.

use std::borrow::Cow;

/// What a text within a JSON string means. `None`: its escapes are no JSON.
pub(crate) fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = Vec::with_capacity(text.len());
    append_unescaped(text.as_bytes(), &mut plain)?;
    String::from_utf8(plain).ok().map(Cow::Owned)
}

/// Bytes that are looked at together.
const WORD: usize = size_of::<u64>();

/// Appends what a text within a JSON string means. `None`, and nothing appended: its escapes are no JSON.
///
/// Statistics have an escaped quote every few bytes. So a word is copied as it is, and taken back from its first
/// backslash on: a search for the next one would cost more than it skips.
pub(super) fn append_unescaped(text: &[u8], plain: &mut Vec<u8>) -> Option<()> {
    let start = plain.len();
    plain.reserve(text.len() + WORD);
    let appended = append(text, plain);
    if appended.is_none() {
        plain.truncate(start);
    }
    appended
}

fn append(text: &[u8], plain: &mut Vec<u8>) -> Option<()> {
    let mut at = 0;
    while let Some(word) = text[at..].first_chunk::<WORD>() {
        let before = first_backslash(*word);
        plain.extend_from_slice(word);
        at += before;
        if before < WORD {
            plain.truncate(plain.len() - (WORD - before));
            at += escape(&text[at..], plain)?;
        }
    }
    while let Some(byte) = text.get(at) {
        if *byte == b'\\' {
            at += escape(&text[at..], plain)?;
        } else {
            plain.push(*byte);
            at += 1;
        }
    }
    Some(())
}

/// How many bytes stand before the first backslash.
fn first_backslash(word: [u8; WORD]) -> usize {
    const EACH: u64 = u64::MAX / 0xff;
    // Backslashes become zero. Taking one from each byte lends the highest bit to those, and to nothing before the first.
    let zeros = u64::from_le_bytes(word) ^ (EACH * b'\\' as u64);
    let found = zeros.wrapping_sub(EACH) & !zeros & (EACH << 7);
    found.trailing_zeros() as usize / 8
}

/// Appends what the escape means that the text begins with, and says how long it is.
fn escape(text: &[u8], plain: &mut Vec<u8>) -> Option<usize> {
    let (meaning, length) = match text.get(1)? {
        byte @ (b'"' | b'\\' | b'/') => (*byte, 2),
        b'b' => (0x8, 2),
        b'f' => (0xc, 2),
        b'n' => (b'\n', 2),
        b'r' => (b'\r', 2),
        b't' => (b'\t', 2),
        b'u' => {
            let (meaning, length) = unicode(text)?;
            plain.extend_from_slice(meaning.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(length);
        }
        _ => return None,
    };
    plain.push(meaning);
    Some(length)
}

/// What `\uXXXX` means, or two of them that are one character.
fn unicode(text: &[u8]) -> Option<(char, usize)> {
    let unit = unit(text)?;
    if !(0xd800..=0xdbff).contains(&unit) {
        return Some((char::from_u32(unit)?, 6));
    }
    let low = self::unit(text.get(6..)?)?;
    let low = (0xdc00..=0xdfff).contains(&low).then_some(low)?;
    Some((char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))?, 12))
}

/// The number in the `\uXXXX` that the text begins with.
fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_within_json_means_what_the_json_parser_says(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap_or_default();
            let unescaped = unescape(&json[1..json.len() - 1]);
            prop_assert_eq!(unescaped.as_deref(), Some(text.as_str()));
        }

        #[test]
        fn odd_escapes_are_read_as_the_json_parser_reads_them(text in "(\\\\[\"\\\\/bfnrtuxd8c0-9]|[a-f0-9]|é|\\\\ud83d\\\\ude00){0,30}") {
            let parsed: Option<String> = serde_json::from_str(&format!("\"{text}\"")).ok();
            prop_assert_eq!(unescape(&text).map(Cow::into_owned), parsed);
        }

        #[test]
        fn the_first_backslash_is_where_a_search_finds_it(word in prop::array::uniform8(prop_oneof![Just(b'\\'), any::<u8>()])) {
            prop_assert_eq!(first_backslash(word), word.iter().position(|byte| *byte == b'\\').unwrap_or(WORD));
        }
    }

    #[test]
    fn what_cannot_be_read_appends_nothing() {
        let mut plain = b"before".to_vec();
        assert_eq!(append_unescaped(br#"a long enough text \q"#, &mut plain), None);
        assert_eq!(plain, b"before");
    }
}
