//! A server that speaks the calls of SQS that a reader makes: messages come in any order, more than once, and sometimes the server is overloaded.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use boathouse_autoload::{SqsCredentials, SqsOptions, SqsQueue};
use boathouse_storage::system_env;
use serde_json::{Value, json};

#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Number and body of those that can be received.
    pub(crate) waiting: Vec<(u64, String)>,
    /// Received, not deleted: the receipt, and the message.
    pub(crate) flying: Vec<(String, (u64, String))>,
    next: u64,
    /// The next answers: an error each, by status and code.
    pub(crate) refusals: Vec<(u16, &'static str)>,
    /// How long each request for messages wanted to wait.
    pub(crate) waits: Vec<u64>,
    /// Deletions that fail, by whose fault.
    pub(crate) failing_deletes: Vec<bool>,
}

/// A queue `landed`, on a port of its own.
#[derive(Debug, Clone)]
pub(crate) struct SqsServer {
    held: Arc<Mutex<Held>>,
    address: String,
}

impl SqsServer {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self { held: Arc::default(), address };
        let router = Router::new().route("/", post(answer)).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        server
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap()
    }

    pub(crate) fn send(&self, body: impl Into<String>) {
        let mut held = self.held();
        held.next += 1;
        let message = (held.next, body.into());
        // SQS keeps no order.
        let place = usize::try_from(held.next * 7).unwrap() % (held.waiting.len() + 1);
        held.waiting.insert(place, message);
    }

    /// What was received and not deleted comes again.
    pub(crate) fn time_out(&self) {
        let mut held = self.held();
        let flying = std::mem::take(&mut held.flying);
        held.waiting.extend(flying.into_iter().map(|(_, message)| message));
    }

    pub(crate) fn messages(&self) -> usize {
        let held = self.held();
        held.waiting.len() + held.flying.len()
    }

    pub(crate) fn options(&self) -> SqsOptions {
        let key = SqsCredentials { key_id: "AKEY".to_owned(), secret_key: "secret".to_owned(), token: None };
        let url = format!("http://{}/000000000000/landed", self.address);
        SqsOptions { region: Some("eu-west-1".to_owned()), credentials: Some(key), ..SqsOptions::new(url) }
    }

    pub(crate) fn queue(&self) -> Arc<SqsQueue> {
        let options = SqsOptions { visibility_timeout: Some(Duration::from_secs(30)), ..self.options() };
        Arc::new(SqsQueue::open(options, system_env()).unwrap())
    }
}

async fn answer(State(server): State<SqsServer>, headers: HeaderMap, body: String) -> (StatusCode, Json<Value>) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body: Value = serde_json::from_str(&body).unwrap();
    let refuse = |status: u16, code: &str| {
        let answer = json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": "as the test says"});
        (StatusCode::from_u16(status).unwrap(), Json(answer))
    };
    let signed = header("authorization");
    let is_signed = signed.starts_with("AWS4-HMAC-SHA256 Credential=AKEY/") && signed.contains("/eu-west-1/sqs/aws4_request");
    if !is_signed || !signed.contains("x-amz-target") || header("x-amz-date").is_empty() {
        return refuse(403, "SignatureDoesNotMatch");
    }
    if header("content-type") != "application/x-amz-json-1.0" {
        return refuse(404, "UnknownOperationException");
    }
    let mut held = server.held();
    if !held.refusals.is_empty() {
        let (status, code) = held.refusals.remove(0);
        return refuse(status, code);
    }
    if !body["QueueUrl"].as_str().unwrap().ends_with("/000000000000/landed") {
        return refuse(400, "QueueDoesNotExist");
    }
    let answer = match header("x-amz-target").as_str() {
        "AmazonSQS.ReceiveMessage" => receive(&mut held, &body),
        "AmazonSQS.DeleteMessageBatch" => delete(&mut held, &body),
        _ => return refuse(400, "InvalidAction"),
    };
    (StatusCode::OK, Json(answer))
}

fn receive(held: &mut Held, body: &Value) -> Value {
    held.waits.push(body["WaitTimeSeconds"].as_u64().unwrap());
    let most = usize::try_from(body["MaxNumberOfMessages"].as_u64().unwrap()).unwrap();
    assert!((1..=10).contains(&most), "SQS refuses {most} messages");
    let count = most.min(held.waiting.len());
    let taken: Vec<_> = held.waiting.drain(..count).collect();
    if taken.is_empty() {
        // As SQS does: no list at all.
        return json!({});
    }
    let mut messages = Vec::new();
    for (number, body) in taken {
        held.next += 1;
        let receipt = format!("{number}-{}", held.next);
        messages.push(json!({"MessageId": number.to_string(), "ReceiptHandle": receipt, "MD5OfBody": "-", "Body": body}));
        held.flying.push((receipt, (number, body)));
    }
    json!({ "Messages": messages })
}

fn delete(held: &mut Held, body: &Value) -> Value {
    let entries = body["Entries"].as_array().unwrap();
    assert!((1..=10).contains(&entries.len()), "SQS refuses {} entries", entries.len());
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        let (id, receipt) = (&entry["Id"], entry["ReceiptHandle"].as_str().unwrap());
        if held.failing_deletes.is_empty() {
            held.flying.retain(|(flying, _)| flying != receipt);
            successful.push(json!({ "Id": id }));
        } else {
            let by_sender = held.failing_deletes.remove(0);
            failed.push(json!({"Id": id, "SenderFault": by_sender, "Code": "ReceiptHandleIsInvalid", "Message": "no"}));
        }
    }
    json!({ "Successful": successful, "Failed": failed })
}
