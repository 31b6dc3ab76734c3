//! A queue of SQS: what it is asked, what it refuses, what happens to messages.

use std::sync::Arc;
use std::time::Duration;

use boathouse_autoload::{EventQueue, QueuedFiles, S3Events, SqsError, SqsOptions, SqsQueue};
use boathouse_base::ErrorKind;
use boathouse_storage::system_env;
use serde_json::json;

use crate::sqs_server::SqsServer;
use crate::support::{Site, drain, files, rows, step};

fn queued(server: &SqsServer) -> Arc<QueuedFiles> {
    let events = S3Events { bucket: "lake".to_owned(), prefix: String::new() };
    Arc::new(QueuedFiles::new(server.queue(), events.parser()))
}

fn event(path: &str) -> String {
    let record = json!({"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "lake"}, "object": {"key": path}}});
    json!({ "Records": [record] }).to_string()
}

fn kind(error: &boathouse_base::Error) -> (ErrorKind, String) {
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn files_of_a_queue_come_once_and_messages_go_when_they_are_durable() {
    let (site, server) = (Site::new(), SqsServer::start().await);
    let source = site.describe().events(queued(&server)).open().await.unwrap();
    assert!(drain(&source, None).await.0.is_empty());
    for n in 0..25 {
        site.land(&format!("{n:02}.json"), format!("{{\"id\":{n}}}")).await;
        for _ in 0..=n % 3 {
            server.send(event(&format!("{n:02}.json")));
        }
    }
    let sent = server.messages();
    let (batches, end) = step(&source, None, files(10)).await.unwrap();
    assert_eq!((rows(&batches).len(), server.messages()), (10, sent), "fifteen files wait in memory: all messages stay");
    drop(source);
    server.time_out();
    let source = site.describe().events(queued(&server)).open().await.unwrap();
    let (found, end) = drain(&source, Some(end)).await;
    assert_eq!((found.len(), server.messages()), (15, 0));
    assert!(drain(&source, end).await.0.is_empty());
}

#[tokio::test]
async fn a_queue_is_waited_for_only_while_it_is_empty() {
    let server = SqsServer::start().await;
    let queue = server.queue();
    for n in 0..12 {
        server.send(n.to_string());
    }
    let mut sizes = Vec::new();
    for _ in 0..4 {
        sizes.push(queue.receive().await.unwrap().len());
    }
    assert_eq!((sizes, server.held().waits.clone()), (vec![10, 2, 0, 0], vec![1, 0, 0, 1]));
}

#[tokio::test]
async fn an_overloaded_service_is_asked_again_and_a_refusal_is_an_error_by_its_kind() {
    let server = SqsServer::start().await;
    let queue = server.queue();
    server.send("body");
    server.held().refusals = vec![(503, "ServiceUnavailable"), (400, "RequestThrottled")];
    let received = queue.receive().await.unwrap();
    assert_eq!(received[0].body, "body");
    server.held().refusals = vec![(503, "ServiceUnavailable"); 3];
    let (found, text) = kind(&queue.delete(&[received[0].receipt.clone()]).await.unwrap_err());
    assert_eq!(found, ErrorKind::Unavailable);
    assert!(
        text.starts_with("DeleteMessageBatch of the queue http://127.0.0.1:") && text.contains("ServiceUnavailable"),
        "{text}"
    );
    server.held().refusals = vec![(400, "QueueDoesNotExist")];
    assert_eq!(kind(&queue.receive().await.unwrap_err()).0, ErrorKind::NotFound);
    let other = SqsOptions { region: Some("us-east-1".to_owned()), ..server.options() };
    let other = SqsQueue::open(other, system_env()).unwrap();
    let (found, text) = kind(&other.receive().await.unwrap_err());
    assert!(found == ErrorKind::Denied && text.contains("SignatureDoesNotMatch"), "{text}");
}

#[tokio::test]
async fn a_message_that_cannot_be_deleted_comes_again() {
    let server = SqsServer::start().await;
    let queue = server.queue();
    server.send("a");
    let receipts: Vec<String> = queue.receive().await.unwrap().into_iter().map(|message| message.receipt).collect();
    server.held().failing_deletes = vec![false];
    let error = queue.delete(&receipts).await.unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(SqsError::NotDeleted { code, .. }) if code == "ReceiptHandleIsInvalid"),
        "{error}"
    );
    server.held().failing_deletes = vec![true];
    queue.delete(&receipts).await.unwrap();
    assert_eq!(server.messages(), 1, "its receipt is out of date: trying again would not help");
    server.time_out();
    let again: Vec<String> = queue.receive().await.unwrap().into_iter().map(|message| message.receipt).collect();
    queue.delete(&again).await.unwrap();
    assert_eq!(server.messages(), 0);
}

#[tokio::test]
async fn options_that_cannot_be_are_refused_by_name() {
    let good = SqsServer::start().await.options();
    let wrong = [
        (SqsOptions { queue_url: "landed".to_owned(), ..good.clone() }, "queue_url"),
        (SqsOptions { queue_url: "https://sqs.eu-west-1.amazonaws.com".to_owned(), ..good.clone() }, "queue_url"),
        (SqsOptions { queue_url: "ftp://host/1/landed".to_owned(), ..good.clone() }, "queue_url"),
        (SqsOptions { region: None, ..good.clone() }, "region"),
        (SqsOptions { wait: Duration::from_secs(21), ..good.clone() }, "wait"),
        (SqsOptions { region: Some("a\nb".to_owned()), ..good.clone() }, "region, key_id or token"),
    ];
    for (options, name) in wrong {
        let error = SqsQueue::open(options, system_env()).unwrap_err();
        assert!(matches!(&error, SqsError::Option { option, .. } if *option == name), "{error}");
    }
    assert!(!format!("{good:?}").contains("secret\""), "a secret is not printed");
}
