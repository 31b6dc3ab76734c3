//! Features of the protocol on tables that are written.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use boathouse_base::{BatchStream, Comparison, DomainError, ErrorKind, Predicate, ScanRequest};
use boathouse_delta_table::protocol::ProtocolError;
use boathouse_delta_table::protocol::features::has;
use boathouse_delta_table::{AlterProblem, DeltaError, DeltaTable, Expression, Expressions, Snapshot};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::rows::{batch, read, reopened, stream, table};

/// Knows `COLUMN > NUMBER` and `COLUMN + NUMBER`.
#[derive(Debug)]
struct Simple;

#[derive(Debug)]
struct Known {
    column: usize,
    operator: char,
    number: i64,
}

#[derive(Debug, thiserror::Error)]
#[error("no such expression")]
struct NoSuch;

impl DomainError for NoSuch {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Expressions for Simple {
    fn compile(&self, sql: &str, schema: &SchemaRef) -> boathouse_base::Result<Arc<dyn Expression>> {
        let words: Vec<&str> = sql.split(' ').collect();
        let [column, operator, number] = words.as_slice() else { return Err(NoSuch.into()) };
        let column = schema.index_of(column).map_err(|_| NoSuch)?;
        let number = number.parse().map_err(|_| NoSuch)?;
        Ok(Arc::new(Known { column, operator: operator.chars().next().ok_or(NoSuch)?, number }))
    }
}

impl Expression for Known {
    fn evaluate(&self, batch: &RecordBatch) -> boathouse_base::Result<ArrayRef> {
        let values = batch.column(self.column).as_primitive::<Int64Type>();
        Ok(match self.operator {
            '>' => Arc::new(values.iter().map(|v| v.map(|v| v > self.number)).collect::<BooleanArray>()),
            _ => Arc::new(values.iter().map(|v| v.map(|v| v + self.number)).collect::<Int64Array>()),
        })
    }
}

fn numbers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn with(field: Field, metadata: &[(&str, &str)]) -> Field {
    let metadata: HashMap<_, _> = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    field.with_metadata(metadata)
}

async fn append(table: &DeltaTable, columns: &[(&str, ArrayRef)]) -> Result<u64, DeltaError> {
    table.append(stream(batch(columns))).run().await.map(|report| report.version)
}

async fn column(table: &DeltaTable, name: &str) -> Vec<Option<i64>> {
    let snapshot = reopened(table).snapshot().await.unwrap();
    let mut values: Vec<_> = read(&snapshot)
        .await
        .iter()
        .flat_map(|b| b.column_by_name(name).unwrap().as_primitive::<Int64Type>().iter().collect::<Vec<_>>())
        .collect();
    values.sort_unstable();
    values
}

async fn parquet_schemas(snapshot: &Snapshot) -> Vec<Schema> {
    let mut schemas = Vec::new();
    for file in snapshot.files(None).await.unwrap() {
        let bytes = snapshot.table().storage().get(&file.path()).await.unwrap();
        let reader = SerializedFileReader::new(bytes).unwrap();
        schemas.push(parquet_to_arrow_schema(reader.metadata().file_metadata().schema_descr(), None).unwrap());
    }
    schemas
}

fn place(zip: i64) -> (&'static str, ArrayRef) {
    let fields = Fields::from(vec![Field::new("zip", DataType::Int64, true)]);
    ("place", Arc::new(StructArray::new(fields, vec![numbers(&[zip])], None)))
}

fn tags() -> (&'static str, ArrayRef) {
    let rows = vec![Some(vec![Some(1)])];
    ("tags", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows)))
}

