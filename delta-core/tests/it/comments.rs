//! What SQL writes into a table's metadata and no query shows: comments, and which columns take no nulls.

use boathouse_delta_core::{DeltaSession, DeltaTable};
use boathouse_storage::{Storage, seeded_env};

use crate::rows::schema;

async fn described(table: &DeltaTable) -> (Option<String>, Option<String>, bool) {
    let snapshot = table.snapshot().await.unwrap();
    let id = snapshot.delta_schema().fields.iter().find(|field| field.name == "id").unwrap();
    let comment = id.metadata.get("comment").map(|text| text.as_str().unwrap().to_owned());
    (snapshot.metadata().description.clone(), comment, id.nullable)
}

#[tokio::test]
async fn comments_and_not_null_are_in_the_metadata_after_their_statements_and_out_again() {
    let table = DeltaTable::at(Storage::memory(), seeded_env(1));
    table.create(schema()).run().await.unwrap();
    let session = DeltaSession::new(seeded_env(2));
    session.register("t", &table).await.unwrap();
    let before = described(&table).await;
    let text = |text: &str| Some(text.to_owned());
    for (statement, expected) in [
        ("COMMENT ON TABLE t IS 'it''s all'", (text("it's all"), None, before.2)),
        ("ALTER TABLE t ALTER COLUMN id COMMENT 'a number'", (text("it's all"), text("a number"), before.2)),
        ("ALTER TABLE t ALTER COLUMN id SET NOT NULL", (text("it's all"), text("a number"), false)),
        ("ALTER TABLE t CHANGE COLUMN id COMMENT 'the key'", (text("it's all"), text("the key"), false)),
        ("ALTER TABLE t ALTER COLUMN id DROP NOT NULL", (text("it's all"), text("the key"), true)),
        ("COMMENT ON TABLE t IS NULL", (None, text("the key"), true)),
        ("ALTER TABLE t SET TBLPROPERTIES ('comment' = 'again')", (text("again"), text("the key"), true)),
    ] {
        session.sql(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        assert_eq!(described(&table).await, expected, "{statement}");
    }
}
