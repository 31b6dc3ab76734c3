//! Sequences of ALTER at random, on tables with and without column mapping, against a plain model.
//!
//! The model knows columns by a number that never changes, and rows as trees of these numbers. What the table shows must be the model with its
//! names, in its order, at every version.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_cast::display::array_value_to_string;
use arrow_schema::{DataType, Field, Fields, Schema};
use boathouse_base::{Env, TableVersion};
use boathouse_delta_table::protocol::features::has;
use boathouse_delta_table::protocol::schema::ReplaceProblem;
use boathouse_delta_table::{AlterProblem, ColumnPlace, DeltaError, DeltaTable, Snapshot};
use boathouse_storage::seeded_env;

use crate::rows::{read, reopened, stream, table};

const LIVES: u64 = 30;
const STEPS: u64 = 14;
const NAMES: [&str; 6] = ["a", "B", "c", "d1", "E", "f"];

#[derive(Debug, Clone)]
struct Column {
    key: u64,
    name: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Int,
    Long,
    Struct(Vec<Column>),
    /// A list of structs.
    List(Vec<Column>),
}

type Row = BTreeMap<u64, Cell>;

#[derive(Debug, Clone)]
enum Cell {
    Number(i64),
    Struct(Row),
    List(Vec<Row>),
}

/// Where the columns of a struct are: places from the top down.
type Way = Vec<usize>;

struct Life {
    chance: Env,
    columns: Vec<Column>,
    rows: Vec<Row>,
    mapped: bool,
    next_key: u64,
}

fn data_type(kind: &Kind) -> DataType {
    match kind {
        Kind::Int => DataType::Int32,
        Kind::Long => DataType::Int64,
        Kind::Struct(columns) => DataType::Struct(fields(columns)),
        Kind::List(columns) => DataType::List(Arc::new(Field::new("element", DataType::Struct(fields(columns)), true))),
    }
}

fn fields(columns: &[Column]) -> Fields {
    columns.iter().map(|column| Field::new(&column.name, data_type(&column.kind), true)).collect()
}

/// The type as the log shows it.
fn shown(columns: &[Column]) -> String {
    let kind = |kind: &Kind| match kind {
        Kind::Int => "integer".to_owned(),
        Kind::Long => "long".to_owned(),
        Kind::Struct(columns) => shown(columns),
        Kind::List(columns) => format!("array<{}>", shown(columns)),
    };
    let columns: Vec<String> = columns.iter().map(|column| format!("{}:{}", column.name, kind(&column.kind))).collect();
    format!("struct<{}>", columns.join(","))
}

fn text(columns: &[Column], row: &Row) -> Vec<String> {
    let within = |columns: &[Column], row: &Row| {
        let parts = columns.iter().zip(text(columns, row)).map(|(column, value)| format!("{}: {value}", column.name));
        format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
    };
    let value = |column: &Column| match (row.get(&column.key), &column.kind) {
        (None, _) => String::new(),
        (Some(Cell::Number(number)), _) => number.to_string(),
        (Some(Cell::Struct(row)), Kind::Struct(columns)) => within(columns, row),
        (Some(Cell::List(rows)), Kind::List(columns)) => {
            format!("[{}]", rows.iter().map(|row| within(columns, row)).collect::<Vec<_>>().join(", "))
        }
        (Some(cell), kind) => panic!("{cell:?} is no {kind:?}"),
    };
    columns.iter().map(value).collect()
}

fn structs(columns: &[Column], rows: &[Option<&Row>]) -> ArrayRef {
    let arrays: Vec<ArrayRef> = columns
        .iter()
        .map(|column| {
            let cells: Vec<Option<&Cell>> = rows.iter().map(|row| row.and_then(|row| row.get(&column.key))).collect();
            array(&column.kind, &cells)
        })
        .collect();
    let nulls = NullBuffer::from(rows.iter().map(Option::is_some).collect::<Vec<_>>());
    Arc::new(StructArray::new(fields(columns), arrays, Some(nulls)))
}

