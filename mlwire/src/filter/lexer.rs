//! Characters → tokens with positions.

/// A token and where it begins, counted in characters from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Letters, digits and `_ - / : @ + .` in one piece: a key word, a number, or a part of a key.
    Word(String),
    /// `'…'`
    Single(String),
    /// `"…"`
    Double(String),
    /// `` `…` ``
    Back(String),
    /// `=`, `!=`, `<`, `<=`, `>`, `>=`, `(`, `)`, `,`
    Mark(&'static str),
    /// A quote that is never closed.
    Unclosed(char),
    /// A character that has no meaning here.
    Other(char),
    /// The end of the text.
    End,
}

impl Kind {
    /// The token in a message.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(w) => format!("`{w}`"),
            Self::Single(s) => format!("'{s}'"),
            Self::Double(s) => format!("\"{s}\""),
            Self::Back(s) => format!("`{s}`"),
            Self::Mark(m) => format!("`{m}`"),
            Self::Unclosed(c) => format!("a quote {c} that is never closed"),
            Self::Other(c) => format!("`{c}`"),
            Self::End => "the end of the text".to_owned(),
        }
    }
}

const MARKS: [&str; 9] = ["!=", "<=", ">=", "=", "<", ">", "(", ")", ","];

/// All tokens of `text`; the last one is [`Kind::End`]. Touching tokens (`tags.` and a quoted key) stay apart here.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut i = 0;
    while let Some(&c) = chars.get(i) {
        let at = i + 1;
        if c.is_whitespace() {
            i += 1;
            continue;
        }
        let kind = match c {
            '\'' | '"' | '`' => match quoted(&chars, i) {
                Some((value, end)) => {
                    i = end;
                    match c {
                        '\'' => Kind::Single(value),
                        '"' => Kind::Double(value),
                        _ => Kind::Back(value),
                    }
                }
                None => {
                    i = chars.len();
                    Kind::Unclosed(c)
                }
            },
            c if is_word(c) => {
                let word: String = chars.iter().skip(i).take_while(|c| is_word(**c)).collect();
                i += word.chars().count();
                Kind::Word(word)
            }
            c => {
                let two: String = chars.iter().skip(i).take(2).collect();
                match MARKS.iter().find(|m| two.starts_with(**m)) {
                    Some(mark) => {
                        i += mark.len();
                        Kind::Mark(mark)
                    }
                    None => {
                        i += 1;
                        Kind::Other(c)
                    }
                }
            }
        };
        tokens.push(Token { at, kind });
    }
    tokens.push(Token { at: chars.len() + 1, kind: Kind::End });
    tokens
}

/// The text between the quote at `start` and its partner, and the index after it. A doubled quote stands for itself.
fn quoted(chars: &[char], start: usize) -> Option<(String, usize)> {
    let quote = *chars.get(start)?;
    let mut value = String::new();
    let mut i = start + 1;
    loop {
        let c = *chars.get(i)?;
        if c != quote {
            value.push(c);
            i += 1;
        } else if chars.get(i + 1) == Some(&quote) {
            value.push(quote);
            i += 2;
        } else {
            return Some((value, i + 1));
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | ':' | '@' | '+' | '.')
}
