//! Small inputs with right answers: every folder of `tests/cases` is run at 1 and at 4 shards, and once
//! killed in the middle.
//!
//! A case is a folder: `pipeline.toml`, its inputs, `expected/QUERY.jsonl` (compared as a multiset of
//! rows) and `case.json`: `inputs` (stream: file), `exit` (status of `run`), `message` (words that its
//! errors hold, in this order, with `.*` between them), `dead` (expected dead letters as [reason, query];
//! null: not compared), `about`, `derived` (how the right answer was worked out), `when_killed` (why a run that is killed gives
//! other rows, if it does).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::rows::{difference, files, rows, text};
use crate::workspace::{Ran, Workspace};

#[derive(Debug, Deserialize)]
struct Case {
    inputs: BTreeMap<String, String>,
    exit: i32,
    message: Option<String>,
    dead: Option<Vec<(String, Option<String>)>>,
    env: Option<BTreeMap<String, String>>,
    /// Why a run that is killed gives other rows, if it does.
    when_killed: Option<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases")
}

/// Runs all cases and shows every one that fails, not the first only.
fn all(run: impl Fn(&Path, &Case) -> Result<(), String> + Sync) {
    let mut cases: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    assert!(cases.len() >= 38, "{}", cases.len());
    let only = std::env::var("CASE").unwrap_or_default();
    let mut failed = String::new();
    for path in cases.iter().filter(|path| text(path).contains(&only)) {
        let case = fs::read_to_string(path.join("case.json")).unwrap();
        let case: Case = serde_json::from_str(&case).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        if let Err(reason) = run(path, &case) {
            let name = path.file_name().unwrap().to_str().unwrap();
            writeln!(failed, "{name}: {reason}").unwrap();
        }
    }
    assert!(failed.is_empty(), "\n{failed}");
}

/// The arguments of a run over the inputs as they lie in the workspace.
fn arguments(case: &Case, shards: &str) -> Vec<String> {
    let mut args = vec!["run".to_string(), "pipeline.toml".to_string()];
    for (stream, file) in &case.inputs {
        args.extend(["--input".to_string(), format!("{stream}={file}")]);
    }
    args.extend(["--shards", shards, "--output", "out", "--store", "state.redb"].map(String::from));
    args
}

fn workspace(path: &Path) -> Workspace {
    let workspace = Workspace::new();
    for entry in fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_file() {
            let name = entry.file_name().unwrap().to_str().unwrap().to_string();
            workspace.write(&name, fs::read(&entry).unwrap());
        }
    }
    workspace
}

fn ran(workspace: &Workspace, case: &Case, args: &[String]) -> Ran {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut command = workspace.command(&args);
    command.envs(case.env.iter().flatten());
    Ran::of(command.output().unwrap())
}

fn compare(path: &Path, case: &Case, workspace: &Workspace, ran: &Ran) -> Result<(), String> {
    if ran.code != Some(case.exit) {
        return Err(format!("exit {:?} instead of {}:\n{}", ran.code, case.exit, ran.stderr));
    }
    let said: Vec<&str> =
        ran.stderr.split(|c: char| c.is_whitespace() || c == '│' || c == '×').collect();
    let said = said.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if let Some(message) = &case.message
        && !holds(&said, message)
    {
        return Err(format!("no message like {message}:\n{}", ran.stderr));
    }
    if ran.stderr.contains("panicked") {
        return Err(ran.stderr.clone());
    }
    if case.exit != 0 {
        return Ok(());
    }
    let mut differences = String::new();
    for query in files(&path.join("expected"), "jsonl") {
        let expected = rows(&path.join("expected").join(format!("{query}.jsonl")));
        let ours = rows(&workspace.path("out").join(format!("{query}.jsonl")));
        differences += &difference(&query, &expected, &ours);
    }
    if let Some(dead) = &case.dead {
        let mut expected: Vec<(String, String)> =
            dead.iter().map(|(why, of)| (why.clone(), of.clone().unwrap_or_default())).collect();
        expected.sort();
        let found = workspace.dead_letters("out");
        let of = |letter: &serde_json::Value, name: &str| {
            letter[name].as_str().unwrap_or_default().to_string()
        };
        let mut found: Vec<(String, String)> =
            found.iter().map(|letter| (of(letter, "reason"), of(letter, "query"))).collect();
        found.sort();
        if found != expected {
            write!(differences, "dead letters {found:?} instead of {expected:?}").unwrap();
        }
    }
    if differences.is_empty() { Ok(()) } else { Err(differences) }
}

