//! A server for tests that answers as its script says and remembers what it was asked: for what no
//! emulator does, such as refusing a part of a batch, and to look at what is on the wire.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::Aws;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Such as `PUT`.
    pub(crate) method: String,
    /// With what follows `?`.
    pub(crate) path: String,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// Without transfer encodings.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The operation of a JSON protocol, such as `PutRecords`; else the method.
    pub(crate) fn operation(&self) -> &str {
        let target = self.headers.get("x-amz-target").map(String::as_str);
        target.and_then(|target| target.split('.').next_back()).unwrap_or(&self.method)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// An answer: status and body.
pub(crate) type Answer = (u16, Value);

/// The answer of a service that has an error to tell.
pub(crate) fn error(status: u16, code: &str, message: &str) -> Answer {
    (status, json!({ "__type": code, "message": message }))
}

/// The server. Its threads end with the test's process.
pub(crate) struct FakeAws {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl FakeAws {
    /// A server that answers each request with what `answer` makes of it.
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> FakeAws {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream.unwrap(), &*answer, &seen));
            }
        });
        FakeAws { url, requests }
    }

    /// Clients of it.
    pub(crate) fn aws(&self) -> Aws {
        Aws::emulator(&self.url)
    }

    /// The requests of one operation so far.
    pub(crate) fn requests(&self, operation: &str) -> Vec<Request> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|request| request.operation() == operation).cloned().collect()
    }
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Request) -> Answer, seen: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(request) = read(&mut reader) {
        seen.lock().unwrap().push(request.clone());
        let (status, body) = answer(&request);
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).unwrap() };
        let head = format!(
            "HTTP/1.1 {status} said\r\ncontent-type: application/x-amz-json-1.1\r\n\
             x-amzn-requestid: 1\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let answered = stream.write_all(head.as_bytes());
        let is_head = request.method == "HEAD";
        if answered.and_then(|()| stream.write_all(if is_head { &[] } else { &body })).is_err() {
            return;
        }
    }
}

/// The next request; `None` at the connection's end.
fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_string);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_string());
    }
    let is_chunked = headers.get("transfer-encoding").is_some_and(|it| it.contains("chunked"));
    let mut body = if is_chunked {
        chunks(reader)?
    } else {
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        body
    };
    if headers.get("content-encoding").is_some_and(|it| it.contains("aws-chunked")) {
        body = chunks(&mut body.as_slice())?;
    }
    Some(Request { method, path, headers, body })
}

/// A body in chunks of hexadecimal lengths, with or without signatures and trailers.
fn chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = line.trim_end().split(';').next()?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            break;
        }
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend_from_slice(&chunk[..length]);
    }
    // Trailers, and the empty line that ends them.
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(read) if read > 0 && !line.trim_end().is_empty() => {}
            _ => return Some(body),
        }
    }
}
