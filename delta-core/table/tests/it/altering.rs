//! Columns that move, say what they are about, and must have values.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int32Array, Int64Array, ListArray, MapArray, StringArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Fields};
use boathouse_delta_table::protocol::schema::ReplaceProblem;
use boathouse_delta_table::{AlterProblem, ColumnPlace, DeltaError, DeltaTable};

use crate::rows::{batch, latest_ids, people, read, reopened, stream, table};

fn names(fields: &Fields) -> Vec<&str> {
    fields.iter().map(|field| field.name().as_str()).collect()
}

fn problem(error: DeltaError) -> AlterProblem {
    match error {
        DeltaError::CannotAlter { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

/// `id`, `place: {zip, city}`, `note`.
async fn places(ids: &[Option<i64>], zips: &[Option<i64>]) -> DeltaTable {
    let table = table();
    let inner = Fields::from(vec![Field::new("zip", DataType::Int64, true), Field::new("city", DataType::Utf8, true)]);
    let cities: ArrayRef = Arc::new(StringArray::from(vec!["Oslo"; zips.len()]));
    let place = StructArray::new(inner, vec![Arc::new(Int64Array::from(zips.to_vec())) as ArrayRef, cities], None);
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from(ids.to_vec()))),
        ("place", Arc::new(place)),
        ("note", Arc::new(StringArray::from(vec!["x"; ids.len()]))),
    ];
    table.append(stream(batch(&columns))).create_if_absent().run().await.unwrap();
    table
}

#[tokio::test]
async fn columns_move_at_every_depth_and_rows_keep_their_values() {
    let table = places(&[Some(1), Some(2)], &[Some(7), Some(8)]).await;
    let before = read(&table.snapshot().await.unwrap()).await;
    let bytes = table.snapshot().await.unwrap().size_bytes().await.unwrap();
    table
        .alter()
        .move_column("NOTE", ColumnPlace::First)
        .move_column("id", ColumnPlace::After("Place".into()))
        .move_column("place.city", ColumnPlace::First)
        .run()
        .await
        .unwrap();
    let after = reopened(&table).snapshot().await.unwrap();
    assert_eq!(names(after.schema().fields()), ["note", "place", "id"]);
    let DataType::Struct(inner) = after.schema().field(1).data_type().clone() else { panic!() };
    assert_eq!(names(&inner), ["city", "zip"]);
    assert_eq!(after.size_bytes().await.unwrap(), bytes, "no file is touched");
    let rows = read(&after).await;
    assert_eq!(rows[0].column_by_name("id"), before[0].column_by_name("id"));
    let zip = |rows: &arrow_array::RecordBatch| {
        let place = rows.column_by_name("place").unwrap();
        Arc::clone(place.as_any().downcast_ref::<StructArray>().unwrap().column_by_name("zip").unwrap())
    };
    assert_eq!(&zip(&rows[0]), &zip(&before[0]));
    let error = table.alter().move_column("id", ColumnPlace::After("zip".into())).run().await.unwrap_err();
    let siblings = "note, place".to_owned();
    assert_eq!(problem(error), AlterProblem::NoSibling { column: "id".into(), after: "zip".into(), siblings });
}

#[tokio::test]
async fn a_new_column_stands_where_it_was_asked_for() {
    let table = places(&[Some(1)], &[Some(7)]).await;
    let field = |name: &str| Field::new(name, DataType::Int32, true);
    let alter = table.alter().add_column_at(field("b"), ColumnPlace::First);
    alter.add_column_at(field("c"), ColumnPlace::After("id".into())).add_column(field("z")).run().await.unwrap();
    let snapshot = reopened(&table).snapshot().await.unwrap();
    assert_eq!(names(snapshot.schema().fields()), ["b", "id", "c", "place", "note", "z"]);
    assert_eq!(read(&snapshot).await[0].column(0).null_count(), 1);
}