fn array(kind: &Kind, cells: &[Option<&Cell>]) -> ArrayRef {
    let number = |cell: &Option<&Cell>| match cell {
        Some(Cell::Number(number)) => Some(*number),
        _ => None,
    };
    match kind {
        Kind::Int => Arc::new(cells.iter().map(|cell| number(cell).map(|n| i32::try_from(n).unwrap())).collect::<Int32Array>()),
        Kind::Long => Arc::new(cells.iter().map(number).collect::<Int64Array>()),
        Kind::Struct(columns) => {
            let rows: Vec<Option<&Row>> =
                cells.iter().map(|cell| if let Some(Cell::Struct(row)) = cell { Some(row) } else { None }).collect();
            structs(columns, &rows)
        }
        Kind::List(columns) => {
            let lists: Vec<Option<&Vec<Row>>> =
                cells.iter().map(|cell| if let Some(Cell::List(rows)) = cell { Some(rows) } else { None }).collect();
            let rows: Vec<Option<&Row>> = lists.iter().flatten().flat_map(|rows| rows.iter().map(Some)).collect();
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(|rows| rows.map_or(0, Vec::len)));
            let nulls = NullBuffer::from(lists.iter().map(Option::is_some).collect::<Vec<_>>());
            let element = Arc::new(Field::new("element", DataType::Struct(fields(columns)), true));
            Arc::new(ListArray::new(element, offsets, structs(columns, &rows), Some(nulls)))
        }
    }
}

fn columns_at<'a>(columns: &'a mut Vec<Column>, way: &[usize]) -> &'a mut Vec<Column> {
    match way.split_first() {
        None => columns,
        Some((at, rest)) => match &mut columns[*at].kind {
            Kind::Struct(inner) | Kind::List(inner) => columns_at(inner, rest),
            other => panic!("{other:?} has no columns"),
        },
    }
}

/// All structs: the path of each, and the way there. The table comes first.
fn all_structs(columns: &[Column], path: &str, way: &Way, found: &mut Vec<(String, Way)>) {
    found.push((path.to_owned(), way.clone()));
    for (at, column) in columns.iter().enumerate() {
        let below = joined(path, &column.name);
        let way: Way = way.iter().copied().chain([at]).collect();
        match &column.kind {
            Kind::Struct(inner) => all_structs(inner, &below, &way, found),
            Kind::List(inner) => all_structs(inner, &format!("{below}.element"), &way, found),
            Kind::Int | Kind::Long => {}
        }
    }
}

