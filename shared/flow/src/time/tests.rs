//! Transcripts a person can read (`transcripts/*.txt`), and properties.
//!
//! A transcript is blocks of commands, `----`, and what its ticks answer, divided by blank lines:
//!
//! ```text
//! stream s out_of_orderness=5 idle_after=60 [assume]
//! log s/1 at=0 [parents=s/0,s/2]             registered at
//! append s/1 at=10 [clock=100]               without a clock: dead letters only
//! append s/1 at=10 event=500 arrival=10      one record
//! unread s/1 · read s/1                      segments that ticks do not see · see again
//! source s/1 drained|more|unknown|ended      unknown until said otherwise
//! window closes=200                          opens a window
//! tick now=100
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;

use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct World {
    streams: BTreeMap<String, StreamTime>,
    logs: BTreeMap<LogId, LogFacts>,
    sources: BTreeMap<LogId, Drained>,
    windows: Vec<i64>,
    watermark: Option<EventMs>,
}

impl World {
    fn run(&mut self, command: &str, answer: &mut String) {
        let mut words = command.split_whitespace();
        let verb = words.next().unwrap();
        let words: Vec<&str> = words.collect();
        let value = |name: &str| {
            words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).map(str::trim)
        };
        let ms = |name: &str| value(name).map(|text| text.parse::<i64>().unwrap());
        let log = || LogId::parse(words[0]).unwrap();
        match verb {
            "stream" => {
                let time = StreamTime {
                    out_of_orderness_ms: ms("out_of_orderness").unwrap(),
                    idle_after_ms: ms("idle_after").unwrap(),
                    assume_idle: words.contains(&"assume"),
                };
                self.streams.insert(words[0].to_string(), time);
            }
            "log" => {
                let parents = value("parents").into_iter().flat_map(|all| all.split(','));
                let facts = LogFacts {
                    stream: self.streams[&log().stream],
                    position: Position::START,
                    clock: None,
                    appended: None,
                    registered_at: WallMs(ms("at").unwrap()),
                    unread: false,
                    ended: false,
                    parents: parents.map(|id| LogId::parse(id).unwrap()).collect(),
                };
                self.logs.insert(log(), facts);
            }
            "append" => {
                let facts = self.logs.get_mut(&log()).unwrap();
                let record = ms("event").map(|event| EventMs(event.min(ms("arrival").unwrap())));
                facts.clock = facts.clock.max(ms("clock").map(EventMs)).max(record);
                facts.appended = Some(WallMs(ms("at").unwrap()));
                let offset = facts.position.to_offset().map_or(0, |offset| offset + 1);
                facts.position = Position::from_offset(offset);
            }
            "unread" => self.logs.get_mut(&log()).unwrap().unread = true,
            "read" => self.logs.get_mut(&log()).unwrap().unread = false,
            "source" => {
                self.logs.get_mut(&log()).unwrap().ended = words[1] == "ended";
                let drained = match words[1] {
                    "drained" | "ended" => Drained::Yes,
                    "more" => Drained::No,
                    "unknown" => Drained::Unknown,
                    other => panic!("no answer of a source: {other}"),
                };
                self.sources.insert(log(), drained);
            }
            "window" => self.windows.push(ms("closes").unwrap()),
            "tick" => self.tick(WallMs(ms("now").unwrap()), answer),
            _ => panic!("no command: {command}"),
        }
    }

    fn tick(&mut self, now: WallMs, answer: &mut String) {
        let asked = candidates(&self.logs, now);
        if !asked.is_empty() {
            let names: Vec<String> = asked.iter().map(|(log, _)| log.to_string()).collect();
            writeln!(answer, "asks {}", names.join(" ")).unwrap();
        }
        let answers = asked
            .into_iter()
            .filter_map(|(log, position)| {
                assert_eq!(position, self.logs[&log].position);
                let drained = *self.sources.get(&log)?;
                Some((log, drained))
            })
            .collect();
        let last_close = self.windows.iter().max().map(|close| EventMs(*close));
        let decision = decide(&self.logs, &answers, now, self.watermark, last_close);
        self.watermark = decision.watermark;
        match decision.watermark {
            Some(EventMs(watermark)) => write!(answer, "watermark={watermark}").unwrap(),
            None => write!(answer, "watermark=none").unwrap(),
        }
        if let Some(log) = &decision.held_by {
            write!(answer, " held_by={log}").unwrap();
        }
        for (name, standing) in [("idle", Standing::Idle), ("ended", Standing::Ended)] {
            let logs = decision.logs.iter().filter(|(_, log)| log.standing == standing);
            let names: Vec<String> = logs.map(|(id, _)| id.to_string()).collect();
            if !names.is_empty() {
                write!(answer, " {name}={}", names.join(",")).unwrap();
            }
        }
        self.windows.sort_unstable();
        let closing = |close: &i64| self.watermark.is_some_and(|watermark| *close <= watermark.0);
        for close in self.windows.iter().filter(|close| closing(close)) {
            write!(answer, " closed={close}").unwrap();
        }
        let watermark = self.watermark;
        self.windows.retain(|close| watermark.is_none_or(|watermark| *close > watermark.0));
        answer.push('\n');
    }
}

