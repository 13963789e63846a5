//! Our answers and a vector's, brought to one form.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vectors::{Row, Vector};

use crate::dialect::{Clock, Dialect, Firing, LateEntry};
use crate::engine::{self, Outcome, Snapshots};
use crate::sql;

/// Runs a vector and asserts everything that it says.
pub(crate) fn check(vector: &Vector, dialect: &Dialect) {
    if dialect.clock_per_key {
        assert!(one_clock_will_do(vector), "its keys need clocks of their own");
    }
    let count = vector.events.len();
    let outcome = engine::run(vector, dialect, count, Snapshots::Never);
    let again = engine::run(vector, dialect, count, Snapshots::EachTick);
    assert_eq!(again, outcome, "a snapshot after each tick changes the outcome");

    let closed = ours(vector, dialect, &outcome.closed);
    let open = ours(vector, dialect, &outcome.open);
    let expected = finals(dialect, &vector.expected);
    if dialect.closes_at_end {
        assert_same("results", &[closed, open.clone()].concat(), &expected);
    } else {
        assert_same("results", &closed, &expected);
    }
    if let Some(final_open) = &vector.final_open {
        assert_same("windows still open", &open, final_open);
    } else if dialect.clock == Clock::Given {
        assert_same("windows still open", &open, &[]);
    }
    check_late(vector, dialect, &outcome);
    if dialect.firing == Firing::SoFar {
        check_firings(vector, dialect);
    }
    if let Some(updates) = &vector.updates {
        check_updates(vector, dialect, updates, |outcome| {
            ours(vector, dialect, &[outcome.closed, outcome.open].concat())
        });
        check_early(vector, dialect, updates);
    }
}

/// An engine that fires a window again for each late record: `late = "update"` emits its result
/// again just so.
fn check_firings(vector: &Vector, dialect: &Dialect) {
    let text = sql::changing(vector, dialect, false);
    let changes = engine::changes(vector, dialect, &text);
    assert_same("firings", &ours(vector, dialect, &plain(changes)), &vector.expected);
}

/// Without what tells changes apart.
fn plain(mut changes: Vec<Row>) -> Vec<Row> {
    for row in &mut changes {
        for member in ["op", "revision", "timing", "after"] {
            row.remove(member);
        }
    }
    changes
}

/// Whether a clock per key and one clock of all keys judge every record alike: no record is behind
/// one of another key.
fn one_clock_will_do(vector: &Vector) -> bool {
    let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
    vector.events.iter().all(|event| {
        let vectors::Event::Record(record) = event else { return true };
        let behind = newest.iter().any(|(key, t)| **key != record.key && record.t < *t);
        let own = newest.entry(&record.key).or_insert(record.t);
        *own = record.t.max(*own);
        !behind
    })
}

/// Our rows in the vector's form.
fn ours(vector: &Vector, dialect: &Dialect, rows: &[Row]) -> Vec<Row> {
    let session = vector.window.kind == "session";
    let keyed = vector.expected.iter().any(|row| row.contains_key("key"));
    let mut out: Vec<Row> = Vec::new();
    for row in rows {
        let mut row = row.clone();
        if dialect.no_negative_windows && row["start"].as_i64() < Some(0) {
            continue;
        }
        if session {
            let end = row["end"].as_i64().expect("a window's end");
            row.insert("end".to_string(), json!(end - dialect.session_end_shift_ms));
        }
        // The query does not group by a member that is null throughout.
        if keyed {
            row.entry("key").or_insert(Value::Null);
        }
        if vector.window.grouping_sets.is_some() {
            row.entry("group").or_insert(Value::Null);
        }
        if let Some(kind) = row.remove("type") {
            let kind = kind.as_str().expect("a type").to_string();
            let count = row.remove("value").expect("a count");
            match out.iter_mut().find(|known| without_value(known) == row) {
                Some(known) => known["value"][&kind] = count,
                None => {
                    row.insert("value".to_string(), json!({ kind: count }));
                    out.push(row);
                }
            }
            continue;
        }
        out.push(row);
    }
    out
}

fn without_value(row: &Row) -> Row {
    let mut row = row.clone();
    row.remove("value");
    row
}

/// What an engine's firings leave in the end.
fn finals(dialect: &Dialect, firings: &[Row]) -> Vec<Row> {
    let bounds = |row: &Row| (row["start"].as_i64(), row["end"].as_i64());
    match dialect.firing {
        Firing::Final => firings.to_vec(),
        Firing::SoFar => {
            let swallowed = |(index, row): (usize, &Row)| {
                let (start, end) = bounds(row);
                firings[index + 1..].iter().any(|later| {
                    let (from, to) = bounds(later);
                    later["key"] == row["key"] && from <= start && end <= to
                })
            };
            let last = |(index, row): &(usize, &Row)| !swallowed((*index, row));
            firings.iter().enumerate().filter(last).map(|(_, row)| row.clone()).collect()
        }
        Firing::Since => {
            let mut sums: Vec<Row> = Vec::new();
            for row in firings {
                match sums.iter_mut().find(|sum| without_value(sum) == without_value(row)) {
                    Some(sum) => {
                        let parts = [&sum["value"], &row["value"]].map(|part| part.as_i64());
                        let total: i64 = parts.into_iter().map(|part| part.expect("a sum")).sum();
                        sum["value"] = json!(total);
                    }
                    None => sums.push(row.clone()),
                }
            }
            sums
        }
    }
}

