//! An immutable run of added files, column by column.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::bits::Bits;
use super::bounds::BoundsCache;
use super::key::same_vector;
use super::lookup::Lookup;
use super::stats::{OpenTexts, StatsBlock, StatsBlockBuilder};
use super::texts::Texts;
use crate::action::{Add, FileKey, StringMap};
use crate::deletion_vector::DeletionVectorDescriptor;

/// A segment is closed at this many files, so that what belongs to one of them is found quickly.
const ROWS: usize = 16 * 1024;

/// An immutable run of added files, column by column.
pub struct Segment {
    columns: Columns,
    stats: OnceLock<StatsBlock>,
    bounds: BoundsCache,
    lookup: OnceLock<Lookup>,
}

#[derive(Debug, Default)]
struct Columns {
    paths: Texts,
    sizes: Vec<u64>,
    modification_times: Vec<i64>,
    data_change: Bits,
    partitions: Vec<PartitionColumn>,
    base_row_ids: OptionalLongs,
    row_commit_versions: OptionalLongs,
    rest: BTreeMap<u32, Box<Rest>>,
}

/// The values of a partition column: a code for each file.
#[derive(Debug)]
struct PartitionColumn {
    key: Box<str>,
    /// 0: the file does not mention the column; 1: null; above: the text of this number.
    codes: Vec<u32>,
    texts: Texts,
    known: BTreeMap<Box<str>, u32>,
}

const ABSENT: u32 = 0;
const NULL: u32 = 1;
const FIRST_TEXT: u32 = 2;

/// A number that few tables have.
#[derive(Debug, Default)]
struct OptionalLongs(Option<(Vec<i64>, Bits)>);

impl OptionalLongs {
    fn push(&mut self, before: usize, value: Option<i64>) {
        if self.0.is_none() && value.is_some() {
            self.0 = Some((vec![0; before], Bits::all(false, before)));
        }
        if let Some((values, present)) = &mut self.0 {
            values.push(value.unwrap_or_default());
            present.push(value.is_some());
        }
    }

    fn get(&self, row: usize) -> Option<i64> {
        let (values, present) = self.0.as_ref()?;
        present.get(row).then(|| values[row])
    }
}

/// What few files have.
#[derive(Debug, Clone, Default, PartialEq)]
struct Rest {
    deletion_vector: Option<Box<DeletionVectorDescriptor>>,
    tags: Option<StringMap>,
    clustering_provider: Option<String>,
}

/// A file to be added to a segment; the texts stay where they are.
#[derive(Debug, Clone, Default)]
pub struct NewFile<'a> {
    /// As in [`Add`].
    pub path: Cow<'a, str>,
    /// As in [`Add`]: key and value, in any order.
    pub partition_values: Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>,
    /// As in [`Add`].
    pub size: u64,
    /// As in [`Add`].
    pub modification_time: i64,
    /// As in [`Add`].
    pub data_change: bool,
    /// As in [`Add`]; see [`SegmentBuilder`] for its form.
    pub stats: Option<Cow<'a, str>>,
    /// As in [`Add`].
    pub tags: Option<StringMap>,
    /// As in [`Add`].
    pub deletion_vector: Option<Box<DeletionVectorDescriptor>>,
    /// As in [`Add`].
    pub base_row_id: Option<i64>,
    /// As in [`Add`].
    pub default_row_commit_version: Option<i64>,
    /// As in [`Add`].
    pub clustering_provider: Option<String>,
}

impl<'a> From<&'a Add> for NewFile<'a> {
    fn from(add: &'a Add) -> Self {
        Self {
            path: Cow::Borrowed(&add.path),
            partition_values: add.partition_values.iter().map(|(k, v)| (Cow::Borrowed(k), v.map(Cow::Borrowed))).collect(),
            size: add.size,
            modification_time: add.modification_time,
            data_change: add.data_change,
            stats: add.stats.as_deref().map(Cow::Borrowed),
            tags: add.tags.clone(),
            deletion_vector: add.deletion_vector.clone(),
            base_row_id: add.base_row_id,
            default_row_commit_version: add.default_row_commit_version,
            clustering_provider: add.clustering_provider.clone(),
        }
    }
}

