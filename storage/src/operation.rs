//! The requests that an object store answers.

use std::fmt;

/// A kind of request to an object store: named in errors, counted and made to fail in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Reads a whole object.
    Get,
    /// Reads a part of an object.
    GetRange,
    /// Reads size and time of an object.
    Head,
    /// Writes an object, over the one that is there.
    Put,
    /// Writes an object unless there is one.
    PutIfAbsent,
    /// Writes an object if the one that is there did not change.
    PutIfUnchanged,
    /// Begins an upload in parts.
    StartUpload,
    /// Sends one part of an upload.
    UploadPart,
    /// Ends an upload in parts: the object appears.
    CompleteUpload,
    /// Removes an object.
    Delete,
    /// Lists objects, with everything below.
    List,
    /// Lists the objects and folders of one folder.
    ListFolder,
    /// Copies an object.
    Copy,
    /// Moves an object.
    Rename,
}

impl Operation {
    /// Every operation, in the order of their declaration.
    pub const ALL: [Self; 14] = [
        Self::Get,
        Self::GetRange,
        Self::Head,
        Self::Put,
        Self::PutIfAbsent,
        Self::PutIfUnchanged,
        Self::StartUpload,
        Self::UploadPart,
        Self::CompleteUpload,
        Self::Delete,
        Self::List,
        Self::ListFolder,
        Self::Copy,
        Self::Rename,
    ];

    /// Whether the store is another one afterwards.
    ///
    /// Parts of an upload change nothing that a reader sees until it is complete.
    pub fn is_write(self) -> bool {
        matches!(
            self,
            Self::Put
                | Self::PutIfAbsent
                | Self::PutIfUnchanged
                | Self::CompleteUpload
                | Self::Delete
                | Self::Copy
                | Self::Rename
        )
    }

    /// The operation in lower-case words, as it stands in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetRange => "get a range of",
            Self::Head => "look up",
            Self::Put => "put",
            Self::PutIfAbsent => "create",
            Self::PutIfUnchanged => "update",
            Self::StartUpload => "start the upload of",
            Self::UploadPart => "upload a part of",
            Self::CompleteUpload => "complete the upload of",
            Self::Delete => "delete",
            Self::List => "list",
            Self::ListFolder => "list the folder",
            Self::Copy => "copy",
            Self::Rename => "rename",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
