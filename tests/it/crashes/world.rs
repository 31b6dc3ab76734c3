//! A folder with sources, a query and its sink, which any process can open.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use boathouse::autoload::AutoLoader;
use boathouse::base::memory::{MemorySink, MemorySource};
use boathouse::base::{Error, OutputMode, ReadLimit, ScanRequest, StreamSink, StreamSource};
use boathouse::delta::{
    DeltaSink, DeltaSource, DeltaSourceOptions, DeltaTable, DeltaTableExt, OnChange, StreamRows, StreamStart, UpsertSink,
};
use boathouse::storage::{Location, Storage, system_env};
use boathouse::stream::sinks::{EpochBatch, FileFormat, FileSink};
use boathouse::stream::{StreamFrame, StreamQuery, TimeMode};
use datafusion::logical_expr::{col, lit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::processor::Numbered;

/// (seconds, key, value); no two of one key and time.
pub(super) type Row = (i64, &'static str, i64);

/// Rows of the sources `a` and `b`, which land together. Some are late, and the last end all windows.
pub(super) const PUSHES: [(&[Row], &[Row]); 6] = [
    (&[(10, "x", 1), (12, "y", -2), (13, "x", 3)], &[(11, "x", 5)]),
    (&[(25, "x", 4), (26, "y", 5), (16, "y", 6)], &[(30, "y", 1), (27, "x", 2)]),
    (&[(3, "x", 7), (41, "z", 8), (42, "x", -9)], &[(44, "x", 3)]),
    (&[(60, "x", 10), (55, "y", 11)], &[(2, "x", 4), (61, "y", 5)]),
    (&[(100, "x", 12), (101, "y", 13), (99, "z", 14)], &[(103, "x", 6), (98, "z", 7)]),
    (&[(1000, "end", 0)], &[(1000, "end", 0)]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Files,
    Delta,
    ChangeFeed,
    Memory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    /// Rows one by one.
    Filter,
    /// With late rows to a table of their own.
    Windows,
    Sliding,
    Sessions,
    WindowsOfWindows,
    FirstOfKey,
    Distinct,
    Join,
    LeftJoin,
    Processor,
    /// Running sums, in the update mode.
    Totals,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Delta,
    Upsert,
    Parquet,
    Json,
    Function,
    Memory,
}

impl Origin {
    pub(super) const ALL: [Self; 4] = [Self::Files, Self::Delta, Self::ChangeFeed, Self::Memory];
}

impl Operator {
    pub(super) const ALL: [Self; 11] = [
        Self::Filter,
        Self::Windows,
        Self::Sliding,
        Self::Sessions,
        Self::WindowsOfWindows,
        Self::FirstOfKey,
        Self::Distinct,
        Self::Join,
        Self::LeftJoin,
        Self::Processor,
        Self::Totals,
    ];

    /// Columns of its result that tell its rows apart.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Filter | Self::FirstOfKey => &["at", "k"],
            Self::Windows | Self::Sliding | Self::Sessions | Self::WindowsOfWindows => &["start", "k"],
            Self::Distinct | Self::Totals => &["k"],
            Self::Join | Self::LeftJoin => &["at", "k", "other"],
            Self::Processor => &["k", "n", "v"],
        }
    }

    fn sql(self) -> Option<&'static str> {
        Some(match self {
            Self::Filter => "SELECT at, k, v * 2 AS v FROM {a} WHERE v > 0",
            Self::Windows => {
                "SELECT w.start AS start, k, n, s FROM (SELECT window(at, '10 seconds') AS w, k, count(*) AS n, sum(v) AS s FROM {a} \
                 GROUP BY window(at, '10 seconds'), k)"
            }
            Self::Sliding => {
                "SELECT w.start AS start, k, n, s FROM (SELECT window(at, '10 seconds', '5 seconds') AS w, k, count(DISTINCT v) AS n, \
                 max(v) AS s FROM {a} GROUP BY window(at, '10 seconds', '5 seconds'), k)"
            }
            Self::Sessions => {
                "SELECT s.start AS start, k, n FROM (SELECT session_window(at, '8 seconds') AS s, k, count(*) AS n FROM {a} \
                 GROUP BY session_window(at, '8 seconds'), k)"
            }
            Self::WindowsOfWindows => {
                "SELECT w2.start AS start, k, n FROM (SELECT window(window_time(w), '30 seconds') AS w2, k, count(*) AS n FROM (SELECT \
                 window(at, '10 seconds') AS w, k, sum(v) AS s FROM {a} GROUP BY window(at, '10 seconds'), k) \
                 GROUP BY window(window_time(w), '30 seconds'), k)"
            }
            Self::Distinct => "SELECT DISTINCT k FROM {a}",
            Self::Join => {
                "SELECT a.at, a.k, a.v, b.at AS other FROM {a} AS a JOIN {b} AS b ON a.k = b.k AND b.at BETWEEN a.at AND \
                 a.at + INTERVAL '20 seconds'"
            }
            Self::LeftJoin => {
                "SELECT a.at, a.k, a.v, b.at AS other FROM {a} AS a LEFT JOIN {b} AS b ON a.k = b.k AND b.at BETWEEN a.at AND \
                 a.at + INTERVAL '20 seconds'"
            }
            Self::Totals => "SELECT k, count(*) AS n, sum(v) AS s FROM {a} GROUP BY k",
            Self::FirstOfKey | Self::Processor => return None,
        })
    }
}

