//! Results for people: one line a row, as windows close.
//!
//! ```text
//! mean_delay  2013-01-01 05:00 – 06:00  origin=EWR  mean_delay=4.5
//! ```
//!
//! The columns `window_start` and `window_end` become the window; the others follow in the query's
//! order. Columns are aligned within what was printed so far.

mod text;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use async_trait::async_trait;
use tidemill_flow::ports::{Emission, QueryResults, Sink, SinkError, Taken};

use super::{OutputState, down};

/// Dead letters of one epoch that are printed; the rest is only counted.
const DEAD_LETTERS_MAX: usize = 3;
/// Widest that a column is padded to, characters; a longer value moves the rest of its line.
const PAD_MAX: usize = 48;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrinterStyle {
    /// Whether to use the terminal's colours.
    pub colours: bool,
    /// Rows of one query and epoch that are printed; the rest is only counted. `None`: all.
    pub rows_max: Option<usize>,
}

/// The sink that prints.
pub struct PrinterSink {
    out: Box<dyn Write + Send>,
    style: PrinterStyle,
    name_width: usize,
    /// Widest value so far, by query and column; the window is column 0.
    widths: BTreeMap<String, Vec<usize>>,
}

impl PrinterSink {
    /// A sink that prints the results of `queries` to `out`.
    pub fn new<'a>(
        out: Box<dyn Write + Send>,
        style: PrinterStyle,
        queries: impl IntoIterator<Item = &'a str>,
    ) -> PrinterSink {
        let name_width = queries.into_iter().map(|name| name.chars().count()).max().unwrap_or(0);
        PrinterSink { out, style, name_width, widths: BTreeMap::new() }
    }

    fn rows(&mut self, results: &QueryResults, lines: &mut String) -> Result<(), ArrowError> {
        let count = results.batch.num_rows();
        let shown = self.style.rows_max.unwrap_or(count).min(count);
        // The newest: results are in the order of their windows.
        let rows = cells(&results.batch.slice(count - shown, shown))?;
        if shown < count {
            let name = format!("{:1$}", results.query, self.name_width);
            let name = self.style.paint(Paint::Name, &name);
            let _ = writeln!(lines, "{name}  … {} earlier rows of {count}", count - shown);
        }
        let widths = self.widths.entry(results.query.clone()).or_default();
        for row in &rows {
            widths.resize(row.len().max(widths.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                if cell.width() <= PAD_MAX {
                    *width = (*width).max(cell.width());
                }
            }
        }
        for row in &rows {
            let name = format!("{:1$}", results.query, self.name_width);
            lines.push_str(&self.style.paint(Paint::Name, &name));
            for (cell, width) in row.iter().zip(widths.iter()) {
                lines.push_str("  ");
                let pad = width.saturating_sub(cell.width());
                match cell {
                    Cell::Window(window) => lines.push_str(&self.style.paint(Paint::Faint, window)),
                    Cell::Value { column, value } => {
                        lines.push_str(&self.style.paint(Paint::Faint, &format!("{column}=")));
                        lines.push_str(value);
                    }
                }
                lines.extend(std::iter::repeat_n(' ', pad));
            }
            lines.truncate(lines.trim_end().len());
            lines.push('\n');
        }
        Ok(())
    }

    fn dead_letters(&self, emission: &Emission, lines: &mut String) {
        let name = format!("{:1$}", "dead letter", self.name_width);
        let name = self.style.paint(Paint::Dead, &name);
        let records = emission.dead_letters.iter().map(text::dead_letter);
        let failed = emission.failed.iter().map(text::failed);
        let all = records.chain(failed).chain(emission.rejected.iter().map(text::rejected));
        for letter in all.take(DEAD_LETTERS_MAX) {
            let _ = writeln!(lines, "{name}  {letter}");
        }
        let count = emission.letters().count();
        if count > DEAD_LETTERS_MAX {
            let _ = writeln!(lines, "{name}  and {} more", count - DEAD_LETTERS_MAX);
        }
    }
}

#[async_trait]
impl Sink for PrinterSink {
    async fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError> {
        let mut lines = String::new();
        for results in &emission.results {
            self.rows(results, &mut lines).map_err(down)?;
        }
        self.dead_letters(emission, &mut lines);
        let written = self.out.write_all(lines.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|error| down(format!("standard output: {error}")))?;
        OutputState::Stdout.encode().map(Taken::all)
    }
}

/// One part of a line.
enum Cell {
    Window(String),
    Value { column: String, value: String },
}

impl Cell {
    fn width(&self) -> usize {
        match self {
            Cell::Window(window) => window.chars().count(),
            Cell::Value { column, value } => column.chars().count() + 1 + value.chars().count(),
        }
    }
}

fn cells(batch: &RecordBatch) -> Result<Vec<Vec<Cell>>, ArrowError> {
    let schema = batch.schema();
    let start = schema.index_of("window_start").ok();
    let end = schema.index_of("window_end").ok();
    let window = start.zip(end).and_then(|(start, end)| {
        Some((text::times(batch.column(start))?, text::times(batch.column(end))?))
    });
    let in_window = |index: usize| window.is_some() && (Some(index) == start || Some(index) == end);
    let columns: Vec<_> = (0..batch.num_columns())
        .filter(|index| !in_window(*index))
        .map(|index| Ok((schema.field(index).name(), text::column(batch.column(index))?)))
        .collect::<Result<_, ArrowError>>()?;
    Ok((0..batch.num_rows())
        .map(|row| {
            let window = window
                .as_ref()
                .map(|(start, end)| Cell::Window(text::window(start[row], end[row])));
            let values = columns.iter().map(|(name, values)| Cell::Value {
                column: (*name).clone(),
                value: values[row].clone(),
            });
            window.into_iter().chain(values).collect()
        })
        .collect())
}

#[derive(Clone, Copy)]
enum Paint {
    Name,
    Faint,
    Dead,
}

impl PrinterStyle {
    fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Name => "36",
            Paint::Faint => "2",
            Paint::Dead => "33",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

#[cfg(test)]
mod tests;
