//! What somebody may have meant who wrote a name that is not there.

use datafusion::common::utils::datafusion_strsim::levenshtein;

/// Names that are listed when none of them is near.
const MOST_LISTED: usize = 5;

/// The nearest of these names as a question; when none is near, some of them. Nothing without names.
pub(crate) fn nearest<S: AsRef<str>>(name: &str, known: impl IntoIterator<Item = S>) -> Option<String> {
    let lower = name.to_lowercase();
    let distance = |known: &str| levenshtein(&lower, &known.to_lowercase());
    let mut names: Vec<(usize, String)> =
        known.into_iter().map(|known| (distance(known.as_ref()), known.as_ref().to_owned())).collect();
    names.sort();
    match names.first()? {
        (distance, near) if *distance <= name.chars().count().div_ceil(2) => Some(format!("did you mean `{near}`?")),
        _ => {
            let mut listed: Vec<&str> = names.iter().take(MOST_LISTED).map(|(_, name)| name.as_str()).collect();
            if names.len() > MOST_LISTED {
                listed.push("…");
            }
            Some(format!("there is {}", listed.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_asked_for_and_others_are_listed() {
        assert_eq!(nearest("delai", ["id", "Delay"]).as_deref(), Some("did you mean `Delay`?"));
        assert_eq!(nearest("x", ["carrier", "delay"]).as_deref(), Some("there is delay, carrier"));
        assert_eq!(nearest("x", Vec::<String>::new()), None);
    }
}
