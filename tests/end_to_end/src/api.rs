//! Calls of AWS's JSON APIs, for emulators: what a test puts in and looks up, without any of
//! Tidemill's code. Requests look signed and are not.

use std::net::SocketAddr;
use std::sync::Mutex;

use serde_json::Value;

use crate::http::Client;

/// One service at one address.
pub struct Api {
    address: SocketAddr,
    service: &'static str,
    target: &'static str,
    content_type: &'static str,
    clients: Mutex<Vec<Client>>,
}

/// An answer that is an error, or none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} failed. status=`{status}` code=`{code}` message=`{message}`")]
pub struct ApiError {
    /// The operation.
    pub operation: String,
    /// HTTP status; 0 when there was no answer.
    pub status: u16,
    /// `ResourceNotFoundException` and the like; empty when there was no answer.
    pub code: String,
    /// What it said.
    pub message: String,
}

impl Api {
    /// DynamoDB at an address.
    pub fn dynamodb(address: SocketAddr) -> Api {
        Api::new(address, "dynamodb", "DynamoDB_20120810", "application/x-amz-json-1.0")
    }

    /// Kinesis at an address.
    pub fn kinesis(address: SocketAddr) -> Api {
        Api::new(address, "kinesis", "Kinesis_20131202", "application/x-amz-json-1.1")
    }

    fn new(
        address: SocketAddr,
        service: &'static str,
        target: &'static str,
        content_type: &'static str,
    ) -> Api {
        Api { address, service, target, content_type, clients: Mutex::default() }
    }

    /// Calls an operation.
    pub fn call(&self, operation: &str, input: &Value) -> Result<Value, ApiError> {
        let failed = |status: u16, code: &str, message: String| ApiError {
            operation: operation.to_string(),
            status,
            code: code.to_string(),
            message,
        };
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{}/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=00",
            self.service
        );
        let header = |name: &str, value: &str| (name.to_string(), value.to_string());
        let headers = [
            header("X-Amz-Target", &format!("{}.{operation}", self.target)),
            header("Content-Type", self.content_type),
            header("Authorization", &authorization),
            header("X-Amz-Date", "20260101T000000Z"),
        ];
        let pooled = self.clients.lock().expect("no panic while held").pop();
        let mut client = pooled.unwrap_or_else(|| Client::new(self.address));
        let answer = client
            .send("POST", "/", &headers, input.to_string().as_bytes())
            .map_err(|error| failed(0, "", error.to_string()))?;
        self.clients.lock().expect("no panic while held").push(client);
        let text = String::from_utf8_lossy(&answer.body);
        let value = match text.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text)
                .map_err(|error| failed(answer.status, "", format!("{error}: {text}")))?,
        };
        if answer.status == 200 {
            return Ok(value);
        }
        let code = value["__type"].as_str().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default();
        let message = value["message"].as_str().or(value["Message"].as_str());
        Err(failed(answer.status, code, message.unwrap_or(&text).to_string()))
    }

    /// Calls an operation that must succeed.
    #[track_caller]
    pub fn must(&self, operation: &str, input: &Value) -> Value {
        self.call(operation, input).unwrap_or_else(|error| panic!("{error}. input=`{input}`"))
    }
}
