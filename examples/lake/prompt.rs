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
                statement.push(';');
            }
            while let Some(end) = end_of_statement(&statement) {
                let rest = statement.split_off(end + 1);
                let whole = std::mem::replace(&mut statement, rest);
                if whole.trim().trim_end_matches(';').trim().is_empty() {
                    continue;
                }
                match self.one(session, &whole).await {
                    Err(error) if is_terminal => eprintln!("lake: {}", one_line(&error)),
                    done => done?,
                }
            }
            if at_end {
                return Ok(());
            }
        }
    }
}

/// Where the first semicolon stands that is in no text, no quoted name and no comment.
fn end_of_statement(text: &str) -> Option<usize> {
    let mut inside: Option<u8> = None;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match (inside, byte) {
            (None, b';') => return Some(at),
            (None, b'\'' | b'"' | b'`') => inside = Some(*byte),
            (None, b'-') if bytes.get(at + 1) == Some(&b'-') => inside = Some(b'\n'),
            // A quote that is doubled ends the text, and begins it again.
            (Some(end), byte) if end == *byte => inside = None,
            _ => {}
        }
    }
    None
}
