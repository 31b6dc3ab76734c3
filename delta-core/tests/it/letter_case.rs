//! Names in any letter case, in every statement; and statements that need no other spelling.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use boathouse_base::ErrorKind;
use boathouse_delta_core::{DeltaSession, DeltaTable, DeltaTableExt, MergeInsert, MergeUpdate};
use boathouse_storage::{Storage, seeded_env};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::MemTable;
use datafusion::prelude::{DataFrame, SessionContext};
use tempfile::TempDir;

type Spell = fn(&str) -> String;

/// How somebody may write a name.
const SPELLINGS: [(&str, Spell); 5] = [
    ("lower", |name| name.to_lowercase()),
    ("upper", |name| name.to_uppercase()),
    ("declared", str::to_owned),
    ("quoted", |name| format!("\"{name}\"")),
    ("back-ticks", |name| format!("`{name}`")),
];

/// Statements with the names of columns between braces, and what the table has afterwards; nothing when that did not change.
const STATEMENTS: [(&str, Option<&str>); 31] = [
    ("SELECT {Day}, {amountTotal}, {Info}.{Name}, t.{Info}.{subField} FROM t WHERE {Region} = 'n' AND {Day} < 5", None),
    ("SELECT t.{Region}, sum({Day}) AS {Total} FROM t GROUP BY t.{Region} HAVING max({Day}) > 0 ORDER BY {Total}", None),
    ("SELECT x.{Day} FROM (SELECT {Day}, {Info}.{subField} AS {subField} FROM t) x WHERE x.{subField} > 0 ORDER BY {Day}", None),
    ("WITH c ({Day}) AS (SELECT {amountTotal} FROM t) SELECT c.{Day} FROM c JOIN t ON c.{Day} > t.{Day} ORDER BY c.{Day}", None),
    ("SELECT {Day} FROM t o WHERE EXISTS (SELECT 1 FROM u WHERE u.{Day} = o.{Day}) AND {Day} IN (SELECT {Day} FROM u)", None),
    ("SELECT {Day}, u.{Region} FROM t JOIN u USING ({Day}, {Region})", None),
    ("SELECT row_number() OVER (PARTITION BY {Region} ORDER BY {Day}), * EXCEPT ({Info}) FROM t ORDER BY {Day}", None),
    ("SELECT {Day} FROM t UNION SELECT {amountTotal} FROM u ORDER BY {Day}", None),
    ("SELECT t.{Day}, v.{Day} FROM t, u AS v WHERE t.{Day} = v.{Day} AND v.{amountTotal} > 0", None),
    ("SELECT {Day} FROM t VERSION AS OF 1 WHERE {Info}.{Name} = 'a'", None),
    ("SELECT {Day} FROM table_changes('t', 1) WHERE {Day} > 1 AND {_change_type} = 'insert'", None),
    ("SELECT CASE {Day} WHEN 1 THEN {Region} ELSE cast({amountTotal} AS TEXT) END FROM t ORDER BY {Day}", None),
    ("EXPLAIN SELECT {Day} FROM t WHERE {Region} = 'n'", None),
    ("INSERT INTO t ({Region}, {Day}) VALUES ('x', 9)", Some("1 10 n, 2 20 s, 9 NULL x")),
    ("INSERT INTO t BY NAME SELECT {Day} + 10 AS {Day}, {Region} FROM t WHERE {Day} = 1", Some("1 10 n, 2 20 s, 11 NULL n")),
    ("INSERT INTO t PARTITION ({Region} = 'x') ({Day}) VALUES (9)", Some("1 10 n, 2 20 s, 9 NULL x")),
    ("INSERT OVERWRITE t PARTITION ({Region} = 'n') ({Day}) VALUES (9)", Some("2 20 s, 9 NULL n")),
    ("INSERT INTO t REPLACE WHERE {Day} = 1 SELECT {Day}, 5, {Info}, {Region} FROM t WHERE {Day} = 1", Some("1 5 n, 2 20 s")),
    ("INSERT INTO t REPLACE USING ({Day}) SELECT {Day}, 5, {Info}, {Region} FROM t WHERE {Day} = 1", Some("1 5 n, 2 20 s")),
    ("UPDATE t SET {amountTotal} = {amountTotal} + {Day}, {Info}.{Name} = {Region} WHERE {Day} = 2", Some("1 10 n, 2 22 s")),
    (
        "UPDATE t SET {amountTotal} = (SELECT max({amountTotal}) FROM u WHERE u.{Day} = t.{Day}) WHERE {Day} = 1",
        Some("1 7 n, 2 20 s"),
    ),
    ("DELETE FROM t AS x WHERE x.{Day} = 1 AND x.{Info}.{Name} = 'a'", Some("2 20 s")),
    ("DELETE FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.{Day} = t.{Day})", Some("2 20 s")),
    (
        "MERGE INTO t USING u ON t.{Day} = u.{Day} WHEN MATCHED AND t.{Region} = u.{Region} THEN UPDATE SET {amountTotal} = u.{amountTotal} \
         WHEN NOT MATCHED AND u.{Day} > 2 THEN INSERT ({Day}, {Region}) VALUES (u.{Day}, u.{Region}) \
         WHEN NOT MATCHED BY SOURCE AND t.{Day} = 2 THEN DELETE",
        Some("1 7 n, 3 NULL s"),
    ),
    (
        "MERGE INTO t AS {x} USING (SELECT {Day}, {amountTotal}, {Region} FROM u) AS {y} ON {x}.{Day} = {y}.{Day} \
         WHEN MATCHED THEN UPDATE SET {x}.{amountTotal} = {y}.{amountTotal} WHEN NOT MATCHED THEN INSERT ({Day}) VALUES ({y}.{Day})",
        Some("1 7 n, 2 20 s, 3 NULL NULL"),
    ),
    ("OPTIMIZE t WHERE {Region} = 'n' ZORDER BY ({Day}, {amountTotal})", None),
    ("REORG TABLE t WHERE {Region} = 'n' APPLY (PURGE)", None),
    ("ALTER TABLE t ADD CONSTRAINT c CHECK ({Day} > 0 AND {Info}.{Name} <> 'q')", None),
    ("ALTER TABLE t ALTER COLUMN {amountTotal} FIRST", Some("1 10 n, 2 20 s")),
    ("ALTER TABLE t ALTER COLUMN {Info}.{subField} COMMENT 'new'", None),
    ("ALTER TABLE t ALTER COLUMN {amountTotal} SET DEFAULT 3", None),
];