/// Whether the statistics of files go into the segment, and in which form they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StatsForm {
    /// As they are.
    Plain,
    /// As they stand within a JSON string.
    Escaped,
    /// Not at all: they are [handed in](Segment::set_stats) when somebody needs them.
    Later,
}

/// Puts segments together, file by file.
#[derive(Debug)]
pub struct SegmentBuilder {
    form: StatsForm,
    /// Where the statistics stand, when they stay there.
    piece: Option<Bytes>,
    done: Vec<Arc<Segment>>,
    columns: Columns,
    stats: StatsBlockBuilder,
}

impl SegmentBuilder {
    /// Statistics come as plain text, and are kept.
    pub fn with_stats() -> Self {
        Self::new(StatsForm::Plain)
    }

    /// Statistics are left out, to be [handed in](Segment::set_stats) when somebody needs them.
    pub fn without_stats() -> Self {
        Self::new(StatsForm::Later)
    }

    /// Statistics come as they stand within a JSON string, and are kept.
    pub(crate) fn with_escaped_stats() -> Self {
        Self::new(StatsForm::Escaped)
    }

    fn new(form: StatsForm) -> Self {
        Self { form, piece: None, done: Vec::new(), columns: Columns::default(), stats: block(form, None) }
    }

    /// The files that follow stand in this piece of a commit. Their statistics stay there, and the piece is kept.
    pub(crate) fn share(&mut self, piece: &Bytes) {
        if self.form == StatsForm::Escaped {
            self.close();
            self.piece = Some(piece.clone());
            self.stats = block(self.form, self.piece.as_ref());
        }
    }

    /// Adds a file.
    pub fn push(&mut self, file: NewFile<'_>) {
        let stats = file.stats.as_deref().filter(|_| self.form != StatsForm::Later);
        let full = self.columns.len() >= ROWS
            || !self.columns.has_room_for(&file)
            || stats.is_some_and(|stats| !self.stats.has_room_for(stats));
        if full {
            self.close();
        }
        if self.form != StatsForm::Later {
            self.stats.push(stats);
        }
        self.columns.push(file);
    }

    fn close(&mut self) {
        if self.columns.len() == 0 {
            return;
        }
        let mut columns = std::mem::take(&mut self.columns);
        columns.shrink_to_fit();
        let stats = OnceLock::new();
        let block = std::mem::replace(&mut self.stats, block(self.form, self.piece.as_ref()));
        if self.form != StatsForm::Later {
            let _ = stats.set(block.finish());
        }
        self.done.push(Arc::new(Segment { columns, stats, bounds: BoundsCache::default(), lookup: OnceLock::new() }));
    }

    /// The segments, in the order of the files.
    pub fn finish(mut self) -> Vec<Arc<Segment>> {
        self.close();
        self.done
    }
}

fn block(form: StatsForm, piece: Option<&Bytes>) -> StatsBlockBuilder {
    match (form, piece) {
        (StatsForm::Escaped, Some(piece)) => StatsBlockBuilder::shared(piece),
        (StatsForm::Escaped, None) => StatsBlockBuilder::escaped(),
        _ => StatsBlockBuilder::new(),
    }
}

impl Columns {
    fn len(&self) -> usize {
        self.sizes.len()
    }

    fn has_room_for(&self, file: &NewFile<'_>) -> bool {
        self.paths.has_room_for(&file.path)
            && file.partition_values.iter().all(|(key, value)| {
                let column = self.partitions.iter().find(|c| *c.key == **key);
                column.is_none_or(|c| value.as_deref().is_none_or(|value| c.texts.has_room_for(value)))
            })
    }

    fn push(&mut self, file: NewFile<'_>) {
        let row = self.len();
        self.paths.push(&file.path);
        self.sizes.push(file.size);
        self.modification_times.push(file.modification_time);
        self.data_change.push(file.data_change);
        for (key, value) in &file.partition_values {
            let at = self.partitions.iter().position(|c| *c.key == **key).unwrap_or_else(|| {
                self.partitions.push(PartitionColumn {
                    key: key.as_ref().into(),
                    codes: vec![ABSENT; row],
                    texts: Texts::default(),
                    known: BTreeMap::new(),
                });
                self.partitions.len() - 1
            });
            self.partitions[at].push(row, value.as_deref());
        }
        for column in &mut self.partitions {
            column.codes.resize(row + 1, ABSENT);
        }
        self.base_row_ids.push(row, file.base_row_id);
        self.row_commit_versions.push(row, file.default_row_commit_version);
        let NewFile { deletion_vector, tags, clustering_provider, .. } = file;
        let rest = Rest { deletion_vector, tags, clustering_provider };
        if rest != Rest::default()
            && let Ok(row) = u32::try_from(row)
        {
            self.rest.insert(row, Box::new(rest));
        }
    }

