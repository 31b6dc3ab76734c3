//! The event notifications of S3, as SQS, SNS through SQS, EventBridge through SQS, and MinIO bring them.
//!
//! **Source**: Amazon S3 user guide, "Event message structure"; Amazon SNS developer guide, "Parsing message formats".

use serde::Deserialize;

use super::{FileFacts, FoundFile};
use crate::error::AutoLoadError;

/// What to take from the notifications of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Events {
    /// Notifications of other buckets are passed over.
    pub bucket: String,
    /// The key of the landing folder, without a slash at its end; empty for the whole bucket. Files beside it are passed
    /// over.
    pub prefix: String,
}

impl S3Events {
    /// The parser for [`QueuedFiles`](crate::QueuedFiles).
    pub fn parser(self) -> impl Fn(&str) -> Result<Vec<FoundFile>, AutoLoadError> + Send + Sync + 'static {
        move |body| parse_s3_event(&self, body)
    }
}

#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(rename = "Message")]
    message: Option<String>,
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
    #[serde(rename = "Event")]
    test_event: Option<String>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
    detail: Option<Entity>,
    time: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_name: String,
    event_time: Option<String>,
    s3: Entity,
}

#[derive(Debug, Deserialize)]
struct Entity {
    bucket: Bucket,
    object: Object,
}

#[derive(Debug, Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Object {
    key: String,
    size: Option<u64>,
    #[serde(rename = "eTag", alias = "etag")]
    etag: Option<String>,
}

/// The files that a message tells of. Deletions, other buckets and other folders tell of none, and neither does the test
/// event that S3 sends when notifications are switched on.
///
/// **Errors**: `Invalid` for a text that is no such message.
pub fn parse_s3_event(events: &S3Events, body: &str) -> Result<Vec<FoundFile>, AutoLoadError> {
    parse(events, body, 0)
}

fn parse(events: &S3Events, body: &str, depth: u8) -> Result<Vec<FoundFile>, AutoLoadError> {
    let unknown = |reason: String| {
        let body: String = body.chars().take(200).collect();
        AutoLoadError::UnknownEvent { body, reason }
    };
    let envelope: Envelope = serde_json::from_str(body).map_err(|error| unknown(error.to_string()))?;
    if let Some(inner) = &envelope.message {
        return if depth < 2 { parse(events, inner, depth + 1) } else { Err(unknown("it is wrapped too often".to_owned())) };
    }
    if envelope.test_event.as_deref() == Some("s3:TestEvent") {
        return Ok(Vec::new());
    }
    if let (Some(kind), Some(entity)) = (&envelope.detail_type, &envelope.detail) {
        // EventBridge gives the key as it is.
        let created = kind == "Object Created";
        return Ok(created
            .then(|| file(events, entity, entity.object.key.clone(), envelope.time.as_deref()))
            .flatten()
            .into_iter()
            .collect());
    }
    let records = envelope.records.ok_or_else(|| unknown("it has no `Records`".to_owned()))?;
    let mut files = Vec::new();
    for record in &records {
        let created = record.event_name.trim_start_matches("s3:").starts_with("ObjectCreated:");
        if created {
            let key = decode(&record.s3.object.key)
                .ok_or_else(|| unknown(format!("the key `{}` is not encoded as UTF-8", record.s3.object.key)))?;
            files.extend(file(events, &record.s3, key, record.event_time.as_deref()));
        }
    }
    Ok(files)
}

fn file(events: &S3Events, entity: &Entity, key: String, time: Option<&str>) -> Option<FoundFile> {
    if entity.bucket.name != events.bucket {
        return None;
    }
    let path = if events.prefix.is_empty() { key } else { key.strip_prefix(&events.prefix)?.strip_prefix('/')?.to_owned() };
    // Consoles make folders as empty objects.
    if path.is_empty() || path.ends_with('/') {
        return None;
    }
    let modified_us = time.and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok()).map(|time| time.timestamp_micros());
    // Without a tag, the time of the event would have to stand for the version, and the store has another one.
    let etag = entity.object.etag.as_deref().map(|tag| tag.trim_matches('"').to_owned());
    let facts = match (entity.object.size, modified_us, etag) {
        (Some(size_bytes), Some(modified_us), etag @ Some(_)) => Some(FileFacts { size_bytes, modified_us, etag }),
        _ => None,
    };
    Some(FoundFile { path, facts })
}