fn spelled(statement: &str, spell: Spell) -> String {
    let mut pieces = statement.split('{');
    let mut text = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once('}').unwrap();
        text.push_str(&spell(name));
        text.push_str(rest);
    }
    text
}

/// `t` and `u` have the same names; those of `u` are spelled in another way.
async fn lake() -> (TempDir, DeltaSession) {
    let folder = tempfile::tempdir().unwrap();
    let lake = DeltaSession::new(seeded_env(3)).with_warehouse(&folder.path().display().to_string()).unwrap();
    let properties = "TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true', 'delta.columnMapping.mode' = 'name', \
                      'delta.feature.allowColumnDefaults' = 'supported')";
    let columns = "(Day INT, amountTotal INT, Info STRUCT<Name: STRING, subField: INT>, Region STRING)";
    for (name, create) in [
        ("t", format!("CREATE TABLE t {columns} USING DELTA PARTITIONED BY (REGION) {properties}")),
        ("u", "CREATE TABLE u (dAY INT, AMOUNTTOTAL INT, rEGION STRING) USING DELTA".to_owned()),
    ] {
        lake.sql(&create).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let row = |day: i32, total: i32, name: &str, region: &str| {
        format!("({day}, {total}, named_struct('Name', '{name}', 'subField', {day}), '{region}')")
    };
    lake.sql(&format!("INSERT INTO t VALUES {}, {}", row(1, 10, "a", "n"), row(2, 20, "b", "s"))).await.unwrap();
    lake.sql("INSERT INTO u VALUES (1, 7, 'n'), (3, 30, 's')").await.unwrap();
    (folder, lake)
}

async fn rows(frame: DataFrame) -> String {
    let batches = frame.collect().await.unwrap();
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in &batches {
        let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        rows.extend(
            (0..batch.num_rows())
                .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" ")),
        );
    }
    rows.join(", ")
}

