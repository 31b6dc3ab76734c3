//! Page tokens: where the next page of a search begins.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Result};

/// Which rows of a search make a page.
///
/// A token is the base64 form of `{"offset":N}`, as MLflow's own server writes it: clients treat it as opaque.
///
/// # Example
/// ```
/// use boathouse_mlwire::Page;
///
/// let first = Page::new(2, None)?;
/// // One row more than the page holds was fetched: there is a next page.
/// let (rows, next) = first.cut(vec!["a", "b", "c"]);
/// assert_eq!(rows, ["a", "b"]);
/// assert_eq!(Page::new(2, next.as_deref())?.offset(), 2);
/// assert!(Page::new(2, Some("not a token")).is_err());
/// # Ok::<(), boathouse_mlwire::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    size: usize,
    offset: usize,
}

impl Page {
    /// The page of `size` rows that `token` names; the first page without a token.
    ///
    /// **Errors**: `Invalid` for a token that no page handed out.
    pub fn new(size: usize, token: Option<&str>) -> Result<Self> {
        let offset = match token {
            None | Some("") => 0,
            Some(token) => read(token).ok_or_else(|| Error::PageToken { token: token.to_owned() })?,
        };
        Ok(Self { size, offset })
    }

    /// Rows to skip.
    pub fn offset(self) -> usize {
        self.offset
    }

    /// Rows to fetch: one more than the page holds tells whether there is a next one.
    pub fn fetch(self) -> usize {
        self.size.saturating_add(1)
    }

    /// Cuts what was fetched down to the page, and makes the token of the next one if there is one.
    pub fn cut<T>(self, mut rows: Vec<T>) -> (Vec<T>, Option<String>) {
        let more = rows.len() > self.size;
        rows.truncate(self.size);
        (rows, more.then(|| STANDARD.encode(format!("{{\"offset\":{}}}", self.offset + self.size))))
    }
}

fn read(token: &str) -> Option<usize> {
    let bytes = STANDARD.decode(token).ok()?;
    let value: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    // Databases count rows in 64 signed bits.
    value.get("offset")?.as_u64().filter(|n| i64::try_from(*n).is_ok()).and_then(|n| usize::try_from(n).ok())
}
