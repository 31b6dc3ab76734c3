//! Queues of Amazon SQS, and of servers that speak its JSON protocol.
//!
//! **Source**: Amazon SQS API reference, "ReceiveMessage" and "DeleteMessageBatch"; Amazon SQS developer guide, "Making requests with AWS JSON
//! protocol".

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use boathouse_base::{BoxFuture, Env, Error, Result};
use futures::FutureExt;
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use object_store::{ClientOptions, StaticCredentialProvider};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use super::events::{EventQueue, QueueMessage};
use super::sqs_error::{SqsError, code_of};

/// Messages of a request: as many as SQS allows.
const MOST: usize = 10;
/// How often a request is tried.
const TRIES: u32 = 3;
/// How long to wait before the second try; twice as long before the third.
const PAUSE: Duration = Duration::from_millis(100);
/// How long SQS lets a request wait at most.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// How long an answer may take beside the wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which queue, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqsOptions {
    /// As SQS names it: `https://sqs.eu-west-1.amazonaws.com/123456789012/landed`.
    pub queue_url: String,
    /// The region that requests are signed for. Without it: the one in the URL.
    pub region: Option<String>,
    /// Who asks. Without it: as for S3, the environment, a web identity, the container, the machine.
    pub credentials: Option<SqsCredentials>,
    /// How long a queue without messages is asked before it counts as empty, in whole seconds up to 20. Without waiting SQS asks only some of its
    /// servers, and may miss messages until the next time.
    pub wait: Duration,
    /// After this time a message that was received and not deleted comes again. Without it: as the queue says.
    pub visibility_timeout: Option<Duration>,
}

impl SqsOptions {
    /// A queue, asked for one second.
    pub fn new(queue_url: impl Into<String>) -> Self {
        Self {
            queue_url: queue_url.into(),
            region: None,
            credentials: None,
            wait: Duration::from_secs(1),
            visibility_timeout: None,
        }
    }
}

/// A key of AWS, and its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SqsCredentials {
    /// `AWS_ACCESS_KEY_ID`.
    pub key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_key: String,
    /// `AWS_SESSION_TOKEN`.
    pub token: Option<String>,
}

impl std::fmt::Debug for SqsCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqsCredentials").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// A queue of Amazon SQS (feature `sqs`): with [`QueuedFiles`](crate::QueuedFiles) and [`S3Events`](crate::S3Events), the files that land in a bucket.
///
/// Messages are deleted when their files are durable in the ledger. One that is never deleted comes again, is known, and is deleted then.
///
/// **Cost**: a plan makes a request for ten messages, and one more that finds the queue empty; a commit one for ten messages. The first request
/// of a plan waits for messages when there were none before.
///
/// # Example
/// ```no_run
/// use std::sync::Arc;
/// use boathouse_autoload::{QueuedFiles, S3Events, SqsOptions, SqsQueue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = SqsOptions::new("https://sqs.eu-west-1.amazonaws.com/123456789012/landed");
/// let queue = SqsQueue::open(queue, boathouse_storage::system_env())?;
/// let events = S3Events { bucket: "lake".to_owned(), prefix: "landing".to_owned() };
/// let files = QueuedFiles::new(Arc::new(queue), events.parser());
/// # let _ = files;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct SqsQueue {
    options: SqsOptions,
    endpoint: String,
    region: String,
    credentials: AwsCredentialProvider,
    client: HttpClient,
    env: Env,
    /// Whether the last answer held no messages: the next request waits for some.
    was_empty: AtomicBool,
}

