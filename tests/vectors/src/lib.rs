//! Peer vectors: what other engines' own test suites and manuals say a windowed query answers, as
//! numbers. One JSON file each, in `data/`; the format is told in the README beside this crate.
//!
//! # Invariants
//! 1. A member of a vector that this crate does not know is an error, so nothing that a vector
//!    says is silently left unasserted.
//!
//! Not here: running vectors (`tests/peers`).

use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A result, an update or a late record: an object with members such as `key`, `start`, `end`,
/// `value`.
pub type Row = Map<String, Value>;

/// One vector.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// Name of the file without `.json`.
    pub id: String,
    /// What is tried: `tumbling`, `session`, `late` …
    pub kind: String,
    /// The engine whose semantics `expected` has.
    pub engine: String,
    /// Where the numbers are from.
    pub source: String,
    /// The windows.
    pub window: WindowDef,
    /// The aggregate; absent when only windows are told.
    #[serde(default)]
    pub agg: Option<String>,
    /// In arrival order.
    pub events: Vec<Event>,
    /// Final results.
    pub expected: Vec<Row>,
    /// Results after single events; `after` is the event's index.
    #[serde(default)]
    pub updates: Option<Vec<Row>>,
    /// Windows that are still open after the last event.
    #[serde(default)]
    pub final_open: Option<Vec<Row>>,
    /// Records refused, with `start` and `end` when told per window.
    pub late: Vec<Row>,
    /// The engine's rule, in words.
    pub boundary: String,
    /// Remarks.
    pub notes: String,
    /// What confirmed the numbers.
    pub verified: Vec<String>,
    /// What of the order of `expected` means nothing.
    #[serde(default)]
    pub order: Option<String>,
    /// The last value of every window that was ever touched.
    #[serde(default)]
    pub all_windows: Option<Vec<Row>>,
    /// Whether `all_windows` is what the windows' definition gives, whatever the order of arrival.
    #[serde(default)]
    pub all_windows_equal_order_free_definition: Option<bool>,
    /// Not from a test of the engine.
    #[serde(default)]
    pub derived: bool,
}

/// Definition of a vector's windows. All times are milliseconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowDef {
    /// `tumbling`, `hopping`, `cumulate`, `session`; `sliding`; `count_tumbling`, `count_hopping`,
    /// `count_sliding`; `interval`, `stream-stream`, `window-join`, `asof`, `stream-table` and
    /// `stream-table-versioned` for joins; `watermark` when there are no windows.
    #[serde(rename = "type")]
    pub kind: String,
    /// Length.
    pub size_ms: Option<i64>,
    /// Distance of two starts.
    pub advance_ms: Option<i64>,
    /// Distance of two ends of cumulating windows.
    pub step_ms: Option<i64>,
    /// Longest silence inside a session.
    pub gap_ms: Option<i64>,
    /// Gaps of the events' own, in words: [`WindowDef::gap_of`] knows them.
    pub gap: Option<String>,
    /// Shift of the grid.
    pub offset_ms: Option<i64>,
    /// A point of the grid: the same as an offset.
    pub align_to_ms: Option<i64>,
    /// Record-driven grace: how long after its end a window takes records.
    pub grace_ms: Option<i64>,
    /// Watermark lateness: how long after it fired a window still fires again.
    pub lateness_ms: Option<i64>,
    /// Watermark delay: how far the watermark stays behind the newest event; `"max"`: for ever.
    #[serde(default, deserialize_with = "milliseconds")]
    pub wait_ms: Option<i64>,
    /// What moves a record-driven clock: records of the same `key`, or of the whole `partition`.
    pub closing: Option<String>,
    /// Each firing tells only what came since the previous one.
    #[serde(default)]
    pub purging: bool,
    /// What is grouped by: `group`, or `none`; the key when absent.
    pub group: Option<String>,
    /// GROUPING SETS.
    pub grouping_sets: Option<Vec<Vec<String>>>,
    /// Rows kept per window.
    pub top: Option<u64>,
    /// What they are ranked by.
    pub order: Option<String>,
    /// Length of a sliding window, in another engine's word.
    pub diff_ms: Option<i64>,
    /// Rows of a count window.
    pub count: Option<u64>,
    /// Rows from one count window to the next.
    pub step: Option<u64>,
    /// `processing`: windows are of the time of arrival.
    pub time: Option<String>,
    /// What makes a window fire before it closes.
    pub trigger: Option<String>,
    /// Kind of join: `inner`, `left`, `right`, `full` or `outer`.
    pub how: Option<String>,
    /// The windows of a window join.
    pub window: Option<Box<WindowDef>>,
    /// Which values of a side a joined window keeps: `last`, or all (`product`).
    pub insert_mode: Option<String>,
    /// When a joined window is told: `complete`, `final`, `running`.
    pub emit_mode: Option<String>,
    /// Least time of the right side, after the left one's.
    pub lower_ms: Option<i64>,
    /// Whether that time itself is a match.
    pub lower_inclusive: Option<bool>,
    /// Greatest time of the right side, after the left one's.
    pub upper_ms: Option<i64>,
    /// Whether that time itself is a match.
    pub upper_inclusive: Option<bool>,
    /// How long before the left side the right one may be.
    pub before_ms: Option<i64>,
    /// How long after the left side the right one may be.
    pub after_ms: Option<i64>,
    /// The same as `before_ms`, in another engine's word.
    pub backward_ms: Option<i64>,
    /// The same as `after_ms`.
    pub forward_ms: Option<i64>,
}

