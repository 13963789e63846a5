//! Requests and responses on the wire.

use std::io::{self, BufRead, Write};

/// Longest body that is read, bytes: above every limit that a test tries.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST` …
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Headers in the order they came.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers; those about the body's length are added when it is written.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Reads a request; `None` when the connection was closed before one began.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Request>> {
        let Some(line) = read_line(from)? else { return Ok(None) };
        let mut words = line.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Err(malformed("request line", &line));
        };
        let (method, path) = (method.to_string(), path.to_string());
        let headers = read_headers(from)?;
        let body = read_body(from, &headers, false)?;
        Ok(Some(Request { method, path, headers, body }))
    }
}

impl Response {
    /// A JSON response.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Response {
        let headers = vec![("Content-Type".to_string(), "application/json".to_string())];
        Response { status, headers, body: body.into() }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Response {
        self.headers.push((name.to_string(), value.into()));
        self
    }

    /// Reads a response.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Response> {
        let gone = || io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer");
        let line = read_line(from)?.ok_or_else(gone)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| malformed("status line", &line))?;
        let headers = read_headers(from)?;
        let body = read_body(from, &headers, true)?;
        Ok(Response { status, headers, body })
    }

    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Status\r\n", self.status);
        for (name, value) in self.headers.iter().filter(|(name, _)| !is_about_length(name)) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        to.write_all(head.as_bytes())?;
        to.write_all(&self.body)?;
        to.flush()
    }
}

/// Whether a header speaks of the connection or of the body's length, and so is not passed on.
pub(super) fn is_about_length(name: &str) -> bool {
    ["content-length", "transfer-encoding", "connection"]
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other))
}

pub(super) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

fn read_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_string()))
}

fn read_headers(from: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(from)?.ok_or_else(|| malformed("headers", "end of stream"))?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("header", &line))?;
        headers.push((name.trim().to_string(), value.trim().to_string()));
    }
}

/// A body. Without a length a request has none, and a response ends with its connection.
fn read_body(
    from: &mut impl BufRead,
    headers: &[(String, String)],
    is_response: bool,
) -> io::Result<Vec<u8>> {
    let chunked = header(headers, "transfer-encoding")
        .is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"));
    if chunked {
        return read_chunks(from);
    }
    let mut body = Vec::new();
    match header(headers, "content-length") {
        Some(length) => {
            let length = length.parse().map_err(|_| malformed("content-length", length))?;
            read_exactly(from, length, &mut body)?;
        }
        None if is_response => {
            from.read_to_end(&mut body)?;
        }
        None => {}
    }
    Ok(body)
}

fn read_chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(from)?.ok_or_else(|| malformed("chunk", "end of stream"))?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| malformed("chunk size", &line))?;
        if size == 0 {
            read_headers(from)?;
            return Ok(body);
        }
        read_exactly(from, size, &mut body)?;
        read_line(from)?;
    }
}

fn read_exactly(from: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    if body.len() + length > BODY_BYTES_MAX {
        return Err(malformed("body length", &length.to_string()));
    }
    let start = body.len();
    body.resize(start + length, 0);
    from.read_exact(&mut body[start..])
}

fn malformed(what: &str, text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {what}. text=`{text}`"))
}