    fn shrink_to_fit(&mut self) {
        self.paths.shrink_to_fit();
        self.sizes.shrink_to_fit();
        self.modification_times.shrink_to_fit();
        for column in &mut self.partitions {
            column.codes.shrink_to_fit();
            column.texts.shrink_to_fit();
            column.known = BTreeMap::new();
        }
    }
}

impl PartitionColumn {
    fn push(&mut self, row: usize, value: Option<&str>) {
        let code = match value {
            None => NULL,
            Some(text) => match self.known.get(text) {
                Some(code) => *code,
                None => {
                    // Fits: a segment has far fewer files than numbers of 32 bits.
                    let code = u32::try_from(self.texts.len()).unwrap_or(u32::MAX - FIRST_TEXT) + FIRST_TEXT;
                    self.texts.push(text);
                    self.known.insert(text.into(), code);
                    code
                }
            },
        };
        // A key that comes twice counts as it came last.
        if self.codes.len() > row {
            self.codes[row] = code;
        } else {
            self.codes.push(code);
        }
    }

    fn get(&self, row: usize) -> Option<Option<&str>> {
        match self.codes[row] {
            ABSENT => None,
            NULL => Some(None),
            code => Some(Some(self.texts.get((code - FIRST_TEXT) as usize))),
        }
    }
}

impl Segment {
    /// How many files there are.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A file.
    pub fn file(&self, row: usize) -> FileRef<'_> {
        FileRef { segment: self, row }
    }

    /// Whether the statistics are here.
    pub fn has_stats(&self) -> bool {
        self.stats.get().is_some()
    }

    /// Hands in the statistics that were left out. False, and nothing happens, when the number of rows differs.
    pub fn set_stats(&self, block: StatsBlock) -> bool {
        if block.rows() != self.len() {
            return false;
        }
        let _ = self.stats.set(block);
        true
    }

    /// Keeps the statistics unpacked as long as the value lives: for a walk over many files.
    pub fn open(&self) -> OpenStats {
        OpenStats { texts: self.stats.get().map(StatsBlock::open) }
    }

    /// Calls back with the statistics of each of these files; not at all when they are [not here](Self::has_stats).
    ///
    /// **Cost**: unpacks the statistics of the segment, once.
    pub fn each_stats(&self, rows: Range<usize>, mut call: impl FnMut(usize, Option<&str>)) {
        let Some(block) = self.stats.get() else { return };
        let open = block.open();
        for row in rows {
            call(row, block.of(row, &open).as_deref());
        }
    }

    /// Whether a partition value is null, or reads like it.
    pub(super) fn has_null_partitions(&self) -> bool {
        self.columns
            .partitions
            .iter()
            .any(|column| column.codes.contains(&NULL) || (0..column.texts.len()).any(|at| column.texts.get(at).is_empty()))
    }

    pub(super) fn read_bounds(&self) -> &BoundsCache {
        &self.bounds
    }

    /// Rows with this path. `hash` is that of the path.
    pub(super) fn rows_of<'a>(&'a self, hash: u64, path: &'a str) -> impl Iterator<Item = usize> + 'a {
        let rows = u32::try_from(self.len()).unwrap_or(u32::MAX);
        let lookup = self.lookup.get_or_init(|| Lookup::new(rows, |row| self.path(row as usize)));
        lookup.rows(hash, path, |row| self.path(row as usize)).map(|row| row as usize)
    }

    pub(super) fn path(&self, row: usize) -> &str {
        self.columns.paths.get(row)
    }

    pub(super) fn size(&self, row: usize) -> u64 {
        self.columns.sizes[row]
    }

    pub(super) fn vector(&self, row: usize) -> Option<&DeletionVectorDescriptor> {
        self.rest(row)?.deletion_vector.as_deref()
    }

    fn rest(&self, row: usize) -> Option<&Rest> {
        if self.columns.rest.is_empty() {
            return None;
        }
        self.columns.rest.get(&u32::try_from(row).ok()?).map(Box::as_ref)
    }
}