fn joined(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

impl Life {
    fn below(&self, limit: usize) -> usize {
        usize::try_from(self.chance.random_below(limit as u64)).unwrap()
    }

    fn a_struct(&self) -> (String, Way) {
        let mut found = Vec::new();
        all_structs(&self.columns, "", &Way::new(), &mut found);
        found.swap_remove(self.below(found.len()))
    }

    fn a_column(&mut self) -> (String, Way, usize) {
        let (parent, way) = self.a_struct();
        let count = columns_at(&mut self.columns, &way).len();
        let at = self.below(count);
        let name = columns_at(&mut self.columns, &way)[at].name.clone();
        (joined(&parent, &name), way, at)
    }

    fn a_free_name(&mut self, way: &[usize]) -> Option<String> {
        let name = NAMES[self.below(NAMES.len())].to_owned();
        let name = if self.below(3) == 0 { name.to_uppercase() } else { name };
        let taken = columns_at(&mut self.columns, way).iter().any(|column| column.name.to_lowercase() == name.to_lowercase());
        (!taken).then_some(name)
    }

    fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    fn a_kind(&mut self, depth: usize) -> Kind {
        let inner = |life: &mut Self| {
            let name = NAMES[life.below(NAMES.len())].to_owned();
            let (key, kind) = (life.key(), life.a_kind(depth + 1));
            vec![Column { key, name, kind }]
        };
        match self.below(if depth < 2 { 5 } else { 2 }) {
            0 => Kind::Long,
            1 | 2 => Kind::Int,
            3 => Kind::Struct(inner(self)),
            _ => Kind::List(inner(self)),
        }
    }

    fn a_row(&self, columns: &[Column]) -> Row {
        let mut row = Row::new();
        for column in columns {
            if self.below(5) == 0 {
                continue;
            }
            let cell = match &column.kind {
                Kind::Int => Cell::Number(i64::try_from(self.below(1000)).unwrap()),
                Kind::Long => Cell::Number(i64::MAX - i64::try_from(self.below(1000)).unwrap()),
                Kind::Struct(columns) => Cell::Struct(self.a_row(columns)),
                Kind::List(columns) => Cell::List((0..self.below(3)).map(|_| self.a_row(columns)).collect()),
            };
            row.insert(column.key, cell);
        }
        row
    }

    async fn append(&mut self, table: &DeltaTable) {
        let rows: Vec<Row> = (0..=self.below(2)).map(|_| self.a_row(&self.columns)).collect();
        let all: Vec<Option<&Row>> = rows.iter().map(Some).collect();
        let columns = structs(&self.columns, &all);
        let columns = columns.as_any().downcast_ref::<StructArray>().unwrap().columns().to_vec();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields(&self.columns))), columns).unwrap();
        table.append(stream(batch)).create_if_absent().run().await.unwrap();
        self.rows.extend(rows);
    }

    fn a_place(&mut self, way: &[usize], not: Option<usize>) -> (Option<ColumnPlace>, Option<u64>) {
        match self.below(3) {
            0 => (None, None),
            1 => (Some(ColumnPlace::First), None),
            _ => {
                let count = columns_at(&mut self.columns, way).len();
                let at = self.below(count);
                if not == Some(at) {
                    return (None, None);
                }
                let other = &columns_at(&mut self.columns, way)[at];
                (Some(ColumnPlace::After(other.name.to_lowercase())), Some(other.key))
            }
        }
    }

    /// Puts a column where it was asked for.
    fn insert(&mut self, way: &[usize], column: Column, place: Option<&ColumnPlace>, behind: Option<u64>) {
        let columns = columns_at(&mut self.columns, way);
        let at = match (place, behind) {
            (Some(ColumnPlace::First), _) => 0,
            (_, Some(key)) => columns.iter().position(|column| column.key == key).unwrap() + 1,
            _ => columns.len(),
        };
        columns.insert(at, column);
    }

    /// One change. What it was, in words.
    async fn step(&mut self, table: &DeltaTable) -> String {
        match self.below(12) {
            0 | 1 => {
                self.append(table).await;
                "append".to_owned()
            }
            2 | 3 => self.add(table).await,
            4 => self.rename(table).await,
            5 => self.drop(table).await,
            6 => self.move_one(table).await,
            7 | 8 => self.widen(table).await,
            9 => self.replace(table).await,
            10 if !self.mapped => {
                table.alter().set_property("delta.columnMapping.mode", "name").run().await.unwrap();
                self.mapped = true;
                "map columns".to_owned()
            }
            10 => {
                table.drop_feature("columnMapping").run().await.unwrap();
                self.mapped = false;
                "drop the mapping".to_owned()
            }
            _ => {
                let snapshot = table.snapshot().await.unwrap();
                assert!(has(snapshot.protocol(), "typeWidening"));
                table.drop_feature("typeWidening").run().await.unwrap();
                table.alter().set_property("delta.enableTypeWidening", "true").run().await.unwrap();
                "drop the memory of types".to_owned()
            }
        }
    }

    async fn add(&mut self, table: &DeltaTable) -> String {
        let (parent, way) = self.a_struct();
        let Some(name) = self.a_free_name(&way) else { return "nothing".to_owned() };
        let kind = self.a_kind(way.len());
        let (place, behind) = self.a_place(&way, None);
        let field = Field::new(&name, data_type(&kind), true);
        table.alter().add_field(&parent, field, place.clone()).run().await.unwrap();
        let key = self.key();
        self.insert(&way, Column { key, name: name.clone(), kind }, place.as_ref(), behind);
        format!("add {name} to `{parent}`, {place:?}")
    }

    async fn rename(&mut self, table: &DeltaTable) -> String {
        let (path, way, at) = self.a_column();
        let Some(name) = self.a_free_name(&way) else { return "nothing".to_owned() };
        let renamed = table.alter().rename_column(&path, &name).run().await;
        if self.mapped {
            renamed.unwrap();
            columns_at(&mut self.columns, &way)[at].name.clone_from(&name);
        } else {
            assert!(matches!(problem(renamed.unwrap_err()), AlterProblem::NeedsMapping { .. }));
        }
        format!("rename {path} to {name}")
    }

    async fn drop(&mut self, table: &DeltaTable) -> String {
        let (path, way, at) = self.a_column();
        let dropped = table.alter().drop_column(&path).run().await;
        let columns = columns_at(&mut self.columns, &way);
        if !self.mapped {
            assert!(matches!(problem(dropped.unwrap_err()), AlterProblem::NeedsMapping { .. }));
        } else if columns.len() == 1 {
            assert!(matches!(problem(dropped.unwrap_err()), AlterProblem::LastColumn { .. }));
        } else {
            dropped.unwrap();
            columns.remove(at);
        }
        format!("drop {path}")
    }

    async fn move_one(&mut self, table: &DeltaTable) -> String {
        let (path, way, at) = self.a_column();
        let (Some(place), behind) = self.a_place(&way, Some(at)) else { return "nothing".to_owned() };
        table.alter().move_column(&path, place.clone()).run().await.unwrap();
        let moved = columns_at(&mut self.columns, &way).remove(at);
        self.insert(&way, moved, Some(&place), behind);
        format!("move {path}, {place:?}")
    }

    async fn widen(&mut self, table: &DeltaTable) -> String {
        let (path, way, at) = self.a_column();
        let column = &mut columns_at(&mut self.columns, &way)[at];
        if !matches!(column.kind, Kind::Int) {
            return "nothing".to_owned();
        }
        column.kind = Kind::Long;
        table.alter().widen_column(&path, DataType::Int64).run().await.unwrap();
        format!("widen {path}")
    }

    /// All columns at the top in another order, with a new one or without an old one.
    async fn replace(&mut self, table: &DeltaTable) -> String {
        let mut asked = self.columns.clone();
        let turned = self.below(asked.len());
        asked.rotate_left(turned);
        let drops = self.below(2) == 0 && asked.len() > 1;
        if drops {
            asked.pop();
        } else if let Some(name) = self.a_free_name(&[]) {
            let key = self.key();
            asked.insert(0, Column { key, name, kind: Kind::Int });
        }
        let columns: Vec<Field> = fields(&asked).iter().map(|field| field.as_ref().clone()).collect();
        let replaced = table.alter().replace_columns(columns).run().await;
        if drops && !self.mapped {
            assert!(matches!(problem(replaced.unwrap_err()), AlterProblem::Replaces(ReplaceProblem::Drops { .. })));
        } else {
            replaced.unwrap();
            self.columns = asked;
        }
        format!("replace columns, without one: {drops}")
    }

    fn bag(&self) -> Vec<String> {
        let mut rows: Vec<String> = self.rows.iter().map(|row| text(&self.columns, row).join(" | ")).collect();
        rows.sort();
        rows
    }
}

