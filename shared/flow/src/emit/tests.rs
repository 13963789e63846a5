use std::sync::{Arc, Mutex};

use arrow::array::{Int64Array, RecordBatch};
use async_trait::async_trait;
use futures::FutureExt;
use tidemill_model::{DeadReason, LogId, Position, WallMs};

use super::*;
use crate::ports::QueryResults;

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

    async fn emit(&mut self, emission: &Emission) -> Result<Vec<u8>, SinkError> {
        if *self.is_down.lock().unwrap() {
            return Err(SinkError { sink: self.name.clone(), reason: "gone".to_string() });
        }
        let rows = |results: &QueryResults| (results.query.clone(), results.batch.num_rows());
        let results = emission.results.iter().map(rows).collect();
        let mut told = self.told.lock().unwrap();
        told.push(Told::Emit(self.name.clone(), results, emission.dead_letters.len()));
        Ok(vec![emission.epoch.0 as u8])
    }
}

struct Sinks {
    emit: Emit,
    told: Arc<Mutex<Vec<Told>>>,
    is_down: Arc<Mutex<bool>>,
}

fn routes() -> Routes {
    let results = [("q1", "x"), ("q2", "y"), ("q3", "x")];
    let results = results.map(|(query, sink)| (query.to_string(), sink.to_string()));
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
    };
    let emission = emission(Epoch(1), vec![letter()], closed);
    let tags: Vec<&str> = emission.dead_letters.iter().map(|dead| dead.reason.tag()).collect();
    assert_eq!(tags, ["no_event_time", "undecodable"]);
    assert_eq!(emission.results.len(), 1);
    assert!(!is_empty(&emission));
    let closed = Closed { results: vec![results("q1", 0)], ..Closed::default() };
    assert!(is_empty(&super::emission(Epoch(1), Vec::new(), closed)));
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
        epoch: Epoch(3),
        results: vec![results("q1", 2), results("q2", 1), results("q3", 4)],
        dead_letters: vec![letter()],
    };
    let states = now(emit.emit(&emission)).unwrap();
    let state = |name: &str, byte| (name.to_string(), vec![byte]);
    assert_eq!(states, BTreeMap::from([state("x", 3), state("y", 3)]));
    // An epoch with nothing for y: the marker keeps its state.
    emit.confirm();
    let only_x =
        Emission { epoch: Epoch(4), results: vec![results("q3", 1)], dead_letters: Vec::new() };
    let states = now(emit.emit(&only_x)).unwrap();
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
            Told::Emit("y".to_string(), pairs(&[("q2", 1)]), 1),
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
    let emission =
        Emission { epoch: Epoch(3), results: vec![results("q1", 1)], dead_letters: Vec::new() };
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
    let emission =
        Emission { epoch: Epoch(0), results: vec![results("q9", 1)], dead_letters: Vec::new() };
    let error = now(emit.emit(&emission)).unwrap_err();
    assert!(error.to_string().contains("q9"), "{error}");
}