#[tokio::test]
async fn comments_of_columns_and_of_the_table_come_and_go() {
    let table = places(&[Some(1)], &[Some(7)]).await;
    let alter = table.alter().comment_column("place.zip", "of the post").comment_column("id", "a number");
    alter.describe(Some("where people live".into())).run().await.unwrap();
    let snapshot = reopened(&table).snapshot().await.unwrap();
    assert_eq!(snapshot.metadata().description.as_deref(), Some("where people live"));
    assert_eq!(snapshot.schema().field(0).metadata()["comment"], "a number");
    let DataType::Struct(inner) = snapshot.schema().field(1).data_type().clone() else { panic!() };
    assert_eq!(inner[0].metadata()["comment"], "of the post");
    table.alter().drop_comment("id").describe(None).run().await.unwrap();
    let snapshot = reopened(&table).snapshot().await.unwrap();
    assert_eq!((snapshot.metadata().description.as_deref(), snapshot.schema().field(0).metadata().len()), (None, 0));
}

#[tokio::test]
async fn a_column_without_nulls_becomes_not_null_by_its_statistics_alone() {
    let table = places(&[Some(1), Some(2)], &[Some(7), Some(8)]).await;
    let report = table.alter().require_values("ID").run().await.unwrap();
    assert_eq!(report.rows_checked, 0);
    assert!(!reopened(&table).snapshot().await.unwrap().schema().field(0).is_nullable());
    let null = batch(&[("id", Arc::new(Int64Array::from(vec![None])) as ArrayRef)]);
    let error = table.append(stream(null)).run().await.unwrap_err();
    assert!(matches!(error, DeltaError::NullInRequiredColumn { .. } | DeltaError::Schema { .. }), "{error}");
    // Within a struct the rows are read.
    let report = table.alter().require_values("place.zip").run().await.unwrap();
    assert_eq!(report.rows_checked, 2);
    assert_eq!(table.alter().allow_nulls("id").run().await.unwrap().rows_checked, 0);
    assert_eq!(latest_ids(&table).await, [1, 2]);
}

