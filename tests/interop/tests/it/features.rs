//! Tables with the features that others know little of, after changes: deltalake, duckdb and polars read what we read. Where
//! one cannot, the test says so by name, and fails on the day when it can.

use std::path::Path;

use boathouse_delta_core::{DeltaSession, DeltaTable, session};
use boathouse_interop::PythonPeer;
use boathouse_storage::{Location, Stores, system_env};
use serde_json::{Value, json};

use crate::rows::{Bag, Column, Kind, Row, named};

/// What a peer makes of a table.
#[derive(Debug, Clone, Copy)]
enum Reads {
    /// The rows that are there.
    All,
    /// The rows, with nulls in these columns.
    NullsIn(&'static [&'static str]),
    /// The rows, and some that are deleted: wrong rows.
    Revives,
    /// An error with these words.
    Refuses(&'static str),
}
use Reads::{All, NullsIn, Refuses, Revives};

/// polars 2.1.0 misses the deletion vectors of files whose path is escaped, as partitions with a space in their value are.
const POLARS_IN_ESCAPED_PATHS: Reads = Revives;

/// What is done beside SQL.
#[derive(Debug, Clone, Copy)]
enum Step {
    Sql(&'static str),
    /// A checkpoint of `t`, after which the commits before it are taken away: readers need it.
    Checkpoint,
}
use Step::{Checkpoint, Sql};

/// A table `t`, how it came to be, and who reads it.
#[derive(Debug)]
struct Story {
    name: &'static str,
    steps: &'static [Step],
    deltalake: Reads,
    duckdb: Reads,
    polars: Reads,
}

const ROWS: Step = Sql(
    "INSERT INTO t SELECT value AS id, CASE value % 4 WHEN 0 THEN 'a b' WHEN 1 THEN 'ü/=%25' WHEN 2 THEN 'it''s' END AS part, \
     value % 10 AS v, 'name ' || value AS name FROM generate_series(0, 99)",
);
const MORE_ROWS: Step =
    Sql("INSERT INTO t SELECT value AS id, 'a b' AS part, 3 AS v, NULL AS name FROM generate_series(100, 119)");
const DELETE: Step = Sql("DELETE FROM t WHERE id % 7 = 3 OR part IS NULL AND id < 20");
const UPDATE: Step = Sql("UPDATE t SET v = v + 1, part = coalesce(part, 'new/ %') WHERE id % 5 = 1");
const MERGE: Step = Sql(
    "MERGE INTO t USING (SELECT value AS id, 'c:\\#?&' AS part, 77 AS v, 'merged' AS name FROM generate_series(90, 130, 3)) AS s \
     ON t.id = s.id WHEN MATCHED AND s.id % 2 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT * \
     WHEN NOT MATCHED BY SOURCE AND t.id % 13 = 0 THEN UPDATE SET name = 'by source'",
);

const STORIES: &[Story] = &[
    Story {
        name: "deletion vectors in partitions",
        steps: &[
            Sql("CREATE TABLE t (id BIGINT, part STRING, v INT, name STRING) USING DELTA PARTITIONED BY (part)"),
            ROWS,
            MORE_ROWS,
            DELETE,
            UPDATE,
            MERGE,
        ],
        deltalake: All,
        duckdb: All,
        polars: POLARS_IN_ESCAPED_PATHS,
    },
    Story {
        name: "deletion vectors in partitions of plain values",
        steps: &[
            Sql("CREATE TABLE t (id BIGINT, part STRING, v INT, name STRING) USING DELTA PARTITIONED BY (v)"),
            ROWS,
            MORE_ROWS,
            DELETE,
            UPDATE,
            MERGE,
        ],
        deltalake: All,
        duckdb: All,
        polars: All,
    },
    Story {
        name: "large deletion vectors, of several deletions",
        steps: &[
            Sql("CREATE TABLE t (id BIGINT, v INT) USING DELTA"),
            Sql("INSERT INTO t SELECT value AS id, value % 10 AS v FROM generate_series(0, 29999)"),
            Sql("DELETE FROM t WHERE id % 7 = 3 OR id % 11 < 4"),
            Sql("DELETE FROM t WHERE id BETWEEN 9000 AND 21000 AND v <> 5"),
            Sql("UPDATE t SET v = -1 WHERE id % 1000 = 6"),
        ],
        deltalake: All,
        duckdb: All,
        polars: All,
    },
    Story {
        name: "liquid clustering",
        steps: &[
            Sql("CREATE TABLE t (id BIGINT, part STRING, v INT, name STRING) USING DELTA CLUSTER BY (v, name)"),
            ROWS,
            MORE_ROWS,
            DELETE,
            Sql("OPTIMIZE t"),
            UPDATE,
            MERGE,
            Sql("OPTIMIZE t FULL"),
            Sql("DELETE FROM t WHERE v = 3"),
        ],
        deltalake: All,
        duckdb: All,
        polars: All,
    },
    Story {
        name: "row tracking",
        steps: &[
            Sql("CREATE TABLE t (id BIGINT, part STRING, v INT, name STRING) USING DELTA PARTITIONED BY (part) \
                 TBLPROPERTIES ('delta.enableRowTracking' = 'true')"),
            ROWS,
            DELETE,
            UPDATE,
            MERGE,
            MORE_ROWS,
            Sql("OPTIMIZE t"),
            Sql("DELETE FROM t WHERE v = 3"),
        ],
        deltalake: All,
        duckdb: All,
        polars: POLARS_IN_ESCAPED_PATHS,
    },
    Story {
        name: "renamed and dropped columns",
        steps: &[
            Sql("CREATE TABLE t (id BIGINT, part STRING, v INT, name STRING) USING DELTA \
                 TBLPROPERTIES ('delta.columnMapping.mode' = 'name')"),
            ROWS,
            DELETE,
            MERGE,
            Sql("ALTER TABLE t RENAME COLUMN name TO label"),
            Sql("ALTER TABLE t DROP COLUMN v"),
            Sql("ALTER TABLE t ADD COLUMNS (v BIGINT)"),
            Sql("UPDATE t SET v = id * 10, label = part WHERE id % 5 = 1"),
        ],
        deltalake: All,
        duckdb: All,
        polars: Refuses("columnMapping"),
    },
    Story {
        name: "mapped columns in partitions",
        steps: &[
            Sql("CREATE TABLE t (id BIGINT, part STRING, v INT, name STRING) USING DELTA PARTITIONED BY (part) \
                 TBLPROPERTIES ('delta.columnMapping.mode' = 'id')"),
            ROWS,
            DELETE,
            MERGE,
        ],
        deltalake: All,
        duckdb: NullsIn(&["part"]),
        polars: Refuses("columnMapping"),
    },
    Story {
        name: "a shallow clone that was changed",
        steps: &[
            Sql("CREATE TABLE origin (id BIGINT, part STRING, v INT, name STRING) USING DELTA PARTITIONED BY (part)"),
            Sql("INSERT INTO origin SELECT value AS id, 'a b' AS part, 3 AS v, 'x' AS name FROM generate_series(0, 50)"),
            Sql("DELETE FROM origin WHERE id % 10 = 4"),
            Sql("CREATE TABLE t SHALLOW CLONE origin"),
            ROWS,
            DELETE,
            MERGE,
        ],
        deltalake: All,
        // It takes a path that is an URL of its own for one below the table.
        duckdb: Refuses("Cannot open file"),
        polars: Refuses("No such file"),
    },
    Story {
        name: "a deep clone that was changed",
        steps: &[
            Sql("CREATE TABLE origin (id BIGINT, part STRING, v INT, name STRING) USING DELTA PARTITIONED BY (part)"),
            Sql("INSERT INTO origin SELECT value AS id, 'a b' AS part, 3 AS v, 'x' AS name FROM generate_series(0, 50)"),
            Sql("DELETE FROM origin WHERE id % 10 = 4"),
            Sql("CREATE TABLE t DEEP CLONE origin"),
            ROWS,
            DELETE,
            MERGE,
        ],
        deltalake: All,
        duckdb: All,
        polars: POLARS_IN_ESCAPED_PATHS,
    },
    Story {
        name: "a converted folder of Parquet files",
        steps: &[
            Sql(
                "COPY (SELECT value AS id, value % 10 AS v FROM generate_series(0, 40)) TO '$LAKE/t/part=a%20b/' STORED AS PARQUET",
            ),
            Sql("COPY (SELECT value AS id, 5 AS v FROM generate_series(41, 60)) TO '$LAKE/t/part=it%27s/' STORED AS PARQUET"),
            Sql("CONVERT TO DELTA parquet.`$LAKE/t` PARTITIONED BY (part STRING)"),
            Sql("CREATE TABLE t USING DELTA LOCATION '$LAKE/t'"),
            Sql("ALTER TABLE t SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')"),
            Sql("DELETE FROM t WHERE id % 7 = 3"),
            Sql("UPDATE t SET v = 100 WHERE part = 'a b' AND id < 10"),
        ],
        deltalake: All,
        duckdb: All,
        polars: POLARS_IN_ESCAPED_PATHS,
    },
    Story {
        name: "wider types",
        steps: &[
            Sql("CREATE TABLE t (id BIGINT, part STRING, v INT, name STRING) USING DELTA \
                 TBLPROPERTIES ('delta.enableTypeWidening' = 'true')"),
            ROWS,
            Sql("ALTER TABLE t ALTER COLUMN v TYPE BIGINT"),
            Sql("INSERT INTO t VALUES (500, 'wide', 5000000000, 'x')"),
            Sql("DELETE FROM t WHERE id % 7 = 3"),
            MERGE,
        ],
        deltalake: Refuses("TypeWidening"),
        duckdb: All,
        polars: Refuses("typeWidening"),
    },
    Story {
        name: "a V2 checkpoint",
        steps: &[
            Sql("CREATE TABLE t (id BIGINT, part STRING, v INT, name STRING) USING DELTA PARTITIONED BY (part) \
                 TBLPROPERTIES ('delta.checkpointPolicy' = 'v2')"),
            ROWS,
            DELETE,
            MERGE,
            Checkpoint,
            MORE_ROWS,
            UPDATE,
        ],
        deltalake: All,
        duckdb: All,
        polars: Refuses("v2Checkpoint"),
    },
    Story {
        name: "in-commit timestamps and a change feed",
        steps: &[
            Sql("CREATE TABLE t (id BIGINT, part STRING, v INT, name STRING) USING DELTA PARTITIONED BY (part) \
                 TBLPROPERTIES ('delta.enableInCommitTimestamps' = 'true', 'delta.enableChangeDataFeed' = 'true')"),
            ROWS,
            DELETE,
            UPDATE,
            MERGE,
            Checkpoint,
            MORE_ROWS,
        ],
        deltalake: All,
        duckdb: All,
        polars: POLARS_IN_ESCAPED_PATHS,
    },
];

struct Shop {
    lake: DeltaSession,
    folder: tempfile::TempDir,
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lake = session().with_warehouse(folder.path().to_str().unwrap()).unwrap();
        Self { lake, folder }
    }