#[tokio::test]
async fn a_mapped_table_names_its_columns_physically_everywhere_and_reads_them_back() {
    for mode in ["name", "id"] {
        let table = table();
        let rows = batch(&[("Ünique id", numbers(&[1])), ("day", numbers(&[5])), place(7), tags()]);
        let schema = rows.schema().as_ref().clone();
        let create = table.create(schema).partition_by(["day"]).property("delta.columnMapping.mode", mode);
        create.run().await.unwrap();
        table.append(stream(rows)).run().await.unwrap();
        let snapshot = reopened(&table).snapshot().await.unwrap();
        assert_eq!((snapshot.protocol().min_reader_version, snapshot.protocol().min_writer_version), (2, 5), "{mode}");
        assert_eq!(snapshot.metadata().configuration["delta.columnMapping.maxColumnId"], "5");
        let physical: Vec<String> =
            snapshot.delta_schema().fields.iter().map(|f| f.physical_name(snapshot.column_mapping()).to_owned()).collect();
        assert!(physical.iter().all(|name| name.starts_with("col-")), "{physical:?}");

        let files = snapshot.files(None).await.unwrap();
        let add = files[0].add();
        assert_eq!(add.partition_values.iter().map(|(k, _)| k.to_owned()).collect::<Vec<_>>(), [physical[1].clone()]);
        assert!(add.stats.as_ref().unwrap().contains(&format!("\"{}\":1", physical[0])), "{:?}", add.stats);
        let file = &parquet_schemas(&snapshot).await[0];
        assert_eq!(
            file.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>(),
            [&physical[0], &physical[2], &physical[3]].map(Clone::clone)
        );
        let ids: Vec<_> = file.fields().iter().map(|f| f.metadata()["PARQUET:field_id"].clone()).collect();
        assert_eq!(ids, ["1", "3", "5"]);
        let DataType::Struct(inner) = file.field(1).data_type() else { panic!("{file:?}") };
        assert_eq!(inner[0].metadata()["PARQUET:field_id"], "4");

        let found = snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap();
        assert_eq!(found[0].column_by_name("place").unwrap().as_struct().column(0).as_ref(), &Int64Array::from(vec![7]));
        assert_eq!(found[0].column_by_name("tags").unwrap().as_list::<i32>().values().as_ref(), &Int64Array::from(vec![1]));
        // Statistics are found by physical name too.
        let none = Predicate::compare("Ünique id", Comparison::Gt, 1);
        assert_eq!(snapshot.files(Some(&none)).await.unwrap().len(), 0);
    }
}

#[tokio::test]
async fn files_of_a_table_without_mapping_have_no_field_ids() {
    let table = table();
    table.append(stream(batch(&[("id", numbers(&[1])), place(7), tags()]))).create_if_absent().run().await.unwrap();
    let schema = &parquet_schemas(&table.snapshot().await.unwrap()).await[0];
    assert!(schema.fields().iter().all(|f| f.metadata().is_empty()), "{schema:?}");
}

