//! Active files, sorted, as a column of structs.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Int32Builder, Int64Builder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{Array, ArrayRef, StructArray, UInt32Array, new_null_array};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType, Field, Fields};
use boathouse_delta_protocol::action::StringMap;
use boathouse_delta_protocol::files::{FileIndex, FileRef, Segment};
use boathouse_delta_protocol::partition;
use boathouse_delta_protocol::schema::PrimitiveType;
use foldhash::fast::FixedState;
use parquet::errors::ParquetError;

use super::super::checkpoint_read::schema;
use super::contents::Contents;
use super::parquet_file::StatsColumn;
use super::stats_struct::StatsStruct;
use super::texts::Texts;
use crate::arrow_value::single;

/// The files of an index in the order of the checkpoint.
pub(super) struct SortedAdds {
    segments: Vec<Arc<Segment>>,
    /// The segment and the row of each file.
    order: Vec<(u32, u32)>,
    stats_as_json: bool,
    parsed: Option<Parsed>,
}

/// What stands in the checkpoint as typed columns, too.
struct Parsed {
    /// Nothing when no column has statistics.
    stats: StatsStruct,
    partitions: Vec<PartitionColumn>,
}

struct PartitionColumn {
    /// Under which the log has its values.
    physical: String,
    /// Older writers used this name.
    logical: String,
    data_type: PrimitiveType,
    arrow: DataType,
}

impl SortedAdds {
    /// Sorts by partition, then path.
    pub(super) fn new(contents: &Contents) -> Self {
        let layout = &contents.layout;
        let partitions: Vec<PartitionColumn> = layout
            .partition_columns
            .iter()
            .filter_map(|name| {
                let field = layout.schema.field(name)?;
                let data_type = field.data_type.as_primitive()?;
                let physical = field.physical_name(layout.mode).to_owned();
                Some(PartitionColumn { physical, logical: name.clone(), data_type, arrow: field.data_type.to_arrow() })
            })
            .collect();
        let order = order(&contents.files, &partitions);
        let properties = &layout.properties;
        let parsed = properties.checkpoint_write_stats_as_struct.then(|| Parsed { stats: StatsStruct::new(layout), partitions });
        let segments = contents.files.segments().cloned().collect();
        Self { segments, order, stats_as_json: properties.checkpoint_write_stats_as_json, parsed }
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Which files stand at these places, by segment and row.
    pub(super) fn wanted(&self, range: Range<usize>) -> Vec<Vec<bool>> {
        let mut wanted: Vec<Vec<bool>> = self.segments.iter().map(|segment| vec![false; segment.len()]).collect();
        for (segment, row) in &self.order[range] {
            wanted[*segment as usize][*row as usize] = true;
        }
        wanted
    }

    /// The type of the column.
    pub(super) fn fields(&self) -> Fields {
        let all = schema();
        let known = match all.field_with_name("add").map(Field::data_type) {
            Ok(DataType::Struct(fields)) => fields.clone(),
            _ => Fields::empty(),
        };
        let known =
            known.iter().filter(|field| self.stats_as_json || field.name() != "stats").map(|field| field.as_ref().clone());
        let parsed = self.parsed.iter().flat_map(|parsed| {
            let values = parsed.partitions.iter().map(|c| Field::new(&c.physical, c.arrow.clone(), true));
            let values: Fields = values.collect();
            let values = (!values.is_empty()).then(|| Field::new("partitionValues_parsed", DataType::Struct(values), true));
            values.into_iter().chain([Field::new("stats_parsed", parsed.stats.data_type(), true)])
        });
        known.chain(parsed).collect()
    }

    /// The files at these places. Their statistics as text go to `column`, if there is one, and are null in the array.
    pub(super) fn chunk(
        &self,
        range: Range<usize>,
        texts: &Texts,
        mut column: Option<&mut StatsColumn<'_>>,
    ) -> Result<StructArray, ParquetError> {
        let fields = self.fields();
        let mut columns = Columns::new(range.len());
        let chosen = &self.order[range];
        let (mut text, mut parsed_texts) = (Vec::new(), Vec::new());
        for (segment, row) in chosen {
            columns.push(self.file((*segment, *row)))?;
            text.clear();
            let stats = texts.append(*segment as usize, *row as usize, &mut text).map(|()| text.as_slice());
            if let Some(column) = &mut column {
                column.push(stats)?;
            }
            if self.parsed.is_some() {
                parsed_texts.push(stats.and_then(|stats| String::from_utf8(stats.to_vec()).ok()));
            }
        }
        let mut arrays = columns.finish();
        if let Some(parsed) = &self.parsed {
            if !parsed.partitions.is_empty() {
                let values = parsed.partitions.iter().map(|column| {
                    let array = column.array(chosen.iter().map(|place| column.text(self.file(*place))))?;
                    Ok((Arc::new(Field::new(&column.physical, column.arrow.clone(), true)), array))
                });
                let values = values.collect::<Result<Vec<_>, ArrowError>>()?;
                arrays.push(("partitionValues_parsed", Arc::new(StructArray::from(values))));
            }
            arrays.push(("stats_parsed", parsed.stats.parse(&parsed_texts)?));
        }
        let sorted = fields.iter().map(|field| {
            let found = arrays.iter().find(|(name, _)| name == field.name()).map(|(_, array)| Arc::clone(array));
            found.unwrap_or_else(|| new_null_array(field.data_type(), chosen.len()))
        });
        Ok(StructArray::try_new(fields.clone(), sorted.collect(), None)?)
    }

    fn file(&self, (segment, row): (u32, u32)) -> FileRef<'_> {
        self.segments[segment as usize].file(row as usize)
    }
}