/// Keys of notifications are encoded as in a form: `+` is a space.
fn decode(key: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(rest.next())? * 16 + digit(rest.next())?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(body: &str) -> Vec<String> {
        let events = S3Events { bucket: "lake".to_owned(), prefix: "in box".to_owned() };
        parse_s3_event(&events, body).unwrap().into_iter().map(|file| file.path).collect()
    }

    fn record(name: &str, bucket: &str, key: &str) -> String {
        format!(
            r#"{{"eventVersion":"2.1","eventSource":"aws:s3","eventTime":"2024-01-02T03:04:05.678Z","eventName":"{name}","s3":{{"s3SchemaVersion":"1.0","bucket":{{"name":"{bucket}","arn":"x"}},"object":{{"key":"{key}","size":7,"eTag":"abc","sequencer":"0055"}}}}}}"#
        )
    }

    #[test]
    fn created_objects_of_the_folder_are_files() {
        let records = [
            record("ObjectCreated:Put", "lake", "in+box/day%3D1/%C3%A4+b.json"),
            record("s3:ObjectCreated:CompleteMultipartUpload", "lake", "in%20box/b"),
            record("ObjectRemoved:Delete", "lake", "in+box/c"),
            record("ObjectCreated:Put", "pond", "in+box/d"),
            record("ObjectCreated:Put", "lake", "in+boxes/e"),
            record("ObjectCreated:Put", "lake", "in+box/folder/"),
        ];
        let body = format!("{{\"Records\":[{}]}}", records.join(","));
        assert_eq!(paths(&body), ["day=1/ä b.json", "b"]);
        let wrapped = serde_json::json!({"Type": "Notification", "Message": body}).to_string();
        assert_eq!(paths(&wrapped).len(), 2);
        let events = S3Events { bucket: "lake".to_owned(), prefix: "in box".to_owned() };
        let found = parse_s3_event(&events, &body).unwrap();
        let facts = found[0].facts.as_ref().unwrap();
        assert_eq!((facts.size_bytes, facts.modified_us, facts.etag.as_deref()), (7, 1_704_164_645_678_000, Some("abc")));
    }

    #[test]
    fn event_bridge_and_the_test_event_are_understood() {
        let body = r#"{"version":"0","detail-type":"Object Created","time":"2024-01-02T03:04:05Z","detail":{"bucket":{"name":"lake"},"object":{"key":"in box/a+b.json","size":5,"etag":"e"}}}"#;
        assert_eq!(paths(body), ["a+b.json"]);
        assert!(paths(r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"lake"}"#).is_empty());
        assert!(
            paths(r#"{"detail-type":"Object Deleted","detail":{"bucket":{"name":"lake"},"object":{"key":"in box/a"}}}"#)
                .is_empty()
        );
    }

    #[test]
    fn a_text_that_is_no_message_is_refused_with_the_reason() {
        let events = S3Events { bucket: "lake".to_owned(), prefix: String::new() };
        for body in [
            "",
            "{}",
            "[1]",
            "{\"Records\":[{}]}",
            "{\"Records\":[{\"eventName\":\"ObjectCreated:Put\",\"s3\":{\"bucket\":{\"name\":\"lake\"},\"object\":{\"key\":\"%zz\"}}}]}",
        ] {
            let error = parse_s3_event(&events, body).unwrap_err();
            assert!(matches!(error, AutoLoadError::UnknownEvent { .. }), "{body}: {error}");
        }
    }
}
