#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use boathouse_base::{DomainError as _, ErrorKind, ManualClock};

use super::*;

const NOTES: &[Migration] =
    &[Migration { version: 1, name: "notes", sql: "CREATE TABLE notes (id {identity}, text {text}, size {real}, n {int})" }];

fn env() -> Env {
    Env::new(ManualClock::default(), 1)
}

async fn memory() -> Database {
    let database = Database::open("sqlite::memory:", &env()).await.unwrap();
    database.migrate("notes", NOTES).await.unwrap();
    database
}

#[test]
fn urls_name_files_memory_and_servers() {
    assert!(matches!(Target::parse("sqlite::memory:").unwrap(), Target::Memory));
    for (url, path) in [("sqlite:///a/b.db", "/a/b.db"), ("sqlite://b.db", "b.db"), ("a b/c?.db", "a b/c?.db")] {
        let Target::File(found) = Target::parse(url).unwrap() else { panic!("{url}") };
        assert_eq!(found, PathBuf::from(path));
    }
    let Target::Postgres(options) = Target::parse("postgres://me:secret@host:99/ml").unwrap() else { panic!() };
    assert_eq!(postgres_url(&options), "postgres://me@host:99/ml");
}

#[test]
fn a_wrong_url_is_refused_without_showing_its_password() {
    for url in ["mysql://me:secret@h/x", "sqlite://", "", "sqlite:///a/", "sqlite://a.db?mode=ro"] {
        let error = Target::parse(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn values_come_back_as_they_were_bound() {
    let database = memory().await;
    let mut tx = database.begin("write").await.unwrap();
    let rows = [("it's", f64::INFINITY, Some(i64::MAX)), ("", 3.0, None)];
    for (text, size, n) in rows {
        tx.execute(Sql::new("INSERT INTO notes (text, size, n) VALUES (?, ?, ?)").bind(text).bind(size).bind(n)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let found = database.fetch_all("read", Sql::new("SELECT * FROM notes ORDER BY id")).await.unwrap();
    let found: Vec<_> =
        found.iter().map(|r| (r.text("text").unwrap(), r.real("size").unwrap(), r.optional_int("n").unwrap())).collect();
    assert_eq!(found, rows.map(|(t, s, n)| (t.to_owned(), s, n)));
}

#[tokio::test]
async fn a_dropped_transaction_leaves_no_trace() {
    let database = memory().await;
    let mut tx = database.begin("write").await.unwrap();
    assert_eq!(tx.execute(Sql::new("INSERT INTO notes (n) VALUES (1)")).await.unwrap(), 1);
    drop(tx);
    assert!(database.fetch_optional("read", Sql::new("SELECT n FROM notes")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_column_of_another_type_is_corrupt_and_named() {
    let database = memory().await;
    let row = database.fetch_optional("read", Sql::new("SELECT 'x' AS a, NULL AS b")).await.unwrap().unwrap();
    for error in [row.int("a").unwrap_err(), row.text("b").unwrap_err(), row.text("c").unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}

#[tokio::test]
async fn migrations_run_once_and_a_newer_schema_is_refused() {
    let database = memory().await;
    database.migrate("notes", NOTES).await.unwrap();
    let two = [NOTES[0], Migration { version: 2, name: "more", sql: "ALTER TABLE notes ADD COLUMN more {text}" }];
    database.migrate("notes", &two).await.unwrap();
    let error = database.migrate("notes", NOTES).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("version 2"), "{error}");
    // Another component in the same database counts for itself.
    database.migrate("others", &[]).await.unwrap();
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing_behind() {
    let database = Database::open("sqlite::memory:", &env()).await.unwrap();
    let bad = [NOTES[0], Migration { version: 2, name: "bad", sql: "CREATE TABLE a (x {int}); THIS IS NOT SQL" }];
    assert!(database.migrate("notes", &bad).await.is_err());
    assert!(database.fetch_all("read", Sql::new("SELECT * FROM notes")).await.is_err());
    database.migrate("notes", NOTES).await.unwrap();
}
