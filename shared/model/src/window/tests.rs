use super::*;
use proptest::prelude::*;

fn window(start: i64, end: i64) -> Window {
    Window { start: EventMs(start), end: EventMs(end) }
}

#[test]
fn tumbling_windows_work_below_zero_and_with_an_offset() {
    let shape = WindowShape::tumble(10, 3).unwrap();
    assert_eq!(shape.windows_at(EventMs(-8)), [window(-17, -7)]);
    assert_eq!(shape.windows_at(EventMs(-7)), [window(-7, 3)]);
    assert_eq!(shape.windows_at(EventMs(3)), [window(3, 13)]);
}

#[test]
fn an_event_between_sparse_hops_falls_in_no_window() {
    let shape = WindowShape::hop(10, 4, 0).unwrap();
    assert_eq!(shape.windows_at(EventMs(3)), [window(0, 4)]);
    assert_eq!(shape.windows_at(EventMs(4)), []);
    assert_eq!(shape.windows_at(EventMs(-1)), []);
}

#[test]
fn an_uneven_step_is_refused_with_one_that_divides() {
    let error = WindowShape::cumulate(420_000, 86_400_000, 0).unwrap_err();
    assert_eq!(
        error,
        WindowError::UnevenStep { step_ms: 420_000, size_ms: 86_400_000, suggested_ms: 417_391 }
            .clone_with_divisor()
    );
}

impl WindowError {
    /// The suggestion is whatever divides; what matters is that it does, at or below the step.
    fn clone_with_divisor(self) -> WindowError {
        match self {
            WindowError::UnevenStep { step_ms, size_ms, .. } => {
                let suggested_ms = (1..=step_ms).rev().find(|step| size_ms % step == 0).unwrap();
                WindowError::UnevenStep { step_ms, size_ms, suggested_ms }
            }
            other => other,
        }
    }
}

#[test]
fn sizes_below_one_millisecond_are_refused() {
    assert!(WindowShape::tumble(0, 0).is_err());
    assert!(WindowShape::hop(0, 1, 0).is_err());
    assert!(WindowShape::hop(1, -1, 0).is_err());
    assert!(WindowShape::cumulate(1, 0, 0).is_err());
    assert!(WindowShape::session(0).is_err());
}

#[test]
fn the_ends_of_the_time_scale_do_not_panic() {
    for shape in [
        WindowShape::tumble(7, 3).unwrap(),
        WindowShape::hop(3, 10, 2).unwrap(),
        WindowShape::cumulate(5, 20, 7).unwrap(),
        WindowShape::session(9).unwrap(),
    ] {
        for time in [EventMs::MIN, EventMs::MAX] {
            for window in shape.windows_at(time) {
                assert!(window.start <= window.end);
            }
        }
    }
}

#[test]
fn windows_that_overlap_too_often_are_refused() {
    let most = WINDOWS_PER_EVENT_MAX;
    assert!(WindowShape::hop(60_000, most * 60_000, 0).is_ok());
    assert!(WindowShape::cumulate(60_000, most * 60_000, 0).is_ok());
    let error = WindowShape::hop(1, 365 * 86_400_000, 0).unwrap_err();
    let WindowError::TooMany { least_ms, .. } = error else { panic!("{error}") };
    assert!(WindowShape::hop(least_ms, 365 * 86_400_000, 0).is_ok());
    assert!(WindowShape::hop(least_ms - 1, 365 * 86_400_000, 0).is_err());
    assert!(WindowShape::cumulate(1, most + 1, 0).is_err());
    assert!(WindowShape::hop(1, i64::MAX, 0).is_err());
}