impl WindowDef {
    /// The session gap that a record brings, milliseconds; `None`: the window's.
    ///
    /// # Panics
    /// When the vector's words are unknown.
    pub fn gap_of(&self, record: &Record) -> Option<i64> {
        let words = self.gap.as_deref()?;
        assert_eq!(words, "key1: 3000; key2: 1000 when value is 10, else 2000");
        Some(match (record.key.as_str(), record.value.as_i64()) {
            ("key1", _) => 3000,
            (_, Some(10)) => 1000,
            _ => 2000,
        })
    }
}

/// Something that happens.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Event {
    /// A record arrives.
    Record(Record),
    /// The watermark moves.
    Watermark(Watermark),
    /// Something happens to a watermark alone.
    Op(Op),
    /// The wall clock moves.
    Clock(Clock),
}

/// A record.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Event time.
    pub t: i64,
    /// Key: a text, or a number as text.
    #[serde(deserialize_with = "text")]
    pub key: String,
    /// A whole number, a text, an object, or null.
    pub value: Value,
    /// Of a join: `L` or `R`; `S` or `T` when the right side is a table.
    #[serde(default)]
    pub side: Option<String>,
    /// A second key.
    #[serde(default)]
    pub group: Option<String>,
}

/// The watermark moves to `watermark`: a whole number, or `"inf"`, the end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    /// Where to.
    pub watermark: Value,
}

/// The wall clock moves to `clock`: records arrive then.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// Where to.
    pub clock: i64,
}

/// An event of time `ms` (`item`), or `ms` of wall clock that pass (`advance`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Op {
    /// `item` or `advance`.
    pub op: String,
    /// Milliseconds.
    pub ms: i64,
}

/// A text; a number is its own text.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// Milliseconds; `max` is longer than any vector.
fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(word) if word == "max" => Ok(Some(1_000_000_000)),
        other => other
            .as_i64()
            .map(Some)
            .ok_or_else(|| D::Error::custom(format!("no milliseconds: {other}"))),
    }
}

/// The folder of the vectors.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
}

/// Names of the vectors in the folder, sorted.
///
/// # Errors
/// When the folder cannot be read.
pub fn names() -> Result<Vec<String>, String> {
    let folder = std::fs::read_dir(data()).map_err(|error| error.to_string())?;
    let mut names = Vec::new();
    for file in folder {
        let name = file.map_err(|error| error.to_string())?.file_name();
        let name = name.to_string_lossy();
        let stem = name.strip_suffix(".json").ok_or_else(|| format!("{name} is no vector"))?;
        names.push(stem.to_string());
    }
    names.sort();
    Ok(names)
}

/// Reads one vector.
///
/// # Errors
/// When it cannot be read, has members that nobody knows, or another id than its file's name.
pub fn load(name: &str) -> Result<Vector, String> {
    let text = std::fs::read_to_string(data().join(format!("{name}.json")))
        .map_err(|error| error.to_string())?;
    let vector: Vector = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if vector.id != name {
        return Err(format!("its id is {}", vector.id));
    }
    Ok(vector)
}
