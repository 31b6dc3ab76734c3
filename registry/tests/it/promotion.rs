//! Stages, gates, and the audit.

use boathouse_base::{DomainError as _, ErrorKind};
use boathouse_registry::{Error, Existing, Gate, Needed, Stage};

use crate::fixture::Fixture;

#[tokio::test]
async fn a_promotion_archives_what_was_there_and_is_remembered() {
    for f in Fixture::each().await {
        let (r, name) = (&f.registry, f.model(3).await);
        r.transition(&name, 1, Stage::Production, Existing::Keep).await.unwrap();
        r.transition(&name, 2, Stage::Production, Existing::Keep).await.unwrap();
        f.tick();
        let report = r.promote(&name, 3, Stage::Production).by("ana").because("better auc").run().await.unwrap();
        assert_eq!((report.from, report.version.stage, report.archived), (Stage::Unassigned, Stage::Production, vec![1, 2]));
        assert_eq!(r.get_version(&name, 1).await.unwrap().stage, Stage::Archived);
        let audit = r.transitions(&name).await.unwrap();
        let moves: Vec<_> = audit.iter().map(|t| (t.version, t.from, t.to)).collect();
        assert_eq!(
            moves,
            [
                (1, Stage::Unassigned, Stage::Production),
                (2, Stage::Unassigned, Stage::Production),
                (1, Stage::Production, Stage::Archived),
                (2, Stage::Production, Stage::Archived),
                (3, Stage::Unassigned, Stage::Production),
            ]
        );
        assert_eq!((audit[4].who.as_str(), audit[4].why.as_str(), audit[4].at_ms), ("ana", "better auc", f.env.now_ms()));
    }
}

#[tokio::test]
async fn a_gate_that_fails_moves_nothing_and_says_why() {
    for f in Fixture::each().await {
        let (r, name) = (&f.registry, f.model(2).await);
        r.promote(&name, 1, Stage::Production).run().await.unwrap();
        let gate = Gate::new([("auc", 0.58), ("loss", 0.4)])
            .at_least("auc", 0.6)
            .at_most("loss", 0.5)
            .better_than([("auc", 0.57), ("loss", 0.39)])
            .by("auc", 0.0)
            .below_by("loss", 0.0);
        let error = r.promote(&name, 2, Stage::Production).require(gate).run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        let text = error.to_string();
        let Error::Refused { failures, .. } = error else { panic!("{text}") };
        let reasons: Vec<_> = failures.iter().map(|x| (x.metric.as_str(), x.found, x.needed, x.rival)).collect();
        assert_eq!(
            reasons,
            [("auc", Some(0.58), Needed::AtLeast(0.6), Some(0.57)), ("loss", Some(0.4), Needed::BelowRival(0.0), Some(0.39)),]
        );
        assert!(text.contains("metric `auc`: found 0.58, needed at least 0.6"), "{text}");
        assert_eq!(r.get_version(&name, 1).await.unwrap().stage, Stage::Production);
        assert_eq!(r.get_version(&name, 2).await.unwrap().stage, Stage::Unassigned);
        assert_eq!(r.transitions(&name).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_stage_that_changed_since_the_comparison_is_a_conflict() {
    for f in Fixture::each().await {
        let (r, name) = (&f.registry, f.model(3).await);
        r.promote(&name, 1, Stage::Production).compared_with(None).run().await.unwrap();
        let error = r.promote(&name, 2, Stage::Production).compared_with(None).run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("compared with nothing, now there is version 1"), "{error}");
        r.promote(&name, 2, Stage::Production).compared_with(Some(1)).run().await.unwrap();
        // A version that is there already competes with the others only.
        r.promote(&name, 2, Stage::Production).compared_with(None).run().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_rivals_that_compared_with_the_same_version_one_wins() {
    for f in Fixture::each().await {
        let name = f.model(5).await;
        f.registry.promote(&name, 1, Stage::Production).run().await.unwrap();
        let tasks: Vec<_> = (2..=5)
            .map(|v| tokio::spawn(f.registry.promote(name.clone(), v, Stage::Production).compared_with(Some(1)).run()))
            .collect();
        let mut won = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
            }
        }
        assert_eq!(won, 1);
        let in_stage = f.registry.latest_versions(&name, &[Stage::Production]).await.unwrap();
        assert_eq!(in_stage.len(), 1);
    }
}

#[tokio::test]
async fn archiving_others_needs_a_stage_that_serves() {
    let f = Fixture::file().await;
    let name = f.model(1).await;
    for stage in [Stage::Unassigned, Stage::Archived] {
        let error = f.registry.transition(&name, 1, stage, Existing::Archive).await.unwrap_err();
        assert!(matches!(error, Error::CannotArchive { .. }), "{error}");
        f.registry.promote(&name, 1, stage).run().await.unwrap();
    }
    assert_eq!(f.registry.transition(&name, 9, Stage::Staging, Existing::Keep).await.unwrap_err().kind(), ErrorKind::NotFound);
}
