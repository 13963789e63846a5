//! What the processes of a test said, for when it fails.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Lines that are kept of each function.
const LINES_MAX: usize = 4_000;

/// The newest lines of one function's processes. Clones share them.
#[derive(Clone)]
pub struct Logs {
    name: Arc<str>,
    started: Instant,
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Logs {
    /// No lines yet.
    pub fn new(name: &str) -> Logs {
        Logs { name: name.into(), started: Instant::now(), lines: Arc::default() }
    }

    /// Notes a line of process `process`.
    pub fn note(&self, process: u32, line: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        let mut lines = self.lines.lock().expect("no panic while held");
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(format!("{seconds:8.3} {}#{process} {line}", self.name));
    }

    /// Notes everything that can be read, line by line, until the end.
    pub fn note_all(&self, process: u32, from: impl Read) {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { return };
            self.note(process, &String::from_utf8_lossy(&line));
        }
    }

    /// The newest `count` lines.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines.lock().expect("no panic while held");
        let skipped = lines.len().saturating_sub(count);
        lines.iter().skip(skipped).map(|line| format!("{line}\n")).collect()
    }

    /// Lines that hold `text`.
    pub fn matching(&self, text: &str) -> Vec<String> {
        let lines = self.lines.lock().expect("no panic while held");
        lines.iter().filter(|line| line.contains(text)).cloned().collect()
    }
}