/// The files of the index, sorted.
fn order(index: &FileIndex, partitions: &[PartitionColumn]) -> Vec<(u32, u32)> {
    // Few partitions, many files: partitions are compared once, files only with those of their own.
    let mut known: HashMap<Vec<Option<&str>>, Vec<Place<'_>>, FixedState> = HashMap::default();
    let mut values = Vec::new();
    for (file, (segment, row)) in index.iter_without_stats().zip(index.rows()) {
        values.clear();
        values.extend(partitions.iter().map(|column| column.text(file)));
        // Segments are short, and there are fewer of them than files in memory.
        let at = (u32::try_from(segment).unwrap_or(u32::MAX), u32::try_from(row).unwrap_or(u32::MAX));
        let place = Place { start: 0, path: file.path(), at };
        match known.get_mut(&values) {
            Some(places) => places.push(place),
            None => drop(known.insert(values.clone(), vec![place])),
        }
    }
    let mut known: Vec<(Vec<Option<&str>>, Vec<Place<'_>>)> = known.into_iter().collect();
    known.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    known.into_iter().flat_map(|(_, places)| by_path(places)).map(|place| place.at).collect()
}

/// A file of the index.
struct Place<'a> {
    /// Eight bytes of the path, as a number that compares as they do.
    start: u64,
    path: &'a str,
    at: (u32, u32),
}

/// Sorts by path. Most paths differ in the bytes behind what all of them begin with.
fn by_path(mut places: Vec<Place<'_>>) -> Vec<Place<'_>> {
    let Some(first) = places.first().map(|place| place.path) else { return places };
    let shared = |path: &str| first.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
    let shared = places.iter().map(|place| shared(place.path)).min().unwrap_or(0);
    for place in &mut places {
        let rest = &place.path.as_bytes()[shared..];
        let mut start = [0; 8];
        let length = rest.len().min(8);
        start[..length].copy_from_slice(&rest[..length]);
        place.start = u64::from_be_bytes(start);
    }
    places.sort_unstable_by(|a, b| (a.start, a.path).cmp(&(b.start, b.path)));
    places
}

impl PartitionColumn {
    /// The value as the log has it; nothing is null.
    fn text<'a>(&self, file: FileRef<'a>) -> Option<&'a str> {
        file.partition_value(&self.physical).or_else(|| file.partition_value(&self.logical)).flatten()
    }

    /// Values with their type. A text that is none of the type is null: the text stands beside it.
    fn array<'a>(&self, texts: impl Iterator<Item = Option<&'a str>>) -> Result<ArrayRef, ArrowError> {
        let mut known: HashMap<&'a str, u32> = HashMap::new();
        let null = new_null_array(&self.arrow, 1);
        let mut values: Vec<ArrayRef> = vec![null];
        let mut rows = Vec::new();
        for text in texts {
            let Some(text) = text else {
                rows.push(0);
                continue;
            };
            let row = match known.get(text) {
                Some(row) => *row,
                None => {
                    let value = partition::parse(&self.logical, self.data_type, Some(text)).ok();
                    let value =
                        value.and_then(|value| single(&value, &self.arrow)).filter(|array| array.data_type() == &self.arrow);
                    let row = match value {
                        // Places of 32 bits hold more values than a chunk has rows.
                        Some(value) => {
                            values.push(value);
                            u32::try_from(values.len() - 1).unwrap_or_default()
                        }
                        None => 0,
                    };
                    known.insert(text, row);
                    row
                }
            };
            rows.push(row);
        }
        let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
        arrow_select::take::take(&arrow_select::concat::concat(&values)?, &UInt32Array::from(rows), None)
    }
}

/// The columns of `add` but for statistics, file by file.
struct Columns {
    path: StringBuilder,
    partition_values: MapBuilder<StringBuilder, StringBuilder>,
    size: Int64Builder,
    modification_time: Int64Builder,
    data_change: BooleanBuilder,
    tags: MapBuilder<StringBuilder, StringBuilder>,
    vector: Vectors,
    base_row_id: Int64Builder,
    row_commit_version: Int64Builder,
    clustering_provider: StringBuilder,
}

