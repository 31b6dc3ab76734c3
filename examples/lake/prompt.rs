//! SQL: one statement, or one after the other.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Result;
use boathouse::delta::DeltaSession;

use crate::output::print_frame;
use crate::place::{Place, Working};
use crate::{Printed, one_line};

#[derive(clap::Args)]
pub(crate) struct Sql {
    /// The statement. Tables are named by their path: delta.`/data/flights`.
    statement: Option<String>,
    /// Where tables go that are created without a LOCATION.
    #[arg(long)]
    warehouse: Option<String>,
    #[command(flatten)]
    printed: Printed,
}

impl Sql {
    pub(crate) async fn run(self, place: &Place) -> Result<()> {
        let session = match &self.warehouse {
            Some(path) => place.session().with_warehouse(path)?,
            None => place.session(),
        };
        match &self.statement {
            Some(statement) => self.one(&session, statement).await,
            None => self.prompt(&session).await,
        }
    }

    async fn one(&self, session: &DeltaSession, statement: &str) -> Result<()> {
        let frame = {
            let _working = Working::on("running");
            session.query(statement).await?
        };
        print_frame(frame, self.printed.format).await
    }

    /// Statements from standard input. On a terminal an error is shown, and it goes on; a script ends with it.
    async fn prompt(&self, session: &DeltaSession) -> Result<()> {
        let input = std::io::stdin();
        let is_terminal = input.is_terminal();
        let mut statement = String::new();
        loop {
            if is_terminal {
                let mark = if statement.trim().is_empty() { "lake> " } else { "   -> " };
                let mut out = std::io::stderr();
                write!(out, "{mark}")?;
                out.flush()?;
            }
            let mut line = String::new();
            let at_end = input.lock().read_line(&mut line)? == 0;
            if statement.trim().is_empty() && matches!(line.trim(), "quit" | "exit" | "quit;" | "exit;") {
                return Ok(());
            }
            statement.push_str(&line);
            if at_end {
                // On a line of its own: the last one may be a comment.
                statement.push_str("\n;");
            }
            while let Some(end) = end_of_statement(&statement) {
                let rest = statement.split_off(end + 1);
                let whole = std::mem::replace(&mut statement, rest);
                if whole.trim().trim_end_matches(';').trim().is_empty() {
                    continue;
                }
                match self.one(session, whole.trim_start()).await {
                    Err(error) if is_terminal => eprintln!("lake: {}", one_line(&error)),
                    done => done?,
                }
            }
            if at_end {
                // A text or comment without an end: whoever reads statements says so.
                return if statement.trim().is_empty() { Ok(()) } else { self.one(session, statement.trim()).await };
            }
        }
    }
}

/// Where the first semicolon stands that is in no text, no quoted name and no comment.
fn end_of_statement(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(next) = text.get(from..)?.find([';', '\'', '"', '`', '-', '/']) {
        let at = from + next;
        let rest = &text[at..];
        // What ends the text, the name or the comment that begins here; a quote that is doubled ends it, and begins it again.
        let end = match rest.as_bytes() {
            [b';', ..] => return Some(at),
            [quote @ (b'\'' | b'"' | b'`'), ..] => char::from(*quote).to_string(),
            [b'-', b'-', ..] => "\n".to_owned(),
            [b'/', b'*', ..] => "*/".to_owned(),
            _ => {
                from = at + 1;
                continue;
            }
        };
        let begin = if end.len() == 2 { 2 } else { 1 };
        from = at + begin + rest.get(begin..)?.find(&end)? + end.len();
    }
    None
}