fn problem(error: DeltaError) -> AlterProblem {
    match error {
        DeltaError::CannotAlter { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

async fn bag(snapshot: &Snapshot) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in read(snapshot).await {
        let text = |column: &ArrayRef, row| {
            if column.is_null(row) { String::new() } else { array_value_to_string(column, row).unwrap() }
        };
        rows.extend(
            (0..batch.num_rows()).map(|row| batch.columns().iter().map(|c| text(c, row)).collect::<Vec<_>>().join(" | ")),
        );
    }
    rows.sort();
    rows
}

#[tokio::test]
async fn columns_come_go_move_and_widen_in_any_sequence_and_rows_keep_their_values() {
    for seed in 0..LIVES {
        let mut life = Life { chance: seeded_env(seed), columns: Vec::new(), rows: Vec::new(), mapped: false, next_key: 2 };
        let place = Kind::Struct(vec![Column { key: 1, name: "a".to_owned(), kind: Kind::Int }]);
        life.columns =
            vec![Column { key: 0, name: "a".to_owned(), kind: Kind::Int }, Column { key: 2, name: "d1".to_owned(), kind: place }];
        let table = table();
        life.append(&table).await;
        let properties = table.alter().set_property("delta.enableTypeWidening", "true");
        properties.set_property("delta.checkpointInterval", "5").run().await.unwrap();
        let (mut said, mut versions) = (Vec::new(), Vec::new());
        for _ in 0..STEPS {
            said.push(life.step(&table).await);
            let snapshot = reopened(&table).snapshot().await.unwrap();
            let story = format!("seed {seed}: {said:?}");
            assert_eq!(snapshot.delta_schema().to_string(), shown(&life.columns), "{story}");
            assert_eq!(bag(&snapshot).await, life.bag(), "{story}");
            versions.push((snapshot.version(), life.bag()));
        }
        for (version, expected) in versions {
            let snapshot = reopened(&table).snapshot_at(TableVersion::Number(version)).await.unwrap();
            assert_eq!(bag(&snapshot).await, expected, "seed {seed}, version {version}: {said:?}");
        }
    }
}
