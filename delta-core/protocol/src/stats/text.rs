//! Bounds of text, cut to a length that does not fill the log.

/// Characters of a text that are kept.
pub const TEXT_LIMIT: usize = 32;

/// The start of a text: no text that starts with it is below it.
pub fn truncate_min(text: &str) -> &str {
    text.char_indices().nth(TEXT_LIMIT).map_or(text, |(at, _)| &text[..at])
}

/// A short text that is not below this one, in the order of its bytes; `None` when there is none.
///
/// A longer text is cut, and gets one more character that is above the first one dropped: DEL where that is
/// enough, otherwise the last of Unicode.
pub fn truncate_max(text: &str) -> Option<String> {
    let mut letters = text.char_indices().skip(TEXT_LIMIT);
    let Some((at, dropped)) = letters.next() else { return Some(text.to_owned()) };
    let mut cut = (at, dropped);
    // Nothing is above the last of Unicode: keep it, and look at the next. Ten of them in a row are no text.
    for next in letters.map(Some).chain([None]).take(10) {
        let (at, dropped) = cut;
        let tie_breaker = if dropped < '\u{7f}' { '\u{7f}' } else { char::MAX };
        if dropped == tie_breaker {
            match next {
                Some(next) => cut = next,
                // The text ends with it: then the text itself is short enough.
                None => return Some(text.to_owned()),
            }
            continue;
        }
        return Some(format!("{}{tie_breaker}", &text[..at]));
    }
    None
}
