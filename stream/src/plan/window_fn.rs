//! `window(time, width[, slide[, offset]])`, `session_window(time, gap)` and `window_time(window)`, as in Spark.
//!
//! A window is a struct of `start` and `end`: it holds the rows with `start <= time < end`. Windows are aligned to the Unix epoch,
//! plus the offset.
//!
//! **Source**: Spark SQL, functions `window`, `session_window`, `window_time`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::types::{IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, ListArray, PrimitiveArray, StructArray, TimestampMicrosecondArray,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::prelude::SessionContext;

use super::follow;
use super::mark::{carried, described, marked};
use crate::event_time::{microseconds, window_start};

const WINDOW: &str = "window";
const WINDOWS: &str = "__windows";
const SESSION: &str = "session_window";
const TIME: &str = "window_time";
const MARK: &str = "__followed";

/// What a function of windows does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// The one window of a time.
    Window,
    /// All windows of a time, as a list: windows that overlap.
    Windows,
    /// From a time to the end of its gap.
    Session,
    /// The last microsecond of a window.
    Time,
    /// A window as it is, whose event time may be followed with this delay in microseconds, and what it is as a second argument:
    /// unfolding a list loses both marks.
    Mark(Option<i64>),
}

/// Lets SQL of a session say `window`, `session_window` and `window_time`, and what `WATERMARK` becomes.
pub(crate) fn register(session: &SessionContext) {
    for kind in [Kind::Window, Kind::Windows, Kind::Session, Kind::Time] {
        session.register_udf(udf(kind));
    }
    follow::register(session);
}

/// The window that a time falls into: `window(time, "10 minutes")`; overlapping ones with a slide shorter than the width.
///
/// In a `GROUP BY` of a stream each window is a group of its own. Widths and slides are texts such as `10 minutes`, `1 hour 30 minutes`.
pub fn window(time: Expr, width: &str, slide: Option<&str>) -> Expr {
    let arguments = [Some(time), Some(lit(width)), slide.map(lit)];
    call(Kind::Window, arguments.into_iter().flatten().collect())
}

/// The window that a time falls into, of a width that is an expression.
pub(crate) fn window_of(time: Expr, width: Expr) -> Expr {
    call(Kind::Window, vec![time, width])
}

/// Windows that end when no row has come for `gap`: of a text such as `5 minutes`, or of an expression for each row.
pub fn session_window(time: Expr, gap: Expr) -> Expr {
    call(Kind::Session, vec![time, gap])
}

/// The event time of a window, for windows over the rows of windows: its last microsecond.
pub fn window_time(window: Expr) -> Expr {
    call(Kind::Time, vec![window])
}

/// All windows of a time, when this expression is a call of `window` whose windows overlap.
pub(crate) fn sliding(expr: &Expr) -> Result<Option<Expr>> {
    let Expr::ScalarFunction(function) = expr else { return Ok(None) };
    if !is(&function.func, Kind::Window) {
        return Ok(None);
    }
    let scalar = |at: usize| match function.args.get(at) {
        Some(Expr::Literal(value, _)) => Ok(Some(value)),
        None => Ok(None),
        Some(other) => plan_err!("the width and slide of a window are constants, and `{other}` is none"),
    };
    let Some(width) = scalar(1)?.map(duration_us).transpose()? else { return Ok(None) };
    let slide = scalar(2)?.map(duration_us).transpose()?.unwrap_or(width);
    Ok((slide != width).then(|| call(Kind::Windows, function.args.clone())))
}

/// A window with the marks of an event time and of what it is.
pub(crate) fn followed(window: Expr, delay_us: Option<i64>, description: Option<&str>) -> Expr {
    let arguments = std::iter::once(window).chain(description.map(lit));
    call(Kind::Mark(delay_us), arguments.collect())
}

/// Whether this expression is a call of `session_window`.
pub(crate) fn session_window_of(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(function) => is(&function.func, Kind::Session),
        Expr::Alias(alias) => session_window_of(&alias.expr),
        _ => false,
    }
}

fn is(function: &ScalarUDF, kind: Kind) -> bool {
    (function.inner().as_ref() as &dyn std::any::Any).downcast_ref::<WindowFunction>().is_some_and(|f| f.kind == kind)
}

fn call(kind: Kind, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(udf(kind)), args))
}

fn udf(kind: Kind) -> ScalarUDF {
    ScalarUDF::from(WindowFunction { kind, signature: Signature::variadic_any(Volatility::Immutable) })
}

