//! A deployment of one pipeline on this machine: tables, functions, virtual time.
//!
//! # Invariants
//! 1. A world shares nothing with another one: its servers, ports and folders are its own.
//! 2. Functions see DynamoDB through the world's proxy; the test looks it up directly.
//!
//! Not here: sources, which a test makes as it needs them ([`crate::kinesis`],
//! [`crate::kinesis_server`]), and mappings ([`crate::mapping`]).

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidemill_testkit::servers::{DynamoDbLocal, credentials};

use crate::api::Api;
use crate::binaries;
use crate::clock::VirtualClock;
use crate::function::{Function, FunctionSettings};
use crate::machine::{self, MachineRun};
use crate::proxy::Proxy;
use crate::tables::{Row, Tables, contents, differences};

/// The state table.
pub const STATE_TABLE: &str = "state";
/// Where a pipeline's results go: `${VIEWS_TABLE}`.
pub const RESULTS_TABLE: &str = "results";
/// Where its dead letters go: `${DEAD_TABLE}`.
pub const DEAD_TABLE: &str = "dead-letters";
/// The stream: `${AD_EVENTS_STREAM}`.
pub const STREAM: &str = "ad-events";
/// How long an invocation may take, unless a test says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A deployment.
pub struct World {
    folder: TempDir,
    dynamodb: Mutex<DynamoDbLocal>,
    restarts: AtomicU64,
    /// The tables, past the proxy.
    pub tables: Tables,
    /// What the functions take for DynamoDB.
    pub proxy: Proxy,
    /// The functions' clock.
    pub clock: Arc<VirtualClock>,
    env: BTreeMap<String, String>,
}

impl World {
    /// Deploys a pipeline file with its tables' files; the seed is the proxy's.
    pub fn new(pipeline: &str, files: &[(&str, String)], seed: u64) -> World {
        World::over(DynamoDbLocal::start(), pipeline, files, seed)
    }

    /// The same over a DynamoDB that keeps its tables on the disk, so that
    /// [`World::restart_dynamodb`] finds them again.
    pub fn on_disk(pipeline: &str, files: &[(&str, String)], seed: u64) -> World {
        World::over(DynamoDbLocal::start_on_disk(), pipeline, files, seed)
    }

    fn over(dynamodb: DynamoDbLocal, pipeline: &str, files: &[(&str, String)], seed: u64) -> World {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("the temporary folder can be written");
        };
        write("pipeline.toml", pipeline);
        for (name, text) in files {
            write(name, text);
        }
        let address = address_of(&dynamodb.url());
        let tables = Tables::new(Api::dynamodb(address));
        for table in [STATE_TABLE, RESULTS_TABLE, DEAD_TABLE] {
            tables.create(table);
        }
        let proxy = Proxy::start(address, seed);
        let clock = Arc::new(VirtualClock::new(folder.path().join("clock")));
        let mut env: BTreeMap<String, String> = credentials()
            .into_iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let pipeline_file = folder.path().join("pipeline.toml").display().to_string();
        for (name, value) in [
            ("AWS_ENDPOINT_URL_DYNAMODB", proxy.url()),
            ("TIDEMILL_PIPELINE", pipeline_file),
            ("TIDEMILL_STATE_TABLE", STATE_TABLE.to_string()),
            ("TIDEMILL_CLOCK_OFFSET_FILE", clock.file().display().to_string()),
            ("VIEWS_TABLE", RESULTS_TABLE.to_string()),
            ("DEAD_TABLE", DEAD_TABLE.to_string()),
            ("AD_EVENTS_STREAM", STREAM.to_string()),
            // One tick an invocation: the schedule of a test comes again at once.
            ("TIDEMILL_SCHEDULE_SECONDS", "1".to_string()),
            ("RUST_BACKTRACE", "1".to_string()),
        ] {
            env.insert(name.to_string(), value);
        }
        let dynamodb = Mutex::new(dynamodb);
        World { folder, dynamodb, restarts: AtomicU64::new(0), tables, proxy, clock, env }
    }

    /// `kill -9` of DynamoDB, and a start on the same port after it was `down` for so long. Answers
    /// when it serves again.
    pub fn restart_dynamodb(&self, down: Duration) {
        let mut dynamodb = self.dynamodb.lock().expect("no panic while held");
        dynamodb.stop();
        std::thread::sleep(down);
        dynamodb.restart();
        self.restarts.fetch_add(1, Ordering::SeqCst);
    }

    /// How often DynamoDB was restarted.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::SeqCst)
    }

    /// Sets a variable of the functions that are deployed from now on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.env.insert(name.to_string(), value.into());
    }

    /// Takes a variable away from the functions that are deployed from now on.
    pub fn unset(&mut self, name: &str) {
        self.env.remove(name);
    }

    /// The folder of the pipeline file.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The pipeline file.
    pub fn pipeline_file(&self) -> PathBuf {
        self.folder.path().join("pipeline.toml")
    }

    /// The URL of DynamoDB itself, past the proxy.
    pub fn dynamodb_url(&self) -> String {
        self.dynamodb.lock().expect("no panic while held").url()
    }

    /// Deploys the ingest function for Kinesis.
    pub fn kinesis_function(&self) -> Arc<Function> {
        self.deploy("tidemill-kinesis", TIMEOUT)
    }

    /// Deploys the ingest function for Kafka.
    pub fn kafka_function(&self) -> Arc<Function> {
        self.deploy("tidemill-kafka", TIMEOUT)
    }

    /// Deploys the advance function.
    pub fn advance_function(&self) -> Arc<Function> {
        self.deploy("tidemill-advance", TIMEOUT)
    }

    /// Deploys a function of this binary, whose invocations may take so long.
    pub fn deploy(&self, binary: &str, timeout: Duration) -> Arc<Function> {
        self.deploy_with_patience(binary, timeout, Duration::ZERO)
    }

    /// Deploys a function of this binary whose invocations are told that they may take so long, and
    /// are killed that much later.
    pub fn deploy_with_patience(
        &self,
        binary: &str,
        timeout: Duration,
        patience: Duration,
    ) -> Arc<Function> {
        Arc::new(Function::deploy(FunctionSettings {
            name: binary.to_string(),
            binary: binaries::find(binary),
            env: self.env.clone(),
            timeout,
            patience,
        }))
    }

    /// The results, by what they say.
    pub fn results(&self) -> Vec<String> {
        contents(&self.tables.rows(RESULTS_TABLE))
    }

    /// The dead letters.
    pub fn dead_letters(&self) -> Vec<Row> {
        self.tables.rows(DEAD_TABLE)
    }

    /// Waits until the results are these, and fails with what differs when they do not become so.
    #[track_caller]
    pub fn wait_for_results(&self, wanted: &[String], within: Duration) {
        let until = Instant::now() + within;
        loop {
            let differences = differences(&self.results(), wanted);
            if differences.is_empty() {
                return;
            }
            assert!(
                Instant::now() < until,
                "the results are not as they should be: {} rows differ, of {}: {:#?}",
                differences.len(),
                wanted.len(),
                &differences[..differences.len().min(10)]
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The one-machine run of the same file on these records of each stream.
    pub fn on_one_machine(&self, inputs: &[(&str, Vec<Vec<u8>>)]) -> MachineRun {
        machine::run(&self.pipeline_file(), &self.env, inputs)
    }
}

/// The address in a URL of this machine.
pub fn address_of(url: &str) -> SocketAddr {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    address.parse().unwrap_or_else(|_| panic!("not an address of this machine: {url}"))
}
