//! The store against a server that behaves badly: each case is a fault that a network has.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

/// What the server does with one request, which it has read whole.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// Status and body.
    Says(u16, &'static str),
    /// Closes the connection: the write may have happened.
    HangsUp,
    /// Answers never.
    Stalls,
    /// Begins an answer and closes the connection.
    BreaksOff,
}

use Answer::{BreaksOff, HangsUp, Says, Stalls};

const CREATED: Answer = Says(200, "{}");
const TAKEN: Answer = Says(
    400,
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"The conditional request failed"}"#,
);
const THROTTLED: Answer = Says(
    400,
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slower"}"#,
);
const DENIED: Answer = Says(
    400,
    r#"{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"User: u is not authorized to perform: dynamodb:PutItem"}"#,
);
const BROKEN: Answer = Says(
    500,
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"oops"}"#,
);
const NOT_JSON: Answer = Says(200, "<html>hello</html>");
const PROXY: Answer = Says(403, "<html>forbidden</html>");

/// A server that answers by a script, the last line again and again.
struct BadServer {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl BadServer {
    fn start(script: &'static [Answer]) -> BadServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || serve(connection.unwrap(), script, &seen));
            }
        });
        BadServer { url, requests }
    }

    /// How many requests came.
    fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn serve(mut connection: TcpStream, script: &[Answer], seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(String::from_utf8(body).unwrap());
        seen.len() - 1
    };
    match script[number.min(script.len() - 1)] {
        Says(status, body) => {
            let length = body.len();
            let head = "Connection: close\r\nContent-Type: application/x-amz-json-1.0";
            let head = format!("HTTP/1.1 {status} X\r\n{head}\r\nContent-Length: {length}");
            let _ = write!(connection, "{head}\r\n\r\n{body}");
        }
        HangsUp => {}
        Stalls => thread::sleep(Duration::from_secs(60)),
        BreaksOff => {
            let _ = write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{{\"Con");
        }
    }
}

/// A store that waits less than one in production does.
fn impatient(url: &str) -> DynamoStore {
    let patience = Patience::new(Duration::from_millis(1200));
    DynamoStore::with_patience(&Aws::emulator(url), "state", Duration::from_millis(300), patience)
}

async fn put(script: &'static [Answer]) -> (Result<Put, StoreError>, usize) {
    let server = BadServer::start(script);
    let answer = impatient(&server.url).put_new("p", "s", item("v")).await;
    (answer, server.requests())
}

#[tokio::test]
async fn a_put_goes_through_after_faults_that_pass() {
    for script in [
        &[CREATED] as &[_],
        &[THROTTLED, THROTTLED, CREATED],
        &[BROKEN, CREATED],
        &[HangsUp, CREATED],
        &[Stalls, CREATED],
        &[NOT_JSON, CREATED],
        &[BreaksOff, CREATED],
        &[PROXY, CREATED],
    ] {
        assert_eq!(put(script).await, (Ok(Put::Created), script.len()), "{script:?}");
    }
}

/// Perhaps our own item, from the attempt whose answer was lost: callers read back.
#[tokio::test]
async fn an_item_that_lies_there_on_a_second_attempt_is_there() {
    for script in [
        &[TAKEN] as &[_],
        &[HangsUp, TAKEN],
        &[Stalls, TAKEN],
        &[BROKEN, TAKEN],
        &[THROTTLED, TAKEN],
    ] {
        assert_eq!(put(script).await, (Ok(Put::AlreadyExists), script.len()), "{script:?}");
    }
}

#[tokio::test]
async fn what_was_certainly_not_written_is_refused() {
    let (answer, requests) = put(&[DENIED]).await;
    let Err(StoreError::Refused { reason }) = answer else { panic!("{answer:?}") };
    assert!(
        reason.contains("allow dynamodb:PutItem") && reason.contains("table=`state`"),
        "{reason}"
    );
    assert_eq!(requests, 1, "denied once is denied");

    let (answer, requests) = put(&[THROTTLED]).await;
    assert!(matches!(answer, Err(StoreError::Refused { .. })), "{answer:?}");
    assert!(requests > 2, "{requests} requests");
    let (answer, _) = put(&[THROTTLED, DENIED]).await;
    assert!(matches!(answer, Err(StoreError::Refused { .. })), "{answer:?}");
}

