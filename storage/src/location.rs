//! Where state is: a URL.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use url::Url;

use crate::error::StorageError;

/// A folder, as a URL whose path ends in a slash.
///
/// Made from a URL or from a path of the local disk; nothing has to exist there yet.
///
/// # Example
/// ```
/// use boathouse_storage::Location;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tables = Location::parse("s3://lake/prod")?.join("tables");
/// assert_eq!(tables.as_str(), "s3://lake/prod/tables/");
/// let spaced = Location::parse("/data/my lake")?;
/// assert_eq!(spaced.as_str(), "file:///data/my%20lake/");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location(Url);

impl Location {
    /// Reads a URL (`file://`, `memory://`, `s3://`, `az://`, `abfss://`, `gs://`) or a path, absolute or relative to
    /// the working directory.
    ///
    /// **Errors**: `Invalid` when it is neither.
    pub fn parse(text: &str) -> Result<Self, StorageError> {
        let invalid = |reason: String| StorageError::InvalidLocation { text: text.to_owned(), reason };
        if text.is_empty() {
            return Err(invalid("it is empty".to_owned()));
        }
        if text.contains("://") {
            let mut url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
            if url.query().is_some() || url.fragment().is_some() {
                return Err(invalid("it has a query or a fragment".to_owned()));
            }
            if !url.path().ends_with('/') {
                url.set_path(&format!("{}/", url.path()));
            }
            return Ok(Self(url));
        }
        Self::from_path(text)
    }

    /// A folder of the local disk; a relative path begins at the working directory. Never read as a URL.
    ///
    /// **Errors**: `Invalid` when there is no working directory, or the path cannot be written as a URL.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        let path = path.as_ref();
        let invalid = |reason: String| StorageError::InvalidLocation { text: path.display().to_string(), reason };
        let absolute = absolute(path).map_err(|error| invalid(error.to_string()))?;
        Url::from_directory_path(absolute).map(Self).map_err(|()| invalid("the path cannot be written as a URL".to_owned()))
    }

    /// A folder below this one. Slashes separate folders; everything else is taken literally.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        let mut url = self.0.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            segments.extend(path.split('/').filter(|part| !part.is_empty()));
            segments.push("");
        }
        Self(url)
    }

    /// The URL; its path ends in a slash.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The folder on the local disk, for a `file://` location.
    pub fn local_path(&self) -> Option<PathBuf> {
        (self.0.scheme() == "file").then(|| self.0.to_file_path().ok()).flatten()
    }
}

impl FromStr for Location {
    type Err = StorageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Absolute, with `.` and `..` taken out by their letters: the folder need not exist, so links are not followed.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in std::path::absolute(path)?.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use boathouse_base::{DomainError, ErrorKind};

    #[test]
    fn a_path_becomes_a_file_url_and_comes_back() {
        let location = Location::parse("/data/a b/ünï/../%41").unwrap();
        assert_eq!(location.as_str(), "file:///data/a%20b/%2541/");
        assert_eq!(location.local_path().unwrap(), Path::new("/data/a b/%41/"));
        let relative = Location::parse("some/where").unwrap();
        assert!(relative.local_path().unwrap().is_absolute());
    }

    #[test]
    fn join_takes_names_literally() {
        let location = Location::parse("memory://lake").unwrap().join("tables/p=a b%");
        assert_eq!(location.as_str(), "memory://lake/tables/p=a%20b%/".replace("b%/", "b%25/"));
        assert_eq!(location.local_path(), None);
    }

    #[test]
    fn what_is_no_location_is_refused_with_the_text() {
        for text in ["", "http:// nowhere", "s3://bucket/a?x=1"] {
            let error = Location::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }
}
