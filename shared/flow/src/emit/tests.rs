use std::sync::{Arc, Mutex};

use arrow::array::{Int64Array, RecordBatch};
use async_trait::async_trait;
use futures::FutureExt;
use tidemill_model::{DeadReason, LogId, Position, WallMs};

use super::*;
use crate::ports::{FailedRows, QueryResults, Taken};

/// What a sink was told.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Restore(String, Option<Vec<u8>>),
    Emit(String, Vec<(String, usize)>, usize),
}

struct Ear {
    name: String,
    told: Arc<Mutex<Vec<Told>>>,
    is_down: Arc<Mutex<bool>>,
}

#[async_trait]
impl Sink for Ear {
    async fn restore(&mut self, state: Option<&[u8]>) -> Result<(), SinkError> {
        let told = Told::Restore(self.name.clone(), state.map(<[u8]>::to_vec));
        self.told.lock().unwrap().push(told);
        Ok(())
    }

    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError> {
        if *self.is_down.lock().unwrap() {
            return Err(SinkError { sink: self.name.clone(), reason: "gone".to_string() });
        }
        let rows = |results: &QueryResults| (results.query.clone(), results.batch.num_rows());
        let results = emission.results.iter().map(rows).collect();
        let mut told = self.told.lock().unwrap();
        told.push(Told::Emit(self.name.clone(), results, emission.letters().count()));
        Ok(Taken::all(vec![emission.epoch.0 as u8]))
    }
}

struct Sinks {
    emit: Emit,
    told: Arc<Mutex<Vec<Told>>>,
    is_down: Arc<Mutex<bool>>,
}

fn routes() -> Routes {
    let results = [("q1", "x"), ("q2", "y"), ("q3", "x")];
    let results = results.map(|(query, sink)| (query.to_string(), vec![sink.to_string()]));
    Routes { results: results.into_iter().collect(), dead_letters: "y".to_string() }
}

fn sinks() -> Sinks {
    let (told, is_down) = <(Arc<Mutex<Vec<Told>>>, Arc<Mutex<bool>>)>::default();
    let sinks = ["x", "y"].map(|name| {
        let (told, is_down) = (told.clone(), is_down.clone());
        let ear = Ear { name: name.to_string(), told, is_down };
        (name.to_string(), Box::new(ear) as Box<dyn Sink>)
    });
    Sinks { emit: Emit::new(sinks.into_iter().collect(), routes()).unwrap(), told, is_down }
}

fn results(query: &str, rows: i64) -> QueryResults {
    let rows = Arc::new(Int64Array::from_iter_values(0..rows)) as Arc<dyn arrow::array::Array>;
    let batch = RecordBatch::try_from_iter([("n", rows)]).unwrap();
    QueryResults { query: query.to_string(), windows: 1, batch }
}

fn failed() -> FailedRows {
    FailedRows {
        query: "q1".to_string(),
        window: None,
        rows: 1,
        detail: "division".to_string(),
        raw: RawBytes::of(b"{}", 0),
    }
}

