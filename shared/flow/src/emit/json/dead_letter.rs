//! A dead letter as one line of JSON.
//!
//! ```json
//! {"id":"dead/7/0","reason":"late","stream":"ads","shard":"0","position":"41","arrival":"…",
//!  "query":"views","event_time":"…","windows":[{"start":"…","end":"…"}],"windows_missed":1,
//!  "records":1,"counted_elsewhere":false,"raw":"…","raw_length":215,"raw_hash":"…"}
//! ```
//!
//! `position` is the offset of Kafka and files, else 52 hexadecimal digits. `raw` is the record's
//! text as far as it is kept; bytes that are not UTF-8 stand in `raw_base64` instead. `raw_length`
//! and `raw_hash` (XXH3-64) are of the whole record.
//!
//! Rows that a query fails on when advance computes its results (`raw` is the rows as lines of JSON;
//! `windows` only where they have one):
//!
//! ```json
//! {"id":"dead/7/1","reason":"query_failed","detail":"…","query":"share",
//!  "windows":[{"start":"…","end":"…"}],"rows":1,"raw":"{\"campaign\":…","raw_length":80,
//!  "raw_hash":"…"}
//! ```
//!
//! A result row that its sink can never take:
//!
//! ```json
//! {"id":"rejected/views/views/7/0","reason":"rejected","detail":"too large: …","sink":"views","query":"views",
//!  "result_id":"views/7/0","raw":"{\"campaign\":…","raw_length":500000,"raw_hash":"…"}
//! ```
//!
//! A dead letter that is too large for its own sink:
//!
//! ```json
//! {"id":"dead/7/2","reason":"late","shortened":"{\"id\":\"dead/7/2\",\"reason\":…",
//!  "shortened_length":500000,"shortened_hash":"…"}
//! ```
//!
//! `shortened` is how its line begins; length and hash (XXH3-64) are of the whole line.

use tidemill_model::limits::DEAD_LETTER_RAW_BYTES_MAX;
use tidemill_model::{DeadLetter, DeadReason, EventMs, RawBytes};
use xxhash_rust::xxh3::xxh3_64;

use crate::ports::{FailedRows, Rejected};

use super::time::Timestamp;
use super::value::{plain, quoted, write_binary, write_text};

/// Appends `letter` and a line break to `out`; with its `id`, where its sink wants one.
pub(in super::super) fn write_dead_letter(
    out: &mut Vec<u8>,
    id: Option<&str>,
    letter: &DeadLetter,
) {
    let mut line = Line::new(out, id);
    line.text("reason", letter.reason.tag());
    if let DeadReason::Undecodable { detail }
    | DeadReason::TooLarge { detail }
    | DeadReason::Failed { detail, .. } = &letter.reason
    {
        line.text("detail", detail);
    }
    line.text("stream", &letter.log.stream);
    line.text("shard", &letter.log.shard);
    let position = letter.position;
    match position.to_offset() {
        Some(offset) => line.text("position", &offset.to_string()),
        None => line.text("position", &position.to_key()),
    }
    line.time("arrival", letter.arrival.0);
    match &letter.reason {
        DeadReason::Undecodable { .. } | DeadReason::NoEventTime | DeadReason::TooLarge { .. } => {}
        DeadReason::Future { event_time } => line.time("event_time", event_time.0),
        DeadReason::Failed { query, .. } => line.text("query", query),
        DeadReason::Late {
            query,
            event_time,
            windows,
            windows_missed,
            records,
            partial,
            counted_elsewhere,
        } => {
            line.text("query", query);
            line.time("event_time", event_time.0);
            line.windows(windows);
            line.plain("windows_missed", windows_missed);
            line.plain("records", records);
            line.plain("counted_elsewhere", counted_elsewhere);
            if let Some(partial) = partial {
                line.json("partial", partial);
            }
        }
    }
    if let Some(raw) = &letter.raw {
        line.raw(raw);
    }
    line.out.extend_from_slice(b"}\n");
}

