//! The example over its real data: a year of flights, with known answers, also when it is killed.

use std::path::Path;
use std::time::Duration;

use tidemill_testkit::Rng;

use crate::workspace::Workspace;

/// Arguments of a run of the example in `folder`.
fn run(folder: &str) -> Vec<String> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/flights");
    let file = |name: &str| example.join(name).to_str().unwrap().to_string();
    let mut args = vec!["run".to_string(), file("pipeline.toml")];
    for stream in ["flights", "weather"] {
        args.push("--input".to_string());
        args.push(format!("{stream}={}", file(&format!("{stream}.jsonl.zst"))));
    }
    args.extend(["--output", folder, "--until-end"].map(String::from));
    args
}

/// Rows that each query gives over the whole year: facts about the data, counted without Tidemill
/// (see the example's README).
const ROWS: [(&str, usize); 5] = [
    ("aircraft_sessions", 294_506),
    ("busiest_hour_so_far", 6_939),
    ("delay_and_weather", 1_092),
    ("mean_delay", 19_486),
    ("top_destinations", 3_285),
];
/// Flights of the year per origin.
const FLIGHTS: [(&str, u64); 3] = [("EWR", 120_835), ("JFK", 111_279), ("LGA", 104_662)];

#[test]
fn a_year_of_flights_has_the_known_answers_however_often_it_is_killed() {
    let workspace = Workspace::new();
    let whole = run("whole");
    let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
    let ran = workspace.tidemill(&whole).succeeded();
    assert_eq!((ran.summary("late"), ran.summary("dead letters")), (0, 0));
    for (query, rows) in ROWS {
        assert_eq!(workspace.results("whole", query).len(), rows, "{query}");
    }
    for (origin, flights) in FLIGHTS {
        let of_origin = format!("\"origin\":\"{origin}\"");
        let count = |line: &String| -> u64 {
            let (_, rest) = line.split_once("\"flights\":").unwrap();
            rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
        };
        let lines = workspace.results("whole", "mean_delay");
        let sum: u64 = lines.iter().filter(|line| line.contains(&of_origin)).map(count).sum();
        assert_eq!(sum, flights, "{origin}");
    }

    let killed = run("killed");
    let killed: Vec<&str> = killed.iter().map(String::as_str).collect();
    let longest = Duration::from_millis(1_300);
    let kills = workspace.kill(&killed, longest, 10, &mut Rng::new(1));
    assert!(kills > 0, "it was done before it could be killed");
    workspace.tidemill(&killed).succeeded();
    for (query, _) in ROWS {
        assert_eq!(
            workspace.results("killed", query),
            workspace.results("whole", query),
            "{query}"
        );
    }
}
