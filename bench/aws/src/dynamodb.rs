//! Requests to DynamoDB Local by hand, for the baselines: JSON over HTTP. It checks no signature.
//!
//! Not here: the store of the pipelines (`tidemill_aws`), which uses the SDK.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::Result;

/// A connection that is used again and again.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to `http://HOST:PORT`.
    pub(crate) fn open(url: &str) -> Result<Connection> {
        let address = url.trim_start_matches("http://");
        let stream = TcpStream::connect(address).map_err(|error| format!("{url}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    /// Asks, and answers what DynamoDB said. A refusal is an error.
    pub(crate) fn ask(&mut self, operation: &str, body: &Value) -> Result<Value> {
        let (status, answer) = self
            .exchange(operation, &body.to_string())
            .map_err(|error| format!("{operation}: {error}"))?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        match status {
            200 => Ok(answer),
            status => Err(format!("{operation}: status {status}: {answer}")),
        }
    }

    fn exchange(&mut self, operation: &str, body: &str) -> std::io::Result<(u16, Vec<u8>)> {
        let length = body.len();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-amz-json-1.0\r\n\
             X-Amz-Target: DynamoDB_20120810.{operation}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/dynamodb/\
             aws4_request, SignedHeaders=host, Signature=0\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut length = 0;
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 || line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok((status, answer))
    }
}