fn columns(frame: &DataFrame) -> Vec<String> {
    frame.schema().fields().iter().map(|field| field.name().clone()).collect()
}

#[tokio::test]
async fn each_statement_means_the_same_in_every_spelling_of_its_names() {
    let (folder, shared) = lake().await;
    for (statement, after) in STATEMENTS {
        let mut first: Option<String> = None;
        for (how, spell) in SPELLINGS {
            // In the rules of tables, which are Spark's, that is a text.
            if how == "quoted" && statement.contains("CHECK") {
                continue;
            }
            let text = spelled(statement, spell);
            let own = if statement.starts_with("SELECT") { None } else { Some(lake().await) };
            let (folder, lake) = own.as_ref().map_or((&folder, &shared), |(folder, lake)| (folder, lake));
            let frame = lake.query(&text).await.unwrap_or_else(|error| panic!("{how}: {text}\n{error}"));
            let names = columns(&frame);
            let found = rows(frame).await.replace(folder.path().file_name().unwrap().to_str().unwrap(), "folder");
            assert_eq!(&found, first.get_or_insert_with(|| found.clone()), "{how}: {text}");
            for name in &names {
                let near = ["Day", "amountTotal", "Region", "Info"].into_iter().find(|near| near.eq_ignore_ascii_case(name));
                assert!(near.is_none_or(|near| near == name), "{how}: {text}: {names:?}");
            }
            if own.is_some() {
                let left = lake.query("SELECT day, amounttotal, region FROM t ORDER BY 1, 2").await.unwrap();
                assert_eq!(columns(&left), ["Day", "amountTotal", "Region"], "{how}: {text}");
                assert_eq!(rows(left).await, after.unwrap_or("1 10 n, 2 20 s"), "{how}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn the_columns_of_a_result_are_called_as_they_are_declared_or_as_their_alias_is_written() {
    let (_folder, lake) = lake().await;
    for (query, expected) in [
        ("SELECT DAY, t.REGION, info.NAME AS theName FROM t", vec!["Day", "Region", "theName"]),
        ("SELECT 1 AS MyCol", vec!["MyCol"]),
        ("SELECT * FROM (SELECT 1 AS MyCol, 2 AS other) AS x ORDER BY MYCOL", vec!["MyCol", "other"]),
        ("SELECT Day AS DAY, Day + 1 AS day2 FROM t ORDER BY day", vec!["DAY", "day2"]),
        ("SELECT region AS REGION FROM t UNION ALL SELECT Region FROM u", vec!["REGION"]),
        ("SELECT * FROM u", vec!["dAY", "AMOUNTTOTAL", "rEGION"]),
        ("SELECT u.* FROM t JOIN u ON t.DAY = u.DAY", vec!["Day", "amountTotal", "Region"]),
        ("SELECT value AS Value FROM generate_series(1, 2)", vec!["Value"]),
        ("SELECT 1 AS \"a\", 2 AS \"A\"", vec!["a", "A"]),
        ("SELECT \"Day\", 1 AS day FROM t", vec!["Day", "day"]),
        ("SELECT *, upper(\"Region\") AS region FROM t", vec!["Day", "amountTotal", "Info", "Region", "region"]),
    ] {
        let frame = lake.query(query).await.unwrap_or_else(|error| panic!("{query}\n{error}"));
        assert_eq!(columns(&frame), expected, "{query}");
        frame.collect().await.unwrap_or_else(|error| panic!("{query}\n{error}"));
    }
}

/// `t` has `Day`, and `u` has `dAY`.
#[tokio::test]
async fn names_are_found_in_every_place_of_a_query() {
    let (folder, lake) = lake().await;
    lake.sql("CREATE TABLE mem (day INT, total INT)").await.unwrap();
    let out = folder.path().join("out.csv").display().to_string();
    for (query, expected) in [
        ("SELECT * REPLACE (DAY + 100 AS day) FROM (SELECT Day, amounttotal FROM t) ORDER BY DAY", "101 10, 102 20"),
        ("SELECT o.* EXCLUDE (AmountTotal) FROM (SELECT day, amounttotal FROM t) AS o ORDER BY o.DAY", "1, 2"),
        (
            "SELECT REGION, count(DISTINCT day) FROM t GROUP BY GROUPING SETS ((region), ()) ORDER BY Region NULLS LAST",
            "n 1, s 1, NULL 2",
        ),
        ("SELECT DISTINCT ON (region) Region, DAY FROM t ORDER BY REGION, Day DESC", "n 1, s 2"),
        ("SELECT day FROM t QUALIFY row_number() OVER (ORDER BY DAY DESC) = 1", "2"),
        ("SELECT sum(Day) FILTER (WHERE DAY > 1) FROM t", "2"),
        ("WITH RECURSIVE Nr (N) AS (SELECT 1 UNION ALL SELECT n + 1 FROM nr WHERE N < 3) SELECT sum(n) AS Total FROM NR", "6"),
        ("WITH c AS (SELECT DAY, Info FROM t), d AS (SELECT * FROM c WHERE day = 2) SELECT d.INFO.NAME FROM D", "b"),
        ("WITH t AS (SELECT dAY AS DAY FROM u) SELECT max(Day) FROM t", "3"),
        ("SELECT day FROM ((SELECT Day FROM t) UNION ALL (SELECT DAY FROM u)) ORDER BY dAy", "1, 1, 2, 3"),
        ("SELECT * FROM (SELECT * FROM u) AS x JOIN (SELECT DAY FROM t) AS y USING (day)", "1 7 n"),
        ("SELECT a.DAY FROM (t a LEFT JOIN u b ON a.day = b.DAY) JOIN u c ON c.Day = a.day", "1"),
        ("SELECT t.day FROM t, LATERAL (SELECT u.DAY FROM u WHERE u.day = T.Day) AS l", "1"),
        (
            "SELECT a.day, (SELECT max(b.AMOUNTTOTAL) FROM u b WHERE b.DAY = a.Day) AS Most FROM t a ORDER BY MOST NULLS LAST",
            "1 7, 2 NULL",
        ),
        ("SELECT day FROM t WHERE Day BETWEEN DAY AND day + 1 AND region LIKE 'n%' AND info IS NOT NULL", "1"),
        ("SELECT (info).NAME FROM t WHERE (INFO).subfield = 2", "b"),
        ("SELECT s.NAME FROM (SELECT named_struct('Name', 'x', 'n', 1) AS s)", "x"),
        ("SELECT array_agg(Info ORDER BY DAY)[2].NAME FROM t", "b"),
        ("SELECT u.Day, u.REGION FROM u WHERE u.DAY = 3", "3 s"),
        ("SELECT dAY FROM public.u WHERE public.u.DAY = 3", "3"),
        ("SELECT T.day FROM public.t JOIN public.u ON public.T.DAY = public.u.Day", "1"),
        ("INSERT INTO mem (DAY, Total) SELECT Day, AMOUNTTOTAL FROM t WHERE day = 1", "1"),
        ("SELECT Day, TOTAL FROM mem", "1 10"),
        (&format!("COPY (SELECT DAY FROM t) TO '{out}' STORED AS CSV"), "2"),
        ("SELECT count(*) AS N, count(DAY) FROM t HAVING N > 0", "2 2"),
    ] {
        let frame = lake.query(query).await.unwrap_or_else(|error| panic!("{query}\n{error}"));
        assert_eq!(rows(frame).await, expected, "{query}");
    }
}

#[tokio::test]
async fn tables_made_of_queries_and_new_columns_keep_the_spelling_of_the_statement() {
    let (_folder, lake) = lake().await;
    for (statement, expected) in [
        ("CREATE TABLE made USING DELTA AS SELECT 1 AS MyCol, DAY, region AS Place FROM t", "MyCol Day Place"),
        ("CREATE OR REPLACE TABLE made USING DELTA AS SELECT * FROM (SELECT 1 AS MyCol, day AS DAY FROM t)", "MyCol Day"),
        ("CREATE OR REPLACE TABLE made USING DELTA PARTITIONED BY (DAYS) AS SELECT 1 AS MyCol, day AS Days FROM t", "MyCol Days"),
        ("INSERT WITH SCHEMA EVOLUTION INTO made BY NAME SELECT 2 AS mycol, 7 AS DAYS, 3 AS Extra", "MyCol Days Extra"),
        (
            "MERGE WITH SCHEMA EVOLUTION INTO made USING (SELECT 2 AS MYCOL, 7 AS days, 4 AS extra, 5 AS moreExtra) s \
             ON made.mycol = s.mycol WHEN MATCHED THEN UPDATE SET *",
            "MyCol Days Extra moreExtra",
        ),
        ("ALTER TABLE made ADD COLUMN camelCase INT AFTER MYCOL", "MyCol camelCase Days Extra moreExtra"),
    ] {
        lake.sql(statement).await.unwrap_or_else(|error| panic!("{statement}\n{error}"));
        assert_eq!(columns(&lake.query("SELECT * FROM made").await.unwrap()).join(" "), expected, "{statement}");
    }
}

/// Of a table that is none of Delta, whose columns differ in letter case alone.
#[tokio::test]
async fn two_columns_of_one_table_that_differ_in_case_alone_stay_two() {
    let (_folder, lake) = lake().await;
    let numbers = |n: i64| Arc::new(Int64Array::from(vec![n])) as ArrayRef;
    let batch = RecordBatch::try_from_iter([("Id", numbers(1)), ("id", numbers(2)), ("N", numbers(3))]).unwrap();
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    lake.context().register_table("twins", Arc::new(table)).unwrap();
    for (query, expected) in [
        ("SELECT \"Id\", \"id\", n FROM twins", "1 2 3"),
        ("SELECT Id, id FROM twins", "1 2"),
        ("SELECT * FROM twins WHERE id = 2 AND Id = 1", "1 2 3"),
        ("SELECT twins.id FROM twins JOIN t ON twins.Id = t.DAY", "2"),
    ] {
        let frame = lake.query(query).await.unwrap_or_else(|error| panic!("{query}\n{error}"));
        assert_eq!(rows(frame).await, expected, "{query}");
    }
}

#[tokio::test]
async fn formulas_of_builders_regard_no_letter_case() {
    let storage = Storage::memory();
    let numbers = |n: Vec<i64>| Arc::new(Int64Array::from(n)) as ArrayRef;
    let batch = |days: Vec<i64>, totals: Vec<i64>| {
        RecordBatch::try_from_iter_with_nullable([("Day", numbers(days), true), ("amountTotal", numbers(totals), true)]).unwrap()
    };
    let table = DeltaTable::at(storage, seeded_env(3));
    table.append(batch(vec![1, 2, 3, 4], vec![10, 20, 30, 40]).into()).create_if_absent().run().await.unwrap();
    assert_eq!(table.delete().filter("DAY = 1").run().await.unwrap().rows_deleted, Some(1));
    assert_eq!(table.update().filter("day = 2").set("AMOUNTTOTAL", "amounttotal + Day").run().await.unwrap().rows_updated, 1);
    let context = SessionContext::new();
    let source = RecordBatch::try_from_iter([("dAY", numbers(vec![3, 9])), ("Extra", numbers(vec![5, 6]))]).unwrap();
    let merge = table.merge(context.read_batch(source).unwrap(), "T.day = s.DAY");
    let merge = merge.when_matched_update(MergeUpdate::set("AmountTotal", "t.AMOUNTTOTAL + EXTRA").only_if("S.extra > 1"));
    let merge = merge.when_not_matched_insert(MergeInsert::value("DAY", "s.Day"));
    let report = merge.run().await.unwrap();
    assert_eq!((report.rows_updated, report.rows_inserted), (1, 1));
    let rows = context.read_batch(batch(vec![4], vec![41])).unwrap();
    table.replace_where(rows, "Day BETWEEN 4 AND dAY").run().await.unwrap();
    let rows = context.read_batch(batch(vec![9], vec![90])).unwrap();
    table.replace_using(rows, ["DAY"]).run().await.unwrap();
    let provider = Arc::new(table.provider().await.unwrap());
    let frame = context.read_table(provider).unwrap().sort_by(vec![datafusion::prelude::ident("Day")]).unwrap();
    assert_eq!(self::rows(frame).await, "2 22, 3 35, 4 41, 9 90");
    let error = table.delete().filter("Dya = 1").run().await.unwrap_err();
    assert!(boathouse_base::DomainError::kind(&error) == ErrorKind::Invalid && error.to_string().contains("dya"), "{error}");
}

/// The names of the tables of TPC-H, and columns of the types that its queries need.
fn tpch(name: &str) -> Vec<&'static str> {
    match name {
        "part" => {
            vec!["p_partkey", "p_name", "p_mfgr", "p_brand", "p_type", "p_size#", "p_container", "p_retailprice#", "p_comment"]
        }
        "supplier" => vec!["s_suppkey", "s_name", "s_address", "s_nationkey", "s_phone", "s_acctbal#", "s_comment"],
        "partsupp" => vec!["ps_partkey", "ps_suppkey", "ps_availqty#", "ps_supplycost#", "ps_comment"],
        "customer" => {
            vec!["c_custkey", "c_name", "c_address", "c_nationkey", "c_phone", "c_acctbal#", "c_mktsegment", "c_comment"]
        }
        "orders" => vec![
            "o_orderkey",
            "o_custkey",
            "o_orderstatus",
            "o_totalprice#",
            "o_orderdate@",
            "o_orderpriority",
            "o_clerk",
            "o_shippriority#",
            "o_comment",
        ],
        "lineitem" => vec![
            "l_orderkey",
            "l_partkey",
            "l_suppkey",
            "l_linenumber#",
            "l_quantity#",
            "l_extendedprice#",
            "l_discount#",
            "l_tax#",
            "l_returnflag",
            "l_linestatus",
            "l_shipdate@",
            "l_commitdate@",
            "l_receiptdate@",
            "l_shipinstruct",
            "l_shipmode",
            "l_comment",
        ],
        "nation" => vec!["n_nationkey", "n_name", "n_regionkey", "n_comment"],
        _ => vec!["r_regionkey", "r_name", "r_comment"],
    }
}

#[tokio::test]
async fn a_query_whose_names_are_right_is_planned_as_it_is() {
    let (_folder, lake) = lake().await;
    for name in ["part", "supplier", "partsupp", "customer", "orders", "lineitem", "nation", "region"] {
        let field = |column: &&str| match column.chars().last() {
            Some('#') => Field::new(column.trim_end_matches('#'), DataType::Decimal128(15, 2), true),
            Some('@') => Field::new(column.trim_end_matches('@'), DataType::Date32, true),
            _ if column.ends_with("key") => Field::new(*column, DataType::Int64, true),
            _ => Field::new(*column, DataType::Utf8, true),
        };
        let schema = Arc::new(Schema::new(tpch(name).iter().map(field).collect::<Vec<_>>()));
        lake.context().register_table(name, Arc::new(MemTable::try_new(schema, vec![vec![]]).unwrap())).unwrap();
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/queries/tpch");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        let query = std::fs::read_to_string(&path).unwrap();
        let (ours, plain) = (lake.query(&query).await, lake.context().sql(&query).await);
        let (ours, plain) = (ours.unwrap_or_else(|error| panic!("{path:?}: {error}")), plain.unwrap());
        assert_eq!(ours.logical_plan(), plain.logical_plan(), "{path:?}");
        // In capitals it is the same query but for what its columns are called.
        let upper = query.split('\'').enumerate();
        let upper: Vec<String> =
            upper.map(|(nth, part)| if nth % 2 == 0 { part.to_uppercase() } else { part.to_owned() }).collect();
        let frame = lake.query(&upper.join("'")).await.unwrap_or_else(|error| panic!("{path:?} in capitals: {error}"));
        let types = |frame: &DataFrame| frame.schema().fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
        assert_eq!(types(&frame), types(&ours), "{path:?}");
        seen += 1;
    }
    assert_eq!(seen, 22);
    for query in [
        "SELECT \"Day\", max(\"amountTotal\") AS most FROM t WHERE \"Info\"['Name'] = 'a' GROUP BY \"Day\" ORDER BY most",
        "SELECT a.\"Day\" FROM t a JOIN t b ON a.\"Day\" = b.\"Day\"",
        "SELECT value FROM generate_series(1, 3) WHERE value > 1",
        "SELECT column1 FROM (VALUES (1), (2)) ORDER BY column1",
        "SELECT date_trunc('day', now()), INTERVAL '1' DAY, extract(MONTH FROM DATE '2026-01-01')",
    ] {
        let (ours, plain) = (lake.query(query).await.unwrap(), lake.context().sql(query).await.unwrap());
        assert_eq!(
            ours.logical_plan().display_indent().to_string(),
            plain.logical_plan().display_indent().to_string(),
            "{query}"
        );
    }
}

/// Rules that Spark wrote into a table are in its letter case, and not always in that of the columns.
#[tokio::test]
async fn rules_in_another_letter_case_than_their_columns_are_kept() {
    let expressions = Arc::new(boathouse_delta_core::SparkExpressions::default());
    let table = DeltaTable::at(Storage::memory(), seeded_env(3)).with_expressions(expressions);
    let generated = Field::new("Yr", DataType::Int32, true)
        .with_metadata([("delta.generationExpression".to_owned(), "YEAR(SEENAT)".to_owned())].into());
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema =
        Schema::new(vec![Field::new("seenAt", at.clone(), true), Field::new("Weight", DataType::Int64, true), generated]);
    table.create(schema).property("delta.constraints.heavy", "WEIGHT > 0").run().await.unwrap();
    let seen: ArrayRef =
        Arc::new(datafusion::arrow::array::TimestampMicrosecondArray::from(vec![1_700_000_000_000_000]).with_timezone("UTC"));
    let row = |weight: i64| {
        RecordBatch::try_from_iter([
            ("SEENAT", Arc::clone(&seen)),
            ("weight", Arc::new(Int64Array::from(vec![weight])) as ArrayRef),
        ])
        .unwrap()
    };
    table.append(row(5).into()).run().await.unwrap();
    assert!(table.append(row(0).into()).run().await.unwrap_err().to_string().contains("WEIGHT > 0"));
    let report = table.update().filter("yr = 2023 AND SEENAT IS NOT NULL").set("WEIGHT", "Weight + 1").run().await.unwrap();
    assert_eq!(report.rows_updated, 1);
}
