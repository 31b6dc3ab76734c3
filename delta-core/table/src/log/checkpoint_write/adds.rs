//! Active files, sorted, as a column of structs.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Int32Builder, Int64Builder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{Array, ArrayRef, StructArray, UInt32Array, new_null_array};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType, Field, Fields};
use boathouse_delta_protocol::action::StringMap;
use boathouse_delta_protocol::files::{FileIndex, FileRef};
use boathouse_delta_protocol::partition;
use boathouse_delta_protocol::schema::PrimitiveType;

use super::super::checkpoint_read::schema;
use super::contents::Contents;
use super::stats_struct::StatsStruct;
use crate::arrow_value::single;

/// The files of an index in the order of the checkpoint.
pub(super) struct SortedAdds {
    index: Arc<FileIndex>,
    /// For each file of the index its place in the checkpoint.
    places: Vec<usize>,
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
        let places = places(&contents.files, &partitions);
        let properties = &layout.properties;
        let parsed = properties.checkpoint_write_stats_as_struct.then(|| Parsed { stats: StatsStruct::new(layout), partitions });
        Self { index: Arc::clone(&contents.files), places, stats_as_json: properties.checkpoint_write_stats_as_json, parsed }
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
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

    /// The files at these places.
    ///
    /// **Cost**: a walk over the whole index; the texts of the files in the range are in memory.
    pub(super) fn chunk(&self, range: Range<usize>) -> Result<StructArray, ArrowError> {
        let fields = self.fields();
        let mut columns = Columns::new(&fields, range.len());
        let mut stats_texts: Vec<Option<String>> = Vec::new();
        // The file with the n-th place stands in row `row_of[n]` of what is collected.
        let mut row_of = vec![0_u32; range.len()];
        let (mut rows, mut picked) = (0_u32, Vec::with_capacity(range.len()));
        for (file, place) in self.index.iter().zip(&self.places) {
            if !range.contains(place) {
                continue;
            }
            row_of[place - range.start] = rows;
            rows += 1;
            let stats = file.stats();
            columns.push(file, stats.as_deref())?;
            if let Some(parsed) = &self.parsed {
                stats_texts.push(stats);
                picked.push(parsed.partitions.iter().map(|column| column.text(file)).collect::<Vec<_>>());
            }
        }
        let mut arrays = columns.finish();
        if let Some(parsed) = &self.parsed {
            if !parsed.partitions.is_empty() {
                let values = parsed.partitions.iter().enumerate().map(|(at, column)| {
                    let array = column.array(picked.iter().map(|row| row[at]))?;
                    Ok((Arc::new(Field::new(&column.physical, column.arrow.clone(), true)), array))
                });
                let values = values.collect::<Result<Vec<_>, ArrowError>>()?;
                arrays.push(("partitionValues_parsed", Arc::new(StructArray::from(values))));
            }
            arrays.push(("stats_parsed", parsed.stats.parse(&stats_texts)?));
        }
        let order = UInt32Array::from(row_of);
        let sorted = fields.iter().map(|field| {
            let found = arrays.iter().find(|(name, _)| name == field.name()).map(|(_, array)| array);
            match found {
                Some(array) => arrow_select::take::take(array, &order, None),
                None => Ok(new_null_array(field.data_type(), order.len())),
            }
        });
        StructArray::try_new(fields.clone(), sorted.collect::<Result<_, _>>()?, None)
    }
}

/// The place of each file of the index when they are sorted.
fn places(index: &FileIndex, partitions: &[PartitionColumn]) -> Vec<usize> {
    let files: Vec<FileRef<'_>> = index.iter_without_stats().collect();
    // Few partitions, many files: partitions are compared once, files by the rank of theirs.
    let mut known: HashMap<Vec<Option<&str>>, usize> = HashMap::new();
    let mut numbers = Vec::with_capacity(files.len());
    for file in &files {
        let values: Vec<Option<&str>> = partitions.iter().map(|column| column.text(*file)).collect();
        let next = known.len();
        numbers.push(*known.entry(values).or_insert(next));
    }
    let mut sorted: Vec<(&Vec<Option<&str>>, usize)> = known.iter().map(|(values, number)| (values, *number)).collect();
    sorted.sort_unstable();
    let mut ranks = vec![0; sorted.len()];
    for (rank, (_, number)) in sorted.into_iter().enumerate() {
        ranks[number] = rank;
    }
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_unstable_by(|a, b| (ranks[numbers[*a]], files[*a].path()).cmp(&(ranks[numbers[*b]], files[*b].path())));
    let mut places = vec![0; files.len()];
    for (place, file) in order.into_iter().enumerate() {
        places[file] = place;
    }
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

/// The columns of `add`, file by file.
struct Columns {
    path: StringBuilder,
    partition_values: MapBuilder<StringBuilder, StringBuilder>,
    size: Int64Builder,
    modification_time: Int64Builder,
    data_change: BooleanBuilder,
    stats: Option<StringBuilder>,
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
    fn new(fields: &Fields, rows: usize) -> Self {
        let stats = fields.iter().any(|field| field.name() == "stats");
        Self {
            path: StringBuilder::with_capacity(rows, rows.saturating_mul(96)),
            partition_values: map(),
            size: Int64Builder::with_capacity(rows),
            modification_time: Int64Builder::with_capacity(rows),
            data_change: BooleanBuilder::with_capacity(rows),
            stats: stats.then(|| StringBuilder::with_capacity(rows, rows.saturating_mul(256))),
            tags: map(),
            vector: Vectors::default(),
            base_row_id: Int64Builder::with_capacity(rows),
            row_commit_version: Int64Builder::with_capacity(rows),
            clustering_provider: StringBuilder::new(),
        }
    }

    fn push(&mut self, file: FileRef<'_>, stats: Option<&str>) -> Result<(), ArrowError> {
        self.path.append_value(file.path());
        entries(&mut self.partition_values, Some(file.partition_values()))?;
        self.size.append_value(long(file.size_bytes()));
        self.modification_time.append_value(file.modification_time_ms());
        // A checkpoint changes nothing.
        self.data_change.append_value(false);
        if let Some(texts) = &mut self.stats {
            texts.append_option(stats);
        }
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
        let mut arrays: Vec<(&'static str, ArrayRef)> = vec![
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
        ];
        if let Some(stats) = &mut self.stats {
            arrays.push(("stats", Arc::new(stats.finish())));
        }
        arrays
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
