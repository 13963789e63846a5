//! Which windows an event falls in: the model's own arithmetic, without the verbs.

use tidemill_model::{EventMs, WindowShape};
use vectors::{Event, Row, Vector};

pub(crate) fn check(vector: &Vector) {
    let window = &vector.window;
    let offset_ms = window.offset_ms.or(window.align_to_ms).unwrap_or(0);
    let size_ms = window.size_ms.expect("size_ms");
    let shape = match window.kind.as_str() {
        "tumbling" => WindowShape::tumble(size_ms, offset_ms),
        "hopping" => WindowShape::hop(window.advance_ms.expect("advance_ms"), size_ms, offset_ms),
        other => panic!("no windows: {other}"),
    };
    let shape = shape.unwrap();
    let times: Vec<i64> = vector
        .events
        .iter()
        .map(|event| match event {
            Event::Record(record) => record.t,
            _ => panic!("not a record"),
        })
        .collect();
    for time in &times {
        let ours: Vec<(i64, i64)> = shape
            .windows_at(EventMs(*time))
            .iter()
            .map(|window| (window.start.0, window.end.0))
            .collect();
        assert_eq!(ours, expected(vector, *time, times.len()), "windows of {time}");
    }
    assert!(vector.late.is_empty(), "nothing is late without a watermark");
}

/// The windows of the event at `time`, in both of the vectors' forms: a list per event, or, for
/// one event, a row per window (`window_id` counts windows from the one that starts at 0).
fn expected(vector: &Vector, time: i64, events: usize) -> Vec<(i64, i64)> {
    let ms = |row: &Row, name: &str| row[name].as_i64().expect("milliseconds");
    let of_event = vector.expected.iter().find(|row| row.get("t").is_some_and(|t| *t == time));
    if let Some(row) = of_event {
        let windows = row["windows"].as_array().expect("windows");
        let bound = |window: &serde_json::Value, index: usize| window[index].as_i64().expect("ms");
        return windows.iter().map(|window| (bound(window, 0), bound(window, 1))).collect();
    }
    assert_eq!(events, 1, "windows of one event");
    let slide_ms = vector.window.advance_ms.expect("advance_ms");
    vector
        .expected
        .iter()
        .map(|row| {
            let (start, end) = (ms(row, "start"), ms(row, "end"));
            if row.contains_key("window_id") {
                assert_eq!(ms(row, "window_id") * slide_ms, start);
            }
            (start, end)
        })
        .collect()
}
