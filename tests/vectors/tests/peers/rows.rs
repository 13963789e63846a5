//! Vectors whose results are rows of single events: sliding and count windows, joins.
//!
//! What they assert, beside that a snapshot after each event changes nothing:
//! - **sliding**: the last value of each window, and, where the vector tells closed windows, that ours
//!   are final at the same event. A window in ours is what an OVER frame of an event shows.
//! - **count**: the windows, whatever the order of arrival.
//! - **joins**: the pairs, and of outer joins which rows are padded at which watermark.
//! - **state-cleanup**: how many rows are kept at each watermark.
//!
//! Their engines' tests do not list what they refused, so `late` says nothing there.
//!
//! Not here: their SQL (`sql`).

pub(crate) mod sql;

use serde_json::{Value, json};
use vectors::{Event, Row, Vector};

use crate::compare::{assert_same, canonical, check_updates};
use crate::dialect::Dialect;
use crate::engine::{self, Outcome, Snapshots};

/// Whether a vector's results are rows, not windows of the grid.
pub(crate) fn is(vector: &Vector) -> bool {
    let kind = vector.kind.as_str();
    kind.starts_with("join-") || matches!(kind, "sliding" | "count" | "state-cleanup")
}

/// Whether windows and joins go by the time of arrival.
pub(crate) fn arrival_is_time(vector: &Vector) -> bool {
    vector.window.time.as_deref() == Some("processing") || arrives_by_number(vector)
}

/// Whether a record's number is the time of its arrival: a table that is not versioned has the value that
/// arrived last.
pub(crate) fn arrives_by_number(vector: &Vector) -> bool {
    vector.window.kind == "stream-table"
}

pub(crate) fn check(vector: &Vector, dialect: &Dialect) {
    if vector.kind == "state-cleanup" {
        return engine::check_kept(vector, dialect);
    }
    let count = vector.events.len();
    let outcome = engine::run(vector, dialect, count, Snapshots::Never);
    let again = engine::run(vector, dialect, count, Snapshots::EachTick);
    assert_eq!(again, outcome, "a snapshot after each tick changes the outcome");
    match vector.kind.as_str() {
        "sliding" => check_sliding(vector, dialect, &outcome),
        "count" => {
            let ours = [outcome.closed, outcome.open].concat();
            assert_same("results", &unordered(&told(vector, &ours)), &unordered(&vector.expected));
        }
        _ => check_join(vector, dialect, &outcome),
    }
}

fn check_sliding(vector: &Vector, dialect: &Dialect, outcome: &Outcome) {
    let closed = windows(vector, &outcome.closed);
    let all = windows(vector, &[&outcome.closed[..], &outcome.open[..]].concat());
    if let Some(known) = &vector.all_windows {
        assert_eq!(vector.all_windows_equal_order_free_definition, Some(true));
        assert_same("windows", &all, &unordered(known));
        let known = canonical(known);
        let is_known = |row: &Row| known.contains(row);
        assert!(canonical(&vector.expected).iter().all(is_known), "what closed is among them");
        return;
    }
    let Some(updates) = &vector.updates else {
        return assert_same("windows that closed", &closed, &unordered(&vector.expected));
    };
    assert_same("windows", &all, &unordered(&last_of_each(updates)));
    // A manual tells the current values alone.
    if !vector.expected.is_empty() || vector.window.grace_ms != Some(0) {
        assert_same("windows that closed", &closed, &unordered(&vector.expected));
    }
    check_updates(vector, dialect, &unordered(updates), |outcome| {
        windows(vector, &[outcome.closed, outcome.open].concat())
    });
}

/// The windows that rows tell of, each once: rows of the same time share a window.
fn windows(vector: &Vector, rows: &[Row]) -> Vec<Row> {
    let size_ms = vector.window.size_ms.or(vector.window.diff_ms).expect("a size");
    let mut windows: Vec<Row> = Vec::new();
    for row in rows {
        let end = row["end"].as_i64().expect("a time");
        let sides = [("value", end - size_ms), ("behind", end + 1)];
        for (member, start) in sides {
            // Behind the last event there is no window.
            let Some(value) = row.get(member).filter(|value| !value.is_null()) else { continue };
            let mut window = row.clone();
            window.remove("behind");
            window.insert("value".to_string(), value.clone());
            window.insert("start".to_string(), json!(start.max(0)));
            window.insert("end".to_string(), json!(start.max(end - size_ms) + size_ms));
            windows.push(window);
        }
    }
    let mut windows = unordered(&windows);
    in_order(&mut windows);
    windows.dedup();
    windows
}

