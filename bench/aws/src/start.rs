//! Size of a function's binary, and the time that it takes to start.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use tidemill_aws::Aws;
use tidemill_aws::store::DynamoStore;
use tidemill_testkit::servers::DynamoDbLocal;

use crate::Result;
use crate::case::CASES;

const STARTS: usize = 20;
/// Longest wait for one start.
const START_MAX: Duration = Duration::from_secs(30);
const TABLE: &str = "start";

/// What functions need besides the case's pipeline file: somewhere for results to go.
const SINKS: &str = r#"
[sinks.table]
type = "dynamodb"
table = "start"
"#;

pub(crate) async fn table(dynamodb: &DynamoDbLocal, binaries: &[impl AsRef<Path>]) -> Result<()> {
    let store = DynamoStore::new(&Aws::emulator(&dynamodb.url()), TABLE);
    store.create_table().await.map_err(|fault| fault.to_string())?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let pipeline = pipeline_file(folder.path())?;
    println!("Start: from the process's start to its first request for an invocation\n");
    println!("{:<18} {:>8} {:>8} {:>10} {:>10}", "", "MB", "zip MB", "median ms", "worst ms");
    for binary in binaries {
        row(dynamodb, binary.as_ref(), &pipeline)?;
    }
    println!();
    Ok(())
}

fn row(dynamodb: &DynamoDbLocal, binary: &Path, pipeline: &Path) -> Result<()> {
    let bytes = std::fs::read(binary).map_err(|error| format!("{}: {error}", binary.display()))?;
    let mut zip = DeflateEncoder::new(Vec::new(), Compression::best());
    let zipped = zip.write_all(&bytes).and_then(|()| zip.finish());
    let zipped = zipped.map_err(|error| error.to_string())?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(start(dynamodb, binary, pipeline)?.as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let megabytes = |bytes: usize| bytes as f64 / 1024.0 / 1024.0;
    println!(
        "{:<18} {:>8.1} {:>8.1} {:>10.1} {:>10.1}",
        binary.file_name().unwrap_or_default().display(),
        megabytes(bytes.len()),
        megabytes(zipped.len()),
        times[times.len() / 2],
        times[times.len() - 1],
    );
    Ok(())
}

/// The first case's pipeline with sinks, beside its tables.
fn pipeline_file(folder: &Path) -> Result<std::path::PathBuf> {
    let write = || -> std::io::Result<std::path::PathBuf> {
        let path = CASES[0].path();
        let text = std::fs::read_to_string(&path)?;
        let text = text.replace("\n[streams.", "\ndead_letters = \"table\"\n\n[streams.");
        let text = text.trim_end();
        std::fs::copy(path.with_file_name("campaigns.csv"), folder.join("campaigns.csv"))?;
        let to = folder.join("pipeline.toml");
        std::fs::write(&to, format!("{text}\nsink = \"table\"\n{SINKS}"))?;
        Ok(to)
    };
    write().map_err(|error| error.to_string())
}

/// Starts a function and waits until it asks for an invocation.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn start(dynamodb: &DynamoDbLocal, binary: &Path, pipeline: &Path) -> Result<Duration> {
    let api = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    api.set_nonblocking(true).map_err(|error| error.to_string())?;
    let address = api.local_addr().map_err(|error| error.to_string())?;
    let mut command = Command::new(binary);
    command
        .envs(dynamodb.environment())
        .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .env("TIDEMILL_PIPELINE", pipeline)
        .env("TIDEMILL_STATE_TABLE", TABLE)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let begun = Instant::now();
    let child = command.spawn().map_err(|error| format!("{}: {error}", binary.display()))?;
    let mut child = Killed(child);
    loop {
        match api.accept() {
            Ok((stream, _)) => {
                let time = begun.elapsed();
                let asked = first_line(stream)?;
                return match asked.contains("/runtime/invocation/next") {
                    true => Ok(time),
                    false => Err(format!("{} does not start: {asked}", binary.display())),
                };
            }
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {
                return Err(error.to_string());
            }
            Err(_) if begun.elapsed() > START_MAX => {
                return Err(format!("{} does not ask for work", binary.display()));
            }
            Err(_) => {}
        }
        if let Ok(Some(status)) = child.0.try_wait() {
            return Err(format!("{} ended: {status}", binary.display()));
        }
        thread::sleep(Duration::from_micros(100));
    }
}

/// What the function asks: the request up to the end of what has come, in which a fault is told.
fn first_line(mut stream: TcpStream) -> Result<String> {
    let read = || -> std::io::Result<String> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut bytes = vec![0; 16 * 1024];
        let length = stream.read(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
    };
    let mut read = read;
    read().map_err(|error| error.to_string())
}

/// A process that is gone when this is.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
