use crate::pipelines::{Meaning, Windows};

fn meaning(windows: Windows) -> Meaning {
    let (name, stream) = ("q", "events");
    Meaning { name, stream, windows, grace: 0, letters: true, from_zero: false, top: None }
}

#[test]
fn windows_are_those_of_their_definition() {
    let tumble = meaning(Windows::Tumble { size: 10 });
    assert_eq!(tumble.spans(9), [(0, 10)]);
    assert_eq!(tumble.spans(-1), [(-10, 0)]);
    let hop = meaning(Windows::Hop { slide: 4, size: 10 });
    assert_eq!(hop.spans(9), [(8, 18), (4, 14), (0, 10)]);
    assert_eq!(hop.spans(10), [(8, 18), (4, 14)]);
    let grow = meaning(Windows::Cumulate { step: 5, size: 20 });
    assert_eq!(grow.spans(7), [(0, 10), (0, 15), (0, 20)]);
}
