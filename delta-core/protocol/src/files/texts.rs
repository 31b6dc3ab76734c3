//! Many texts in one buffer.

/// Texts, one after the other in one buffer. At most four gigabytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    buffer: String,
    ends: Vec<u32>,
}

impl Texts {
    /// Whether this text still fits.
    pub(super) fn has_room_for(&self, text: &str) -> bool {
        self.buffer.len().checked_add(text.len()).is_some_and(|end| u32::try_from(end).is_ok())
    }

    /// Appends a text; one that does not [fit](Self::has_room_for) any more becomes empty.
    pub(super) fn push(&mut self, text: &str) {
        let end = u32::try_from(self.buffer.len() + text.len());
        if end.is_ok() {
            self.buffer.push_str(text);
        }
        let last = self.ends.last().copied().unwrap_or_default();
        self.ends.push(end.unwrap_or(last));
    }

    pub(super) fn get(&self, at: usize) -> &str {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.buffer[start..self.ends[at] as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn as_str(&self) -> &str {
        &self.buffer
    }

    /// The same ends, for another place of the buffer.
    pub(super) fn into_parts(self) -> (String, Vec<u32>) {
        (self.buffer, self.ends)
    }

    /// From what [`into_parts`](Self::into_parts) gave.
    pub(super) fn from_parts(buffer: String, ends: Vec<u32>) -> Self {
        Self { buffer, ends }
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.buffer.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}
