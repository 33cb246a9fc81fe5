//! The one place that prints: JSON or plain lines on stdout, errors, colour, closed pipes.
//!
//! A reader that goes away (`| head`) is not a failure: the first write that finds the pipe closed
//! marks the output as closed, and the command ends quietly.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::shape::{Failed, Reason};
use crate::error::{Error, ErrorKind};

/// Where a command prints.
pub(crate) struct Out {
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    json: bool,
    colour: bool,
    terminal: bool,
    closed: bool,
}

impl Out {
    /// The process's own streams.
    pub(crate) fn stdout(json: bool) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = !no_colour && io::stderr().is_terminal();
        Self {
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
            json,
            colour,
            terminal: io::stderr().is_terminal(),
            closed: false,
        }
    }

    #[cfg(test)]
    pub(crate) fn to(
        stdout: impl Write + Send + 'static,
        stderr: impl Write + Send + 'static,
        json: bool,
    ) -> Self {
        Self {
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            json,
            colour: false,
            terminal: false,
            closed: false,
        }
    }

    /// Whether to print JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether the reader of stdout went away.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// One JSON document on its own line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string(value).map_err(|error| {
            Error::new(
                ErrorKind::Internal,
                "the result can't be written as JSON",
                "report this as a bug",
            )
            .with_source(error)
        })?;
        self.line(&text)
    }

    /// One line for a person.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Error> {
        // Flushed by line: a program that follows must see it now.
        let written = writeln!(self.stdout, "{text}").and_then(|()| self.stdout.flush());
        written.map_err(|error| {
            self.closed = error.kind() == io::ErrorKind::BrokenPipe;
            Error::new(
                ErrorKind::Internal,
                format!("can't write the output: {error}"),
                "check where it is redirected to",
            )
            .with_source(error)
        })
    }

    /// Rows under headings, columns aligned, two spaces between them.
    pub(crate) fn table<const N: usize>(
        &mut self,
        heads: [&str; N],
        rows: &[[String; N]],
    ) -> Result<(), Error> {
        let mut widths = heads.map(|head| head.chars().count());
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        self.line(&aligned(&heads, &widths))?;
        for row in rows {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            self.line(&aligned(&cells, &widths))?;
        }
        Ok(())
    }

    /// A remark beside the result, never mixed into it.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.json {
            // Nobody left to tell if stderr is gone.
            let _ = writeln!(self.stderr, "{text}");
        }
    }

    /// What a longer wait is for: only where a person watches.
    pub(super) fn progress(&mut self, text: &str) {
        if self.terminal {
            self.note(text);
        }
    }

    /// An error: two lines on stderr, or one JSON document on stdout.
    pub(crate) fn error(&mut self, error: &Error) {
        if self.json {
            let reason = Reason {
                code: error.code(),
                message: error.message(),
                fix: error.fix(),
            };
            // If this can't be written either, the exit code is what is left.
            let _ = self.json(&Failed { error: reason });
            return;
        }
        let (red, bold, end) = if self.colour {
            ("\x1b[31m", "\x1b[1m", "\x1b[0m")
        } else {
            ("", "", "")
        };
        let _ = writeln!(self.stderr, "{red}error:{end} {}", error.message());
        let _ = writeln!(self.stderr, "{bold}fix:{end} {}", error.fix());
    }
}

/// Text from elsewhere on a terminal: line breaks and tabs stay, other control characters are
/// shown instead of obeyed.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        // Bidirectional overrides and marks can make a line read as another.
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match c {
            '\n' | '\t' => shown.push(c),
            c if c.is_control() || turns => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
        shown
    })
}

fn aligned(cells: &[&str], widths: &[usize]) -> String {
    let line = cells
        .iter()
        .zip(widths)
        .fold(String::new(), |line, (cell, width)| {
            let pad = width.saturating_sub(cell.chars().count());
            format!("{line}{cell}{:pad$}  ", "")
        });
    line.trim_end().to_owned()
}