#[derive(Default)]
struct Vectors {
    present: Vec<bool>,
    storage_type: StringBuilder,
    path: StringBuilder,
    offset: Int32Builder,
    size: Int32Builder,
    cardinality: Int64Builder,
}

fn map() -> MapBuilder<StringBuilder, StringBuilder> {
    let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
}

/// The log has numbers of 64 bits with a sign.
fn long(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// And places within a file numbers of 32 bits.
fn int(value: u32) -> Result<i32, ArrowError> {
    i32::try_from(value).map_err(|_| ArrowError::CastError(format!("a deletion vector at or of {value} bytes is beyond 2 GB")))
}

impl Columns {
    fn new(rows: usize) -> Self {
        Self {
            path: StringBuilder::with_capacity(rows, rows.saturating_mul(96)),
            partition_values: map(),
            size: Int64Builder::with_capacity(rows),
            modification_time: Int64Builder::with_capacity(rows),
            data_change: BooleanBuilder::with_capacity(rows),
            tags: map(),
            vector: Vectors::default(),
            base_row_id: Int64Builder::with_capacity(rows),
            row_commit_version: Int64Builder::with_capacity(rows),
            clustering_provider: StringBuilder::new(),
        }
    }

    fn push(&mut self, file: FileRef<'_>) -> Result<(), ArrowError> {
        self.path.append_value(file.path());
        entries(&mut self.partition_values, Some(file.partition_values()))?;
        self.size.append_value(long(file.size_bytes()));
        self.modification_time.append_value(file.modification_time_ms());
        // A checkpoint changes nothing.
        self.data_change.append_value(false);
        entries(&mut self.tags, file.tags().map(StringMap::iter))?;
        let vector = file.deletion_vector();
        self.vector.present.push(vector.is_some());
        self.vector.storage_type.append_option(vector.map(|v| v.storage_type.letter().to_string()));
        self.vector.path.append_option(vector.map(|v| &v.path_or_inline_dv));
        self.vector.offset.append_option(vector.and_then(|v| v.offset).map(int).transpose()?);
        self.vector.size.append_option(vector.map(|v| int(v.size_in_bytes)).transpose()?);
        self.vector.cardinality.append_option(vector.map(|v| long(v.cardinality)));
        self.base_row_id.append_option(file.base_row_id());
        self.row_commit_version.append_option(file.default_row_commit_version());
        self.clustering_provider.append_option(file.clustering_provider());
        Ok(())
    }

    fn finish(mut self) -> Vec<(&'static str, ArrayRef)> {
        vec![
            ("path", Arc::new(self.path.finish())),
            ("partitionValues", Arc::new(self.partition_values.finish())),
            ("size", Arc::new(self.size.finish())),
            ("modificationTime", Arc::new(self.modification_time.finish())),
            ("dataChange", Arc::new(self.data_change.finish())),
            ("tags", Arc::new(self.tags.finish())),
            ("deletionVector", self.vector.finish()),
            ("baseRowId", Arc::new(self.base_row_id.finish())),
            ("defaultRowCommitVersion", Arc::new(self.row_commit_version.finish())),
            ("clusteringProvider", Arc::new(self.clustering_provider.finish())),
        ]
    }
}

fn entries<'a>(
    map: &mut MapBuilder<StringBuilder, StringBuilder>,
    pairs: Option<impl Iterator<Item = (&'a str, Option<&'a str>)>>,
) -> Result<(), ArrowError> {
    let present = pairs.is_some();
    for (key, value) in pairs.into_iter().flatten() {
        map.keys().append_value(key);
        map.values().append_option(value);
    }
    map.append(present)
}

impl Vectors {
    fn finish(mut self) -> ArrayRef {
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let fields: Fields = vec![
            field("storageType", DataType::Utf8),
            field("pathOrInlineDv", DataType::Utf8),
            field("offset", DataType::Int32),
            field("sizeInBytes", DataType::Int32),
            field("cardinality", DataType::Int64),
        ]
        .into();
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(self.storage_type.finish()),
            Arc::new(self.path.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.size.finish()),
            Arc::new(self.cardinality.finish()),
        ];
        Arc::new(StructArray::new(fields, arrays, Some(NullBuffer::from(self.present))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn paths_are_sorted_as_their_bytes(shared in "[ab]{0,9}", paths in prop::collection::vec("[\u{0}ab\u{80}]{0,12}", 0..30)) {
            let mut paths: Vec<String> = paths.into_iter().map(|path| format!("{shared}{path}")).collect();
            let places = paths.iter().map(|path| Place { start: 0, path, at: (0, 0) }).collect();
            let sorted: Vec<String> = by_path(places).iter().map(|place| place.path.to_owned()).collect();
            paths.sort();
            prop_assert_eq!(sorted, paths);
        }
    }
}
