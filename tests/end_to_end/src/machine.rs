//! The one-machine run of the same pipeline file on the same records: what a deployment must equal.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::binaries;
use crate::tables::Row;

/// What `tidemill run` made.
pub struct MachineRun {
    /// Rows by query.
    pub results: BTreeMap<String, Vec<Row>>,
    /// Dead letters.
    pub dead_letters: Vec<Row>,
}

/// Runs `pipeline` until the end of its inputs. `inputs`: (stream, records, one each line).
pub fn run(
    pipeline: &Path,
    env: &BTreeMap<String, String>,
    inputs: &[(&str, Vec<Vec<u8>>)],
) -> MachineRun {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("output");
    let mut command = Command::new(binaries::find("tidemill"));
    command.arg("run").arg(pipeline).arg("--until-end").arg("--output").arg(&output).envs(env);
    for (stream, records) in inputs {
        let file = folder.path().join(format!("{stream}.jsonl"));
        let mut text = records.join(&b'\n');
        text.push(b'\n');
        fs::write(&file, text).expect("the temporary folder can be written");
        command.arg("--input").arg(format!("{stream}={}", file.display()));
    }
    let ran = command.output().expect("the program can be run");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "tidemill run failed: {said}");
    let mut results = BTreeMap::new();
    let mut dead_letters = Vec::new();
    for entry in fs::read_dir(&output).expect("the run made its output folder").flatten() {
        let path = entry.path();
        let (Some(name), Some("jsonl")) = (
            path.file_stem().and_then(|stem| stem.to_str()),
            path.extension().and_then(|extension| extension.to_str()),
        ) else {
            continue;
        };
        let text = fs::read_to_string(&path).expect("a result file can be read");
        let rows = text.lines().map(|line| serde_json::from_str(line).expect("a line is a row"));
        match name {
            "dead_letters" => dead_letters = rows.collect(),
            query => {
                results.insert(query.to_string(), rows.collect());
            }
        }
    }
    MachineRun { results, dead_letters }
}
