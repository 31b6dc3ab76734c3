//! The marks of an event time and of a window: metadata of their fields, which projections, windows and groups carry on.
//!
//! **Source**: Spark's attributes carry `spark.watermarkDelayMs` in the same way.

use datafusion::arrow::datatypes::Field;

/// The metadata that marks a column as an event time that is followed: its delay in microseconds.
const WATERMARK: &str = "boathouse.watermark_delay_us";

/// The metadata that says what a window is: its time, width, slide and offset.
const WINDOW: &str = "boathouse.window";

/// The field with the mark.
pub(crate) fn marked(field: &Field, delay_us: i64) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(WATERMARK.to_owned(), delay_us.to_string());
    field.clone().with_metadata(metadata)
}

/// The delay of the watermark that a field is followed by.
pub(crate) fn delay_of(field: &Field) -> Option<i64> {
    field.metadata().get(WATERMARK).and_then(|delay| delay.parse().ok())
}

/// The field of a window with what the window is.
pub(crate) fn described(field: &Field, window: &str) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(WINDOW.to_owned(), window.to_owned());
    field.clone().with_metadata(metadata)
}

/// What the window of a field is: `window(at, 10s)`.
pub(crate) fn description_of(field: &Field) -> Option<&str> {
    field.metadata().get(WINDOW).map(String::as_str)
}

/// A new field that is the event time of rows where `from` is.
pub(crate) fn carried(field: Field, from: &Field) -> Field {
    match delay_of(from) {
        Some(delay_us) => marked(&field, delay_us),
        None => field,
    }
}
