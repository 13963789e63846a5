//! The lines of a file, over and over if that is wanted.

use std::num::NonZeroUsize;
use std::path::Path;

use miette::Report;
use tidemill_embedded::input::{Input, InputPath, InputSpec, Next};
use tidemill_flow::decode::RawBatch;

use crate::clock;
use crate::problem::Problem;

/// What comes next.
pub(super) enum Line {
    /// A line without its end, and whether it is the first of the file.
    Record { line: Vec<u8>, is_first: bool },
    /// Nothing yet.
    Wait,
    /// Nothing any more.
    End,
}

/// Reads lines.
pub(super) struct Lines {
    spec: InputSpec,
    input: Input,
    repeat: bool,
    batch: Option<(RawBatch, usize)>,
    is_first: bool,
    read_before: u64,
}

impl Lines {
    pub(super) fn open(file: &Path, repeat: bool) -> Result<Lines, Report> {
        let path = InputPath::parse(&file.display().to_string());
        if repeat && path == InputPath::Stdin {
            return Err(Problem::new(
                "stdin cannot be repeated",
                "name a file, or leave --repeat out",
            )
            .into());
        }
        let spec = InputSpec { path, csv_header: false, shards: NonZeroUsize::MIN, follow: false };
        let input = Input::open(&spec).map_err(Problem::plain)?;
        Ok(Lines { spec, input, repeat, batch: None, is_first: true, read_before: 0 })
    }

    /// The next line. Waits for nothing.
    pub(super) fn next(&mut self) -> Result<Line, Report> {
        loop {
            if let Some((batch, next)) = &mut self.batch {
                if *next < batch.records.len() {
                    let line = batch.bytes_of(*next).to_vec();
                    *next += 1;
                    let is_first = std::mem::take(&mut self.is_first);
                    return Ok(Line::Record { line, is_first });
                }
                self.batch = None;
            }
            match self.input.next_chunk(clock::now()).map_err(Problem::plain)? {
                Next::Records { batch, .. } => {
                    if let Some(cut) = batch.cut.first() {
                        return Err(too_long(cut.length).into());
                    }
                    self.batch = Some((batch, 0));
                }
                Next::Nothing => return Ok(Line::Wait),
                // A file without a line is not read over and over.
                Next::End if self.repeat && !self.is_first => {
                    self.read_before += self.input.progress().read;
                    self.input = Input::open(&self.spec).map_err(Problem::plain)?;
                    self.is_first = true;
                }
                Next::End => return Ok(Line::End),
            }
        }
    }

    /// Bytes of the file that were read, over all passes.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read_before + self.input.progress().read
    }

    /// Bytes of all that will be read; `None` when nobody knows.
    pub(super) fn bytes_total(&self) -> Option<u64> {
        self.input.progress().total.filter(|_| !self.repeat)
    }
}

fn too_long(bytes: u64) -> Problem {
    Problem::new(
        format!("a line has {bytes} bytes, more than any record may have"),
        "leave it out, or cut it into smaller ones",
    )
}
