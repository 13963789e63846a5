//! Which rows of a key are kept between ticks: those that a row to come, or one that waits, may see.
//!
//! # Invariants
//! 1. What is not needed at a watermark is not needed at a later one.
//! 2. Of what ROWS frames and LAG count, all rows from the first that is needed on are kept.
//!
//! Not here: what functions make of the rows (`framed`).

use tidemill_plan::{OverCall, OverFunction, Sight};

/// Which rows a later row may see: of each function the furthest, in order of what they need.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// RANGE: functions that look back from rows to come, and from rows that wait; milliseconds.
    ranges: [Option<i64>; 2],
    /// ROWS: how many rows, by whether the key ends after a silence and whether rows wait.
    rows: [[u64; 2]; 2],
    /// LAG … IGNORE NULLS: argument, how many values, whether the key ends.
    valid: Vec<(usize, u64, bool)>,
}

impl Needs {
    pub(super) fn of(functions: &[OverFunction]) -> Needs {
        let mut needs = Needs::default();
        for function in functions {
            let ahead = usize::from(function.sight.looks_ahead());
            if let OverCall::Shift { argument, back, ignore_nulls: true, .. } = &function.call {
                needs.valid.push((*argument, (*back).max(0) as u64, function.ends));
                continue;
            }
            match function.sight {
                Sight::Range { from, .. } => {
                    let least = needs.ranges[ahead].map_or(from, |least| least.min(from));
                    needs.ranges[ahead] = Some(least);
                }
                Sight::Rows { from, .. } => {
                    let rows = &mut needs.rows[usize::from(function.ends)][ahead];
                    *rows = (*rows).max(from.saturating_neg().max(0) as u64);
                }
                Sight::Running { .. } => {}
            }
        }
        needs
    }
}

/// What is known of a key while rows are judged, from the last to the first.
#[derive(Debug, Clone)]
pub(super) struct KeyNeeds {
    /// Whether a row to come can go on with what is kept.
    pub(super) goes_on: bool,
    /// The run that rows to come go on with.
    pub(super) run: i64,
    /// Event time and run of the first row that waits.
    pub(super) first_waiting: Option<(i64, i64)>,
    /// Rows behind, all and those that wait for nothing.
    behind: u64,
    settled: u64,
    /// Values behind, by LAG … IGNORE NULLS.
    valid: Vec<u64>,
}

impl KeyNeeds {
    pub(super) fn new(goes_on: bool, run: i64) -> KeyNeeds {
        let valid = Vec::new();
        KeyNeeds { goes_on, run, first_waiting: None, behind: 0, settled: 0, valid }
    }

    /// Whether a row of the key is needed; rows are asked for from the last to the first.
    pub(super) fn needs(
        &mut self,
        needs: &Needs,
        watermark: i64,
        (time, run, waits): (i64, i64, bool),
        is_valid: impl Fn(usize) -> bool,
    ) -> bool {
        if watermark == i64::MAX {
            return waits;
        }
        let mut needed = waits;
        let reaches = |from: i64, least: i64| time >= least.saturating_add(from);
        let [to_come, waiting] = needs.ranges;
        needed |= to_come.is_some_and(|from| reaches(from, watermark));
        let least = self.first_waiting.map_or(watermark, |(time, _)| time.min(watermark));
        needed |= waiting.is_some_and(|from| reaches(from, least));
        for ends in [false, true] {
            let lives = !ends || (self.goes_on && run == self.run);
            let of_waiting = match self.first_waiting {
                Some((_, of_waiting)) => !ends || run == of_waiting,
                None => lives,
            };
            let [to_come, waiting] = needs.rows[usize::from(ends)];
            needed |= lives && self.behind < to_come;
            needed |= of_waiting && self.settled < waiting;
        }
        self.valid.resize(needs.valid.len(), 0);
        for ((argument, count, ends), seen) in needs.valid.iter().zip(&mut self.valid) {
            if is_valid(*argument) {
                let lives = !ends || (self.goes_on && run == self.run);
                needed |= lives && *seen < *count;
                *seen += 1;
            }
        }
        self.behind += 1;
        self.settled += u64::from(!waits);
        needed
    }
}
