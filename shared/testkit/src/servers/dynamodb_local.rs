//! DynamoDB Local, AWS's own.
//!
//! Right: conditional puts, transactions, consistent queries, consumed capacity of single
//! operations, the limit of an item, TTL (deletes within minutes). Not right: it never throttles,
//! checks no permission, and its consumed capacity of transactions is wrong.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Port, Server, ServerCommand, credentials, installed, start_somewhere};

/// A DynamoDB on this machine. Dropping it stops it, and what is in it is gone.
#[derive(Debug)]
pub struct DynamoDbLocal {
    server: Option<Server>,
    port: Port,
    kept_in: Option<TempDir>,
}

impl DynamoDbLocal {
    /// An empty DynamoDB in memory. Takes 3 s and 300 MB.
    pub fn start() -> DynamoDbLocal {
        let (port, server) = start_somewhere("DynamoDB Local", |port| command(port, None));
        DynamoDbLocal { server: Some(server), port, kept_in: None }
    }

    /// An empty DynamoDB that keeps its tables in a file, so that they survive
    /// [`DynamoDbLocal::restart`].
    pub fn start_on_disk() -> DynamoDbLocal {
        let folder = match TempDir::with_prefix_in("dynamodb-local-", folder_of_files()) {
            Ok(folder) => folder,
            Err(error) => panic!("cannot make a temporary folder: {error}"),
        };
        let (port, server) =
            start_somewhere("DynamoDB Local", |port| command(port, Some(folder.path())));
        DynamoDbLocal { server: Some(server), port, kept_in: Some(folder) }
    }

    /// Kills the server. Clients hear that nobody listens, until [`DynamoDbLocal::restart`].
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Kills the server if it runs, and starts it again on the same port. In memory it begins
    /// empty.
    pub fn restart(&mut self) {
        self.stop();
        let folder = self.kept_in.as_ref().map(TempDir::path);
        match Server::start(command(&self.port, folder), self.port.number()) {
            Ok(server) => self.server = Some(server),
            Err(why) => panic!("DynamoDB Local does not start again: {why}"),
        }
    }

    /// Its address: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// Environment variables of a process that takes this for DynamoDB.
    pub fn environment(&self) -> Vec<(String, String)> {
        let address = ("AWS_ENDPOINT_URL_DYNAMODB".to_string(), self.url());
        let others = credentials().map(|(name, value)| (name.to_string(), value.to_string()));
        others.into_iter().chain([address]).collect()
    }
}

/// Where files are that need only survive their process. It brings every put to the disk, one by one,
/// which takes a second each on a disk that is busy otherwise; a file in memory costs nothing.
fn folder_of_files() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() }
}

fn command(port: &Port, kept_in: Option<&Path>) -> ServerCommand {
    let folder: PathBuf = installed().join("dynamodb-local-1.25.1");
    let words = [
        "java",
        // Starts faster, and several beside each other leave the machine usable.
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Xmx512m",
        "-Djava.library.path=./DynamoDBLocal_lib",
        "-jar",
        "DynamoDBLocal.jar",
        "-sharedDb",
        "-disableTelemetry",
        "-port",
    ];
    let mut words: Vec<_> = words.into_iter().map(Into::into).collect();
    words.push(port.number().to_string().into());
    match kept_in {
        Some(kept_in) => words.extend(["-dbPath".into(), kept_in.into()]),
        None => words.push("-inMemory".into()),
    }
    ServerCommand { name: "dynamodb-local", words, environment: Vec::new(), folder }
}