#[tokio::test]
async fn what_was_perhaps_written_is_unknown() {
    for script in [
        &[HangsUp] as &[_],
        &[Stalls],
        &[BROKEN],
        &[NOT_JSON],
        &[BreaksOff],
        &[PROXY],
        // The last attempt alone would say: certainly not written.
        &[HangsUp, DENIED],
        &[Stalls, THROTTLED],
        &[BROKEN, THROTTLED],
        &[THROTTLED, Stalls, THROTTLED, DENIED],
    ] {
        let (answer, requests) = put(script).await;
        let Err(StoreError::Unknown { key, reason }) = answer else {
            panic!("{script:?}: {answer:?}");
        };
        assert_eq!(key, "p s");
        assert!(reason.contains("table=`state`"), "{reason}");
        assert!(requests > 1, "{script:?} was not tried again");
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_is_written() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let answer = impatient(&format!("http://{port}")).put_new("p", "s", item("v")).await;
    let Err(StoreError::Refused { reason }) = answer else { panic!("{answer:?}") };
    assert!(reason.contains("AWS_ENDPOINT_URL") && reason.contains("attempts"), "{reason}");
}

#[tokio::test]
async fn a_call_ends_in_time_whatever_the_server_does() {
    for script in [&[Stalls] as &[_], &[THROTTLED], &[Stalls, THROTTLED]] {
        #[expect(clippy::disallowed_methods, reason = "a test of timeouts")]
        let begun = Instant::now();
        assert!(put(script).await.0.is_err());
        assert!(begun.elapsed() < Duration::from_secs(4), "{script:?}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn reads_are_tried_again_and_then_refused() {
    const EMPTY: Answer = Says(200, r#"{"Count":0,"Items":[],"ScannedCount":0}"#);
    let server = BadServer::start(&[THROTTLED, HangsUp, Stalls, BROKEN, NOT_JSON, EMPTY]);
    let patience = Patience::new(Duration::from_secs(30));
    let aws = Aws::emulator(&server.url);
    let store = DynamoStore::with_patience(&aws, "state", Duration::from_millis(300), patience);
    assert_eq!(store.last("p").await, Ok(None));
    assert_eq!(server.requests(), 6);
    for script in [&[DENIED] as &[_], &[Stalls], &[BROKEN]] {
        let server = BadServer::start(script);
        let answer = impatient(&server.url).range("p", "", Limits::NONE).await;
        assert!(matches!(answer, Err(StoreError::Refused { .. })), "{script:?} {answer:?}");
    }
}

/// A page may be empty and not the last one.
#[tokio::test]
async fn an_empty_page_is_not_the_end() {
    let server = BadServer::start(&[
        Says(200, r#"{"Count":0,"Items":[],"LastEvaluatedKey":{"pk":{"S":"p"},"sk":{"S":"a"}}}"#),
        Says(200, r#"{"Count":1,"Items":[{"pk":{"S":"p"},"sk":{"S":"b"},"value":{"B":"dg=="}}]}"#),
    ]);
    let rows = impatient(&server.url).range("p", "", Limits::NONE).await.unwrap();
    assert_eq!(rows, [Row { sk: "b".into(), item: item("v") }]);
    let requests = server.requests.lock().unwrap();
    assert!(requests[1].contains(r#""ExclusiveStartKey":{"#), "{requests:?}");
}

#[tokio::test]
async fn a_table_that_cannot_be_described_is_a_fault() {
    let denied = BadServer::start(&[DENIED]);
    let fault = impatient(&denied.url).check().await.unwrap_err();
    assert!(fault.help.contains("dynamodb:DescribeTable"), "{fault}");
    let silent = BadServer::start(&[Stalls]);
    let fault = impatient(&silent.url).check().await.unwrap_err();
    assert!(fault.what.contains("no answer in time"), "{fault}");
    let creating = BadServer::start(&[Says(
        200,
        r#"{"Table":{"TableStatus":"DELETING","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}]}}"#,
    )]);
    let fault = impatient(&creating.url).check().await.unwrap_err();
    assert!(fault.what.contains("DELETING"), "{fault}");
}

/// The condition, consistency and what is asked, as DynamoDB hears it.
#[tokio::test]
async fn requests_say_what_the_contract_needs() {
    let server = BadServer::start(&[CREATED]);
    let store = impatient(&server.url);
    assert_eq!(store.put_new("p", "s", item("v")).await, Ok(Put::Created));
    assert_eq!(store.last("p").await, Ok(None));
    assert_eq!(store.range("p", "f", Limits { items: 7, bytes: 9 }).await, Ok(vec![]));
    let requests = server.requests.lock().unwrap();
    assert!(requests[0].contains(r#""ConditionExpression":"attribute_not_exists(pk)""#));
    assert!(!requests[0].contains("ReturnConsumedCapacity"), "nobody asked for it");
    for request in &requests[1..] {
        assert!(request.contains(r#""ConsistentRead":true"#), "{request}");
    }
    assert!(requests[1].contains(r#""Limit":1"#) && requests[1].contains(r#"Forward":false"#));
    assert!(requests[2].contains(r#""Limit":7"#), "{}", requests[2]);
}