/// The same for rows that a query fails on.
pub(in super::super) fn write_failed(out: &mut Vec<u8>, id: Option<&str>, failed: &FailedRows) {
    let mut line = Line::new(out, id);
    line.text("reason", DeadReason::FAILED);
    line.text("detail", &failed.detail);
    line.text("query", &failed.query);
    if let Some(window) = failed.window {
        line.windows(&[(window.start, window.end)]);
    }
    line.plain("rows", failed.rows);
    line.raw(&failed.raw);
    line.out.extend_from_slice(b"}\n");
}

/// The same for a result row that its sink can never take.
pub(in super::super) fn write_rejected(out: &mut Vec<u8>, id: Option<&str>, rejected: &Rejected) {
    let mut line = Line::new(out, id);
    line.text("reason", Rejected::TAG);
    line.text("detail", &rejected.detail);
    line.text("sink", &rejected.sink);
    line.text("query", &rejected.query);
    line.text("result_id", &rejected.id);
    line.raw(&rejected.row);
    line.out.extend_from_slice(b"}\n");
}

/// What is left of a dead letter whose line `whole` is too long for its sink.
pub(in super::super) fn write_shortened(out: &mut Vec<u8>, id: &str, reason: &str, whole: &[u8]) {
    let whole = whole.strip_suffix(b"\n").unwrap_or(whole);
    let first = &whole[..whole.len().min(DEAD_LETTER_RAW_BYTES_MAX)];
    let mut line = Line::new(out, Some(id));
    line.text("reason", reason);
    let text = first.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    line.text("shortened", text);
    line.plain("shortened_length", whole.len());
    line.key("shortened_hash");
    quoted(line.out, format_args!("{:016x}", xxh3_64(whole)));
    line.out.extend_from_slice(b"}\n");
}

struct Line<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
}

impl Line<'_> {
    fn new<'a>(out: &'a mut Vec<u8>, id: Option<&str>) -> Line<'a> {
        let mut line = Line { out, is_first: true };
        if let Some(id) = id {
            line.text("id", id);
        }
        line
    }

    fn key(&mut self, key: &str) {
        self.out.push(if self.is_first { b'{' } else { b',' });
        self.is_first = false;
        write_text(self.out, key);
        self.out.push(b':');
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        write_text(self.out, text);
    }

    fn plain(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        plain(self.out, value);
    }

    fn time(&mut self, key: &str, ms: i64) {
        self.key(key);
        quoted(self.out, Timestamp::from_ms(ms));
    }

    /// A text that should be JSON of one line; if it is not, the text.
    fn json(&mut self, key: &str, json: &str) {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok();
        if is_json && !json.contains(['\n', '\r']) {
            self.plain(key, json);
        } else {
            self.text(key, json);
        }
    }

    fn windows(&mut self, windows: &[(EventMs, EventMs)]) {
        self.key("windows");
        self.out.push(b'[');
        for (index, (start, end)) in windows.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            let (start, end) = (Timestamp::from_ms(start.0), Timestamp::from_ms(end.0));
            plain(self.out, format_args!(r#"{{"start":"{start}","end":"{end}"}}"#));
        }
        self.out.push(b']');
    }

    fn raw(&mut self, raw: &RawBytes) {
        match text_of(raw) {
            Some(text) => self.text("raw", text),
            None => {
                self.key("raw_base64");
                write_binary(self.out, &raw.first);
            }
        }
        self.plain("raw_length", raw.length);
        self.key("raw_hash");
        quoted(self.out, format_args!("{:016x}", raw.hash));
    }
}

/// The kept bytes as text. A character that the cut went through is left out.
fn text_of(raw: &RawBytes) -> Option<&str> {
    match std::str::from_utf8(&raw.first) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() && !raw.is_whole() => {
            std::str::from_utf8(&raw.first[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}
