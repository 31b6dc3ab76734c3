//! What DELETE, UPDATE and MERGE have in common: how they begin, and what they say of themselves when they commit.

use std::fmt;

use boathouse_base::Predicate;
use boathouse_delta_protocol::features::{self, RowChange};
use boathouse_delta_table::{CommitReport, DataWriterSettings, DeltaTable, Evolution, Snapshot, Transaction};
use datafusion::prelude::SessionContext;

use super::error::{Attempt, Result};
use super::fate::{RowChangeSettings, Treatment};
use super::output::{Output, Recording, Written};
use super::rewrite;

/// A statement before it runs: on which table, with whose session, and how files are written.
#[derive(Clone)]
pub(crate) struct Statement {
    table: DeltaTable,
    /// The caller's session; without it a plain one.
    session: Option<SessionContext>,
    settings: DataWriterSettings,
    changes: RowChangeSettings,
    /// The version to begin at; the newest otherwise.
    base: Option<Snapshot>,
}

impl Statement {
    pub(crate) fn new(table: DeltaTable) -> Self {
        Self { table, session: None, settings: DataWriterSettings::default(), changes: RowChangeSettings::default(), base: None }
    }

    /// Begins at this version in place of the newest.
    pub(crate) fn based_on(mut self, snapshot: Snapshot) -> Self {
        self.base = Some(snapshot);
        self
    }

    pub(crate) fn with_session(mut self, session: &SessionContext) -> Self {
        self.session = Some(session.clone());
        self
    }

    pub(crate) fn with_writer_settings(mut self, settings: DataWriterSettings) -> Self {
        self.settings = settings;
        self
    }

    pub(crate) fn with_row_change_settings(mut self, settings: RowChangeSettings) -> Self {
        self.changes = settings;
        self
    }

    pub(crate) fn url(&self) -> &str {
        self.table.url()
    }

    pub(crate) fn table(&self) -> &DeltaTable {
        &self.table
    }

    /// Opens the newest version, and refuses at once what the table does not allow.
    pub(crate) async fn begin(self, attempted: &'static str, change: RowChange) -> Result<Running> {
        let snapshot = match self.base {
            Some(snapshot) => snapshot,
            None => self.table.snapshot().await?,
        };
        let started_ms = self.table.env().now_ms();
        rewrite::check(&snapshot, change)?;
        Ok(Running {
            attempt: Attempt::new(attempted, snapshot.url()),
            treatment: Treatment::of(&snapshot, self.changes),
            snapshot,
            session: self.session.unwrap_or_default(),
            settings: self.settings,
            evolution: None,
            started_ms,
            scanned_ms: started_ms,
        })
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = self.session.as_ref().map_or("a plain session", |_| "the caller's session");
        f.debug_struct("Statement").field("table", &self.table).field("session", &session).finish_non_exhaustive()
    }
}

/// A statement under way, on one version of its table.
pub(crate) struct Running {
    pub(crate) snapshot: Snapshot,
    pub(crate) session: SessionContext,
    pub(crate) attempt: Attempt,
    /// What becomes of files that are touched.
    pub(crate) treatment: Treatment,
    settings: DataWriterSettings,
    /// What was found, and how its columns change, when `snapshot` has others.
    evolution: Option<(Snapshot, Evolution)>,
    started_ms: i64,
    scanned_ms: i64,
}

impl Running {
    /// From here on the table has these columns.
    pub(crate) fn evolve(&mut self, evolution: Evolution) {
        let found = std::mem::replace(&mut self.snapshot, evolution.snapshot.clone());
        self.evolution = Some((found, evolution));
    }

    /// All rows that decide were seen; what comes now is writing.
    pub(crate) fn scanned(&mut self) {
        self.scanned_ms = self.now_ms();
    }

    /// Whether a statement must say what it changes. Readers of the change feed understand without that rows came or left,
    /// but not that a row became another one, or was only copied.
    pub(crate) fn recording(&self, updates_or_copies: bool) -> Recording {
        let (protocol, properties) = (self.snapshot.protocol(), self.snapshot.properties());
        match updates_or_copies && features::records_changes(protocol, properties) {
            true => Recording::On,
            false => Recording::Off,
        }
    }

    /// Fills new files; when that fails, what was written is deleted again.
    pub(crate) async fn write<T>(
        &self,
        recording: Recording,
        fill: impl AsyncFnOnce(&mut Output) -> Result<T>,
    ) -> Result<(Written, T)> {
        rewrite::write(&self.snapshot, self.settings.clone(), recording, fill).await
    }

    /// A transaction that has read the rows that can satisfy `predicate`; all rows when nothing is known of them.
    pub(crate) fn transaction(&self, predicate: Option<Predicate>) -> Transaction {
        let transaction = match &self.evolution {
            Some((found, evolution)) => evolution.stage(Transaction::begin(found)),
            None => Transaction::begin(&self.snapshot),
        };
        match predicate {
            Some(predicate) => transaction.read_predicate(predicate),
            None => transaction.read_whole_table(),
        }
    }

    /// How long it took until now, under the names that Spark gives these metrics.
    pub(crate) fn times(&self) -> [(&'static str, u64); 3] {
        let span = |from: i64, to: i64| u64::try_from(to - from).unwrap_or(0);
        let now_ms = self.now_ms();
        [
            ("executionTimeMs", span(self.started_ms, now_ms)),
            ("scanTimeMs", span(self.started_ms, self.scanned_ms)),
            ("rewriteTimeMs", span(self.scanned_ms, now_ms)),
        ]
    }

    /// Commits; when that fails, new files are deleted again, unless the commit may have happened.
    pub(crate) async fn commit(&self, transaction: Transaction, written: &Written) -> Result<CommitReport> {
        let report = rewrite::commit(&self.snapshot, transaction, written).await?;
        let (table, version, attempted) = (self.snapshot.url(), report.version, self.attempt.attempted);
        if self.snapshot.properties().auto_compact {
            super::optimize::after_commit(self.snapshot.table()).await;
        }
        tracing::debug!(table, version, attempted, files = written.files.adds.len(), rows_written = written.files.rows, "done");
        Ok(report)
    }

    fn now_ms(&self) -> i64 {
        self.snapshot.table().env().now_ms()
    }
}