#[tokio::test]
async fn columns_of_a_mapped_table_are_renamed_dropped_and_made_anew_without_touching_files() {
    let table = table();
    let columns = [("id", numbers(&[1, 2])), ("day", numbers(&[5, 6])), ("old", numbers(&[8, 9]))];
    table.append(stream(batch(&columns))).partition_by(["day"]).run().await.unwrap();
    let problem = |error| match error {
        DeltaError::CannotAlter { problem, .. } => problem,
        other => panic!("{other}"),
    };
    let unmapped = table.alter().rename_column("id", "key").run().await.unwrap_err();
    assert_eq!(problem(unmapped), AlterProblem::NeedsMapping { column: "id".into() });

    let report = table.alter().set_property("delta.columnMapping.mode", "name").run().await.unwrap();
    assert_eq!(report.protocol.map(|p| (p.min_reader_version, p.min_writer_version)), Some((2, 5)));
    table.alter().rename_column("id", "key").rename_column("day", "the day").drop_column("old").run().await.unwrap();
    // A column of the same name is another column: values of the old one do not come back.
    table.alter().add_column(Field::new("old", DataType::Int64, true)).run().await.unwrap();
    append(&table, &[("key", numbers(&[3])), ("the day", numbers(&[5])), ("old", numbers(&[7]))]).await.unwrap();
    assert_eq!(column(&table, "key").await, [Some(1), Some(2), Some(3)]);
    assert_eq!(column(&table, "the day").await, [Some(5), Some(5), Some(6)]);
    assert_eq!(column(&table, "old").await, [None, None, Some(7)]);
    let snapshot = table.snapshot().await.unwrap();
    assert_eq!(snapshot.partition_columns(), ["the day"]);
    assert_eq!(snapshot.metadata().configuration["delta.columnMapping.maxColumnId"], "4");

    for (alter, expected) in [
        (table.alter().drop_column("the day"), AlterProblem::PartitionColumn { column: "the day".into() }),
        (table.alter().rename_column("key", "OLD"), AlterProblem::NameTaken { column: "OLD".into() }),
        (table.alter().drop_column("old").drop_column("key"), AlterProblem::LastColumn { column: "key".into() }),
        (
            table.alter().set_property("delta.columnMapping.mode", "id"),
            AlterProblem::MappingMode { from: "name".into(), to: "id".into() },
        ),
        (
            table.alter().set_property("delta.columnMapping.maxColumnId", "1"),
            AlterProblem::InternalProperty { key: "delta.columnMapping.maxColumnId".into() },
        ),
        (table.alter(), AlterProblem::Nothing),
    ] {
        assert_eq!(problem(alter.run().await.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn new_columns_of_a_mapped_table_get_new_ids_and_known_ones_keep_theirs() {
    let table = table();
    let rows = batch(&[("id", numbers(&[1])), ("n", numbers(&[1]))]);
    table.append(stream(rows)).create_if_absent().property("delta.columnMapping.mode", "name").run().await.unwrap();
    let ids = async |table: &DeltaTable| -> Vec<(String, i64)> {
        let snapshot = table.snapshot().await.unwrap();
        snapshot.delta_schema().fields.iter().map(|f| (f.name.clone(), f.column_mapping_id().unwrap())).collect()
    };
    table.append(stream(batch(&[("id", numbers(&[2])), ("m", numbers(&[2]))]))).merge_schema().run().await.unwrap();
    assert_eq!(ids(&table).await, [("id".to_owned(), 1), ("n".to_owned(), 2), ("m".to_owned(), 3)]);
    // `n` becomes another column, since its type is another one.
    let other: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    table.overwrite(stream(batch(&[("n", other), ("id", numbers(&[3]))]))).overwrite_schema().run().await.unwrap();
    assert_eq!(ids(&table).await, [("n".to_owned(), 4), ("id".to_owned(), 1)]);
    assert_eq!(column(&table, "id").await, [Some(3)]);
    // Rows of a mapped table bring no mapping into another one.
    let copy = DeltaTable::at(table.storage().at("copy"), table.env().clone());
    let found = table.snapshot().await.unwrap().scan(ScanRequest::default()).unwrap();
    copy.append(found).create_if_absent().run().await.unwrap();
    assert!(copy.snapshot().await.unwrap().delta_schema().fields.iter().all(|f| f.metadata.is_empty()));
}

#[tokio::test]
async fn rules_in_sql_need_somebody_who_understands_them() {
    let plain = table();
    let with_check = |table: &DeltaTable| {
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
        table.create(schema).property("delta.constraints.positive", "id > 0")
    };
    let error = with_check(&plain).run().await.unwrap_err();
    assert!(matches!(&error, DeltaError::NeedsExpressions { feature: "checkConstraints", .. }), "{error}");
    assert!(error.to_string().contains("delta.constraints.positive") && error.to_string().contains("with_expressions"));

    let table = plain.clone().with_expressions(Arc::new(Simple));
    with_check(&table).run().await.unwrap();
    append(&table, &[("id", numbers(&[1, 2]))]).await.unwrap();
    // The handle without it reads, and does not write.
    assert_eq!(column(&plain, "id").await, [Some(1), Some(2)]);
    assert_eq!(append(&plain, &[("id", numbers(&[3]))]).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!((table.snapshot().await.unwrap().protocol().min_writer_version), 3);
}

#[tokio::test]
async fn a_row_that_violates_a_constraint_leaves_no_trace() {
    let table = table().with_expressions(Arc::new(Simple));
    append_first(&table, &[1, 2]).await;
    let error = table.alter().add_constraint("big", "id > 1").run().await.unwrap_err();
    assert!(matches!(error, DeltaError::CheckViolated { row: 0, .. }), "{error}");
    let report = table.alter().add_constraint("Positive", "id > 0").run().await.unwrap();
    assert_eq!(report.rows_checked, 2);
    let objects = async |table: &DeltaTable| table.storage().list("").await.unwrap().len();
    let before = objects(&table).await;
    for bad in [Int64Array::from(vec![5, 0]), Int64Array::from(vec![Some(5), None])] {
        let error = append(&table, &[("id", Arc::new(bad))]).await.unwrap_err();
        let DeltaError::CheckViolated { constraint, row: 1, .. } = &error else { panic!("{error}") };
        assert_eq!((constraint.as_str(), error.kind()), ("Positive", ErrorKind::Invalid));
    }
    assert_eq!(objects(&table).await, before);
    let error = table.alter().add_constraint("positive", "id > 0").run().await.unwrap_err();
    assert!(matches!(error, DeltaError::CannotAlter { problem: AlterProblem::ConstraintExists { .. }, .. }));
    table.alter().set_property("delta.columnMapping.mode", "name").run().await.unwrap();
    let error = table.alter().rename_column("id", "key").run().await.unwrap_err();
    assert!(matches!(error, DeltaError::CannotAlter { problem: AlterProblem::UsedByRule { .. }, .. }), "{error}");
    table.alter().drop_constraint("POSITIVE").run().await.unwrap();
    append(&table, &[("id", numbers(&[-1]))]).await.unwrap();
}

async fn append_first(table: &DeltaTable, ids: &[i64]) {
    table.append(stream(batch(&[("id", numbers(ids))]))).create_if_absent().run().await.unwrap();
}

#[tokio::test]
async fn generated_columns_are_computed_where_missing_and_compared_where_given() {
    let table = table().with_expressions(Arc::new(Simple));
    let next = with(Field::new("next", DataType::Int64, false), &[("delta.generationExpression", "id + 1")]);
    table.create(Schema::new(vec![Field::new("id", DataType::Int64, true), next])).run().await.unwrap();
    assert_eq!(table.snapshot().await.unwrap().protocol().min_writer_version, 4);
    append(&table, &[("id", numbers(&[1]))]).await.unwrap();
    append(&table, &[("next", numbers(&[3])), ("id", numbers(&[2]))]).await.unwrap();
    append(&table, &[("id", numbers(&[3])), ("next", Arc::new(Int64Array::from(vec![None::<i64>])))]).await.unwrap();
    assert_eq!(column(&table, "next").await, [Some(2), Some(3), Some(4)]);
    let error = append(&table, &[("id", numbers(&[1, 5])), ("next", numbers(&[2, 7]))]).await.unwrap_err();
    assert!(error.to_string().contains("gives 6, but row 1 of a batch has 7"), "{error}");
    // The result must fit the column as any value does.
    let error = append(&table, &[("id", Arc::new(Int64Array::from(vec![None::<i64>])))]).await.unwrap_err();
    assert!(matches!(error, DeltaError::NullInRequiredColumn { .. }), "{error}");
}

#[tokio::test]
async fn identity_columns_number_rows_and_remember_the_last_number() {
    let table = table();
    let metadata =
        [("delta.identity.start", "10"), ("delta.identity.step", "-5"), ("delta.identity.allowExplicitInsert", "false")];
    let id = with(Field::new("id", DataType::Int64, false), &metadata);
    table.create(Schema::new(vec![id, Field::new("n", DataType::Int64, true)])).run().await.unwrap();
    let snapshot = table.snapshot().await.unwrap();
    assert_eq!(snapshot.protocol().min_writer_version, 6);
    assert_eq!(snapshot.delta_schema().fields[0].metadata["delta.identity.step"], -5);
    append(&table, &[("n", numbers(&[1, 2, 3]))]).await.unwrap();
    append(&reopened(&table), &[("n", numbers(&[4]))]).await.unwrap();
    assert_eq!(column(&table, "id").await, [Some(-5), Some(0), Some(5), Some(10)]);
    let snapshot = table.snapshot().await.unwrap();
    assert_eq!(snapshot.delta_schema().fields[0].metadata["delta.identity.highWaterMark"], -5);
    let error = append(&table, &[("id", numbers(&[7])), ("n", numbers(&[5]))]).await.unwrap_err();
    assert!(matches!(error, DeltaError::IdentityGiven { row: 0, .. }), "{error}");
    // Two that number at once: the second one is told.
    let first = boathouse_delta_table::Transaction::begin(&snapshot);
    append(&table, &[("n", numbers(&[5]))]).await.unwrap();
    let mut writer = boathouse_delta_table::DataWriter::new(&snapshot, Default::default()).unwrap();
    writer.write(&batch(&[("n", numbers(&[6]))])).await.unwrap();
    let written = writer.finish().await.unwrap();
    let error = first.add_written(&written).unwrap().commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_new_table_numbers_the_rows_that_create_it() {
    let table = table();
    let metadata = [("delta.identity.start", "1"), ("delta.identity.step", "1"), ("delta.identity.allowExplicitInsert", "true")];
    let id = with(Field::new("id", DataType::Int64, false), &metadata);
    table.create(Schema::new(vec![id, Field::new("n", DataType::Int64, true)])).run().await.unwrap();
    // Numbers that are given are taken note of.
    let ids = Int64Array::from(vec![Some(4), None]);
    append(&table, &[("id", Arc::new(ids)), ("n", numbers(&[1, 2]))]).await.unwrap();
    append(&table, &[("n", numbers(&[3]))]).await.unwrap();
    assert_eq!(column(&table, "id").await, [Some(4), Some(5), Some(6)]);
    // Overwriting does not number anew.
    table.overwrite(stream(batch(&[("n", numbers(&[3]))]))).run().await.unwrap();
    assert_eq!(column(&table, "id").await, [Some(7)]);
}

#[tokio::test]
async fn a_type_becomes_wider_where_the_table_allows_it() {
    let table = table();
    let small = |values: Vec<i32>| ("n", Arc::new(Int32Array::from(values)) as ArrayRef);
    table.append(stream(batch(&[small(vec![1])]))).create_if_absent().run().await.unwrap();
    let wide = || stream(batch(&[("n", numbers(&[1 << 40]))]));
    let error = table.append(wide()).merge_schema().run().await.unwrap_err();
    assert!(matches!(error, DeltaError::Schema { .. }), "{error}");
    table.alter().set_property("delta.enableTypeWidening", "true").run().await.unwrap();
    assert!(has(table.snapshot().await.unwrap().protocol(), "typeWidening"));
    // Not by a mere append.
    assert!(table.append(wide()).run().await.is_err());
    table.append(wide()).merge_schema().run().await.unwrap();
    append(&table, &[small(vec![2])]).await.unwrap();
    assert_eq!(column(&table, "n").await, [Some(1), Some(2), Some(1 << 40)]);
    let snapshot = table.snapshot().await.unwrap();
    let changes = &snapshot.delta_schema().fields[0].metadata["delta.typeChanges"];
    assert_eq!(changes.to_string(), r#"[{"fromType":"integer","toType":"long"}]"#);
    // Another kind of number only when somebody says so.
    let float = || ("n", Arc::new(Float64Array::from(vec![0.5])) as ArrayRef);
    assert!(table.append(stream(batch(&[float()]))).merge_schema().run().await.is_err());
    let error = table.alter().widen_column("n", DataType::Float64).run().await.unwrap_err();
    assert!(matches!(error, DeltaError::CannotAlter { problem: AlterProblem::NotWider { .. }, .. }), "{error}");
    table.alter().widen_column("n", DataType::Decimal128(22, 2)).run().await.unwrap();
    let rows = read(&reopened(&table).snapshot().await.unwrap()).await;
    assert!(rows.iter().all(|b| b.column(0).data_type() == &DataType::Decimal128(22, 2)));
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
}

#[tokio::test]
async fn a_null_within_a_column_is_named_with_its_path_and_row() {
    let table = table();
    let inner = |nullable| Fields::from(vec![Field::new("zip", DataType::Int64, nullable)]);
    let schema = Schema::new(vec![Field::new("place", DataType::Struct(inner(false)), true)]);
    table.create(schema).run().await.unwrap();
    let zips: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, None]));
    let places = StructArray::new(inner(true), vec![zips], Some(vec![true, false, true].into()));
    let error = append(&table, &[("place", Arc::new(places))]).await.unwrap_err();
    let DeltaError::NullInRequiredColumn { column, row, .. } = &error else { panic!("{error}") };
    assert_eq!((column.as_str(), *row), ("place.zip", 2));
}

#[tokio::test]
async fn iceberg_compatibility_refuses_what_it_forbids_and_keeps_partition_values_in_files() {
    let rows = || batch(&[("id", numbers(&[1])), ("day", numbers(&[5]))]);
    let create = |properties: &[(&str, &str)], schema: &Schema| {
        let create = table().create(schema.clone());
        properties.iter().fold(create, |create, (key, value)| create.property(*key, *value))
    };
    let plain = rows().schema().as_ref().clone();
    let list = batch(&[tags()]).schema().as_ref().clone();
    let (v1, v2) = (("delta.enableIcebergCompatV1", "true"), ("delta.enableIcebergCompatV2", "true"));
    let name = ("delta.columnMapping.mode", "name");
    for (properties, schema, found) in [
        (vec![v1], &plain, "columnMapping.mode"),
        (vec![v2, name, ("delta.enableDeletionVectors", "true")], &plain, "enableDeletionVectors"),
        (vec![v1, name, ("delta.feature.deletionVectors", "supported")], &plain, "feature `deletionVectors`"),
        (vec![v1, name], &list, "column `tags`"),
        (vec![v1, v2, name], &plain, "enableIcebergCompatV1"),
    ] {
        let error = create(&properties, schema).run().await.unwrap_err();
        let DeltaError::Protocol { source: ProtocolError::FeatureConflict { .. }, .. } = &error else { panic!("{error}") };
        assert!(error.to_string().contains(found), "{error}");
    }

    let table = table();
    let with_list = batch(&[("id", numbers(&[1])), ("day", numbers(&[5])), tags()]);
    let create = table.append(stream(with_list)).partition_by(["day"]).property(v2.0, v2.1).property(name.0, name.1);
    create.run().await.unwrap();
    let snapshot = table.snapshot().await.unwrap();
    let file = &parquet_schemas(&snapshot).await[0];
    assert_eq!(file.fields().len(), 3, "the partition column is last: {file:?}");
    let ids: Vec<_> = file.fields().iter().map(|f| f.metadata()["PARQUET:field_id"].clone()).collect();
    assert_eq!(ids, ["1", "3", "2"]);
    let DataType::List(element) = file.field(1).data_type() else { panic!("{file:?}") };
    assert_eq!(element.metadata()["PARQUET:field_id"], "4");
    assert_eq!(column(&table, "day").await, [Some(5)]);
    let error = table.alter().set_property(v1.0, v1.1).run().await.unwrap_err();
    assert!(matches!(error, DeltaError::CannotAlter { problem: AlterProblem::NeedsRewrite { .. }, .. }), "{error}");
}

#[tokio::test]
async fn defaults_stay_out_of_the_way_of_values() {
    let table = table().with_expressions(Arc::new(Simple));
    append_first(&table, &[1]).await;
    table.alter().add_column(Field::new("n", DataType::Int64, true)).run().await.unwrap();
    table.alter().set_default("n", "NULL").run().await.unwrap();
    assert!(has(table.snapshot().await.unwrap().protocol(), "allowColumnDefaults"));
    append(&table, &[("id", numbers(&[2]))]).await.unwrap();
    append(&table, &[("id", numbers(&[3])), ("n", numbers(&[4]))]).await.unwrap();
    assert_eq!(column(&table, "n").await, [None, None, Some(4)]);
    let error = table.alter().set_default("n", "nonsense").run().await.unwrap_err();
    assert!(error.to_string().contains("default of column `n`"), "{error}");
}

#[tokio::test]
async fn a_clustered_table_is_not_partitioned() {
    let rows = BatchStream::from(batch(&[("id", numbers(&[1])), ("day", numbers(&[5]))]));
    let create = table().append(rows).partition_by(["day"]).property("delta.feature.clustering", "supported");
    let error = create.run().await.unwrap_err();
    assert!(error.to_string().contains("`clustering`") && error.to_string().contains("day"), "{error}");
}

#[tokio::test]
async fn rows_are_replaced_by_a_condition_on_a_generated_column() {
    let table = table().with_expressions(Arc::new(Simple));
    let next = with(Field::new("next", DataType::Int64, true), &[("delta.generationExpression", "id + 1")]);
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true), next]);
    table.create(schema).partition_by(["next"]).run().await.unwrap();
    append(&table, &[("id", numbers(&[1, 2]))]).await.unwrap();
    let replace = |ids: &[i64]| table.overwrite(stream(batch(&[("id", numbers(ids))]))).replace_where(Predicate::eq("next", 2));
    replace(&[1, 1]).run().await.unwrap();
    assert_eq!(column(&table, "id").await, [Some(1), Some(1), Some(2)]);
    assert!(matches!(replace(&[5]).run().await.unwrap_err(), DeltaError::ReplacedRowOutside { .. }));
}

#[tokio::test]
async fn a_restored_table_gives_out_no_number_and_no_column_id_twice() {
    let table = table();
    let metadata = [("delta.identity.start", "1"), ("delta.identity.step", "1")];
    let id = with(Field::new("id", DataType::Int64, false), &metadata);
    let create = table.create(Schema::new(vec![id, Field::new("n", DataType::Int64, true)]));
    create.property("delta.columnMapping.mode", "name").run().await.unwrap();
    append(&table, &[("n", numbers(&[1]))]).await.unwrap();
    append(&table, &[("n", numbers(&[2]))]).await.unwrap();
    table.alter().add_column(Field::new("m", DataType::Int64, true)).run().await.unwrap();
    table.restore(boathouse_base::TableVersion::Number(1)).run().await.unwrap();
    append(&table, &[("n", numbers(&[3]))]).await.unwrap();
    assert_eq!(column(&table, "id").await, [Some(1), Some(3)]);
    table.alter().add_column(Field::new("m", DataType::Int64, true)).run().await.unwrap();
    assert_eq!(table.snapshot().await.unwrap().delta_schema().fields[2].column_mapping_id(), Some(4));
}

#[tokio::test]
async fn rows_that_create_a_table_never_make_identity_columns_so_that_two_creators_may_share_one() {
    let storage = boathouse_storage::Storage::memory();
    let metadata = [("delta.identity.start", "1"), ("delta.identity.step", "1"), ("delta.identity.allowExplicitInsert", "true")];
    let schema = Arc::new(Schema::new(vec![with(Field::new("id", DataType::Int64, true), &metadata)]));
    for (seed, id) in [(1, 7), (2, 7)] {
        let rows = RecordBatch::try_new(Arc::clone(&schema), vec![numbers(&[id])]).unwrap();
        let table = DeltaTable::at(storage.clone(), boathouse_storage::seeded_env(seed));
        table.append(stream(rows)).create_if_absent().run().await.unwrap();
    }
    let table = DeltaTable::at(storage, boathouse_storage::seeded_env(3));
    assert_eq!(column(&table, "id").await, [Some(7), Some(7)], "nobody numbered anything");
    let field = table.snapshot().await.unwrap().delta_schema().fields[0].clone();
    assert!(field.metadata.is_empty(), "{field:?}");
}

#[tokio::test]
async fn a_table_whose_checkpoints_are_protected_is_written() {
    let table = table();
    let rows = table.append(stream(batch(&[("n", numbers(&[0]))])));
    let rows = rows.property("delta.feature.checkpointProtection", "supported").property("delta.checkpointInterval", "3");
    rows.property("delta.requireCheckpointProtectionBeforeVersion", "100").run().await.unwrap();
    for n in 1..6 {
        append(&table, &[("n", numbers(&[n]))]).await.unwrap();
    }
    let snapshot = reopened(&table).snapshot().await.unwrap();
    assert!(has(snapshot.protocol(), "checkpointProtection"));
    assert_eq!(column(&table, "n").await, (0..6).map(Some).collect::<Vec<_>>());
}
