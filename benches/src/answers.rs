//! What queries answer, compared between engines.

/// Rows of cells, as text.
pub(crate) type Answer = Vec<Vec<String>>;

/// How far numbers may lie apart, and as a share of them: some engines cut averages and quotients of decimals off after the
/// sixth digit.
const TOLERANCE: f64 = 1e-6;

/// Where two answers differ first; `None` if they say the same, in the same order.
pub(crate) fn difference(ours: &Answer, theirs: &Answer) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} rows, and {} of the peer", ours.len(), theirs.len()));
    }
    ours.iter().zip(theirs).enumerate().find_map(|(nth, (ours, theirs))| {
        let same = ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| is_same(a, b));
        (!same).then(|| format!("row {nth} is {ours:?}, and {theirs:?} of the peer"))
    })
}

fn is_same(ours: &str, theirs: &str) -> bool {
    match (ours.parse::<f64>(), theirs.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= TOLERANCE * (1.0 + a.abs().max(b.abs())),
        _ => ours == theirs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(rows: &[&[&str]]) -> Answer {
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_texts_as_they_are() {
        let ours = answer(&[&["A", "0.05000", "17"], &["B", "1e3", ""]]);
        assert_eq!(difference(&ours, &answer(&[&["A", "0.0500001", "17.00"], &["B", "1000", ""]])), None);
        for other in [&[&["A", "0.0501", "17"], &["B", "1e3", ""]], &[&["a", "0.05", "17"], &["B", "1e3", ""]]] {
            let rows: Vec<&[&str]> = other.iter().map(|row| &row[..]).collect();
            assert!(difference(&ours, &answer(&rows)).is_some_and(|said| said.contains("row 0")));
        }
    }

    #[test]
    fn rows_that_lack_or_stand_elsewhere_are_a_difference() {
        let ours = answer(&[&["A"], &["B"]]);
        assert!(difference(&ours, &answer(&[&["A"]])).is_some());
        assert!(difference(&ours, &answer(&[&["B"], &["A"]])).is_some());
        assert!(difference(&ours, &answer(&[&["A", "x"], &["B", "x"]])).is_some());
    }
}
