//! Where each row of a batch falls: its slice, or its stretch of a session.

use arrow::array::UInt32Array;
use tidemill_model::{EventMs, Slice, WindowShape};

use crate::decode::Decoded;

/// The rows of a lower plan's output, sorted into those that are combined and those that are
/// shipped alone. A row that falls in no window is in neither.
pub(super) struct Placed {
    /// Rows to combine, rising.
    pub(super) together: Vec<u32>,
    /// For each row of `together` its slice's start.
    pub(super) starts: Vec<i64>,
    /// Rows to ship alone, rising: a window of theirs may have closed.
    pub(super) alone: Vec<u32>,
    /// For each row of `alone` its slice.
    pub(super) slices: Vec<Slice>,
}

impl Placed {
    pub(super) fn new(
        shape: &WindowShape,
        takes_ms: i64,
        decoded: &Decoded,
        rows: &UInt32Array,
        reaches: &[i64],
        seen: Option<EventMs>,
    ) -> Placed {
        let mut placed = Placed {
            together: Vec::with_capacity(rows.len()),
            starts: Vec::with_capacity(rows.len()),
            alone: Vec::new(),
            slices: Vec::new(),
        };
        let session = matches!(shape, WindowShape::Session { .. });
        // Neighbours in a stream mostly share their slice.
        let mut last: Option<(Slice, bool)> = None;
        for (index, row) in rows.values().iter().enumerate() {
            let time = decoded.event_times[*row as usize];
            let known = last.filter(|(it, _)| !session && it.start <= time && time < it.end);
            let found = known.or_else(|| {
                let slice = match reaches.get(index) {
                    // A session's slice is what the event alone would make of it.
                    Some(reach) => Slice { start: time, end: shape.slice_of(EventMs(*reach))?.end },
                    None => shape.slice_of(time)?,
                };
                let closes = shape.first_end(slice).plus(takes_ms);
                Some((slice, seen.is_some_and(|seen| closes <= seen)))
            });
            let Some((slice, behind)) = found else { continue };
            last = found;
            if behind {
                placed.alone.push(index as u32);
                placed.slices.push(slice);
            } else {
                placed.together.push(index as u32);
                placed.starts.push(slice.start.0);
            }
        }
        placed
    }
}

/// Stretches of events of one key that lie at most a gap apart.
pub(super) struct Fragments {
    /// For each row its fragment.
    pub(super) of_row: Vec<usize>,
    /// For each fragment its key's number.
    pub(super) group: Vec<u32>,
    /// For each fragment its first event time.
    pub(super) first: Vec<i64>,
    /// For each fragment its furthest reach: with one gap for all, its last event time.
    pub(super) last: Vec<i64>,
}

/// Cuts the rows of each of `groups` keys into fragments. An event exactly `gap_ms` after the
/// furthest reach of those before joins.
pub(super) fn fragments(
    numbers: &[usize],
    times: &[i64],
    reaches: &[i64],
    groups: usize,
    gap_ms: i64,
) -> Fragments {
    let order = by_group_and_time(numbers, times, groups);
    let mut cut = Fragments {
        of_row: vec![0; numbers.len()],
        group: Vec::new(),
        first: Vec::new(),
        last: Vec::new(),
    };
    for row in order {
        let (group, time) = (numbers[row as usize] as u32, times[row as usize]);
        let reach = reaches[row as usize];
        let joins = match (cut.group.last(), cut.last.last()) {
            (Some(last_group), Some(last)) => {
                *last_group == group && time.saturating_sub(*last) <= gap_ms
            }
            _ => false,
        };
        if joins {
            if let Some(last) = cut.last.last_mut() {
                *last = (*last).max(reach);
            }
        } else {
            cut.group.push(group);
            cut.first.push(time);
            cut.last.push(reach);
        }
        cut.of_row[row as usize] = cut.group.len() - 1;
    }
    cut
}

/// Rows by (group, time): a counting sort by group, then by time only where a group's rows are
/// not in time order already, as they mostly are.
fn by_group_and_time(numbers: &[usize], times: &[i64], groups: usize) -> Vec<u32> {
    let mut starts = vec![0usize; groups + 1];
    for number in numbers {
        starts[number + 1] += 1;
    }
    for group in 0..groups {
        starts[group + 1] += starts[group];
    }
    let mut order = vec![0u32; numbers.len()];
    let mut next = starts.clone();
    for (row, number) in numbers.iter().enumerate() {
        order[next[*number]] = row as u32;
        next[*number] += 1;
    }
    for group in starts.windows(2) {
        let rows = &mut order[group[0]..group[1]];
        if !rows.is_sorted_by_key(|row| times[*row as usize]) {
            rows.sort_by_key(|row| (times[*row as usize], *row));
        }
    }
    order
}
