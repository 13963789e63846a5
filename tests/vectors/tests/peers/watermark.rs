//! How a watermark moves with events and the wall clock: the decision about time, without windows.
//!
//! The vectors' engine moves an input's watermark at the pace of the wall clock from the event
//! that set it on. Ours does once the input is idle, so here it is idle after a millisecond of
//! silence, its source is drained, and a window far ahead is open.

use std::collections::BTreeMap;

use serde_json::json;
use tidemill_flow::ports::Drained;
use tidemill_flow::time::{self, LogFacts, StreamTime};
use tidemill_model::{EventMs, LogId, Position, WallMs};
use vectors::{Event, Row, Vector};

/// The wall clock when a vector begins: long after every event.
const BEGIN: WallMs = WallMs(4_000_000_000_000);
/// When the last open window closes.
const LAST_CLOSE: EventMs = EventMs(1_000_000_000);

pub(crate) fn check(vector: &Vector) {
    let log = LogId::new("events", "0");
    let stream = StreamTime {
        out_of_orderness_ms: vector.window.wait_ms.expect("wait_ms"),
        idle_after_ms: 1,
        assume_idle: false,
    };
    let mut facts = LogFacts {
        stream,
        position: Position::START,
        clock: None,
        appended: None,
        registered_at: BEGIN,
        unread: false,
        ended: false,
        parents: Vec::new(),
    };
    let mut now = BEGIN;
    let mut watermark = None;
    let mut ours: Vec<Row> = Vec::new();
    for (offset, event) in vector.events.iter().enumerate() {
        let Event::Op(op) = event else { panic!("not an operation") };
        match op.op.as_str() {
            "item" => {
                facts.clock = facts.clock.max(Some(EventMs(op.ms)));
                facts.appended = Some(now);
                facts.position = Position::from_offset(offset as u64);
            }
            "advance" => now = now.plus(op.ms),
            other => panic!("no operation: {other}"),
        }
        let all = BTreeMap::from([(log.clone(), facts.clone())]);
        let answers = time::candidates(&all, now)
            .into_iter()
            .map(|(log, position)| {
                assert_eq!(position, facts.position);
                (log, Drained::Yes)
            })
            .collect();
        watermark = time::decide(&all, &answers, now, watermark, Some(LAST_CLOSE)).watermark;
        let at = watermark.expect("a watermark").0;
        ours.push(Row::from_iter([("watermark_ms".to_string(), json!(at))]));
    }
    assert_eq!(ours, vector.expected);
    assert!(vector.late.is_empty(), "nothing is late without windows");
}
