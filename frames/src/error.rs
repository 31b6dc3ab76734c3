//! Errors that cross the border, in both directions without losing what they are.

use std::error::Error as StdError;
use std::sync::Arc;

use boathouse_base::{DomainError, Error, ErrorKind};
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;

/// The engine could not plan or execute a frame.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}: {source}")]
pub struct FrameError {
    /// What was attempted: `plan the frame`, `execute the frame`.
    pub attempt: &'static str,
    /// What the engine said.
    pub source: Box<DataFusionError>,
}

impl DomainError for FrameError {
    fn kind(&self) -> ErrorKind {
        kind_of(&self.source)
    }
}

/// An engine's error as one of ours. An error of ours that went through the engine comes out as it was.
///
/// Where the engine has given one error to several readers, it comes out inside a [`FrameError`], with its kind and its
/// message; [`find_cause`] finds it there.
pub fn from_datafusion(attempt: &'static str, error: DataFusionError) -> Error {
    match extract(error) {
        Ok(ours) => ours,
        Err(source) => Error::from(FrameError { attempt, source: Box::new(source) }),
    }
}

/// One of our errors for the engine to carry.
pub fn into_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The first `E` among an error and its causes, also below errors of the engine.
pub fn find_cause<E: StdError + 'static>(error: &Error) -> Option<&E> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error.get_ref());
    while let Some(error) = cause {
        // A wrapped error of ours shows its own cause as the next one, and would be skipped.
        let inner = error.downcast_ref::<Error>().map_or(error, |ours| ours.get_ref());
        if let Some(found) = inner.downcast_ref::<E>() {
            return Some(found);
        }
        cause = inner.source();
    }
    None
}

/// Our error inside the engine's, below whatever context was added on the way.
fn extract(error: DataFusionError) -> Result<Error, DataFusionError> {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => Ok(*ours),
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(nested) => extract(*nested),
                Err(inner) => Err(DataFusionError::External(inner)),
            },
        },
        DataFusionError::Shared(inner) => match Arc::try_unwrap(inner) {
            Ok(inner) => extract(inner),
            Err(inner) => Err(DataFusionError::Shared(inner)),
        },
        DataFusionError::Context(context, inner) => extract(*inner).map_err(|inner| inner.context(context)),
        DataFusionError::ArrowError(inner, backtrace) => match *inner {
            ArrowError::ExternalError(inner) => match inner.downcast::<Error>() {
                Ok(ours) => Ok(*ours),
                Err(inner) => match inner.downcast::<DataFusionError>() {
                    Ok(nested) => extract(*nested),
                    Err(inner) => Err(DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(inner)), backtrace)),
                },
            },
            other => Err(DataFusionError::ArrowError(Box::new(other), backtrace)),
        },
        DataFusionError::ParquetError(inner) => match *inner {
            ParquetError::External(inner) => match inner.downcast::<Error>() {
                Ok(ours) => Ok(*ours),
                Err(inner) => Err(DataFusionError::ParquetError(Box::new(ParquetError::External(inner)))),
            },
            other => Err(DataFusionError::ParquetError(Box::new(other))),
        },
        other => Err(other),
    }
}

/// What the caller can do about an engine's error.
pub fn kind_of(error: &DataFusionError) -> ErrorKind {
    match error {
        DataFusionError::NotImplemented(_) => ErrorKind::Unsupported,
        DataFusionError::ResourcesExhausted(_) => ErrorKind::Exhausted,
        DataFusionError::IoError(_) | DataFusionError::ObjectStore(_) => ErrorKind::Unavailable,
        DataFusionError::Internal(_) => ErrorKind::Internal,
        DataFusionError::Context(_, inner) => kind_of(inner),
        DataFusionError::Diagnostic(_, inner) => kind_of(inner),
        DataFusionError::Shared(inner) => kind_of(inner),
        DataFusionError::ParquetError(inner) => match inner.as_ref() {
            ParquetError::External(inner) => inner.downcast_ref::<Error>().map_or(ErrorKind::Unavailable, Error::kind),
            _ => ErrorKind::Corrupt,
        },
        DataFusionError::External(inner) => inner.downcast_ref::<Error>().map_or(ErrorKind::Invalid, Error::kind),
        // The rest is about the query or the values that it met: a name, a type, a cast.
        _ => ErrorKind::Invalid,
    }
}
