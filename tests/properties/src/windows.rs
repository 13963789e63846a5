//! Windows by their definition: the oracle's side. Nothing here knows of slices.

use std::collections::BTreeMap;

use crate::script::Merged;

/// A window function with its arguments, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Windows {
    /// TUMBLE.
    Tumble {
        /// Length.
        size: i64,
        /// Shift.
        offset: i64,
    },
    /// HOP.
    Hop {
        /// Distance of two starts.
        slide: i64,
        /// Length.
        size: i64,
        /// Shift.
        offset: i64,
    },
    /// CUMULATE.
    Cumulate {
        /// Distance of two ends.
        step: i64,
        /// Length of the longest.
        size: i64,
        /// Shift.
        offset: i64,
    },
    /// SESSION.
    Session {
        /// Longest silence.
        gap: i64,
    },
}

/// How a window function is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// `TUMBLE(s, ts, INTERVAL …)`.
    Plain,
    /// `TABLE(TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL …))`.
    Flink,
    /// The same with `DATA =>`, `TIMECOL =>`, ….
    Named,
}

/// A window, [start, end).
pub type Span = (i64, i64);

impl Windows {
    /// The call, over `stream`, in SQL.
    pub fn to_sql(self, stream: &str, spelling: Spelling) -> String {
        let (name, arguments) = match self {
            Windows::Tumble { size, offset } => {
                ("TUMBLE", vec![("SIZE", size), ("OFFSET", offset)])
            }
            Windows::Hop { slide, size, offset } => {
                ("HOP", vec![("SLIDE", slide), ("SIZE", size), ("OFFSET", offset)])
            }
            Windows::Cumulate { step, size, offset } => {
                ("CUMULATE", vec![("STEP", step), ("SIZE", size), ("OFFSET", offset)])
            }
            Windows::Session { gap } => ("SESSION", vec![("GAP", gap)]),
        };
        let interval = |(name, ms): &(&str, i64)| match (spelling, ms % 1000) {
            (Spelling::Named, _) => format!("{name} => INTERVAL '{ms} milliseconds'"),
            (_, 0) if *ms > 0 => format!("INTERVAL '{}' SECOND", ms / 1000),
            _ => format!("INTERVAL '{ms} milliseconds'"),
        };
        let arguments = arguments.iter().filter(|(name, ms)| *name != "OFFSET" || *ms != 0);
        let arguments: Vec<String> = arguments.map(interval).collect();
        let arguments = arguments.join(", ");
        match spelling {
            Spelling::Plain => format!("{name}({stream}, ts, {arguments})"),
            Spelling::Flink => {
                format!("TABLE({name}(TABLE {stream}, DESCRIPTOR(ts), {arguments}))")
            }
            Spelling::Named => format!(
                "TABLE({name}(DATA => TABLE {stream}, TIMECOL => DESCRIPTOR(ts), {arguments}))"
            ),
        }
    }

    /// The windows that an event at `ts` is in, for windows of fixed length: all [start, end) with
    /// start ≤ ts < end, tried one after the other.
    pub fn containing(self, ts: i64) -> Vec<Span> {
        let starting = |slide: i64, offset: i64, size: i64| {
            let about = (ts - offset) / slide;
            let back = size / slide + 2;
            (about - back..=about + 2).map(move |k| k * slide + offset)
        };
        let contains = |window: &Span| window.0 <= ts && ts < window.1;
        match self {
            Windows::Tumble { size, offset } => starting(size, offset, size)
                .map(|start| (start, start + size))
                .filter(contains)
                .collect(),
            Windows::Hop { slide, size, offset } => starting(slide, offset, size)
                .map(|start| (start, start + size))
                .filter(contains)
                .collect(),
            Windows::Cumulate { step, size, offset } => starting(size, offset, size)
                .flat_map(|start| (1..=size / step).map(move |steps| (start, start + steps * step)))
                .filter(contains)
                .collect(),
            Windows::Session { .. } => panic!("a session's window depends on the other events"),
        }
    }
}

/// Which windows a record is in, and which it missed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    /// Windows that count the record.
    pub on_time: Vec<Span>,
    /// Windows that had closed.
    pub late: Vec<Span>,
}

/// Judges one record against windows of fixed length. `closed` is the watermark of the checkpoint
/// before the one that merged it.
pub fn judge(windows: Windows, grace: i64, ts: i64, closed: Option<i64>) -> Judged {
    let (late, on_time) = windows
        .containing(ts)
        .into_iter()
        .partition(|(_, end)| closed.is_some_and(|closed| end + grace <= closed));
    Judged { on_time, late }
}

/// Sessions of one key when nothing is late: sorted, cut where two neighbours are further apart
/// than the gap.
pub fn sessions(times: &[i64], gap: i64) -> Vec<Span> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let mut found: Vec<Span> = Vec::new();
    for time in sorted {
        match found.last_mut() {
            Some(last) if time - (last.1 - gap) <= gap => last.1 = time + gap,
            _ => found.push((time, time + gap)),
        }
    }
    found
}

/// A session while ticks go by.
#[derive(Debug, Clone)]
struct Session {
    events: Vec<(i64, i64)>,
    open: bool,
}

impl Session {
    fn span(&self, gap: i64) -> Span {
        let times = || self.events.iter().map(|(ts, _)| *ts);
        (times().min().unwrap(), times().max().unwrap() + gap)
    }
}

/// Sessions tick by tick, by their definition: in each tick the new records of a key join each
/// other and the open sessions, then a session without an open part is late if it had closed, then
/// sessions close. `keys` has each record's key by its id; records without a key are not looked at.
pub fn sessions_by_tick<K: Ord + Clone>(
    records: &[Merged],
    keys: &BTreeMap<i64, K>,
    gap: i64,
    grace: i64,
    watermarks: &[Option<i64>],
) -> BTreeMap<i64, Judged> {
    let mut judged: BTreeMap<i64, Judged> = BTreeMap::new();
    let mut open: BTreeMap<K, Vec<Session>> = BTreeMap::new();
    let mut closed: Option<i64> = None;
    for (tick, watermark) in watermarks.iter().enumerate() {
        for record in records.iter().filter(|record| record.tick == tick) {
            if let Some(key) = keys.get(&record.event.id) {
                let event = (record.event.ts, record.event.id);
                let alone = Session { events: vec![event], open: false };
                open.entry(key.clone()).or_default().push(alone);
            }
        }
        for sessions in open.values_mut() {
            sessions.sort_by_key(|session| session.span(gap));
            let mut joined: Vec<Session> = Vec::new();
            for session in sessions.drain(..) {
                let (start, _) = session.span(gap);
                match joined.last_mut() {
                    Some(last) if start <= last.span(gap).1 => {
                        last.events.extend(session.events);
                        last.open |= session.open;
                    }
                    _ => joined.push(session),
                }
            }
            for mut session in joined {
                let span = session.span(gap);
                if !session.open && closed.is_some_and(|closed| span.1 + grace < closed) {
                    for (_, id) in session.events {
                        judged.entry(id).or_default().late.push(span);
                    }
                } else if watermark.is_some_and(|watermark| span.1 + grace < watermark) {
                    for (_, id) in session.events {
                        judged.entry(id).or_default().on_time.push(span);
                    }
                } else {
                    session.open = true;
                    sessions.push(session);
                }
            }
        }
        closed = closed.max(*watermark);
    }
    for session in open.into_values().flatten() {
        let span = session.span(gap);
        for (_, id) in session.events {
            judged.entry(id).or_default().on_time.push(span);
        }
    }
    judged
}