    fn path(&self, table: &str) -> String {
        self.folder.path().join(table).display().to_string()
    }

    fn open(&self, table: &str) -> DeltaTable {
        DeltaTable::at(Stores::new().open(&Location::from_path(self.path(table)).unwrap()).unwrap(), system_env())
    }

    async fn sql(&self, statement: &str) {
        let statement = statement.replace("$LAKE", self.folder.path().to_str().unwrap());
        self.lake.query(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}")).collect().await.unwrap();
    }

    async fn step(&self, step: Step) {
        match step {
            Sql(statement) => self.sql(statement).await,
            Checkpoint => {
                let table = self.open("t");
                let version = table.snapshot().await.unwrap().version();
                table.checkpoint().await.unwrap();
                let log = Path::new(&self.path("t")).join("_delta_log");
                for before in 0..version {
                    std::fs::remove_file(log.join(format!("{before:020}.json"))).unwrap();
                }
            }
        }
    }

    async fn rows(&self, query: &str) -> Bag {
        Bag::of_batches(&self.lake.query(query).await.unwrap().collect().await.unwrap())
    }

    /// Read anew, and without SQL.
    async fn by_us(&self, table: &str) -> Bag {
        let snapshot = self.open(table).snapshot().await.unwrap();
        Bag::of_batches(&snapshot.scan(Default::default()).unwrap().collect().await.unwrap())
    }
}

