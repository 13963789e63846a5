use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const TOTAL: Duration = Duration::from_millis(800);

fn failed(kind: Kind, what: &str) -> Result<&'static str, Failure> {
    Err(Failure { kind, what: what.to_string(), help: None })
}

/// The answer to a call whose attempts go so, and how many there were. The last one repeats.
async fn tried(
    patience: &Patience,
    script: Vec<Result<&'static str, Failure>>,
) -> (Result<&'static str, Failure>, usize) {
    let made = Cell::new(0);
    let script = RefCell::new(script);
    let answer = patience
        .attempts(|| {
            made.set(made.get() + 1);
            let mut script = script.borrow_mut();
            let next = if script.len() > 1 { script.remove(0) } else { script[0].clone() };
            async { next }
        })
        .await;
    (answer, made.get())
}

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_again() {
    let patience = Patience::new(TOTAL);
    let script = vec![failed(Kind::Busy, "throttled"), failed(Kind::Unknown, "500"), Ok("done")];
    assert_eq!(tried(&patience, script).await, (Ok("done"), 3));
}

#[tokio::test]
async fn what_is_refused_or_taken_is_not_tried_again() {
    for kind in [Kind::Refused, Kind::ConditionFailed] {
        let (answer, made) = tried(&Patience::new(TOTAL), vec![failed(kind, "no")]).await;
        assert_eq!((answer.unwrap_err().kind, made), (kind, 1));
    }
}

/// "Not written" of a later attempt says nothing about an earlier one.
#[tokio::test]
async fn after_a_timeout_nothing_is_certainly_not_written() {
    let timeout = || failed(Kind::Unknown, "no answer in time");
    for later in [Kind::Refused, Kind::Busy] {
        let script = vec![timeout(), failed(later, "denied")];
        let (answer, made) = tried(&Patience::new(TOTAL), script).await;
        let failure = answer.unwrap_err();
        assert_eq!(failure.kind, Kind::Unknown);
        assert!(made > 1 && failure.what.contains("denied"), "{failure:?}");
        assert!(failure.what.contains("no answer in time"), "{failure:?}");
    }
    let script = vec![timeout(), failed(Kind::ConditionFailed, "taken")];
    let (answer, _) = tried(&Patience::new(TOTAL), script).await;
    assert_eq!(answer.unwrap_err().kind, Kind::ConditionFailed);
}

#[tokio::test]
async fn a_call_ends_in_time() {
    let begun = Instant::now();
    let script = vec![failed(Kind::Busy, "throttled")];
    let (answer, made) = tried(&Patience::new(TOTAL), script).await;
    let failure = answer.unwrap_err();
    assert_eq!(failure.kind, Kind::Busy);
    assert!(failure.what.contains(&format!("({made} attempts)")), "{failure:?}");
    assert!((3..20).contains(&made), "{made} attempts");
    assert!(begun.elapsed() <= TOTAL);
}

/// A machine that slept between two attempts: the clock that only rises stood still.
#[tokio::test]
async fn a_process_that_was_frozen_sends_nothing_more() {
    let reads = AtomicU64::new(0);
    let patience = Patience::with_wall(TOTAL, move || {
        let day = Duration::from_secs(24 * 3600);
        SystemTime::UNIX_EPOCH + day * u32::try_from(reads.fetch_add(1, Ordering::Relaxed)).unwrap()
    });
    let (answer, made) = tried(&patience, vec![failed(Kind::Busy, "throttled"), Ok("done")]).await;
    assert_eq!((answer.unwrap_err().kind, made), (Kind::Busy, 1));
}

#[tokio::test]
async fn writers_that_were_throttled_together_come_back_apart() {
    let mut ended = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        let script = vec![failed(Kind::Busy, "throttled"), Ok("done")];
        let _ = tried(&Patience::new(TOTAL), script).await;
        ended.push(begun.elapsed());
    }
    ended.sort_unstable();
    ended.dedup();
    assert!(ended.len() > 1, "all waited {ended:?}");
    assert!(ended.iter().all(|waited| *waited >= FIRST_WAIT), "{ended:?}");
}
