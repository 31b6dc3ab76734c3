//! Prompts share the tables of models: MLflow clients mark them with a tag, and hide them from searches for models.

use boathouse_mlwire::{Comparison, Filter, Operand, Operator};

const MARK: &str = "mlflow.prompt.is_prompt";

/// Takes the comparison with the mark out of a filter that hides prompts, as the Python client writes it:
/// ``tag.`mlflow.prompt.is_prompt` != 'true'``. It means "not marked", and a model without the tag is not: that is not what
/// `!=` says of other tags. A filter that asks for prompts stays as it is; without a word about them they are hidden.
///
/// Returns the rest, and the condition to append.
pub(super) fn split(filter: Filter) -> (Filter, &'static str) {
    let is_mark = |c: &Comparison| {
        c.key.name == MARK
            && c.key.group.as_deref().is_some_and(|g| g.eq_ignore_ascii_case("tag") || g.eq_ignore_ascii_case("tags"))
    };
    let hides = |c: &Comparison| is_mark(c) && c.operator == Operator::NotEqual && c.operand == Operand::Text("true".to_owned());
    let asks = filter.comparisons.iter().any(|c| is_mark(c) && !hides(c));
    let comparisons = filter.comparisons.into_iter().filter(|c| !hides(c)).collect();
    let condition = if asks {
        ""
    } else {
        " AND NOT EXISTS (SELECT 1 FROM mr_model_tags p WHERE p.model_id = m.model_id \
         AND p.key = 'mlflow.prompt.is_prompt' AND p.value = 'true')"
    };
    (Filter { comparisons }, condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_hidden_unless_a_filter_asks_for_them() {
        let read = |text: &str| {
            let (filter, condition) = split(text.parse().unwrap());
            (filter.comparisons.len(), condition.is_empty())
        };
        assert_eq!(read(""), (0, false));
        assert_eq!(read("name = 'a' AND tag.`mlflow.prompt.is_prompt` != 'true'"), (1, false));
        assert_eq!(read("tags.mlflow.prompt.is_prompt = 'true'"), (1, true));
    }
}
