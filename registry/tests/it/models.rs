//! Models, versions, aliases, tags, and references to them.

use boathouse_base::{DomainError as _, ErrorKind, ModelCatalog, ModelReference};
use boathouse_registry::{Error, Existing, NewVersion, Search, Stage};

use crate::fixture::Fixture;

fn search(filter: String) -> Search {
    Search { filter, ..Search::default() }
}

#[tokio::test]
async fn a_model_shows_its_versions_tags_and_aliases() {
    for f in Fixture::each().await {
        let (r, name) = (&f.registry, f.model(3).await);
        f.tick();
        r.update_model(&name, Some("delays")).await.unwrap();
        r.set_model_tag(&name, "team", "ops").await.unwrap();
        r.set_version_tag(&name, 2, "checked", "yes").await.unwrap();
        r.set_alias(&name, "champion", 2).await.unwrap();
        r.set_alias(&name, "challenger", 3).await.unwrap();
        r.transition(&name, 1, Stage::Production, Existing::Keep).await.unwrap();
        let model = r.get_model(&name).await.unwrap();
        assert_eq!((model.description.as_deref(), model.tags["team"].as_str()), (Some("delays"), "ops"));
        assert_eq!(model.aliases.into_iter().collect::<Vec<_>>(), [("challenger".to_owned(), 3), ("champion".to_owned(), 2)]);
        let latest: Vec<_> = model.latest_versions.iter().map(|v| (v.stage, v.version)).collect();
        assert_eq!(latest, [(Stage::Unassigned, 3), (Stage::Production, 1)]);
        assert_eq!(model.updated_ms, f.env.now_ms());
        let version = r.get_version(&name, 2).await.unwrap();
        assert_eq!((version.aliases, version.tags["checked"].as_str()), (vec!["champion".to_owned()], "yes"));
        assert_eq!(r.count_versions(&name).await.unwrap(), 3);
    }
}

#[tokio::test]
async fn references_resolve_to_versions() {
    for f in Fixture::each().await {
        let (r, name) = (&f.registry, f.model(4).await);
        r.transition(&name, 1, Stage::Production, Existing::Keep).await.unwrap();
        r.transition(&name, 3, Stage::Production, Existing::Keep).await.unwrap();
        r.set_alias(&name, "champion", 2).await.unwrap();
        for (which, version) in
            [("/2", 2), ("/Production", 3), ("/production", 3), ("/None", 4), ("@champion", 2), ("/latest", 4)]
        {
            let reference: ModelReference = format!("models:/{name}{which}").parse().unwrap();
            assert_eq!(r.resolve(&reference).await.unwrap().version, version, "{which}");
        }
        for (which, kind) in [
            ("/9", ErrorKind::NotFound),
            ("/Staging", ErrorKind::NotFound),
            ("@nobody", ErrorKind::NotFound),
            ("/Prod", ErrorKind::Invalid),
        ] {
            let reference: ModelReference = format!("models:/{name}{which}").parse().unwrap();
            let error = r.resolve(&reference).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{which}: {error}");
        }
        let empty = f.model(0).await;
        let reference: ModelReference = format!("models:/{empty}/latest").parse().unwrap();
        assert!(matches!(r.find(&reference).await.unwrap_err(), Error::NoVersions { .. }));
    }
}

