//! The stages of a version's life.

use std::fmt;

use crate::error::Error;

/// How far a version has come. At any time each version is in one stage.
///
/// # Example
/// ```
/// use boathouse_registry::Stage;
///
/// assert_eq!("production".parse::<Stage>()?, Stage::Production);
/// assert_eq!(Stage::Production.to_string(), "Production");
/// # Ok::<(), boathouse_registry::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Registered only. MLflow's word is `None`.
    Unassigned,
    /// Tried out.
    Staging,
    /// Serving.
    Production,
    /// Kept, not used.
    Archived,
}

impl Stage {
    /// All stages.
    pub const ALL: [Self; 4] = [Self::Unassigned, Self::Staging, Self::Production, Self::Archived];

    /// The word of MLflow.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unassigned => "None",
            Self::Staging => "Staging",
            Self::Production => "Production",
            Self::Archived => "Archived",
        }
    }

    /// Whether a version that enters it may push the others out.
    pub fn can_replace(self) -> bool {
        matches!(self, Self::Staging | Self::Production)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Stage {
    type Err = Error;

    /// In any case.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| Error::UnknownStage { stage: text.to_owned() })
    }
}

/// What happens to the other versions of a stage that a version enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Existing {
    /// They stay.
    #[default]
    Keep,
    /// They go to `Archived`.
    Archive,
}
