//! The least and the greatest of values, page by page.

/// Statistics and page indexes keep so many bytes of a text.
pub(super) const KEPT_BYTES: usize = 64;

/// Bounds of bytes, in the order of unsigned bytes.
///
/// Almost always the first eight bytes decide: they are compared as one number.
#[derive(Debug, Default, Clone)]
pub(super) struct ByteBounds {
    any: bool,
    least: Vec<u8>,
    greatest: Vec<u8>,
    least_start: u64,
    greatest_start: u64,
}

impl ByteBounds {
    pub(super) fn see(&mut self, value: &[u8]) {
        // A value that ends early is padded with zeros: it is not greater for it, and a tie is looked at closely.
        let start = start(value);
        if !self.any {
            self.any = true;
            (self.least_start, self.greatest_start) = (start, start);
            self.least.extend_from_slice(value);
            self.greatest.extend_from_slice(value);
            return;
        }
        if start <= self.least_start && (start < self.least_start || value < self.least.as_slice()) {
            self.least_start = start;
            self.least.clear();
            self.least.extend_from_slice(value);
        }
        if start >= self.greatest_start && (start > self.greatest_start || value > self.greatest.as_slice()) {
            self.greatest_start = start;
            self.greatest.clear();
            self.greatest.extend_from_slice(value);
        }
    }

    pub(super) fn get(&self) -> Option<(&[u8], &[u8])> {
        self.any.then_some((&self.least, &self.greatest))
    }

    pub(super) fn clear(&mut self) {
        self.any = false;
        self.least.clear();
        self.greatest.clear();
    }
}

/// The first eight bytes as a number that compares as they do.
fn start(value: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    match value.first_chunk::<8>() {
        Some(first) => bytes = *first,
        None => bytes[..value.len()].copy_from_slice(value),
    }
    u64::from_be_bytes(bytes)
}

/// A value that is not above this one, and that is short. `true`: it is the value itself.
pub(super) fn cut_least(value: &[u8], is_text: bool) -> (Vec<u8>, bool) {
    match cut_at(value, is_text) {
        None => (value.to_vec(), true),
        Some(at) => (value[..at].to_vec(), false),
    }
}

/// A value that is not below this one, and that is short where there is such a value. `true`: it is the value itself.
pub(super) fn cut_greatest(value: &[u8], is_text: bool) -> (Vec<u8>, bool) {
    let cut = cut_at(value, is_text).and_then(|at| match std::str::from_utf8(&value[..at]) {
        Ok(text) if is_text => next_text(text).map(String::into_bytes),
        _ => next_bytes(&value[..at]),
    });
    cut.map_or_else(|| (value.to_vec(), true), |cut| (cut, false))
}

/// Where a long value is cut: text never inside of a character.
fn cut_at(value: &[u8], is_text: bool) -> Option<usize> {
    if value.len() <= KEPT_BYTES {
        return None;
    }
    // A byte that goes on with a character begins with the bits 10.
    let at = (1..=KEPT_BYTES).rev().find(|at| !is_text || value[*at] & 0xc0 != 0x80);
    Some(at.unwrap_or(KEPT_BYTES))
}

/// A text above all that start with this one, and no longer: a character gives way to the next one of as many bytes.
fn next_text(text: &str) -> Option<String> {
    let mut rest = text.chars();
    while let Some(last) = rest.next_back() {
        let next = char::from_u32(u32::from(last) + 1).filter(|next| next.len_utf8() == last.len_utf8());
        if let Some(next) = next {
            return Some(format!("{}{next}", rest.as_str()));
        }
    }
    None
}

/// The first bytes after all that start with these.
fn next_bytes(bytes: &[u8]) -> Option<Vec<u8>> {
    let at = bytes.iter().rposition(|byte| *byte < 0xff)?;
    let mut next = bytes[..=at].to_vec();
    next[at] += 1;
    Some(next)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bounds_are_the_least_and_the_greatest(
            values in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255)], 0..12), 0..30),
        ) {
            let mut bounds = ByteBounds::default();
            values.iter().for_each(|value| bounds.see(value));
            let slow = values.iter().min().map(|least| (least.as_slice(), values.iter().max().unwrap().as_slice()));
            prop_assert_eq!(bounds.get(), slow);
            bounds.clear();
            prop_assert_eq!(bounds.get(), None);
        }

        #[test]
        fn cut_text_is_text_and_a_bound(text in ".{0,80}", longer in ".{0,20}") {
            let longer = format!("{text}{longer}");
            for value in [text.as_bytes(), longer.as_bytes()] {
                let ((least, least_is_exact), (greatest, greatest_is_exact)) = (cut_least(value, true), cut_greatest(value, true));
                prop_assert!(least.as_slice() <= value && value <= greatest.as_slice());
                prop_assert_eq!(least_is_exact, least == value);
                prop_assert_eq!(greatest_is_exact, greatest == value);
                prop_assert!(std::str::from_utf8(&least).is_ok() && std::str::from_utf8(&greatest).is_ok());
                prop_assert!(least.len() <= KEPT_BYTES && (greatest_is_exact || greatest.len() <= KEPT_BYTES));
            }
        }

        #[test]
        fn cut_bytes_are_a_bound(value in prop::collection::vec(prop_oneof![any::<u8>(), Just(255)], 0..200)) {
            let (least, greatest) = (cut_least(&value, false).0, cut_greatest(&value, false).0);
            prop_assert!(least <= value && value <= greatest);
            prop_assert!(least.len() <= KEPT_BYTES);
        }
    }

    #[test]
    fn a_value_that_has_no_short_upper_bound_is_kept() {
        let highest = vec![0xff; 100];
        assert_eq!(cut_greatest(&highest, false), (highest, true));
        let highest = char::MAX.to_string().repeat(40).into_bytes();
        assert_eq!(cut_greatest(&highest, true), (highest, true));
    }

    #[test]
    fn a_character_without_a_next_one_of_its_length_is_left_out() {
        assert_eq!(next_text("a\u{d7ff}").as_deref(), Some("b"));
        assert_eq!(next_text("a\u{7f}").as_deref(), Some("b"));
        assert_eq!(next_text("a\u{7ff}\u{ffff}").as_deref(), Some("b"));
        assert_eq!(next_text(&format!("a{}", char::MAX)).as_deref(), Some("b"));
        assert_eq!(next_text("\u{7f}"), None);
    }
}