fn check_late(vector: &Vector, dialect: &Dialect, outcome: &Outcome) {
    let mut late = Vec::new();
    for it in &outcome.late {
        let record = json!({ "t": it.record.t, "key": it.record.key, "value": it.record.value });
        let Value::Object(record) = record else { unreachable!("an object") };
        let exists = |window: &&(i64, i64)| !dialect.no_negative_windows || window.0 >= 0;
        let windows: Vec<&(i64, i64)> = it.windows.iter().filter(exists).collect();
        match dialect.late {
            LateEntry::Record if it.counted_elsewhere => {}
            LateEntry::Record => late.push(record),
            LateEntry::RecordAndWindow => late.extend(windows.iter().map(|_| record.clone())),
            LateEntry::NamedWindow => {
                for (start, end) in windows {
                    let mut entry = record.clone();
                    entry.insert("start".to_string(), json!(start));
                    entry.insert("end".to_string(), json!(end));
                    late.push(entry);
                }
            }
        }
    }
    assert_same("late records", &late, &vector.late);
}

/// An update tells the answer of a window that its event touched, as the end of input just after
/// the event would give it; what an event changes in that answer must be among its updates.
/// `form` brings an outcome to the vector's form.
pub(crate) fn check_updates(
    vector: &Vector,
    dialect: &Dialect,
    updates: &[Row],
    form: impl Fn(Outcome) -> Vec<Row>,
) {
    let answer =
        |count: usize| canonical(&form(engine::run(vector, dialect, count, Snapshots::Never)));
    let after = |update: &Row| update["after"].as_u64().expect("an event's index") as usize;
    // Some tests look only at the last updates.
    let first = updates.iter().map(after).min().expect("an update");
    for index in first..vector.events.len() {
        let (before, now) = (answer(index), answer(index + 1));
        let expected: Vec<Row> =
            updates.iter().filter(|update| after(update) == index).map(without_after).collect();
        let expected = canonical(&expected);
        for update in &expected {
            assert!(now.contains(update), "{update:?} is not among {now:?} after event {index}");
        }
        for row in now.iter().filter(|row| !before.contains(row)) {
            assert!(expected.contains(row), "event {index} changes {row:?}");
        }
    }
}

/// `emit = "updates"` emits the windows that an event touched, when it has come: each update, and beside it
/// only rows of other keys of its window as they were told before.
fn check_early(vector: &Vector, dialect: &Dialect, updates: &[Row]) {
    let text = sql::changing(vector, dialect, true);
    let changes = engine::changes(vector, dialect, &text);
    let after = |row: &Row| row["after"].as_u64().expect("an event's index");
    let first = updates.iter().map(after).min().expect("an update");
    for index in first..vector.events.len() as u64 {
        let early = |row: &&Row| after(row) == index && row["timing"] == "early";
        let early: Vec<Row> = changes.iter().filter(early).cloned().collect();
        let early = canonical(&ours(vector, dialect, &plain(early)));
        let told = |of: &dyn Fn(u64) -> bool| {
            let those = updates.iter().filter(|row| of(after(row))).map(without_after);
            canonical(&those.collect::<Vec<_>>())
        };
        for update in told(&|at| at == index) {
            assert!(early.contains(&update), "{update:?} is not among {early:?} at {index}");
        }
        // Some tests look only at the last updates.
        if first == 0 {
            let known = told(&|at| at <= index);
            for row in &early {
                assert!(known.contains(row), "{row:?} at {index} was never told");
            }
        }
    }
}

fn without_after(update: &Row) -> Row {
    let mut update = update.clone();
    update.remove("after");
    update
}

/// Asserts that two lists hold the same rows, and those of each key in the same order. The order
/// of keys and groups is nobody's promise.
pub(crate) fn assert_same(what: &str, ours: &[Row], expected: &[Row]) {
    let (ours, expected) = (canonical(ours), canonical(expected));
    let text = |rows: &[Row]| rows.iter().map(|row| json!(row).to_string()).collect::<Vec<_>>();
    let (mut left, mut right) = (text(&ours), text(&expected));
    left.sort();
    right.sort();
    assert_eq!(left, right, "{what}: ours are left");
    let by_key = |rows: &[Row]| {
        let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (row, text) in rows.iter().zip(text(rows)) {
            let key = json!([row.get("key"), row.get("group")]);
            keys.entry(key.to_string()).or_default().push(text);
        }
        keys
    };
    assert_eq!(by_key(&ours), by_key(&expected), "order of {what}: ours are left");
}

/// The rows with every number as a floating-point number, and what was collected as text.
pub(crate) fn canonical(rows: &[Row]) -> Vec<Row> {
    fn number(value: &Value) -> Value {
        match value {
            Value::Number(it) => json!(it.as_f64()),
            Value::Object(members) => {
                Value::Object(members.iter().map(|(name, it)| (name.clone(), number(it))).collect())
            }
            // Kafka's tests collect numbers as text.
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|it| match it {
                        Value::String(_) => it.clone(),
                        other => json!(other.to_string()),
                    })
                    .collect(),
            ),
            other => other.clone(),
        }
    }
    rows.iter()
        .map(|row| row.iter().map(|(name, value)| (name.clone(), number(value))).collect())
        .collect()
}
