//! A Lambda Runtime API that hears one thing only: that a function cannot start.
//!
//! Not here: invocations (`tests/end_to_end` has a server for those).
#![expect(clippy::expect_used, reason = "what goes wrong here fails the test that asked for it")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a function that could not start said.
#[derive(Debug)]
pub struct InitError {
    /// The request's first line, such as `POST /2018-06-01/runtime/init/error HTTP/1.1`.
    pub request: String,
    /// Its `Lambda-Runtime-Function-Error-Type`.
    pub error_type: String,
    /// Its body: JSON.
    pub body: String,
    /// What the process wrote to standard output: its log.
    pub log: String,
    /// Its exit code; `None`: a signal ended it.
    pub exit_code: Option<i32>,
}

impl InitError {
    /// Starts the function `binary` with these variables and no others, but for the one that says
    /// where this Runtime API is; waits until it has said why it cannot start, and ended.
    ///
    /// # Panics
    /// When the process cannot be started, asks for an event, or says nothing.
    pub fn of(binary: &str, variables: &[(&str, &str)]) -> InitError {
        let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = server.local_addr().expect("an address").to_string();
        let process = Command::new(binary)
            .env_clear()
            .envs(variables.iter().copied())
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the function's binary starts");
        let waiting = std::thread::spawn(move || {
            let ended = process.wait_with_output();
            ended.expect("the function's output can be read")
        });
        let request = hear(&server, &waiting);
        let ended = waiting.join().expect("nothing panics while it is waited for");
        let (head, body) = request.split_once("\r\n\r\n").expect("a request with a body");
        let header = "lambda-runtime-function-error-type:";
        let error_type = head.lines().find(|line| line.to_ascii_lowercase().starts_with(header));
        InitError {
            request: head.lines().next().unwrap_or_default().to_string(),
            error_type: error_type.unwrap_or_default()[header.len()..].trim().to_string(),
            body: body.to_string(),
            log: String::from_utf8_lossy(&ended.stdout).into_owned(),
            exit_code: ended.status.code(),
        }
    }
}

/// The first request that comes, answered.
fn hear<T>(server: &TcpListener, process: &std::thread::JoinHandle<T>) -> String {
    server.set_nonblocking(true).expect("a socket that does not block");
    loop {
        // Asked before, so that a request which came with the end is still heard.
        let ended = process.is_finished();
        match server.accept() {
            Ok((stream, _)) => return answer(stream).expect("a whole request"),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && !ended => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("the function ended and said nothing to the Runtime API: {error}"),
        }
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<String> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let line = line.to_ascii_lowercase();
                line.strip_prefix("content-length:")?.trim().parse::<usize>().ok()
            });
            if body.len() >= length.unwrap_or(0) {
                stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")?;
                return Ok(text);
            }
        }
        match stream.read(&mut piece)? {
            0 => return Ok(text),
            read => request.extend_from_slice(&piece[..read]),
        }
    }
}
