//! Columns, and fields within them, as they stand in expressions: `day`, `t.day`, `info.name`, `stops[0].name`.

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{AccessExpr, Expr, Ident, LambdaFunctionParameter, OneOrManyWithParens, Subscript, Value};

/// How the engine of a session reads an identifier.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quotes {
    /// Whether it is lower case without quotes.
    lowers: bool,
}

impl Quotes {
    pub(super) fn of(session: &SessionContext) -> Self {
        Self { lowers: session.state().config_options().sql_parser.enable_ident_normalization }
    }

    /// The name that an identifier is to the engine.
    pub(super) fn means(self, name: &Ident) -> String {
        if self.lowers && name.quote_style.is_none() { name.value.to_ascii_lowercase() } else { name.value.clone() }
    }

    /// Lets an identifier be this name. One that is it already stays as it is.
    pub(super) fn write(self, name: &mut Ident, spelling: &str) {
        if self.means(name) != spelling {
            spelling.clone_into(&mut name.value);
            name.quote_style = Some('"');
        }
    }
}

/// Whoever knows how columns and fields are spelled.
pub(super) trait Names {
    fn quotes(&self) -> Quotes;

    /// Spells a column with its qualifier before it and its fields behind it. Gives the types that it may have; none when they are not known.
    fn column(&self, path: &mut Vec<Ident>) -> Vec<DataType>;

    /// Spells a field of a column of one of these types, and gives its own.
    fn field(&self, of: &[DataType], name: &mut Ident) -> Vec<DataType> {
        match field_of(of, name) {
            Some((spelling, types)) => {
                self.quotes().write(name, &spelling);
                types
            }
            None => {
                if !of.iter().any(|of| matches!(of, DataType::Struct(_))) {
                    self.unknown_field(name);
                }
                Vec::new()
            }
        }
    }

    /// Spells a field of something whose type is not known.
    fn unknown_field(&self, _name: &mut Ident) {}
}

/// The field that a name means in structs: exactly, or else without regard to letter case.
fn field_of(structs: &[DataType], name: &Ident) -> Option<(String, Vec<DataType>)> {
    let fields = || structs.iter().filter_map(|of| if let DataType::Struct(fields) = of { Some(fields) } else { None }).flatten();
    let lower = name.value.to_lowercase();
    let near = |field: &&FieldRef| field.name().to_lowercase() == lower;
    let found = fields().find(|field| *field.name() == name.value).or_else(|| fields().find(near))?.name().clone();
    let types = fields().filter(|field| *field.name() == found).map(|field| field.data_type().clone()).collect();
    Some((found, types))
}

/// Spells the columns of expressions while they are visited. The names of `t.stops[0].name` are visited one by one, as if each were a column,
/// before all of it is: they are kept as they were.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    chains: Vec<Vec<Ident>>,
}

impl Expressions {
    pub(super) fn before(&mut self, expr: &Expr) {
        if let Expr::CompoundFieldAccess { root, access_chain } = expr {
            let name = |access: &AccessExpr| match access {
                AccessExpr::Dot(Expr::Identifier(name)) => Some(name.clone()),
                _ => None,
            };
            let root = if let Expr::Identifier(name) = root.as_ref() { Some(name.clone()) } else { None };
            self.chains.push(root.into_iter().chain(access_chain.iter().filter_map(name)).collect());
        }
    }

    pub(super) fn after(&mut self, expr: &mut Expr, names: &impl Names) {
        match expr {
            Expr::Identifier(name) => {
                let mut path = vec![name.clone()];
                names.column(&mut path);
                if let Some(spelled) = path.pop() {
                    *name = spelled;
                }
            }
            Expr::CompoundIdentifier(path) => drop(names.column(path)),
            Expr::CompoundFieldAccess { root, access_chain } => {
                let mut written = self.chains.pop().unwrap_or_default();
                // What stands before the first bracket is a path like any other.
                let is_name = |access: &&AccessExpr| matches!(access, AccessExpr::Dot(Expr::Identifier(_)));
                let in_path = match root.as_ref() {
                    Expr::Identifier(_) => access_chain.iter().take_while(is_name).count(),
                    _ => 0,
                };
                let mut types = match root.as_mut() {
                    Expr::Identifier(root) => {
                        let behind = written.split_off((1 + in_path).min(written.len()));
                        let mut path = std::mem::replace(&mut written, behind);
                        let types = names.column(&mut path);
                        let places = access_chain.iter_mut().filter_map(|access| match access {
                            AccessExpr::Dot(Expr::Identifier(name)) => Some(name),
                            _ => None,
                        });
                        std::iter::once(root).chain(places).zip(path).for_each(|(place, spelled)| *place = spelled);
                        types
                    }
                    Expr::CompoundIdentifier(path) => names.column(&mut path.clone()),
                    _ => Vec::new(),
                };
                let mut written = written.into_iter();
                for access in access_chain.iter_mut().skip(in_path) {
                    types = match access {
                        AccessExpr::Dot(behind) => match behind {
                            Expr::Identifier(name) => {
                                if let Some(written) = written.next() {
                                    *name = written;
                                }
                                let types = names.field(&types, name);
                                // The engine takes texts there, and no names.
                                *behind = Expr::Value(Value::SingleQuotedString(names.quotes().means(name)).into());
                                types
                            }
                            _ => Vec::new(),
                        },
                        AccessExpr::Subscript(Subscript::Index { index: Expr::Value(value) }) => {
                            let text = value.value.clone().into_string();
                            match text.and_then(|text| field_of(&types, &Ident::with_quote('"', text))) {
                                Some((spelling, types)) => {
                                    value.value = Value::SingleQuotedString(spelling);
                                    types
                                }
                                None => types.iter().filter_map(element).collect(),
                            }
                        }
                        AccessExpr::Subscript(_) => types.iter().filter_map(element).collect(),
                    };
                }
            }
            Expr::Lambda(lambda) => {
                let spell = |parameter: &mut LambdaFunctionParameter| {
                    let mut path = vec![parameter.name.clone()];
                    names.column(&mut path);
                    if let Some(spelled) = path.pop() {
                        parameter.name = spelled;
                    }
                };
                match &mut lambda.params {
                    OneOrManyWithParens::One(parameter) => spell(parameter),
                    OneOrManyWithParens::Many(parameters) => parameters.iter_mut().for_each(spell),
                }
            }
            _ => {}
        }
    }
}

/// What stands in a list, or behind the keys of a map.
fn element(of: &DataType) -> Option<DataType> {
    match of {
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::FixedSizeList(element, _) => Some(element.data_type().clone()),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => pair.get(1).map(|value| value.data_type().clone()),
            _ => None,
        },
        _ => None,
    }
}
