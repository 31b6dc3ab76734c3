//! Writing changed rows, and committing them or nothing.

use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_protocol::features::{self, RowChange};
use boathouse_delta_table::{CommitReport, DataWriter, DataWriterSettings, DeltaError, Snapshot, Transaction, WrittenFiles};

use super::error::Result;

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
    fill: impl AsyncFnOnce(&mut DataWriter) -> Result<T>,
) -> Result<(WrittenFiles, T)> {
    let mut writer = DataWriter::new(snapshot, settings)?;
    match fill(&mut writer).await {
        Ok(facts) => Ok((writer.finish().await?, facts)),
        Err(error) => {
            writer.abort().await;
            Err(error)
        }
    }
}

/// Commits; when that fails, the files of the transaction are deleted again, unless the commit may have happened.
pub(crate) async fn commit(snapshot: &Snapshot, transaction: Transaction, written: &WrittenFiles) -> Result<CommitReport> {
    let committed = match transaction.add_written(written) {
        Ok(transaction) => transaction.commit().await,
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

async fn discard(snapshot: &Snapshot, written: &WrittenFiles) {
    let storage = snapshot.table().storage();
    for add in &written.adds {
        let Ok(path) = add.decoded_path() else { continue };
        if let Err(error) = storage.delete(&path).await {
            tracing::warn!(table = storage.url(), %path, %error, "an unused data file could not be deleted");
        }
    }
}

/// Conditions as the history of a table has them: a JSON list.
pub(crate) fn predicate_parameter(text: Option<&str>) -> String {
    serde_json::Value::from(text.into_iter().collect::<Vec<_>>()).to_string()
}