/// As long as it lives, the statistics of a segment stay unpacked.
#[derive(Debug)]
pub struct OpenStats {
    texts: Option<OpenTexts>,
}

impl OpenStats {
    /// Appends the statistics of a file to a text, as bytes of UTF-8. `of` is the segment that was opened. `None`, and nothing appended,
    /// when the file has none.
    pub fn append(&self, of: &Segment, row: usize, to: &mut Vec<u8>) -> Option<()> {
        of.stats.get()?.append(row, self.texts.as_ref()?, to)
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({} files, statistics: {})", self.len(), self.has_stats())
    }
}

/// A file of a segment.
#[derive(Debug, Clone, Copy)]
pub struct FileRef<'a> {
    segment: &'a Segment,
    row: usize,
}

impl<'a> FileRef<'a> {
    /// The path as it stands in the log.
    pub fn path(&self) -> &'a str {
        self.segment.path(self.row)
    }

    /// Bytes of the file.
    pub fn size_bytes(&self) -> u64 {
        self.segment.size(self.row)
    }

    /// When it was made, in milliseconds since the Unix epoch.
    pub fn modification_time_ms(&self) -> i64 {
        self.segment.columns.modification_times[self.row]
    }

    /// False when it only rearranged rows.
    pub fn data_change(&self) -> bool {
        self.segment.columns.data_change.get(self.row)
    }

    /// A partition value by physical name: `None` when the file does not mention the column, `Some(None)` for null.
    pub fn partition_value(&self, key: &str) -> Option<Option<&'a str>> {
        self.segment.columns.partitions.iter().find(|c| *c.key == *key)?.get(self.row)
    }

    /// All partition values.
    pub fn partition_values(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        let row = self.row;
        self.segment.columns.partitions.iter().filter_map(move |column| Some((&*column.key, column.get(row)?)))
    }

    /// Which rows are deleted.
    pub fn deletion_vector(&self) -> Option<&'a DeletionVectorDescriptor> {
        self.segment.vector(self.row)
    }

    /// Free facts about the file.
    pub fn tags(&self) -> Option<&'a StringMap> {
        self.segment.rest(self.row)?.tags.as_ref()
    }

    /// Which clustering made it.
    pub fn clustering_provider(&self) -> Option<&'a str> {
        self.segment.rest(self.row)?.clustering_provider.as_deref()
    }

    /// Row id of the first row.
    pub fn base_row_id(&self) -> Option<i64> {
        self.segment.columns.base_row_ids.get(self.row)
    }

    /// First version that added this path.
    pub fn default_row_commit_version(&self) -> Option<i64> {
        self.segment.columns.row_commit_versions.get(self.row)
    }

    /// The statistics as JSON text; `None` without any, and when they are [not here](Segment::has_stats).
    ///
    /// **Cost**: may unpack the statistics of the segment; within a walk over an index only once.
    pub fn stats(&self) -> Option<String> {
        let block = self.segment.stats.get()?;
        let open = block.open();
        block.of(self.row, &open).map(Cow::into_owned)
    }

    /// What it is known by in the log.
    pub fn key(&self) -> FileKey {
        FileKey { path: self.path().to_owned(), deletion_vector: self.deletion_vector().map(DeletionVectorDescriptor::unique_id) }
    }

    /// Whether it has this deletion vector.
    pub(super) fn has_vector(&self, vector: Option<&DeletionVectorDescriptor>) -> bool {
        same_vector(self.deletion_vector(), vector)
    }

    /// As an action.
    pub fn to_add(&self) -> Add {
        let rest = self.segment.rest(self.row);
        Add {
            path: self.path().to_owned(),
            partition_values: self.partition_values().collect(),
            size: self.size_bytes(),
            modification_time: self.modification_time_ms(),
            data_change: self.data_change(),
            stats: self.stats(),
            tags: rest.and_then(|r| r.tags.clone()),
            deletion_vector: rest.and_then(|r| r.deletion_vector.clone()),
            base_row_id: self.base_row_id(),
            default_row_commit_version: self.default_row_commit_version(),
            clustering_provider: rest.and_then(|r| r.clustering_provider.clone()),
        }
    }
}
