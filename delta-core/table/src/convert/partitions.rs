//! Values in the names of folders, as Hive writes them.

use boathouse_base::Value;
use boathouse_delta_protocol::action::decode_path;
use boathouse_delta_protocol::partition::{self, NULL_FOLDER};
use boathouse_delta_protocol::schema::PrimitiveType;

/// The columns and values that a path speaks of: `day=2024-01-01/who=a%3Ab/f.parquet`. `None` is null.
pub(super) fn of_path(path: &str) -> Vec<(String, Option<String>)> {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    let unescape = |text: &str| decode_path(text).map_or_else(|_| text.to_owned(), |text| text.into_owned());
    let pairs = folders.split('/').filter_map(|part| part.split_once('='));
    pairs.map(|(column, value)| (unescape(column), (value != NULL_FOLDER).then(|| unescape(value)))).collect()
}

/// The type that all these values have, the narrowest first: integer, long, double, date, and string for all else.
///
/// A number that has another text when it is written again, such as `007`, is text.
pub(super) fn infer<'a>(values: impl Iterator<Item = &'a str> + Clone) -> PrimitiveType {
    let candidates = [PrimitiveType::Integer, PrimitiveType::Long, PrimitiveType::Double, PrimitiveType::Date];
    let all = |data_type: &PrimitiveType| {
        let mut any = false;
        let fits = values.clone().all(|text| {
            any = true;
            reads_back(*data_type, text)
        });
        fits && any
    };
    candidates.into_iter().find(all).unwrap_or(PrimitiveType::String)
}

fn reads_back(data_type: PrimitiveType, text: &str) -> bool {
    match partition::parse("", data_type, Some(text)) {
        Ok(Value::Null) | Err(_) => false,
        // `1e3` and `1000.0` are the same number; words such as `nan` are rather names.
        Ok(Value::Float(number)) => number.is_finite() && text.contains('.'),
        Ok(value) => partition::format("", data_type, &value).ok().flatten().as_deref() == Some(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_as_hive_writes_them() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            of_path("a=1/plain/b%3Dc=x%2Fy z%25/f=g.parquet"),
            [("a".to_owned(), some("1")), ("b=c".to_owned(), some("x/y z%")),]
        );
        assert_eq!(of_path("d=__HIVE_DEFAULT_PARTITION__/f"), [("d".to_owned(), None)]);
        assert_eq!(of_path("f.parquet"), []);
    }

    #[test]
    fn the_narrowest_type_of_all_values_is_found_and_padded_numbers_stay_text() {
        let of = |texts: &[&'static str]| infer(texts.iter().copied());
        assert_eq!(of(&["1", "-20"]), PrimitiveType::Integer);
        assert_eq!(of(&["1", "3000000000"]), PrimitiveType::Long);
        assert_eq!(of(&["1.5", "2.25"]), PrimitiveType::Double);
        assert_eq!(of(&["2024-01-01", "1999-12-31"]), PrimitiveType::Date);
        for text in [&["007"][..], &["2024-01-01", "soon"], &["1", "x"], &["nan"], &["true"], &[], &["2024-1-1"]] {
            assert_eq!(of(text), PrimitiveType::String, "{text:?}");
        }
    }
}
