//! Servers that tests talk to: AWS emulators as processes, on free ports, gone when the test ends.
//!
//! ```no_run
//! use tidemill_testkit::servers::DynamoDbLocal;
//!
//! let dynamodb = DynamoDbLocal::start();
//! println!("{}", dynamodb.url()); // http://127.0.0.1:21234
//! ```
//!
//! # Invariants
//! 1. A server that was started answers. What cannot be installed or started panics with the
//!    reason: a test fails, and is never skipped.
//! 2. A server does not outlive its test: it is killed when its handle is dropped, and when the
//!    process that holds the handle dies, however it dies ([`Server`]).
//! 3. Two servers never share a port, whichever processes start them ([`Port`]).
//! 4. When a test panics, what its servers wrote is shown and kept.
//!
//! The first start installs the emulators with `localstack/install`, which names everything that
//! the machine lacks. Emulators check no credentials: [`credentials`] has some for processes.
//!
//! Not here: clients (`tidemill_aws::Aws::emulator`), stores in memory.

mod dynamodb_local;
mod kinesis_local;
mod port;
mod server;

use std::{path::PathBuf, process::Command, sync::OnceLock};

pub use dynamodb_local::DynamoDbLocal;
pub use kinesis_local::KinesisLocal;
pub use port::Port;
pub use server::{Server, ServerCommand};

/// How often a server is started anew, on another port, before the test gives up.
const STARTS_MAX: usize = 5;

/// The folder that the emulators are installed in; installs them if they are not.
///
/// Panics with what the machine lacks.
fn installed() -> PathBuf {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE
        .get_or_init(|| {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../localstack/install");
            let done = match Command::new(script).output() {
                Ok(done) => done,
                Err(error) => panic!("cannot run {script}: {error}"),
            };
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "the emulators cannot be installed:\n{said}");
            PathBuf::from(String::from_utf8_lossy(&done.stdout).trim())
        })
        .clone()
}

/// Environment variables of a process that talks to emulators: a region, and credentials that are
/// worth nothing.
pub fn credentials() -> [(&'static str, &'static str); 4] {
    [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        // Nothing on the developer's own machine takes part.
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
}

/// Starts a server on a free port; on another one if it ends instead of answering.
fn start_somewhere(name: &str, command: impl Fn(&Port) -> ServerCommand) -> (Port, Server) {
    let mut why = String::new();
    for _ in 0..STARTS_MAX {
        let port = Port::free();
        match Server::start(command(&port), port.number()) {
            Ok(server) => return (port, server),
            Err(reason) => why = reason,
        }
    }
    panic!("{name} does not start, {STARTS_MAX} times tried: {why}");
}

#[cfg(test)]
mod tests;