#[tokio::test]
async fn a_rename_keeps_everything_and_frees_the_old_name() {
    for f in Fixture::each().await {
        let (r, name) = (&f.registry, f.model(2).await);
        r.set_alias(&name, "champion", 1).await.unwrap();
        let other = f.model(0).await;
        assert_eq!(r.rename_model(&name, &other).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let new = format!("new {}", f.env.uuid());
        r.rename_model(&name, &new).await.unwrap();
        assert_eq!(r.get_version_by_alias(&new, "champion").await.unwrap().name, new);
        assert!(matches!(r.get_model(&name).await.unwrap_err(), Error::NoModel { .. }));
        r.create_model(&name, None, &[]).await.unwrap();
        assert_eq!(r.count_versions(&name).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_deleted_version_takes_its_aliases_and_its_number_with_it() {
    for f in Fixture::each().await {
        let (r, name) = (&f.registry, f.model(2).await);
        r.set_alias(&name, "champion", 2).await.unwrap();
        r.delete_version(&name, 2).await.unwrap();
        assert!(matches!(r.get_version_by_alias(&name, "champion").await.unwrap_err(), Error::NoAlias { .. }));
        assert!(matches!(r.delete_version(&name, 2).await.unwrap_err(), Error::NoVersion { .. }));
        assert_eq!(f.version(&name).await.version, 3);
        r.delete_model(&name).await.unwrap();
        assert!(matches!(r.get_version(&name, 1).await.unwrap_err(), Error::NoModel { .. }));
    }
}

#[tokio::test]
async fn searches_find_models_and_versions() {
    for f in Fixture::each().await {
        let (r, name) = (&f.registry, f.model(3).await);
        r.set_model_tag(&name, "team", "ops").await.unwrap();
        let new = NewVersion { source: "memory://x".into(), run_id: Some("run7".into()), ..NewVersion::default() };
        r.create_version(&name, new).await.unwrap();
        let found = r.search_models(search(format!("name LIKE '{}%' AND tags.team = 'ops'", &name[..20]))).await.unwrap();
        assert_eq!(found.items.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), [name.as_str()]);
        assert_eq!(found.items[0].latest_versions[0].version, 4);
        let versions = async |filter: &str, order: &str| {
            let mut search = search(format!("name = '{name}' AND {filter}"));
            search.order_by = vec![order.to_owned()];
            let found = r.search_versions(search).await.unwrap().items;
            found.into_iter().map(|v| v.version).collect::<Vec<_>>()
        };
        assert_eq!(versions("version_number >= 2", "version_number ASC").await, [2, 3, 4]);
        assert_eq!(versions("run_id IN ('run7')", "name").await, [4]);
        assert_eq!(versions("source_path ILIKE 'MEMORY://MODELS/%'", "creation_timestamp DESC").await, [3, 2, 1]);
        let mut paged = search(format!("name = '{name}'"));
        paged.max_results = 3;
        let first = r.search_versions(paged.clone()).await.unwrap();
        paged.page_token = first.next_page_token;
        assert_eq!((first.items.len(), r.search_versions(paged).await.unwrap().items.len()), (3, 1));
        let prompt = f.model(1).await;
        r.set_model_tag(&prompt, "mlflow.prompt.is_prompt", "true").await.unwrap();
        for (filter, count) in
            [("", 0), (" AND tag.`mlflow.prompt.is_prompt` != 'true'", 0), (" AND tags.`mlflow.prompt.is_prompt` = 'true'", 1)]
        {
            let found = r.search_models(search(format!("name = '{prompt}'{filter}"))).await.unwrap();
            assert_eq!(found.items.len(), count, "{filter}");
        }
        let error = r.search_models(search("color = 'red'".into())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn versions_that_are_made_at_once_get_numbers_without_gaps() {
    for f in Fixture::each().await {
        let name = f.model(0).await;
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (registry, name) = (f.registry.clone(), name.clone());
                tokio::spawn(async move {
                    let new = NewVersion { source: "memory://x".into(), ..NewVersion::default() };
                    registry.create_version(&name, new).await.unwrap().version
                })
            })
            .collect();
        let mut numbers = Vec::new();
        for task in tasks {
            numbers.push(task.await.unwrap());
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=8).collect::<Vec<u64>>());
    }
}

#[tokio::test]
async fn names_and_sources_that_could_mislead_are_refused() {
    let f = Fixture::file().await;
    for name in ["", "a/b", "a:b", "a@b"] {
        assert_eq!(f.registry.create_model(name, None, &[]).await.unwrap_err().kind(), ErrorKind::Invalid, "{name}");
    }
    let name = f.model(1).await;
    let again = f.registry.create_model(&name, None, &[]).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    for source in ["", "file:///models/../../etc"] {
        let new = NewVersion { source: source.into(), ..NewVersion::default() };
        assert_eq!(f.registry.create_version(&name, new).await.unwrap_err().kind(), ErrorKind::Invalid, "{source}");
    }
    assert_eq!(f.registry.set_alias(&name, "latest", 1).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(f.registry.set_alias(&name, "ok", 2).await.unwrap_err().kind(), ErrorKind::NotFound);
}
