//! `tidemill put` into an emulated Kinesis.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tidemill_testkit::servers::KinesisLocal;

use crate::workspace::Workspace;

struct Stream {
    server: KinesisLocal,
    workspace: Workspace,
}

impl Stream {
    /// A stream `clicks` of one shard.
    fn new() -> Stream {
        let stream = Stream { server: KinesisLocal::start(), workspace: Workspace::new() };
        stream.ask("CreateStream", &json!({ "StreamName": "clicks", "ShardCount": 1 }));
        let name = json!({ "StreamName": "clicks" });
        let status = || {
            let answer = stream.ask("DescribeStreamSummary", &name);
            answer["StreamDescriptionSummary"]["StreamStatus"].clone()
        };
        while status() != "ACTIVE" {
            std::thread::sleep(Duration::from_millis(20));
        }
        stream
    }

    fn ask(&self, operation: &str, body: &Value) -> Value {
        let address = self.server.url();
        let mut connection = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
        let body = body.to_string();
        write!(
            connection,
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/x-amz-json-1.1\r\n\
             X-Amz-Target: Kinesis_20131202.{operation}\r\nX-Amz-Date: 20260101T000000Z\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, \
             SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = BufReader::new(connection);
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            answer.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        answer.read_exact(&mut body).unwrap();
        if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() }
    }

    /// Partition keys and texts of all records, in order.
    fn records(&self) -> Vec<(String, String)> {
        let asked = json!({
            "StreamName": "clicks", "ShardId": "shardId-000000000000",
            "ShardIteratorType": "TRIM_HORIZON",
        });
        let iterator = self.ask("GetShardIterator", &asked)["ShardIterator"].clone();
        let answer = self.ask("GetRecords", &json!({ "ShardIterator": iterator }));
        let text = |record: &Value| {
            let data = BASE64_STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
            let key = record["PartitionKey"].as_str().unwrap().to_string();
            (key, String::from_utf8(data).unwrap())
        };
        answer["Records"].as_array().unwrap().iter().map(text).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        command.args(["put", "--stream", "clicks"]).args(arguments);
        command.current_dir(self.workspace.path("")).envs(self.server.environment());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn put(&self, arguments: &[&str]) -> (Output, String) {
        let output = self.command(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr.clone()).unwrap();
        (output, said)
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn lines_arrive_in_order_with_their_keys() {
    let stream = Stream::new();
    let lines: Vec<String> =
        (0..700).map(|n| format!("{{\"user\":\"u{}\",\"n\":{n}}}", n % 3)).collect();
    stream.workspace.write("events.jsonl.gz", gzip(&lines.join("\n")));
    let (output, said) = stream.put(&["--file", "events.jsonl.gz", "--partition-key", "user"]);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("put 700 records into stream `clicks`"), "{said}");
    let arrived = stream.records();
    assert_eq!(arrived.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), lines);
    assert_eq!((arrived[4].0.as_str(), arrived[5].0.as_str()), ("u1", "u2"));
}

#[test]
fn a_limit_a_rate_and_a_repetition_are_kept() {
    let stream = Stream::new();
    // The second line is no JSON: it is sent too.
    stream.workspace.write("events.jsonl", "{\"ts\":1600000000000}\nno JSON\n");
    #[expect(clippy::disallowed_methods, reason = "how long the process takes is what is tested")]
    let began = Instant::now();
    let arguments = [
        "--file",
        "events.jsonl",
        "--repeat",
        "--limit",
        "21",
        "--rate",
        "20/s",
        "--shift",
        "ts=now",
    ];
    let (output, said) = stream.put(&arguments);
    assert!(output.status.success(), "{said}");
    assert!(began.elapsed() >= Duration::from_millis(900), "21 records at 20 a second: {said}");
    assert!(said.contains("put 21 records") && said.contains("10 had no time to move"), "{said}");
    let arrived = stream.records();
    assert_eq!(arrived.len(), 21);
    let keys: std::collections::BTreeSet<_> = arrived.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 21, "spread");
    let now = jiff::Timestamp::now().as_millisecond();
    let times: Vec<i64> = arrived
        .iter()
        .filter_map(|(_, text)| serde_json::from_str::<Value>(text).ok()?["ts"].as_i64())
        .collect();
    assert_eq!(times.len(), 11);
    assert!(times.iter().all(|ts| (now - 60_000..=now).contains(ts)), "{times:?}");
    assert!(times.is_sorted() && times[0] < times[10], "each pass begins now: {times:?}");
}

#[test]
fn ctrl_c_ends_a_put_and_says_what_was_sent() {
    let stream = Stream::new();
    stream.workspace.write("events.jsonl", "{\"n\":1}\n");
    let arguments = ["--file", "events.jsonl", "--repeat", "--rate", "50"];
    let child = stream.command(&arguments).spawn().unwrap();
    while stream.records().is_empty() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    let count = stream.records().len();
    assert!(said.contains(&format!("put {count} records")), "{said}, not {count}");
}

#[test]
fn what_cannot_be_put_is_said() {
    let stream = Stream::new();
    stream.workspace.write("events.jsonl", "{}\n");
    let (output, said) = stream.put(&["--file", "absent.jsonl"]);
    assert_eq!((output.status.code(), said.contains("absent.jsonl")), (Some(1), true), "{said}");
    let (_, said) = stream.put(&["--file", "-", "--repeat"]);
    assert!(said.contains("stdin cannot be repeated"), "{said}");
    let mut other = stream.command(&["--file", "events.jsonl"]);
    let output = other.env("AWS_ENDPOINT_URL_KINESIS", "http://127.0.0.1:1").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("AWS_ENDPOINT_URL"), "{said}");
    stream.workspace.write("large.jsonl", "x".repeat(2 * 1024 * 1024));
    let (output, said) = stream.put(&["--file", "large.jsonl"]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("2097153 bytes") && said.contains("put 0 records"), "{said}");
    stream.workspace.write("empty.jsonl", "");
    let (output, said) = stream.put(&["--file", "empty.jsonl", "--repeat"]);
    assert!(output.status.success() && said.contains("put 0 records"), "{said}");
}
