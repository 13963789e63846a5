//! A function that does what its events say: what the harness's own tests invoke.
//!
//! `{"do": "answer" | "fail" | "hang" | "exit"}`; with the variable BROKEN it fails its start.

use std::process::exit;

use end_to_end::http::Client;
use serde_json::{Value, json};

const BASE: &str = "/2018-06-01/runtime";

fn main() {
    let Err(why) = serve();
    eprintln!("{why}");
    exit(2);
}

fn serve() -> Result<std::convert::Infallible, Box<dyn std::error::Error>> {
    let mut client = Client::new(std::env::var("AWS_LAMBDA_RUNTIME_API")?.parse()?);
    if std::env::var("BROKEN").is_ok() {
        let error = json!({ "errorType": "Config", "errorMessage": "no table" }).to_string();
        client.send("POST", &format!("{BASE}/init/error"), &[], error.as_bytes())?;
        exit(1);
    }
    loop {
        let next = client.send("GET", &format!("{BASE}/invocation/next"), &[], b"")?;
        let id = next.headers.iter().find(|(name, _)| name == "Lambda-Runtime-Aws-Request-Id");
        let (_, id) = id.ok_or("an event without an id")?;
        let path = format!("{BASE}/invocation/{id}");
        let event: Value = serde_json::from_slice(&next.body)?;
        println!("event {event}");
        let (kind, answer) = match event["do"].as_str() {
            Some("answer") => ("response", json!({ "process": std::process::id() })),
            Some("fail") => ("error", json!({ "errorType": "Bad", "errorMessage": "as told" })),
            Some("hang") => loop {
                std::thread::park();
            },
            _ => exit(3),
        };
        client.send("POST", &format!("{path}/{kind}"), &[], answer.to_string().as_bytes())?;
    }
}
