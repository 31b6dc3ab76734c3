//! Writing changed rows, and committing them or nothing.

use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_protocol::action::decode_path;
use boathouse_delta_protocol::features::{self, RowChange};
use boathouse_delta_table::{CommitReport, DataWriterSettings, DeltaError, Snapshot, Transaction};

use super::error::Result;
use super::output::{Output, Recording, Written};

/// Whether rows of the table may be changed at all; asked before anything is read.
pub(crate) fn check(snapshot: &Snapshot, change: RowChange) -> Result<()> {
    let on_table = |source: ProtocolError| DeltaError::Protocol { url: snapshot.url().to_owned(), source };
    features::check_write(snapshot.protocol(), snapshot.metadata()).map_err(on_table)?;
    features::check_change(snapshot.protocol(), snapshot.properties(), change).map_err(on_table)?;
    Ok(())
}

/// Fills new files; when that fails, what was written is deleted again.
pub(crate) async fn write<T>(
    snapshot: &Snapshot,
    settings: DataWriterSettings,
    recording: Recording,
    fill: impl AsyncFnOnce(&mut Output) -> Result<T>,
) -> Result<(Written, T)> {
    let mut output = Output::new(snapshot, settings, recording)?;
    match fill(&mut output).await {
        Ok(facts) => Ok((output.finish().await?, facts)),
        Err(error) => {
            output.abort().await;
            Err(error)
        }
    }
}

/// Commits; when that fails, the files of the transaction are deleted again, unless the commit may have happened.
pub(crate) async fn commit(snapshot: &Snapshot, transaction: Transaction, written: &Written) -> Result<CommitReport> {
    let committed = match transaction.add_written(&written.files) {
        Ok(transaction) => transaction.record_changes(&written.changes).commit().await,
        Err(error) => Err(error),
    };
    match committed {
        Ok(report) => Ok(report),
        Err(error) => {
            if !matches!(error, DeltaError::CommitUnknown { .. }) {
                discard(snapshot, written).await;
            }
            Err(error.into())
        }
    }
}

/// Deletes files that no commit names. Best effort.
pub(crate) async fn discard(snapshot: &Snapshot, written: &Written) {
    let storage = snapshot.table().storage();
    let (data, changes) = (written.files.adds.iter().map(|add| &add.path), written.changes.files.iter().map(|cdc| &cdc.path));
    for path in data.chain(changes) {
        let Ok(path) = decode_path(path) else { continue };
        if let Err(error) = storage.delete(&path).await {
            tracing::warn!(table = storage.url(), %path, %error, "an unused data file could not be deleted");
        }
    }
}

/// The most bytes of a condition in the history: one with all values of a subquery says enough with the first of them.
const MOST_BYTES: usize = 8 << 10;

/// Conditions as the history of a table has them: a JSON list.
pub(crate) fn predicate_parameter(text: Option<&str>) -> String {
    let text = text.map(|text| match text.len() > MOST_BYTES {
        true => format!("{}…", &text[..text.floor_char_boundary(MOST_BYTES)]),
        false => text.to_owned(),
    });
    serde_json::Value::from(text.into_iter().collect::<Vec<_>>()).to_string()
}
