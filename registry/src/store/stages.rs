//! Transitions between stages, and their audit.

use boathouse_mlwire::{Sql, Transaction};

use super::{lock_model, require_version};
use crate::error::{Error, Result};
use crate::model::{ModelVersion, Transition};
use crate::registry::Registry;
use crate::stage::{Existing, Stage};

/// A move, and who wants it why.
pub(crate) struct Move<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: u64,
    pub(crate) to: Stage,
    pub(crate) existing: Existing,
    pub(crate) who: &'a str,
    pub(crate) why: &'a str,
}

/// What the stage must hold when the move happens.
pub(crate) enum Expected {
    /// Whatever it holds.
    Anything,
    /// This newest version, or none.
    Newest(Option<u64>),
}

impl Registry {
    /// Moves a version to a stage, and the others that are there to `Archived` if told so, in one transaction.
    ///
    /// Every version that moved gets a line in the [audit](Self::transitions).
    ///
    /// **Errors**: `NotFound` without such a version; `Invalid` for `Archive` with a stage other than Staging or Production.
    pub async fn transition(&self, name: &str, version: u64, to: Stage, existing: Existing) -> Result<ModelVersion> {
        self.carry_out(Move { name, version, to, existing, who: "", why: "" }, Expected::Anything).await?;
        self.get_version(name, version).await
    }

    /// All moves of the versions of a model, the oldest first.
    ///
    /// **Errors**: `NotFound` without such a model.
    pub async fn transitions(&self, name: &str) -> Result<Vec<Transition>> {
        let sql = Sql::new(
            "SELECT t.version, t.from_stage, t.to_stage, t.at_ms, t.who, t.why FROM mr_transitions t \
             JOIN mr_models m ON m.model_id = t.model_id WHERE m.name = ? ORDER BY t.transition_id",
        );
        let rows = self.database().fetch_all("read the audit", sql.bind(name)).await?;
        if rows.is_empty() {
            self.get_model(name).await?;
        }
        rows.iter()
            .map(|row| {
                Ok(Transition {
                    name: name.to_owned(),
                    version: row.count("version")?,
                    from: row.text("from_stage")?.parse()?,
                    to: row.text("to_stage")?.parse()?,
                    at_ms: row.int("at_ms")?,
                    who: row.text("who")?,
                    why: row.text("why")?,
                })
            })
            .collect()
    }

    /// Returns the versions that were archived on the way.
    pub(crate) async fn carry_out(&self, wanted: Move<'_>, expected: Expected) -> Result<Vec<u64>> {
        let Move { name, version, to, existing, who, why } = wanted;
        if existing == Existing::Archive && !to.can_replace() {
            return Err(Error::CannotArchive { stage: to });
        }
        let now = self.now_ms();
        let mut tx = self.database().begin("move a model version to a stage").await?;
        let model_id = lock_model(&mut tx, name).await?;
        let number = require_version(&mut tx, model_id, name, version).await?;
        let others =
            Sql::new("SELECT version FROM mr_versions WHERE model_id = ? AND stage = ? AND version != ? ORDER BY version");
        let rows = tx.fetch_all(others.bind(model_id).bind(to.as_str()).bind(number)).await?;
        let others = rows.iter().map(|row| row.count("version")).collect::<Result<Vec<u64>, _>>()?;
        if let Expected::Newest(compared) = expected
            && others.last().copied() != compared
        {
            let show = |v: Option<u64>| v.map_or_else(|| "nothing".to_owned(), |v| format!("version {v}"));
            let found = show(others.last().copied());
            return Err(Error::StageMoved { name: name.to_owned(), version, stage: to, compared: show(compared), found });
        }
        let archived = if existing == Existing::Archive { others } else { Vec::new() };
        for other in &archived {
            let other = i64::try_from(*other).unwrap_or(i64::MAX);
            set_stage(&mut tx, model_id, other, Stage::Archived, (now, who, why)).await?;
        }
        set_stage(&mut tx, model_id, number, to, (now, who, why)).await?;
        super::touch(&mut tx, model_id, Some(number), now).await?;
        tx.commit().await?;
        Ok(archived)
    }
}

/// Writes the audit first: it needs the stage that the version leaves.
async fn set_stage(
    tx: &mut Transaction,
    model_id: i64,
    version: i64,
    to: Stage,
    (now, who, why): (i64, &str, &str),
) -> Result<()> {
    let mut audit = Sql::new(
        "INSERT INTO mr_transitions (model_id, version, from_stage, to_stage, at_ms, who, why) \
         SELECT model_id, version, stage, ",
    );
    // Casts tell PostgreSQL the types of values that stand in no column.
    audit.push_with("CAST(? AS TEXT)", to.as_str()).push_with(", CAST(? AS BIGINT)", now);
    audit.push_with(", CAST(? AS TEXT)", who).push_with(", CAST(? AS TEXT)", why);
    audit.push_with(" FROM mr_versions WHERE model_id = ?", model_id).push_with(" AND version = ?", version);
    tx.execute(audit).await?;
    let update = Sql::new("UPDATE mr_versions SET stage = ?, updated_ms = ? WHERE model_id = ? AND version = ?");
    tx.execute(update.bind(to.as_str()).bind(now).bind(model_id).bind(version)).await?;
    Ok(())
}