#[derive(Debug)]
struct WindowFunction {
    kind: Kind,
    signature: Signature,
}

impl PartialEq for WindowFunction {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for WindowFunction {}

impl Hash for WindowFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

fn window_fields(zone: Option<Arc<str>>) -> Fields {
    let time = DataType::Timestamp(TimeUnit::Microsecond, zone);
    Fields::from(vec![Field::new("start", time.clone(), true), Field::new("end", time, true)])
}

impl ScalarUDFImpl for WindowFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Window => WINDOW,
            Kind::Windows => WINDOWS,
            Kind::Session => SESSION,
            Kind::Time => TIME,
            Kind::Mark(_) => MARK,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        plan_err!("the type of {} depends on its field", self.name())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let name = self.name();
        let Some(time) = args.arg_fields.first() else {
            return plan_err!("{name} needs the time as its first argument");
        };
        if let Kind::Mark(delay_us) = self.kind {
            let mut field = time.as_ref().clone().with_name(name);
            if let Some(delay_us) = delay_us {
                field = marked(&field, delay_us);
            }
            if let Some(Some(ScalarValue::Utf8(Some(description)))) = args.scalar_arguments.get(1) {
                field = described(&field, description);
            }
            return Ok(Arc::new(field));
        }
        let count = args.arg_fields.len();
        let mut description = None;
        let data_type = match (self.kind, time.data_type()) {
            (Kind::Time, DataType::Struct(fields)) if count == 1 && fields.len() == 2 => fields[1].data_type().clone(),
            (Kind::Time, other) => {
                return plan_err!("{name} takes one window, and got {count} arguments, the first of type {other}");
            }
            (Kind::Session, DataType::Timestamp(_, zone)) if count == 2 => {
                let gap = match args.scalar_arguments.get(1) {
                    Some(Some(gap)) => length(duration_us(gap)?),
                    _ => "by row".to_owned(),
                };
                description = Some(format!("{SESSION}({}, {gap})", time.name()));
                DataType::Struct(window_fields(zone.clone()))
            }
            (Kind::Session, DataType::Timestamp(..)) => {
                return plan_err!("{name} takes a time and a gap, and got {count} arguments");
            }
            (_, DataType::Timestamp(_, zone)) if (2..=4).contains(&count) => {
                let scalars = args.scalar_arguments.iter().skip(1);
                let widths = Widths::of(name, &scalars.map(|scalar| scalar.cloned()).collect::<Vec<_>>())?;
                description = Some(widths.describe(time.name()));
                let window = DataType::Struct(window_fields(zone.clone()));
                match self.kind {
                    Kind::Windows => DataType::List(Arc::new(carried(Field::new("item", window, true), time))),
                    _ => window,
                }
            }
            (_, DataType::Timestamp(..)) => {
                return plan_err!("{name} takes a time, a width, and perhaps a slide and an offset, and got {count} arguments");
            }
            (_, other) => {
                return plan_err!(
                    "{name} needs a timestamp as its first argument, and `{}` has the type {other}; cast it to a timestamp",
                    time.name()
                );
            }
        };
        let field = carried(Field::new(name, data_type, true), time);
        Ok(Arc::new(match description {
            Some(description) => described(&field, &description),
            None => field,
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(time) = arrays.first() else { return exec_err!("{} without a time", self.name()) };
        let zone = |data_type: &DataType| match data_type {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let result: ArrayRef = match self.kind {
            Kind::Time => last_moment(time)?,
            Kind::Mark(_) => Arc::clone(time),
            Kind::Session => {
                let times = microseconds(time);
                let gaps = match args.args.get(1) {
                    Some(ColumnarValue::Scalar(gap)) => Int64Array::from(vec![duration_us(gap)?; times.len()]),
                    Some(ColumnarValue::Array(gaps)) => gaps_us(gaps)?,
                    None => return exec_err!("{SESSION} without a gap"),
                };
                sessions(&times, &gaps, zone(time.data_type()))
            }
            Kind::Window | Kind::Windows => {
                let scalars: Vec<Option<ScalarValue>> = args.args.iter().skip(1).map(constant).collect();
                let widths = Widths::of(self.name(), &scalars)?;
                let times = microseconds(time);
                match self.kind {
                    Kind::Windows => all_windows(&times, widths, zone(time.data_type()), args.return_field.data_type())?,
                    _ => one_window(&times, widths, zone(time.data_type())),
                }
            }
        };
        Ok(ColumnarValue::Array(result))
    }
}

fn constant(value: &ColumnarValue) -> Option<ScalarValue> {
    match value {
        ColumnarValue::Scalar(value) => Some(value.clone()),
        ColumnarValue::Array(array) => ScalarValue::try_from_array(array, 0).ok(),
    }
}

/// The lengths of windows, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Widths {
    width: i64,
    slide: i64,
    offset: i64,
}

impl Widths {
    fn of(name: &str, scalars: &[Option<ScalarValue>]) -> Result<Self> {
        let mut lengths = Vec::new();
        for scalar in scalars {
            let Some(scalar) = scalar else {
                return plan_err!("the width and slide of {name} are constants");
            };
            lengths.push(duration_us(scalar)?);
        }
        let width = lengths.first().copied().unwrap_or(0);
        let slide = lengths.get(1).copied().unwrap_or(width);
        let offset = lengths.get(2).copied().unwrap_or(0);
        if width <= 0 || slide <= 0 {
            return plan_err!("the width and slide of {name} must be longer than nothing, and are {width} us and {slide} us");
        }
        if slide > width {
            return plan_err!("the slide of {name} must not be longer than its width, and is {slide} us against {width} us");
        }
        Ok(Self { width, slide, offset: offset.rem_euclid(slide) })
    }

    /// The window as text: `window(at, 10s)`, with slide and offset where they say something.
    fn describe(self, time: &str) -> String {
        let mut lengths = vec![length(self.width)];
        if self.slide != self.width || self.offset != 0 {
            lengths.push(length(self.slide));
        }
        if self.offset != 0 {
            lengths.push(length(self.offset));
        }
        format!("{WINDOW}({time}, {})", lengths.join(", "))
    }
}

/// A length of time as text.
fn length(us: i64) -> String {
    if us % 1_000_000 == 0 { format!("{}s", us / 1_000_000) } else { format!("{us}us") }
}

/// A constant length of time in microseconds.
fn duration_us(value: &ScalarValue) -> Result<i64> {
    let interval = match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            parse_interval_month_day_nano(text)?
        }
        ScalarValue::IntervalMonthDayNano(Some(interval)) => *interval,
        other => match other.cast_to(&DataType::Interval(IntervalUnit::MonthDayNano)) {
            Ok(ScalarValue::IntervalMonthDayNano(Some(interval))) => interval,
            _ => return plan_err!("`{value}` is not a length of time; write one as '10 minutes'"),
        },
    };
    match interval_us(interval) {
        Some(us) => Ok(us),
        None => plan_err!("`{value}` is not a fixed length of time: months have no fixed length"),
    }
}

