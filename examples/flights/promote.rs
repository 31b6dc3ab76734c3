//! Step 6: both models become versions; a gate decides which of them may serve.

use anyhow::{Context, Result, ensure};
use boathouse::base::{DomainError, ErrorKind};
use boathouse::registry::{Error as RegistryError, Gate, ModelVersion, NewVersion, Search, Stage};

use crate::story::{MODEL, Report, Story};
use crate::train::Candidate;

/// No model may serve that is not better than this on the held-out months.
pub(crate) const LEAST_AUC: f64 = 0.6;

/// Registers the candidates and promotes the better one.
pub(crate) async fn run(story: &Story, report: &mut Report, candidates: &[Candidate]) -> Result<()> {
    let timer = story.begin("promote", "the better model passes the gate to Production; the other one is refused");
    let registry = story.lake.registry();
    match registry.create_model(MODEL, Some("Will a flight arrive more than 30 minutes late?"), &[]).await {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let mut versions = Vec::new();
    for candidate in candidates {
        versions.push((candidate, register(story, candidate).await?));
    }
    versions.sort_by(|a, b| b.0.auc.total_cmp(&a.0.auc));
    let [(best, winner), (other, loser)] = versions.as_slice() else {
        anyhow::bail!("there are {} candidates, not two", versions.len())
    };
    if winner.stage != Stage::Unassigned && winner.stage != Stage::Staging {
        story.say(format!(
            "version {} ({}) has passed the gate before; it is in {}",
            winner.version,
            best.name,
            winner.stage.as_str()
        ));
        timer.end(story, report, "nothing new to promote");
        return Ok(());
    }
    if winner.stage == Stage::Unassigned {
        registry.promote(MODEL, winner.version, Stage::Staging).because("the better of two on the held-out months").run().await?;
    }

    // The other one is sent through the same gate, to show that it holds.
    let gate = |ours: f64, theirs: f64| {
        Gate::new([("auc", ours)]).at_least("auc", LEAST_AUC).better_than([("auc", theirs)]).by("auc", 0.0)
    };
    let refused = registry.promote(MODEL, loser.version, Stage::Production).require(gate(other.auc, best.auc)).run().await;
    match refused {
        Err(RegistryError::Refused { failures, .. }) => {
            for failure in failures {
                story.say(format!("version {} ({}) is refused: {failure}", loser.version, other.name));
            }
        }
        Err(error) => return Err(error.into()),
        Ok(_) => ensure!(other.auc > best.auc, "the gate let the worse model through"),
    }
    let promotion = registry.promote(MODEL, winner.version, Stage::Production).require(gate(best.auc, other.auc));
    promotion.because("AUC above the other's, and above 0.6, on the held-out months").run().await?;
    story.say(format!("version {} ({}) is in Production", winner.version, best.name));
    timer.end(
        story,
        report,
        format!("version {} ({}) in Production, version {} refused", winner.version, best.name, loser.version),
    );
    Ok(())
}

/// The version that holds a candidate: made once, however often this runs.
pub(crate) async fn register(story: &Story, candidate: &Candidate) -> Result<ModelVersion> {
    let registry = story.lake.registry();
    let filter = format!("name = '{MODEL}' AND run_id = '{}'", candidate.run_id);
    let found = registry.search_versions(Search { filter, ..Search::default() }).await?;
    if let Some(version) = found.items.into_iter().next() {
        return Ok(version);
    }
    let new = NewVersion {
        source: candidate.source.clone(),
        run_id: Some(candidate.run_id.clone()),
        description: Some(candidate.name.clone()),
        ..NewVersion::default()
    };
    let version = registry.create_version(MODEL, new).await?;
    story.say(format!("version {} of {MODEL}: {}", version.version, candidate.name));
    Ok(version)
}

/// The version that serves.
pub(crate) async fn in_production(story: &Story) -> Result<ModelVersion> {
    let versions = story.lake.registry().latest_versions(MODEL, &[Stage::Production]).await?;
    versions.into_iter().next().context("no version is in Production")
}