#[tokio::test]
async fn a_column_with_a_null_stays_as_it_is_and_the_file_is_named() {
    let table = places(&[Some(1), None], &[None, Some(8)]).await;
    let file = table.snapshot().await.unwrap().files(None).await.unwrap()[0].path().into_owned();
    for column in ["id", "place.zip"] {
        let error = table.alter().require_values(column).run().await.unwrap_err();
        assert_eq!(problem(error), AlterProblem::HasNulls { column: column.into(), path: file.clone() });
    }
    assert_eq!(table.snapshot().await.unwrap().version(), 0);
    // A partition of nulls.
    let parted = crate::rows::table();
    let part: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let rows = batch(&[("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef), ("part", part)]);
    parted.append(stream(rows)).partition_by(["part"]).run().await.unwrap();
    assert!(matches!(problem(parted.alter().require_values("part").run().await.unwrap_err()), AlterProblem::HasNulls { .. }));
    assert_eq!(parted.alter().require_values("id").run().await.unwrap().version, 1);
}

#[tokio::test]
async fn a_file_without_the_column_holds_nulls() {
    let table = table();
    table.append(people(&[1], "a")).create_if_absent().run().await.unwrap();
    table.alter().add_column(Field::new("late", DataType::Int64, true)).run().await.unwrap();
    let error = table.alter().require_values("late").run().await.unwrap_err();
    assert!(matches!(problem(error), AlterProblem::HasNulls { .. }));
}

#[tokio::test]
async fn what_is_not_there_is_taken_away_only_if_that_is_allowed() {
    let table = places(&[Some(1)], &[Some(7)]).await;
    table.alter().set_property("team", "blue").run().await.unwrap();
    let error = table.alter().unset_known_property("tema").run().await.unwrap_err();
    assert_eq!(problem(error), AlterProblem::NoProperty { key: "tema".into() });
    table.alter().unset_known_property("team").unset_property("tema").drop_constraint_if_exists("none").run().await.unwrap();
    assert!(!table.snapshot().await.unwrap().metadata().configuration.contains_key("team"));
}

/// `id`, `stops: list of {name}`, `by_day: map of text to {n}`, in files from before and after what `alter` does.
async fn nested() -> DeltaTable {
    let table = table();
    let name: Fields = vec![Field::new("name", DataType::Utf8, true)].into();
    let names = StructArray::new(name.clone(), vec![Arc::new(StringArray::from(vec!["x", "y", "z"])) as ArrayRef], None);
    let element = Arc::new(Field::new("element", DataType::Struct(name), true));
    let stops = ListArray::new(element, OffsetBuffer::from_lengths([2, 0, 1]), Arc::new(names), None);
    let n: Fields = vec![Field::new("n", DataType::Int32, true)].into();
    let counts = StructArray::new(n, vec![Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef], None);
    let pair: Fields =
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", counts.data_type().clone(), true)].into();
    let entries = StructArray::new(pair.clone(), vec![Arc::new(StringArray::from(vec!["mon", "tue"])), Arc::new(counts)], None);
    let by_day = MapArray::new(
        Arc::new(Field::new("key_value", DataType::Struct(pair), false)),
        OffsetBuffer::from_lengths([1, 1, 0]),
        entries,
        None,
        false,
    );
    let columns: [(&str, ArrayRef); 3] =
        [("id", Arc::new(Int64Array::from(vec![1, 2, 3]))), ("stops", Arc::new(stops)), ("by_day", Arc::new(by_day))];
    table.append(stream(batch(&columns))).create_if_absent().run().await.unwrap();
    table
}

async fn described(table: &DeltaTable) -> (String, Vec<String>) {
    let snapshot = reopened(table).snapshot().await.unwrap();
    let mut rows = Vec::new();
    for batch in read(&snapshot).await {
        let text = |column: &ArrayRef, row| arrow_cast::display::array_value_to_string(column, row).unwrap();
        rows.extend((0..batch.num_rows()).map(|row| batch.columns().iter().map(|c| text(c, row)).collect::<Vec<_>>().join(" ")));
    }
    rows.sort();
    (snapshot.delta_schema().to_string(), rows)
}

#[tokio::test]
async fn fields_are_added_to_structs_of_lists_and_maps_and_are_null_where_they_were_not() {
    for mode in ["none", "name"] {
        let table = nested().await;
        table.alter().set_property("delta.columnMapping.mode", mode).run().await.unwrap();
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let alter = table.alter().add_field("Stops.element", field("at"), Some(ColumnPlace::First));
        let alter = alter.add_field("by_day.value", field("m"), None);
        let within = Field::new("place", DataType::Struct(vec![field("zip")].into()), true);
        let alter = alter.add_field("", within, Some(ColumnPlace::After("ID".into())));
        alter.add_field("place", field("no"), Some(ColumnPlace::After("zip".into()))).run().await.unwrap();
        let (schema, rows) = described(&table).await;
        assert_eq!(
            schema,
            "struct<id:long,place:struct<zip:long,no:long>,stops:array<struct<at:long,name:string>>,by_day:map<string,struct<n:integer,m:long>>>"
        );
        assert_eq!(
            rows,
            ["1  [{at: , name: x}, {at: , name: y}] {mon: {n: 1, m: }}", "2  [] {tue: {n: 2, m: }}", "3  [{at: , name: z}] {}",]
        );
        // Rows with values in them come back, and those from before are what they were.
        let again = read(&table.snapshot().await.unwrap()).await.remove(0);
        table.append(stream(again)).run().await.unwrap();
        assert_eq!(described(&table).await.1.len(), 6);
        let history = table.history(10).await.unwrap();
        let added = history.iter().find(|commit| commit.operation.as_deref() == Some("ADD COLUMNS")).unwrap();
        assert!(added.parameters["changes"].contains("Stops.element.at"), "{:?}", added.parameters);
    }
}

#[tokio::test]
async fn a_field_is_refused_where_there_is_no_struct_or_one_of_its_name() {
    let table = nested().await;
    let field = |name: &str| Field::new(name, DataType::Int64, true);
    for parent in ["stops", "stops.name", "by_day", "by_day.key", "id", "nowhere", "stops.element.name"] {
        let error = table.alter().add_field(parent, field("at"), None).run().await.unwrap_err();
        assert!(error.to_string().contains(&format!("`{parent}`")), "{parent}: {error}");
    }
    let error = table.alter().add_field("stops.element", field("NAME"), None).run().await.unwrap_err();
    assert_eq!(problem(error), AlterProblem::NameTaken { column: "stops.element.NAME".into() });
    let required = Field::new("at", DataType::Int64, false);
    let error = table.alter().add_field("stops.element", required, None).run().await.unwrap_err();
    assert_eq!(problem(error), AlterProblem::RequiredColumn { column: "stops.element.at".into() });
    let error =
        table.alter().add_field("stops.element", field("at"), Some(ColumnPlace::After("id".into()))).run().await.unwrap_err();
    assert!(matches!(problem(error), AlterProblem::NoSibling { siblings, .. } if siblings == "name"));
    assert_eq!(table.snapshot().await.unwrap().version(), 0);
}

#[tokio::test]
async fn columns_are_replaced_and_those_that_stay_keep_their_values() {
    let table = nested().await;
    let snapshot = table.snapshot().await.unwrap();
    let known: Vec<Field> = snapshot.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    let without = vec![known[2].clone(), known[0].clone()];
    let error = table.alter().replace_columns(without.clone()).run().await.unwrap_err();
    assert!(matches!(problem(error), AlterProblem::Replaces(ReplaceProblem::Drops { column }) if column == "stops"));
    // Without a mapping, columns come and move.
    let late = Field::new("late", DataType::Int32, true);
    table.alter().replace_columns([late.clone(), known[2].clone(), known[1].clone(), known[0].clone()]).run().await.unwrap();
    assert_eq!(names(table.snapshot().await.unwrap().schema().fields()), ["late", "by_day", "stops", "id"]);
    assert_eq!(table.history(1).await.unwrap()[0].operation.as_deref(), Some("REPLACE COLUMNS"));
    // With one, they go; what is gone does not come back.
    table.alter().set_property("delta.columnMapping.mode", "name").add_constraint("some", "id > 0").run().await.unwrap_err();
    table.alter().set_property("delta.columnMapping.mode", "name").run().await.unwrap();
    table.alter().replace_columns(without.clone()).run().await.unwrap();
    assert_eq!(described(&table).await.1, ["{mon: {n: 1}} 1", "{tue: {n: 2}} 2", "{} 3"]);
    table.alter().replace_columns([without.clone(), vec![known[1].clone()]].concat()).run().await.unwrap();
    assert_eq!(described(&table).await.1, ["{mon: {n: 1}} 1 ", "{tue: {n: 2}} 2 ", "{} 3 "]);
    let error = table.alter().replace_columns([without, vec![late]].concat()).run().await.unwrap_err();
    assert!(matches!(problem(error), AlterProblem::Replaces(ReplaceProblem::Ambiguous { .. })));
}

#[tokio::test]
async fn partition_columns_are_not_replaced_away() {
    let table = table();
    let create = table.append(people(&[1], "a")).partition_by(["part"]).property("delta.columnMapping.mode", "name");
    create.run().await.unwrap();
    let error = table.alter().replace_columns([Field::new("id", DataType::Int64, true)]).run().await.unwrap_err();
    assert_eq!(problem(error), AlterProblem::PartitionColumn { column: "part".into() });
}
