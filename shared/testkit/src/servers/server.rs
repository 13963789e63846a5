//! One server process that answers HTTP, and cannot outlive the test that started it.
//!
//! The process is a child of a small shell, whose standard input is a pipe that the test holds. A
//! pipe closes when its holder ends, even by `kill -9`; the shell then kills the server. When the
//! server ends by itself, so does the shell, with the server's exit code.

use std::{
    ffi::OsString,
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::NamedTempFile;

/// Runs "$@" until it ends or standard input does. Jobs in the background would get /dev/null as
/// their standard input, so the pipe goes by another number.
const GUARD: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
(while read -r _ <&3; do :; done; kill -9 $server) &
guard=$!
exec 3<&-
wait $server
ended=$?
kill $guard 2>/dev/null
exit $ended
"#;

/// How long a server may take to answer: 120 s, on a machine that builds at the same time.
const POLLS_MAX: u32 = 2400;
const POLL: Duration = Duration::from_millis(50);
/// What is shown of a log, at most.
const TAIL_BYTES: u64 = 8 * 1024;

/// What to run.
#[derive(Debug, Default)]
pub struct ServerCommand {
    /// What people call it.
    pub name: &'static str,
    /// The program, and its arguments.
    pub words: Vec<OsString>,
    /// Variables beside those of the test.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it runs.
    pub folder: PathBuf,
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    child: Child,
    log: Option<NamedTempFile>,
}

impl Server {
    /// Starts a server and waits until it answers HTTP on `port`. The error says why it does not,
    /// with the end of what it wrote.
    pub fn start(command: ServerCommand, port: u16) -> Result<Server, String> {
        let name = command.name;
        let not_run = |error: std::io::Error| format!("cannot run {name}: {error}");
        let log = NamedTempFile::with_prefix(format!("{name}-")).map_err(not_run)?;
        let output = log.reopen().map_err(not_run)?;
        let child = Command::new("sh")
            .args(["-c", GUARD, name])
            .args(&command.words)
            .envs(command.environment)
            .current_dir(&command.folder)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().map_err(not_run)?)
            .stderr(output)
            .spawn()
            .map_err(not_run)?;
        let mut server = Server { name, child, log: Some(log) };
        for _ in 0..POLLS_MAX {
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!("{name} ended, {status}. It wrote:\n{}", server.written()));
            }
            if answers(port) {
                return Ok(server);
            }
            thread::sleep(POLL);
        }
        Err(format!("{name} does not answer. It wrote:\n{}", server.written()))
    }

    /// The end of what the server wrote.
    pub fn written(&self) -> String {
        let Some(log) = &self.log else { return String::new() };
        let tail = File::open(log.path()).and_then(|mut file| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        });
        tail.unwrap_or_else(|error| format!("(its log cannot be read: {error})"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("{} wrote:\n{}", self.name, self.written());
            if let Some(Ok((_, path))) = self.log.take().map(NamedTempFile::keep) {
                eprintln!("all of it is in {}", path.display());
            }
        }
    }
}

/// Whether an HTTP server answers there, whatever it answers.
fn answers(port: u16) -> bool {
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut begin = [0; 5];
        stream.read_exact(&mut begin)?;
        Ok(&begin == b"HTTP/")
    });
    asked.unwrap_or(false)
}