/// By key and end.
fn in_order(windows: &mut [Row]) {
    windows.sort_by_key(|row| (row["key"].to_string(), row["end"].as_i64()));
}

/// The last update of each window.
fn last_of_each(updates: &[Row]) -> Vec<Row> {
    let same = |a: &Row, b: &Row| ["key", "start", "end"].iter().all(|it| a[*it] == b[*it]);
    let is_last = |index: &usize| !updates[index + 1..].iter().any(|it| same(it, &updates[*index]));
    let mut last = Vec::new();
    for index in (0..updates.len()).filter(is_last) {
        let mut update = updates[index].clone();
        update.remove("after");
        last.push(update);
    }
    in_order(&mut last);
    last
}

/// With what was collected in an order of its own: engines collect as events arrive, ours in order of
/// event time.
fn unordered(rows: &[Row]) -> Vec<Row> {
    fn sort(value: &mut Value) {
        match value {
            Value::Array(items) => items.sort_by_key(Value::to_string),
            Value::Object(members) => members.values_mut().for_each(sort),
            _ => {}
        }
    }
    let mut rows = rows.to_vec();
    rows.iter_mut().flat_map(Row::values_mut).for_each(sort);
    rows
}

/// The members of our rows that the vector tells.
fn told(vector: &Vector, rows: &[Row]) -> Vec<Row> {
    let Some(first) = vector.expected.first() else { return rows.to_vec() };
    let one = |row: &Row| {
        let value = |name: &String| row.get(name).cloned().unwrap_or(Value::Null);
        let told = first.keys().filter(|name| *name != "after");
        told.map(|name| (name.clone(), value(name))).collect()
    };
    rows.iter().map(one).collect()
}

fn check_join(vector: &Vector, dialect: &Dialect, outcome: &Outcome) {
    if vector.window.emit_mode.as_deref() == Some("running") {
        // One result for each event: the answer if the input ended there.
        for (index, row) in vector.expected.iter().enumerate() {
            let so_far = engine::run(vector, dialect, index + 1, Snapshots::Never);
            let ours = told(vector, &[so_far.closed, so_far.open].concat());
            assert_same("results", &sides(&ours), &sides(std::slice::from_ref(row)));
        }
        return;
    }
    let mut ours = outcome.closed.clone();
    // A pair is told at once there, and when nothing earlier can come here; a row without a match is
    // told in both when no match can come any more.
    let has = |row: &Row, side: &str| row.get(side).is_some_and(|value| !value.is_null());
    let is_pair = |row: &&Row| has(row, "left") && has(row, "right");
    match vector.engine.as_str() {
        "kafka-streams" => ours.extend(outcome.open.iter().filter(is_pair).cloned()),
        _ => ours.extend(outcome.open.iter().cloned()),
    }
    let without_after = |row: &Row| {
        let mut row = row.clone();
        row.remove("after");
        row
    };
    let expected: Vec<Row> = vector.expected.iter().map(without_after).collect();
    let ours = sides(&told(vector, &ours));
    let expected = sides(&expected);
    let texts = |rows: &[Row]| {
        let mut texts: Vec<String> = rows.iter().map(|row| json!(row).to_string()).collect();
        texts.sort();
        texts
    };
    assert_eq!(texts(&ours), texts(&expected), "results: ours are left");
}

/// With keys as text, and sides that are objects as such.
fn sides(rows: &[Row]) -> Vec<Row> {
    let mut rows = canonical(rows);
    for row in &mut rows {
        for (name, value) in row.iter_mut() {
            let object = value.as_str().filter(|text| text.starts_with('{'));
            if let Some(object) = object.and_then(|text| serde_json::from_str(text).ok()) {
                *value = object;
            }
            if name == "key"
                && let Some(number) = value.as_f64()
            {
                *value = json!(number.to_string());
            }
        }
    }
    canonical(&rows)
}

/// The records of a vector.
pub(super) fn records(vector: &Vector) -> impl Iterator<Item = &vectors::Record> {
    vector.events.iter().filter_map(|event| match event {
        Event::Record(record) => Some(record),
        _ => None,
    })
}
