use boathouse_base::{DomainError, ErrorKind};
use boathouse_storage::{Location, Stores};
use proptest::prelude::*;

/// Folder names with everything a file system takes.
fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 _=%+:;,@&~$()!'äß漢😀.-]{1,12}".prop_filter("`.` and `..` are not names", |name| name != "." && name != "..")
}

proptest! {
    #[test]
    fn a_local_path_becomes_a_url_and_comes_back_byte_for_byte(parts in prop::collection::vec(name(), 1..5)) {
        let path = format!("/{}", parts.join("/"));
        let location = Location::parse(&path).unwrap();
        prop_assert!(location.as_str().is_ascii());
        let back = Location::parse(location.as_str()).unwrap();
        prop_assert_eq!(&back, &location);
        let local = back.local_path().unwrap();
        prop_assert_eq!(local.to_str().unwrap().trim_end_matches('/'), path.as_str());
    }

    #[test]
    fn joining_and_stepping_down_reach_the_same_folder(parts in prop::collection::vec(name(), 1..4)) {
        let stores = Stores::new();
        let root = Location::parse("memory://lake/a b").unwrap();
        let below = parts.join("/");
        let joined = stores.open(&root.join(&below)).unwrap();
        let stepped = stores.open(&root).unwrap().at(&below);
        prop_assert_eq!(joined.prefix(), stepped.prefix());
    }
}

#[test]
fn paths_are_made_absolute_and_dots_are_resolved() {
    let here = std::env::current_dir().unwrap();
    let location = Location::parse("some/./where/../here").unwrap();
    assert_eq!(location.local_path().unwrap(), here.join("some/here/"));
}

#[test]
fn a_path_that_looks_like_a_url_is_a_path_when_it_is_given_as_one() {
    let location = Location::from_path("/data/s3://bucket").unwrap();
    assert_eq!(location.as_str(), "file:///data/s3:/bucket/");
}

#[test]
fn a_host_in_a_file_url_cannot_be_opened() {
    let error = Stores::new().open(&Location::parse("file://host/data").unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("file://host/data"), "{error}");
}

#[test]
fn clouds_without_their_feature_name_it() {
    for (text, feature) in [("s3://b/x", "s3"), ("abfss://c@account.dfs.core.windows.net/x", "azure"), ("gs://b/x", "gcs")] {
        // With the feature the client may open, or miss its credentials; it never says that the feature is off.
        let enabled = match feature {
            "s3" => cfg!(feature = "s3"),
            "azure" => cfg!(feature = "azure"),
            _ => cfg!(feature = "gcs"),
        };
        if enabled {
            continue;
        }
        let error = Stores::new().open(&Location::parse(text).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(&format!("feature `{feature}`")), "{error}");
    }
}

#[tokio::test]
async fn a_store_that_is_handed_in_serves_its_root_and_no_other() {
    let mine = boathouse_storage::Storage::memory();
    mine.put("data/a", "1").await.unwrap();
    let root = Location::parse("s3://bucket").unwrap();
    let stores = Stores::new().with_store(&root, std::sync::Arc::clone(mine.object_store())).unwrap();
    assert_eq!(stores.open(&root.join("data")).unwrap().get("a").await.unwrap(), "1");
    let inside = Stores::new().with_store(&root.join("data"), std::sync::Arc::clone(mine.object_store())).unwrap_err();
    assert_eq!(inside.kind(), ErrorKind::Invalid);
}
