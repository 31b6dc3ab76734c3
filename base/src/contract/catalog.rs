//! The contract of [`ModelCatalog`].

use super::rows::assert_kind;
use crate::error::ErrorKind;
use crate::model::{ModelCatalog, ModelReference, VersionSelector};

/// A reference, and the version that it must resolve to.
#[derive(Debug, Clone)]
pub struct KnownModel {
    /// The reference: `models:/late/Production`.
    pub reference: ModelReference,
    /// The version.
    pub version: u64,
}

/// Checks an implementation of [`ModelCatalog`] that knows at least the references given.
pub async fn catalog(catalog: &dyn ModelCatalog, known: &[KnownModel]) {
    assert!(!known.is_empty(), "the suite is given a reference that resolves");
    for model in known {
        let found = catalog.resolve(&model.reference).await.expect("a known reference resolves");
        assert_eq!(found.version, model.version, "{} resolves to another version", model.reference);
        assert_eq!(found.name, model.reference.name, "the model keeps its name");
        assert!(!found.source.is_empty(), "a version has a folder");
        assert_eq!(catalog.resolve(&model.reference).await.expect("again"), found, "{} resolves the same", model.reference);
        let number = ModelReference { selector: VersionSelector::Number(model.version), ..model.reference.clone() };
        assert_eq!(catalog.resolve(&number).await.expect("by number"), found, "{number} is the same version");
    }
    let name = &known[0].reference.name;
    let resolve = async |name: &str, selector| {
        let reference = ModelReference { name: name.to_owned(), selector };
        (catalog.resolve(&reference).await, reference.to_string())
    };
    for selector in [
        VersionSelector::Number(1),
        VersionSelector::Latest,
        VersionSelector::Alias("champion".to_owned()),
        VersionSelector::Stage("Production".to_owned()),
    ] {
        let (found, what) = resolve("no such model", selector).await;
        assert_kind(&found, ErrorKind::NotFound, &["no such model"], &what);
    }
    let (found, what) = resolve(name, VersionSelector::Number(4_000_000)).await;
    assert_kind(&found, ErrorKind::NotFound, &["4000000"], &what);
    let (found, what) = resolve(name, VersionSelector::Alias("no-such-alias".to_owned())).await;
    assert_kind(&found, ErrorKind::NotFound, &["no-such-alias"], &what);
    let (found, what) = resolve(name, VersionSelector::Stage("NoSuchStage".to_owned())).await;
    assert_kind(&found, ErrorKind::Invalid, &["NoSuchStage"], &what);
}