fn letter() -> DeadLetter {
    DeadLetter {
        log: LogId::new("s", "0"),
        position: Position::START,
        arrival: WallMs(0),
        reason: DeadReason::NoEventTime,
        raw: None,
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

#[test]
fn ids_name_query_epoch_and_row() {
    assert_eq!(result_id("views", Epoch(7), 12), "views/7/12");
    assert_eq!(dead_letter_id(Epoch(7), 0), "dead/7/0");
}

#[test]
fn an_emission_holds_segments_dead_letters_before_late_ones_and_no_empty_results() {
    let mut late = letter();
    late.reason = DeadReason::Undecodable { detail: "late".to_string() };
    let closed = Closed {
        results: vec![results("q1", 0), results("q2", 1)],
        late: vec![late],
        late_rows: 1,
        ..Closed::default()
    };
    let emission = emission(Epoch(1), vec![letter()], closed);
    let tags: Vec<&str> = emission.dead_letters.iter().map(|dead| dead.reason.tag()).collect();
    assert_eq!(tags, ["no_event_time", "undecodable"]);
    assert_eq!(emission.results.len(), 1);
    assert!(!is_empty(&emission));
    let closed = Closed { results: vec![results("q1", 0)], ..Closed::default() };
    assert!(is_empty(&super::emission(Epoch(1), Vec::new(), closed)));
    let closed = Closed { failed: vec![failed()], ..Closed::default() };
    assert!(!is_empty(&super::emission(Epoch(1), Vec::new(), closed)));
}

#[test]
fn a_route_to_a_sink_that_is_not_there_is_refused() {
    let error = Emit::new(BTreeMap::new(), routes()).err().unwrap();
    assert_eq!((error.sink.as_str(), error.needed_by.as_str()), ("x", "q1"));
    let routes = Routes { results: BTreeMap::new(), dead_letters: "letters".to_string() };
    let error = Emit::new(BTreeMap::new(), routes).err().unwrap();
    assert_eq!(error.needed_by, "dead letters");
}

#[test]
fn every_sink_gets_its_share_and_those_without_one_are_left_alone() {
    let Sinks { mut emit, told, .. } = sinks();
    now(emit.restore(None)).unwrap();
    let emission = Emission {
        results: vec![results("q1", 2), results("q2", 1), results("q3", 4)],
        dead_letters: vec![letter()],
        failed: vec![failed()],
        ..Emission::empty(Epoch(3))
    };
    let Shared { states, .. } = now(emit.emit(&emission)).unwrap();
    let state = |name: &str, byte| (name.to_string(), vec![byte]);
    assert_eq!(states, BTreeMap::from([state("x", 3), state("y", 3)]));
    // An epoch with nothing for y: the marker keeps its state.
    emit.confirm();
    let only_x = Emission { results: vec![results("q3", 1)], ..Emission::empty(Epoch(4)) };
    let Shared { states, .. } = now(emit.emit(&only_x)).unwrap();
    assert_eq!(states, BTreeMap::from([state("x", 4), state("y", 3)]));
    let pairs = |all: &[(&str, usize)]| {
        all.iter().map(|(query, rows)| (query.to_string(), *rows)).collect::<Vec<_>>()
    };
    assert_eq!(
        *told.lock().unwrap(),
        [
            Told::Restore("x".to_string(), None),
            Told::Restore("y".to_string(), None),
            Told::Emit("x".to_string(), pairs(&[("q1", 2), ("q3", 4)]), 0),
            Told::Emit("y".to_string(), pairs(&[("q2", 1)]), 0),
            Told::Emit("y".to_string(), pairs(&[]), 2),
            Told::Emit("x".to_string(), pairs(&[("q3", 1)]), 0),
        ]
    );
}

#[test]
fn sinks_are_restored_from_the_marker_after_an_emission_that_was_not_marked() {
    let Sinks { mut emit, told, is_down } = sinks();
    assert!(!emit.is_restored());
    let marker = Emitted { epoch: Epoch(2), sinks: BTreeMap::from([("y".to_string(), vec![9])]) };
    now(emit.restore(Some(&marker))).unwrap();
    assert!(emit.is_restored());
    let told_of_marker = told.lock().unwrap().clone();
    assert_eq!(
        told_of_marker,
        [Told::Restore("x".to_string(), None), Told::Restore("y".to_string(), Some(vec![9]))]
    );
    let emission = Emission { results: vec![results("q1", 1)], ..Emission::empty(Epoch(3)) };
    *is_down.lock().unwrap() = true;
    let error = now(emit.emit(&emission)).unwrap_err();
    assert_eq!(error.sink, "x");
    assert!(!emit.is_restored());
    now(emit.restore(Some(&marker))).unwrap();
    *is_down.lock().unwrap() = false;
    now(emit.emit(&emission)).unwrap();
    // Emitted, but the marker is not written yet.
    assert!(!emit.is_restored());
    emit.confirm();
    assert!(emit.is_restored());
}

#[test]
fn results_without_a_sink_stop_emission() {
    let Sinks { mut emit, .. } = sinks();
    now(emit.restore(None)).unwrap();
    let emission = Emission { results: vec![results("q9", 1)], ..Emission::empty(Epoch(0)) };
    let error = now(emit.emit(&emission)).unwrap_err();
    assert!(error.to_string().contains("q9"), "{error}");
}

/// A sink that can take no row of number `unfit` and keeps every line of every epoch.
struct Narrow {
    name: &'static str,
    unfit: Option<usize>,
    refuses_letters: bool,
    lines: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Sink for Narrow {
    async fn restore(&mut self, _: Option<&[u8]>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError> {
        let mut lines = self.lines.lock().unwrap();
        let mut rejected = Vec::new();
        let reject = |query: &str, row| {
            let detail = format!("{} is narrow", self.name);
            Rejection { query: query.to_string(), row, detail }
        };
        for results in &emission.results {
            for row in 0..results.batch.num_rows() {
                if Some(row) == self.unfit {
                    rejected.push(reject(&results.query, row));
                } else {
                    lines.push(result_id(&results.query, emission.epoch, row));
                }
            }
        }
        for letter in emission.letters() {
            let mut line = Vec::new();
            letter.write(&mut line);
            lines.push(String::from_utf8(line).unwrap());
            if self.refuses_letters {
                rejected.push(reject("dead", 0));
            }
        }
        Ok(Taken { state: Vec::new(), rejected })
    }
}

/// Emits one epoch to `x`, which cannot take its queries' row 1, and to `y`, which gets the dead
/// letters and cannot take row 0. Answers what became of it and what both took, in order.
fn narrow(refuses_letters: bool) -> (Result<Shared, SinkError>, Vec<String>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sinks = [("x", Some(1), false), ("y", Some(0), refuses_letters)];
    let sinks = sinks.map(|(name, unfit, refuses_letters)| {
        let sink = Narrow { name, unfit, refuses_letters, lines: lines.clone() };
        (name.to_string(), Box::new(sink) as Box<dyn Sink>)
    });
    let mut emit = Emit::new(sinks.into_iter().collect(), routes()).unwrap();
    now(emit.restore(None)).unwrap();
    let emission = Emission {
        results: vec![results("q1", 3), results("q2", 1), results("q3", 2)],
        dead_letters: vec![letter()],
        ..Emission::empty(Epoch(3))
    };
    let answer = now(emit.emit(&emission));
    let lines = lines.lock().unwrap().clone();
    (answer, lines)
}

#[test]
fn rows_that_no_sink_can_take_are_dead_letters_after_all_results() {
    let (answer, lines) = narrow(false);
    assert_eq!(answer.unwrap().rejected, 3);
    assert_eq!(lines[..3], ["q1/3/0", "q1/3/2", "q3/3/0"]);
    let members = |line: &String| -> Vec<String> {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let names = ["id", "reason", "result_id", "sink", "detail", "raw"];
        names.map(|name| line[name].as_str().unwrap_or("-").to_string()).to_vec()
    };
    let letters: Vec<Vec<String>> = lines[3..].iter().map(members).collect();
    assert_eq!(
        letters,
        [
            ["dead/3/0", "no_event_time", "-", "-", "-", "-"],
            ["rejected/x/q1/3/1", "rejected", "q1/3/1", "x", "x is narrow", "{\"n\":1}"],
            ["rejected/x/q3/3/1", "rejected", "q3/3/1", "x", "x is narrow", "{\"n\":1}"],
            ["rejected/y/q2/3/0", "rejected", "q2/3/0", "y", "y is narrow", "{\"n\":0}"],
        ]
    );
    assert_eq!(narrow(false).1, lines, "a replay gives the same ids and values");
}

/// A query wrote to one sink only, so that its text was written twice, and both counted double.
#[test]
fn all_sinks_of_a_query_get_every_row_and_two_that_refuse_one_give_two_dead_letters() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sinks = [("x", Some(1)), ("y", Some(1)), ("z", None)].map(|(name, unfit)| {
        let sink = Narrow { name, unfit, refuses_letters: false, lines: lines.clone() };
        (name.to_string(), Box::new(sink) as Box<dyn Sink>)
    });
    let all = ["x", "y", "z"].map(str::to_string).to_vec();
    let routed = BTreeMap::from([("q1".to_string(), all)]);
    let routes = Routes { results: routed, dead_letters: "z".to_string() };
    let mut emit = Emit::new(sinks.into_iter().collect(), routes).unwrap();
    now(emit.restore(None)).unwrap();
    let emission = Emission { results: vec![results("q1", 2)], ..Emission::empty(Epoch(3)) };
    assert_eq!(now(emit.emit(&emission)).unwrap().rejected, 2);
    let lines = lines.lock().unwrap().clone();
    let ids = lines.iter().map(|line| {
        let letter: Result<serde_json::Value, _> = serde_json::from_str(line);
        letter.map_or_else(|_| line.clone(), |letter| letter["id"].as_str().unwrap().to_string())
    });
    assert_eq!(
        ids.collect::<Vec<_>>(),
        ["q1/3/0", "q1/3/0", "q1/3/0", "q1/3/1", "rejected/x/q1/3/1", "rejected/y/q1/3/1"]
    );
}

#[test]
fn a_dead_letter_sink_that_refuses_a_dead_letter_stops_emission() {
    let (answer, _) = narrow(true);
    let error = answer.unwrap_err();
    assert_eq!(error.sink, "y");
    assert!(error.reason.contains("y is narrow"), "{error}");
}

#[test]
fn a_sink_that_refuses_a_row_it_was_not_given_stops_emission() {
    struct Confused;

    #[async_trait]
    impl Sink for Confused {
        async fn restore(&mut self, _: Option<&[u8]>) -> Result<(), SinkError> {
            Ok(())
        }

        async fn emit(&mut self, _: &Emission) -> Result<Taken, SinkError> {
            let (query, detail) = ("q1".to_string(), String::new());
            Ok(Taken { state: Vec::new(), rejected: vec![Rejection { query, row: 2, detail }] })
        }
    }

    let sinks = ["x", "y"].map(|name| (name.to_string(), Box::new(Confused) as Box<dyn Sink>));
    let mut emit = Emit::new(sinks.into_iter().collect(), routes()).unwrap();
    let emission = Emission { results: vec![results("q1", 2)], ..Emission::empty(Epoch(3)) };
    let error = now(emit.emit(&emission)).unwrap_err();
    assert!(error.reason.contains("row 2 of `q1`"), "{error}");
}
