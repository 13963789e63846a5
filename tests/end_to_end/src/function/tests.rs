//! The harness itself, with a function that does as its events say: this test binary.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::http::Client;

/// Deploys this test binary as a function.
fn deploy(folder: &Path, timeout: Duration, env: &[(&str, &str)]) -> Function {
    let binary = folder.join("function");
    let this = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\nexec {} --ignored --exact --nocapture function::tests::the_function\n",
        this.display()
    );
    fs::write(&binary, script).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Function::deploy(FunctionSettings {
        name: "fake".to_string(),
        binary,
        env: env.collect(),
        timeout,
    })
}

/// What the processes of these tests run. It is no test: it serves events until it is ended.
#[test]
#[ignore = "the function that the other tests invoke"]
fn the_function() {
    let address = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap().parse().unwrap();
    let mut client = Client::new(address);
    let base = "/2018-06-01/runtime";
    if std::env::var("BROKEN").is_ok() {
        let error = json!({ "errorType": "Config", "errorMessage": "no table" }).to_string();
        client.send("POST", &format!("{base}/init/error"), &[], error.as_bytes()).unwrap();
        std::process::exit(1);
    }
    loop {
        let next = client.send("GET", &format!("{base}/invocation/next"), &[], b"").unwrap();
        let id = next.headers.iter().find(|(name, _)| name == "Lambda-Runtime-Aws-Request-Id");
        let path = format!("{base}/invocation/{}", id.unwrap().1);
        let event: Value = serde_json::from_slice(&next.body).unwrap();
        println!("event {event}");
        let (kind, answer) = match event["do"].as_str().unwrap() {
            "answer" => ("response", json!({ "process": std::process::id() })),
            "fail" => ("error", json!({ "errorType": "Bad", "errorMessage": "as told" })),
            "hang" => loop {
                std::thread::park();
            },
            _ => std::process::exit(3),
        };
        let answer = answer.to_string();
        client.send("POST", &format!("{path}/{kind}"), &[], answer.as_bytes()).unwrap();
    }
}

fn ask(function: &Function, what: &str) -> Result<Value, Failure> {
    function.invoke(&json!({ "do": what }))
}

#[test]
fn a_process_stays_warm_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let function = deploy(folder.path(), Duration::from_secs(20), &[]);
    let first = ask(&function, "answer").unwrap();
    assert_eq!(ask(&function, "answer").unwrap(), first);
    let failure = ask(&function, "fail").unwrap_err();
    assert_eq!(failure.to_string(), "Bad: as told");
    assert_eq!(ask(&function, "answer").unwrap(), first, "an error leaves the process warm");
    assert!(matches!(ask(&function, "exit"), Err(Failure::Crashed { .. })));
    assert_ne!(ask(&function, "answer").unwrap(), first);
    assert_eq!(function.counts(), (2, 6));
    assert_eq!(function.logs().matching("event {\"do\":\"answer\"}").len(), 4);
}

#[test]
fn a_process_that_hangs_is_killed_at_its_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let function = deploy(folder.path(), Duration::from_secs(2), &[]);
    assert_eq!(ask(&function, "hang"), Err(Failure::TimedOut));
    assert!(ask(&function, "answer").is_ok());
}

#[test]
fn why_a_process_cannot_start_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let function = deploy(folder.path(), Duration::from_secs(20), &[("BROKEN", "1")]);
    assert_eq!(ask(&function, "answer").unwrap_err().to_string(), "cannot start: Config: no table");
}

#[test]
fn processes_are_killed_as_often_as_told() {
    let folder = tempfile::tempdir().unwrap();
    let function = deploy(folder.path(), Duration::from_secs(20), &[]);
    function.kill_often(100, 6, 1);
    for _ in 0..6 {
        let _ = ask(&function, "answer");
    }
    let (busy, idle) = function.kills();
    assert_eq!(busy + idle, 6, "busy={busy} idle={idle}");
    assert!(ask(&function, "answer").is_ok());
}

#[test]
fn invocations_that_are_made_to_fail_reach_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let function = deploy(folder.path(), Duration::from_secs(20), &[]);
    function.fail_invocations(true);
    assert_eq!(ask(&function, "answer"), Err(Failure::Throttled));
    assert_eq!(function.counts(), (0, 0));
    function.fail_invocations(false);
    assert!(ask(&function, "answer").is_ok());
}