fn interval_us(interval: IntervalMonthDayNano) -> Option<i64> {
    let days = i64::from(interval.days).checked_mul(86_400_000_000)?;
    (interval.months == 0).then(|| days.checked_add(interval.nanoseconds / 1_000)).flatten()
}

/// Lengths of time, one for each row; null where there is none.
fn gaps_us(gaps: &ArrayRef) -> Result<Int64Array> {
    if let DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View = gaps.data_type() {
        let texts = cast(gaps, &DataType::Utf8)?;
        let parse = |text: Option<&str>| text.map(|text| Ok(interval_us(parse_interval_month_day_nano(text)?))).transpose();
        let lengths: Vec<Option<i64>> =
            texts.as_string::<i32>().iter().map(|text| parse(text).map(Option::flatten)).collect::<Result<_>>()?;
        return Ok(lengths.into());
    }
    let intervals = cast(gaps, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let intervals: &PrimitiveArray<IntervalMonthDayNanoType> = intervals.as_primitive();
    Ok(intervals.iter().map(|interval| interval.and_then(interval_us)).collect())
}

fn timestamps(values: Int64Array, zone: Option<Arc<str>>) -> ArrayRef {
    let (_, values, nulls) = values.into_parts();
    Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone_opt(zone))
}

fn structs(starts: Int64Array, ends: Int64Array, zone: Option<Arc<str>>) -> ArrayRef {
    let nulls = NullBuffer::union(starts.nulls(), ends.nulls());
    let columns = vec![timestamps(starts, zone.clone()), timestamps(ends, zone.clone())];
    Arc::new(StructArray::new(window_fields(zone), columns, nulls))
}