fn run_transcript(name: &str, text: &str) {
    let mut world = World::default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let blocks = lines.split(|line| line.is_empty()).filter(|block| !block.is_empty());
    let mut ticks = 0;
    for block in blocks {
        let divider = block.iter().position(|line| *line == "----").unwrap_or_else(|| {
            panic!("{name}: a block of commands without answers:\n{}", block.join("\n"))
        });
        let mut answer = String::new();
        for command in &block[..divider] {
            world.run(command, &mut answer);
        }
        let expected = block[divider + 1..].join("\n") + "\n";
        assert_eq!(answer, expected, "{name}, after\n{}", block[..divider].join("\n"));
        ticks += answer.lines().count();
    }
    assert!(ticks > 0, "{name} asserts nothing");
}

macro_rules! transcripts {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let name = concat!("transcripts/", stringify!($name), ".txt");
            run_transcript(name, include_str!(concat!("transcripts/", stringify!($name), ".txt")));
        }
    )*};
}

transcripts! {
    the_slowest_log_decides
    idle_is_not_stuck
    unknown_is_not_idle
    a_log_without_a_clock_holds
    all_idle_moves_on
    a_paused_replay_stays_in_its_year
    future_timestamps_hold_nobody
    the_watermark_never_goes_back
    a_child_inherits_its_parents_clock
    end_of_input
    streams_keep_their_own_settings
}

#[test]
fn parents_in_a_circle_come_to_an_end() {
    let mut world = World::default();
    let mut answer = String::new();
    for command in [
        "stream s out_of_orderness=0 idle_after=10",
        "log s/a at=0 parents=s/b",
        "log s/b at=0 parents=s/a,s/unknown",
        "append s/a at=0 clock=7",
        "tick now=1",
    ] {
        world.run(command, &mut answer);
    }
    assert_eq!(answer, "watermark=7 held_by=s/a\n");
}

fn log_facts() -> impl Strategy<Value = LogFacts> {
    let stream = (0i64..20, 1i64..50, any::<bool>()).prop_map(|(late, idle, assume_idle)| {
        StreamTime { out_of_orderness_ms: late, idle_after_ms: idle, assume_idle }
    });
    let parents = proptest::collection::vec(0u8..6, 0..3);
    (
        stream,
        0u64..100,
        proptest::option::of(-100i64..100),
        proptest::option::of(0i64..100),
        (0i64..100, any::<bool>(), any::<bool>()),
        parents,
    )
        .prop_map(|(stream, offset, clock, appended, (registered, unread, ended), parents)| {
            LogFacts {
                stream,
                position: Position::from_offset(offset),
                clock: clock.map(EventMs),
                appended: appended.map(WallMs),
                registered_at: WallMs(registered),
                unread,
                ended,
                parents: parents.into_iter().map(log_id).collect(),
            }
        })
}

fn log_id(number: u8) -> LogId {
    LogId::new("s", number.to_string())
}

fn facts() -> impl Strategy<Value = BTreeMap<LogId, LogFacts>> {
    proptest::collection::btree_map((0u8..6).prop_map(log_id), log_facts(), 0..6)
}

fn answers() -> impl Strategy<Value = BTreeMap<LogId, Drained>> {
    let drained = prop_oneof![Just(Drained::Yes), Just(Drained::No), Just(Drained::Unknown)];
    proptest::collection::btree_map((0u8..6).prop_map(log_id), drained, 0..6)
}

fn event() -> impl Strategy<Value = Option<EventMs>> {
    proptest::option::of((-100i64..200).prop_map(EventMs))
}

proptest! {
    #[test]
    fn the_watermark_is_monotone(
        facts in facts(), answers in answers(), now in 0i64..200, previous in event(), last in event(),
    ) {
        let decision = decide(&facts, &answers, WallMs(now), previous, last);
        prop_assert!(decision.watermark >= previous);
    }

    #[test]
    fn the_watermark_stays_at_or_below_every_active_log_s(
        facts in facts(), answers in answers(), now in 0i64..200, previous in event(), last in event(),
    ) {
        let decision = decide(&facts, &answers, WallMs(now), previous, last);
        for (id, log) in &decision.logs {
            if log.standing == Standing::Active {
                let late = facts[id].stream.out_of_orderness_ms;
                let bound = log.clock.map(|clock| clock.minus(late));
                prop_assert!(decision.watermark <= bound.max(previous));
            }
        }
    }

    #[test]
    fn without_an_active_log_the_watermark_goes_no_further_than_the_last_window_needs(
        facts in facts(), answers in answers(), now in 0i64..200, previous in event(), last in event(),
    ) {
        let decision = decide(&facts, &answers, WallMs(now), previous, last);
        if decision.held_by.is_none() {
            prop_assert!(decision.watermark <= last.max(previous));
        }
    }

    #[test]
    fn a_log_that_was_not_to_be_asked_is_active_whatever_its_source_says(
        facts in facts(), answers in answers(), now in 0i64..200,
    ) {
        let asked = candidates(&facts, WallMs(now));
        let decision = decide(&facts, &answers, WallMs(now), None, None);
        for (id, log) in &decision.logs {
            let was_asked = asked.iter().any(|(candidate, _)| candidate == id);
            prop_assert!(was_asked || log.standing == Standing::Active);
        }
    }
}