/// What is wrong about an answer, if anything is.
fn complaint(answer: &Value, reads: Reads, expected: &Bag) -> Option<String> {
    let expected = match reads {
        Refuses(words) => {
            let said = answer["refused"].as_str();
            return (!said.is_some_and(|said| said.contains(words))).then(|| {
                format!(
                    "does not refuse it with the word `{words}`: {}",
                    said.unwrap_or("it reads rows; compare them from now on")
                )
            });
        }
        NullsIn(columns) => expected.without(columns),
        All | Revives => expected.clone(),
    };
    match answer["refused"].as_str() {
        Some(said) => Some(format!("refuses: {said}")),
        None => {
            let found = Bag::of_answer(answer);
            let difference = found.difference(&expected);
            if !matches!(reads, Revives) {
                return difference;
            }
            let has_all = expected.0.iter().all(|row| found.0.contains(row));
            (difference.is_none() || !has_all).then(|| "does not return deleted rows any more; compare it from now on".to_owned())
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_read_tables_of_every_feature_after_changes_or_refuse_the_feature_by_name() {
    let mut peer = PythonPeer::start("features.py");
    let mut complaints = Vec::new();
    for story in STORIES {
        let shop = Shop::new();
        for step in story.steps {
            shop.step(*step).await;
        }
        let expected = shop.by_us("t").await;
        assert_eq!(shop.rows("SELECT * FROM t").await.difference(&expected), None, "{}: by SQL", story.name);
        assert!(!expected.0.is_empty(), "{}: rows to compare", story.name);
        let answer = peer.ask(&json!({"do": "read", "path": shop.path("t")}));
        for (who, reads) in [("deltalake", story.deltalake), ("duckdb", story.duckdb), ("polars", story.polars)] {
            let found = complaint(&answer[who], reads, &expected);
            complaints.extend(found.map(|complaint| format!("{}: {who} {complaint}", story.name)));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

const COLUMNS: [Column; 4] = [("id", Kind::Long), ("part", Kind::Text), ("v", Kind::Integer), ("name", Kind::Text)];

/// A change of the table `t` by a peer, and the same as SQL.
fn turns() -> Vec<(Value, String)> {
    let source: Vec<Row> = (95..110)
        .map(|id| vec![json!(id), json!(if id % 2 == 0 { "a b" } else { "it's" }), json!(id % 4), json!("söurce")])
        .collect();
    let values = |rows: &[Row]| -> String {
        let text =
            |value: &Value| value.as_str().map_or_else(|| value.to_string(), |text| format!("'{}'", text.replace('\'', "''")));
        let row = |row: &Row| format!("({})", row.iter().map(text).collect::<Vec<_>>().join(", "));
        rows.iter().map(row).collect::<Vec<_>>().join(", ")
    };
    let new: Vec<Row> = (200..205).map(|id| vec![json!(id), json!("new %/"), Value::Null, json!("")]).collect();
    // DuckDB 1.5.5 writes files of other partitions to other paths than it says in the log.
    let plain: Vec<Row> = (300..305).map(|id| vec![json!(id), json!("plain"), json!(1), json!("by DuckDB")]).collect();
    let merge = format!(
        "MERGE INTO mirror AS t USING (SELECT * FROM (VALUES {}) AS s (id, part, v, name)) AS s ON t.id = s.id \
         WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
        values(&source)
    );
    let delete = "DELETE FROM mirror WHERE id % 9 = 5";
    let update = "UPDATE mirror SET v = v + 100 WHERE part = 'a b'";
    vec![
        (json!({"do": "delete", "where": "id % 9 = 5"}), delete.to_owned()),
        (json!({"do": "compact"}), "OPTIMIZE mirror".to_owned()),
        (json!({"do": "merge", "columns": named(&COLUMNS), "source": source}), merge),
        (json!({"do": "update", "where": "part = 'a b'", "column": "v", "value": "v + 100"}), update.to_owned()),
        (
            json!({"do": "append", "columns": named(&COLUMNS), "source": new}),
            format!("INSERT INTO mirror VALUES {}", values(&new)),
        ),
        (
            json!({"do": "insert", "columns": named(&COLUMNS), "source": plain}),
            format!("INSERT INTO mirror VALUES {}", values(&plain)),
        ),
        (json!({"do": "delete", "where": "v > 100"}), "DELETE FROM mirror WHERE v > 100".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_ours_that_peers_changed_are_read_by_us_and_changed_on() {
    let mut peer = PythonPeer::start("features.py");
    // And what DuckDB says where it inserts nothing.
    for (properties, partitioned, refusal) in [
        ("'delta.enableDeletionVectors' = 'false'", "PARTITIONED BY (part)", None),
        // A feed makes it a table of writer version 4, which has constraints, and DuckDB knows none.
        ("'delta.enableDeletionVectors' = 'false', 'delta.enableChangeDataFeed' = 'true'", "", Some("checkConstraints")),
        ("'delta.enableDeletionVectors' = 'true', 'delta.checkpointPolicy' = 'v2'", "", None),
        ("'delta.enableDeletionVectors' = 'true'", "PARTITIONED BY (part)", None),
    ] {
        let shop = Shop::new();
        for table in ["t", "mirror"] {
            let columns = "(id BIGINT, part STRING, v INT, name STRING)";
            shop.sql(&format!("CREATE TABLE {table} {columns} USING DELTA {partitioned} TBLPROPERTIES ({properties})")).await;
        }
        shop.step(ROWS).await;
        shop.step(MORE_ROWS).await;
        shop.sql("INSERT INTO mirror SELECT * FROM t").await;
        for table in ["t", "mirror"] {
            shop.sql(&format!("DELETE FROM {table} WHERE id % 7 = 3")).await;
        }
        for (mut request, statement) in turns() {
            let what = format!("{properties} {partitioned}: {request}");
            request["path"] = json!(shop.path("t"));
            let answer = peer.ask(&request);
            match (answer["refused"].as_str(), refusal) {
                (None, Some(_)) if request["do"] == "insert" => panic!("{what}: it inserts; compare it from now on"),
                (None, _) => shop.sql(&statement).await,
                (Some(said), Some(words)) if request["do"] == "insert" => assert!(said.contains(words), "{what}: {said}"),
                (Some(said), _) => panic!("{what}: {said}"),
            }
            let (found, expected) = (shop.by_us("t").await, shop.by_us("mirror").await);
            assert_eq!(found.difference(&expected), None, "{what}");
            // And we go on, by the session that has known the table all the time.
            for table in ["t", "mirror"] {
                shop.sql(&format!("UPDATE {table} SET v = v - 1 WHERE id % 4 = 1")).await;
            }
            let (found, expected) = (shop.rows("SELECT * FROM t").await, shop.rows("SELECT * FROM mirror").await);
            assert_eq!(found.difference(&expected), None, "{what}, and our update");
        }
    }
}
