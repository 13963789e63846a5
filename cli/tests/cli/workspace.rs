//! A folder with a pipeline and events, runs of the binary in it, and an answer that was computed
//! without any of Tidemill's code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tidemill_testkit::Rng;

const TIDEMILL: &str = env!("CARGO_BIN_EXE_tidemill");

pub(crate) const PIPELINE: &str = r#"
name = "test"

[streams.events]
format = "json"
columns = { ts = "timestamp_ms", key = "string", value = "bigint" }
event_time = "ts"
out_of_orderness = "1s"
idle_after = "1m"

[queries.per_key]
sql = """
  SELECT key, window_start, window_end, COUNT(*) AS events, SUM(value) AS total
  FROM TUMBLE(events, ts, INTERVAL '10' SECOND)
  GROUP BY key, window_start, window_end
"""
"#;

#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) ts: i64,
    pub(crate) key: String,
    pub(crate) value: i64,
}

/// Events of 20 keys, in order, a few milliseconds apart.
pub(crate) fn events(count: usize) -> Vec<Event> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut ts = 1_700_000_000_000;
    (0..count)
        .map(|_| {
            ts += (random() % 50) as i64;
            Event { ts, key: format!("k{}", random() % 20), value: (random() % 1_000) as i64 }
        })
        .collect()
}

pub(crate) fn json_lines(events: &[Event]) -> String {
    events
        .iter()
        .map(|e| format!("{{\"ts\":{},\"key\":\"{}\",\"value\":{}}}\n", e.ts, e.key, e.value))
        .collect()
}

/// What `per_key` must give: sorted JSON lines.
pub(crate) fn expected(events: &[Event]) -> Vec<String> {
    let mut windows: BTreeMap<(String, i64), (i64, i64)> = BTreeMap::new();
    for event in events {
        let start = event.ts.div_euclid(10_000) * 10_000;
        let window = windows.entry((event.key.clone(), start)).or_default();
        window.0 += 1;
        window.1 += event.value;
    }
    let mut lines: Vec<String> = windows
        .into_iter()
        .map(|((key, start), (count, total))| {
            format!(
                "{{\"key\":\"{key}\",\"window_start\":\"{}\",\"window_end\":\"{}\",\
                 \"events\":{count},\"total\":{total}}}",
                rfc3339(start),
                rfc3339(start + 10_000)
            )
        })
        .collect();
    lines.sort();
    lines
}

pub(crate) fn rfc3339(ms: i64) -> String {
    let text = jiff::Timestamp::from_millisecond(ms).unwrap();
    format!("{text:.3}")
}

pub(crate) struct Workspace {
    dir: TempDir,
}

/// Arguments of a run over `events.jsonl` with so many shards, whose results are in `output`.
pub(crate) const fn run_args<'a>(shards: &'a str, output: &'a str) -> [&'a str; 9] {
    let input = "events=events.jsonl";
    [
        "run",
        "pipeline.toml",
        "--input",
        input,
        "--shards",
        shards,
        "--output",
        output,
        "--until-end",
    ]
}

impl Workspace {
    pub(crate) fn new() -> Workspace {
        Workspace::with_pipeline(PIPELINE)
    }

    pub(crate) fn with_pipeline(pipeline: &str) -> Workspace {
        let workspace = Workspace { dir: tempfile::tempdir().unwrap() };
        workspace.write("pipeline.toml", pipeline);
        workspace
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(TIDEMILL);
        command.args(args);
        self.here(command)
    }

    /// The program with files of so many bytes at most, about: what it writes beyond that fails, as on
    /// a full disk.
    pub(crate) fn command_with_room(&self, bytes: u64, args: &[&str]) -> Command {
        // Blocks of 512 bytes, as POSIX has it. The signal would end the process before the error.
        let limited = "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", limited, &(bytes / 512).to_string(), TIDEMILL]).args(args);
        self.here(command)
    }

    fn here(&self, mut command: Command) -> Command {
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command.env_remove("RUST_BACKTRACE").env("NO_COLOR", "1");
        command
    }

    pub(crate) fn tidemill(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Starts the program and lets it run.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs the program again and again, each time ended by `kill -9` at a moment that `rng` draws,
    /// `longest` after its start at the latest; `times` times, or until it is done before its end
    /// comes. Answers how often it was killed.
    #[track_caller]
    pub(crate) fn kill(&self, args: &[&str], longest: Duration, times: u64, rng: &mut Rng) -> u64 {
        for killed in 0..times {
            let mut child = self.start(args);
            std::thread::sleep(longest.mul_f64(rng.below(1_000_000) as f64 / 1e6));
            if child.try_wait().unwrap().is_some() {
                Ran::of(child.wait_with_output().unwrap()).succeeded();
                return killed;
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        times
    }

    /// Waits until a file is there.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str) {
        for _ in 0..3_000 {
            if self.path(name).exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{name} did not appear");
    }

    /// Sorted result lines of a query.
    pub(crate) fn results(&self, dir: &str, query: &str) -> Vec<String> {
        sorted_lines(&self.path(dir).join(format!("{query}.jsonl")))
    }

    pub(crate) fn dead_letters(&self, dir: &str) -> Vec<serde_json::Value> {
        let lines = sorted_lines(&self.path(dir).join("dead_letters.jsonl"));
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn sorted_lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    lines.sort();
    lines
}

#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub(crate) fn succeeded(self) -> Ran {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Ended with `code` and said all of `words` on stderr, whatever the line breaks.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, words: &[&str]) -> Ran {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let said: String = self
            .stderr
            .split(|c: char| c.is_whitespace() || c == '│')
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        for word in words {
            assert!(said.contains(word), "`{word}` is not in:\n{}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// The count that the summary gives under `name`.
    #[track_caller]
    pub(crate) fn summary(&self, name: &str) -> u64 {
        let line = self.stderr.lines().find_map(|line| line.strip_prefix("  ")?.strip_prefix(name));
        let Some(line) = line else { panic!("no `{name}` in:\n{}", self.stderr) };
        line.split_whitespace().next().unwrap().replace(',', "").parse().unwrap()
    }
}
