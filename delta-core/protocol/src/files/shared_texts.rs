//! Many texts within a buffer that somebody else read.

use bytes::Bytes;

/// Texts that stand somewhere in one piece of a commit. It is kept as a whole, and nothing of it is copied.
#[derive(Debug)]
pub(super) struct SharedTexts {
    piece: Bytes,
    /// What stands elsewhere. Its places are counted on from the end of the piece.
    rest: String,
    spots: Vec<Spot>,
}

/// Where a text stands.
#[derive(Debug, Clone, Copy)]
struct Spot {
    start: u32,
    length: u32,
}

impl SharedTexts {
    pub(super) fn within(piece: Bytes) -> Self {
        Self { piece, rest: String::new(), spots: Vec::new() }
    }

    /// Whether this text still fits: places have 32 bits.
    pub(super) fn has_room_for(&self, text: &str) -> bool {
        u32::try_from(self.piece.len() + self.rest.len() + text.len()).is_ok()
    }

    /// Adds a text; one that does not [fit](Self::has_room_for) any more becomes empty.
    pub(super) fn push(&mut self, text: &str) {
        let start = self.place_of(text).unwrap_or_else(|| {
            let start = self.piece.len() + self.rest.len();
            self.rest.push_str(text);
            start
        });
        let spot = u32::try_from(start).ok().zip(u32::try_from(text.len()).ok());
        let (start, length) = spot.unwrap_or_default();
        self.spots.push(Spot { start, length });
    }

    /// Where the text stands in the piece, if it does.
    fn place_of(&self, text: &str) -> Option<usize> {
        let start = text.as_ptr().addr().checked_sub(self.piece.as_ptr().addr())?;
        (start.checked_add(text.len())? <= self.piece.len()).then_some(start)
    }

    pub(super) fn get(&self, at: usize) -> &str {
        // It was text when it came.
        std::str::from_utf8(self.bytes(at)).unwrap_or_default()
    }

    pub(super) fn bytes(&self, at: usize) -> &[u8] {
        let Spot { start, length } = self.spots[at];
        let (start, end) = (start as usize, start as usize + length as usize);
        let text = match start.checked_sub(self.piece.len()) {
            Some(start) if !self.rest.is_empty() => self.rest.as_bytes().get(start..start + length as usize),
            _ => self.piece.get(start..end),
        };
        text.unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.spots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_piece_and_others_are_found_again() {
        let piece = Bytes::from_static(b"one two");
        let text = std::str::from_utf8(&piece).unwrap_or_default();
        let mut texts = SharedTexts::within(piece.clone());
        let long = "z".repeat(100);
        for text in [&text[4..], "three", &text[..3], "", &long, &text[7..]] {
            assert!(texts.has_room_for(text));
            texts.push(text);
        }
        let found: Vec<&str> = (0..texts.len()).map(|at| texts.get(at)).collect();
        assert_eq!(found, ["two", "three", "one", "", &long, ""]);
    }
}
