//! The harness itself, with a function that does as its events say (`src/bin`).

use serde_json::json;

use super::*;
use crate::binaries;

/// Deploys the function that does as its events say.
fn deploy(timeout: Duration, env: &[(&str, &str)]) -> Function {
    let binary = binaries::find("obedient-function");
    let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Function::deploy(FunctionSettings {
        name: "fake".to_string(),
        binary,
        env: env.collect(),
        timeout,
        patience: Duration::ZERO,
    })
}

fn ask(function: &Function, what: &str) -> Result<Value, Failure> {
    function.invoke(&json!({ "do": what }))
}

#[test]
fn a_process_stays_warm_until_it_ends() {
    let function = deploy(Duration::from_secs(20), &[]);
    let first = ask(&function, "answer").unwrap();
    assert_eq!(ask(&function, "answer").unwrap(), first);
    let failure = ask(&function, "fail").unwrap_err();
    assert_eq!(failure.to_string(), "Bad: as told");
    assert_eq!(ask(&function, "answer").unwrap(), first, "an error leaves the process warm");
    assert!(matches!(ask(&function, "exit"), Err(Failure::Crashed { .. })));
    assert_ne!(ask(&function, "answer").unwrap(), first);
    assert_eq!(function.counts(), (2, 6));
    // Lines are read beside everything else; the end of a process waits for the last one.
    function.cool_down();
    assert_eq!(function.logs().matching("event {\"do\":\"answer\"}").len(), 4);
}

#[test]
fn a_process_that_hangs_is_killed_at_its_timeout() {
    let function = deploy(Duration::from_secs(2), &[]);
    assert_eq!(ask(&function, "hang"), Err(Failure::TimedOut));
    assert!(ask(&function, "answer").is_ok());
}

#[test]
fn a_process_that_hangs_is_killed_later_where_the_test_has_patience() {
    let patience = Duration::from_millis(500);
    let mut function = deploy(Duration::from_millis(1), &[]);
    function.settings.patience = patience;
    let started = Instant::now();
    assert_eq!(ask(&function, "hang"), Err(Failure::TimedOut));
    assert!(started.elapsed() >= patience);
}

#[test]
fn why_a_process_cannot_start_is_told() {
    let function = deploy(Duration::from_secs(20), &[("BROKEN", "1")]);
    assert_eq!(ask(&function, "answer").unwrap_err().to_string(), "cannot start: Config: no table");
}

#[test]
fn processes_are_killed_as_often_as_told() {
    let function = deploy(Duration::from_secs(20), &[]);
    function.kill_often(100, 6, 1);
    for _ in 0..6 {
        let _ = ask(&function, "answer");
    }
    let kills = function.kills();
    assert_eq!((kills.all(), kills.starting), (6, 0), "{kills}");
    assert!(ask(&function, "answer").is_ok());
}

#[test]
fn a_process_is_killed_whatever_it_does() {
    let function = deploy(Duration::from_secs(60), &[]);
    let mut rng = Rng::new(1);
    assert!(!function.kill_one(&mut rng), "there is none yet");
    assert!(ask(&function, "answer").is_ok());
    assert!(function.kill_one(&mut rng));
    // The dead one fails one invocation at most; then another process starts.
    assert!(ask(&function, "answer").is_ok() || ask(&function, "answer").is_ok());
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| ask(&function, "hang"));
        while !hanging.is_finished() {
            function.kill_one(&mut rng);
        }
        let killed = hanging.join().unwrap();
        assert!(matches!(killed, Err(Failure::Crashed { .. })), "{killed:?}");
    });
    assert!(function.kills().all() >= 2, "{}", function.kills());
    assert!(ask(&function, "answer").is_ok());
}

#[test]
fn invocations_that_are_made_to_fail_reach_nothing() {
    let function = deploy(Duration::from_secs(20), &[]);
    function.fail_invocations(true);
    assert_eq!(ask(&function, "answer"), Err(Failure::Throttled));
    assert_eq!(function.counts(), (0, 0));
    function.fail_invocations(false);
    assert!(ask(&function, "answer").is_ok());
}