impl Target {
    pub(super) const ALL: [Self; 6] = [Self::Delta, Self::Upsert, Self::Parquet, Self::Json, Self::Function, Self::Memory];
}

/// A source, an operator and a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) origin: Origin,
    pub(super) operator: Operator,
    pub(super) target: Target,
}

impl Case {
    /// Whether the sink takes what the operator gives.
    pub(super) fn is_possible(self) -> bool {
        let by_key = matches!(self.target, Target::Upsert | Target::Function | Target::Memory);
        self.operator != Operator::Totals || by_key
    }
}

fn batch(rows: &[Row]) -> RecordBatch {
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0 * 1_000_000)).with_timezone("UTC");
    RecordBatch::try_from_iter_with_nullable([
        ("at", Arc::new(times) as ArrayRef, true),
        ("k", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))), true),
        ("v", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))), true),
    ])
    .unwrap()
}

/// The folder, and what is in memory beside it.
pub(super) struct World {
    pub(super) case: Case,
    root: Storage,
    /// Rows before this second do not come.
    from: i64,
    sources: BTreeMap<&'static str, MemorySource>,
    sink: MemorySink,
}

impl World {
    pub(super) fn in_folder(folder: &Path, case: Case) -> Self {
        let root = Storage::open(&Location::from_path(folder).unwrap()).unwrap();
        let memory = || MemorySource::new(batch(&[]).schema());
        Self { case, root, from: 0, sources: [("a", memory()), ("b", memory())].into(), sink: MemorySink::new() }
    }

    /// Leaves out rows that are late. Whether they are depends on what lands before the next epoch begins.
    pub(super) fn without_late_rows(self) -> Self {
        Self { from: 10, ..self }
    }

    fn table(&self, name: &str) -> DeltaTable {
        DeltaTable::at(self.root.at(name), system_env())
    }

    /// Makes the tables that are read; folders come by themselves.
    pub(super) async fn make(&self) {
        for name in ["a", "b"] {
            match self.case.origin {
                Origin::Delta => drop(self.table(name).create(batch(&[]).schema().as_ref().clone()).run().await.unwrap()),
                Origin::ChangeFeed => {
                    let create = self
                        .table(name)
                        .create(batch(&[]).schema().as_ref().clone())
                        .property("delta.enableChangeDataFeed", "true");
                    create.run().await.unwrap();
                }
                Origin::Files => self.root.put(&format!("{name}/.keep"), "").await.unwrap(),
                Origin::Memory => {}
            }
        }
    }