/// Whether `said` matches `pattern`: alternatives between `|`, each of parts between `.*`, which stand in
/// it in their order.
fn holds(said: &str, pattern: &str) -> bool {
    let pattern = pattern.trim_start_matches("(?s)");
    pattern.split('|').any(|alternative| {
        let mut rest = said;
        alternative.split(".*").all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    })
}

#[test]
fn cases_give_what_is_right() {
    all(|path, case| {
        for shards in ["1", "4"] {
            let workspace = workspace(path);
            let mut args = arguments(case, shards);
            args.push("--until-end".to_string());
            let ran = ran(&workspace, case, &args);
            compare(path, case, &workspace, &ran).map_err(|e| format!("{shards} shards: {e}"))?;
        }
        Ok(())
    });
}

/// The first half of each input runs until the store has it; then the process is killed, and another one
/// is given the whole input.
#[test]
fn cases_give_what_is_right_when_they_are_killed() {
    all(|path, case| {
        if case.exit != 0 || case.when_killed.is_some() {
            return Ok(());
        }
        let workspace = workspace(path);
        let mut halves = Vec::new();
        for file in case.inputs.values() {
            let whole = fs::read(path.join(file)).unwrap();
            let (half, last) = half(&whole);
            workspace.write(file, &whole[..half]);
            halves.push((file, whole, last));
        }
        let mut args = arguments(case, "1");
        run_until_stored(&workspace, case, &args, &halves)?;
        for (file, whole, _) in &halves {
            workspace.write(file, whole);
        }
        args.push("--until-end".to_string());
        let ran = ran(&workspace, case, &args);
        compare(path, case, &workspace, &ran)
    });
}

/// Where the first half of the lines ends, and where its last record begins.
fn half(whole: &[u8]) -> (usize, usize) {
    let lines: Vec<usize> = whole.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len).collect();
    let kept = lines.len().div_ceil(2);
    let half: usize = lines[..kept].iter().sum();
    let mut last = (0, 0);
    let mut at = 0;
    for length in &lines[..kept] {
        if !whole[at..at + length].trim_ascii().is_empty() {
            last = (at, at + length);
        }
        at += length;
    }
    (half, last.0)
}

fn run_until_stored(
    workspace: &Workspace,
    case: &Case,
    args: &[String],
    halves: &[(&String, Vec<u8>, usize)],
) -> Result<(), String> {
    let mut wanted: Vec<String> =
        halves.iter().map(|(_, _, last)| format!("byte {last}")).collect();
    wanted.sort();
    let mut said = String::new();
    for milliseconds in [400, 1_000, 3_000, 10_000] {
        let refs: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = workspace.command(&refs);
        command.envs(case.env.iter().flatten());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        said = workspace.tidemill(&["state", "state.redb"]).stdout;
        // A log's line is `s/0-of-1  byte 67  byte 67  …`: its position, then what is merged.
        let logs = said.lines().filter(|line| line.contains("/0-of-1"));
        let mut merged: Vec<String> = logs
            .filter_map(|line| {
                Some(format!("byte {}", line.split("byte ").nth(2)?.split(' ').next()?))
            })
            .collect();
        merged.sort();
        if merged == wanted {
            return Ok(());
        }
    }
    Err(format!("the store never had the first half, {wanted:?}:\n{said}"))
}