fn one_window(times: &Int64Array, widths: Widths, zone: Option<Arc<str>>) -> ArrayRef {
    let start = |time: i64| window_start(time.checked_sub(widths.offset)?, widths.width)?.checked_add(widths.offset);
    let starts: Int64Array = times.iter().map(|time| time.and_then(start)).collect();
    let ends = starts.unary_opt(|start| start.checked_add(widths.width));
    structs(starts, ends, zone)
}

fn all_windows(times: &Int64Array, widths: Widths, zone: Option<Arc<str>>, list: &DataType) -> Result<ArrayRef> {
    let (mut starts, mut lengths) = (Vec::new(), Vec::new());
    for time in times {
        let before = starts.len();
        let last = time.and_then(|time| {
            window_start(time.checked_sub(widths.offset)?, widths.slide)?.checked_add(widths.offset).map(|last| (time, last))
        });
        if let Some((time, last)) = last {
            let earlier = (0..).map_while(|n: i64| last.checked_sub(n.checked_mul(widths.slide)?));
            let holding = earlier.take_while(|start| start.checked_add(widths.width).is_some_and(|end| end > time));
            starts.extend(holding);
            starts[before..].reverse();
        }
        lengths.push(starts.len() - before);
    }
    let starts = Int64Array::from(starts);
    let ends = starts.unary_opt(|start| start.checked_add(widths.width));
    let DataType::List(item) = list else { return exec_err!("windows are a list, and not {list}") };
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), structs(starts, ends, zone), None)?))
}

fn sessions(times: &Int64Array, gaps: &Int64Array, zone: Option<Arc<str>>) -> ArrayRef {
    let ends = times.iter().zip(gaps).map(|(time, gap)| time?.checked_add(gap.filter(|gap| *gap > 0)?)).collect::<Int64Array>();
    // A row without a gap is in no session.
    let starts = times.iter().zip(&ends).map(|(time, end)| end.and(time)).collect();
    structs(starts, ends, zone)
}

fn last_moment(windows: &ArrayRef) -> Result<ArrayRef> {
    let Some(windows) = windows.as_struct_opt() else { return exec_err!("{TIME} takes a window") };
    let ends: &PrimitiveArray<TimestampMicrosecondType> = match windows.columns().get(1).map(|ends| ends.as_primitive_opt()) {
        Some(Some(ends)) => ends,
        _ => return exec_err!("{TIME} takes a window"),
    };
    let zone = ends.timezone().map(Arc::from);
    let last = ends.iter().map(|end| end.and_then(|end| end.checked_sub(1))).collect::<Int64Array>();
    Ok(timestamps(last, zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> Result<i64> {
        duration_us(&ScalarValue::from(text))
    }

    #[test]
    fn lengths_of_time_are_texts_and_months_are_refused() {
        assert_eq!(us("10 minutes").unwrap(), 600_000_000);
        assert_eq!(us("1 hour 30 minutes").unwrap(), 5_400_000_000);
        assert_eq!(us("2 days").unwrap(), 172_800_000_000);
        assert!(us("1 month").unwrap_err().to_string().contains("months"));
        assert!(us("soon").is_err());
    }

    #[test]
    fn windows_that_overlap_hold_each_row_several_times_oldest_first() {
        let widths = Widths { width: 10, slide: 4, offset: 1 };
        let item = Arc::new(Field::new("item", DataType::Struct(window_fields(None)), true));
        let times = Int64Array::from(vec![Some(12), None, Some(-1)]);
        let lists = all_windows(&times, widths, None, &DataType::List(item)).unwrap();
        let windows = |row: usize| -> Vec<(i64, i64)> {
            let list = lists.as_list::<i32>().value(row);
            let side = |n: usize| list.as_struct().column(n).as_primitive::<TimestampMicrosecondType>().values().to_vec();
            side(0).into_iter().zip(side(1)).collect()
        };
        assert_eq!(windows(0), [(5, 15), (9, 19)]);
        assert_eq!(windows(1), []);
        assert_eq!(windows(2), [(-7, 3), (-3, 7)]);
    }

    #[test]
    fn one_window_holds_a_time_also_before_the_epoch_and_none_at_the_edge_of_time() {
        let widths = Widths { width: 10, slide: 10, offset: 3 };
        let windows = one_window(&Int64Array::from(vec![Some(12), Some(13), Some(-8), Some(i64::MAX), None]), widths, None);
        let starts = windows.as_struct().column(0).as_primitive::<TimestampMicrosecondType>().clone();
        assert_eq!(starts.iter().collect::<Vec<_>>(), [Some(3), Some(13), Some(-17), None, None]);
    }
}
