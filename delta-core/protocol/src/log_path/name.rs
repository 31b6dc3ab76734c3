//! Names of files of the log.

/// The log's folder below the table's.
pub const LOG_FOLDER: &str = "_delta_log";
/// The sidecars' folder below the log's.
pub const SIDECAR_FOLDER: &str = "_sidecars";
/// The folder of commits that a catalog has not published, below the log's.
pub const STAGED_FOLDER: &str = "_staged_commits";
/// The name of the pointer to the last checkpoint.
pub const LAST_CHECKPOINT: &str = "_last_checkpoint";

/// The encoding of a checkpoint with a UUID in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckpointFormat {
    /// Parquet.
    Parquet,
    /// One action in a line.
    Json,
}

/// A file of the log, by its name.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::log_path::LogFile;
///
/// assert_eq!(LogFile::parse("00000000000000000010.json"), Some(LogFile::Commit { version: 10 }));
/// assert_eq!(LogFile::parse("00000000000000000010.checkpoint.parquet"), Some(LogFile::Checkpoint { version: 10 }));
/// assert_eq!(LogFile::parse("10.json"), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LogFile {
    /// `VERSION.json`
    Commit {
        /// The version.
        version: u64,
    },
    /// `VERSION.checkpoint.parquet`
    Checkpoint {
        /// The version.
        version: u64,
    },
    /// `VERSION.checkpoint.PART.PARTS.parquet`
    CheckpointPart {
        /// The version.
        version: u64,
        /// The part, from 1.
        part: u32,
        /// How many there are.
        parts: u32,
    },
    /// `VERSION.checkpoint.UUID.parquet` or `.json`
    UuidCheckpoint {
        /// The version.
        version: u64,
        /// The UUID, as text.
        uuid: String,
        /// The encoding.
        format: CheckpointFormat,
    },
    /// `FROM.TO.compacted.json`
    Compacted {
        /// The first version.
        from: u64,
        /// The last version.
        to: u64,
    },
    /// `VERSION.crc`
    Checksum {
        /// The version.
        version: u64,
    },
    /// `_last_checkpoint`
    LastCheckpoint,
}

impl LogFile {
    /// From a name without folder; `None` when it is none of them.
    pub fn parse(name: &str) -> Option<Self> {
        if name == LAST_CHECKPOINT {
            return Some(Self::LastCheckpoint);
        }
        let parts: Vec<&str> = name.split('.').collect();
        let version = version(parts.first()?)?;
        match parts[1..] {
            ["json"] => Some(Self::Commit { version }),
            ["crc"] => Some(Self::Checksum { version }),
            ["checkpoint", "parquet"] => Some(Self::Checkpoint { version }),
            ["checkpoint", part, parts, "parquet"] => {
                let part = u32::try_from(number(part, 10)?).ok()?;
                let parts = u32::try_from(number(parts, 10)?).ok()?;
                (1..=parts).contains(&part).then_some(Self::CheckpointPart { version, part, parts })
            }
            ["checkpoint", uuid, format @ ("parquet" | "json")] if is_uuid(uuid) => {
                let format = if format == "json" { CheckpointFormat::Json } else { CheckpointFormat::Parquet };
                Some(Self::UuidCheckpoint { version, uuid: uuid.to_owned(), format })
            }
            [to, "compacted", "json"] => {
                let to = self::version(to)?;
                (to > version).then_some(Self::Compacted { from: version, to })
            }
            _ => None,
        }
    }

    /// The version that it is about; the last one of a compacted file.
    pub fn version(&self) -> Option<u64> {
        match self {
            Self::Commit { version }
            | Self::Checkpoint { version }
            | Self::CheckpointPart { version, .. }
            | Self::UuidCheckpoint { version, .. }
            | Self::Checksum { version }
            | Self::Compacted { to: version, .. } => Some(*version),
            Self::LastCheckpoint => None,
        }
    }
}

/// A version in a name. Versions are signed numbers of 64 bits to everyone else: there is always a next one.
fn version(text: &str) -> Option<u64> {
    number(text, 20).filter(|version| *version < i64::MAX as u64)
}

/// Digits, all of them, of this width.
fn number(text: &str, width: usize) -> Option<u64> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() })
}

/// `VERSION.json`
pub fn commit_name(version: u64) -> String {
    format!("{version:020}.json")
}

/// `FROM.TO.compacted.json`
pub fn compacted_name(from: u64, to: u64) -> String {
    format!("{from:020}.{to:020}.compacted.json")
}

/// `VERSION.checkpoint.parquet`
pub fn checkpoint_name(version: u64) -> String {
    format!("{version:020}.checkpoint.parquet")
}

/// `VERSION.checkpoint.PART.PARTS.parquet`
pub fn checkpoint_part_name(version: u64, part: u32, parts: u32) -> String {
    format!("{version:020}.checkpoint.{part:010}.{parts:010}.parquet")
}

/// `VERSION.checkpoint.UUID.parquet` or `.json`
pub fn uuid_checkpoint_name(version: u64, uuid: &str, format: CheckpointFormat) -> String {
    let ending = match format {
        CheckpointFormat::Parquet => "parquet",
        CheckpointFormat::Json => "json",
    };
    format!("{version:020}.checkpoint.{uuid}.{ending}")
}

/// `VERSION.crc`
pub fn checksum_name(version: u64) -> String {
    format!("{version:020}.crc")
}

/// A name that sorts after every file of versions below this one and before every file of it: from where a
/// listing in the order of names starts.
pub fn list_after(version: u64) -> String {
    format!("{version:020}")
}