impl SqsQueue {
    /// A queue. Asks nobody.
    ///
    /// **Errors**: `Invalid` when an option is not one; `Denied` when there are no credentials.
    pub fn open(options: SqsOptions, env: Env) -> Result<Self, SqsError> {
        let url = Url::parse(&options.queue_url).ok().filter(|url| url.has_host() && url.path().len() > 1);
        let Some(url) = url.filter(|url| ["http", "https"].contains(&url.scheme())) else {
            let problem = "it looks like https://sqs.REGION.amazonaws.com/ACCOUNT/NAME";
            return Err(SqsError::Option { option: "queue_url", value: options.queue_url, problem });
        };
        let endpoint = url[..url::Position::BeforePath].to_owned();
        let Some(region) = options.region.clone().or_else(|| region_of(url.host_str()?)) else {
            let problem = "the URL of the queue names none; set it";
            return Err(SqsError::Option { option: "region", value: String::new(), problem });
        };
        if options.wait > LONGEST_WAIT {
            let (value, problem) = (format!("{:?}", options.wait), "SQS waits for 20 seconds at most");
            return Err(SqsError::Option { option: "wait", value, problem });
        }
        // These go into headers.
        let given = options.credentials.as_ref();
        let words = [Some(&region), given.map(|given| &given.key_id), given.and_then(|given| given.token.as_ref())];
        if let Some(word) = words.into_iter().flatten().find(|word| !word.chars().all(|letter| letter.is_ascii_graphic())) {
            let (value, problem) = (word.clone(), "it holds letters that a header cannot have");
            return Err(SqsError::Option { option: "region, key_id or token", value, problem });
        }
        let no_credentials = |source| SqsError::Credentials { queue: options.queue_url.clone(), source };
        let credentials: AwsCredentialProvider = match &options.credentials {
            Some(SqsCredentials { key_id, secret_key, token }) => {
                let (key_id, secret_key, token) = (key_id.clone(), secret_key.clone(), token.clone());
                Arc::new(StaticCredentialProvider::new(AwsCredential { key_id, secret_key, token }))
            }
            None => {
                // The bucket is asked for and never used.
                let store = AmazonS3Builder::from_env().with_bucket_name("none").with_region(&region).build();
                Arc::clone(store.map_err(no_credentials)?.credentials())
            }
        };
        let http = ClientOptions::new().with_allow_http(url.scheme() == "http").with_timeout(options.wait + PATIENCE);
        let client = ReqwestConnector::default().connect(&http).map_err(no_credentials)?;
        Ok(Self { options, endpoint, region, credentials, client, env, was_empty: AtomicBool::new(true) })
    }

    async fn receive_messages(&self) -> Result<Vec<QueueMessage>, SqsError> {
        let wait = if self.was_empty.load(Ordering::Relaxed) { self.options.wait } else { Duration::ZERO };
        let mut body =
            json!({ "QueueUrl": self.options.queue_url, "MaxNumberOfMessages": MOST, "WaitTimeSeconds": wait.as_secs() });
        if let Some(timeout) = self.options.visibility_timeout {
            body["VisibilityTimeout"] = timeout.as_secs().into();
        }
        let received: Received = self.ask("ReceiveMessage", &body).await?;
        self.was_empty.store(received.messages.is_empty(), Ordering::Relaxed);
        let message = |message: Message| QueueMessage { receipt: message.receipt_handle, body: message.body };
        Ok(received.messages.into_iter().map(message).collect())
    }

    async fn delete_messages(&self, receipts: &[String]) -> Result<(), SqsError> {
        for receipts in receipts.chunks(MOST) {
            let entries =
                receipts.iter().enumerate().map(|(n, receipt)| json!({ "Id": n.to_string(), "ReceiptHandle": receipt }));
            let body = json!({ "QueueUrl": self.options.queue_url, "Entries": entries.collect::<Vec<_>>() });
            let deleted: Deleted = self.ask("DeleteMessageBatch", &body).await?;
            for failed in deleted.failed {
                // With a receipt that is out of date the message comes again, with another one.
                if failed.sender_fault {
                    tracing::warn!(
                        queue = self.options.queue_url,
                        code = failed.code,
                        "autoload.event: a message is not deleted yet"
                    );
                } else {
                    let queue = self.options.queue_url.clone();
                    return Err(SqsError::NotDeleted { queue, code: failed.code, message: failed.message.unwrap_or_default() });
                }
            }
        }
        Ok(())
    }