/// Windows of any length, but not too many of them.
fn long_shapes() -> impl Strategy<Value = WindowShape> {
    let ms = || prop_oneof![1..1000i64, 1..i64::MAX, Just(i64::MAX)];
    prop_oneof![
        (ms(), any::<i64>()).prop_map(|(size, offset)| WindowShape::tumble(size, offset).unwrap()),
        (ms(), 1..100i64, any::<i64>()).prop_map(|(size, parts, offset)| {
            WindowShape::hop((size / parts).max(1), size, offset).unwrap()
        }),
        (ms(), 1..100i64, any::<i64>()).prop_map(|(size, parts, offset)| {
            let step = (size / parts).max(1);
            WindowShape::cumulate(step, size / step * step, offset)
                .unwrap_or_else(|_| WindowShape::tumble(step, offset).unwrap())
        }),
        ms().prop_map(|gap| WindowShape::session(gap).unwrap()),
    ]
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), i64::MIN..i64::MIN + 100, i64::MAX - 100..=i64::MAX]
}

fn shapes() -> impl Strategy<Value = WindowShape> {
    prop_oneof![
        (1..50i64, -60..60i64)
            .prop_map(|(size, offset)| WindowShape::tumble(size, offset).unwrap()),
        (1..20i64, 1..60i64, -60..60i64)
            .prop_map(|(slide, size, offset)| WindowShape::hop(slide, size, offset).unwrap()),
        (1..10i64, 1..8i64, -60..60i64).prop_map(|(step, parts, offset)| {
            WindowShape::cumulate(step, step * parts, offset).unwrap()
        }),
    ]
}

/// All windows near `time`, from the definition of each kind and nothing else.
fn by_definition(shape: WindowShape, time: i64) -> Vec<Window> {
    let mut windows: Vec<Window> = match shape {
        WindowShape::Tumble { size_ms, offset_ms } => (-300..300)
            .map(|k| window(k * size_ms + offset_ms, (k + 1) * size_ms + offset_ms))
            .collect(),
        WindowShape::Hop { slide_ms, size_ms, offset_ms } => (-300..300)
            .map(|k| window(k * slide_ms + offset_ms, k * slide_ms + offset_ms + size_ms))
            .collect(),
        WindowShape::Cumulate { step_ms, size_ms, offset_ms } => (-300..300)
            .flat_map(|k| {
                let start = k * size_ms + offset_ms;
                (1..=size_ms / step_ms).map(move |n| window(start, start + n * step_ms))
            })
            .collect(),
        WindowShape::Session { .. } => vec![],
    };
    windows.retain(|window| window.start.0 <= time && time < window.end.0);
    windows.sort();
    windows
}

proptest! {
    #[test]
    fn no_time_and_no_length_overflow(shape in long_shapes(), time in any_time()) {
        if let Some(slice) = shape.slice_of(EventMs(time)) {
            prop_assert!(slice.start.0 <= time && slice.start <= slice.end);
            prop_assert!(shape.first_end(slice) <= shape.last_end(slice));
            for window in shape.windows_of(slice) {
                prop_assert!(window.start <= window.end);
            }
        }
    }

    #[test]
    fn windows_are_those_of_the_definition(shape in shapes(), time in -100..100i64) {
        prop_assert_eq!(shape.windows_at(EventMs(time)), by_definition(shape, time));
    }

    #[test]
    fn a_slice_lies_wholly_inside_or_outside_each_window(shape in shapes(), time in -100..100i64) {
        if let Some(slice) = shape.slice_of(EventMs(time)) {
            prop_assert!(slice.start.0 <= time && time < slice.end.0);
            for other in slice.start.0..slice.end.0 {
                prop_assert_eq!(shape.slice_of(EventMs(other)), Some(slice));
                prop_assert_eq!(by_definition(shape, other), shape.windows_of(slice));
            }
        }
    }

    #[test]
    fn first_and_last_end_are_those_of_the_windows(shape in shapes(), time in -100..100i64) {
        if let Some(slice) = shape.slice_of(EventMs(time)) {
            let windows = shape.windows_of(slice);
            prop_assert_eq!(windows.first().unwrap().end, shape.first_end(slice));
            prop_assert_eq!(windows.last().unwrap().end, shape.last_end(slice));
        }
    }
}
