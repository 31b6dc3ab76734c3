//! File name patterns: which files of a folder are meant.

use boathouse_base::{DomainError, ErrorKind};

/// A pattern over paths. `*` and `?` do not cross `/`, `**` does; `[a-z]` and `{a,b}` are known.
///
/// A pattern without `/` is matched against the file name, one with `/` against the whole path below the folder.
///
/// # Example
/// ```
/// use boathouse_storage::Glob;
///
/// let days = Glob::parse("day-??.{json,csv}")?;
/// assert!(days.matches("2026/01/day-07.csv"));
/// assert!(!Glob::parse("2026/*/a.csv")?.matches("2026/01/02/a.csv"));
/// # Ok::<_, boathouse_storage::GlobError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Glob {
    whole_path: bool,
    alternatives: Vec<Vec<Token>>,
}

/// A pattern that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("understand the path pattern `{pattern}`: {problem}")]
pub struct GlobError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl DomainError for GlobError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Char(char),
    One,
    Run,
    Deep,
    Folders,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// Parses a pattern.
    ///
    /// **Errors**: `Invalid` says what is wrong with it.
    pub fn parse(pattern: &str) -> Result<Self, GlobError> {
        let failed = |problem| GlobError { pattern: pattern.to_owned(), problem };
        let mut texts = vec![String::new()];
        expand(pattern, &mut texts).map_err(failed)?;
        let alternatives = texts.iter().map(|text| tokens(text)).collect::<Result<_, _>>().map_err(failed)?;
        Ok(Self { whole_path: pattern.contains('/'), alternatives })
    }

    /// Whether this path below the folder is meant.
    ///
    /// **Cost**: the length of the pattern times that of the path.
    pub fn matches(&self, path: &str) -> bool {
        let text = if self.whole_path { path } else { path.rsplit('/').next().unwrap_or(path) };
        let chars: Vec<char> = text.chars().collect();
        self.alternatives.iter().any(|tokens| matches(tokens, &chars))
    }
}

/// Writes out `{a,b}`; braces do not nest.
fn expand(pattern: &str, texts: &mut Vec<String>) -> Result<(), &'static str> {
    let mut rest = pattern;
    while let Some(open) = rest.find('{') {
        let close = rest[open..].find('}').ok_or("a `{` is never closed")? + open;
        let choices: Vec<&str> = rest[open + 1..close].split(',').collect();
        if choices.iter().any(|choice| choice.contains('{')) {
            return Err("braces must not nest");
        }
        if texts.len().saturating_mul(choices.len()) > 1024 {
            return Err("the braces stand for more than 1,024 patterns");
        }
        let before = &rest[..open];
        *texts = texts.iter().flat_map(|text| choices.iter().map(move |choice| format!("{text}{before}{choice}"))).collect();
        rest = &rest[close + 1..];
    }
    texts.iter_mut().for_each(|text| text.push_str(rest));
    Ok(())
}

fn tokens(text: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' if chars.peek() == Some(&'*') => {
                chars.next();
                // `**/` stands for whole folders, and for none at all.
                if chars.next_if_eq(&'/').is_some() { Token::Folders } else { Token::Deep }
            }
            '*' => Token::Run,
            '?' => Token::One,
            '\\' => Token::Char(chars.next().ok_or("a `\\` stands at the end")?),
            '[' => class(&mut chars)?,
            c => Token::Char(c),
        });
    }
    Ok(tokens)
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, &'static str> {
    let negated = chars.next_if(|c| matches!(c, '!' | '^')).is_some();
    let mut ranges = Vec::new();
    loop {
        let first = chars.next().ok_or("a `[` is never closed")?;
        if first == ']' && !ranges.is_empty() {
            return Ok(Token::Class { negated, ranges });
        }
        if chars.next_if_eq(&'-').is_some() {
            match chars.next().ok_or("a `[` is never closed")? {
                ']' => {
                    ranges.extend([(first, first), ('-', '-')]);
                    return Ok(Token::Class { negated, ranges });
                }
                last => ranges.push((first, last)),
            }
        } else {
            ranges.push((first, first));
        }
    }
}

/// One row of the table "tokens so far × characters so far" at a time: no pattern takes exponential time.
fn matches(tokens: &[Token], text: &[char]) -> bool {
    let mut reach = vec![false; text.len() + 1];
    reach[0] = true;
    for token in tokens {
        let mut next = vec![false; text.len() + 1];
        match token {
            Token::Run | Token::Deep => {
                let mut open = false;
                for at in 0..=text.len() {
                    open |= reach[at];
                    next[at] = open;
                    if at < text.len() && text[at] == '/' && *token == Token::Run {
                        open = false;
                    }
                }
            }
            Token::Folders => {
                let mut open = false;
                for at in 0..=text.len() {
                    next[at] = reach[at] || (open && text[at - 1] == '/');
                    open |= reach[at];
                }
            }
            one => {
                for at in 0..text.len() {
                    let fits = match one {
                        Token::Char(c) => *c == text[at],
                        Token::One => text[at] != '/',
                        Token::Class { negated, ranges } => {
                            text[at] != '/' && ranges.iter().any(|(a, b)| (*a..=*b).contains(&text[at])) != *negated
                        }
                        Token::Run | Token::Deep | Token::Folders => false,
                    };
                    next[at + 1] = reach[at] && fits;
                }
            }
        }
        reach = next;
    }
    reach[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Glob::parse(pattern).unwrap().matches(path)
    }

    #[test]
    fn a_pattern_without_slash_looks_at_the_file_name_only() {
        assert!(matches("*.json", "2024/01/a.json"));
        assert!(matches("day-??.{json,csv}", "x/day-01.csv"));
        assert!(!matches("day-??.{json,csv}", "x/day-001.csv"));
        assert!(matches("[a-c]*", "bx"));
        assert!(!matches("[!a-c]*", "bx"));
    }

    #[test]
    fn a_pattern_with_slash_looks_at_the_whole_path() {
        assert!(matches("2024/*/a.json", "2024/01/a.json"));
        assert!(!matches("2024/*/a.json", "2024/01/02/a.json"));
        assert!(matches("2024/**/a.json", "2024/01/02/a.json"));
        assert!(matches("**/a.json", "a.json"));
        assert!(!matches("**/a.json", "x/ba.json"));
    }

    #[test]
    fn a_pattern_with_an_open_bracket_is_refused() {
        assert!(Glob::parse("[a").is_err());
        assert!(Glob::parse("{a,b").is_err());
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)));
    }
}
