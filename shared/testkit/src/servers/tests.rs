use std::{
    net::TcpListener,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use super::*;

/// A server of a few lines, in Python, that writes a line and answers HTTP.
fn small_server(port: &Port, script: &str) -> ServerCommand {
    let script = script.replace("PORT", &port.number().to_string());
    ServerCommand {
        name: "small-server",
        words: vec!["python3".into(), "-u".into(), "-c".into(), script.into()],
        folder: "/".into(),
        ..ServerCommand::default()
    }
}

const ANSWERS: &str = "
import http.server
print('ready', flush=True)
http.server.HTTPServer(('127.0.0.1', PORT), http.server.SimpleHTTPRequestHandler).serve_forever()
";

fn listens(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn soon(condition: impl Fn() -> bool) -> bool {
    (0..200).any(|_| {
        thread::sleep(Duration::from_millis(50));
        condition()
    })
}

#[test]
fn a_server_answers_until_it_is_dropped() {
    let port = Port::free();
    let server = Server::start(small_server(&port, ANSWERS), port.number()).unwrap();
    assert!(listens(port.number()));
    assert!(server.written().contains("ready"));
    drop(server);
    assert!(!listens(port.number()), "gone when drop returns");
}

#[test]
fn a_server_that_ends_is_an_error_with_what_it_wrote() {
    let port = Port::free();
    let why = Server::start(small_server(&port, "print('no licence'); exit(7)"), port.number());
    let why = why.unwrap_err();
    assert!(why.contains("no licence") && why.contains('7'), "{why}");
}

#[test]
fn ports_are_not_given_twice() {
    let ports: Vec<Port> = (0..20).map(|_| Port::free()).collect();
    let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 20);
    assert!(numbers.iter().all(|number| TcpListener::bind(("127.0.0.1", *number)).is_ok()));
}

/// The child half of the next test: starts a server and waits to be killed.
#[test]
fn holds_a_server_until_it_is_killed() {
    let Ok(port) = std::env::var("TIDEMILL_TEST_HOLD_PORT") else { return };
    let number: u16 = port.parse().unwrap();
    let script = ANSWERS.replace("PORT", &port);
    let command = ServerCommand {
        name: "small-server",
        words: vec!["python3".into(), "-c".into(), script.into()],
        folder: "/".into(),
        ..ServerCommand::default()
    };
    let _server = Server::start(command, number).unwrap();
    thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_server_does_not_outlive_a_killed_test() {
    let port = Port::free();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "servers::tests::holds_a_server_until_it_is_killed"])
        .env("TIDEMILL_TEST_HOLD_PORT", port.number().to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = soon(|| listens(port.number()));
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(started, "the server never started");
    assert!(soon(|| !listens(port.number())), "the server lives on");
}

#[test]
fn dynamodb_local_keeps_its_port_over_a_restart() {
    let mut dynamodb = DynamoDbLocal::start_on_disk();
    let url = dynamodb.url();
    let number: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    assert!(listens(number));
    dynamodb.stop();
    assert!(!listens(number));
    dynamodb.restart();
    assert!(listens(number));
    assert_eq!(dynamodb.url(), url);
}

#[test]
fn the_kinesis_emulator_starts() {
    let kinesis = KinesisLocal::start();
    let number: u16 = kinesis.url().rsplit(':').next().unwrap().parse().unwrap();
    assert!(listens(number));
}
