//! What can go wrong with a queue of SQS.

use boathouse_base::{DomainError, ErrorKind};
use object_store::client::HttpError;
use serde_json::Value;

/// Why a queue of SQS gave no messages, or did not delete them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqsError {
    /// An option has a value that it cannot have.
    #[error("open a queue of SQS: `{option}` is `{value}`: {problem}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is wrong, and what would help.
        problem: &'static str,
    },
    /// Nothing says who asks, or no client can be made.
    #[error("ask the queue {queue}: no credentials: {source}; give them, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")]
    Credentials {
        /// The queue.
        queue: String,
        /// What the store of credentials said.
        source: object_store::Error,
    },
    /// A request cannot be put together.
    #[error("{action} of the queue {queue}: the request cannot be made: {reason}; see whether the URL of the queue is one")]
    Request {
        /// What was attempted.
        action: &'static str,
        /// The queue.
        queue: String,
        /// What is wrong.
        reason: String,
    },
    /// There was no answer.
    #[error("{action} of the queue {queue}: no answer: {source}; see whether the service can be reached")]
    Unreachable {
        /// What was attempted.
        action: &'static str,
        /// The queue.
        queue: String,
        /// What the client said.
        source: HttpError,
    },
    /// The service said no.
    #[error("{action} of the queue {queue}: {code} (status {status}): {message}")]
    Refused {
        /// What was attempted.
        action: &'static str,
        /// The queue.
        queue: String,
        /// The status of HTTP.
        status: u16,
        /// The code of the error, as SQS has it.
        code: String,
        /// What it said.
        message: String,
    },
    /// The answer is not one.
    #[error("{action} of the queue {queue}: the answer is not understood: {source}; see whether the URL is that of a queue")]
    Answer {
        /// What was attempted.
        action: &'static str,
        /// The queue.
        queue: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A message was not deleted.
    #[error("delete messages of the queue {queue}: {code}: {message}; it is tried again with the next files")]
    NotDeleted {
        /// The queue.
        queue: String,
        /// The code of the error, as SQS has it.
        code: String,
        /// What it said.
        message: String,
    },
}

impl SqsError {
    /// Whether it may go away by itself.
    pub(super) fn can_pass(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }
}

impl DomainError for SqsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Option { .. } | Self::Request { .. } => ErrorKind::Invalid,
            Self::Credentials { .. } => ErrorKind::Denied,
            Self::Unreachable { .. } | Self::NotDeleted { .. } => ErrorKind::Unavailable,
            Self::Answer { .. } => ErrorKind::Corrupt,
            Self::Refused { status, code, .. } => refusal(*status, code),
        }
    }
}

fn refusal(status: u16, code: &str) -> ErrorKind {
    match (status, code) {
        (429 | 500..=599, _) | (_, "OverLimit" | "RequestThrottled" | "ThrottlingException" | "KmsThrottled") => {
            ErrorKind::Unavailable
        }
        (_, "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue") | (404, _) => ErrorKind::NotFound,
        (401 | 403, _)
        | (
            _,
            "AccessDenied"
            | "AccessDeniedException"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "MissingAuthenticationToken",
        ) => ErrorKind::Denied,
        _ => ErrorKind::Invalid,
    }
}

/// Code and message of a refusal: `{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"…"}`.
pub(super) fn code_of(body: &[u8]) -> (String, String) {
    let text = |value: &Value, names: [&str; 2]| names.iter().find_map(|name| value[*name].as_str()).map(str::to_owned);
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        let beginning: String = String::from_utf8_lossy(body).chars().take(200).collect();
        return ("an answer without a code".to_owned(), beginning);
    };
    let code = text(&body, ["__type", "code"]).unwrap_or_else(|| "an answer without a code".to_owned());
    let code = code.rsplit('#').next().unwrap_or(&code).to_owned();
    (code, text(&body, ["message", "Message"]).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_kind_that_says_what_to_do() {
        let (code, message) = code_of(br#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no such queue"}"#);
        assert_eq!((code.as_str(), message.as_str()), ("QueueDoesNotExist", "no such queue"));
        assert_eq!(refusal(400, &code), ErrorKind::NotFound);
        assert_eq!(refusal(403, "SignatureDoesNotMatch"), ErrorKind::Denied);
        assert_eq!(refusal(400, "RequestThrottled"), ErrorKind::Unavailable);
        assert_eq!(refusal(503, "an answer without a code"), ErrorKind::Unavailable);
        assert_eq!(refusal(400, "InvalidAttributeName"), ErrorKind::Invalid);
        assert_eq!(code_of(b"<html>").1, "<html>");
    }
}