    /// Rows come to both sources.
    pub(super) async fn push(&self, number: usize) {
        let (a, b) = PUSHES[number];
        for (name, rows) in [("a", a), ("b", b)] {
            let rows: Vec<Row> = rows.iter().copied().filter(|row| row.0 >= self.from).collect();
            let rows = rows.as_slice();
            match self.case.origin {
                Origin::Memory => self.sources[name].push(batch(rows)).unwrap(),
                Origin::Delta => drop(self.table(name).append(batch(rows).into()).run().await.unwrap()),
                Origin::ChangeFeed => {
                    self.table(name).append(batch(rows).into()).run().await.unwrap();
                    // A change that the query leaves out.
                    let filter = format!("v = {}", rows[0].2);
                    self.table(name).update().set("v", "v + 1000").filter(filter.as_str()).run().await.unwrap();
                }
                Origin::Files => {
                    let lines = rows.iter().map(|(at, k, v)| format!("{{\"at\":\"{}\",\"k\":\"{k}\",\"v\":{v}}}\n", time(*at)));
                    self.root.put(&format!("{name}/{number:03}.json"), lines.collect::<String>()).await.unwrap();
                }
            }
        }
    }

    async fn source(&self, name: &'static str) -> Arc<dyn StreamSource> {
        let first = DeltaSourceOptions { start: StreamStart::Version(0), ..DeltaSourceOptions::default() };
        match self.case.origin {
            Origin::Memory => Arc::new(self.sources[name].clone()),
            Origin::Delta => Arc::new(DeltaSource::new(self.table(name)).with_options(first)),
            Origin::ChangeFeed => {
                let options = DeltaSourceOptions { rows: StreamRows::Changes, on_change: OnChange::Fail, ..first };
                Arc::new(DeltaSource::new(self.table(name)).with_options(options))
            }
            Origin::Files => {
                let time = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
                let hints = [("at", time), ("k", DataType::Utf8), ("v", DataType::Int64)];
                let files =
                    AutoLoader::over(self.root.at(name)).state(self.root.at(&format!("state of {name}"))).schema_hints(hints);
                Arc::new(files.path_glob("*.json").open().await.unwrap())
            }
        }
    }

    /// The query as a new process opens it.
    pub(super) async fn query(&self) -> StreamQuery {
        let delay = Duration::from_secs(10);
        let mut query = StreamQuery::named("crashes")
            .checkpoint(self.root.at("checkpoint"))
            .read_limit(ReadLimit { files: Some(1), ..ReadLimit::default() });
        let both: &[&str] = if matches!(self.case.operator, Operator::Join | Operator::LeftJoin) { &["a", "b"] } else { &["a"] };
        for name in ["a", "b"].into_iter().filter(|name| both.contains(name)) {
            let source = self.source(name).await;
            query = match self.case.operator {
                Operator::Totals | Operator::Distinct => query.source_named(name, source),
                _ => query.source_with_watermark(name, source, "at", delay),
            };
        }
        if self.case.operator == Operator::Windows {
            query = query.late_rows_to(Arc::new(DeltaSink::new(self.table("late"))));
        }
        if self.case.operator == Operator::Totals {
            query = query.output_mode(OutputMode::Update);
        }
        self.written(self.computed(query))
    }

    fn computed(&self, query: StreamQuery) -> StreamQuery {
        let is_feed = self.case.origin == Origin::ChangeFeed;
        if let Some(sql) = self.case.operator.sql() {
            let of = |name: &str| match is_feed {
                true => format!("(SELECT at, k, v FROM {name} WHERE _change_type = 'insert')"),
                false => name.to_owned(),
            };
            return query.sql(sql.replace("{a}", &of("a")).replace("{b}", &of("b")));
        }
        let operator = self.case.operator;
        query.transform(move |frame| {
            let frame = if is_feed { frame.filter(col("_change_type").eq(lit("insert")))? } else { frame };
            let frame = frame.select_columns(&["at", "k", "v"])?;
            match operator {
                Operator::FirstOfKey => frame.drop_duplicates_within_watermark(&["k"]),
                _ => frame.transform_with_state(&["k"], &Numbered::output(), TimeMode::EventTime, Arc::new(Numbered)),
            }
        })
    }

