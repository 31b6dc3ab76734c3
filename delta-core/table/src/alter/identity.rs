//! Identity columns that go on behind the values that are there.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use boathouse_delta_protocol::rules::{IdentityColumn, Rules};

use crate::error::{AlterProblem, DeltaError, Result};
use crate::scan::FileRead;
use crate::snapshot::Snapshot;

/// The new mark of each of these columns; of those that stay nothing.
///
/// **Source**: Delta protocol, "Identity Columns": the mark is the greatest value, or the least one of a column that counts down.
pub(super) async fn new_marks(snapshot: &Snapshot, rules: &Rules, columns: &[String]) -> Result<Vec<(String, i64)>> {
    let mut marks = Vec::new();
    for column in columns {
        let identity = rules.identities.iter().find(|identity| identity.column.to_lowercase() == column.to_lowercase());
        let Some(identity) = identity else {
            let problem = AlterProblem::NotIdentity { column: column.clone() };
            return Err(DeltaError::CannotAlter { url: snapshot.url().to_owned(), problem });
        };
        if let Some(mark) = new_mark(snapshot, identity).await? {
            marks.push((identity.column.clone(), mark));
        }
    }
    Ok(marks)
}

async fn new_mark(snapshot: &Snapshot, identity: &IdentityColumn) -> Result<Option<i64>> {
    let mut values = identity.values();
    let projection = Some(vec![identity.column.clone()]);
    for file in snapshot.files(None).await? {
        let mut rows = snapshot.read_file(&file, FileRead { projection: projection.clone(), ..FileRead::default() })?;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|source| DeltaError::Input { url: snapshot.url().to_owned(), source })?;
            let Some(numbers) = batch.column(0).as_primitive_opt::<Int64Type>() else { continue };
            numbers.iter().flatten().for_each(|value| values.see(value));
        }
    }
    Ok(values.high_water_mark())
}
