//! Auto Loader: files that land in a folder or bucket become a stream of record batches, each file once.
//!
//! # What it is not
//! Not a query engine and not a scheduler: it says what is new and decodes it. It does not write tables. A
//! stream asks it for the next batch, writes the rows somewhere, and remembers the offset together with them.
//!
//! ```text
//!   landing folder                            state folder
//!     2024-01-01.json  ──LIST──▶ what is new? ◀──────▶ log of discovered files, schema versions
//!     2024-01-02.json                │ plan
//!     late/2023-12-31.json           ▼
//!                      ──GET──▶ decode ─┬─▶ batches: columns, `_rescued_data`, `_metadata`
//!                               read    └─▶ quarantine: lines and files that are no records
//! ```
//!
//! # A story
//! One day lands. The next day brings a column more, a value of the wrong type, and a last line that was cut.
//!
//! ```
//! use boathouse_autoload::{AutoLoader, ColumnTypes, Format};
//! use boathouse_base::{ReadLimit, StreamSource};
//! use boathouse_storage::Storage;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let landing = Storage::memory();
//! landing.put("day-1.json", "{\"carrier\":\"AA\",\"delay\":7}\n").await?;
//!
//! let source = AutoLoader::over(landing.clone())
//!     .format(Format::json())
//!     .infer_column_types(ColumnTypes::Inferred)
//!     .state(Storage::memory())
//!     .open()
//!     .await?;
//! let first = source.plan(None, ReadLimit::default()).await?.ok_or("a file has landed")?;
//! let rows = source.read(None, &first.end).await?.collect().await?;
//! assert_eq!(rows[0].num_rows(), 1);
//!
//! let day_2 = "{\"carrier\":\"UA\",\"delay\":\"late\",\"gate\":\"B7\"}\n{\"carrier\":\"DL\",\"del";
//! landing.put("day-2.json", day_2).await?;
//! let second = source.plan(Some(&first.end), ReadLimit::default()).await?.ok_or("a second file has landed")?;
//! let batch = source.read(Some(&first.end), &second.end).await?.collect().await?.remove(0);
//! let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
//! assert_eq!(names, ["carrier", "delay", "gate", "_rescued_data"]);
//! assert_eq!(source.quarantine_counts().await?.lines, 1, "the cut line is kept aside");
//! # Ok(()) }
//! ```
//!
//! # What happens to what does not fit
//! | in the file | what happens |
//! | --- | --- |
//! | a column that the schema does not have | added, rescued, refused or ignored: [`SchemaEvolution`] |
//! | a value of another type | null; the value goes to `_rescued_data` as `{"column":value,"_file_path":"…"}` |
//! | a column whose name differs from a known one in case only | rescued: tables do not tell case apart |
//! | a line that is no record (cut, not UTF-8, no object, wrong number of values) | [quarantine](AutoLoader::quarantine), the other lines stay |
//! | a file that cannot be opened (bad gzip, bad Parquet, a header that names a column twice) | quarantine, the stream goes on |
//! | a blank line | nothing |
//!
//! Rows plus quarantined lines are the lines that landed. (A Parquet file that breaks in its middle gives the
//! batches before that place, and one quarantine entry.)
//!
//! # Types
//! Top-level JSON, CSV and XML columns are text unless [`ColumnTypes::Inferred`] is asked for. The first plan looks
//! at up to 1,000 files or 50 MB and widens: whole number → float → text; RFC 3339 instants, booleans,
//! structs and lists stay what they are while all values agree. From then on a column keeps its type. A column
//! that is added later has the type that its first file suggests; nulls alone suggest nothing. A whole number
//! is written without point and exponent: `12.0` does not fit an integer column, and is rescued. When a JSON
//! object names a field twice, the last one counts. Parquet columns keep their types, with instants in
//! microseconds and dictionaries unpacked; where files differ, values that would lose something are rescued. Avro columns
//! likewise. [`AutoLoader::inference`] tells what each type was inferred from.
//!
//! Text formats may be packed: `.gz`, `.zst`, `.bz2`. Names of folders (`day=2024-01-01/`) become columns where
//! [`PartitionColumns`] says so.
//!
//! # Finding files
//! Every plan lists the folder, unless [`DiscoveryMode`] or a [queue of events](AutoLoaderBuilder::events) says otherwise;
//! one ledger decides what is new, so a file is read once, however often and by whomever it is named. Directories of a
//! local folder that did not change are not read. See `docs/design/0015-discovery.md`.
//!
//! # Cost
//! A plan is one look for new files and one PUT when something is new, and nothing but a look into
//! memory while a backlog is longer than a batch. With inference or schema evolution each new file is fetched
//! at planning (of Parquet files the footer only); up to 128 MB are kept for the reading that follows. A file that was
//! read costs a bit more than a byte of memory, and 16 more while they fit 128 MB; its path stays on disk. A text file is
//! held in memory while it is decoded.
//!
//! # Features
//! `sqs`: queues of Amazon SQS, and of servers that speak its protocol.
//!
//! # What it does not do yet
//! - No client of Kafka, or of the queues of other clouds: [`EventQueue`] is what one has to implement, and the messages of S3 are parsed.
//! - No ORC. Hints name top-level columns, and no maps. CSV has no escape letter beside the doubled quote, and no comments.
//! - An XML element that comes once in the first files and twice later is no list unless a hint says so; what does not fit is rescued.
//! - Files are never forgotten: the state grows by about 30 bytes on disk for each.
//! - `ReadLimit::rows` is not looked at: rows are not counted before they are read.
//! - A Parquet file is fetched whole.

mod builder;
mod clean;
mod ddl;
mod decode;
mod discovery;
mod error;
mod evidence;
mod files_state;
mod fingerprint;
mod landing;
mod ledger;
mod loader;
mod offset;
mod options;
mod plan;
mod quarantine;
mod schema;
mod settings;

pub use builder::AutoLoaderBuilder;
pub use clean::CleanSource;
pub use discovery::{
    Discovery, Effort, EventQueue, FileFacts, FolderWatch, FoundFile, MemoryQueue, QueueMessage, QueuedFiles, S3Events, Sighting,
    parse_s3_event,
};
#[cfg(feature = "sqs")]
pub use discovery::{SqsCredentials, SqsError, SqsOptions, SqsQueue};
pub use error::AutoLoadError;
pub use evidence::ColumnEvidence;
pub use loader::AutoLoader;
pub use quarantine::QuarantineCounts;
pub use settings::{
    ColumnTypes, CorruptFiles, CsvHeader, CsvOptions, DiscoveryMode, ExistingFiles, Format, JsonOptions, MetadataColumn,
    MissingFiles, Overwrites, PartitionColumns, SchemaEvolution, Settings, TextOptions, XmlOptions,
};