    /// Asks until there is an answer, or it helps no more.
    async fn ask<T: DeserializeOwned>(&self, action: &'static str, body: &Value) -> Result<T, SqsError> {
        let mut tried = 1;
        loop {
            match self.ask_once(action, body).await {
                Err(error) if error.can_pass() && tried < TRIES => {
                    self.env.sleep(PAUSE * 2_u32.pow(tried - 1)).await;
                    tried += 1;
                }
                other => return other,
            }
        }
    }

    async fn ask_once<T: DeserializeOwned>(&self, action: &'static str, body: &Value) -> Result<T, SqsError> {
        let queue = || self.options.queue_url.clone();
        let credential = self.credentials.get_credential().await;
        let credential = credential.map_err(|source| SqsError::Credentials { queue: queue(), source })?;
        let mut request = self.request(action, body).map_err(|reason| SqsError::Request { action, queue: queue(), reason })?;
        AwsAuthorizer::new(&credential, "sqs", &self.region).authorize(&mut request, None);
        let lost = |source| SqsError::Unreachable { action, queue: queue(), source };
        let answer = self.client.execute(request).await.map_err(lost)?;
        let status = answer.status();
        let bytes = answer.into_body().bytes().await.map_err(lost)?;
        if !status.is_success() {
            let (code, message) = code_of(&bytes);
            return Err(SqsError::Refused { action, queue: queue(), status: status.as_u16(), code, message });
        }
        serde_json::from_slice(&bytes).map_err(|source| SqsError::Answer { action, queue: queue(), source })
    }

    fn request(&self, action: &str, body: &Value) -> Result<HttpRequest, String> {
        let mut request = HttpRequest::new(HttpRequestBody::from(body.to_string()));
        *request.method_mut() = parsed("POST")?;
        *request.uri_mut() = parsed(&format!("{}/", self.endpoint))?;
        request.headers_mut().insert("x-amz-target", parsed(&format!("AmazonSQS.{action}"))?);
        request.headers_mut().insert("content-type", parsed("application/x-amz-json-1.0")?);
        Ok(request)
    }
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| format!("`{text}`: {error}"))
}

/// The region in the name of a host of AWS.
fn region_of(host: &str) -> Option<String> {
    let mut parts = host.split('.');
    match (parts.next()?, parts.next()?, parts.next()?) {
        ("sqs", region, "amazonaws") => Some(region.to_owned()),
        _ => None,
    }
}

#[derive(Debug, Deserialize)]
struct Received {
    #[serde(rename = "Messages", default)]
    messages: Vec<Message>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    receipt_handle: String,
    body: String,
}

#[derive(Debug, Deserialize)]
struct Deleted {
    #[serde(rename = "Failed", default)]
    failed: Vec<Failed>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    sender_fault: bool,
    code: String,
    message: Option<String>,
}

impl EventQueue for SqsQueue {
    fn describe(&self) -> String {
        format!("sqs[{}]", self.options.queue_url)
    }

    fn receive(&self) -> BoxFuture<'_, Result<Vec<QueueMessage>>> {
        async move { self.receive_messages().await.map_err(Error::from) }.boxed()
    }

    fn delete<'a>(&'a self, receipts: &'a [String]) -> BoxFuture<'a, Result<()>> {
        async move { self.delete_messages(receipts).await.map_err(Error::from) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_stands_in_the_url_of_aws() {
        assert_eq!(region_of("sqs.eu-west-1.amazonaws.com").as_deref(), Some("eu-west-1"));
        assert_eq!(region_of("sqs.cn-north-1.amazonaws.com.cn").as_deref(), Some("cn-north-1"));
        assert_eq!(region_of("localhost"), None);
    }
}