    fn written(&self, query: StreamQuery) -> StreamQuery {
        let folder = self.root.at("target");
        let sink: Arc<dyn StreamSink> = match self.case.target {
            Target::Memory => Arc::new(self.sink.clone()),
            Target::Delta => Arc::new(DeltaSink::new(self.table("target"))),
            Target::Upsert => Arc::new(UpsertSink::new(self.table("target"), self.case.operator.keys().iter().copied())),
            Target::Parquet => Arc::new(FileSink::new(folder, FileFormat::Parquet)),
            Target::Json => Arc::new(FileSink::new(folder, FileFormat::Json)),
            Target::Function => return query.foreach_batch(move |batch| write_epoch(folder.clone(), batch)),
        };
        query.sink(sink)
    }

    /// The rows of the sink, sorted; and the late ones.
    pub(super) async fn result(&self) -> (Vec<String>, Vec<String>) {
        let mut rows = match self.case.target {
            Target::Memory => newest(self.case.operator, self.sink.batches().iter().flat_map(texts)),
            Target::Delta | Target::Upsert => self.rows_of("target").await,
            Target::Function => {
                let mut entries = self.root.at("target").list("").await.unwrap();
                entries.sort_by(|a, b| a.path.cmp(&b.path));
                let mut lines = Vec::new();
                for entry in entries {
                    let bytes = self.root.at("target").get(&entry.path).await.unwrap();
                    lines.extend(String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned));
                }
                newest(self.case.operator, lines.into_iter())
            }
            Target::Parquet | Target::Json => {
                let format = if self.case.target == Target::Json { FileFormat::Json } else { FileFormat::Parquet };
                let mut lines = Vec::new();
                for url in FileSink::new(self.root.at("target"), format).files().await.unwrap() {
                    let bytes = self.root.at("target").get(url.rsplit('/').next().unwrap()).await.unwrap();
                    match format {
                        FileFormat::Json => lines.extend(String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned)),
                        FileFormat::Parquet => {
                            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
                            lines.extend(reader.flat_map(|batch| texts(&batch.unwrap())));
                        }
                    }
                }
                lines
            }
        };
        rows.sort();
        let late = self.rows_of("late").await;
        (rows, late)
    }

    async fn rows_of(&self, table: &str) -> Vec<String> {
        let Some(snapshot) = self.table(table).try_snapshot().await.unwrap() else { return Vec::new() };
        let batches = snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap();
        let mut rows: Vec<String> = batches.iter().flat_map(texts).collect();
        rows.sort();
        rows
    }
}

/// A target that remembers epochs by their number: one that comes again must have the rows that it had.
async fn write_epoch(folder: Storage, batch: EpochBatch) -> Result<(), Error> {
    let (path, again) = (format!("{:05}", batch.epoch), batch.again);
    let mut rows: Vec<String> = batch.collect().await?.iter().flat_map(texts).collect();
    rows.sort();
    let text = rows.join("\n");
    match folder.get_optional(&path).await? {
        Some(before) => assert!(again && before == text.as_bytes(), "epoch {path} comes again with other rows"),
        None => folder.put(&path, text).await?,
    }
    Ok(())
}

/// In the update mode a newer row of a key stands for the older ones.
fn newest(operator: Operator, lines: impl Iterator<Item = String>) -> Vec<String> {
    if operator != Operator::Totals {
        return lines.collect();
    }
    let of_key = |line: String| (line.split(" | ").next().unwrap().to_owned(), line);
    lines.map(of_key).collect::<BTreeMap<_, _>>().into_values().collect()
}

fn time(seconds: i64) -> String {
    format!("1970-01-01T00:{:02}:{:02}Z", seconds / 60, seconds % 60)
}

fn texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let row = |row: usize| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" | ");
    (0..batch.num_rows()).map(row).collect()
}
