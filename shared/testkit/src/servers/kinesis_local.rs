//! The Kinesis emulator of the npm package `kinesis-local`.
//!
//! Right: iterators, sequence numbers of 56 digits, splits and merges with parents and children.
//! Slow: about 400 records a second in, 6,000 out. Not right: it never throttles, and takes more
//! than 500 records at once.

use super::{Port, Server, ServerCommand, credentials, installed, start_somewhere};

/// A Kinesis on this machine. Dropping it stops it, and what is in it is gone.
#[derive(Debug)]
pub struct KinesisLocal {
    _server: Server,
    port: Port,
    _tls_port: Port,
}

impl KinesisLocal {
    /// A Kinesis without streams. Takes 2 s and up to 650 MB.
    pub fn start() -> KinesisLocal {
        let tls_port = Port::free();
        let (port, server) = start_somewhere("the Kinesis emulator", |port| {
            let folder = installed().join("kinesis-local-0.6.2");
            let environment = [
                ("KINESIS_MOCK_PLAIN_PORT", port.number().to_string()),
                ("KINESIS_MOCK_TLS_PORT", tls_port.number().to_string()),
                ("KINESIS_MOCK_CERT_PATH", folder.join("server.json").display().to_string()),
                ("CREATE_STREAM_DURATION", "50ms".to_string()),
                ("DELETE_STREAM_DURATION", "50ms".to_string()),
                ("SPLIT_SHARD_DURATION", "50ms".to_string()),
                ("MERGE_SHARDS_DURATION", "50ms".to_string()),
                ("UPDATE_SHARD_COUNT_DURATION", "50ms".to_string()),
                ("LOG_LEVEL", "WARN".to_string()),
            ];
            ServerCommand {
                name: "kinesis-local",
                words: vec!["node".into(), "main.js".into()],
                environment: environment.map(|(name, value)| (name.into(), value.into())).into(),
                folder,
            }
        });
        KinesisLocal { _server: server, port, _tls_port: tls_port }
    }

    /// Its address: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// Environment variables of a process that takes this for Kinesis.
    pub fn environment(&self) -> Vec<(String, String)> {
        let address = ("AWS_ENDPOINT_URL_KINESIS".to_string(), self.url());
        let others = credentials().map(|(name, value)| (name.to_string(), value.to_string()));
        others.into_iter().chain([address]).collect()
    }
}
