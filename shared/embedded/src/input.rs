//! Records from a file or from standard input, shared out over logs.
//!
//! ```text
//! file ─ (gunzip | unzstd) ─▶ blocks of SPLIT_BYTES:  │  0  │  1  │  2  │  3  │  4  │ …
//!                             3 logs:                  log 0 log 1 log 2 log 0 log 1
//! ```
//!
//! # Invariants
//! 1. A record's position is the offset at which its line begins in the decompressed bytes, and
//!    its log is the block in which it begins, modulo the number of logs. Both depend on the
//!    bytes alone, so that a later run gives the same record to the same log at the same position.
//! 2. Within a log, records come by rising position.
//! 3. What is held in memory is bounded by one block and one record, however long a line is.
//!
//! Lines end with `\n` or `\r\n`; empty lines are no records; a byte order mark is skipped. The
//! last line of an input that has ended needs no `\n`.
//!
//! Not here: what is in a line (`flow::decode`); who remembers the positions (`flow::append`).

mod error;
mod lines;
mod source;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use tidemill_flow::decode::RawBatch;
use tidemill_model::limits::RECORD_BYTES_MAX;
use tidemill_model::{Position, WallMs};

pub use error::InputError;
pub use lines::Head;
use lines::{Cut, Lines};
use source::{Filled, Source};

/// Bytes after which records go to the next log. Part of what positions mean: with another size a
/// stored position would belong to another log.
pub const SPLIT_BYTES: u64 = 1024 * 1024;

/// What to read, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSpec {
    /// Where the bytes come from.
    pub path: InputPath,
    /// Whether the first line names the fields (CSV) and is no record.
    pub csv_header: bool,
    /// How many logs the records are shared out over.
    pub shards: NonZeroUsize,
    /// Whether a plain file may still grow: its end is no end, and a last line without `\n` is not
    /// yet a record. Compressed files and pipes end when they end.
    pub follow: bool,
}

/// Where bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputPath {
    /// Standard input.
    Stdin,
    /// A file or a named pipe.
    File(PathBuf),
}

impl InputPath {
    /// `-` is standard input, all else is a path.
    pub fn parse(text: &str) -> InputPath {
        match text {
            "-" => InputPath::Stdin,
            path => InputPath::File(path.into()),
        }
    }
}

impl std::fmt::Display for InputPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            InputPath::Stdin => f.write_str("-"),
            InputPath::File(path) => path.display().fmt(f),
        }
    }
}

/// What an input has next.
#[derive(Debug, Clone)]
pub enum Next {
    /// Records of one log, at least one.
    Records {
        /// The log: 0 to `shards` - 1.
        shard: usize,
        /// The records.
        batch: RawBatch,
    },
    /// Nothing now; ask again later.
    Nothing,
    /// Nothing any more.
    End,
}

/// How far an input has been read, in bytes of the file itself (compressed, if it is).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub read: u64,
    /// Bytes of the file; `None` for pipes.
    pub total: Option<u64>,
}

/// An open input.
#[derive(Debug)]
pub struct Input {
    source: Source,
    lines: Lines,
    state: State,
}

#[derive(Debug)]
enum State {
    Reading,
    /// The source has nothing now: whole lines are handed out without waiting for a whole block.
    Paused,
    Ended,
    /// The source broke: whole lines are handed out, then the error.
    Broken(InputError),
}

/// Sizes that tests make small.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    split_bytes: u64,
    record_bytes_max: usize,
}

impl Input {
    /// Opens an input. Of a regular file the beginning is read at once, so that [`Input::head`] is
    /// known if there is enough of it; a pipe is not waited for.
    pub fn open(spec: &InputSpec) -> Result<Input, InputError> {
        let bounds = Bounds { split_bytes: SPLIT_BYTES, record_bytes_max: RECORD_BYTES_MAX };
        Input::open_with(spec, bounds)
    }

    fn open_with(spec: &InputSpec, bounds: Bounds) -> Result<Input, InputError> {
        Input::of_source(Source::open(&spec.path, spec.follow)?, spec, bounds)
    }

    fn of_source(source: Source, spec: &InputSpec, bounds: Bounds) -> Result<Input, InputError> {
        let lines = Lines::new(spec.path.clone(), spec.shards, spec.csv_header, bounds);
        let mut input = Input { source, lines, state: State::Reading };
        if !input.source.may_block() {
            while !input.lines.find_head(input.cut())? && matches!(input.state, State::Reading) {
                input.fill();
            }
            if matches!(input.state, State::Paused) {
                input.state = State::Reading;
            }
        }
        Ok(input)
    }

    /// What stands before the records. `None` until enough has been read; known before the first
    /// [`Next::Records`] and [`Next::End`].
    pub fn head(&self) -> Option<&Head> {
        self.lines.head()
    }

    /// Leaves out the records that the logs already have: those at or before `after[shard]`. Called
    /// at most once, before the first [`Input::next_chunk`], with one position for each log. A
    /// plain file is read from the least of the positions on.
    ///
    /// That the positions are those of records of this very input is checked while reading:
    /// [`InputError::Changed`].
    pub fn resume_after(&mut self, after: &[Position]) -> Result<(), InputError> {
        if let Some(offset) = self.lines.resume_after(after)
            && self.source.seek_to_line(offset)?
        {
            self.lines.restart_at(offset);
            self.state = State::Reading;
        }
        Ok(())
    }

    /// The next records of some log, all with this arrival time. Reads from the source, and waits
    /// for a pipe no longer than a tenth of a second.
    pub fn next_chunk(&mut self, arrival: WallMs) -> Result<Next, InputError> {
        loop {
            let cut = self.cut();
            if self.lines.find_head(cut)?
                && let Some((shard, batch)) = self.lines.take(cut, arrival)?
            {
                if let State::Paused = self.state {
                    self.state = State::Reading;
                }
                return Ok(Next::Records { shard, batch });
            }
            match &self.state {
                State::Reading => self.fill(),
                State::Paused => {
                    self.state = State::Reading;
                    return Ok(Next::Nothing);
                }
                State::Ended => {
                    self.lines.check_resumed()?;
                    return Ok(Next::End);
                }
                State::Broken(error) => return Err(error.clone()),
            }
        }
    }

    /// How far the input has been read.
    pub fn progress(&self) -> Progress {
        self.source.progress()
    }

    fn cut(&self) -> Cut {
        match self.state {
            State::Reading => Cut::WholeBlock,
            State::Paused | State::Broken(_) => Cut::WholeLines,
            State::Ended => Cut::All,
        }
    }

    fn fill(&mut self) {
        let bytes = self.lines.wanted();
        match self.source.fill(self.lines.buffer(), bytes) {
            Ok(Filled::Bytes) => {}
            Ok(Filled::Nothing) => self.state = State::Paused,
            Ok(Filled::End) => self.state = State::Ended,
            Err(broken) => {
                let error = self.source.error(broken, self.lines.read_to());
                self.state = State::Broken(error);
            }
        }
    }
}
